//! `NEXT_HOPS`: how a packet leaves for a remote VTEP, as the kernel's FIB last said.

use bytemuck::{Pod, Zeroable};

use super::{map_data, vtep};
use crate::{Family, IfIndex, MacAddr, VtepId, header::eth};

/// The map's name: a per-CPU array of [`NextHop`], indexed by [`Slot::index`]. Each CPU asks for itself, so that none ever
/// sees half an answer.
pub const NAME: &str = "NEXT_HOPS";

/// Slots unless `up --max-vteps` says otherwise.
pub const MAX_ENTRIES: usize = slots(vtep::MAX_ENTRIES as u32) as usize;

/// Slots for as many of the map `VTEPS`: first those that lots of flows share, and then one for each remote VTEP.
#[must_use]
pub const fn slots(vteps: u32) -> u32 {
    FLOW_SLOTS as u32 + vteps
}

/// Slots for lots of flows to remote VTEPs that equal-cost routes lead to. Lots that meet in one ask the kernel in turn.
const FLOW_SLOTS: usize = 1024;

/// Lots that the flows to such a VTEP are dealt to: all flows of a lot take the same route.
pub const LOTS: u32 = 64;

/// How long an answer of the FIB is used, in nanoseconds. A route or neighbour that changes is followed within this,
/// with no process of ours alive.
pub const FRESH_NS: u64 = 100_000_000;

/// The tag of a next hop that was forgotten: no slot has it.
const FORGOTTEN: u32 = u32::MAX;

/// Where the next hop of a packet stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Slot {
    index: u32,
    /// Whose slot it is; 0: a VTEP's own.
    tag: u32,
    lot: u32,
}

/// The way to a remote VTEP.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct NextHop {
    ethernet: [u8; eth::LEN],
    mtu: u16,
    uplink: u32,
    tag: u32,
    fresh_until: u64,
    fib_mtu: u16,
    _padding: [u8; 6],
}

map_data!(NextHop);

impl Slot {
    /// The slot for all packets to `vtep`.
    #[inline(always)]
    #[must_use]
    pub const fn new(vtep: VtepId) -> Self {
        Self { index: FLOW_SLOTS as u32 + vtep.index(), tag: 0, lot: 0 }
    }

    /// The slot for packets of a flow to `vtep` with that hash.
    #[inline(always)]
    #[must_use]
    pub const fn of_flow(vtep: VtepId, flow_hash: u32) -> Self {
        let lot = flow_hash % LOTS;
        let tag = vtep.index() * LOTS + lot;
        Self { index: tag % FLOW_SLOTS as u32, tag, lot }
    }

    /// Its place in the map.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The number of the lot, below [`LOTS`]: what the kernel is asked with, so that all flows of a lot get one answer on
    /// every CPU.
    #[inline(always)]
    #[must_use]
    pub const fn lot(self) -> u32 {
        self.lot
    }

    /// The places of all slots that lots of flows share.
    #[must_use]
    pub const fn flows() -> core::ops::Range<u32> {
        0..FLOW_SLOTS as u32
    }
}

impl NextHop {
    /// No way known over IPv4.
    pub const NONE_IPV4: Self = Self::none(Family::Ipv4);
    /// No way known over IPv6.
    pub const NONE_IPV6: Self = Self::none(Family::Ipv6);

    /// No addresses, never fresh. The Ethernet header says all the same what follows.
    const fn none(family: Family) -> Self {
        let unknown = MacAddr::new([0; 6]);
        Self {
            ethernet: eth::header(unknown, unknown, family),
            mtu: 0,
            uplink: 0,
            tag: 0,
            fresh_until: 0,
            fib_mtu: 0,
            _padding: [0; 6],
        }
    }

    /// Out of `uplink` with the Ethernet header `ethernet`; `mtu` bounds the outer IP packet, in bytes. For `slot`.
    #[inline(always)]
    #[must_use]
    pub fn new(uplink: IfIndex, ethernet: [u8; eth::LEN], mtu: u16, now: u64, slot: Slot) -> Self {
        Self {
            ethernet,
            mtu,
            uplink: uplink.get(),
            tag: slot.tag,
            fresh_until: now + FRESH_NS,
            fib_mtu: mtu,
            _padding: [0; 6],
        }
    }

    /// The same for nobody any more. The rest stays as it is: a program that found it good the moment before still goes by it.
    #[must_use]
    pub const fn forgotten(self) -> Self {
        Self { tag: FORGOTTEN, fresh_until: 0, ..self }
    }

    /// Whether there is nothing to forget: it was forgotten, or never filled.
    #[must_use]
    pub const fn is_forgotten(&self) -> bool {
        self.tag == FORGOTTEN || self.uplink == 0
    }

