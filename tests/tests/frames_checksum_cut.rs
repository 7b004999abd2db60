//! What `checksum_cut` makes of single frames that come out of the pair of devices which cuts packets up.

use anyhow::Result;
use overlay_common::DropReason;
use overlay_tests::{
    bench::{Bench, Fate, Hook, REMOTE, Row, STATION, lab_over, udp_frame},
    cutter,
    frame::{
        ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_TCP, IP_UDP, Ipv4, Ipv6, Mac, Network as _,
        Outer, Tcp, Udp,
    },
    topology::Lab,
    trunk::{tag, tagged},
};

/// A VTEP that wants checksums.
const INSISTS: &str = "fd00::7";

/// A bench with a tunnel to [`INSISTS`], a neighbour of the host.
fn bench(lab: &Lab) -> Result<Bench<'_, Ipv6>> {
    let bench = Bench::<Ipv6>::over(lab, &["--xdp", "off"])?;
    let host = bench.host();
    host.overlay(&["tunnel", "add", "--vni", "7", "--remote", INSISTS, "--udp6-csum"])?;
    let mac = lab.host(2).mac;
    host.netns.ip(&format!("neigh replace {INSISTS} lladdr {mac} dev u1 nud permanent"))?;
    Ok(bench)
}

/// Outer headers towards [`INSISTS`], as the programs write them for the pair: without MAC addresses and checksum.
fn outer(bench: &Bench<'_, Ipv6>) -> Result<Outer<Ipv6>> {
    let nobody = Mac([0; 6]);
    Outer::new((nobody, bench.host().v6), (nobody, INSISTS.parse::<std::net::Ipv6Addr>()?), 7)
}

/// Frames as they are after they have been cut up: all their own checksums are right.
fn pieces() -> Vec<(&'static str, Vec<u8>)> {
    let ip4 = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_TCP);
    let ip6 = Ipv6::new([0xfd01, 0, 0, 0, 0, 0, 0, 1].into(), [0xfd01, 0, 0, 0, 0, 0, 0, 2].into(), IP_TCP);
    let tcp4 = |len: usize| ip4.packet(&Tcp::new(1, 2).segment(ip4.addresses(), &vec![0x5a; len]));
    let tcp6 = ip6.packet(&Tcp::new(1, 2).segment(ip6.addresses(), b"some data, 25 bytes long."));
    let options = Ipv4 { options: vec![1; 40], ..ip4.clone() };
    let mut none = Udp::new(1, 2);
    none.checksum = Some(0);
    let without = Ipv4 { protocol: IP_UDP, ..ip4.clone() }.packet(&none.datagram(ip4.addresses(), &[9; 33]));
    let over4 = |packet: &[u8]| Ethernet::new(STATION, REMOTE, ETHER_IPV4).frame(packet);
    vec![
        ("TCP over IPv4", over4(&tcp4(1000))),
        ("an odd length", over4(&tcp4(1001))),
        ("all of the MTU", over4(&tcp4(1390))),
        ("a bare header", over4(&tcp4(0))),
        ("options", over4(&options.packet(&Tcp::new(1, 2).segment(options.addresses(), b"data")))),
        ("TCP over IPv6", Ethernet::new(STATION, REMOTE, ETHER_IPV6).frame(&tcp6)),
        ("UDP", udp_frame(STATION, REMOTE, 777)),
        ("UDP without a checksum", over4(&without)),
        ("a VLAN tag", tagged(STATION, REMOTE, &[tag(5)], ETHER_IPV4, &tcp4(333))),
        ("two VLAN tags", tagged(STATION, REMOTE, &[tag(5), tag(6)], ETHER_IPV4, &tcp4(332))),
        ("no IP", Ethernet::new(STATION, REMOTE, ETHER_EXPERIMENT).frame(&[0xa5; 61])),
    ]
}

#[test]
fn pieces_get_their_checksum_and_their_next_hop() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = bench(&lab)?;
    let mut rows = Vec::new();
    for (what, inner) in pieces() {
        for stale in [0, 0x1234] {
            let mut piece = outer(&bench)?;
            piece.udp.checksum = Some(stale);
            let mut sent = piece.clone();
            (sent.ethernet.source, sent.ethernet.destination) = (bench.host().mac, lab.host(2).mac);
            sent.udp.checksum = None;
            rows.push(Row::new(what, piece.frame(&inner), Fate::Redirected(sent.frame(&inner))));
        }
    }
    bench.table(Hook::Exit(&cutter::of(bench.host())?.exit), &rows)
}

type Change = fn(&mut Outer<Ipv6>);

#[test]
fn what_is_no_piece_of_ours_goes_no_further() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = bench(&lab)?;
    let exit = cutter::of(bench.host())?.exit;
    let inner = udp_frame(STATION, REMOTE, 98);
    let stray = |what, frame| Row::new(what, frame, Fate::Dropped(DropReason::Stray));
    let mut rows = vec![
        stray("ARP", Ethernet::new(STATION, Mac::BROADCAST, 0x0806).frame(&[0; 46])),
        stray("a workload's frame", inner.clone()),
    ];
    let changes: [(&str, Change); 8] = [
        ("to nobody", |outer| outer.ip.destination = [0xfd00, 0, 0, 0, 0, 0, 0, 0x77].into()),
        // Host 2 is reached without checksums.
        ("to a VTEP that wants none", |outer| outer.ip.destination = [0xfd00, 0, 0, 0, 0, 0, 0, 2].into()),
        ("from another", |outer| outer.ip.source = [0xfd00, 0, 0, 0, 0, 0, 0, 9].into()),
        ("to another port", |outer| outer.udp.destination = 4790),
        ("no UDP", |outer| outer.ip.next_header = IP_TCP),
        ("a hop-by-hop header", |outer| outer.ip.next_header = 0),
        ("a UDP length too short", |outer| outer.udp.length = Some(50)),
        ("a UDP length too long", |outer| outer.udp.length = Some(2000)),
    ];
    for (what, change) in changes {
        let mut outer = outer(&bench)?;
        change(&mut outer);
        rows.push(stray(what, outer.frame(&inner)));
    }
    let whole = outer(&bench)?.frame(&inner);
    // The kernel refuses shorter IPv6 in a test run.
    rows.extend((54..whole.len()).map(|len| stray("cut short", whole[..len].to_vec())));
    bench.table(Hook::Exit(&exit), &rows)
}

#[test]
fn pieces_for_a_path_that_has_become_too_small_or_has_gone_are_dropped_and_counted() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = bench(&lab)?;
    let host = bench.host();
    let exit = cutter::of(host)?.exit;
    let piece = outer(&bench)?.frame(&udp_frame(STATION, REMOTE, 1400));
    host.netns.ip("route add fd00::7 dev u1 mtu lock 1300")?;
    bench.check(Hook::Exit(&exit), &piece, &Fate::Dropped(DropReason::TooBig))?;
    host.netns.ip("route replace unreachable fd00::7")?;
    bench.check(Hook::Exit(&exit), &piece, &Fate::Dropped(DropReason::NoRoute))
}
