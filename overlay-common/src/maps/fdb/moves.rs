//! How a station moves, and when that is too often.

use super::FdbEntry;

/// Ticks are 2^27 nanoseconds, an eighth of a second: 32 bits of them last for 18 years.
pub(super) const TICK_SHIFT: u32 = 27;

/// Marks a time as that until which a station stays where it is. The other bits of such times, and of those of windows, are
/// those of ticks that last for 9 years; they are compared modulo that.
pub(super) const FROZEN: u32 = 1 << 31;

/// These other bits.
const TIME: u32 = FROZEN - 1;

/// When a station flaps: it moved `moves` times within `window` seconds of the first of those moves. RFC 7432, section
/// 15.1, calls that a duplicate MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlapRule {
    /// Moves; 0: it never does.
    pub moves: u16,
    /// Seconds.
    pub window: u32,
    /// Seconds that a station stays where it is instead of making the move by which it would flap; 0: it may go on moving.
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

    /// Whether a move at `now` is the one by which the station flaps, in a segment that freezes: then it stays where it is,
    /// and the move must not be made. So whoever claims another's address by turns with it does not win by the last move.
    #[inline(always)]
    pub const fn freeze_instead(&mut self, rule: FlapRule, now: u64) -> bool {
        if rule.freeze == 0 || rule.moves == 0 || self.recent(rule, now).saturating_add(1) < rule.moves {
            return false;
        }
        // `recent` stays until the station thaws, so that another CPU that is about to move it freezes it too.
        self.window = (tick(now) + ticks(rule.freeze)) & TIME | FROZEN;
        true
    }

    /// Notes a move; whether the station flaps with it, and did not before.
    #[inline(always)]
    pub const fn count_move(&mut self, rule: FlapRule, now: u64) -> bool {
        self.moves = self.moves.wrapping_add(1);
        let recent = self.recent(rule, now);
        if recent == 0 {
            self.window = tick(now) & TIME;
        }
        self.recent = recent.saturating_add(1);
        rule.moves != 0 && self.recent == rule.moves
    }

    /// Forgets all moves, as of a station that was forgotten.
    #[inline(always)]
    pub const fn forget_moves(&mut self) {
        self.moves = 0;
        self.recent = 0;
        self.window = 0;
    }

    /// Whether the station moves too often.
    #[must_use]
    pub const fn is_flapping(&self, rule: FlapRule, now: u64) -> bool {
        rule.moves != 0 && (self.is_frozen(rule, now) || self.recent(rule, now) >= rule.moves)
    }

    /// Whether the station stays where it is for now.
    #[inline(always)]
    #[must_use]
    pub const fn is_frozen(&self, rule: FlapRule, now: u64) -> bool {
        rule.freeze != 0 && self.frozen_ticks(now) != 0
    }

    /// Seconds that the station still stays where it is, rounded up.
    #[must_use]
    pub const fn frozen_for(&self, rule: FlapRule, now: u64) -> u32 {
        if !self.is_frozen(rule, now) {
            return 0;
        }
        ((self.frozen_ticks(now) as u64) << TICK_SHIFT).div_ceil(NANOSECONDS) as u32
    }

    /// Ticks that it still stays where it is.
    #[inline(always)]
    const fn frozen_ticks(&self, now: u64) -> u32 {
        let left = self.window.wrapping_sub(tick(now)) & TIME;
        if self.window & FROZEN == 0 || left > LONGEST { 0 } else { left }
    }

    /// Moves in the window that is open at `now`. One ends with its time, or when a station that was frozen thaws.
    #[inline(always)]
    const fn recent(&self, rule: FlapRule, now: u64) -> u16 {
        let open_for = tick(now).wrapping_sub(self.window) & TIME;
        let is_over = self.window & FROZEN != 0 || open_for >= ticks(rule.window);
        if is_over && !self.is_frozen(rule, now) { 0 } else { self.recent }
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

/// The longest time in ticks, half of all there are: four years.
const LONGEST: u32 = TIME / 2;

/// The tick that a time is in, both from the same beginning.
#[inline(always)]
pub(super) const fn tick(now: u64) -> u32 {
    (now >> TICK_SHIFT) as u32
}

/// The time at which a tick ends.
#[inline(always)]
pub(super) const fn end_of(tick: u32) -> u64 {
    (tick as u64 + 1) << TICK_SHIFT
}

/// At least so many seconds in ticks, or the longest time there is.
#[inline(always)]
const fn ticks(seconds: u32) -> u32 {
    let ticks = ((seconds as u64 * NANOSECONDS) >> TICK_SHIFT) + 2;
    if ticks > LONGEST as u64 { LONGEST } else { ticks as u32 }
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
        assert!(entry.freeze_instead(rule, now));
        assert!(entry.is_frozen(rule, now) && entry.is_frozen(rule, now + 30 * NANOSECONDS));
        assert!((30..=31).contains(&entry.frozen_for(rule, now)));
        assert!(entry.is_flapping(rule, now + 29 * NANOSECONDS), "longer than the window");
        assert!(!entry.is_frozen(rule, now + 31 * NANOSECONDS));
        assert_eq!(entry.frozen_for(rule, now + 31 * NANOSECONDS), 0);
        assert!(!entry.is_frozen(RULE, now), "freezing was turned off");
        entry.forget_moves();
        assert!(!entry.is_frozen(rule, now) && !entry.is_flapping(rule, now));
    }

    #[test]
    fn a_station_that_goes_on_is_frozen_again_and_again() {
        let rule = FlapRule { moves: 5, window: 180, freeze: 30 };
        let mut entry = entry();
        let (mut moved, mut frozen) = (0, 0);
        // Ten attempts a second, for 170 seconds.
        for attempt in 0..1_700 {
            let now = 1_000 * NANOSECONDS + attempt * NANOSECONDS / 10;
            if entry.is_frozen(rule, now) {
                continue;
            }
            if entry.freeze_instead(rule, now) {
                assert!(entry.is_flapping(rule, now));
                frozen += 1;
            } else {
                assert!(!entry.count_move(rule, now), "the move that is one too many was made");
                moved += 1;
            }
        }
        assert!((5..=6).contains(&frozen), "frozen {frozen} times");
        assert!(moved <= 4 * (frozen + 1), "moved {moved} times");
    }

    #[test]
    fn freezing_that_is_turned_on_late_holds_for_the_next_move() {
        let mut entry = entry();
        for _ in 0..7 {
            entry.count_move(RULE, 77 * NANOSECONDS);
        }
        assert!(entry.freeze_instead(FlapRule { freeze: 30, ..RULE }, 78 * NANOSECONDS));
    }
}
