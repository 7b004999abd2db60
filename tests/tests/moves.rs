//! Stations that move between hosts: ours, and the kernel's.

use std::{
    fmt::Display,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    fdb::{self, counts_are_right},
    figures,
    frame::{Arp, ETHER_EXPERIMENT, Ethernet, Mac},
    mesh,
    overlay::Instance,
    peer::{Peer, Segment},
    process::wait_until,
    topology::{Host, Lab, Plan, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
const MOVES: u32 = 10_000;
const MOVER: Mac = Mac([2, 0, 0, 0, 9, 1]);

/// A frame from a station that says which one it is.
fn numbered(from: Mac, to: Mac, number: u32) -> Vec<u8> {
    let payload = [&number.to_be_bytes()[..], &[0; 46]].concat();
    Ethernet::new(from, to, ETHER_EXPERIMENT).frame(&payload)
}

/// The device of a workload, to send from and to look at.
fn open(workload: &Workload) -> Result<Wire> {
    Wire::open(&workload.netns, Workload::DEVICE, Direction::In)
}

/// How many frames for the station have come.
fn for_mover(wire: &Wire) -> Result<usize> {
    Ok(wire.collect(|frame| frame.bytes.starts_with(&MOVER.0))?.len())
}

/// A station that moves, and those who send to it.
struct Chase {
    /// Where it can be.
    places: Vec<Wire>,
    /// Who sends to it: the first on host 1, and one on each other host.
    senders: Vec<(Mac, Wire)>,
}

impl Chase {
    /// Lets the station move [`MOVES`] times, from where it is heard first; where it is then, and when it came there.
    fn run(&self) -> Result<(usize, Instant)> {
        let mut last = 0;
        let mut came = Instant::now();
        for number in 0..=MOVES {
            // Any place but the last one.
            last = (last + 1 + (number.wrapping_mul(2_654_435_761) >> 16) as usize % 3) % self.places.len();
            if number == MOVES {
                // What has arrived so far need not be read when it matters.
                self.drain()?;
            }
            let frame = numbered(MOVER, Mac::BROADCAST, number);
            came = Instant::now();
            self.places[last].send(&frame)?;
            // Host 1 has seen it: frames by different ways could overtake each other.
            self.senders[0].1.expect("the frame of a move", |received| received.bytes == frame)?;
        }
        Ok((last, came))
    }

    fn drain(&self) -> Result<()> {
        self.places.iter().try_for_each(|place| for_mover(place).map(drop))
    }

    /// Everybody sends the station a frame.
    fn call(&self, number: u32) -> Result<()> {
        self.senders.iter().try_for_each(|(mac, wire)| wire.send(&numbered(*mac, MOVER, number)))
    }

    /// Calls until everybody is heard at the place `last`.
    fn converge(&self, last: usize) -> Result<()> {
        let is_converged = AtomicBool::new(false);
        thread::scope(|scope| {
            let caller = scope.spawn(|| {
                while !is_converged.load(Ordering::Relaxed) {
                    self.call(0)?;
                    thread::sleep(Duration::from_micros(100));
                }
                anyhow::Ok(())
            });
            let mut missing: Vec<Mac> = self.senders.iter().map(|(mac, _)| *mac).collect();
            let heard = self.places[last].expect("frames from everybody at the last place", |received| {
                missing.retain(|mac| !received.bytes.starts_with(&[MOVER.0, mac.0].concat()));
                missing.is_empty()
            });
            is_converged.store(true, Ordering::Relaxed);
            heard?;
            caller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// How many frames arrive at each place when everybody sends 300 of them.
    fn arrivals(&self) -> Result<Vec<usize>> {
        self.drain()?;
        (1..=300).try_for_each(|number| self.call(number))?;
        self.places.iter().map(for_mover).collect()
    }
}

#[test]
fn ten_thousand_moves_of_one_mac_end_at_the_last_place() -> Result<()> {
    let lab = Lab::new(3)?;
    let instances = mesh::up(&lab, &[])?;
    // Two places on host 1, one on each other host; and somebody on each host who will send to the station.
    let mut workloads = mesh::segment(&instances, VNI)?;
    workloads.push(mesh::workload(&instances[0], VNI, 4)?);
    let callers = instances.iter().map(|instance| mesh::workload(instance, VNI, 10 + instance.host.number));
    let callers = callers.collect::<Result<Vec<_>>>()?;
    let chase = Chase {
        places: workloads.iter().map(open).collect::<Result<_>>()?,
        senders: callers.iter().map(|caller| Ok((caller.mac, open(caller)?))).collect::<Result<_>>()?,
    };

    let began = Instant::now();
    let (last, came) = chase.run()?;
    chase.converge(last)?;
    let (moved, converged) = (came - began, came.elapsed());

    let arrived = chase.arrivals()?;
    let mut expected = vec![0; arrived.len()];
    expected[last] = 300 * callers.len();
    ensure!(arrived == expected, "{arrived:?} instead of {expected:?} after the last move");
    let entry = fdb::entry(lab.host(1), VNI, MOVER)?.context("the station is not known")?;
    ensure!(entry["moves"] == MOVES && entry["flapping"] == true, "{entry}");
    for instance in &instances {
        counts_are_right(instance.host, VNI)?;
    }
    figures::report(&format!("{MOVES} moves of one MAC in {moved:?}; converged {converged:?} after the last"))
}

/// A workload without anything of its own to say, so that it says nothing at the wrong time.
fn silent(host: &Host, number: u8) -> Result<Workload> {
    let workload = host.workload(&Plan { mac: MOVER, ..Plan::new(VNI, number) })?;
    workload.netns.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
    workload.netns.ip("address flush dev eth0")?;
    Ok(workload)
}

/// The same machine before and after it moved: one MAC and IP address, at two places in turn.
struct Machine<'a> {
    places: [&'a Workload; 2],
    wires: [Wire; 2],
    address: std::net::Ipv4Addr,
}

impl Machine<'_> {
    /// Lets the machine be at a place, from where it announces itself by gratuitous ARP.
    fn come_to(&self, at: usize) -> Result<()> {
        self.places[1 - at].netns.ip("address flush dev eth0")?;
        self.places[at].netns.ip(&format!("address add {}/24 dev eth0", self.address))?;
        self.wires[at].send(&Arp::request((MOVER, self.address), self.address))
    }
}

/// What is asked answers so within a moment; says when.
fn eventually<T: PartialEq + Display>(what: &str, expected: &T, ask: impl Fn() -> Result<T>) -> Result<()> {
    wait_until(Instant::now() + Duration::from_secs(3), || Ok((ask()? == *expected).then_some(())))
        .with_context(|| format!("{what}: {:?} instead of {expected}", ask().map(|found| found.to_string())))
}

/// Where the kernel's `vxlan` device has the station: behind `dst`, or not behind it.
fn kernel_place(host: &Host, peer: &Peer<'_>) -> Result<String> {
    let entries = host.netns.run(&["bridge", "fdb", "show", "br", &peer.bridge])?;
    let behind = entries.lines().filter(|line| line.starts_with(&MOVER.to_string()));
    let behind = behind.filter(|line| !line.contains("self") || line.contains(" dst "));
    let device =
        |line: &str| line.split_whitespace().skip_while(|word| *word != "dev").nth(1).map(str::to_owned);
    Ok(behind.filter(|line| line.contains("master")).find_map(device).unwrap_or_default())
}

#[test]
fn a_station_moves_to_a_kernel_vxlan_host_and_back() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let instance = Instance::up(one, &[])?;
    instance.reach(VNI, two)?;
    let ours = mesh::workload(&instance, VNI, 1)?;
    let peer = Peer::join(two, &Segment::new(two, VNI, &[one]))?;
    let theirs = two.workload(&Plan::new(VNI, 2))?;
    peer.attach(&theirs)?;
    let (here, there) = (silent(one, 5)?, silent(two, 6)?);
    instance.attach(VNI, &here)?;
    peer.attach(&there)?;
    let address = Plan::new(VNI, 9).v4;
    let machine = Machine { places: [&here, &there], wires: [open(&here)?, open(&there)?], address };
    let to = IpAddr::V4(address);

    let ways = [(0, here.port.clone(), peer.device.clone()), (1, two.v4.to_string(), there.port.clone())];
    for (at, in_ours, in_kernel) in ways.iter().cycle().take(8) {
        machine.come_to(*at)?;
        eventually("our FDB", in_ours, || Ok(fdb::place(one, VNI, MOVER)?.unwrap_or_default()))?;
        eventually("the kernel's FDB", in_kernel, || kernel_place(two, &peer))?;
        for_mover(&machine.wires[1 - at])?;
        for from in [&ours, &theirs] {
            traffic::ping(&from.netns, to, 3)?;
            traffic::tcp(&from.netns, &machine.places[*at].netns, to, 1 << 18)?;
        }
        let late = for_mover(&machine.wires[1 - at])?;
        ensure!(late == 0, "{late} frames went to where the station is no more");
    }
    let entry = fdb::entry(one, VNI, MOVER)?.context("the station is not known")?;
    ensure!(entry["moves"] == 7, "{entry}");
    counts_are_right(one, VNI).map(drop)
}
