//! Frame tables of what the underlay says about packets of ours that were too big: whom the program believes.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_common::Notice;
use overlay_tests::{
    bench::{Bench, Fate, Hook, OTHER_VTEP, PORT, REMOTE, STATION, VNI, lab, lab_over},
    frame::{
        ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_ICMP, IP_ICMP6, IP_UDP, Ipv4, Ipv6, Mac,
        Network as _, Outer, TooBig, Udp, Vxlan,
    },
    process::{stay_on_one_cpu, wait_until},
};

const UPLINK: Hook<'_> = Hook::Uplink("u1");
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0xff, 1]);

/// A packet of ours to host 2, as a router would quote it.
fn ours(bench: &Bench<'_>) -> Result<Outer<Ipv4>> {
    let (from, to) = (bench.host(), bench.lab.host(2));
    Outer::new((from.mac, from.v4), (to.mac, to.v4), VNI)
}

/// The message of a router about `outer`, of which it quotes `quoted` bytes from IP on.
fn message(bench: &Bench<'_>, outer: &Outer<Ipv4>, mtu: u32, quoted: usize) -> Vec<u8> {
    let packet = &outer.frame(&[7; 1400])[14..];
    let ip = Ipv4::new(ROUTER, bench.host().v4, IP_ICMP);
    let message = TooBig { mtu }.message(ip.addresses(), &packet[..quoted.min(packet.len())]);
    Ethernet::new(ROUTER_MAC, bench.host().mac, ETHER_IPV4).frame(&ip.packet(&message))
}

/// What is known of the path to host 2.
fn told(bench: &Bench<'_>, remote: &str) -> Result<Option<u64>> {
    let tunnels = bench.host().overlay_json(&["tunnel", "show"])?;
    let rows = tunnels.as_array().context("no array")?;
    let row = rows.iter().find(|row| row["remote"] == remote).context("no such tunnel")?;
    let told = &row["path_mtu_told"];
    if let Some(expires) = told["expires_s"].as_u64() {
        ensure!((590..=600).contains(&expires), "{row}");
        ensure!(row["path_mtu"].as_u64() <= told["mtu"].as_u64(), "{row}");
    }
    Ok(told["mtu"].as_u64())
}

/// Gives the program a message, which has to pass untouched; how often it was believed, and how often not.
fn tell(bench: &Bench<'_>, frame: &[u8]) -> Result<(u64, u64)> {
    let count = || {
        let notices = bench.host().notices()?;
        Ok::<_, anyhow::Error>((
            notices[Notice::PathMtuLearned.name()],
            notices[Notice::PathMtuIgnored.name()],
        ))
    };
    let before = count()?;
    bench.check(UPLINK, frame, &Fate::NotOurs)?;
    let after = count()?;
    Ok((after.0 - before.0, after.1 - before.1))
}

#[test]
fn a_router_is_believed_and_the_path_only_shrinks() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let remote = lab.host(2).v4.to_string();
    ensure!(told(&bench, &remote)?.is_none());
    let ours = ours(&bench)?;
    // As much as there is, as RFC 1812 has it, up to VXLAN, and the eight bytes of RFC 792.
    for (mtu, quoted, known) in [
        (1480, 2000, 1480),
        (1470, 548, 1470),
        (1460, 36, 1460),
        (1450, 35, 1450),
        (1440, 28, 1440),
        (1500, 548, 1440),
        (1441, 28, 1440),
    ] {
        let learned = tell(&bench, &message(&bench, &ours, mtu, quoted))?;
        ensure!(learned == (1, 0), "{mtu}, {quoted} bytes quoted: {learned:?}");
        let told = told(&bench, &remote)?;
        ensure!(told == Some(known), "{mtu}, {quoted} bytes quoted: {told:?}");
    }
    // Other VTEPs have other paths.
    ensure!(told(&bench, OTHER_VTEP)?.is_none());
    // Options of the outer header, which routers of old added.
    let packet = &ours.frame(&[7; 1400])[14..];
    let ip = Ipv4 { options: vec![1; 8], ..Ipv4::new(ROUTER, bench.host().v4, IP_ICMP) };
    let message = TooBig { mtu: 1430 }.message(ip.addresses(), &packet[..28]);
    let frame = Ethernet::new(ROUTER_MAC, bench.host().mac, ETHER_IPV4).frame(&ip.packet(&message));
    ensure!(tell(&bench, &frame)? == (1, 0));
    ensure!(told(&bench, &remote)? == Some(1430));
    Ok(())
}

