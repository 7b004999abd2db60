//! What the underlay says about packets of ours that were too big for it: ICMP type 3 code 4, `ICMPv6` packet too big.
//!
//! The kernel would look for the socket that sent such a packet, and there is none. Anybody can send such messages, so one is
//! believed only if it quotes a packet that we could have sent, and never beyond what is harmless. It then passes on.

use network_types::{
    eth::EthHdr,
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
};
use overlay_common::{
    Family, Notice, UnderlayAddr, Vni, VtepId,
    header::{
        eth::{self, Payload},
        icmp,
        ipv4::{self, Fragment},
        ipv6, udp, vxlan,
    },
    maps::path_mtu::{IPV4_MIN, IPV6_MIN},
};

use crate::{
    clock,
    maps::{config, members, notices, path_mtus, segments, vtep_ids, vteps},
    packet::Packet as _,
    skb::Skb,
    verdict::Verdict,
};

/// Bytes of the quoted UDP and VXLAN headers.
const TUNNEL_LEN: usize = udp::LEN + vxlan::LEN;

/// A message about a packet that did not fit.
struct News {
    /// Whom it tells.
    to: UnderlayAddr,
    /// The MTU that it names; one that says none names 0.
    mtu: u32,
    /// Bytes of the packet, as its IP header says.
    len: u16,
    /// Where the packet was from, and where to.
    source: UnderlayAddr,
    destination: UnderlayAddr,
    /// Its UDP and VXLAN headers; of the latter zeros where they are not quoted.
    tunnel: [u8; TUNNEL_LEN],
    has_vxlan: bool,
}

/// Whether a packet that is not of a tunnel of ours says that another was too big.
#[inline(always)]
pub(crate) fn is_news(skb: &Skb) -> bool {
    header(skb).is_some_and(|(family, _, [kind, code])| icmp::is_too_big(family, kind, code))
}

/// Takes note of what such a packet says, and lets it pass.
#[inline(always)]
pub(crate) fn handle(skb: &Skb) -> Verdict {
    if let Some(news) = read(skb) {
        match believed(&news) {
            Some((id, mtu)) => {
                path_mtus::lower(id, mtu, clock::now());
                notices::count(Notice::PathMtuLearned);
            }
            None if is_about_us(&news) => notices::count(Notice::PathMtuIgnored),
            None => {}
        }
    }
    Verdict::NotOurs
}

/// The family of an ICMP message, where it begins, and its type and code.
#[inline(always)]
fn header(skb: &Skb) -> Option<(Family, usize, [u8; 2])> {
    let (family, at) = match eth::payload(skb.get::<EthHdr>(0)?) {
        Payload::Ipv4 => {
            let ip = skb.get::<Ipv4Hdr>(eth::LEN)?;
            let is_whole = ip.proto == IpProto::Icmp as u8 && ipv4::fragment(ip) == Fragment::Whole;
            (Family::Ipv4, is_whole.then_some(eth::LEN + ipv4::header_len(ip)?)?)
        }
        Payload::Ipv6 => {
            let ip = skb.get::<Ipv6Hdr>(eth::LEN)?;
            (Family::Ipv6, (ip.next_hdr == IpProto::Ipv6Icmp as u8).then_some(eth::LEN + ipv6::LEN)?)
        }
        Payload::Vlan | Payload::Other => return None,
    };
    Some((family, at, *skb.get(at)?))
}

