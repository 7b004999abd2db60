//! Turning what the programs wrote down into an explanation.

use std::net::IpAddr;

use overlay_common::{
    DropReason, IfIndex, MacAddr, OverlayAddr, Vni, VtepId,
    explain::{Hand, Learning, Step, Unlearned},
    header::eth,
    maps::{
        fdb::{Origin, Place, Standing},
        jump::Jump,
        vtep::Vtep,
    },
};

use super::{
    Side,
    advice::advice,
    explanation::{Copy, Explanation, Packet, Reason, Target, Verdict},
    headers::{Header, headers},
    line::{Entry, Line},
    programs::{Run, TC_ACT_REDIRECT, TC_ACT_UNSPEC},
    stations::Stations,
    words,
};
use crate::{error::Result, instance::Instance, maps::vteps::Vteps, netlink::Link};

/// What numbers stand for.
pub(super) struct Names {
    links: Vec<Link>,
    vteps: Vec<(VtepId, Vtep)>,
    now: u64,
}

/// What is told of.
pub(super) struct Scene<'a> {
    /// The program that takes the frame.
    pub(super) program: &'static str,
    pub(super) side: Side,
    /// The device that receives it.
    pub(super) device: &'a Link,
    pub(super) frame: &'a [u8],
    /// What was done with it before.
    pub(super) before: Option<Line>,
}

impl Names {
    pub(super) fn read(instance: &Instance, links: Vec<Link>) -> Result<Self> {
        Ok(Self { links, vteps: Vteps::open(instance)?.all()?, now: crate::fdb::now()? })
    }

    fn device(&self, index: IfIndex) -> String {
        let link = self.links.iter().find(|link| link.index == index);
        link.map_or_else(|| index.to_string(), |link| link.name.clone())
    }

    fn remote(&self, id: Option<VtepId>) -> Option<IpAddr> {
        let (_, vtep) = self.vteps.iter().find(|(other, _)| Some(*other) == id)?;
        Some(vtep.remote().ip())
    }
}

/// Tells what became of a frame.
pub(super) fn tell(names: &Names, stations: &Stations, scene: &Scene<'_>, run: &Run) -> Explanation {
    let Scene { program, side, device, frame, .. } = *scene;
    let mut story = Story::new(names, stations, run);
    story.steps.extend(scene.before.clone());
    story.guards(side, frame);
    for step in &run.steps {
        story.add(*step);
    }
    let verdict = match run.verdict {
        TC_ACT_UNSPEC => Verdict::Passed,
        TC_ACT_REDIRECT => Verdict::Redirected,
        _ if story.copies.is_empty() && story.reason.is_some() => Verdict::Dropped,
        _ => Verdict::Copied,
    };
    let Story { steps, copies, to, reason, path_mtu, is_tunnel, .. } = story;
    let packet = (verdict == Verdict::Redirected).then(|| Packet {
        length: run.frame.len(),
        ip_length: is_tunnel.then(|| run.frame.len() - eth::LEN),
        path_mtu: path_mtu.filter(|_| is_tunnel),
        headers: headers(&run.frame, is_tunnel),
        bytes: digits(&run.frame),
    });
    Explanation {
        program,
        device: device.name.clone(),
        length: frame.len(),
        steps,
        verdict,
        reason: reason.map(|reason| Reason { name: reason.name(), advice: advice(reason) }),
        to: to.filter(|_| verdict == Verdict::Redirected),
        copies,
        packet,
    }
}

/// An explanation in the making.
struct Story<'a> {
    names: &'a Names,
    stations: &'a Stations,
    run: &'a Run,
    steps: Vec<Line>,
    copies: Vec<Copy>,
    to: Option<Target>,
    reason: Option<DropReason>,
    path_mtu: Option<u16>,
    /// Whether the frame was on its way into a tunnel last.
    is_tunnel: bool,
    unlearned: Option<Unlearned>,
    /// Who sent a packet out of the underlay.
    sender: Option<IpAddr>,
}

