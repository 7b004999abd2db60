//! Multicast listeners in numbers: what a workload says never keeps a command from naming one.

use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use overlay_common::maps::mdb;
use overlay_tests::{
    mesh,
    overlay::{Instance, MISSING},
    topology::Lab,
};

/// Fills the map with learned listeners of segment `vni`, and leaves `free` places.
fn fill(instance: &Instance<'_>, vni: u32, device: u32, free: usize) -> Result<()> {
    let path = instance.pins().join("maps").join(mdb::NAME);
    let data = MapData::from_pin(&path).with_context(|| path.display().to_string())?;
    let mut map: HashMap<MapData, [u8; 24], [u64; 2]> = Map::HashMap(data).try_into()?;
    let there = map.keys().count();
    for number in 0..u32::try_from(mdb::MAX_ENTRIES - free - there)? {
        let mut key = [0; 24];
        key[..4].copy_from_slice(&vni.to_ne_bytes());
        key[4..8].copy_from_slice(&device.to_ne_bytes());
        key[18..20].copy_from_slice(&[0xff; 2]);
        key[20..].copy_from_slice(&(0xef01_0000 + number).to_be_bytes());
        map.insert(key, [0, u64::MAX - 1], 0)?;
    }
    Ok(())
}

#[test]
fn learned_listeners_make_way_for_a_named_one() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, 100)?;
    mesh::connect(&instances, 200)?;
    let workload = mesh::workload(&instances[0], 200, 1)?;
    let host = lab.host(1);
    let device = host.netns.ifindex(&workload.port)?;
    for (free, group) in [(1, "239.7.7.7"), (0, "239.7.7.8")] {
        fill(&instances[0], 200, device, free)?;
        let listener = ["--vni", "100", group, "--remote", "10.0.0.2"];
        host.overlay(&[&["mdb", "add"], &listener[..]].concat())?;
        let mdb = host.overlay_json(&["mdb", "show", "--vni", "100"])?;
        let rows = mdb.as_array().context("no array")?;
        ensure!(rows.iter().any(|row| row["group"] == group && row["origin"] == "static"), "{mdb}");
        host.overlay(&[&["mdb", "del"], &listener[..]].concat())?;
        let failure = host.overlay_fails(&[&["mdb", "del"], &listener[..]].concat())?;
        ensure!(failure.code == MISSING, "{failure:?}");
    }
    Ok(())
}
