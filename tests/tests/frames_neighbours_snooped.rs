//! What ARP, ND and DHCP teach, as `overlay neigh show` has it, and what is not believed.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::{Bench, Fate, Hook, NOBODY, PORT, REMOTE, SECOND_PORT, SECOND_STATION, STATION, VNI, lab},
    frame::{Arp, ETHER_ARP, Ethernet, Mac, Nd},
    neigh::{self, Neighbour, v4, v6},
    process::wait_until,
    topology::Lab,
    wire::{Direction, Wire},
};

const FROM_PORT: Hook<'_> = Hook::Port(PORT);
const UPLINK: Hook<'_> = Hook::Uplink("u1");

/// What makes a message wrong.
type Change = fn(&mut Nd);

fn bench<'a>(lab: &'a Lab, settings: &[&str]) -> Result<Bench<'a>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    set(&bench, &[&["--suppress", "on"], settings].concat())?;
    Ok(bench)
}

fn set(bench: &Bench<'_>, settings: &[&str]) -> Result<()> {
    bench.host().overlay(&[&["vni", "set", &VNI.to_string()], settings].concat()).map(drop)
}

fn expect(bench: &Bench<'_>, address: impl Into<IpAddr>, expected: Option<(Mac, &str)>) -> Result<()> {
    let expected = expected.map(|(mac, origin)| Neighbour::new(mac, origin));
    neigh::expect(bench.host(), VNI, address.into(), expected.as_ref())
}

/// An ARP packet in a frame from its sender to all.
fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let packet = Arp { operation, sender, target };
    Ethernet::new(sender.0, Mac::BROADCAST, ETHER_ARP).frame(&packet.packet())
}

fn announcement(mac: Mac, last: u8) -> Vec<u8> {
    arp(1, (mac, v4(last)), (Mac([0; 6]), v4(last)))
}

fn advertisement(mac: Mac, last: u16, flags: u8) -> Nd {
    Nd::advertisement((mac, v6(last)), (Mac([0x33, 0x33, 0, 0, 0, 1]), "ff02::1".parse().unwrap()), flags)
}

/// Gives `from_port` a frame, and `from_uplink` the same out of the tunnel from host 2.
fn hear(bench: &Bench<'_>, hook: Hook<'_>, frame: &[u8]) -> Result<()> {
    let packet = match hook {
        Hook::Uplink(_) => bench.packet(frame, |_| {})?,
        _ => frame.to_vec(),
    };
    bench.run(hook, &packet).map(drop)
}

#[test]
fn senders_are_believed_from_ports_and_tunnels() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &[])?;
    let request = Arp::request((STATION, v4(1)), v4(99));
    let to_one = |mut frame: Vec<u8>| {
        frame[..6].copy_from_slice(&STATION.0);
        frame
    };
    let solicitation = Nd::solicitation((STATION, v6(1)), v6(99)).frame();
    for (hook, frame, address, mac) in [
        (FROM_PORT, request, IpAddr::from(v4(1)), STATION),
        (FROM_PORT, announcement(STATION, 2), v4(2).into(), STATION),
        (FROM_PORT, arp(2, (STATION, v4(3)), (STATION, v4(3))), v4(3).into(), STATION),
        (FROM_PORT, solicitation, v6(1).into(), STATION),
        (FROM_PORT, advertisement(STATION, 2, 0x20).frame(), v6(2).into(), STATION),
        (UPLINK, announcement(REMOTE, 4), v4(4).into(), REMOTE),
        (UPLINK, to_one(arp(2, (REMOTE, v4(5)), (STATION, v4(1)))), v4(5).into(), REMOTE),
        (UPLINK, Nd::solicitation((REMOTE, v6(4)), v6(1)).frame(), v6(4).into(), REMOTE),
        (UPLINK, to_one(advertisement(REMOTE, 5, 0x60).frame()), v6(5).into(), REMOTE),
    ] {
        expect(&bench, address, None)?;
        hear(&bench, hook, &frame)?;
        expect(&bench, address, Some((mac, "learned"))).with_context(|| format!("{hook:?}"))?;
    }
    // What was heard answers.
    let asked = Arp::request((STATION, v4(1)), v4(5));
    let reply = Arp { operation: 2, sender: (REMOTE, v4(5)), target: (STATION, v4(1)) };
    let answer = Ethernet::new(REMOTE, STATION, ETHER_ARP).frame(&reply.packet());
    bench.check(FROM_PORT, &asked, &Fate::Redirected(answer))?;
    let asked = Nd::solicitation((STATION, v6(1)), v6(5)).frame();
    let answer = Nd::advertisement((REMOTE, v6(5)), (STATION, v6(1)), 0x60).frame();
    bench.check(FROM_PORT, &asked, &Fate::Redirected(answer))
}

