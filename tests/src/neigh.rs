//! What stations say of themselves and ask each other, and what `overlay neigh show` and `overlay stats --neigh` say of it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use overlay_common::{
    Vni,
    maps::{
        learned::{self, LearnedKey},
        neighbour,
    },
};
use serde_json::Value;

use crate::{
    frame::{Arp, ETHER_ARP, ETHER_IPV6, Ethernet, IP_ICMP6, Mac, Nd, Network, Outer},
    overlay::Instance,
    process::wait_until,
    tags::without_tags,
    topology::{Host, Workload},
    traffic::PATIENCE,
    wire::Received,
};

/// A station, and the number of its addresses.
pub type Station = (Mac, u8);

/// The IPv4 address of that number.
#[must_use]
pub const fn v4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, number)
}

/// The IPv6 address of that number.
#[must_use]
pub const fn v6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, number)
}

/// What one station asks all for another, by ARP and by ND, and the answers.
#[must_use]
pub fn dialogues((from, one): Station, (to, other): Station) -> [(Vec<u8>, Vec<u8>); 2] {
    let reply = Arp { operation: 2, sender: (to, v4(other)), target: (from, v4(one)) };
    let reply = Ethernet::new(to, from, ETHER_ARP).frame(&reply.packet());
    let solicitation = Nd::solicitation((from, v6(one.into())), v6(other.into()));
    let advertisement = Nd::advertisement((to, v6(other.into())), (from, v6(one.into())), 0x60);
    [(Arp::request((from, v4(one)), v4(other)), reply), (solicitation.frame(), advertisement.frame())]
}

