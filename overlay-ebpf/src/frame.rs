//! The Ethernet header of a workload's frame, whether it comes from a port or out of a tunnel.
//!
//! VLAN tags that a frame keeps are handed over beside it while the programs have it ([`Skb::tags_handed_over`]): its bytes
//! are those of a frame without. They are among its bytes only inside a tunnel packet, and put back where the frame leaves.
//! So whoever looks into a frame that was handed over need not know of tags.

use network_types::eth::{EthHdr, EtherType};
use overlay_common::{
    DropReason, MacAddr,
    header::{
        eth::{self, Payload},
        vlan::{self, Tag, Tags},
    },
};

use crate::{helper::Refused, maps::counters::Size, packet::Packet, skb::Skb};

/// The Ethernet header of a workload's frame that passed the guards.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Its type is that of what follows all tags.
    header: EthHdr,
    /// The protocol of the outer tag; without tags the same as the header's.
    first_type: u16,
    tags_len: u8,
    tags_in_bytes: bool,
}

impl Frame {
    /// Reads the header at `offset`, and applies the guards that hold for every frame of every segment.
    /// [`DropReason::InnerVlan`] for a frame with a VLAN tag.
    #[inline(always)]
    pub(crate) fn parse(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        let header = *packet.get::<EthHdr>(offset).ok_or(DropReason::InnerTruncated)?;
        if !eth::source(&header).is_station() {
            return Err(DropReason::BadSourceMac);
        }
        if eth::payload(&header) == Payload::Vlan {
            return Err(DropReason::InnerVlan);
        }
        Ok(Self { header, first_type: header.ether_type, tags_len: 0, tags_in_bytes: false })
    }

    /// The same for a frame whose tags, as many as can be kept, are among its bytes: also returns those.
    #[inline(always)]
    pub(crate) fn parse_tagged(packet: &impl Packet, offset: usize) -> Result<(Self, Tags), DropReason> {
        let mut header = *packet.get::<EthHdr>(offset).ok_or(DropReason::InnerTruncated)?;
        if !eth::source(&header).is_station() {
            return Err(DropReason::BadSourceMac);
        }
        let mut tags = Tags::NONE;
        for at in 0..vlan::MAX_KEPT {
            if eth::payload(&header) == Payload::Vlan {
                let behind =
                    packet.get(offset + eth::LEN + at * vlan::LEN).ok_or(DropReason::InnerTruncated)?;
                let (tag, ether_type) = tag(&header, behind).ok_or(DropReason::InnerVlan)?;
                tags = tags.and(tag).ok_or(DropReason::InnerVlan)?;
                header.ether_type = ether_type;
            }
        }
        if eth::payload(&header) == Payload::Vlan {
            return Err(DropReason::InnerVlan);
        }
        let frame = Self { header, first_type: header.ether_type, tags_len: 0, tags_in_bytes: true };
        Ok((frame.with_tags(tags), tags))
    }

    /// A frame that was handed over, with the tags that it keeps.
    #[inline(always)]
    pub(crate) fn handed_over(skb: &Skb) -> Result<Self, DropReason> {
        Ok(Self::parse(skb, 0)?.with_tags(skb.tags_handed_over()))
    }

    /// The same with these tags.
    #[inline(always)]
    pub(crate) fn with_tags(self, tags: Tags) -> Self {
        let first = tags.outer().map_or(self.header.ether_type, |tag| u16::from_ne_bytes(tag.protocol()));
        Self { first_type: first, tags_len: tags.len() as u8, ..self }
    }

    /// The same when its tags are no longer among the bytes.
    #[inline(always)]
    pub(crate) fn without_tags_in_bytes(self) -> Self {
        Self { tags_in_bytes: false, ..self }
    }

    /// The destination.
    #[inline(always)]
    pub(crate) fn destination(&self) -> MacAddr {
        eth::destination(&self.header)
    }

    /// The source: a station.
    #[inline(always)]
    pub(crate) fn source(&self) -> MacAddr {
        eth::source(&self.header)
    }

    /// What the frame carries, behind its tags: anything but a VLAN tag.
    #[inline(always)]
    pub(crate) fn payload(&self) -> Payload {
        eth::payload(&self.header)
    }

    /// How many bytes the tags that it keeps take.
    #[inline(always)]
    pub(crate) fn tags_len(&self) -> usize {
        usize::from(self.tags_len)
    }

    /// Where the payload begins, in bytes from where the frame does.
    #[inline(always)]
    pub(crate) fn network_offset(&self) -> usize {
        eth::LEN + if self.tags_in_bytes { self.tags_len() } else { 0 }
    }

    /// What the frame in `skb`, its tags beside it, counts for.
    #[inline(always)]
    pub(crate) fn size(&self, skb: &Skb) -> Size {
        let size = skb.size();
        Size { bytes: size.bytes + u32::from(self.tags_len), ..size }
    }

    /// Whether it carries ARP.
    #[inline(always)]
    pub(crate) fn is_arp(&self) -> bool {
        self.header.ether_type == EtherType::Arp as u16
    }

    /// The header, without tags, of a frame the other way, of the same kind.
    #[inline(always)]
    pub(crate) fn reversed(&self) -> [u8; eth::LEN] {
        let EthHdr { dst_addr, src_addr, .. } = self.header;
        Self { header: EthHdr { dst_addr: src_addr, src_addr: dst_addr, ..self.header }, ..*self }
            .plain_bytes()
    }

    /// The header's bytes without tags.
    #[inline(always)]
    pub(crate) fn plain_bytes(&self) -> [u8; eth::LEN] {
        self.bytes_with(self.header.ether_type.to_ne_bytes())
    }

    /// The first bytes of the header with tags: both addresses, and the protocol of the outer tag.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> [u8; eth::LEN] {
        self.bytes_with(self.first_type.to_ne_bytes())
    }

    #[inline(always)]
    fn bytes_with(&self, [m, n]: [u8; 2]) -> [u8; eth::LEN] {
        let [a, b, c, d, e, f] = self.header.dst_addr;
        let [g, h, i, j, k, l] = self.header.src_addr;
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
    }

    /// Writes what comes behind [`Self::bytes`] in the header with tags: nothing where there are none.
    #[inline(always)]
    pub(crate) fn write_tags(&self, skb: &mut Skb, offset: u32) -> Result<(), Refused> {
        if self.tags_len == 0 {
            return Ok(());
        }
        let tags = skb.tags_handed_over();
        let Some(outer) = tags.outer() else { return Ok(()) };
        let [a, b] = outer.control().to_be_bytes();
        let [m, n] = self.header.ether_type.to_ne_bytes();
        match tags.inner() {
            None => skb.store(offset, &[a, b, m, n]),
            Some(inner) => {
                let ([c, d], [e, f]) = (inner.protocol(), inner.control().to_be_bytes());
                skb.store(offset, &[a, b, c, d, e, f, m, n])
            }
        }
    }
}

/// The tag that a header begins, by the bytes behind the header, and the type of what comes behind the tag.
#[inline(always)]
pub(crate) fn tag(header: &EthHdr, [a, b, m, n]: &[u8; vlan::LEN]) -> Option<(Tag, u16)> {
    let tag = Tag::new(header.ether_type.to_ne_bytes(), u16::from_be_bytes([*a, *b]))?;
    Some((tag, u16::from_ne_bytes([*m, *n])))
}