/// Reads a message that quotes a UDP packet.
#[inline(always)]
fn read(skb: &Skb) -> Option<News> {
    let (family, at, _) = header(skb)?;
    let mut field = [0; 4];
    skb.load(at + icmp::LEN - 4, &mut field, 4).ok()?;
    let quote = at + icmp::LEN;
    let (to, mtu, source, destination, len, udp_at) = match family {
        Family::Ipv4 => {
            let mut ip = [0; ipv4::LEN];
            skb.load(quote, &mut ip, ipv4::LEN).ok()?;
            // We send no options. A router may have changed what is not compared.
            let is_udp = ip[0] == 0x45 && ip[9] == IpProto::Udp as u8 && [ip[6] & 0x1f, ip[7]] == [0; 2];
            let [.., a, b, c, d, e, f, g, h] = ip;
            let (source, destination) =
                (UnderlayAddr::from_ipv4([a, b, c, d]), UnderlayAddr::from_ipv4([e, f, g, h]));
            let to = UnderlayAddr::from_ipv4(skb.get::<Ipv4Hdr>(eth::LEN)?.dst_addr);
            let mtu = u32::from(u16::from_be_bytes([field[2], field[3]]));
            let len = u16::from_be_bytes([ip[2], ip[3]]);
            is_udp.then_some((to, mtu, source, destination, len, quote + ipv4::LEN))?
        }
        Family::Ipv6 => {
            let mut ip = [0; ipv6::LEN];
            skb.load(quote, &mut ip, ipv6::LEN).ok()?;
            let is_udp = ip[0] >> 4 == 6 && ip[6] == IpProto::Udp as u8;
            let source = UnderlayAddr::from_ipv6(*ip[8..].first_chunk()?);
            let destination = UnderlayAddr::from_ipv6(*ip[24..].first_chunk()?);
            let to = UnderlayAddr::from_ipv6(skb.get::<Ipv6Hdr>(eth::LEN)?.dst_addr);
            let len = u16::from_be_bytes([ip[4], ip[5]]);
            is_udp.then_some((to, u32::from_be_bytes(field), source, destination, len, quote + ipv6::LEN))?
        }
    };
    let mut tunnel = [0; TUNNEL_LEN];
    let has_vxlan = skb.load(udp_at, &mut tunnel, TUNNEL_LEN).is_ok();
    if !has_vxlan {
        // RFC 792 has routers quote no more than eight bytes behind the IP header.
        tunnel = [0; TUNNEL_LEN];
        skb.load(udp_at, &mut tunnel, udp::LEN).ok()?;
    }
    Some(News { to, mtu, len, source, destination, tunnel, has_vxlan })
}

/// Whether a message is about a tunnel packet to the port that most of ours go to.
#[inline(always)]
fn is_about_us(news: &News) -> bool {
    let port = u16::from_be_bytes([news.tunnel[2], news.tunnel[3]]);
    config::get().is_some_and(|config| config.port() == port)
}

/// The remote VTEP that a message is about, and the MTU of the path to it, if the packet can have been ours.
#[inline(always)]
fn believed(news: &News) -> Option<(VtepId, u16)> {
    let source_port = u16::from_be_bytes([news.tunnel[0], news.tunnel[1]]);
    if news.to != news.source || !config::get()?.is_local(news.source) {
        return None;
    }
    let id = if news.has_vxlan {
        let [.., flags, _, _, _, a, b, c, _] = news.tunnel;
        if flags & vxlan::I_FLAG == 0 {
            return None;
        }
        let vni = Vni::from_be_bytes([a, b, c])?;
        if !segments::get(vni)?.policy().source_ports().contains(source_port) {
            return None;
        }
        members::get(vni, news.destination)?
    } else {
        vtep_ids::get(news.destination)?
    };
    let vtep = vteps::get(id)?;
    let port = u16::from_be_bytes([news.tunnel[2], news.tunnel[3]]);
    if vtep.remote() != news.destination || vtep.local() != news.source || vtep.outer().port() != port {
        return None;
    }
    let mtu = match vtep.family() {
        // Routers older than RFC 1191 say 0.
        Family::Ipv4 if news.mtu == 0 => icmp::plateau_below(news.len).max(IPV4_MIN),
        Family::Ipv4 => (news.mtu as u16).max(IPV4_MIN),
        Family::Ipv6 if news.mtu < u32::from(IPV6_MIN) => return None,
        Family::Ipv6 => news.mtu.min(u32::from(u16::MAX)) as u16,
    };
    Some((id, mtu))
}