#[test]
fn a_small_or_absent_mtu_is_not_taken_at_its_word() -> Result<()> {
    for (mtu, known) in [(0, 1006), (1, 552), (551, 552), (552, 552), (553, 553)] {
        let lab = lab()?;
        let bench = Bench::new(&lab, &["--xdp", "off"])?;
        ensure!(tell(&bench, &message(&bench, &ours(&bench)?, mtu, 548))? == (1, 0), "{mtu}");
        let told = told(&bench, &lab.host(2).v4.to_string())?;
        ensure!(told == Some(known), "{mtu}: {told:?}");
    }
    Ok(())
}

#[test]
fn what_was_told_is_heeded_from_the_next_answer_of_the_fib_on() -> Result<()> {
    // Each CPU has answers of its own.
    stay_on_one_cpu()?;
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let fits = |len| {
        let frame = Ethernet::new(STATION, REMOTE, ETHER_EXPERIMENT).frame(&vec![1; len]);
        Ok::<_, anyhow::Error>(bench.run(Hook::Port(PORT), &frame)?.1.is_empty())
    };
    ensure!(fits(1450)? && !fits(1451)?);
    tell(&bench, &message(&bench, &ours(&bench)?, 1400, 548))?;
    wait_until(Instant::now() + Duration::from_secs(1), || Ok((!fits(1351)?).then_some(())))?;
    for _ in 0..20 {
        ensure!(fits(1350)? && !fits(1351)?);
    }
    // A tunnel that is made anew begins anew.
    let (vni, remote) = (VNI.to_string(), lab.host(2).v4.to_string());
    bench.host().overlay(&["tunnel", "del", "--vni", &vni, "--remote", &remote])?;
    bench.host().overlay(&[
        "tunnel",
        "add",
        "--vni",
        &vni,
        "--remote",
        &remote,
        "--mac",
        &REMOTE.to_string(),
    ])?;
    ensure!(told(&bench, &remote)?.is_none());
    ensure!(fits(1450)?);
    Ok(())
}

#[test]
fn forged_messages_are_ignored_and_counted() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let ours = ours(&bench)?;
    let change = |change: &dyn Fn(&mut Outer<Ipv4>)| {
        let mut outer = ours.clone();
        change(&mut outer);
        outer
    };
    let stranger: Ipv4Addr = [10, 0, 0, 77].into();
    let cases = [
        ("from another host", change(&|outer| outer.ip.source = stranger), 548),
        ("to a stranger", change(&|outer| outer.ip.destination = stranger), 548),
        ("to a stranger, a short quote", change(&|outer| outer.ip.destination = stranger), 28),
        ("to ourselves", change(&|outer| outer.ip.destination = bench.host().v4), 28),
        ("a source port that we do not use", change(&|outer| outer.udp.source = 49151), 548),
        ("of a segment that is none", change(&|outer| outer.vxlan.vni = 5), 548),
        ("of VNI 0", change(&|outer| outer.vxlan.vni = 0), 548),
        ("of another segment", change(&|outer| outer.vxlan.vni = 0x03_0201), 548),
        ("without a VNI", change(&|outer| outer.vxlan = Vxlan { flags: 0, ..Vxlan::new(VNI) }), 548),
    ];
    for (what, outer, quoted) in cases {
        let counted = tell(&bench, &message(&bench, &outer, 1400, quoted))?;
        ensure!(counted == (0, 1), "{what}: {counted:?}");
    }
    ensure!(told(&bench, &lab.host(2).v4.to_string())?.is_none());
    Ok(())
}

