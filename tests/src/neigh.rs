//! What `overlay neigh show` and `overlay stats --neigh` say.

use std::net::IpAddr;

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

use crate::{frame::Mac, overlay::Instance, topology::Host};

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
    let mut map: HashMap<MapData, [u8; 20], [u8; 16]> = Map::HashMap(data).try_into()?;
    for number in 0..u32::try_from(neighbour::MAX_ENTRIES)? {
        let mut key = [0xfd; 20];
        key[..4].copy_from_slice(&vni.to_ne_bytes());
        key[16..].copy_from_slice(&number.to_be_bytes());
        map.insert(key, [0; 16], 0)?;
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
