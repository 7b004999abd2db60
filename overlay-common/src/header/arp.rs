//! ARP for IPv4 over Ethernet (RFC 826) as [`network_types`] has it, and what we make of it.

pub use network_types::arp::ArpHdr;

use super::claim::{Claim, Heard, Strength};
use crate::{MacAddr, OverlayAddr};

/// Bytes of a packet.
pub const LEN: usize = ArpHdr::LEN;

const ETHERNET: [u8; 2] = [0, 1];
const IPV4: [u8; 2] = [8, 0];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// What a packet says, in a frame from `source` to `destination`.
///
/// The sender is believed only about its own MAC address, which has to be the frame's source too, and an IP address that
/// a station can have. One that is zero probes for a duplicate (RFC 5227, section 2.1).
#[inline(always)]
#[must_use]
pub fn heard(packet: &ArpHdr, source: MacAddr, destination: MacAddr) -> Heard {
    let is_ours = packet.htype == ETHERNET && packet.ptype == IPV4 && packet.hlen == 6 && packet.plen == 4;
    let is_request = packet.oper == REQUEST;
    if !is_ours || !(is_request || packet.oper == REPLY) || packet.sha != source.bytes() {
        return Heard::NOTHING;
    }
    let Some(address) = OverlayAddr::from_ipv4(packet.spa) else {
        return Heard::NOTHING;
    };
    let is_question = is_request && destination == MacAddr::BROADCAST && packet.spa != packet.tpa;
    Heard {
        claim: Some(Claim { address, mac: source, strength: Strength::Replaces, router: None }),
        asks_for: if is_question { OverlayAddr::from_ipv4(packet.tpa) } else { None },
    }
}

/// The answer to a request: that the station asked for has the address `mac`.
#[inline(always)]
#[must_use]
pub const fn reply(request: &ArpHdr, mac: MacAddr) -> ArpHdr {
    ArpHdr {
        htype: ETHERNET,
        ptype: IPV4,
        hlen: 6,
        plen: 4,
        oper: REPLY,
        sha: mac.bytes(),
        spa: request.tpa,
        tha: request.sha,
        tpa: request.spa,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASKER: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);
    const ASKED: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);

    fn request() -> ArpHdr {
        ArpHdr {
            htype: ETHERNET,
            ptype: IPV4,
            hlen: 6,
            plen: 4,
            oper: REQUEST,
            sha: ASKER.bytes(),
            spa: [10, 1, 0, 1],
            tha: [0; 6],
            tpa: [10, 1, 0, 2],
        }
    }

    fn hear(packet: &ArpHdr) -> Heard {
        heard(packet, ASKER, MacAddr::BROADCAST)
    }

    #[test]
    fn a_request_claims_and_asks() {
        let Heard { claim, asks_for } = hear(&request());
        let address = OverlayAddr::from_ipv4([10, 1, 0, 1]).unwrap();
        assert_eq!(claim, Some(Claim { address, mac: ASKER, strength: Strength::Replaces, router: None }));
        assert_eq!(asks_for, OverlayAddr::from_ipv4([10, 1, 0, 2]));
    }

    #[test]
    fn what_is_no_question_still_claims() {
        let to_one = heard(&request(), ASKER, ASKED);
        let announcement = hear(&ArpHdr { tpa: [10, 1, 0, 1], ..request() });
        let reply = hear(&ArpHdr { oper: REPLY, ..request() });
        let to_nobody = hear(&ArpHdr { tpa: [224, 0, 0, 1], ..request() });
        for heard in [to_one, announcement, reply, to_nobody] {
            assert!(heard.claim.is_some() && heard.asks_for.is_none(), "{heard:?}");
        }
    }

    #[test]
    fn what_is_not_right_says_nothing() {
        for packet in [
            ArpHdr { htype: [0, 6], ..request() },
            ArpHdr { ptype: [0x86, 0xdd], ..request() },
            ArpHdr { hlen: 8, ..request() },
            ArpHdr { plen: 16, ..request() },
            ArpHdr { oper: [0, 3], ..request() },
            ArpHdr { oper: [1, 0], ..request() },
            ArpHdr { sha: ASKED.bytes(), ..request() },
            ArpHdr { spa: [0; 4], ..request() },
            ArpHdr { spa: [255; 4], ..request() },
            ArpHdr { spa: [224, 0, 0, 9], ..request() },
        ] {
            assert_eq!(hear(&packet), Heard::NOTHING, "{packet:?}");
        }
    }

    proptest! {
        #[test]
        fn a_reply_is_heard_as_a_claim_of_what_was_asked_for(mac: [u8; 6], spa: [u8; 4], tpa: [u8; 4]) {
            let mac = MacAddr::new(mac);
            let question = ArpHdr { spa, tpa, ..request() };
            let asked = hear(&question).asks_for;
            let reply = reply(&question, mac);
            prop_assert_eq!((reply.tha, reply.tpa), (question.sha, question.spa));
            if let Some(address) = asked {
                let claim = Claim { address, mac, strength: Strength::Replaces, router: None };
                prop_assert_eq!(heard(&reply, mac, ASKER), Heard { claim: Some(claim), asks_for: None });
            }
        }
    }
}
