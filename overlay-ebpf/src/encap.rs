//! Encapsulation: from a workload's frame to a packet on its way to a remote VTEP.

pub(crate) mod transit;

use aya_ebpf::helpers::bpf_get_prandom_u32;
use overlay_common::{
    DropReason, Family, IfIndex, Vni, VtepId,
    explain::Step,
    header::{
        ecn,
        eth::{self, Payload},
        fields::{self, Fields},
        outer,
        traits::{self, Traits},
    },
    maps::{config::Config, next_hop::NextHop, path_mtu::IPV6_MIN, segment::Segment, vtep::Vtep},
};

use crate::{
    explain, flow_hash,
    frame::Frame,
    gso::Headers,
    maps::{
        config,
        counters::{self, Size},
        flooding, vteps,
    },
    next_hop::{self, Load, Way},
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
    pub(crate) frame: Frame,
    fields: Fields,
    packets: u32,
    /// Bytes of the largest frame that it will be cut up into; its own where it stays as it is.
    largest: u32,
    gso: Gso,
    /// The device that can cut it up for VTEPs that want checksums; 0: none, or it is as it is.
    cutter: u32,
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
    pub(crate) fn new(
        skb: &mut Skb,
        vni: Vni,
        segment: &'static Segment,
        frame: Frame,
        now: u64,
    ) -> Result<Self, DropReason> {
        let tags_len = frame.tags_len() as u32;
        let len = skb.len() + tags_len;
        let (largest, gso) = match skb.gso_size() {
            0 => (len, Gso::None),
            size => {
                let headers = Headers::parse(skb, 0, frame.payload()).ok_or(DropReason::Merged)?;
                (headers.len + size + tags_len, if headers.is_tcp { Gso::Tcp } else { Gso::Other })
            }
        };
        let policy = segment.policy();
        let traits = policy.outer(look_inside(skb, &frame));
        let flow_hash = flow_hash::of(skb, &frame);
        let fields = Fields {
            vni,
            frame_len: len,
            flow_hash,
            source_port: policy.source_ports().of_flow(flow_hash),
            id: ip_id(traits),
            traits,
            mark: if policy.gbp() { skb.mark() } else { 0 },
        };
        Ok(Self { frame, fields, packets: skb.packets(), largest, gso, cutter: 0, sum: 0, now })
    }

    /// Its segment.
    #[inline(always)]
    pub(crate) fn vni(&self) -> Vni {
        self.fields.vni
    }

    /// The hash of its flow.
    #[inline(always)]
    pub(crate) fn flow_hash(&self) -> u32 {
        self.fields.flow_hash
    }

    /// When it came, nanoseconds of the monotonic clock.
    #[inline(always)]
    pub(crate) fn came_at(&self) -> u64 {
        self.now
    }

    /// Whether it is a single packet.
    #[inline(always)]
    pub(crate) fn is_single(&self) -> bool {
        self.gso == Gso::None
    }

    /// Whether several packets that are not TCP are carried as one.
    #[inline(always)]
    pub(crate) fn is_merged_oddly(&self) -> bool {
        self.gso == Gso::Other
    }

    /// Whether its inner header says that it met congestion.
    #[inline(always)]
    pub(crate) fn is_congested(&self) -> bool {
        self.fields.traits.tos() & ecn::MASK == ecn::MASK
    }

    /// What the frame counts for.
    #[inline(always)]
    pub(crate) fn size(&self) -> Size {
        Size { packets: self.packets, bytes: self.fields.frame_len }
    }

    /// Whether it fits the MTU of its segment.
    #[inline(always)]
    pub(crate) fn fits(&self, segment: &Segment) -> bool {
        let ethernet_len = (eth::LEN + self.frame.tags_len()) as u32;
        segment.mtu().is_none_or(|mtu| self.largest <= u32::from(mtu) + ethernet_len)
    }

    /// Whether nobody can ask its sender for less: every path has to carry it (RFC 8200, section 5).
    #[inline(always)]
    fn is_smallest(&self) -> bool {
        let ethernet_len = (eth::LEN + self.frame.tags_len()) as u32;
        self.frame.payload() == Payload::Ipv6 && self.largest <= u32::from(IPV6_MIN) + ethernet_len
    }

    /// The same for VTEPs that want checksums: with its sum, or with what will cut it up first.
    #[inline(always)]
    pub(crate) fn with_sum(self, skb: &Skb, sum: u16) -> Self {
        let cutter = if self.gso == Gso::None { 0 } else { cutter(skb) };
        Self { cutter, sum, ..self }
    }

    /// The same in place: the caller's stack frame has no room for two.
    #[inline(always)]
    pub(crate) fn add_sum(&mut self, skb: &Skb, sum: u16) {
        self.cutter = if self.gso == Gso::None { 0 } else { cutter(skb) };
        self.sum = sum;
    }

    /// Makes room for outer headers.
    #[inline(always)]
    pub(crate) fn make_room(&self, skb: &mut Skb, family: Family) -> Result<Room, DropReason> {
        let tags_len = self.frame.tags_len() as u32;
        let room =
            skb.make_room(self.frame.payload(), family, tags_len).map_err(|_| DropReason::EncapFailed)?;
        // An earlier tunnel's mark stands for its inner TCP. If that tunnel is still on, cutting up would miss its lengths.
        // Nor would it find an inner header that has become longer by tags.
        let is_marked = room == Room::Plain;
        if is_marked && (self.gso == Gso::Other || (self.gso == Gso::Tcp && tags_len != 0)) {
            return Err(DropReason::Merged);
        }
        let outer_len = match family {
            Family::Ipv4 => IPV4_HEADERS_LEN,
            Family::Ipv6 => IPV6_HEADERS_LEN,
        };
        self.frame.write_tags(skb, outer_len as u32).map_err(|_| DropReason::EncapFailed)?;
        Ok(room)
    }
}