#[test]
fn what_is_not_about_us_passes_without_a_word() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let good = message(&bench, &ours(&bench)?, 1400, 548);
    let icmp = 34;
    let changed = |at: usize, byte| {
        let mut frame = good.clone();
        frame[at] = byte;
        frame
    };
    let quote = icmp + 8;
    let mut other_port = ours(&bench)?;
    other_port.udp.destination = 4790;
    let mut dns = other_port.clone();
    dns.udp = Udp::new(0xc001, 53);
    let cases = [
        ("another port", message(&bench, &other_port, 1400, 548)),
        ("no VXLAN", message(&bench, &dns, 1400, 548)),
        ("TCP", changed(quote + 9, 6)),
        ("a later fragment is quoted", changed(quote + 7, 1)),
        ("options are quoted", changed(quote, 0x46)),
        ("not IPv4 is quoted", changed(quote, 0x55)),
        ("unreachable otherwise", changed(icmp + 1, 3)),
        ("another type", changed(icmp, 11)),
        ("not ICMP", changed(23, 2)),
        ("a fragment", changed(20, 0x20)),
        ("a later fragment", changed(21, 1)),
        ("cut off in UDP", message(&bench, &ours(&bench)?, 1400, 27)),
        ("cut off in IP", message(&bench, &ours(&bench)?, 1400, 19)),
        ("nothing quoted", message(&bench, &ours(&bench)?, 1400, 0)),
        ("to nobody", changed(14, 0x55)),
    ];
    for (what, frame) in cases {
        let counted = tell(&bench, &frame)?;
        ensure!(counted == (0, 0), "{what}: {counted:?}");
    }
    // Neither does anything of IPv6, where no tunnel is over it.
    let host = bench.host();
    let inner = Ipv6::new(host.v6, lab.host(2).v6, IP_UDP);
    let quoted = inner
        .packet(&Udp::new(0xc001, 4789).datagram(inner.addresses(), &Vxlan::new(VNI).packet(&[7; 1300])));
    let ip = Ipv6::new("2001:db8::1".parse()?, host.v6, IP_ICMP6);
    let body = TooBig { mtu: 1300 }.message(ip.addresses(), &quoted[..1232]);
    let frame = Ethernet::new(ROUTER_MAC, host.mac, ETHER_IPV6).frame(&ip.packet(&body));
    let counted = tell(&bench, &frame)?;
    ensure!(counted == (0, 1), "{counted:?}");
    ensure!(told(&bench, &lab.host(2).v4.to_string())?.is_none());
    Ok(())
}

#[test]
fn a_router_of_ipv6_is_believed_down_to_the_smallest_mtu() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    let (host, other) = (bench.host(), lab.host(2));
    let ours = Outer::<Ipv6>::new((host.mac, host.v6), (other.mac, other.v6), VNI)?;
    let frame = |outer: &Outer<Ipv6>, mtu, quoted| {
        let packet = &outer.frame(&[7; 1400])[14..];
        let ip = Ipv6::new("2001:db8::1".parse()?, host.v6, IP_ICMP6);
        let message = TooBig { mtu }.message(ip.addresses(), &packet[..quoted]);
        Ok::<_, anyhow::Error>(Ethernet::new(ROUTER_MAC, host.mac, ETHER_IPV6).frame(&ip.packet(&message)))
    };
    let told = || {
        let tunnels = host.overlay_json(&["tunnel", "show"])?;
        let rows = tunnels.as_array().context("no array")?;
        let row = rows.iter().find(|row| row["remote"] == other.v6.to_string()).context("no such tunnel")?;
        Ok::<_, anyhow::Error>(row["path_mtu_told"]["mtu"].as_u64())
    };
    let noticed = |notice| host.noticed(notice);
    for (mtu, quoted, known) in [(1480, 1232, 1480), (1400, 56, 1400), (1390, 48, 1390), (1280, 1232, 1280)] {
        bench.check(UPLINK, &frame(&ours, mtu, quoted)?, &Fate::NotOurs)?;
        ensure!(told()? == Some(known), "{mtu}: {:?}", told()?);
    }
    ensure!(noticed(Notice::PathMtuLearned)? == 4 && noticed(Notice::PathMtuIgnored)? == 0);
    let mut stranger = ours.clone();
    stranger.ip.destination = "fd00::77".parse()?;
    for (outer, mtu) in [(&ours, 1279), (&ours, 0), (&stranger, 1280)] {
        bench.check(UPLINK, &frame(outer, mtu, 1232)?, &Fate::NotOurs)?;
    }
    ensure!(noticed(Notice::PathMtuLearned)? == 4 && noticed(Notice::PathMtuIgnored)? == 3);
    ensure!(told()? == Some(1280), "{:?}", told()?);
    Ok(())
}
