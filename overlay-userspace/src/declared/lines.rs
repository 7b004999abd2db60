//! What differs, for people and programs to read.

use std::fmt;

use overlay_common::Vni;
use serde::Serialize;

use super::{
    diff::{Delta, Diff},
    settings,
    state::{Port, Tunnel, Vtep},
    write,
};
use crate::fdb::At;

/// What is done to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is made.
    Add,
    /// It becomes otherwise.
    Change,
    /// It goes.
    Remove,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What is done to it.
    pub action: Action,
    /// What it is: `vtep`, `adopt`, `vni`, `tunnel`, `port`, `fdb`, `neigh` or `mdb`.
    pub kind: &'static str,
    /// Its segment, of what is in one.
    pub vni: Option<u32>,
    /// Which it is: its name or address.
    pub name: String,
    /// How it shall be; for a change, what of it, from what, to what.
    pub how: Vec<String>,
}

/// As in `+ fdb 02:00:00:00:00:01 of VNI 100: at remote 10.0.0.2`.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Add => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        write!(f, "{sign} {}", self.kind)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if let Some(vni) = self.vni {
            write!(f, " of VNI {vni}")?;
        }
        if !self.how.is_empty() {
            write!(f, ": {}", self.how.join(", "))?;
        }
        Ok(())
    }
}

/// All that differs, a line for each thing.
#[must_use]
pub fn lines(diff: &Diff) -> Vec<Line> {
    let mut lines = Vec::with_capacity(diff.len());
    lines.extend(diff.vtep.iter().map(|delta| line(delta, "vtep", None, String::new(), vtep_words)));
    for delta in &diff.adopted {
        lines.push(line(delta, "adopt", None, delta.key.clone(), |()| Vec::new()));
    }
    for delta in &diff.segments {
        let words = |segment: &_| segment_words(delta.key, segment);
        lines.push(line(delta, "vni", None, delta.key.to_string(), words));
    }
    for delta in &diff.tunnels {
        let (vni, remote) = delta.key;
        lines.push(line(delta, "tunnel", Some(vni), remote.to_string(), tunnel_words));
    }
    for delta in &diff.ports {
        lines.push(line(delta, "port", None, delta.key.clone(), |port| port_words(&delta.key, port)));
    }
    for delta in &diff.stations {
        let (vni, mac) = delta.key;
        lines.push(line(delta, "fdb", Some(vni), mac.to_string(), |at| vec![place(at)]));
    }
    for delta in &diff.neighbours {
        let (vni, ip) = delta.key;
        let words = |station: &crate::neigh::Station| {
            vec![("mac", station.mac.to_string()), ("router", station.router.to_string())]
        };
        lines.push(line(delta, "neigh", Some(vni), ip.to_string(), words));
    }
    for delta in &diff.listeners {
        let (vni, group, at) = &delta.key;
        lines.push(line(delta, "mdb", Some(*vni), group.to_string(), |()| vec![place(at)]));
    }
    lines
}

/// Settings by name.
type Words = Vec<(&'static str, String)>;

fn line<K, V>(
    delta: &Delta<K, V>,
    kind: &'static str,
    vni: Option<Vni>,
    name: String,
    words: impl Fn(&V) -> Words,
) -> Line {
    let (action, how) = match (&delta.before, &delta.after) {
        (Some(before), Some(after)) => (Action::Change, changed(&words(before), &words(after))),
        (None, Some(after)) => (Action::Add, said(words(after))),
        (Some(before), None) => (Action::Remove, said(words(before))),
        (None, None) => (Action::Change, Vec::new()),
    };
    Line { action, kind, vni: vni.map(Vni::get), name, how }
}

fn said(words: Words) -> Vec<String> {
    words.into_iter().map(|(name, value)| format!("{name} {value}")).collect()
}

fn changed(before: &Words, after: &Words) -> Vec<String> {
    let value = |words: &Words, name| {
        words
            .iter()
            .find(|(other, _)| *other == name)
            .map_or_else(|| "default".to_owned(), |(_, value)| value.clone())
    };
    let mut names: Vec<_> = before.iter().chain(after).map(|(name, _)| *name).collect();
    let mut seen = Vec::new();
    names.retain(|name| {
        !seen.contains(name) && {
            seen.push(*name);
            true
        }
    });
    let changes = names.into_iter().map(|name| (name, value(before, name), value(after, name)));
    changes
        .filter(|(_, from, to)| from != to)
        .map(|(name, from, to)| format!("{name} {from} -> {to}"))
        .collect()
}

fn place(at: &At) -> (&'static str, String) {
    let place = match at {
        At::Remote(remote) => format!("remote {remote}"),
        At::Port(name) => format!("port {name}"),
    };
    ("at", place)
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

fn vtep_words(vtep: &Vtep) -> Words {
    let locals = if vtep.locals.is_empty() { "those of the uplinks".to_owned() } else { list(&vtep.locals) };
    vec![
        ("uplinks", list(vtep.uplink_names())),
        ("local", locals),
        ("port", vtep.port.to_string()),
        ("xdp", write::xdp_word(vtep.xdp).to_owned()),
        ("tunnel-gro", write::merging_word(vtep.merging).to_owned()),
        ("tc", write::tc_word(vtep.tc).to_owned()),
        ("fdb-size", vtep.room.stations.to_string()),
        ("max-vteps", vtep.room.vteps.to_string()),
    ]
}

fn segment_words(vni: Vni, segment: &overlay_common::maps::segment::Segment) -> Words {
    let written = write::segment(vni, segment);
    let words = settings::slots(&written).into_iter();
    words.filter_map(|(name, value)| Some((name, value?.get_ref().to_string()))).collect()
}

fn tunnel_words(tunnel: &Tunnel) -> Words {
    let mut words = vec![("port", tunnel.port.to_string())];
    if tunnel.udp_checksum {
        words.push(("udp6-csum", "true".to_owned()));
    }
    words.extend(tunnel.device.iter().map(|device| ("dev", device.clone())));
    words
}

fn port_words(name: &str, port: &Port) -> Words {
    let written = write::port_of(name, port);
    let value = |word: Option<super::file::Word>| word.map(|word| word.get_ref().to_string());
    let mut words = Vec::new();
    for (name, value) in [
        ("vni", value(written.vni)),
        ("vlan", value(written.vlan)),
        ("learn-limit", value(written.learn_limit)),
        ("bum-rate", value(written.bum_rate)),
        ("xdp-redirect", value(written.xdp_redirect)),
        ("create", port.created.as_ref().map(|created| created.name.clone())),
        ("mtu", value(written.mtu)),
    ] {
        words.extend(value.map(|value| (name, value)));
    }
    if !written.address.is_empty() {
        words.push(("address", list(written.address.iter().map(|one| one.get_ref().to_string()))));
    }
    words
}
