//! With `--mcast-snooping on`, only those who listen to a multicast group get what is sent to it.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    frame::{Ethernet, Ipv4, Mac, Outer},
    group::{datagram, group, group_query, igmp, listen, query},
    mesh,
    overlay::{EXISTS, Instance, MISSING, USAGE},
    process::wait_until,
    topology::{Host, Lab, Underlay, Workload},
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
/// Three hosts with a workload each, and wires to see what comes.
struct Site<'a> {
    _instances: Vec<Instance<'a>>,
    workloads: Vec<Workload>,
    sender: Wire,
    uplinks: Vec<Wire>,
    family: Family,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab, family: Family, version: &str) -> Result<Self> {
        let instances = mesh::up(lab, &[])?;
        for host in &lab.hosts {
            host.overlay(&["vni", "add", "100", "--mcast-snooping", "on"])?;
        }
        let workloads = mesh::segment(&instances, VNI)?;
        for workload in &workloads {
            workload.netns.sysctl("ipv4/conf/eth0/force_igmp_version", version)?;
            let mld = if version == "2" { "1" } else { "0" };
            workload.netns.sysctl("ipv6/conf/eth0/force_mld_version", mld)?;
        }
        let sender = Wire::open(&workloads[0].netns, Workload::DEVICE, Direction::In)?;
        let uplinks = lab.hosts[1..]
            .iter()
            .map(|host| Wire::open(&host.netns, &host.uplink, Direction::In))
            .collect::<Result<_>>()?;
        Ok(Self { _instances: instances, workloads, sender, uplinks, family })
    }

    fn query(&self) -> Result<()> {
        self.sender.send(&query(self.family, &self.workloads[0]))
    }

    /// How many copies of a datagram come to host 2 and to host 3.
    fn copies(&self, number: u8) -> Result<[usize; 2]> {
        let inner = datagram(self.family, &self.workloads[0], number);
        let last = Ethernet::new(self.workloads[0].mac, Mac::BROADCAST, 0x88b5).frame(&[number; 60]);
        self.sender.send(&inner)?;
        self.sender.send(&last)?;
        let mut counts = [0; 2];
        for (count, uplink) in counts.iter_mut().zip(&self.uplinks) {
            let carries =
                |bytes: &[u8], what: &[u8]| Outer::<Ipv4>::parse(bytes).is_ok_and(|(_, found)| found == what);
            let seen = uplink
                .collect_to(|frame| carries(&frame.bytes, &last), |frame| carries(&frame.bytes, &inner))?;
            *count = seen.len();
        }
        Ok(counts)
    }

    /// Waits until host 1 knows a querier, and whether host 2 listens.
    fn wait_for(&self, host: &Host, listens: bool) -> Result<()> {
        let group = group(self.family).0.to_string();
        wait_until(Instant::now() + Duration::from_secs(5), || {
            let mdb = host.overlay_json(&["mdb", "show"])?;
            let rows = mdb.as_array().context("no array")?;
            let found = rows.iter().any(|row| row["group"] == group && row["remote"] == "10.0.0.2");
            let asked = rows.iter().any(|row| row["kind"] == "querier");
            Ok((found == listens && asked).then_some(()))
        })
    }
}

fn only_listeners_get_what_is_for_them(family: Family, version: &str) -> Result<()> {
    let lab = Lab::with(3, Underlay { static_neighbours: true, ..Underlay::default() })?;
    let site = Site::new(&lab, family, version)?;
    let socket = listen(&site.workloads[1], family)?;
    ensure!(site.copies(1)? == [1, 1], "nobody is left out while there is no querier");
    site.query()?;
    site.wait_for(lab.host(1), true)?;
    // Those who have not said so yet have a tenth of a second.
    wait_until(Instant::now() + Duration::from_secs(3), || Ok((site.copies(2)? == [1, 0]).then_some(())))
        .context("host 3 is not left out")?;
    for number in 3..6 {
        ensure!(site.copies(number)? == [1, 0]);
    }
    let mut buffer = [0; 100];
    let mut numbers = Vec::new();
    while numbers.last() != Some(&5) {
        ensure!(socket.recv(&mut buffer)? == 64);
        numbers.push(buffer[0]);
    }
    let other = listen(&site.workloads[2], family)?;
    wait_until(Instant::now() + Duration::from_secs(3), || Ok((site.copies(6)? == [1, 1]).then_some(())))
        .context("host 3 listens too")?;
    drop(other);
    // Whoever asks hears that somebody left, and asks who else there is.
    site.sender.send(&group_query(family, &site.workloads[0]))?;
    wait_until(Instant::now() + Duration::from_secs(6), || Ok((site.copies(7)? == [1, 0]).then_some(())))
        .context("host 3 has left")?;
    drop(socket);
    site.sender.send(&group_query(family, &site.workloads[0]))?;
    wait_until(Instant::now() + Duration::from_secs(6), || Ok((site.copies(8)? == [0, 0]).then_some(())))
        .context("host 2 has left")?;
    let before = lab.host(1).drops()?;
    ensure!(site.copies(9)? == [0, 0]);
    let dropped = lab.host(1).drops_since(&before)?;
    ensure!(dropped.get(DropReason::NoListeners.name()) == Some(&1), "{dropped:?}");
    Ok(())
}

