//! Encapsulation: from a workload's frame to a packet on its way to a remote VTEP.

use overlay_common::{
    DropReason, Family, Vni, VtepId,
    header::{
        eth::{self, Payload},
        outer::{self, Fields},
    },
    maps::{next_hop::NextHop, segment::Segment, vtep::Vtep},
};

use crate::{
    frame::Frame,
    gso::Headers,
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

/// All that is written in front of an inner payload over IPv4: outer headers and inner Ethernet header.
const IPV4_HEADERS_LEN: usize = outer::IPV4_LEN + eth::LEN;
/// The same over IPv6.
const IPV6_HEADERS_LEN: usize = outer::IPV6_LEN + eth::LEN;

/// A frame of a workload on its way into tunnels, as it was before the first change to it.
pub(crate) struct Inner {
    pub(crate) vni: Vni,
    pub(crate) frame: Frame,
    len: u32,
    packets: u32,
    /// Bytes of the largest frame that it will be cut up into; its own where it stays as it is.
    largest: u32,
    gso: Gso,
    flow_hash: u32,
    /// What it adds to a checksum around it; 0 where none will be made.
    sum: u16,
    /// When it came, nanoseconds of the monotonic clock.
    now: u64,
}

/// How the kernel carries a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gso {
    /// As it is.
    None,
    /// TCP of several segments as one.
    Tcp,
    /// Something else as one.
    Other,
}

impl Inner {
    /// Takes the measures of a frame of segment `vni` that came at `now`.
    #[inline(always)]
    pub(crate) fn new(skb: &Skb, vni: Vni, frame: Frame, now: u64) -> Result<Self, DropReason> {
        let len = skb.len();
        let (largest, gso) = match skb.gso_size() {
            0 => (len, Gso::None),
            size => {
                let headers = Headers::parse(skb, 0, frame.payload()).ok_or(DropReason::Merged)?;
                (headers.len + size, if headers.is_tcp { Gso::Tcp } else { Gso::Other })
            }
        };
        Ok(Self {
            vni,
            frame,
            len,
            packets: skb.packets(),
            largest,
            gso,
            flow_hash: skb.flow_hash(),
            sum: 0,
            now,
        })
    }

    /// What the frame counts for.
    #[inline(always)]
    pub(crate) fn size(&self) -> Size {
        Size { packets: self.packets, bytes: self.len }
    }

    /// Whether it fits the MTU of its segment.
    #[inline(always)]
    pub(crate) fn fits(&self, segment: &Segment) -> bool {
        segment.mtu().is_none_or(|mtu| self.largest <= u32::from(mtu) + eth::LEN as u32)
    }

    /// The same with its sum, for VTEPs that want checksums.
    #[inline(always)]
    pub(crate) fn with_sum(self, sum: u16) -> Self {
        Self { sum, ..self }
    }

    #[inline(always)]
    fn fields(&self) -> Fields {
        Fields { vni: self.vni, frame_len: self.len, flow_hash: self.flow_hash }
    }

    /// Makes room for outer headers.
    #[inline(always)]
    pub(crate) fn make_room(&self, skb: &mut Skb, family: Family) -> Result<Room, DropReason> {
        let room = skb.make_room(self.frame.payload(), family).map_err(|_| DropReason::EncapFailed)?;
        // An earlier tunnel's mark stands for its inner TCP. If that tunnel is still on, cutting up would miss its lengths.
        if room == Room::Plain && self.gso == Gso::Other {
            return Err(DropReason::Merged);
        }
        Ok(room)
    }
}

/// A remote VTEP, and the way to it.
pub(crate) struct Target {
    id: VtepId,
    vtep: &'static Vtep,
    way: Way,
}

impl Target {
    /// Finds the way to the VTEP `id` for a frame, which has to fit it.
    #[inline(always)]
    pub(crate) fn find(skb: &Skb, id: VtepId, inner: &Inner) -> Result<Self, DropReason> {
        let vtep = vteps::get(id).ok_or(DropReason::UnknownVtep)?;
        // There is no way to have the kernel fill in checksums of what it cuts up (Linux 6.18).
        if vtep.udp_checksum() && inner.gso != Gso::None {
            return Err(DropReason::Merged);
        }
        let ip_len = inner.largest + outer::overhead(vtep.family()) as u32;
        let way = next_hop::find(skb, id, vtep, ip_len, inner.now)?;
        Ok(Self { id, vtep, way })
    }

