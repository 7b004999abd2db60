//! VTEPs that came to a segment by its multicast group of the underlay, and commands about the same VTEPs.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, HashMap, Map, MapData, Queue};
use overlay_common::{
    Family,
    maps::{
        admitted, member,
        vtep::{self, Vtep},
        vtep_ids,
    },
};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Ipv4, Mac, Outer},
    mesh,
    overlay::Instance,
    process::wait_until,
    topology::{Host, Lab, Underlay},
    wire::{Direction, Wire},
};
use serde_json::Value;

const GROUP: &str = "239.129.1.1";
const REMOTE: &str = "10.0.0.2";
/// Segments from here on are not there.
const CROWD: u32 = 100_000;

/// Host 1 with an instance, and segments with a group; host 2 speaks VXLAN by hand.
struct Site<'a> {
    host: &'a Host,
    instance: Instance<'a>,
    wire: Wire,
    lab: &'a Lab,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab, vnis: &[&str]) -> Result<Self> {
        let host = lab.host(1);
        let instance = Instance::up(host, &[])?;
        for vni in vnis {
            host.overlay(&["tunnel", "add", "--vni", vni, "--remote", GROUP, "--dev", "u1"])?;
        }
        let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
        Ok(Self { host, instance, wire, lab })
    }

    fn packet(&self, vni: u32, source: [u8; 4], station: u8) -> Result<Vec<u8>> {
        let inner = Ethernet::new(Mac([2, 0, 0, 0, 9, station]), Mac::BROADCAST, ETHER_EXPERIMENT);
        let (from, to) =
            ((self.lab.host(2).mac, IpAddr::from(source)), (self.host.mac, IpAddr::from(self.host.v4)));
        Ok(Outer::<Ipv4>::new(from, to, vni)?.frame(&inner.frame(&[7; 60])))
    }

    /// Has the remote speak, and waits until it is a member by that.
    fn speak(&self, vni: u32) -> Result<()> {
        let packet = self.packet(vni, [10, 0, 0, 2], 1)?;
        wait_until(Instant::now() + Duration::from_secs(5), || {
            self.wire.send(&packet)?;
            Ok(self.tunnel(vni, REMOTE)?.map(drop))
        })
    }

    fn tunnel(&self, vni: u32, remote: &str) -> Result<Option<Value>> {
        let all = self.host.overlay_json(&["tunnel", "show"])?;
        let rows = all.as_array().context("no array")?;
        Ok(rows.iter().find(|row| row["vni"] == vni && row["remote"] == remote).cloned())
    }

    fn command(&self, words: &[&str]) -> Result<String> {
        self.host.overlay(&[&["tunnel"], words].concat())
    }

    fn map(&self, name: &str) -> Result<MapData> {
        let path = self.instance.pins().join("maps").join(name);
        MapData::from_pin(&path).with_context(|| path.display().to_string())
    }

    /// Every member has an id, which is its VTEP's alone; every id that no VTEP has is free, once.
    fn check_ids(&self) -> Result<()> {
        let members: HashMap<_, [u8; 20], u32> = Map::HashMap(self.map(member::NAME)?).try_into()?;
        let vteps: Array<_, [u8; size_of::<Vtep>()]> = Map::Array(self.map(vtep::NAME)?).try_into()?;
        let ids: HashMap<_, [u8; 16], u32> = Map::HashMap(self.map(vtep_ids::NAME)?).try_into()?;
        for entry in &members {
            let (key, id) = entry?;
            let (vni, remote) = key.split_first_chunk::<4>().context("a short key")?;
            let Some(id) = member::id(id).filter(|_| u32::from_ne_bytes(*vni) < CROWD) else { continue };
            let slot = vteps.get(&id.index(), 0)?;
            ensure!(slot[..16] == *remote, "{remote:?} is {id}, which is {:?}", &slot[..16]);
            let listed = ids.get(remote.first_chunk().context("a short key")?, 0);
            ensure!(listed.is_ok_and(|listed| listed == id.index()), "{remote:?} is not found by {id}");
        }
        let mut queue: Queue<_, u32> = Map::Queue(self.map(admitted::FREE_NAME)?).try_into()?;
        let free: Vec<u32> = std::iter::from_fn(|| queue.pop(0).ok()).collect();
        for id in &free {
            queue.push(id, 0)?;
        }
        let distinct: BTreeSet<_> = free.iter().copied().collect();
        ensure!(distinct.len() == free.len(), "an id is free twice");
        for id in admitted::ids() {
            let is_taken = vteps.get(&id.index(), 0)?[..16] != [0; 16];
            ensure!(is_taken != distinct.contains(&id.index()), "{id} is taken and free, or neither");
        }
        Ok(())
    }

    /// Fills the map of members with those of segments that are not there, so that going through it takes a while.
    fn crowd(&self) -> Result<()> {
        let mut members: HashMap<_, [u8; 20], u32> = Map::HashMap(self.map(member::NAME)?).try_into()?;
        for number in 0..20_000 {
            let mut key = [0; 20];
            key[..4].copy_from_slice(&(CROWD + number).to_ne_bytes());
            members.insert(key, 1, 0)?;
        }
        Ok(())
    }
}

