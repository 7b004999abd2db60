//! What DHCP servers teach about who has which address.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use overlay_tests::{
    bench::{Bench, Hook, REMOTE, SECOND_PORT, STATION, VNI, lab},
    frame::{ETHER_IPV4, Ethernet, IP_UDP, Ipv4, Mac, Network as _, Udp},
    neigh::{self, Neighbour, v4},
    tags::{kept, with_tags},
};

const UPLINK: Hook<'_> = Hook::Uplink("u1");

fn set(bench: &Bench<'_>, settings: &[&str]) -> Result<()> {
    bench.host().overlay(&[&["vni", "set", &VNI.to_string()], settings].concat()).map(drop)
}

fn expect(bench: &Bench<'_>, address: Ipv4Addr, expected: Option<(Mac, &str)>) -> Result<()> {
    let expected = expected.map(|(mac, origin)| Neighbour::new(mac, origin));
    neigh::expect(bench.host(), VNI, address.into(), expected.as_ref())
}

/// Gives `from_port` a frame, and `from_uplink` the same out of the tunnel from host 2.
fn hear(bench: &Bench<'_>, hook: Hook<'_>, frame: &[u8]) -> Result<()> {
    let packet = match hook {
        Hook::Uplink(_) => bench.packet(frame, |_| {})?,
        _ => frame.to_vec(),
    };
    bench.run(hook, &packet).map(drop)
}

/// A message of a DHCP server about a lease of `last` to `client`: message type, and what comes before it.
fn dhcp(client: Mac, last: u8, kind: u8, before: &[u8]) -> Vec<u8> {
    let mut message = vec![2, 1, 6, 0];
    message.extend([0; 12]);
    message.extend(v4(last).octets());
    message.extend([0; 8]);
    message.extend(client.0);
    message.resize(236, 0);
    message.extend([99, 130, 83, 99]);
    message.extend(before);
    message.extend([53, 1, kind, 255]);
    let ip = Ipv4::new(v4(254), Ipv4Addr::BROADCAST, IP_UDP);
    let datagram = Udp::new(67, 68).datagram(ip.addresses(), &message);
    Ethernet::new(REMOTE, Mac::BROADCAST, ETHER_IPV4).frame(&ip.packet(&datagram))
}

#[test]
fn dhcp_acknowledgements_teach_where_they_shall() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    set(&bench, &["--suppress", "on"])?;
    hear(&bench, UPLINK, &dhcp(STATION, 1, 5, &[]))?;
    expect(&bench, v4(1), None)?;
    set(&bench, &["--snoop-dhcp", "on"])?;
    let server = [&[54, 4, 10, 1, 0, 254, 0, 0][..], &[51, 4, 0, 0, 1, 0]].concat();
    for (what, frame) in [
        ("an offer", dhcp(STATION, 1, 2, &[])),
        ("no type", dhcp(STATION, 1, 5, &[255])),
        ("an option beyond the end", dhcp(STATION, 1, 5, &[12, 200])),
        ("too many options", dhcp(STATION, 1, 5, &[0; 16])),
        ("a group's MAC", dhcp(Mac::BROADCAST, 1, 5, &[])),
        ("from a client", {
            let mut frame = dhcp(STATION, 1, 5, &[]);
            frame[35] = 68;
            frame
        }),
        ("cut short", dhcp(STATION, 1, 5, &[])[..280].to_vec()),
    ] {
        hear(&bench, UPLINK, &frame)?;
        expect(&bench, v4(1), None).context(what)?;
    }
    hear(&bench, UPLINK, &dhcp(STATION, 1, 5, &server))?;
    expect(&bench, v4(1), Some((STATION, "learned")))?;
    hear(&bench, Hook::Port(SECOND_PORT), &dhcp(STATION, 2, 5, &[]))?;
    expect(&bench, v4(2), Some((STATION, "learned")))
}

#[test]
fn acknowledgements_behind_tags_teach_too() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    set(&bench, &["--suppress", "on", "--snoop-dhcp", "on", "--vlan", "keep"])?;
    for (last, tags) in (1..).step_by(2).zip(kept()) {
        for (last, hook) in [(last, UPLINK), (last + 1, Hook::Port(SECOND_PORT))] {
            hear(&bench, hook, &with_tags(&dhcp(STATION, last, 2, &[]), &tags))?;
            expect(&bench, v4(last), None)?;
            hear(&bench, hook, &with_tags(&dhcp(STATION, last, 5, &[0, 0, 0]), &tags))?;
            expect(&bench, v4(last), Some((STATION, "learned"))).with_context(|| format!("{tags:x?}"))?;
        }
    }
    Ok(())
}
