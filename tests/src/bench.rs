//! A bench for single frames: an instance on host 1 whose workloads are silent, so that every count is of
//! a frame of the test.

use std::{marker::PhantomData, net::IpAddr};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::SchedClassifier;
use overlay_common::{DropReason, Family};

use crate::{
    drops::Drops,
    frame::{ETHER_IPV4, Ethernet, IP_UDP, Ipv4, Mac, Network, Outer, Udp},
    netns::NetNs,
    overlay::Instance,
    testrun::{self, Outcome, TC_DROP, TC_NEXT, TC_REDIRECT, XDP_PASS, XDP_REDIRECT, XDP_TX},
    topology::{Host, Lab, Underlay, cable},
    wire::{Direction, Wire},
};

/// The segment that the tests are about: ports [`PORT`] and [`SECOND_PORT`], and a tunnel to host 2.
pub const VNI: u32 = 0x01_0203;
/// Another segment: port [`OTHER_PORT`], and a tunnel to [`OTHER_VTEP`].
pub const OTHER_VNI: u32 = 0x03_0201;

/// A port of [`VNI`].
pub const PORT: &str = "p1";
/// Another port of [`VNI`].
pub const SECOND_PORT: &str = "p2";
/// A port of [`OTHER_VNI`].
pub const OTHER_PORT: &str = "q1";

/// A station of both segments, known behind [`PORT`] and [`OTHER_PORT`].
pub const STATION: Mac = Mac([2, 0, 0, 0, 1, 1]);
/// A station known behind [`SECOND_PORT`].
pub const SECOND_STATION: Mac = Mac([2, 0, 0, 0, 1, 2]);
/// A station of both segments, known behind host 2 and [`OTHER_VTEP`].
pub const REMOTE: Mac = Mac([2, 0, 0, 0, 2, 1]);
/// A station that nobody knows.
pub const NOBODY: Mac = Mac([2, 0, 0, 0, 9, 9]);

/// A VTEP that is a member of [`OTHER_VNI`] only, and has no MAC address of its own.
pub const OTHER_VTEP: &str = "10.0.0.3";

/// How many wrong rows of a table are shown.
const SHOWN: usize = 30;

/// A host under test, its stations, and its programs and counters.
pub struct Bench<'a, N = Ipv4> {
    /// The two hosts; the instance is on the first.
    pub lab: &'a Lab,
    /// The instance under test.
    pub instance: Instance<'a>,
    /// Where the stations are.
    pub stations: NetNs,
    from_port: SchedClassifier,
    from_uplink: SchedClassifier,
    drops: Drops,
    underlay: PhantomData<N>,
}

