//! Encapsulation: from a workload's frame to a packet on its way to a remote VTEP.

use overlay_common::{
    DropReason, Vni, VtepId,
    header::{eth, ipv4, outer, udp},
    maps::{next_hop::NextHop, vtep::Vtep},
};

use crate::{
    frame::Frame,
    maps::{
        counters::{self, Size},
        vteps,
    },
    next_hop::{self, Way},
    packet::Packet as _,
    redirect,
    skb::{Room, Skb},
    verdict::Outcome,
};

/// All that is written in front of an inner payload: outer headers and inner Ethernet header.
const HEADERS_LEN: usize = outer::IPV4_LEN + eth::LEN;

/// A frame of a workload on its way into tunnels, as it was before the first change to it.
pub(crate) struct Inner {
    pub(crate) vni: Vni,
    pub(crate) frame: Frame,
    len: u32,
    gso_size: u32,
    packets: u32,
    source_port: u16,
}

impl Inner {
    /// Takes the measures of a frame of segment `vni`.
    #[inline(always)]
    pub(crate) fn new(skb: &Skb, vni: Vni, frame: Frame) -> Self {
        Self {
            vni,
            frame,
            len: skb.len(),
            gso_size: skb.gso_size(),
            packets: skb.packets(),
            source_port: udp::source_port(skb.flow_hash()),
        }
    }

    /// What the frame counts for.
    #[inline(always)]
    pub(crate) fn size(&self) -> Size {
        Size { packets: self.packets, bytes: self.len }
    }

    /// Whether the outer packet fits `mtu` bytes of outer IP packet; 0: not known. Of a frame that will be segmented
    /// the smallest that its segments can be.
    #[inline(always)]
    fn fits(&self, mtu: u16) -> bool {
        const LEAST_HEADERS: u32 = (eth::LEN + ipv4::LEN + udp::LEN) as u32;
        let frame = if self.gso_size == 0 { self.len } else { self.gso_size + LEAST_HEADERS };
        mtu == 0 || frame + outer::IPV4_OVERHEAD as u32 <= u32::from(mtu)
    }
}

/// A remote VTEP, and the way to it.
pub(crate) struct Target {
    id: VtepId,
    vtep: &'static Vtep,
    way: Way,
}

impl Target {
    /// Finds the way to the VTEP `id` for a frame, and whether the frame fits it.
    #[inline(always)]
    pub(crate) fn find(skb: &Skb, id: VtepId, inner: &Inner) -> Result<Self, DropReason> {
        let vtep = vteps::get(id).ok_or(DropReason::UnknownVtep)?;
        let way = next_hop::find(skb, id, vtep)?;
        match way {
            Way::Resolved(hop) if !inner.fits(hop.mtu()) => Err(DropReason::TooBig),
            way => Ok(Self { id, vtep, way }),
        }
    }

    /// Encapsulates a frame and sends it.
    #[inline(always)]
    pub(crate) fn send(self, skb: &mut Skb, inner: &Inner) -> Outcome {
        let room = skb.make_room(inner.frame.payload()).map_err(|_| DropReason::EncapFailed)?;
        self.send_with_room(skb, inner, room)
    }

    /// Sends a frame that has room for the outer headers.
    #[inline(always)]
    pub(crate) fn send_with_room(self, skb: &mut Skb, inner: &Inner, room: Room) -> Outcome {
        if room == Room::Plain && matches!(self.way, Way::Unresolved { .. }) {
            return Err(DropReason::NextHopUnresolved);
        }
        let headers = skb.get_mut::<[u8; HEADERS_LEN]>(0).ok_or(DropReason::EncapFailed)?;
        self.write(headers, inner);
        counters::sent(inner.vni, Some(self.id), inner.size());
        match self.way {
            Way::Resolved(hop) => redirect::to_device(hop.uplink().ok_or(DropReason::NoRoute)?),
            Way::Unresolved { uplink, via } => redirect::to_neighbour(uplink, via),
        }
    }

    /// Sends a copy of a frame that has room for the outer headers.
    #[inline(always)]
    pub(crate) fn send_copy(self, skb: &mut Skb, inner: &Inner) -> Result<(), DropReason> {
        let Way::Resolved(hop) = self.way else {
            return Err(DropReason::NextHopUnresolved);
        };
        let uplink = hop.uplink().ok_or(DropReason::NoRoute)?;
        let mut headers = [0; HEADERS_LEN];
        self.write(&mut headers, inner);
        skb.store(0, &headers).map_err(|_| DropReason::EncapFailed)?;
        skb.send_copy(uplink).map_err(|_| DropReason::RedirectFailed)?;
        counters::sent(inner.vni, Some(self.id), inner.size());
        Ok(())
    }

    #[inline(always)]
    fn write(&self, headers: &mut [u8; HEADERS_LEN], inner: &Inner) {
        let ethernet = match self.way {
            Way::Resolved(hop) => *hop.ethernet(),
            Way::Unresolved { .. } => *NextHop::NONE.ethernet(),
        };
        let Some((outer, inner_ethernet)) = headers.split_first_chunk_mut::<{ outer::IPV4_LEN }>() else {
            return;
        };
        self.vtep.outer().write(outer, &ethernet, inner.vni, inner.len, inner.source_port);
        inner_ethernet.copy_from_slice(&inner.frame.bytes());
    }
}