impl<'a> Story<'a> {
    fn new(names: &'a Names, stations: &'a Stations, run: &'a Run) -> Self {
        let (steps, copies) = (Vec::new(), Vec::new());
        let (to, reason, path_mtu, unlearned) = (None, None, None, None);
        Self {
            names,
            stations,
            run,
            steps,
            copies,
            to,
            reason,
            path_mtu,
            is_tunnel: false,
            unlearned,
            sender: None,
        }
    }

    /// What the programs look at first, and do not write down.
    fn guards(&mut self, side: Side, frame: &[u8]) {
        if side == Side::Uplink {
            self.sender = address(&headers(frame, false), "source");
            return;
        }
        let Some(source) = self.stations.source() else { return };
        let is_station = source.is_station();
        let vlan = |header: &Header| {
            let (_, vid) = header.fields.iter().find(|(name, _)| header.name == "VLAN" && *name == "vid")?;
            vid.parse().ok()
        };
        let vlans = headers(frame, false).iter().filter_map(vlan).collect();
        self.steps.push(Line::Guards { source: source.to_string(), is_station, vlans });
    }

    fn add(&mut self, step: Step) {
        let Some(line) = self.line(step) else { return };
        // Several programs look the same up.
        let is_lookup = matches!(
            line,
            Line::Port { .. }
                | Line::Segment { .. }
                | Line::Tag { .. }
                | Line::Adopted { .. }
                | Line::BridgePort { .. }
                | Line::Transit { .. }
                | Line::Journey { .. }
        );
        if !(is_lookup && self.steps.contains(&line)) {
            self.steps.push(line);
        }
    }

    fn line(&mut self, step: Step) -> Option<Line> {
        let names = self.names;
        let number = |vni: Option<Vni>| vni.map_or(0, Vni::get);
        Some(match step {
            Step::Jump(jump) => Line::Program { name: jump.program() },
            Step::Port(device, found) => Line::Port { device: names.device(device), found },
            Step::Segment(vni, found) => Line::Segment { vni: number(vni), found },
            Step::Vlan(device, vid, vni) => {
                Line::Vlan { device: names.device(device), vid: vid?.get(), vni: vni.map(Vni::get) }
            }
            Step::Tag(device, vni, vid) => {
                let vid = vid.map(overlay_common::Vid::get);
                Line::Tag { device: names.device(device), vni: number(vni), vid }
            }
            Step::Unlearned(what) => {
                self.unlearned = Some(what);
                return None;
            }
            Step::Learn(vni, learning) => self.learning(number(vni), learning),
            Step::Station(vni, mac, standing) => self.station(vni, mac, standing),
            Step::Member(vni, id) => {
                // Nobody else is looked up but who sent the packet, and, once it is about another, whom that was for.
                let is_sender =
                    !self.steps.contains(&Line::Program { name: Jump::PathMtuFromUplink.program() });
                let vtep = names.remote(id).or(self.sender.filter(|_| is_sender));
                Line::Member { vni: number(vni), vtep, is_member: id.is_some() }
            }
            Step::Admit(vni, source) => Line::Admit { vni: number(vni), source: source.ip() },
            Step::Neighbour(vni, address, found) => {
                Line::Neighbour { vni: number(vni), address: address.map(OverlayAddr::ip), found }
            }
            Step::Asked(answered) => Line::Request { answered },
            Step::Flood(vni, ports, remotes) => Line::FloodList { vni: number(vni), ports, remotes },
            Step::BumRate(device, allowed) => Line::BumRate { device: names.device(device), allowed },
            Step::Audience(whom) => Line::Audience { audience: words::audience(whom) },
            Step::Vtep(id) => {
                self.is_tunnel = true;
                Line::Remote { remote: names.remote(id) }
            }
            Step::NextHop(uplink, mtu, resolved) => {
                let mtu = Some(mtu).filter(|mtu| *mtu != 0);
                self.path_mtu = mtu;
                Line::NextHop { uplink: uplink.map(|uplink| names.device(uplink)), mtu, resolved }
            }
            Step::Room(largest) => Line::Fits { largest },
            Step::Foreign(taken) => Line::Foreign { taken },
            Step::PathMtu(id, mtu) => Line::PathMtu { remote: names.remote(id), mtu },
            Step::Redirect(device, hand) => self.sent(device, hand),
            Step::Copy(device, length, at) => self.copy(device, length, at as usize),
            Step::Drop(reason) => {
                // What was to go into a tunnel did not, and what may still be sent is an answer.
                self.is_tunnel = false;
                self.reason = Some(reason);
                Line::Drop { reason: reason.name() }
            }
            Step::Notice(notice) => Line::Notice { notice: notice.name() },
            Step::Transit(vni, from, to) => {
                Line::Transit { vni: number(vni), from: names.remote(from), to: names.remote(to) }
            }
            Step::Journey(ttl, source_port) => {
                Line::Journey { ttl, leaves_with: ttl.saturating_sub(1), source_port }
            }
            Step::Adopted(vni, lease) => Line::Adopted { vni: number(vni), outcome: words::lease(lease) },
            Step::BridgePort(device, vni) => {
                Line::BridgePort { device: names.device(device), vni: vni.map(Vni::get) }
            }
            Step::Left(why) => Line::Left { because: words::left(why) },
            Step::Anew(why) => Line::Anew { because: words::anew(why) },
        })
    }

