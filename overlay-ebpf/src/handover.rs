//! What a program leaves for the one that it hands a frame to: words beside the frame (`cb` of `struct __sk_buff`). The
//! first is the segment's VNI. VLAN tags that the frame keeps have two words, which every program on the way leaves as
//! they are.

use overlay_common::{
    IfIndex, VtepId,
    header::{journey::Journey, vlan::Tags},
};

use crate::skb::Skb;

/// The word for programs that names a remote VTEP.
const VTEP: usize = 1;
/// The word for programs that names a port.
const PORT: usize = 2;
/// The same word for those that a frame in transit goes through, before any names a port: where it goes, or what goes with it.
const TRANSIT: usize = PORT;
/// The first of two words for programs that hold VLAN tags.
const TAGS: usize = 3;

impl Skb {
    /// Leaves a word for the program that the frame is handed to.
    #[inline(always)]
    pub(crate) fn hand_over(&mut self, word: u32) {
        // SAFETY: the context is valid, and the words are there for programs.
        unsafe { (*self.raw()).cb[0] = word };
    }

    /// The word that the program left that handed the frame over.
    #[inline(always)]
    pub(crate) fn handed_over(&self) -> u32 {
        self.fields().cb[0]
    }

    /// Leaves the id of a remote VTEP as well.
    #[inline(always)]
    pub(crate) fn hand_over_vtep(&mut self, id: VtepId) {
        // SAFETY: as in `hand_over`.
        unsafe { (*self.raw()).cb[VTEP] = id.index() };
    }

    /// The id of the remote VTEP that was handed over with the frame.
    #[inline(always)]
    pub(crate) fn handed_over_vtep(&self) -> Option<VtepId> {
        VtepId::new(self.fields().cb[VTEP] as u16)
    }

    /// Leaves the id of the remote VTEP that a packet is to go on to, besides that of the one that it came from.
    #[inline(always)]
    pub(crate) fn hand_over_target(&mut self, id: VtepId) {
        // SAFETY: as in `hand_over`.
        unsafe { (*self.raw()).cb[TRANSIT] = id.index() };
    }

    /// The id of the remote VTEP that was handed over for the packet to go on to.
    #[inline(always)]
    pub(crate) fn target_handed_over(&self) -> Option<VtepId> {
        VtepId::new(self.fields().cb[TRANSIT] as u16)
    }

    /// Leaves what goes on with a frame in transit; `None`: it goes to ports only.
    #[inline(always)]
    pub(crate) fn hand_over_journey(&mut self, journey: Option<Journey>) {
        // SAFETY: as in `hand_over`.
        unsafe { (*self.raw()).cb[TRANSIT] = journey.map_or(0, Journey::word) };
    }

    /// What was handed over to go on with a frame in transit.
    #[inline(always)]
    pub(crate) fn journey_handed_over(&self) -> Option<Journey> {
        Journey::from_word(self.fields().cb[TRANSIT])
    }

    /// Leaves the VLAN tags that the frame keeps for the program that it is handed to.
    #[inline(always)]
    pub(crate) fn hand_over_tags(&mut self, tags: Tags) {
        let [outer, inner] = tags.words();
        // SAFETY: the context is valid, and the words are there for programs.
        unsafe { (*self.raw()).cb[TAGS] = outer };
        if outer != 0 {
            // SAFETY: as above.
            unsafe { (*self.raw()).cb[TAGS + 1] = inner };
        }
    }

    /// The VLAN tags that were handed over with the frame.
    #[inline(always)]
    pub(crate) fn tags_handed_over(&self) -> Tags {
        Tags::from_words([self.fields().cb[TAGS], self.fields().cb[TAGS + 1]])
    }

    /// Leaves a port for the program that the frame is handed to.
    #[inline(always)]
    pub(crate) fn hand_over_port(&mut self, device: IfIndex) {
        // SAFETY: the context is valid, and the words are there for programs.
        unsafe { (*self.raw()).cb[PORT] = device.get() };
    }

    /// The port that was handed over with the frame.
    #[inline(always)]
    pub(crate) fn port_handed_over(&self) -> Option<IfIndex> {
        IfIndex::new(self.fields().cb[PORT])
    }
}
