//! Doing several things to the kernel, all or none.

/// Steps back, taken in reverse order unless the whole succeeds.
#[derive(Default)]
pub(crate) struct Undo<'a> {
    steps: Vec<Box<dyn FnOnce() + 'a>>,
}

impl<'a> Undo<'a> {
    /// Nothing done yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Notes how to undo what was just done. Its own failures have nobody left to tell.
    pub(crate) fn push(&mut self, step: impl FnOnce() + 'a) {
        self.steps.push(Box::new(step));
    }

    /// All is done: it stays.
    pub(crate) fn disarm(mut self) {
        self.steps.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        while let Some(step) = self.steps.pop() {
            step();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn steps_back_in_reverse() {
        let done = RefCell::new(vec![]);
        let mut undo = Undo::new();
        undo.push(|| done.borrow_mut().push(1));
        undo.push(|| done.borrow_mut().push(2));
        drop(undo);
        assert_eq!(*done.borrow(), [2, 1]);
    }

    #[test]
    fn success_stays() {
        let done = RefCell::new(vec![]);
        let mut undo = Undo::new();
        undo.push(|| done.borrow_mut().push(1));
        undo.disarm();
        assert!(done.borrow().is_empty());
    }
}
