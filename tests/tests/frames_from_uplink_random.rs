//! Random bytes and randomly changed packets into `from_uplink`, against an oracle written from RFC 7348.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, anyhow, ensure};
use overlay_tests::{
    bench::{Bench, Hook, OTHER_VNI, OTHER_VTEP, REMOTE, SECOND_STATION, STATION, VNI, lab, same, udp_frame},
    frame::Mac,
    testrun::{TC_DROP, TC_NEXT, TC_REDIRECT},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};

/// What `BPF_PROG_TEST_RUN` takes: whole IPv4 headers, and no more than fits a page.
const LENGTHS: std::ops::Range<usize> = 34..1500;

/// A cut, an insertion or a flipped bit; places are taken modulo the length of the packet.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Set(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    // Most changes are to hit the headers.
    let place = || prop_oneof![4 => 0..64_usize, 1 => 0..2000_usize];
    prop_oneof![
        4 => (place(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        3 => (place(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => place().prop_map(Change::Cut),
        1 => (place(), 1..8_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

fn apply(packet: &mut Vec<u8>, change: Change) {
    let len = packet.len();
    match change {
        Change::Flip(at, bit) => packet[at % len] ^= 1 << bit,
        Change::Set(at, byte) => packet[at % len] = byte,
        Change::Cut(at) => packet.truncate(LENGTHS.start.max(at % len)),
        Change::Remove(at, count) => {
            let at = at % len;
            packet.drain(at..(at + count).min(len));
        }
        Change::Insert(at, bytes) => drop(packet.splice(at % len..at % len, bytes)),
    }
    packet.resize(packet.len().max(LENGTHS.start), 0);
}

/// Writes the right IP header checksum, so that the checks behind it are reached as well.
fn mend_checksum(packet: &mut [u8]) {
    let end = (14 + usize::from(packet[14] & 15) * 4).clamp(34, packet.len());
    packet[24..26].fill(0);
    let sum = ones_sum(&packet[14..end]);
    packet[24..26].copy_from_slice(&(!sum).to_be_bytes());
}

/// RFC 1071.
fn ones_sum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0_u32, |sum, pair| {
        sum + u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

/// Segment and inner frame of a packet that has to be believed; `None` for any other.
fn believable(
    frame: &[u8],
    mac: Mac,
    local: Ipv4Addr,
    members: &[(u32, Ipv4Addr)],
) -> Option<(u32, Vec<u8>)> {
    let word = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    let header_len = usize::from(frame.get(14)? & 15) * 4;
    let header = frame.get(14..14 + header_len)?;
    let (udp, vxlan) = (14 + header_len, 14 + header_len + 8);
    let (total_len, udp_len) = (usize::from(word(16)?), usize::from(word(udp + 4)?));
    let vni = u32::from_be_bytes([0, *frame.get(vxlan + 4)?, *frame.get(vxlan + 5)?, *frame.get(vxlan + 6)?]);
    let right = frame[..6] == mac.0
        && word(12)? == 0x0800
        && frame[14] >> 4 == 4
        && header_len >= 20
        && ones_sum(header) == 0xffff
        && [0, 0x4000, 0x8000, 0xc000].contains(&word(20)?)
        && frame[23] == 17
        && address(30)? == local
        && word(udp + 2)? == 4789
        && frame.get(vxlan)? & 8 != 0
        && members.contains(&(vni, address(26)?))
        && (16 + 14..=total_len.checked_sub(header_len)?).contains(&udp_len)
        && 14 + total_len <= frame.len();
    right.then(|| (vni, frame[vxlan + 8..udp + udp_len].to_vec()))
}

/// Whether a frame is for a station that is known in its segment.
fn is_for_one(vni: u32, inner: &[u8]) -> Result<bool> {
    let known = if vni == VNI { &[STATION.0, SECOND_STATION.0][..] } else { &[STATION.0] };
    Ok(known.contains(&inner[..6].try_into()?))
}

/// What has to hold whatever comes in.
fn holds(bench: &Bench<'_>, members: &[(u32, Ipv4Addr)], frame: &[u8]) -> Result<()> {
    let (outcome, drops) = bench.run(Hook::Uplink("u1"), frame)?;
    let host = bench.host();
    let believed = believable(frame, host.mac, host.v4, members);
    let dropped: u64 = drops.iter().map(|(_, count)| count).sum();
    match outcome.verdict {
        TC_NEXT => {
            ensure!(dropped == 0 && believed.is_none(), "passed, and counted {drops:?}");
            same(&outcome.frame, frame)
        }
        TC_DROP if dropped == 0 => {
            let (vni, inner) = believed.context("copies of a packet that is not to be believed")?;
            ensure!(!is_for_one(vni, &inner)?, "copies of a frame for one station");
            Ok(())
        }
        TC_DROP => {
            ensure!(dropped == 1, "counted {drops:?}");
            Ok(())
        }
        TC_REDIRECT => {
            let (vni, mut inner) = believed.context("delivered, and not to be believed")?;
            ensure!(dropped == 0, "delivered, and counted {drops:?}");
            ensure!(is_for_one(vni, &inner)?, "delivered to one station, and for another");
            let least = if inner[12..14] == [0x86, 0xdd] { 54 } else { 34 };
            inner.resize(inner.len().max(least), 0);
            same(&outcome.frame, &inner)
        }
        verdict => Err(anyhow!("verdict {verdict}")),
    }
}

fn check<S: Strategy<Value = Vec<u8>>>(cases: u32, frames: impl FnOnce(Vec<Vec<u8>>) -> S) -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    for vni in [VNI, OTHER_VNI] {
        bench.host().overlay(&["vni", "set", &vni.to_string(), "--learning", "off"])?;
    }
    let (v4, other): (_, Ipv4Addr) = (lab.host(2).v4, OTHER_VTEP.parse()?);
    let members = [(VNI, v4), (OTHER_VNI, other)];
    let inner = udp_frame(REMOTE, STATION, 80);
    let packets = vec![
        bench.packet(&inner, |_| {})?,
        bench.packet(&inner, |outer| outer.ip.options = vec![1; 8])?,
        bench.packet(&inner, |outer| (outer.vxlan.vni, outer.ip.source) = (OTHER_VNI, other))?,
    ];
    for packet in &packets {
        holds(&bench, &members, packet).context("before any change")?;
    }
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&frames(packets), |frame| {
        holds(&bench, &members, &frame).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    result.map_err(|error| match error {
        TestError::Fail(reason, frame) => anyhow!("{reason}; the frame: {frame:02x?}"),
        TestError::Abort(reason) => anyhow!("{reason}"),
    })
}

#[test]
fn random_bytes_behind_right_ones() -> Result<()> {
    check(1000, |packets| {
        let bytes = prop::collection::vec(any::<u8>(), LENGTHS);
        (prop::sample::select(packets), 0..64_usize, bytes, any::<bool>()).prop_map(
            |(packet, right, mut bytes, mend)| {
                let right = right.min(bytes.len()).min(packet.len());
                bytes[..right].copy_from_slice(&packet[..right]);
                if mend {
                    mend_checksum(&mut bytes);
                }
                bytes
            },
        )
    })
}

#[test]
fn random_changes_to_right_packets() -> Result<()> {
    check(2000, |packets| {
        let changes = prop::collection::vec(change(), 1..4);
        (prop::sample::select(packets), changes, any::<bool>()).prop_map(|(mut packet, changes, mend)| {
            for change in changes {
                apply(&mut packet, change);
            }
            if mend {
                mend_checksum(&mut packet);
            }
            packet
        })
    })
}
