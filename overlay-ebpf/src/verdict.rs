//! What becomes of a frame.

use overlay_common::DropReason;

/// What becomes of a frame that is not dropped.
pub(crate) enum Verdict {
    /// It is not ours: the next program on the hook, and then the host, shall see it as it came.
    NotOurs,
    /// It was sent somewhere by a redirect helper, which returned this.
    Redirected(i32),
    /// Copies of it were sent; the frame itself is done with.
    Copied,
}

/// What becomes of a frame.
pub(crate) type Outcome = Result<Verdict, DropReason>;
