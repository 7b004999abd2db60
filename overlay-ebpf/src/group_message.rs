//! Messages of IGMP and MLD in frames.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use overlay_common::{
    Family,
    header::{eth, igmp, ipv4, ipv6, membership::Message, mld},
};

use crate::{message_sum, packet::Packet as _, skb::Skb};

/// The number of the hop-by-hop header, which MLD comes behind (RFC 2710, section 3).
const HOP_BY_HOP: u8 = 0;

/// Where the headers of a frame's payload start.
pub(crate) const NETWORK: usize = eth::LEN;

/// Bytes of headers that have to be in one piece: those of IPv6, and its shortest extension header.
pub(crate) const HEADERS_LEN: usize = NETWORK + ipv6::LEN + 8;

/// A message in a frame.
pub(crate) struct Found {
    pub(crate) family: Family,
    pub(crate) at: usize,
    pub(crate) len: usize,
}

/// The message in a frame, if it has a right one.
#[inline(always)]
pub(crate) fn find(skb: &Skb, family: Family) -> Option<Found> {
    match family {
        Family::Ipv4 => find_igmp(skb),
        Family::Ipv6 => find_mld(skb),
    }
}

#[inline(always)]
fn find_igmp(skb: &Skb) -> Option<Found> {
    let ip = skb.get::<Ipv4Hdr>(NETWORK)?;
    let header_len = ipv4::header_len(ip)?;
    let len = usize::from(ipv4::total_len(ip)).checked_sub(header_len)?;
    let is_whole = ipv4::fragment(ip) == ipv4::Fragment::Whole;
    let at = NETWORK + header_len;
    if ip.proto != igmp::PROTOCOL || !is_whole || at + len > skb.len() as usize {
        return None;
    }
    message_sum::is_right(skb, at, len, 0).then_some(Found { family: Family::Ipv4, at, len })
}

#[inline(always)]
fn find_mld(skb: &Skb) -> Option<Found> {
    let ip = skb.get::<Ipv6Hdr>(NETWORK)?;
    let behind = NETWORK + ipv6::LEN;
    if ip.next_hdr != HOP_BY_HOP {
        return None;
    }
    let [next, units] = *skb.get::<[u8; 2]>(behind)?;
    let options_len = (usize::from(units) + 1) * 8;
    let len = usize::from(ipv6::payload_len(ip)).checked_sub(options_len)?;
    let at = behind + options_len;
    // A message never comes from another link (RFC 3810, section 6).
    let is_near = ip.hop_limit == 1;
    if next != mld::PROTOCOL || !is_near || len > usize::from(u16::MAX) || at + len > skb.len() as usize {
        return None;
    }
    let sum = mld::pseudo_sum(&ip.src_addr, &ip.dst_addr, len as u16);
    message_sum::is_right(skb, at, len, sum).then_some(Found { family: Family::Ipv6, at, len })
}

/// What a message says, if it is about groups.
#[inline(always)]
pub(crate) fn read(skb: &Skb, found: &Found) -> Option<Message> {
    match found.family {
        Family::Ipv4 => {
            let mut bytes = [0; igmp::LEN];
            skb.load(found.at, &mut bytes, igmp::LEN).ok()?;
            igmp::parse(&bytes, found.len)
        }
        Family::Ipv6 => {
            let mut bytes = [0; mld::LEN];
            let len = if found.len < mld::LEN { mld::REPORT_LEN } else { mld::LEN };
            skb.load(found.at, &mut bytes, len).ok()?;
            mld::parse(&bytes, found.len)
        }
    }
}