/// A program, and the device that a frame comes in by.
#[derive(Clone, Copy, Debug)]
pub enum Hook<'a> {
    /// `from_uplink` on a device.
    Uplink(&'a str),
    /// `from_uplink_xdp` on a device.
    Xdp(&'a str),
    /// `from_uplink_xdp_generic` on a device.
    XdpGeneric(&'a str),
    /// `from_port` on a device.
    Port(&'a str),
    /// `checksum_cut` on a device.
    Exit(&'a str),
}

/// What shall become of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passes as it is.
    NotOurs,
    /// It is redirected, and these are its bytes.
    Redirected(Vec<u8>),
    /// XDP passes it on without its outer headers, these bytes, and with metadata.
    Stripped(Vec<u8>),
    /// XDP sends it to its port, or on by an uplink, and these are its bytes.
    Fed(Vec<u8>),
    /// XDP sends it by the uplink that it came by, and these are its bytes.
    Returned(Vec<u8>),
    /// Copies are sent, and the frame itself is done with.
    Copied,
    /// It is dropped, and counted once under this reason.
    Dropped(DropReason),
}

/// One line of a table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is particular about the frame.
    pub what: String,
    /// The frame.
    pub frame: Vec<u8>,
    /// What shall become of it.
    pub fate: Fate,
}

impl Row {
    /// A line.
    pub fn new(what: impl Into<String>, frame: Vec<u8>, fate: Fate) -> Self {
        Self { what: what.into(), frame, fate }
    }
}

/// The hosts of a bench over IPv4. They know each other's MAC addresses from the start.
pub fn lab() -> Result<Lab> {
    lab_over::<Ipv4>()
}

/// The hosts of a bench. They know each other's MAC addresses from the start.
pub fn lab_over<N: Network>() -> Result<Lab> {
    Lab::with(2, Underlay::known(N::FAMILY))
}

impl<'a> Bench<'a> {
    /// Brings up the instance, with more arguments for `overlay up`, and its segments, over IPv4.
    pub fn new(lab: &'a Lab, arguments: &[&str]) -> Result<Self> {
        Self::over(lab, arguments)
    }
}

impl<'a, N: Network> Bench<'a, N> {
    /// Brings up the instance, with more arguments for `overlay up`, and its segments.
    pub fn over(lab: &'a Lab, arguments: &[&str]) -> Result<Self> {
        let host = lab.host(1);
        let local = host.vtep.to_string();
        let instance = Instance::up(host, &[&["--local", &local], arguments].concat())?;
        let stations = NetNs::new("stations")?;
        stations.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        let programs = instance.pins().join("programs");
        let program = |name| SchedClassifier::from_pin(programs.join(name)).context(name);
        let drops = Drops::open(&instance)?;
        let bench = Self {
            lab,
            stations,
            from_port: program("from_port")?,
            from_uplink: program("from_uplink")?,
            drops,
            instance,
            underlay: PhantomData,
        };
        bench.fill()?;
        Ok(bench)
    }

    fn fill(&self) -> Result<()> {
        for (port, vni) in [(PORT, VNI), (SECOND_PORT, VNI), (OTHER_PORT, OTHER_VNI)] {
            self.add_port(port, vni)?;
        }
        for (vni, remote) in [(VNI, self.lab.host(2).vtep), (OTHER_VNI, Self::other_vtep())] {
            let remote = remote.to_string();
            self.add_tunnel(vni, &remote)?;
            self.add_station(vni, REMOTE, ["--remote", &remote])?;
        }
        self.add_station(VNI, STATION, ["--port", PORT])?;
        self.add_station(OTHER_VNI, STATION, ["--port", OTHER_PORT])?;
        self.add_station(VNI, SECOND_STATION, ["--port", SECOND_PORT])
    }

    /// Adds the port `port`; the station behind it is the device of the same name in [`Self::stations`].
    pub fn add_port(&self, port: &str, vni: u32) -> Result<()> {
        let host = self.host();
        cable(&host.netns, (port, None), &self.stations, (port, None))?;
        for netns in [&host.netns, &self.stations] {
            netns.ip(&format!("link set {port} up"))?;
        }
        for netns in [&host.netns, &self.stations] {
            netns.settle(port)?;
        }
        host.overlay(&["port", "add", port, "--vni", &vni.to_string()]).map(drop)
    }

    /// Adds a tunnel.
    pub fn add_tunnel(&self, vni: u32, remote: &str) -> Result<()> {
        self.host().overlay(&["tunnel", "add", "--vni", &vni.to_string(), "--remote", remote]).map(drop)
    }

    /// Puts a station at a place for good.
    pub fn add_station(&self, vni: u32, mac: Mac, place: [&str; 2]) -> Result<()> {
        let (vni, mac) = (vni.to_string(), mac.to_string());
        self.host().overlay(&[&["fdb", "add", "--vni", &vni, &mac], &place[..]].concat()).map(drop)
    }

    /// Changes settings of [`VNI`].
    pub fn set(&self, settings: &[&str]) -> Result<()> {
        self.host().overlay(&[&["vni", "set", &VNI.to_string()], settings].concat()).map(drop)
    }

    /// [`OTHER_VTEP`], or the like where the underlay is IPv6.
    #[must_use]
    pub fn other_vtep() -> IpAddr {
        match N::FAMILY {
            Family::Ipv4 => [10, 0, 0, 3].into(),
            Family::Ipv6 => [0xfd00, 0, 0, 0, 0, 0, 0, 3].into(),
        }
    }

    /// The host under test.
    #[must_use]
    pub fn host(&self) -> &'a Host {
        self.lab.host(1)
    }

    /// Listens on the station behind `port`.
    pub fn station(&self, port: &str) -> Result<Wire> {
        Wire::open(&self.stations, port, Direction::In)
    }

    /// The outer headers of what host 2 sends into [`VNI`].
    pub fn outer(&self) -> Result<Outer<N>> {
        let (to, from) = (self.host(), self.lab.host(2));
        Outer::new((from.mac, from.vtep), (to.mac, to.vtep), VNI)
    }

    /// The packet that carries `inner`, after a change to its outer headers.
    pub fn packet(&self, inner: &[u8], change: impl FnOnce(&mut Outer<N>)) -> Result<Vec<u8>> {
        let mut outer = self.outer()?;
        change(&mut outer);
        Ok(outer.frame(inner))
    }

    /// Gives a program a frame; also returns how much was counted for each reason meanwhile.
    pub fn run(&self, hook: Hook<'_>, frame: &[u8]) -> Result<(Outcome, Vec<(DropReason, u64)>)> {
        let netns = &self.host().netns;
        self.drops.read()?;
        let outcome = match hook {
            Hook::Uplink(device) => testrun::run_tc(&self.from_uplink, netns, device, frame)?,
            Hook::Xdp(device) => testrun::xdp(&self.instance, "from_uplink_xdp", device, frame)?,
            Hook::XdpGeneric(device) => {
                testrun::xdp(&self.instance, "from_uplink_xdp_generic", device, frame)?
            }
            Hook::Port(device) => testrun::run_tc(&self.from_port, netns, device, frame)?,
            Hook::Exit(device) => testrun::tc(&self.instance, "checksum_cut", device, frame)?,
        };
        Ok((outcome, self.drops.read()?))
    }

    /// Whether a frame meets the fate it should.
    pub fn check(&self, hook: Hook<'_>, frame: &[u8], fate: &Fate) -> Result<()> {
        let (outcome, drops) = self.run(hook, frame)?;
        let is_xdp = matches!(hook, Hook::Xdp(_) | Hook::XdpGeneric(_));
        let (verdict, bytes, counted) = match fate {
            Fate::NotOurs => (if is_xdp { XDP_PASS } else { TC_NEXT }, Some(frame), vec![]),
            Fate::Redirected(bytes) => (TC_REDIRECT, Some(&bytes[..]), vec![]),
            Fate::Stripped(bytes) => (XDP_PASS, Some(&bytes[..]), vec![]),
            Fate::Fed(bytes) => (XDP_REDIRECT, Some(&bytes[..]), vec![]),
            Fate::Returned(bytes) => (XDP_TX, Some(&bytes[..]), vec![]),
            Fate::Copied => (TC_DROP, None, vec![]),
            Fate::Dropped(reason) => (TC_DROP, None, vec![(*reason, 1)]),
        };
        ensure!(
            outcome.verdict == verdict && drops == counted,
            "verdict {} instead of {verdict}, counted {drops:?} instead of {counted:?}",
            outcome.verdict
        );
        // What comes out of XDP starts with the metadata, and the first word of the context says how long it is.
        let metadata =
            if is_xdp { outcome.context.first_chunk().map_or(0, |len| u32::from_ne_bytes(*len)) } else { 0 };
        let is_stripped = matches!(fate, Fate::Stripped(_));
        ensure!((metadata > 0) == is_stripped, "{metadata} bytes of metadata");
        let got = &outcome.frame[usize::try_from(metadata)?..];
        bytes.map_or(Ok(()), |bytes| same(got, bytes))
    }

    /// Goes through all rows, and fails with the first of those that are wrong.
    pub fn table(&self, hook: Hook<'_>, rows: &[Row]) -> Result<()> {
        let mut wrong = Vec::new();
        for Row { what, frame, fate } in rows {
            if let Err(error) = self.check(hook, frame, fate) {
                wrong.push(format!("{what} ({} bytes): {error:#}", frame.len()));
            }
        }
        let first = wrong.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
        ensure!(wrong.is_empty(), "{} of {} rows, such as\n{first}", wrong.len(), rows.len());
        Ok(())
    }
}

/// Fails with the first difference.
pub fn same(got: &[u8], expected: &[u8]) -> Result<()> {
    if let Some(at) = got.iter().zip(expected).position(|(got, expected)| got != expected) {
        let end = (at + 8).min(got.len()).min(expected.len());
        bail!("from byte {at} on {:02x?} instead of {:02x?}", &got[at..end], &expected[at..end]);
    }
    ensure!(got.len() == expected.len(), "{} bytes instead of {}", got.len(), expected.len());
    Ok(())
}

/// A frame of `len` bytes or more: UDP over IPv4, with a payload that is not all the same.
#[must_use]
pub fn udp_frame(source: Mac, destination: Mac, len: usize) -> Vec<u8> {
    let ip = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_UDP);
    let payload: Vec<u8> = (1..=u8::MAX).cycle().take(len.saturating_sub(14 + 20 + Udp::LEN)).collect();
    let datagram = Udp::new(1000, 2000).datagram(ip.addresses(), &payload);
    Ethernet::new(source, destination, ETHER_IPV4).frame(&ip.packet(&datagram))
}