fn lab() -> Result<Lab> {
    Lab::with(2, Underlay::known(Family::Ipv4))
}

#[test]
fn a_member_that_speaks_becomes_one_that_a_command_named_and_stays() -> Result<()> {
    let lab = lab()?;
    let site = Site::new(&lab, &["100"])?;
    site.host.overlay(&["vni", "set", "100", "--ageing", "1"])?;
    site.speak(100)?;
    let packet = site.packet(100, [10, 0, 0, 2], 1)?;
    let stop = Arc::new(AtomicBool::new(false));
    let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    let sender = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = wire.send(&packet);
                thread::sleep(Duration::from_micros(300));
            }
        }
    });
    let added = site.command(&["add", "--vni", "100", "--remote", REMOTE]);
    let row = site.tunnel(100, REMOTE);
    stop.store(true, Ordering::Relaxed);
    ensure!(sender.join().is_ok());
    added?;
    let row = row?.context("no tunnel")?;
    ensure!(row["origin"] == "static", "{row}");
    site.check_ids()?;
    // Nobody speaks any more.
    thread::sleep(Duration::from_millis(2500));
    site.host.overlay(&["status"])?;
    ensure!(site.tunnel(100, REMOTE)?.is_some(), "it vanished");
    let list = site.host.overlay_json(&["vni", "show"])?;
    ensure!(list.to_string().contains(REMOTE), "nothing is flooded there: {list}");
    site.check_ids()
}

#[test]
fn a_tunnel_that_cannot_be_added_leaves_the_member_that_came_by_itself() -> Result<()> {
    let lab = lab()?;
    let site = Site::new(&lab, &["100"])?;
    site.speak(100)?;
    site.host.overlay(&["fdb", "add", "--vni", "100", "02:00:00:00:00:55", "--remote", REMOTE])?;
    let before = site.host.overlay_json(&["fdb", "show"])?;
    let rows = |value: &Value| value.as_array().map_or(0, Vec::len);
    ensure!(rows(&before) == 2, "{before}");
    let failed = ["tunnel", "add", "--vni", "100", "--remote", REMOTE, "--mac", "02:00:00:00:00:55"];
    site.host.overlay_fails(&failed)?;
    let after = site.host.overlay_json(&["fdb", "show"])?;
    ensure!(rows(&after) == 2, "a command that failed forgot stations: {after}");
    let row = site.tunnel(100, REMOTE)?.context("no tunnel")?;
    ensure!(row["origin"] == "learned", "{row}");
    // What a command said of the member holds on when it is named.
    site.command(&["add", "--vni", "100", "--remote", REMOTE])?;
    let after = site.host.overlay_json(&["fdb", "show", "--origin", "static"])?;
    ensure!(rows(&after) == 1 && after[0]["remote"] == REMOTE, "{after}");
    site.check_ids()
}

#[test]
fn a_member_that_comes_again_while_it_is_forgotten_is_whole() -> Result<()> {
    let lab = lab()?;
    let site = Site::new(&lab, &["100"])?;
    site.crowd()?;
    site.speak(100)?;
    let packet = site.packet(100, [10, 0, 0, 2], 1)?;
    let mut took = Duration::from_millis(300);
    for part in 0..4 {
        let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
        let packet = packet.clone();
        // Once, at another time in the second half of each command.
        let pause = took * (8 + part) / 16;
        let sender = thread::spawn(move || {
            thread::sleep(pause);
            wire.send(&packet)
        });
        let start = Instant::now();
        let deleted = site.command(&["del", "--vni", "100", "--remote", REMOTE, "--missing-ok"]);
        took = start.elapsed();
        ensure!(sender.join().is_ok_and(|sent| sent.is_ok()));
        deleted?;
        site.check_ids().with_context(|| format!("after {part}/16 of the second half"))?;
        site.speak(100)?;
    }
    site.speak(100)?;
    site.check_ids()
}

