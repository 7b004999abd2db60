//! How a station moves, and when that is too often.

use super::FdbEntry;

/// Ticks are 2^27 nanoseconds, an eighth of a second: 32 bits of them last for 18 years.
pub(super) const TICK_SHIFT: u32 = 27;

/// When a station flaps: it moved `moves` times within `window` seconds of the first of those moves. RFC 7432, section
/// 15.1, calls that a duplicate MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlapRule {
    /// Moves; 0: it never does.
    pub moves: u16,
    /// Seconds.
    pub window: u32,
    /// Seconds that a station that flaps then stays where it is; 0: it may go on moving.
    pub freeze: u32,
}

impl Default for FlapRule {
    /// 5 moves in 180 seconds, the defaults of RFC 7432, section 15.1; without freezing.
    fn default() -> Self {
        Self { moves: 5, window: 180, freeze: 0 }
    }
}

impl FdbEntry {
    /// How often the station has moved since it was learned.
    #[must_use]
    pub const fn moves(&self) -> u32 {
        self.moves
    }

    /// Notes a move; whether the station flaps with it, and did not before.
    #[inline(always)]
    pub const fn count_move(&mut self, rule: FlapRule, now: u64) -> bool {
        self.moves = self.moves.wrapping_add(1);
        if self.recent == 0 || !self.is_in_window(rule, now) {
            self.window = tick(now);
            self.recent = 0;
        }
        self.recent = self.recent.saturating_add(1);
        if rule.moves == 0 || self.recent != rule.moves {
            return false;
        }
        if rule.freeze != 0 {
            self.frozen = tick(now) + ticks(rule.freeze);
        }
        true
    }

    /// Forgets all moves, as of a station that was forgotten.
    #[inline(always)]
    pub const fn forget_moves(&mut self) {
        self.moves = 0;
        self.recent = 0;
        self.frozen = 0;
    }

    /// Whether the station moves too often.
    #[must_use]
    pub const fn is_flapping(&self, rule: FlapRule, now: u64) -> bool {
        rule.moves != 0
            && self.recent >= rule.moves
            && (self.is_in_window(rule, now) || self.is_frozen(rule, now))
    }

    /// Whether the station stays where it is for now.
    #[inline(always)]
    #[must_use]
    pub const fn is_frozen(&self, rule: FlapRule, now: u64) -> bool {
        rule.freeze != 0 && tick(now) < self.frozen
    }

    /// Seconds that the station still stays where it is, rounded up.
    #[must_use]
    pub const fn frozen_for(&self, rule: FlapRule, now: u64) -> u32 {
        if !self.is_frozen(rule, now) {
            return 0;
        }
        (((self.frozen - tick(now)) as u64) << TICK_SHIFT).div_ceil(NANOSECONDS) as u32
    }

    #[inline(always)]
    const fn is_in_window(&self, rule: FlapRule, now: u64) -> bool {
        tick(now).wrapping_sub(self.window) < ticks(rule.window)
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

#[inline(always)]
const fn tick(now: u64) -> u32 {
    (now >> TICK_SHIFT) as u32
}

/// At least so many seconds in ticks.
#[inline(always)]
const fn ticks(seconds: u32) -> u32 {
    ((seconds as u64 * NANOSECONDS) >> TICK_SHIFT) as u32 + 2
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Origin, Place},
        *,
    };
    use crate::{Vni, VtepId};

    const RULE: FlapRule = FlapRule { moves: 3, window: 10, freeze: 0 };

    fn entry() -> FdbEntry {
        FdbEntry::new(Vni::MAX, Place::Vtep(VtepId::FIRST), Origin::Learned, 0)
    }

    #[test]
    fn many_moves_in_a_window_are_flapping_once() {
        let mut entry = entry();
        let at = |second: u64| (1_000 + second) * NANOSECONDS;
        let news = [0, 4, 8, 9].map(|second| entry.count_move(RULE, at(second)));
        assert_eq!(news, [false, false, true, false]);
        assert!(entry.is_flapping(RULE, at(9)) && !entry.is_frozen(RULE, at(9)));
        assert!(!entry.is_flapping(RULE, at(12)));
        let news = [12, 24, 36].map(|second| entry.count_move(RULE, at(second)));
        assert_eq!(news, [false; 3], "far apart");
        assert_eq!(entry.moves(), 7);
        assert!(!entry.is_flapping(FlapRule { moves: 0, ..RULE }, at(36)));
    }

    #[test]
    fn a_frozen_station_thaws() {
        let rule = FlapRule { moves: 1, freeze: 30, ..RULE };
        let mut entry = entry();
        let now = 77 * NANOSECONDS;
        assert!(entry.count_move(rule, now));
        assert!(entry.is_frozen(rule, now) && entry.is_frozen(rule, now + 30 * NANOSECONDS));
        assert!((30..=31).contains(&entry.frozen_for(rule, now)));
        assert!(entry.is_flapping(rule, now + 29 * NANOSECONDS), "longer than the window");
        assert!(!entry.is_frozen(rule, now + 31 * NANOSECONDS));
        assert_eq!(entry.frozen_for(rule, now + 31 * NANOSECONDS), 0);
        assert!(!entry.is_frozen(RULE, now), "freezing was turned off");
        entry.forget_moves();
        assert!(!entry.is_frozen(rule, now) && !entry.is_flapping(rule, now));
    }
}