    fn learning(&mut self, vni: u32, learning: Learning) -> Line {
        let because = self.unlearned.take().map(words::unlearned);
        let mac = self.stations.source().map(|mac| mac.to_string());
        Line::Learning { vni, mac, outcome: words::learning(learning), because }
    }

    fn station(&self, vni: Option<Vni>, mac: MacAddr, standing: Standing) -> Line {
        let names = self.names;
        let entry = vni.and_then(|vni| Some((standing.place(vni)?, self.stations.get(vni, mac)))).map(
            |(place, entry)| {
                let (port, remote) = match place {
                    Place::Port { device, .. } => (Some(names.device(device)), None),
                    Place::Vtep(id) => (None, names.remote(Some(id))),
                };
                let origin = standing.origin();
                let aging = entry.filter(|_| origin == Origin::Learned);
                let age = aging.map(|entry| names.now.saturating_sub(entry.last_seen()));
                Entry { port, remote, origin: origin.name(), age_s: age.map(|age| age / 1_000_000_000) }
            },
        );
        Line::Fdb { vni: vni.map_or(0, Vni::get), mac: mac.to_string(), entry }
    }

    fn sent(&mut self, device: IfIndex, hand: Hand) -> Line {
        let device = self.names.device(device);
        let (how, text) = match hand {
            Hand::Device => ("sent", "by"),
            Hand::Peer => ("peer", "straight to the peer of"),
            Hand::Neighbour => ("neighbour", "once the kernel knows the neighbour's address, by"),
            Hand::Host => ("host", "to the host, as if it came in by"),
        };
        self.to = Some(Target { device: device.clone(), how });
        Line::Send { device, how: text }
    }

    fn copy(&mut self, device: IfIndex, length: u32, at: usize) -> Line {
        let head = self.run.heads.get(at).copied().unwrap_or([0; overlay_common::explain::HEAD]);
        let head = &head[..head.len().min(length as usize)];
        let headers = headers(head, self.is_tunnel);
        let remote = address(&headers, "destination").filter(|_| self.is_tunnel);
        let device = self.names.device(device);
        self.copies.push(Copy { device: device.clone(), length, remote, headers });
        Line::Copy { device, length, remote }
    }
}

/// Bytes as hexadecimal digits.
fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

/// An address of a packet's first IP header.
fn address(headers: &[Header], which: &str) -> Option<IpAddr> {
    let ip = headers.iter().find(|header| header.name.starts_with("IPv"))?;
    let (_, address) = ip.fields.iter().find(|(name, _)| *name == which)?;
    address.parse().ok()
}