    /// Whether the frame has to be summed up first.
    #[inline(always)]
    pub(crate) fn wants_sum(&self) -> bool {
        self.vtep.udp_checksum()
    }

    /// Encapsulates a frame and sends it.
    #[inline(always)]
    pub(crate) fn send(self, skb: &mut Skb, inner: &Inner) -> Outcome {
        let room = inner.make_room(skb, self.vtep.family())?;
        self.send_with_room(skb, inner, room)
    }

    /// Sends a frame that has room for the outer headers.
    #[inline(always)]
    pub(crate) fn send_with_room(self, skb: &mut Skb, inner: &Inner, room: Room) -> Outcome {
        let hop = match (&self.way, self.vtep.family()) {
            (Way::Resolved(hop), _) => hop,
            (Way::Unresolved { .. }, Family::Ipv4) => &NextHop::NONE_IPV4,
            (Way::Unresolved { .. }, Family::Ipv6) => &NextHop::NONE_IPV6,
        };
        match self.vtep.family() {
            Family::Ipv4 => {
                let headers = skb.get_mut::<[u8; IPV4_HEADERS_LEN]>(0).ok_or(DropReason::EncapFailed)?;
                self.write_ipv4(headers, hop, inner);
            }
            Family::Ipv6 => {
                let headers = skb.get_mut::<[u8; IPV6_HEADERS_LEN]>(0).ok_or(DropReason::EncapFailed)?;
                self.write_ipv6(headers, hop, inner);
            }
        }
        let is_resolved = matches!(self.way, Way::Resolved(_));
        if room == Room::Plain
            && !(is_resolved && inner.gso == Gso::None)
            && inner.frame.payload() != Payload::from(self.vtep.family())
        {
            skb.announce().map_err(|_| DropReason::EncapFailed)?;
        }
        counters::sent(inner.vni, Some(self.id), inner.size());
        match self.way {
            Way::Resolved(hop) => redirect::to_device(hop.uplink().ok_or(DropReason::NoRoute)?),
            Way::Unresolved { uplink, via, .. } => redirect::to_neighbour(uplink, via),
        }
    }

    /// The next hop that a copy can be sent to: only the frame itself can have the kernel resolve one.
    #[inline(always)]
    pub(crate) fn copy_hop(&self) -> Option<&'static NextHop> {
        match self.way {
            Way::Resolved(hop) => Some(hop),
            Way::Unresolved { last, .. } => last,
        }
    }

    /// Sends a copy of a frame that has room for the outer headers.
    #[inline(always)]
    pub(crate) fn send_copy(self, skb: &mut Skb, hop: &NextHop, inner: &Inner) -> Result<(), DropReason> {
        let uplink = hop.uplink().ok_or(DropReason::NoRoute)?;
        match self.vtep.family() {
            Family::Ipv4 => {
                let mut headers = [0; IPV4_HEADERS_LEN];
                self.write_ipv4(&mut headers, hop, inner);
                skb.store(0, &headers)
            }
            Family::Ipv6 => {
                let mut headers = [0; IPV6_HEADERS_LEN];
                self.write_ipv6(&mut headers, hop, inner);
                skb.store(0, &headers)
            }
        }
        .map_err(|_| DropReason::EncapFailed)?;
        skb.send_copy(uplink).map_err(|_| DropReason::RedirectFailed)?;
        counters::sent(inner.vni, Some(self.id), inner.size());
        Ok(())
    }

    #[inline(always)]
    fn write_ipv4(&self, headers: &mut [u8; IPV4_HEADERS_LEN], hop: &NextHop, inner: &Inner) {
        let Some((outer, ethernet)) = headers.split_first_chunk_mut::<{ outer::IPV4_LEN }>() else {
            return;
        };
        self.vtep.outer().write_ipv4(outer, hop.ethernet(), &inner.fields());
        ethernet.copy_from_slice(&inner.frame.bytes());
    }

    #[inline(always)]
    fn write_ipv6(&self, headers: &mut [u8; IPV6_HEADERS_LEN], hop: &NextHop, inner: &Inner) {
        let Some((outer, ethernet)) = headers.split_first_chunk_mut::<{ outer::IPV6_LEN }>() else {
            return;
        };
        let sum = if self.wants_sum() { Some(inner.sum) } else { None };
        self.vtep.outer().write_ipv6(outer, hop.ethernet(), &inner.fields(), sum);
        ethernet.copy_from_slice(&inner.frame.bytes());
    }
}
