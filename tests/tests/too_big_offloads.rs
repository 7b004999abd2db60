//! Answers to packets whose checksums are still to be filled in: what the kernel notes about those must not be written into
//! the answer. A tap shows what no capture on a veth would.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::{Bench, REMOTE, VNI, lab, same},
    frame::{
        ETHER_IPV4, ETHER_IPV6, Ethernet, IP_ICMP, IP_ICMP6, IP_TCP, IP_UDP, Ipv4, Ipv6, Mac, Network, Tcp,
        TooBig, Udp, verify,
    },
    tap::{Offload, Tap},
};

const TAP: &str = "t1";
const GUEST: Mac = Mac([2, 0, 0, 0, 3, 3]);
const ROOM: u32 = 1450;

fn ip4(protocol: u8) -> Ipv4 {
    Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), protocol)
}

fn ip6(next_header: u8) -> Result<Ipv6> {
    Ok(Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, next_header))
}

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

/// The answer to a frame.
fn answer<N: Network>(frame: &[u8], quoted: usize, protocol: u8) -> Result<Vec<u8>> {
    let (_, packet) = Ethernet::parse(frame)?;
    let (ip, _) = N::parse(packet)?;
    let (source, destination) = ip.addresses();
    let ip = N::between(destination, source, protocol)?;
    let message = TooBig { mtu: ROOM }.message(ip.addresses(), &packet[..quoted]);
    Ok(Ethernet::new(REMOTE, GUEST, N::ETHER_TYPE).frame(&ip.packet(&message)))
}

#[test]
fn an_answer_is_right_whatever_was_left_to_offload() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let tap = Tap::new(&bench.host().netns, TAP)?;
    bench.host().overlay(&["port", "add", TAP, "--vni", &VNI.to_string()])?;
    for reader_fills_in in [false, true] {
        tap.checksums(reader_fills_in)?;
        // What looks like the sum over the pseudo header and what does not, TCP and UDP, one segment and many.
        for partial in [0x1b5f, 0x0000, 0xffff, 0xa5a5] {
            for (tcp, field) in [(true, 16), (false, 6)] {
                let protocol = if tcp { IP_TCP } else { IP_UDP };
                for (data, segments) in [(1460, None), (20_000, Some(1400))] {
                    if segments.is_some() && !tcp {
                        continue;
                    }
                    let offload = |start: u16, kind: u8| Offload {
                        checksum: Some((start, field)),
                        segments: segments.map(|size| (kind, start + 20, size + 60)),
                    };
                    let frame = packet(&ip4(protocol), tcp, data, partial);
                    let expected = answer::<Ipv4>(&frame, 548, IP_ICMP)?;
                    exchange(&tap, ETHER_IPV4, &frame, offload(34, 1), &expected)
                        .with_context(|| format!("IPv4, TCP {tcp}, {data} bytes, {partial:#x}"))?;
                    let frame = packet(&ip6(protocol)?, tcp, data, partial);
                    let expected = answer::<Ipv6>(&frame, 1232, IP_ICMP6)?;
                    exchange(&tap, ETHER_IPV6, &frame, offload(54, 4), &expected)
                        .with_context(|| format!("IPv6, TCP {tcp}, {data} bytes, {partial:#x}"))?;
                }
            }
        }
    }
    Ok(())
}

fn exchange(tap: &Tap, ether_type: u16, frame: &[u8], offload: Offload, expected: &[u8]) -> Result<()> {
    tap.send(frame, offload)?;
    let is_answer = |frame: &[u8]| {
        Ethernet::parse(frame)
            .is_ok_and(|(header, _)| header.ether_type == ether_type && header.source == REMOTE)
    };
    let (got, is_pending) = tap.expect(is_answer)?;
    ensure!(!is_pending, "its checksum is still to be filled in");
    verify(&got)?;
    same(&got, expected)
}
