//! `FLOWS`: what each CPU found out about the flows that it saw last, so that their next packets need not ask for it again.
//! `GENERATION`: what makes all of that void.
//!
//! A flow is what goes from one station to another by one device, of a tunnel by one sender. It is used only while nothing
//! that it was made of has changed: every program and command that takes away or alters what a packet may go by begins a new
//! generation when that is done. And not for long: [`FRESH_NS`] at most, so that stations in use are seen to be.

use core::mem::size_of;

use super::{
    fdb::{Place, Standing},
    segment::Segment,
};
use crate::{IfIndex, MacAddr, UnderlayAddr, Vni, VtepId};

/// The map's name: a per-CPU array of [`Flow`], indexed by [`Key::index`]. Only programs use it.
pub const NAME: &str = "FLOWS";

/// Flows that each CPU keeps. Two whose keys fall together take turns.
pub const MAX_ENTRIES: usize = 1 << 10;

/// The map's name: an array of two counts (`u64`), the sum of which is the generation: [`OF_PROGRAMS`], [`OF_COMMANDS`].
pub const GENERATION: &str = "GENERATION";

/// The place of the count that programs raise, all at once.
pub const OF_PROGRAMS: u32 = 0;

/// The place of the count that commands raise, under the instance's lock.
pub const OF_COMMANDS: u32 = 1;

/// A bit of the count that programs raise, and so of the generation: somebody captures. What was kept in generations without
/// it is not used meanwhile, and nothing is kept in those with it: so each packet is looked at, and one that is not captured
/// pays nothing for the question.
pub const CAPTURING: u64 = 1 << 63;

/// How long what was found out is used, in nanoseconds.
pub const FRESH_NS: u64 = 100_000_000;

/// By what a flow is known again.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u64; 5]);

/// What was found out about a flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    key: Key,
    generation: u64,
    fresh_until: u64,
    standing: Standing,
    vni: u32,
    vtep: u32,
    segment: Segment,
}

impl Key {
    /// What a workload behind the port `device` sends from one station to another.
    #[inline(always)]
    #[must_use]
    pub fn from_port(device: IfIndex, source: MacAddr, destination: MacAddr) -> Self {
        let [first, second] = source.pair(destination);
        Self([first, second | u64::from(device.get()) << 32, 0, 0, 0])
    }

    /// What the VTEP `sender` sends to the uplink `device` for segment `vni`, from one station to another.
    #[inline(always)]
    #[must_use]
    pub fn from_uplink(
        device: IfIndex,
        vni: Vni,
        sender: UnderlayAddr,
        source: MacAddr,
        destination: MacAddr,
    ) -> Self {
        let [first, second] = source.pair(destination);
        let [a, b] = sender.long_words();
        // No VNI is 0, so that no key is a port's.
        Self([first, second | u64::from(device.get()) << 32, a, b, u64::from(vni.get())])
    }

    /// The same for a packet whose outer headers are off, of the member `vtep`.
    #[inline(always)]
    #[must_use]
    pub fn from_member(
        device: IfIndex,
        vni: Vni,
        vtep: VtepId,
        source: MacAddr,
        destination: MacAddr,
    ) -> Self {
        let [first, second] = source.pair(destination);
        // No address is so small a number.
        let sender = u64::from(vtep.index());
        Self([first, second | u64::from(device.get()) << 32, sender, 0, u64::from(vni.get())])
    }

    /// Its place in the map, below [`MAX_ENTRIES`]: the upper bits of a product, which depend on all bits of the stations'.
    #[inline(always)]
    #[must_use]
    pub const fn index(&self) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let [first, second, ..] = self.0;
        let mixed = (first ^ second.rotate_left(29)).wrapping_mul(ODD);
        (mixed >> (u64::BITS - MAX_ENTRIES.ilog2())) as u32
    }

    /// Whether it is the same.
    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let differs = |at: usize| self.0[at] ^ other.0[at];
        differs(0) | differs(1) | differs(2) | differs(3) | differs(4) == 0
    }
}

