//! A workload that is a switch: its trunk is a port of the host, and behind each of its access ports is a workload that
//! knows nothing of VLANs. Programs on its devices put tags on and take them off, as this kernel has no VLAN devices.

use anyhow::{Context as _, Result};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, tc::TcAttachOptions};

use crate::{
    foreign::{classifier, instruction},
    frame::{ETHER_TAG, Mac},
    netns::NetNs,
    overlay::Instance,
    topology::{Host, Plan, Workload, cable},
};

/// The `EtherType` of an 802.1ad tag.
pub const ETHER_SERVICE_TAG: u16 = 0x88a8;

/// The MTU of a workload whose plan says none: fits an underlay of 1500 over IPv4.
const MTU: u32 = 1450;

/// A tag: protocol and control information.
pub type Tag = (u16, u16);

/// An 802.1Q tag.
#[must_use]
pub const fn tag(control: u16) -> Tag {
    (ETHER_TAG, control)
}

/// A frame with tags, the outer one first.
#[must_use]
pub fn tagged(source: Mac, destination: Mac, tags: &[Tag], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [destination.0, source.0].concat();
    for (protocol, control) in tags {
        bytes.extend(protocol.to_be_bytes());
        bytes.extend(control.to_be_bytes());
    }
    bytes.extend(ether_type.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The segment of VLAN 10 of a [`Site`].
pub const RED: u32 = 1000;
/// That of VLAN 20.
pub const BLUE: u32 = 2000;
/// That of frames without a tag.
pub const NATIVE: u32 = 3000;

/// A switch.
pub struct Switch {
    /// Its namespace; the trunk is [`Self::TRUNK`].
    pub netns: NetNs,
    /// The other end of the trunk, on the host.
    pub port: String,
    accesses: Vec<Access>,
    /// They stay attached as long as they are here.
    programs: Vec<SchedClassifier>,
}

#[derive(Clone)]
struct Access {
    tags: Vec<Tag>,
    device: String,
}

impl Switch {
    /// The device of the trunk.
    pub const TRUNK: &str = "trunk";

    /// A switch behind a host, with nothing behind it yet. `port` is the name of the host's end of the trunk.
    pub fn new(host: &Host, port: &str) -> Result<Self> {
        let netns = NetNs::new("switch")?;
        // It shall not speak by itself.
        for place in ["default", "all"] {
            netns.sysctl(&format!("ipv6/conf/{place}/disable_ipv6"), "1")?;
        }
        let switch = Self { netns, port: port.to_owned(), accesses: vec![], programs: vec![] };
        switch.plug(host)?;
        Ok(switch)
    }

    fn plug(&self, host: &Host) -> Result<()> {
        cable(&host.netns, (&self.port, None), &self.netns, (Self::TRUNK, None))?;
        host.netns.ip(&format!("link set {} up", self.port))?;
        self.netns.ip(&format!("link set {} up", Self::TRUNK))?;
        host.netns.settle(&self.port)?;
        self.netns.settle(Self::TRUNK)
    }

    /// Makes the trunk, which is gone, again, with another index.
    pub fn replug(&mut self, host: &Host) -> Result<()> {
        self.programs.clear();
        host.netns.ip("link add filler type veth peer name relliF")?;
        self.plug(host)?;
        host.netns.ip("link del filler")?;
        let trunk = self.netns.ifindex(Self::TRUNK)?;
        for access in 0..self.accesses.len() {
            let Access { tags, device } = self.accesses[access].clone();
            self.attach(&device, &to_trunk(&tags, trunk)?)?;
        }
        self.start()
    }

    /// Adds a workload, as planned, whose frames have these tags on the trunk, the outer one first.
    pub fn workload(&mut self, plan: &Plan, tags: &[Tag]) -> Result<Workload> {
        let device = format!("a{}", self.accesses.len());
        let netns = NetNs::new(&format!("a{}-{}", plan.vni, plan.number))?;
        cable(&self.netns, (&device, None), &netns, (Workload::DEVICE, Some(plan.mac)))?;
        self.netns.ip(&format!("link set {device} up"))?;
        netns.ip(&format!(
            "link set eth0 mtu {} up\naddr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad",
            plan.mtu.unwrap_or(MTU),
            plan.v4,
            plan.v6
        ))?;
        netns.settle(Workload::DEVICE)?;
        self.netns.settle(&device)?;
        let trunk = self.netns.ifindex(Self::TRUNK)?;
        self.attach(&device, &to_trunk(tags, trunk)?)?;
        self.accesses.push(Access { tags: tags.to_vec(), device });
        Ok(Workload { netns, port: self.port.clone(), mac: plan.mac, v4: plan.v4, v6: plan.v6 })
    }

    /// Lets frames from the trunk through to the workloads that were added.
    pub fn start(&mut self) -> Result<()> {
        let mut instructions = vec![
            instruction(MOVE, R6, R1, 0, 0),
            instruction(LOAD, R7, R6, VLAN_PRESENT, 0),
            instruction(LOAD, R8, R6, VLAN_TCI, 0),
            instruction(AND, R8, 0, 0, 0xfff),
        ];
        for access in &self.accesses {
            instructions.extend(from_trunk(&access.tags, self.netns.ifindex(&access.device)?)?);
        }
        instructions.extend([instruction(SET, R0, 0, 0, DROP), instruction(EXIT, 0, 0, 0, 0)]);
        self.attach(Self::TRUNK, &instructions)
    }

    fn attach(&mut self, device: &str, instructions: &[u64]) -> Result<()> {
        let (mut program, _fd) = classifier(instructions)?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        self.netns
            .enter(|| Ok(program.attach_with_options(device, TcAttachType::Ingress, options)?))
            .with_context(|| format!("a program on {device}"))?;
        self.programs.push(program);
        Ok(())
    }
}

/// A switch behind a host, whose VLAN 10 is [`RED`], 20 [`BLUE`], and what has no tag [`NATIVE`].
pub struct Site {
    /// The switch.
    pub switch: Switch,
    /// In VLAN 10.
    pub red: Workload,
    /// In VLAN 20.
    pub blue: Workload,
    /// Without a tag.
    pub native: Workload,
}

/// Makes the trunk `t1` of a host, and workloads of that number behind it.
pub fn site(instance: &Instance<'_>, number: u8) -> Result<Site> {
    let mut switch = Switch::new(instance.host, "t1")?;
    let plan = |vni| Plan::new(vni, number);
    let red = switch.workload(&plan(RED), &[tag(10)])?;
    let blue = switch.workload(&plan(BLUE), &[tag(20)])?;
    let native = switch.workload(&plan(NATIVE), &[])?;
    switch.start()?;
    instance.host.overlay(&["port", "add", "t1", "--vlan", "10:1000,20:2000", "--vni", "3000"])?;
    Ok(Site { switch, red, blue, native })
}

// Operation codes (RFC 9669), and registers.
const MOVE: u64 = 0xbf;
const SET: u64 = 0xb7;
const LOAD: u64 = 0x61;
const AND: u64 = 0x57;
const SKIP_UNLESS: u64 = 0x55;
const SKIP_IF: u64 = 0x15;
const CALL: u64 = 0x85;
const EXIT: u64 = 0x95;
const R0: u64 = 0;
const R1: u64 = 1;
const R2: u64 = 2;
const R3: u64 = 3;
const R6: u64 = 6;
const R7: u64 = 7;
const R8: u64 = 8;

// Offsets in `struct __sk_buff`, helpers and a verdict (`linux/bpf.h`, `linux/pkt_cls.h`).
const VLAN_PRESENT: i16 = 20;
const VLAN_TCI: i16 = 24;
const VLAN_PUSH: i32 = 18;
const VLAN_POP: i32 = 19;
const REDIRECT: i32 = 23;
const DROP: i32 = 2;

/// Puts tags on, and redirects to the trunk.
fn to_trunk(tags: &[Tag], trunk: u32) -> Result<Vec<u64>> {
    let mut instructions = vec![instruction(MOVE, R6, R1, 0, 0)];
    for (protocol, control) in tags.iter().rev() {
        instructions.extend([
            instruction(MOVE, R1, R6, 0, 0),
            instruction(SET, R2, 0, 0, protocol.to_be().into()),
            instruction(SET, R3, 0, 0, (*control).into()),
            instruction(CALL, 0, 0, 0, VLAN_PUSH),
        ]);
    }
    instructions.extend(redirect(trunk)?);
    Ok(instructions)
}

/// Takes tags off what has the outer one of them, and redirects it to an access port.
fn from_trunk(tags: &[Tag], access: u32) -> Result<Vec<u64>> {
    let mut body = vec![];
    for _ in tags {
        body.extend([instruction(MOVE, R1, R6, 0, 0), instruction(CALL, 0, 0, 0, VLAN_POP)]);
    }
    body.extend(redirect(access)?);
    let past = i16::try_from(body.len())?;
    let condition = match tags.first() {
        None => vec![instruction(SKIP_UNLESS, R7, 0, past, 0)],
        Some((_, control)) => vec![
            instruction(SKIP_IF, R7, 0, past + 1, 0),
            instruction(SKIP_UNLESS, R8, 0, past, (control & 0xfff).into()),
        ],
    };
    Ok([condition, body].concat())
}

fn redirect(device: u32) -> Result<[u64; 4]> {
    Ok([
        instruction(SET, R1, 0, 0, i32::try_from(device)?),
        instruction(SET, R2, 0, 0, 0),
        instruction(CALL, 0, 0, 0, REDIRECT),
        instruction(EXIT, 0, 0, 0, 0),
    ])
}
