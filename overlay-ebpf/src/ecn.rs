//! Explicit congestion notification out of a tunnel (RFC 6040, section 4.2).

use overlay_common::{
    DropReason,
    header::{
        ecn, eth,
        eth::Payload,
        traits::{self, Traits},
    },
};

use crate::{helper::Refused, packet::Packet, skb::Skb};

/// Where the checksum is in an IPv4 header.
const IPV4_CHECK: u32 = 10;

/// What becomes of the first two bytes of an inner IP header, where its ECN bits are.
///
/// Plain numbers, also where nothing changes: of an `Option` the verifier sees parts that were never written.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    from: [u8; 2],
    to: [u8; 2],
}

/// What the outer TOS byte changes in the inner header at `network`.
#[inline(always)]
pub(crate) fn change(
    packet: &impl Packet,
    network: usize,
    payload: Payload,
    outer_tos: u8,
) -> Result<Change, DropReason> {
    const NOTHING: Change = Change { from: [0; 2], to: [0; 2] };
    if !ecn::matters(outer_tos) {
        return Ok(NOTHING);
    }
    let mut bytes = [0; traits::LOOKED_AT];
    // What has no IP header says nothing of congestion.
    if packet.load(network, &mut bytes, traits::LOOKED_AT).is_err()
        || Traits::read(payload, &bytes) == Traits::NONE
    {
        return Ok(NOTHING);
    }
    let tos = Traits::read(payload, &bytes).tos();
    let flip = (ecn::decapsulate(outer_tos, tos)? ^ tos) & ecn::MASK;
    // The traffic class begins four bits later.
    let flip = if payload == Payload::Ipv6 { flip << 4 } else { flip };
    Ok(Change { from: [bytes[0], bytes[1]], to: [bytes[0], bytes[1] ^ flip] })
}

impl Change {
    /// Whether all stays as it is.
    #[inline(always)]
    pub(crate) fn is_none(self) -> bool {
        self.from == self.to
    }

    /// Changes a frame that has no outer headers any more.
    #[inline(always)]
    pub(crate) fn apply(self, skb: &mut Skb, payload: Payload) -> Result<(), Refused> {
        const NETWORK: u32 = eth::LEN as u32;
        if self.is_none() {
            return Ok(());
        }
        if payload == Payload::Ipv6 {
            return skb.store_summed(NETWORK, &self.to);
        }
        skb.replace_in_ipv4_checksum(NETWORK + IPV4_CHECK, self.from, self.to)?;
        skb.store(NETWORK, &self.to)
    }
}
