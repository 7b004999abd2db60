//! Recognising packets of our tunnels: the checks that a packet passes before its inner frame is believed.

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
    vxlan::VxlanHdr,
};
use overlay_common::{
    DropReason, Family, UnderlayAddr, Vni, VtepId,
    explain::Left,
    header::{
        checksum, eth,
        eth::Payload,
        ipv4::{self, Fragment},
        ipv6::{self, Next},
        traits, udp, vxlan,
    },
    maps::{adopted::Adopted, config::Config, segment::Segment},
};

use crate::{
    explain,
    maps::{adopted, config, members, segments},
    packet::Packet,
};

/// Bytes that must be linear to see every header of a packet without IP options, the inner Ethernet header included.
pub(crate) const HEADERS_LEN: u32 = (eth::LEN + ipv6::LEN + udp::LEN + vxlan::LEN + eth::LEN) as u32;

/// A packet that came through a tunnel: its segment, and the member VTEP that sent it.
#[derive(Clone, Copy)]
pub(crate) struct Tunnel {
    pub(crate) vni: Vni,
    pub(crate) segment: &'static Segment,
    pub(crate) vtep: VtepId,
    /// The TOS byte or traffic class of the outer header; 0 where XDP took that off, which it does where it says nothing.
    pub(crate) outer_tos: u8,
    /// The packet mark that the VXLAN header carries, if the segment's do.
    pub(crate) mark: Option<u32>,
}

impl Tunnel {
    /// One whose packets' outer headers are off and had nothing more to say.
    #[inline(always)]
    pub(crate) fn stripped(vni: Vni, segment: &'static Segment, vtep: VtepId) -> Self {
        Self { vni, segment, vtep, outer_tos: 0, mark: None }
    }
}

/// Where the inner frame of a packet lies.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// Its offset: bytes of all outer headers.
    pub(crate) start: usize,
    /// Where it ends, in bytes from the start of the packet; `None`: where the packet does.
    pub(crate) end: Option<usize>,
}

/// A packet that is addressed to our VTEP.
struct Addressed {
    source: UnderlayAddr,
    tos: u8,
    /// Whether it is addressed to a multicast group rather than to us alone.
    to_group: bool,
    udp_at: usize,
    /// Bytes of UDP header and payload that IP makes room for; `None` where the kernel carries several packets as one.
    udp_room: Option<usize>,
    fragment: Fragment,
    checksum_is_right: bool,
}

/// A packet to our VTEP and port that no segment of ours can be found for.
pub(crate) struct Unclaimed {
    /// Where its UDP header is.
    pub(crate) udp_at: usize,
    /// Of its outer addresses.
    pub(crate) family: Family,
    /// The segment that it names, if it names one.
    pub(crate) vni: Option<Vni>,
}