impl Flow {
    /// Whether it is what was found out about the flow of `key`, in this generation, and may be used at `now`, nanoseconds of
    /// the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub fn is_of(&self, key: &Key, generation: u64, now: u64) -> bool {
        self.key.is(key) && self.generation == generation && now < self.fresh_until
    }

    /// Takes the place for the flow of `key`, about which nothing is known yet.
    #[inline(always)]
    pub fn claim(&mut self, key: &Key) {
        (self.key, self.fresh_until) = (*key, 0);
    }

    /// Keeps what was found out in `generation`, which is no later than the first question; until when, at most, it can be
    /// used: 0 for not at all.
    #[inline(always)]
    pub fn keep(&mut self, generation: u64, until: u64) {
        (self.generation, self.fresh_until) = (generation, until);
    }

    /// Until when it is used, nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn fresh_until(&self) -> u64 {
        self.fresh_until
    }

    /// Notes the segment, and where the destination is in it.
    #[inline(always)]
    pub fn set(&mut self, vni: Vni, segment: &Segment, standing: Standing) {
        (self.vni, self.segment, self.standing) = (vni.get(), *segment, standing);
    }

    /// Notes the sender.
    #[inline(always)]
    pub fn set_vtep(&mut self, vtep: VtepId) {
        self.vtep = vtep.index();
    }

    /// The segment's number.
    #[inline(always)]
    #[must_use]
    pub const fn vni(&self) -> Option<Vni> {
        Vni::new(self.vni)
    }

    /// The segment's settings.
    #[inline(always)]
    #[must_use]
    pub const fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Where the destination is; `None`: that is not known.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self, vni: Vni) -> Option<Place> {
        self.standing.place(vni)
    }

    /// The sender.
    #[inline(always)]
    #[must_use]
    pub const fn vtep(&self) -> Option<VtepId> {
        VtepId::new(self.vtep as u16)
    }
}

// Two cache lines and a half.
const _: () = assert!(size_of::<Flow>() <= 160);

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable as _;

    const ONE: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);
    const TWO: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);

    fn device(index: u32) -> IfIndex {
        IfIndex::new(index).unwrap()
    }

    fn empty() -> Flow {
        Flow {
            key: Key([0; 5]),
            generation: 0,
            fresh_until: 0,
            standing: Standing::NOWHERE,
            vni: 0,
            vtep: 0,
            segment: Segment::zeroed(),
        }
    }

    #[test]
    fn keys_differ_in_all_that_makes_a_flow() {
        let sender = UnderlayAddr::from_ipv4([10, 0, 0, 1]);
        let key = |port, vni, sender, source, destination| {
            Key::from_uplink(device(port), Vni::new(vni).unwrap(), sender, source, destination)
        };
        let all = [
            Key::from_port(device(3), ONE, TWO),
            Key::from_port(device(4), ONE, TWO),
            Key::from_port(device(3), TWO, ONE),
            Key::from_port(device(3), ONE, ONE),
            key(3, 1, sender, ONE, TWO),
            key(4, 1, sender, ONE, TWO),
            key(3, 2, sender, ONE, TWO),
            key(3, 1, UnderlayAddr::from_ipv6([0xfd; 16]), ONE, TWO),
            key(3, 1, sender, TWO, TWO),
        ];
        for (at, key) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(key.is(other), at == other_at);
            }
        }
    }

    #[test]
    fn stations_spread_over_the_map() {
        let mut used = [false; MAX_ENTRIES];
        for number in 0..=u8::MAX {
            for other in 0..4 {
                let (from, to) =
                    (MacAddr::new([2, 0, 0, 0, 0, number]), MacAddr::new([2, 0, 0, 0, 1, other]));
                used[Key::from_port(device(3), from, to).index() as usize] = true;
            }
        }
        // Of 1024 keys thrown at random, 647 places are hit.
        assert!(used.iter().filter(|used| **used).count() > 550);
    }

    #[test]
    fn what_is_kept_is_of_its_generation_and_its_time() {
        let (key, vni) = (Key::from_port(device(3), ONE, TWO), Vni::MAX);
        let mut flow = empty();
        assert!(!flow.is_of(&Key([0; 5]), 0, 0), "an empty slot is nobody's");
        flow.set(vni, &Segment::default(), Standing::learned_at(vni, Place::Vtep(VtepId::FIRST)));
        flow.claim(&key);
        assert!(!flow.is_of(&key, 0, 0));
        flow.keep(7, 100);
        assert!(flow.is_of(&key, 7, 99) && !flow.is_of(&key, 7, 100) && !flow.is_of(&key, 8, 99));
        assert!(!flow.is_of(&Key::from_port(device(3), TWO, ONE), 7, 99));
        assert_eq!((flow.vni(), flow.place(vni)), (Some(vni), Some(Place::Vtep(VtepId::FIRST))));
        assert_eq!(flow.place(Vni::new(1).unwrap()), None);
    }
}
