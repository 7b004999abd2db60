use core::fmt;

macro_rules! notices {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// What the programs did, or declined to do, besides forwarding and dropping. Counted per CPU in the map
        /// `NOTICES`, one slot each.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Notice {
            $($(#[$doc])+ $variant,)+
        }

        impl Notice {
            /// All of them, in the order of the slots of `NOTICES`.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name that commands print.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

notices! {
    /// A workload was told that its packet is too big, and what would fit (RFC 1191, RFC 8201). The packet counts as
    /// dropped too.
    TooBigAnswered = "too-big-answered",
    /// A workload was not told, because it was told too often lately.
    TooBigUnanswered = "too-big-unanswered",
    /// The underlay said that a packet of ours was too big for it, and was believed.
    PathMtuLearned = "path-mtu-learned",
    /// Somebody said so about a packet that cannot have been ours, or named an MTU that cannot be.
    PathMtuIgnored = "path-mtu-ignored",
    /// The MSS option of a TCP handshake was lowered.
    MssClamped = "mss-clamped",
    /// An event found no room in a listener's buffer.
    EventLost = "event-lost",
    /// An event was not told, because there were too many of its kind in that second.
    EventWithheld = "event-withheld",
}

impl Notice {
    /// How many there are: the size of `NOTICES`.
    pub const COUNT: usize = Self::ALL.len();

    /// The slot in `NOTICES`.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_in_order_and_names_differ() {
        for (index, notice) in Notice::ALL.into_iter().enumerate() {
            assert_eq!(notice.index() as usize, index);
            assert_eq!(Notice::ALL.iter().filter(|other| other.name() == notice.name()).count(), 1);
        }
    }
}
