//! Encapsulating a frame that came out of another tunnel.

use overlay_common::{
    DropReason, Family, Vni,
    header::{
        eth,
        fields::Fields,
        journey::Journey,
        outer, outer_sum,
        traits::{self, Traits},
    },
    maps::segment::Segment,
};

use super::{Gso, Inner, Target, ip_id};
use crate::{
    clock,
    frame::Frame,
    gso::Headers,
    helper::Refused,
    maps::{counters, flooding},
    packet::Packet,
    skb::Skb,
    verdict::Outcome,
};

/// The outer header fields of a frame of segment `vni` in transit, of `frame_len` bytes, whose IP header is at `network`: as its
/// segment has them chosen, but for those that go on from the packet that it came in. `mark` is the packet mark of that.
#[inline(always)]
pub(crate) fn fields(
    packet: &impl Packet,
    (vni, segment, mark): (Vni, &Segment, u32),
    (frame, network): (&Frame, usize),
    journey: Journey,
    frame_len: u32,
) -> Fields {
    let inner = match packet.get::<[u8; traits::LOOKED_AT]>(network) {
        Some(bytes) => Traits::read(frame.payload(), bytes),
        None => Traits::NONE,
    };
    let traits = on_journey(segment.policy().outer(inner), journey);
    Fields {
        vni,
        frame_len,
        flow_hash: journey.flow_hash(),
        source_port: journey.source_port(),
        id: ip_id(traits),
        traits,
        mark,
    }
}

#[inline(always)]
fn on_journey(traits: Traits, journey: Journey) -> Traits {
    Traits::new(traits.tos(), journey.ttl(), traits.df())
}

impl Inner {
    /// The same for a frame in transit that has no outer headers any more.
    #[inline(always)]
    pub(crate) fn with_journey(mut self, journey: Journey) -> Self {
        self.fields.traits = on_journey(self.fields.traits, journey);
        self.fields.source_port = journey.source_port();
        self.fields.flow_hash = journey.flow_hash();
        self
    }

    /// Takes the measures of a frame of segment `vni` that is in a tunnel packet from byte `start` on. `mark` is
    /// the packet mark that its VXLAN header carries, `sum` what the frame adds to a checksum around it.
    #[inline(always)]
    pub(crate) fn within(
        skb: &Skb,
        (vni, segment, mark): (Vni, &'static Segment, u32),
        (frame, start): (Frame, usize),
        journey: Journey,
        sum: u16,
    ) -> Result<Self, DropReason> {
        let network = start + frame.network_offset();
        let len = skb.len() - start as u32;
        let (largest, gso) = match skb.gso_size() {
            0 => (len, Gso::None),
            size => {
                let headers =
                    Headers::parse(skb, network - eth::LEN, frame.payload()).ok_or(DropReason::Merged)?;
                (headers.len + size + frame.tags_len() as u32, Gso::Tcp)
            }
        };
        let fields = fields(skb, (vni, segment, mark), (&frame, network), journey, len);
        Ok(Self { frame, fields, packets: skb.packets(), largest, gso, cutter: 0, sum, now: clock::now() })
    }
}

impl Target {
    /// Writes other outer headers, of the same length, over those that a packet has, and sends it.
    #[inline(always)]
    pub(crate) fn pass_on(self, skb: &mut Skb, inner: &Inner, has_open_sum: bool) -> Outcome {
        let hop = self.way.header_hop(self.vtep.family());
        let room = flooding::headers().ok_or(DropReason::EncapFailed)?;
        match self.vtep.family() {
            Family::Ipv4 => {
                let headers = room.first_chunk_mut().ok_or(DropReason::EncapFailed)?;
                self.vtep.outer().write_ipv4(headers, hop.ethernet(), &inner.fields);
                if has_open_sum {
                    outer_sum::open_ipv4(headers, skb.len());
                }
                store::<{ outer::IPV4_LEN }, { outer::IPV4_LEN - eth::LEN }>(skb, headers)
            }
            Family::Ipv6 => {
                let headers = room.first_chunk_mut().ok_or(DropReason::EncapFailed)?;
                let sum = if self.vtep.udp_checksum() { Some(inner.sum) } else { None };
                self.vtep.outer().write_ipv6(headers, hop.ethernet(), &inner.fields, sum);
                if has_open_sum {
                    outer_sum::open_ipv6(headers, skb.len());
                }
                store::<{ outer::IPV6_LEN }, { outer::IPV6_LEN - eth::LEN }>(skb, headers)
            }
        }
        .map_err(|_| DropReason::EncapFailed)?;
        counters::sent(inner.vni(), Some(self.id), inner.size());
        self.way.send(hop)
    }
}

/// Writes outer headers of `LEN` bytes, `REST` of them behind Ethernet's: those a device may have summed up.
#[inline(always)]
fn store<const LEN: usize, const REST: usize>(skb: &mut Skb, headers: &[u8; LEN]) -> Result<(), Refused> {
    let ethernet = headers.first_chunk::<{ eth::LEN }>().ok_or(Refused)?;
    let rest = headers.last_chunk::<REST>().ok_or(Refused)?;
    skb.store(0, ethernet)?;
    skb.store_summed(eth::LEN as u32, rest)
}