#[test]
fn frames_that_xdp_took_out_of_the_tunnel_are_heard_too() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    set(&bench, &["--suppress", "on"])?;
    let reply = Arp { operation: 2, sender: (REMOTE, v4(5)), target: (STATION, v4(1)) };
    let reply = Ethernet::new(REMOTE, STATION, ETHER_ARP).frame(&reply.packet());
    let wire = Wire::open(&lab.host(2).netns, &lab.host(2).uplink, Direction::In)?;
    wire.send(&bench.packet(&reply, |_| {})?)?;
    wait_until(Instant::now() + Duration::from_secs(5), || {
        Ok(neigh::of(bench.host(), VNI, v4(5).into())?.map(drop))
    })
}

fn teaches_nothing(bench: &Bench<'_>, frame: &[u8]) -> Result<()> {
    for hook in [FROM_PORT, UPLINK] {
        hear(bench, hook, frame)?;
        let all = bench.host().overlay_json(&["neigh", "show"])?;
        ensure!(all == serde_json::json!([]), "{hook:?}: {all} out of {frame:02x?}");
    }
    Ok(())
}

#[test]
fn what_is_not_believed_teaches_nothing() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &[])?;
    let probe = arp(1, (STATION, Ipv4Addr::UNSPECIFIED), (Mac([0; 6]), v4(1)));
    let mut other_source = announcement(STATION, 1);
    other_source[11] ^= 0x40;
    let mut frames = vec![probe, other_source, announcement(STATION, 1)[..41].to_vec()];
    for (at, value) in [(15, 6), (16, 0x86), (18, 8), (19, 16), (20, 1), (21, 0), (21, 8)] {
        let mut wrong = announcement(STATION, 1);
        wrong[at] = value;
        frames.push(wrong);
    }
    for address in ["0.0.0.0", "0.1.1.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        let address = address.parse()?;
        frames.push(arp(1, (STATION, address), (Mac([0; 6]), address)));
    }
    let changes: [Change; 9] = [
        |nd| nd.ip.hop_limit = 254,
        |nd| nd.code = 1,
        |nd| nd.checksum = Some(0),
        |nd| nd.options[0] = 1,
        |nd| nd.options[1] = 0,
        |nd| nd.options[1] = 2,
        |nd| nd.options[7] ^= 1,
        |nd| nd.options.extend([14, 1, 0, 0, 0, 0, 0, 0]),
        |nd| nd.target = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    ];
    frames.extend(changes.map(|change| advertisement(STATION, 1, 0x20).but(change).frame()));
    // An IPv4 address in IPv6 is not IPv4's.
    frames.push(advertisement(STATION, 1, 0x20).but(|nd| nd.target = v4(1).to_ipv6_mapped()).frame());
    // A question to one station alone needs no link-layer address, so the answer to it claims nothing.
    frames.push(advertisement(STATION, 1, 0x60).but(|nd| nd.options.clear()).frame());
    frames.iter().try_for_each(|frame| teaches_nothing(&bench, frame))
}

#[test]
fn the_last_claim_counts_and_what_a_command_said_stays() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &[])?;
    hear(&bench, UPLINK, &announcement(REMOTE, 1))?;
    expect(&bench, v4(1), Some((REMOTE, "learned")))?;
    hear(&bench, Hook::Port(SECOND_PORT), &announcement(SECOND_STATION, 1))?;
    expect(&bench, v4(1), Some((SECOND_STATION, "learned")))?;

    let vni = VNI.to_string();
    let add = |address: IpAddr, mac: Mac| {
        bench.host().overlay(&["neigh", "add", "--vni", &vni, &address.to_string(), &mac.to_string()])
    };
    add(v4(1).into(), REMOTE)?;
    add(v6(1).into(), REMOTE)?;
    expect(&bench, v4(1), Some((REMOTE, "static")))?;
    for hook in [FROM_PORT, UPLINK] {
        hear(&bench, hook, &announcement(NOBODY, 1))?;
        hear(&bench, hook, &advertisement(NOBODY, 1, 0x60).frame())?;
    }
    expect(&bench, v4(1), Some((REMOTE, "static")))?;
    expect(&bench, v6(1), Some((REMOTE, "static")))?;
    let refused = neigh::stats(bench.host(), VNI)?;
    ensure!(refused["refused"] == 4, "{refused}");
    // Its own word changes nothing, and is no attempt.
    hear(&bench, UPLINK, &announcement(REMOTE, 1))?;
    expect(&bench, v4(1), Some((REMOTE, "static")))?;
    ensure!(neigh::stats(bench.host(), VNI)?["refused"] == 4);
    Ok(())
}