#[test]
fn only_listeners_get_what_is_for_them_by_igmp_3() -> Result<()> {
    only_listeners_get_what_is_for_them(Family::Ipv4, "3")
}

#[test]
fn only_listeners_get_what_is_for_them_by_igmp_2() -> Result<()> {
    only_listeners_get_what_is_for_them(Family::Ipv4, "2")
}

#[test]
fn only_listeners_get_what_is_for_them_by_mld_2() -> Result<()> {
    only_listeners_get_what_is_for_them(Family::Ipv6, "3")
}

#[test]
fn only_listeners_get_what_is_for_them_by_mld_1() -> Result<()> {
    only_listeners_get_what_is_for_them(Family::Ipv6, "2")
}

#[test]
fn what_is_no_right_report_teaches_nothing() -> Result<()> {
    let lab = Lab::with(2, Underlay { static_neighbours: true, ..Underlay::default() })?;
    let instances = mesh::up(&lab, &[])?;
    lab.host(1).overlay(&["vni", "add", "100", "--mcast-snooping", "on"])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let wire = Wire::open(&workloads[0].netns, Workload::DEVICE, Direction::In)?;
    let (mac, own) = (workloads[0].mac, Ipv4Addr::new(10, 1, 0, 1));
    let routers = (Mac([1, 0, 0x5e, 0, 0, 22]), Ipv4Addr::new(224, 0, 0, 22));
    let report = |last: u8| igmp(mac, own, routers, vec![0x16, 0, 0, 0, 239, 9, 9, last]);
    let mut flipped = report(1);
    *flipped.last_mut().context("empty")? ^= 2;
    let mut fragment = report(4);
    fragment[20] |= 0x20;
    let mut cut = report(5);
    cut.truncate(40);
    // Records that say they go on behind the end of the message.
    let long =
        [&[0x22, 0, 0, 0, 0, 0, 0, 9][..], &[4, 0, 0, 0, 239, 9, 9, 6], &[4, 0, 0xff, 0xff, 239, 9, 9, 7]];
    let long = igmp(mac, own, routers, long.concat());
    let link_local = igmp(mac, own, routers, vec![0x16, 0, 0, 0, 224, 0, 0, 9]);
    let unicast = igmp(mac, own, routers, vec![0x16, 0, 0, 0, 10, 9, 9, 9]);
    for wrong in [flipped, fragment, cut, link_local, unicast] {
        wire.send(&wrong)?;
    }
    wire.send(&long)?;
    wire.send(&report(8))?;
    let all = ["mdb", "show", "--vni", "100"];
    let groups = wait_until(Instant::now() + Duration::from_secs(3), || {
        let mdb = lab.host(1).overlay_json(&all)?;
        let rows = mdb.as_array().context("no array")?;
        let groups: Vec<String> =
            rows.iter().filter_map(|row| Some(row["group"].as_str()?.to_owned())).collect();
        Ok(groups.contains(&"239.9.9.8".to_owned()).then_some(groups))
    })?;
    let ours: Vec<_> = groups.iter().filter(|group| !group.starts_with("ff")).collect();
    ensure!(ours == ["239.9.9.6", "239.9.9.7", "239.9.9.8"], "{ours:?}");
    Ok(())
}

#[test]
fn listeners_can_be_named() -> Result<()> {
    let lab = Lab::with(3, Underlay { static_neighbours: true, ..Underlay::default() })?;
    let site = Site::new(&lab, Family::Ipv4, "3")?;
    let (host, to_3) = (lab.host(1), ["--vni", "100", "239.7.7.7", "--remote", "10.0.0.3"]);
    host.overlay(&[&["mdb", "add"], &to_3[..]].concat())?;
    site.query()?;
    wait_until(Instant::now() + Duration::from_secs(3), || Ok((site.copies(1)? == [0, 1]).then_some(())))?;
    let failure = host.overlay_fails(&[&["mdb", "add"], &to_3[..]].concat())?;
    ensure!(failure.code == EXISTS, "{failure:?}");
    let before = host.overlay_json(&["mdb", "show"])?;
    ensure!(
        before.as_array().is_some_and(|rows| rows.iter().any(|row| row["origin"] == "static")),
        "{before}"
    );
    for (arguments, code) in [
        (["--vni", "100", "224.0.0.5", "--remote", "10.0.0.3"], USAGE),
        (["--vni", "100", "10.0.0.5", "--remote", "10.0.0.3"], USAGE),
        (["--vni", "100", "239.7.7.7", "--remote", "10.0.0.9"], MISSING),
        (["--vni", "101", "239.7.7.7", "--remote", "10.0.0.3"], MISSING),
    ] {
        let failure = host.overlay_fails(&[&["mdb", "add"], &arguments[..]].concat())?;
        ensure!(failure.code == code && failure.stderr.lines().count() == 1, "{failure:?}");
    }
    host.overlay(&[&["mdb", "del"], &to_3[..]].concat())?;
    ensure!(site.copies(2)? == [1, 1], "nothing is known of the group any more");
    let failure = host.overlay_fails(&[&["mdb", "del"], &to_3[..]].concat())?;
    ensure!(failure.code == MISSING, "{failure:?}");
    Ok(())
}
