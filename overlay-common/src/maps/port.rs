//! `PORTS`: the devices that face workloads.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::Vni;

/// The map's name: a hash of device index (`u32`) to [`Port`].
pub const NAME: &str = "PORTS";

/// Ports an instance can have.
pub const MAX_ENTRIES: usize = 1 << 14;

/// The port is a trunk.
const TRUNK: u32 = 1;
/// Frames out of tunnels shall go straight to the device from XDP.
const XDP_REDIRECT: u32 = 1 << 1;
/// The device takes frames from XDP, as it is now.
const TAKES_XDP: u32 = 1 << 2;

/// A port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Port {
    vni: u32,
    kind: u32,
    learn_limit: u32,
    flags: u32,
    /// Wanted, so that it outlives the device; programs go by `BUM_RATES`.
    bum_rate: u32,
}

map_data!(Port);

/// How frames are handed to a port's workload.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// Any device: frames are sent by it.
    Device = 0,
    /// A veth whose peer is in another network namespace: frames may go straight to the peer.
    VethPeer = 1,
}

impl Port {
    /// A port of segment `vni`.
    #[must_use]
    pub const fn new(vni: Vni, kind: PortKind) -> Self {
        Self { vni: vni.get(), kind: kind as u32, learn_limit: 0, flags: 0, bum_rate: 0 }
    }

    /// The same, with frames handed over in another way.
    #[must_use]
    pub const fn with_kind(self, kind: PortKind) -> Self {
        Self { kind: kind as u32, ..self }
    }

    /// A trunk port: its VLANs are segments of their own, by the maps `VLANS` and `TAGS`; frames without a tag belong to
    /// `native`, if there is one.
    #[must_use]
    pub const fn trunk(native: Option<Vni>, kind: PortKind) -> Self {
        let vni = match native {
            Some(vni) => vni.get(),
            None => 0,
        };
        Self { vni, kind: kind as u32, learn_limit: 0, flags: TRUNK, bum_rate: 0 }
    }

    /// Whether VLANs of the port are segments of their own.
    #[inline(always)]
    #[must_use]
    pub const fn is_trunk(&self) -> bool {
        self.flags & TRUNK != 0
    }

    /// The segment of frames without a VLAN tag. `None` only for a trunk port without one.
    #[inline(always)]
    #[must_use]
    pub const fn vni(&self) -> Option<Vni> {
        Vni::new(self.vni)
    }

    /// How frames are handed over.
    #[inline(always)]
    #[must_use]
    pub const fn kind(&self) -> PortKind {
        if self.kind == PortKind::VethPeer as u32 { PortKind::VethPeer } else { PortKind::Device }
    }

    /// How many stations can be learned behind the port at a time; 0: any number.
    #[inline(always)]
    #[must_use]
    pub const fn learn_limit(&self) -> u32 {
        self.learn_limit
    }

    /// The same with another limit of learned stations; 0: any number.
    #[must_use]
    pub const fn with_learn_limit(self, stations: u32) -> Self {
        Self { learn_limit: stations, ..self }
    }

    /// Whether frames out of tunnels shall go straight to the device from XDP, where that can be.
    #[must_use]
    pub const fn xdp_redirect(&self) -> bool {
        self.flags & XDP_REDIRECT != 0
    }

    /// The same with frames going straight to the device from XDP, or not.
    #[must_use]
    pub const fn with_xdp_redirect(self, on: bool) -> Self {
        self.with(XDP_REDIRECT, on)
    }

    /// The same, noting whether the device takes frames from XDP, as it is now.
    #[must_use]
    pub const fn with_taking_xdp(self, able: bool) -> Self {
        self.with(TAKES_XDP, able)
    }

    /// Whether frames out of tunnels go straight to the device from XDP: that is wanted, and can be.
    #[inline(always)]
    #[must_use]
    pub const fn is_fed_by_xdp(&self) -> bool {
        self.flags & (XDP_REDIRECT | TAKES_XDP) == XDP_REDIRECT | TAKES_XDP
    }

    const fn with(self, flag: u32, on: bool) -> Self {
        Self { flags: if on { self.flags | flag } else { self.flags & !flag }, ..self }
    }

    /// Packets per second that the port may have flooded; 0: any number.
    #[must_use]
    pub const fn bum_rate(&self) -> u32 {
        self.bum_rate
    }

    /// The same with another rate of packets to be flooded, per second; 0: any number.
    #[must_use]
    pub const fn with_bum_rate(self, rate: u32) -> Self {
        Self { bum_rate: rate, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trunks() {
        let plain = Port::new(Vni::MAX, PortKind::VethPeer);
        assert!(!plain.is_trunk() && plain.vni() == Some(Vni::MAX));
        let trunk = Port::trunk(None, PortKind::VethPeer);
        assert!(trunk.is_trunk() && trunk.vni().is_none() && trunk.kind() == PortKind::VethPeer);
        assert_eq!(Port::trunk(Some(Vni::MAX), PortKind::Device).vni(), Some(Vni::MAX));
    }

    #[test]
    fn xdp_feeds_what_wants_it_and_takes_it() {
        let trunk = Port::trunk(None, PortKind::VethPeer);
        let wanting = trunk.with_xdp_redirect(true);
        assert!(wanting.xdp_redirect() && !wanting.is_fed_by_xdp());
        assert!(wanting.with_taking_xdp(true).is_fed_by_xdp() && wanting.with_taking_xdp(true).is_trunk());
        assert!(!trunk.with_taking_xdp(true).is_fed_by_xdp());
        assert_eq!(wanting.with_taking_xdp(true).with_taking_xdp(false).with_xdp_redirect(false), trunk);
    }
}