#[test]
fn advertisements_count_as_their_flags_say() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &[])?;
    let say = |mac, flags| hear(&bench, UPLINK, &advertisement(mac, 7, flags).frame());
    let router = |mac| Neighbour { router: true, ..Neighbour::new(mac, "learned") };
    let is = |expected: &Neighbour| neigh::expect(bench.host(), VNI, v6(7).into(), Some(expected));
    say(REMOTE, 0)?;
    is(&Neighbour::new(REMOTE, "learned"))?;
    // Without the override flag another does not take its place (RFC 4861, section 7.2.5).
    say(NOBODY, 0x40)?;
    is(&Neighbour::new(REMOTE, "learned"))?;
    say(NOBODY, 0x20)?;
    is(&Neighbour::new(NOBODY, "learned"))?;
    say(REMOTE, 0xa0)?;
    is(&router(REMOTE))?;
    // A solicitation says nothing about being a router, an advertisement does.
    hear(&bench, UPLINK, &Nd::solicitation((REMOTE, v6(7)), v6(1)).frame())?;
    is(&router(REMOTE))?;
    let asked = Nd::solicitation((STATION, v6(1)), v6(7)).frame();
    let answer = Nd::advertisement((REMOTE, v6(7)), (STATION, v6(1)), 0xe0).frame();
    bench.check(FROM_PORT, &asked, &Fate::Redirected(answer))?;
    say(REMOTE, 0x20)?;
    is(&Neighbour::new(REMOTE, "learned"))
}

#[test]
fn neighbours_age_as_stations_do() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &["--ageing", "1", "--suppress-unknown", "drop"])?;
    bench.host().overlay(&["neigh", "add", "--vni", &VNI.to_string(), "10.1.0.6", &REMOTE.to_string()])?;
    let answered = |last: u8| -> Result<bool> {
        let (outcome, _) = bench.run(FROM_PORT, &Arp::request((STATION, v4(1)), v4(last)))?;
        Ok(outcome.frame.starts_with(&STATION.0))
    };
    hear(&bench, UPLINK, &announcement(REMOTE, 5))?;
    ensure!(answered(5)?, "not answered");
    // No command runs meanwhile, which would sweep it.
    wait_until(Instant::now() + Duration::from_secs(5), || Ok((!answered(5)?).then_some(())))?;
    ensure!(answered(6)?, "what a command said does not age");
    expect(&bench, v4(5), None)?;
    set(&bench, &["--ageing", "0"])?;
    hear(&bench, UPLINK, &announcement(REMOTE, 5))?;
    expect(&bench, v4(5), Some((REMOTE, "learned")))
}

#[test]
fn aged_neighbours_make_room_with_no_process_of_ours() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &["--ageing", "1"])?;
    neigh::fill(&bench.instance, VNI)?;
    hear(&bench, UPLINK, &announcement(REMOTE, 5))?;
    let stats = neigh::stats(bench.host(), VNI)?;
    expect(&bench, v4(5), Some((REMOTE, "learned"))).with_context(|| stats.to_string())
}

#[test]
fn nothing_is_snooped_where_it_is_off_or_nothing_is_learned() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &["--learning", "off"])?;
    hear(&bench, FROM_PORT, &announcement(STATION, 1))?;
    expect(&bench, v4(1), None)?;
    set(&bench, &["--learning", "on"])?;
    hear(&bench, FROM_PORT, &announcement(STATION, 1))?;
    expect(&bench, v4(1), Some((STATION, "learned")))?;
    set(&bench, &["--suppress", "off"])?;
    expect(&bench, v4(1), None)?;
    hear(&bench, FROM_PORT, &announcement(STATION, 1))?;
    expect(&bench, v4(1), None)
}
