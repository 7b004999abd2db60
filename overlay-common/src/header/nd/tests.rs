use proptest::prelude::*;

use super::*;

const ASKER: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);
const ASKED: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);
const GROUP: MacAddr = MacAddr::new([0x33, 0x33, 0xff, 0, 0, 2]);

const fn fd01(number: u8) -> [u8; 16] {
    [0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]
}

/// Puts the right checksum into a packet.
fn summed(mut packet: Packet, option: Option<[u8; OPTION_LEN]>) -> Packet {
    packet.message[2..4].fill(0);
    let sum = sum(&packet) + option.map_or(0, |option| checksum::sum(&option));
    packet.message[2..4].copy_from_slice(&(!checksum::fold(sum)).to_be_bytes());
    packet
}

fn plain(kind: u8, flags: u8, source: [u8; 16], target: [u8; 16], option: bool) -> Packet {
    let mut message = [0; MESSAGE_LEN];
    (message[0], message[4]) = (kind, flags);
    message[8..].copy_from_slice(&target);
    let payload_len = MESSAGE_LEN + if option { OPTION_LEN } else { 0 };
    let ip = Ipv6Hdr {
        vcf: [0x60, 0, 0, 0],
        payload_len: u16::try_from(payload_len).unwrap().to_be_bytes(),
        next_hdr: 58,
        hop_limit: 255,
        src_addr: source,
        dst_addr: [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2],
    };
    Packet { ip, message }
}

fn question() -> (Packet, [u8; OPTION_LEN]) {
    let option = link_layer(SOURCE_LINK_LAYER, ASKER);
    (summed(plain(SOLICITATION, 0, fd01(1), fd01(2), true), Some(option)), option)
}

fn hear(packet: &Packet, option: Option<[u8; OPTION_LEN]>) -> Heard {
    heard(packet, option, ASKER, GROUP)
}

#[test]
fn a_solicitation_claims_and_asks() {
    let (packet, option) = question();
    assert!(has_option(&packet.ip));
    let Heard { claim, asks_for } = hear(&packet, Some(option));
    let address = OverlayAddr::from_ipv6(fd01(1)).unwrap();
    assert_eq!(claim, Some(Claim { address, mac: ASKER, strength: Strength::Replaces, router: None }));
    assert_eq!(asks_for, OverlayAddr::from_ipv6(fd01(2)));
    let to_one = heard(&packet, Some(option), ASKER, ASKED);
    assert_eq!(to_one, Heard { claim, asks_for: None });
}

#[test]
fn a_probe_for_a_duplicate_says_nothing() {
    let packet = summed(plain(SOLICITATION, 0, [0; 16], fd01(2), false), None);
    assert_eq!(hear(&packet, None), Heard::NOTHING);
    let (mut packet, option) = question();
    packet.ip.src_addr = [0; 16];
    assert_eq!(hear(&summed(packet, Some(option)), Some(option)), Heard::NOTHING);
}

#[test]
fn an_advertisement_claims_as_its_flags_say() {
    let option = link_layer(TARGET_LINK_LAYER, ASKER);
    let address = OverlayAddr::from_ipv6(fd01(7)).unwrap();
    for (flags, strength, router) in [
        (0, Strength::Adds, false),
        (SOLICITED, Strength::Adds, false),
        (OVERRIDE, Strength::Replaces, false),
        (ROUTER | SOLICITED | OVERRIDE, Strength::Replaces, true),
        (ROUTER, Strength::Adds, true),
    ] {
        let packet = summed(plain(ADVERTISEMENT, flags, fd01(7), fd01(7), true), Some(option));
        let claim = Claim { address, mac: ASKER, strength, router: Some(router) };
        assert_eq!(hear(&packet, Some(option)), Heard { claim: Some(claim), asks_for: None });
    }
    let packet = summed(plain(ADVERTISEMENT, OVERRIDE, fd01(7), fd01(7), false), None);
    let claim = Claim { address, mac: ASKER, strength: Strength::Confirms, router: Some(false) };
    assert_eq!(hear(&packet, None), Heard { claim: Some(claim), asks_for: None });
}

#[test]
fn what_is_not_right_says_nothing() {
    let (right, option) = question();
    let wrong = |change: &dyn Fn(&mut Packet)| {
        let mut packet = right;
        change(&mut packet);
        assert_eq!(hear(&summed(packet, Some(option)), Some(option)), Heard::NOTHING, "{packet:?}");
    };
    wrong(&|packet| packet.ip.vcf[0] = 0x40);
    wrong(&|packet| packet.ip.next_hdr = 17);
    wrong(&|packet| packet.ip.hop_limit = 254);
    wrong(&|packet| packet.ip.payload_len = [0, 24]);
    wrong(&|packet| packet.ip.payload_len = [0, 40]);
    wrong(&|packet| packet.ip.src_addr[0] = 0xff);
    wrong(&|packet| packet.message[0] = 134);
    wrong(&|packet| packet.message[1] = 1);
    wrong(&|packet| packet.message[8] = 0xff);
    wrong(&|packet| packet.message[8..].copy_from_slice(&[0; 16]));
    let mut packet = right;
    packet.message[3] ^= 1;
    assert_eq!(hear(&packet, Some(option)), Heard::NOTHING);
    for at in 0..OPTION_LEN {
        let mut option = option;
        option[at] ^= 0x10;
        assert_eq!(hear(&summed(right, Some(option)), Some(option)), Heard::NOTHING, "byte {at}");
    }
}

#[test]
fn a_question_goes_to_the_group_of_its_target() {
    let (mut packet, option) = question();
    packet.ip.dst_addr = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(hear(&summed(packet, Some(option)), Some(option)).asks_for, None);
}

proptest! {
    #[test]
    fn an_answer_is_heard_as_a_claim_of_what_was_asked_for(mac: [u8; 6], from: [u8; 16], target: [u8; 16], router: bool) {
        let (mut packet, _) = question();
        packet.ip.src_addr = from;
        packet.message[8..].copy_from_slice(&target);
        let mac = MacAddr::new(mac);
        let Answer { packet: answer, option } = answer(&packet, mac, router);
        prop_assert_eq!((answer.ip.src_addr, answer.ip.dst_addr), (target, from));
        let claim = OverlayAddr::from_ipv6(target).map(|address| Claim {
            address,
            mac,
            strength: Strength::Replaces,
            router: Some(router),
        });
        prop_assert_eq!(heard(&answer, Some(option), mac, ASKER), Heard { claim, asks_for: None });
        prop_assert_eq!(answer.message[4] & SOLICITED, SOLICITED);
    }

    #[test]
    fn any_flipped_bit_is_noticed(bit in 0..(16 + 16 + MESSAGE_LEN + OPTION_LEN) * 8) {
        let (mut packet, mut option) = question();
        let (at, bit) = (bit / 8, 1 << (bit % 8));
        match at {
            0..16 => packet.ip.src_addr[at] ^= bit,
            16..32 => packet.ip.dst_addr[at - 16] ^= bit,
            32..56 => packet.message[at - 32] ^= bit,
            _ => option[at - 56] ^= bit,
        }
        prop_assert_eq!(hear(&packet, Some(option)), Heard::NOTHING);
    }
}
