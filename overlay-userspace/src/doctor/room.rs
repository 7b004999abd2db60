//! How much room the maps have left.

use aya::maps::MapInfo;
use overlay_common::maps::{bum_rate, fdb, mdb, member, neighbour, port, segment, vlan, vtep, vtep_ids};

use super::{
    finding::Finding,
    scene::{Scene, Up},
    shell::Shell,
};
use crate::{
    error::{Context as _, Result},
    maps,
};

/// Of a hundred entries, so many in use are many.
const MANY: u64 = 90;

/// A map, and how full it is.
#[derive(Clone, Copy, Debug)]
struct Fill {
    map: &'static str,
    used: u64,
    room: u64,
}

pub(super) fn check(scene: &Scene) -> Result<Vec<Finding>> {
    let Some(up) = &scene.up else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (map, used) in used(up)? {
        let info = MapInfo::from_pin(up.instance.maps().join(map))
            .context(|| format!("cannot look at map {map}"))?;
        found.extend(judge(&scene.shell, Fill { map, used: used as u64, room: info.max_entries().into() }));
    }
    if found.is_empty() {
        found.push(Finding::fine("room", &scene.name, "every map has room left"));
    }
    Ok(found)
}

fn used(up: &Up) -> Result<[(&'static str, usize); 9]> {
    let instance = &up.instance;
    Ok([
        (fdb::NAME, maps::fdb::open(instance)?.count()?),
        (neighbour::NAME, maps::neighbours::open(instance)?.count()?),
        (member::NAME, maps::members(instance)?.count()?),
        (vtep_ids::NAME, up.vteps.len()),
        (segment::NAME, up.segments.len()),
        (port::NAME, up.ports.len()),
        (vlan::NAME, maps::vlans(instance)?.count()?),
        (mdb::NAME, maps::mdb(instance)?.count()?),
        (bum_rate::NAME, maps::bum_rates(instance)?.count()?),
    ])
}

fn judge(shell: &Shell, fill: Fill) -> Option<Finding> {
    let Fill { map, used, room } = fill;
    if used * 100 < room * MANY {
        return None;
    }
    let what = format!("map {map} holds {used} entries of {room}");
    let finding =
        if used >= room { Finding::problem("room", map, what) } else { Finding::advice("room", map, what) };
    let larger = |key: &str, size: u64| {
        shell.anew(Some(&format!("-e '/^{key}/d' -e '/^\\[vtep\\]/a {key} = {size}'")))
    };
    let named = u64::from(vtep::named(u32::try_from(room).unwrap_or(u32::MAX)));
    Some(match map {
        fdb::NAME => finding
            .why("stations that are not learned have what is for them flooded to all of their segment")
            .mend(larger("fdb-size", room * 2)),
        member::NAME | vtep_ids::NAME => finding
            .why("no more tunnels can be added")
            .mend(larger("max-vteps", (named * 2).min(vtep::MOST_NAMED.into()))),
        neighbour::NAME => finding
            .why("questions for addresses that are not kept are flooded")
            .mend(shell.overlay("neigh show")),
        mdb::NAME => {
            finding.why("groups that listeners have no room for are flooded").mend(shell.overlay("mdb show"))
        }
        _ => finding
            .why("no more of them can be added; remove some, or spread them over several instances")
            .mend(shell.overlay(match map {
                segment::NAME => "vni show",
                _ => "port show",
            })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn a_map_is_told_of_before_it_is_full() {
        let judge = |used| judge(&Shell::default(), Fill { map: fdb::NAME, used, room: 20 });
        assert_eq!(judge(17), None);
        assert_eq!(judge(18).unwrap().severity, Severity::Advice);
        let full = judge(20).unwrap();
        assert_eq!(full.severity, Severity::Problem);
        assert!(full.mend[0].contains("/a fdb-size = 40'"), "{:?}", full.mend);
    }
}
