//! The Ethernet header of a workload's frame, whether it comes from a port or out of a tunnel.

use network_types::eth::{EthHdr, EtherType};
use overlay_common::{
    DropReason, MacAddr,
    header::eth::{self, Payload},
};

use crate::packet::Packet;

/// The Ethernet header of a workload's frame that passed the guards.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    header: EthHdr,
}

impl Frame {
    /// Reads the header at `offset`, and applies the guards that hold for every frame of every segment.
    #[inline(always)]
    pub(crate) fn parse(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        let header = *packet.get::<EthHdr>(offset).ok_or(DropReason::InnerTruncated)?;
        if !eth::source(&header).is_station() {
            return Err(DropReason::BadSourceMac);
        }
        if eth::payload(&header) == Payload::Vlan {
            return Err(DropReason::InnerVlan);
        }
        Ok(Self { header })
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

    /// What the frame carries: anything but a VLAN tag.
    #[inline(always)]
    pub(crate) fn payload(&self) -> Payload {
        eth::payload(&self.header)
    }

    /// Whether it carries ARP.
    #[inline(always)]
    pub(crate) fn is_arp(&self) -> bool {
        self.header.ether_type == EtherType::Arp as u16
    }

    /// The header of a frame the other way, of the same kind.
    #[inline(always)]
    pub(crate) fn reversed(&self) -> [u8; eth::LEN] {
        let EthHdr { dst_addr, src_addr, .. } = self.header;
        Self { header: EthHdr { dst_addr: src_addr, src_addr: dst_addr, ..self.header } }.bytes()
    }

    /// The header's bytes.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> [u8; eth::LEN] {
        let [a, b, c, d, e, f] = self.header.dst_addr;
        let [g, h, i, j, k, l] = self.header.src_addr;
        let [m, n] = self.header.ether_type.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
    }
}