    /// Whether what stands in `slot` is of the packets that were to be found there.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(&self, slot: Slot) -> bool {
        self.tag == slot.tag
    }

    /// Whether it was kept in a slot that lots of flows share, for one to `vtep`.
    #[must_use]
    pub const fn is_of_flow_to(&self, vtep: VtepId) -> bool {
        self.tag / LOTS == vtep.index()
    }

    /// Bounds the outer IP packet by `mtu` bytes as well, as the underlay told.
    #[inline(always)]
    pub fn lower_mtu(&mut self, mtu: u16) {
        self.mtu = self.mtu.min(mtu);
    }

    /// Whether it may be used at `now`, nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn is_fresh(&self, now: u64) -> bool {
        now < self.fresh_until
    }

    /// Whether it is what packets of `slot` go by, and may be used at `now`.
    #[inline(always)]
    #[must_use]
    pub const fn is_good(&self, slot: Slot, now: u64) -> bool {
        self.is_of(slot) && self.is_fresh(now)
    }

    /// Whether an outer IP packet of so many bytes fits the path, as far as anybody knows.
    #[inline(always)]
    #[must_use]
    pub const fn carries(&self, ip_len: u32) -> bool {
        self.mtu == 0 || ip_len <= self.mtu as u32
    }

    /// Until when it may be used, nanoseconds of the monotonic clock.
    #[must_use]
    pub const fn fresh_until(&self) -> u64 {
        self.fresh_until
    }

    /// The device to send by; `None` for a slot never filled.
    #[inline(always)]
    #[must_use]
    pub const fn uplink(&self) -> Option<IfIndex> {
        IfIndex::new(self.uplink)
    }

    /// The outer Ethernet header.
    #[inline(always)]
    #[must_use]
    pub const fn ethernet(&self) -> &[u8; eth::LEN] {
        &self.ethernet
    }

    /// The largest outer IP packet that fits the path, in bytes; 0 if not known.
    #[inline(always)]
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The same without what the underlay told.
    #[inline(always)]
    #[must_use]
    pub const fn fib_mtu(&self) -> u16 {
        self.fib_mtu
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_share_slots_and_not_next_hops() {
        let (one, two) = (VtepId::FIRST, VtepId::new(1 + (FLOW_SLOTS as u32 / LOTS) as u16).unwrap());
        let (slot, other) = (Slot::of_flow(one, 5), Slot::of_flow(two, 5 + LOTS));
        assert_eq!((slot.index(), slot.lot()), (other.index(), other.lot()));
        let hop = NextHop::new(IfIndex::new(3).unwrap(), [0; eth::LEN], 1500, 0, slot);
        assert!(hop.is_of(slot) && hop.is_of_flow_to(one));
        assert!(!hop.is_of(other) && !hop.is_of_flow_to(two));
        assert!(NextHop::NONE_IPV4.is_of(Slot::new(one)));
    }

    #[test]
    fn what_is_forgotten_is_of_no_slot_and_stays_whole() {
        let slot = Slot::new(VtepId::FIRST);
        let ethernet = eth::header(MacAddr::BROADCAST, MacAddr::default(), Family::Ipv4);
        let hop = NextHop::new(IfIndex::new(3).unwrap(), ethernet, 1500, 10, slot);
        let forgotten = hop.forgotten();
        assert!(!forgotten.is_of(slot) && !forgotten.is_of_flow_to(VtepId::FIRST) && !forgotten.is_fresh(10));
        assert!(forgotten.is_forgotten() && NextHop::NONE_IPV6.is_forgotten() && !hop.is_forgotten());
        assert_eq!((forgotten.uplink(), forgotten.ethernet()), (hop.uplink(), hop.ethernet()));
        assert_eq!((forgotten.mtu(), forgotten.fib_mtu()), (1500, 1500));
    }

    #[test]
    fn every_flow_has_a_slot_among_those_of_flows() {
        for hash in 0..2 * LOTS {
            assert!(Slot::flows().contains(&Slot::of_flow(VtepId::FIRST, hash).index()));
        }
        assert!(!Slot::flows().contains(&Slot::new(VtepId::FIRST).index()));
    }

    #[test]
    fn freshness() {
        let ethernet = eth::header(MacAddr::BROADCAST, MacAddr::default(), Family::Ipv4);
        let hop = NextHop::new(IfIndex::new(3).unwrap(), ethernet, 1500, 10, Slot::new(VtepId::FIRST));
        assert!(hop.is_fresh(10));
        assert!(!hop.is_fresh(10 + FRESH_NS));
        assert!(!NextHop::NONE_IPV4.is_fresh(0));
        assert_eq!(NextHop::NONE_IPV6.uplink(), None);
        assert_eq!(size_of::<NextHop>(), 40);
    }
}