/// Recognises a packet for one of our segments from one of its members. `Ok(None)`: it is not ours.
///
/// A packet that a `vxlan` device of the kernel serves is not ours either. `foreign` tells whether somebody else takes a
/// packet that no segment of ours can be found for. `known` is asked first about a
/// packet to us alone, by segment and sender, and where its inner frame starts: the segment's settings, and the sender's id.
#[inline(always)]
pub(crate) fn recognise<P: Packet>(
    packet: &P,
    foreign: impl FnOnce(&P, Unclaimed) -> bool,
    known: impl FnOnce(&P, Vni, UnderlayAddr, usize) -> Option<(&'static Segment, VtepId)>,
) -> Result<Option<(Tunnel, Span)>, DropReason> {
    let Some(addressed) = config::get().and_then(|config| addressed(packet, config)) else {
        return Ok(None);
    };
    let (udp_at, source) = (addressed.udp_at, addressed.source);
    let vni = vni(packet, udp_at);
    let known = match vni {
        Ok(vni) if !addressed.to_group => known(packet, vni, source, udp_at + udp::LEN + vxlan::LEN),
        _ => None,
    };
    let (vni, segment) = match known {
        Some((segment, _)) => (vni?, segment),
        None => match vni.and_then(|vni| Ok((vni, segments::get(vni).ok_or(DropReason::UnknownVni)?))) {
            Ok(found) => found,
            Err(_) if addressed.to_group => return Ok(None),
            Err(reason) => {
                let unclaimed = Unclaimed { udp_at, family: source.family(), vni: vni.ok() };
                return if foreign(packet, unclaimed) { Ok(None) } else { Err(reason) };
            }
        },
    };
    if addressed.to_group && !has_group(packet, vni, source.family()) {
        return Ok(None);
    }
    let span = span(packet, &addressed)?;
    let vtep = match known {
        Some((_, vtep)) => vtep,
        None => members::get(vni, source).ok_or(DropReason::NotAMember)?,
    };
    let mark = group_policy(packet, udp_at, segment)?;
    Ok(Some((Tunnel { vni, segment, vtep, outer_tos: addressed.tos, mark }, span)))
}

/// Recognises a packet for a segment that is adopted, from a VTEP that the kernel knows stations behind. `None`: the kernel shall
/// have it, whatever it is.
#[inline(always)]
pub(crate) fn adopted<P: Packet>(packet: &P, now: u64) -> Option<(Tunnel, Span, &'static Adopted)> {
    let addressed = addressed(packet, config::get()?)?;
    let vni = vni(packet, addressed.udp_at).ok()?;
    let adopted = explain::left(adopted::get(vni, now), Left::Lease)?;
    let span = explain::left(span(packet, &addressed).ok(), Left::Headers)?;
    let header = packet.get::<[u8; vxlan::LEN]>(addressed.udp_at + udp::LEN)?;
    if addressed.to_group || span.end.is_some() || vxlan::has_reserved_bits(header, false) {
        return explain::left(None, Left::Headers);
    }
    let vtep = explain::left(members::get(vni, addressed.source), Left::Sender)?;
    let tunnel = Tunnel { vni, segment: adopted.segment(), vtep, outer_tos: addressed.tos, mark: None };
    Some((tunnel, span, adopted))
}

/// A packet for one of our segments whose sender is no member of it, whoever that is.
pub(crate) struct Stranger {
    pub(crate) vni: Vni,
    pub(crate) segment: &'static Segment,
    pub(crate) source: UnderlayAddr,
}

/// Looks again at a packet whose sender [`recognise`] found to be no member.
#[inline(always)]
pub(crate) fn stranger<P: Packet>(packet: &P) -> Result<Stranger, DropReason> {
    let addressed = config::get().and_then(|config| addressed(packet, config));
    let addressed = addressed.ok_or(DropReason::NotAMember)?;
    let vni = vni(packet, addressed.udp_at)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    span(packet, &addressed)?;
    Ok(Stranger { vni, segment, source: addressed.source })
}

/// Whether the multicast group that a packet is addressed to stands for VTEPs of segment `vni`.
#[inline(always)]
fn has_group(packet: &impl Packet, vni: Vni, family: Family) -> bool {
    let group = match family {
        Family::Ipv4 => packet.get::<Ipv4Hdr>(eth::LEN).map(|ip| UnderlayAddr::from_ipv4(ip.dst_addr)),
        Family::Ipv6 => packet.get::<Ipv6Hdr>(eth::LEN).map(|ip| UnderlayAddr::from_ipv6(ip.dst_addr)),
    };
    group.is_some_and(|group| members::has_group(vni, group))
}

/// Whether a packet to `destination` is for our VTEP, or for a multicast group that may stand for it. `None`: neither.
///
/// A group's packet has a group's MAC address, and no other packet has.
#[inline(always)]
fn to_group(packet: &impl Packet, config: &Config, destination: UnderlayAddr) -> Option<bool> {
    let is_group = eth::destination(packet.get::<EthHdr>(0)?).is_group();
    let is_ours = if is_group { destination.is_multicast() } else { config.is_local(destination) };
    is_ours.then_some(is_group)
}

/// Whether a packet is UDP for one of our VTEP's addresses and its port.
#[inline(always)]
fn addressed<P: Packet>(packet: &P, config: &Config) -> Option<Addressed> {
    let addressed = match eth::payload(packet.get::<EthHdr>(0)?) {
        Payload::Ipv4 => addressed_ipv4(packet, config)?,
        Payload::Ipv6 => addressed_ipv6(packet, config)?,
        Payload::Vlan | Payload::Other => return None,
    };
    let udp = packet.get::<UdpHdr>(addressed.udp_at)?;
    (udp::destination_port(udp) == config.port()).then_some(addressed)
}

#[inline(always)]
fn addressed_ipv4<P: Packet>(packet: &P, config: &Config) -> Option<Addressed> {
    let ip = packet.get::<Ipv4Hdr>(eth::LEN)?;
    let header_len = ipv4::header_len(ip)?;
    if !ipv4::is_udp(ip) {
        return None;
    }
    let to_group = to_group(packet, config, UnderlayAddr::from_ipv4(ip.dst_addr))?;
    let fragment = ipv4::fragment(ip);
    if fragment == Fragment::Later {
        return None;
    }
    let total_len = usize::from(ipv4::total_len(ip));
    Some(Addressed {
        source: UnderlayAddr::from_ipv4(ip.src_addr),
        tos: ip.tos,
        to_group,
        udp_at: eth::LEN + header_len,
        udp_room: (!packet.is_gso()).then(|| total_len.saturating_sub(header_len)),
        fragment,
        checksum_is_right: checksum_is_right(packet, header_len),
    })
}

/// IPv6 has no header checksum. That of UDP may be zero (RFC 6935), and need not be verified if it is not (RFC 7348,
/// section 4.1): the inner packet has its own.
#[inline(always)]
fn addressed_ipv6<P: Packet>(packet: &P, config: &Config) -> Option<Addressed> {
    let ip = packet.get::<Ipv6Hdr>(eth::LEN)?;
    let (source, destination) = (UnderlayAddr::from_ipv6(ip.src_addr), UnderlayAddr::from_ipv6(ip.dst_addr));
    // IPv4 addresses must not come in by IPv6; the kernel drops them, too (`ip6_rcv_core` in `net/ipv6/ip6_input.c`).
    if source.family() == Family::Ipv4 || destination.family() == Family::Ipv4 {
        return None;
    }
    let to_group = to_group(packet, config, destination)?;
    let behind = eth::LEN + ipv6::LEN;
    let (udp_at, fragment) = match ipv6::next(ip)? {
        Next::Udp => (behind, Fragment::Whole),
        Next::Fragment if ipv6::is_first_of_udp(packet.get(behind)?) => {
            (behind + ipv6::FRAGMENT_LEN, Fragment::First)
        }
        Next::Fragment | Next::Other => return None,
    };
    Some(Addressed {
        source,
        tos: traits::traffic_class([ip.vcf[0], ip.vcf[1]]),
        to_group,
        udp_at,
        udp_room: (!packet.is_gso()).then(|| usize::from(ipv6::payload_len(ip))),
        fragment,
        checksum_is_right: true,
    })
}

/// Whether the IPv4 header checksum is right, options included.
#[inline(always)]
fn checksum_is_right(packet: &impl Packet, header_len: usize) -> bool {
    let Some(fixed) = packet.get::<[u8; ipv4::LEN]>(eth::LEN) else {
        return false;
    };
    if header_len == ipv4::LEN {
        return ipv4::checksum_is_right(fixed, 0);
    }
    let mut options = [0; ipv4::MAX_LEN - ipv4::LEN];
    packet.load(eth::LEN + ipv4::LEN, &mut options, header_len - ipv4::LEN).is_ok()
        && ipv4::checksum_is_right(fixed, checksum::sum(&options))
}

/// The segment that a packet's VXLAN header names.
#[inline(always)]
fn vni(packet: &impl Packet, udp_at: usize) -> Result<Vni, DropReason> {
    vxlan::segment(packet.get::<VxlanHdr>(udp_at + udp::LEN).ok_or(DropReason::OuterTruncated)?)
}

/// Looks at the bits of the VXLAN header that RFC 7348 reserves, as the segment would have it: refuses them, or takes the
/// packet mark out of them.
#[inline(always)]
fn group_policy(packet: &impl Packet, udp_at: usize, segment: &Segment) -> Result<Option<u32>, DropReason> {
    let policy = segment.policy();
    if !policy.refuses_reserved() && !policy.gbp() {
        return Ok(None);
    }
    let header = packet.get::<[u8; vxlan::LEN]>(udp_at + udp::LEN).ok_or(DropReason::OuterTruncated)?;
    if policy.refuses_reserved() && vxlan::has_reserved_bits(header, policy.gbp()) {
        return Err(DropReason::ReservedBits);
    }
    Ok(if policy.gbp() { vxlan::mark(header) } else { None })
}

/// Checks a packet's lengths against each other, and finds the inner frame.
#[inline(always)]
fn span(packet: &impl Packet, addressed: &Addressed) -> Result<Span, DropReason> {
    if addressed.fragment != Fragment::Whole {
        return Err(DropReason::OuterFragment);
    }
    if !addressed.checksum_is_right {
        return Err(DropReason::OuterChecksum);
    }
    let start = addressed.udp_at + udp::LEN + vxlan::LEN;
    let Some(room) = addressed.udp_room else {
        return Ok(Span { start, end: None });
    };
    if addressed.udp_at + room > packet.len() {
        return Err(DropReason::OuterTruncated);
    }
    let udp = packet.get::<UdpHdr>(addressed.udp_at).ok_or(DropReason::OuterTruncated)?;
    let udp_len = usize::from(udp::len(udp));
    if udp_len > room || udp_len < udp::LEN + vxlan::LEN {
        return Err(DropReason::UdpLength);
    }
    if udp_len < udp::LEN + vxlan::LEN + eth::LEN {
        return Err(DropReason::InnerTruncated);
    }
    let end = addressed.udp_at + udp_len;
    Ok(Span { start, end: (end != packet.len()).then_some(end) })
}