#[test]
fn a_member_that_comes_again_is_counted() -> Result<()> {
    let lab = lab()?;
    let site = Site::new(&lab, &["100"])?;
    let _workload = mesh::workload(&site.instance, 100, 3)?;
    let packet = site.packet(100, [10, 0, 0, 2], 1)?;
    let received = || -> Result<u64> {
        let stats = site.host.overlay_json(&["stats", "--vni", "100"])?;
        let rows = stats["segments"].as_array().context("no array")?.iter();
        Ok(rows.filter(|row| row["remote"] == REMOTE).filter_map(|row| row["rx_packets"].as_u64()).sum())
    };
    for _ in 0..2 {
        site.speak(100)?;
        let stop = Arc::new(AtomicBool::new(false));
        let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
        let sender = thread::spawn({
            let (stop, packet) = (Arc::clone(&stop), packet.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = wire.send(&packet);
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        let deleted = site.command(&["del", "--vni", "100", "--remote", REMOTE]);
        stop.store(true, Ordering::Relaxed);
        ensure!(sender.join().is_ok());
        deleted?;
        site.speak(100)?;
        let before = received()?;
        for _ in 0..5 {
            site.wire.send(&packet)?;
        }
        wait_until(Instant::now() + Duration::from_secs(3), || Ok((received()? >= before + 5).then_some(())))
            .context("it is not counted any more")?;
    }
    Ok(())
}

#[test]
fn ids_of_named_and_of_admitted_vteps_both_come_back() -> Result<()> {
    let lab = lab()?;
    let site = Site::new(&lab, &["200"])?;
    site.host.overlay(&["vni", "set", "200", "--ageing", "1"])?;
    let lapse = || {
        wait_until(Instant::now() + Duration::from_secs(8), || {
            site.host.overlay(&["status"])?;
            Ok(site.tunnel(200, REMOTE)?.is_none().then_some(()))
        })
        .context("it does not lapse")
    };
    let kept = || -> Result<bool> {
        Ok(site.host.netns.run(&["ip", "-d", "neigh", "show", "dev", "u1"])?.contains("managed"))
    };
    site.host.netns.ip(&format!("neigh del {REMOTE} dev u1"))?;
    // Named first, admitted under the same id.
    site.command(&["add", "--vni", "100", "--remote", REMOTE])?;
    site.speak(200)?;
    site.check_ids()?;
    site.command(&["del", "--vni", "100", "--remote", REMOTE])?;
    ensure!(site.tunnel(200, REMOTE)?.is_some(), "it lost the other segment");
    lapse()?;
    site.check_ids()?;
    site.command(&["add", "--vni", "100", "--remote", REMOTE, "--port", "5000"])?;
    site.command(&["del", "--vni", "100", "--remote", REMOTE])?;
    ensure!(!kept()?, "the neighbour is still kept");
    // Admitted first.
    site.speak(200)?;
    site.command(&["add", "--vni", "100", "--remote", REMOTE])?;
    let ids = [site.tunnel(100, REMOTE)?.context("no tunnel")?, site.tunnel(200, REMOTE)?.context("gone")?];
    ensure!(ids[0]["vtep"] == ids[1]["vtep"] && ids[1]["origin"] == "learned", "{ids:?}");
    ensure!(ids[0]["vtep"].as_u64().is_some_and(|id| id > admitted::MAX_FREE as u64), "{ids:?}");
    ensure!(kept()?, "the neighbour of a named VTEP is not kept");
    site.check_ids()?;
    site.command(&["del", "--vni", "100", "--remote", REMOTE])?;
    lapse()?;
    site.check_ids()?;
    ensure!(!kept()?, "the neighbour is still kept");
    Ok(())
}

#[test]
fn one_segment_leaves_room_for_the_members_of_others() -> Result<()> {
    let lab = lab()?;
    let site = Site::new(&lab, &["100", "200"])?;
    for number in 0..1100_u16 {
        let [high, low] = number.to_be_bytes();
        site.wire.send(&site.packet(100, [10, 9, high, low], 1)?)?;
    }
    let drops = wait_until(Instant::now() + Duration::from_secs(5), || {
        let drops = site.host.drops()?;
        Ok((drops["too-many-members"] >= 1100 - 1024).then_some(drops))
    })?;
    site.wire.send(&site.packet(200, [10, 0, 0, 2], 1)?)?;
    wait_until(Instant::now() + Duration::from_secs(3), || Ok(site.tunnel(200, REMOTE)?.map(drop)))
        .with_context(|| format!("{drops:?}"))?;
    let all = site.host.overlay_json(&["tunnel", "show"])?;
    let came = all.as_array().map_or(0, |rows| rows.iter().filter(|row| row["vni"] == 100).count());
    ensure!(came == 257, "{came} in VNI 100, the group included");
    site.check_ids()
}
