//! `ADMITTED` and `FREE_VTEPS`: remote VTEPs that became members of a segment by speaking to it.
//!
//! They have ids of their own, the first ones, so that however many come, those that commands name have room.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::VtepId;

/// The map's name: a hash of [`super::member::MemberKey`] to [`Admitted`].
pub const NAME: &str = "ADMITTED";

/// Memberships of that kind there can be.
pub const MAX_ENTRIES: usize = 4096;

/// The name of the queue of ids (`u32`) that a VTEP can be given that comes by itself.
pub const FREE_NAME: &str = "FREE_VTEPS";

/// How many ids there are for VTEPs that come by themselves.
pub const MAX_FREE: usize = 1024;

/// How many VTEPs can come by themselves to one segment, so that there are ids left for the others. A few more can where
/// several come at a time.
pub const MAX_OF_SEGMENT: u64 = MAX_FREE as u64 / 4;

/// These ids.
pub fn ids() -> impl Iterator<Item = VtepId> {
    (1..=MAX_FREE as u16).filter_map(VtepId::new)
}

/// Whether an id is one of those.
#[must_use]
pub const fn is_one(id: VtepId) -> bool {
    id.get() <= MAX_FREE as u16
}

/// When a VTEP came.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Admitted {
    since: u64,
}

map_data!(Admitted);

impl Admitted {
    /// One that came at `now`, nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn new(now: u64) -> Self {
        Self { since: now }
    }

    /// When it came, nanoseconds of the monotonic clock.
    #[must_use]
    pub const fn since(&self) -> u64 {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_first_ones() {
        assert_eq!(ids().count(), MAX_FREE);
        assert_eq!(ids().next(), Some(VtepId::FIRST));
        assert!(ids().all(is_one) && !is_one(VtepId::new(MAX_FREE as u16 + 1).unwrap()));
    }
}
