//! Words that one program leaves with a frame for the next.

use overlay_common::VtepId;

use super::Skb;

impl Skb {
    /// Leaves a word for the program that the frame is handed to.
    #[inline(always)]
    pub(crate) fn hand_over(&mut self, word: u32) {
        // SAFETY: the context is valid, and the words are there for programs.
        unsafe { (*self.raw()).cb[0] = word };
    }

    /// Leaves the id of a remote VTEP as well.
    #[inline(always)]
    pub(crate) fn hand_over_vtep(&mut self, id: VtepId) {
        // SAFETY: the context is valid, and the words are there for programs.
        unsafe { (*self.raw()).cb[1] = id.index() };
    }

    /// The id of the remote VTEP that was handed over with the frame.
    #[inline(always)]
    pub(crate) fn handed_over_vtep(&self) -> Option<VtepId> {
        VtepId::new(self.fields().cb[1] as u16)
    }

    /// Leaves four more words for the program that the frame is handed to, in the place of a VTEP.
    #[inline(always)]
    pub(crate) fn hand_over_words(&mut self, [a, b, c, d]: [u32; 4]) {
        // SAFETY: the context is valid, and the words are there for programs.
        let words = unsafe { &mut (*self.raw()).cb };
        (words[1], words[2], words[3], words[4]) = (a, b, c, d);
    }

    /// These words.
    #[inline(always)]
    pub(crate) fn handed_over_words(&self) -> [u32; 4] {
        let words = &self.fields().cb;
        [words[1], words[2], words[3], words[4]]
    }

    /// The word that the program left that handed the frame over.
    #[inline(always)]
    pub(crate) fn handed_over(&self) -> u32 {
        self.fields().cb[0]
    }
}
