//! `STATS`: packets and bytes, per CPU, per segment and remote VTEP.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{Vni, VtepId};

/// The map's name: a per-CPU hash of [`CountersKey`] to [`Counters`]. Entries are made with the segment and the tunnel.
pub const NAME: &str = "STATS";

/// Segments and tunnels there can be counters for, unless `up --max-vteps` says otherwise.
pub const MAX_ENTRIES: usize = entries(super::member::MAX_ENTRIES as u32) as usize;

/// The same with so many tunnels.
#[must_use]
pub const fn entries(tunnels: u32) -> u32 {
    super::segment::MAX_ENTRIES as u32 + tunnels
}

/// Whose packets: those of a segment that go to or come from one remote VTEP, or those switched inside it on this host.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct CountersKey {
    vni: u32,
    vtep: u32,
}

/// Packets and bytes of inner frames, Ethernet header included, but for those in `TALLIES`. A packet that the kernel carries whole and segments
/// later counts as its segments.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Counters {
    /// Frames from ports.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames out of tunnels.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames of stations that were not learned, because of a limit or a full FDB. This and what follows is counted for
    /// the segment as a whole, whichever VTEP the stations are behind.
    pub not_learned: u64,
    /// Those of them that were not because of a limit of the segment or the port.
    pub not_learned_limit: u64,
    /// Frames of stations from where they are not, which learning must not move: a command or a control plane put them
    /// elsewhere, they are frozen, or the port is at its limit.
    pub not_moved: u64,
    /// How often a station began to flap.
    pub flaps: u64,
    /// Requests for a neighbour (ARP, ND) to everybody in the segment that came from its ports while it suppresses them.
    pub neigh_requests: u64,
    /// Those of them that were answered here.
    pub neigh_answered: u64,
    /// Neighbours that were not learned because there are as many as there can be.
    pub neigh_not_learned: u64,
    /// Claims of a neighbour's address that stays another's, whom a command or a control plane gave it.
    pub neigh_refused: u64,
    /// Where this CPU counts besides: a place in `TALLIES`, and one more; 0: nowhere yet.
    pub tally: u64,
}

map_data!(CountersKey, Counters);

impl CountersKey {
    /// Packets of `vni` to and from `vtep`; `None`: between ports of this host.
    #[inline(always)]
    #[must_use]
    pub const fn new(vni: Vni, vtep: Option<VtepId>) -> Self {
        let vtep = match vtep {
            Some(vtep) => vtep.index(),
            None => 0,
        };
        Self { vni: vni.get(), vtep }
    }

    /// All of it in a word.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u64 {
        (self.vni as u64) << 32 | self.vtep as u64
    }

    /// The segment.
    #[must_use]
    pub const fn vni(self) -> Option<Vni> {
        Vni::new(self.vni)
    }

    /// The remote VTEP; `None`: between ports of this host.
    #[must_use]
    pub fn vtep(self) -> Option<VtepId> {
        u16::try_from(self.vtep).ok().and_then(VtepId::new)
    }
}

impl core::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
        self.not_learned += other.not_learned;
        self.not_learned_limit += other.not_learned_limit;
        self.not_moved += other.not_moved;
        self.flaps += other.flaps;
        self.neigh_requests += other.neigh_requests;
        self.neigh_answered += other.neigh_answered;
        self.neigh_not_learned += other.neigh_not_learned;
        self.neigh_refused += other.neigh_refused;
    }
}

impl core::ops::AddAssign<super::tally::Tally> for Counters {
    fn add_assign(&mut self, other: super::tally::Tally) {
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
    }
}
