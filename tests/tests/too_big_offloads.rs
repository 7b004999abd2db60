//! Answers to packets whose checksums are still to be filled in: what the kernel notes about those must not be written into
//! the answer. A tap shows what no capture on a veth would.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::{Bench, REMOTE, VNI, lab, same},
    frame::{Ethernet, IP_TCP, IP_UDP, Mac, Network, Tcp, Udp, verify},
    tags::{with_tags, without_tags},
    tap::{Offload, Tap},
    too_big::{ROOM, answer4, answer6, ip4, ip6},
    trunk::{ETHER_SERVICE_TAG, Tag, tag},
};

const TAP: &str = "t1";
const GUEST: Mac = Mac([2, 0, 0, 0, 3, 3]);

/// A packet of the guest's with `data` bytes, the frame around it, and its transport header's place; its checksum field
/// holds what a kernel puts there for a device to go on with, or for nobody to touch.
fn packet<N: Network>(ip: &N, tcp: bool, data: usize, partial: u16) -> Vec<u8> {
    let payload: Vec<u8> = (1..=250).cycle().take(data).collect();
    let transport = if tcp {
        Tcp { checksum: Some(partial), ..Tcp::new(1000, 80) }.segment(ip.addresses(), &payload)
    } else {
        Udp { checksum: Some(partial), ..Udp::new(1000, 80) }.datagram(ip.addresses(), &payload)
    };
    Ethernet::new(GUEST, REMOTE, N::ETHER_TYPE).frame(&ip.packet(&transport))
}

#[test]
fn an_answer_is_right_whatever_was_left_to_offload() -> Result<()> {
    answers_are_right(&[])
}

#[test]
fn an_answer_behind_tags_is_right_whatever_was_left_to_offload() -> Result<()> {
    answers_are_right(&[tag(0x600a)])?;
    answers_are_right(&[(ETHER_SERVICE_TAG, 0xb064), tag(0x700a)])
}

/// Whether answers to frames with these tags are right: as many as a port may get at once.
fn answers_are_right(tags: &[Tag]) -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&["--vlan", "keep"])?;
    let tap = Tap::new(&bench.host().netns, TAP)?;
    bench.host().overlay(&["port", "add", TAP, "--vni", &VNI.to_string()])?;
    for reader_fills_in in [false, true] {
        tap.checksums(reader_fills_in)?;
        // What looks like the sum over the pseudo header and what does not, TCP and UDP, one segment and many.
        for partial in [0x1b5f, 0x0000, 0xffff, 0xa5a5] {
            for (tcp, segments) in [(true, None), (true, Some(1400)), (false, None)] {
                dialogue(&tap, tags, tcp, segments, partial).with_context(|| {
                    format!("{tags:x?}, TCP {tcp}, segments of {segments:?}, {partial:#x}")
                })?;
            }
        }
    }
    Ok(())
}

/// A packet over each family, and the answer to it.
fn dialogue(tap: &Tap, tags: &[Tag], tcp: bool, segments: Option<u16>, partial: u16) -> Result<()> {
    let (protocol, field) = if tcp { (IP_TCP, 16) } else { (IP_UDP, 6) };
    let data = if segments.is_some() { 20_000 } else { 1460 };
    let tags_len = 4 * u16::try_from(tags.len())?;
    let room = ROOM - u32::from(tags_len);
    let offload = |start: u16, kind: u8| Offload {
        checksum: Some((start + tags_len, field)),
        segments: segments.map(|size| (kind, start + tags_len + 20, size + 60)),
    };
    let frame = packet(&ip4(protocol), tcp, data, partial);
    exchange(tap, tags, &frame, offload(34, 1), &answer4(&frame, room)?).context("IPv4")?;
    let frame = packet(&ip6(protocol), tcp, data, partial);
    exchange(tap, tags, &frame, offload(54, 4), &answer6(&frame, room)?).context("IPv6")
}

fn exchange(tap: &Tap, tags: &[Tag], frame: &[u8], offload: Offload, expected: &[u8]) -> Result<()> {
    tap.send(&with_tags(frame, tags), offload)?;
    let (got, is_pending) = tap.expect(|frame| frame.starts_with(&[GUEST.0, REMOTE.0].concat()))?;
    ensure!(!is_pending, "its checksum is still to be filled in");
    verify(&without_tags(&got))?;
    same(&got, &with_tags(expected, tags))
}
