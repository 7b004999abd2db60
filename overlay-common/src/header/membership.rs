//! What IGMP (RFC 1112, 2236, 3376) and MLD (RFC 2710, 3810) say alike: who listens to which multicast group.

use crate::UnderlayAddr;

/// What a message says. Groups over IPv4 are v4-mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Somebody asks who listens to any group, and is answered within so many nanoseconds.
    Query {
        /// Within which the answers come.
        within: u64,
    },
    /// The same of one group.
    GroupQuery {
        /// Which.
        group: UnderlayAddr,
        /// Within which the answers come.
        within: u64,
    },
    /// The sender listens to a group.
    Join(UnderlayAddr),
    /// The sender listens to a group no more.
    Leave(UnderlayAddr),
    /// So many records follow, each of which says what becomes of a group.
    Records(u16),
}

/// Bytes of a record in front of its group.
pub const RECORD_HEAD_LEN: usize = 4;

/// What a record of a report of `IGMPv3` or `MLDv2` says of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The sender listens to it, from whatever sources.
    Join,
    /// The sender listens to it no more.
    Leave,
    /// The sender goes on as before.
    None,
}

/// The head of a record (RFC 3376, section 4.2.4; RFC 3810, section 5.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub change: Change,
    /// Bytes of what follows the group: sources and auxiliary data.
    pub rest: u32,
}

impl Record {
    /// Reads a record's head, whose sources have `addr_len` bytes each. Sources are not told apart: a sender that
    /// listens to some of a group listens to it.
    #[inline(always)]
    #[must_use]
    pub const fn parse([kind, aux, high, low]: [u8; RECORD_HEAD_LEN], addr_len: u32) -> Self {
        let sources = u16::from_be_bytes([high, low]) as u32;
        let change = match kind {
            // MODE_IS_INCLUDE and CHANGE_TO_INCLUDE_MODE: these sources only.
            1 | 3 if sources == 0 => Change::Leave,
            // MODE_IS_EXCLUDE, CHANGE_TO_EXCLUDE_MODE: all but these.
            1..=4 => Change::Join,
            // ALLOW_NEW_SOURCES.
            5 if sources > 0 => Change::Join,
            // BLOCK_OLD_SOURCES, and what is not known.
            _ => Change::None,
        };
        Self { change, rest: sources * addr_len + aux as u32 * 4 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records() {
        let change = |kind, sources| Record::parse([kind, 0, 0, sources], 4).change;
        for (kind, none, some) in [
            (1, Change::Leave, Change::Join),
            (2, Change::Join, Change::Join),
            (3, Change::Leave, Change::Join),
            (4, Change::Join, Change::Join),
            (5, Change::None, Change::Join),
            (6, Change::None, Change::None),
            (7, Change::None, Change::None),
        ] {
            assert_eq!((change(kind, 0), change(kind, 2)), (none, some), "{kind}");
        }
        assert_eq!(Record::parse([2, 1, 0, 3], 16).rest, 52);
    }

    proptest! {
        #[test]
        fn lengths_cannot_overflow(head: [u8; 4]) {
            prop_assert!(Record::parse(head, 16).rest <= 65535 * 16 + 255 * 4);
        }
    }
}