/// The device that cuts frames up, if there is one; 0: none. BPF cannot ask the kernel for UDP checksums of what it cuts up
/// on the way out (Linux 6.18).
#[inline(always)]
fn cutter(skb: &Skb) -> u32 {
    let entrance = config::get().and_then(Config::cutter_entrance);
    entrance.filter(|device| skb.mtu_of(*device).is_ok()).map_or(0, IfIndex::get)
}

/// The id of an IPv4 packet with those traits: 0 for one that nobody may fragment.
#[inline(always)]
pub(crate) fn ip_id(traits: Traits) -> u16 {
    if traits.df() != 0 {
        return 0;
    }
    // SAFETY: the helper takes nothing.
    fields::ip_id(unsafe { bpf_get_prandom_u32() })
}

/// What outer headers may take over from the IP header of a frame.
#[inline(always)]
fn look_inside(skb: &mut Skb, frame: &Frame) -> Traits {
    const LEN: u32 = (eth::LEN + traits::LOOKED_AT) as u32;
    if skb.get::<[u8; LEN as usize]>(0).is_none() {
        // What is shorter has no IP header.
        let _ = skb.pull(LEN.min(skb.len()));
    }
    match skb.get::<[u8; traits::LOOKED_AT]>(eth::LEN) {
        Some(bytes) => Traits::read(frame.payload(), bytes),
        None => Traits::NONE,
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
        if vtep.udp_checksum() && inner.gso != Gso::None && inner.cutter == 0 {
            return Err(DropReason::GsoChecksum);
        }
        let ip_len = inner.largest + outer::overhead(vtep.family()) as u32;
        let load = Load { ip_len, heeds_told: !inner.is_smallest() };
        explain::note(|| Step::Vtep(Some(id)));
        let way = next_hop::find(skb, id, vtep, load, inner.fields.flow_hash, inner.now)?;
        way.explain();
        Ok(Self { id, vtep, way })
    }

    /// Whether all is known of the way.
    #[inline(always)]
    pub(crate) fn is_resolved(&self) -> bool {
        self.way.is_resolved
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
        let hop = self.way.header_hop(self.vtep.family());
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
        if room == Room::Plain
            && !(self.way.is_resolved && inner.gso == Gso::None)
            && inner.frame.payload() != Payload::from(self.vtep.family())
        {
            skb.announce().map_err(|_| DropReason::EncapFailed)?;
        }
        counters::sent(inner.vni(), Some(self.id), inner.size());
        match self.cutter(inner) {
            Some(cutter) => redirect::to_device(cutter),
            None => self.way.send(hop),
        }
    }

    /// The next hop that a copy can be sent to: only the frame itself can have the kernel resolve one.
    #[inline(always)]
    pub(crate) fn copy_hop(&self) -> Option<&'static NextHop> {
        self.way.hop
    }

    /// Sends a copy of a frame that has room for the outer headers.
    #[inline(always)]
    pub(crate) fn send_copy(self, skb: &mut Skb, hop: &NextHop, inner: &Inner) -> Result<(), DropReason> {
        let device = self.cutter(inner).or(hop.uplink()).ok_or(DropReason::NoRoute)?;
        let headers = flooding::headers().ok_or(DropReason::EncapFailed)?;
        if let (Family::Ipv4, Some(headers)) = (self.vtep.family(), headers.first_chunk_mut()) {
            self.write_ipv4(headers, hop, inner);
            skb.store(0, headers)
        } else {
            self.write_ipv6(headers, hop, inner);
            skb.store(0, headers)
        }
        .map_err(|_| DropReason::EncapFailed)?;
        skb.send_copy(device).map_err(|_| DropReason::RedirectFailed)?;
        counters::sent(inner.vni(), Some(self.id), inner.size());
        Ok(())
    }

    /// The device that has to cut the frame up first. What stands for its UDP checksum does not matter there.
    #[inline(always)]
    fn cutter(&self, inner: &Inner) -> Option<IfIndex> {
        if self.vtep.udp_checksum() { IfIndex::new(inner.cutter) } else { None }
    }

    #[inline(always)]
    fn write_ipv4(&self, headers: &mut [u8; IPV4_HEADERS_LEN], hop: &NextHop, inner: &Inner) {
        let Some((outer, ethernet)) = headers.split_first_chunk_mut::<{ outer::IPV4_LEN }>() else {
            return;
        };
        self.vtep.outer().write_ipv4(outer, hop.ethernet(), &inner.fields);
        ethernet.copy_from_slice(&inner.frame.bytes());
    }

    #[inline(always)]
    fn write_ipv6(&self, headers: &mut [u8; IPV6_HEADERS_LEN], hop: &NextHop, inner: &Inner) {
        let Some((outer, ethernet)) = headers.split_first_chunk_mut::<{ outer::IPV6_LEN }>() else {
            return;
        };
        let sum = if self.vtep.udp_checksum() { Some(inner.sum) } else { None };
        self.vtep.outer().write_ipv6(outer, hop.ethernet(), &inner.fields, sum);
        ethernet.copy_from_slice(&inner.frame.bytes());
    }
}