/// What a station says of itself to all: an ARP announcement, a gratuitous ARP reply, and an advertisement.
#[must_use]
pub fn claims((mac, number): Station) -> [Vec<u8>; 3] {
    let gratuitous = Arp { operation: 2, sender: (mac, v4(number)), target: (Mac::BROADCAST, v4(number)) };
    let all = (Mac([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    [
        Arp::request((mac, v4(number)), v4(number)),
        Ethernet::new(mac, Mac::BROADCAST, ETHER_ARP).frame(&gratuitous.packet()),
        Nd::advertisement((mac, v6(number.into())), all, 0x20).frame(),
    ]
}

/// A neighbour as it is shown, but for its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its MAC address.
    pub mac: String,
    /// Who says so.
    pub origin: String,
    /// Whether it is a router.
    pub router: bool,
}

impl Neighbour {
    /// A neighbour that is no router.
    #[must_use]
    pub fn new(mac: Mac, origin: &str) -> Self {
        Self { mac: mac.to_string(), origin: origin.to_owned(), router: false }
    }
}

/// Who has `address` in segment `vni`, as `host` knows it.
pub fn of(host: &Host, vni: u32, address: IpAddr) -> Result<Option<Neighbour>> {
    let all = host.overlay_json(&["neigh", "show", "--vni", &vni.to_string()])?;
    let rows = all.as_array().with_context(|| format!("no array: {all}"))?;
    let mut found = rows.iter().filter(|row| row["ip"] == address.to_string());
    let first = found.next();
    ensure!(found.next().is_none(), "{address} is there twice");
    let Some(row) = first else { return Ok(None) };
    ensure!(row["vni"] == vni && row["age_s"].is_u64(), "not as documented: {row}");
    let text = |key: &str| row[key].as_str().map(str::to_owned).with_context(|| format!("{key}: {row}"));
    let router = row["router"].as_bool().with_context(|| format!("router: {row}"))?;
    Ok(Some(Neighbour { mac: text("mac")?, origin: text("origin")?, router }))
}

/// Fails unless `address` is what is expected.
pub fn expect(host: &Host, vni: u32, address: IpAddr, expected: Option<&Neighbour>) -> Result<()> {
    let found = of(host, vni, address)?;
    ensure!(found.as_ref() == expected, "{address} is {found:?} instead of {expected:?}");
    Ok(())
}

/// The row of `overlay stats --neigh` of a segment.
pub fn stats(host: &Host, vni: u32) -> Result<Value> {
    let all = host.overlay_json(&["stats", "--neigh", "--vni", &vni.to_string()])?;
    let rows = all["neigh"].as_array().with_context(|| format!("no array: {all}"))?;
    ensure!(rows.len() == 1, "one row expected: {all}");
    Ok(rows[0].clone())
}

/// How many requests a segment has seen, and how many of them were answered on the host.
pub fn requests(host: &Host, vni: u32) -> Result<(u64, u64)> {
    let row = stats(host, vni)?;
    let number = |key: &str| row[key].as_u64().with_context(|| format!("{key}: {row}"));
    Ok((number("requests")?, number("answered")?))
}

/// Fills the map with learned entries of segment `vni` that were last heard of when the machine started.
pub fn fill(instance: &Instance<'_>, vni: u32) -> Result<()> {
    let path = instance.pins().join("maps").join(neighbour::NAME);
    let data = MapData::from_pin(&path).with_context(|| path.display().to_string())?;
    let mut map: HashMap<MapData, [u8; 20], [u8; 24]> = Map::HashMap(data).try_into()?;
    for number in 0..u32::try_from(neighbour::MAX_ENTRIES)? {
        let mut key = [0xfd; 20];
        key[..4].copy_from_slice(&vni.to_ne_bytes());
        key[16..].copy_from_slice(&number.to_be_bytes());
        map.insert(key, [0; 24], 0)?;
    }
    count(instance, vni, neighbour::MAX_ENTRIES)
}

/// Fails unless the count of learned neighbours of segment `vni` is that of the entries that there are; how many there are.
pub fn count_is_right(instance: &Instance<'_>, vni: u32) -> Result<usize> {
    let all = instance.host.overlay_json(&["neigh", "show", "--vni", &vni.to_string()])?;
    let rows = all.as_array().with_context(|| format!("no array: {all}"))?;
    let there = rows.iter().filter(|row| row["origin"] == "learned").count();
    let key = LearnedKey::neighbours(Vni::new(vni).context("no VNI")?);
    let counted = counts(instance)?.get(&key.bytes(), 0)?;
    ensure!(counted == there as u64, "{there} are there, and {counted} counted");
    Ok(there)
}

fn counts(instance: &Instance<'_>) -> Result<HashMap<MapData, [u8; size_of::<LearnedKey>()], u64>> {
    let path = instance.pins().join("maps").join(learned::NAME);
    let data = MapData::from_pin(&path).with_context(|| path.display().to_string())?;
    Ok(Map::HashMap(data).try_into()?)
}

/// Has so many neighbours of segment `vni` count as learned, and no others.
fn count(instance: &Instance<'_>, vni: u32, learned: usize) -> Result<()> {
    let mut map = counts(instance)?;
    let vni = Vni::new(vni).context("no VNI")?;
    for key in [LearnedKey::neighbours(vni), LearnedKey::all_neighbours()] {
        map.insert(key.bytes(), learned as u64, 0)?;
    }
    Ok(())
}

/// Turns suppression on in a segment.
pub fn suppress(host: &Host, vni: u32) -> Result<()> {
    host.overlay(&["vni", "set", &vni.to_string(), "--suppress", "on"]).map(drop)
}

/// Waits until a host has learned who has an address.
pub fn await_learned(host: &Host, vni: u32, address: IpAddr, mac: Mac) -> Result<()> {
    let expected = Neighbour::new(mac, "learned");
    wait_until(Instant::now() + PATIENCE, || {
        Ok((of(host, vni, address)?.as_ref() == Some(&expected)).then_some(()))
    })
    .with_context(|| format!("{address} is not {mac} on {}", host.netns.name()))
}

/// Has a workload forget whom it knows.
pub fn forget(workload: &Workload) -> Result<()> {
    workload.netns.ip(&format!("neigh flush dev {}", Workload::DEVICE))
}

/// Gives a workload an address that another has, and waits until its kernel has found that out.
pub fn await_duplicate(workload: &Workload, address: Ipv6Addr) -> Result<()> {
    let device = Workload::DEVICE;
    workload.netns.sysctl(&format!("ipv6/conf/{device}/accept_dad"), "1")?;
    workload.netns.ip(&format!("addr add {address}/64 dev {device}"))?;
    wait_until(Instant::now() + 2 * PATIENCE, || {
        let text = workload.netns.run(&["ip", "-6", "address", "show", "dev", device])?;
        Ok(text.contains("dadfailed").then_some(()))
    })
    .with_context(|| format!("{address} is not found to be a duplicate"))
}

/// Whether a packet of an underlay of `N` carries a frame that asks everybody for a neighbour, whatever tags it has.
#[must_use]
pub fn carries_question<N: Network>(packet: &Received) -> bool {
    Outer::<N>::parse(&packet.bytes).is_ok_and(|(_, inner)| asks_all(&without_tags(inner)))
}

fn asks_all(frame: &[u8]) -> bool {
    let Ok((header, packet)) = Ethernet::parse(frame) else { return false };
    let is_to_all = header.destination.0[0] & 1 == 1;
    let asks = match header.ether_type {
        ETHER_ARP => packet.get(7) == Some(&1),
        ETHER_IPV6 => (packet.get(6), packet.get(40)) == (Some(&IP_ICMP6), Some(&135)),
        _ => false,
    };
    is_to_all && asks
}
