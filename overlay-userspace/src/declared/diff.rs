//! What differs between two states.

use std::{collections::BTreeMap, net::IpAddr};

use overlay_common::{MacAddr, OverlayAddr, Vni, maps::segment::Segment};

use super::state::{Port, State, Tunnel, Vtep};
use crate::{fdb::At, neigh, trunk::VlanMap};

/// What differs of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta<K, V> {
    /// Which thing.
    pub key: K,
    /// As it is; `None`: it is not there.
    pub before: Option<V>,
    /// As it shall be; `None`: not there.
    pub after: Option<V>,
}

/// All that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The local VTEP.
    pub vtep: Option<Delta<(), Vtep>>,
    /// Devices of the kernel whose segments are adopted.
    pub adopted: Vec<Delta<String, ()>>,
    /// Segments.
    pub segments: Vec<Delta<Vni, Segment>>,
    /// Tunnels.
    pub tunnels: Vec<Delta<(Vni, IpAddr), Tunnel>>,
    /// Ports.
    pub ports: Vec<Delta<String, Port>>,
    /// Stations.
    pub stations: Vec<Delta<(Vni, MacAddr), At>>,
    /// Neighbours.
    pub neighbours: Vec<Delta<(Vni, OverlayAddr), neigh::Station>>,
    /// Listeners.
    pub listeners: Vec<Delta<(Vni, IpAddr, At), ()>>,
}

impl<K, V> Delta<K, V> {
    /// Both, where the thing changes and stays.
    pub fn change(&self) -> Option<(&V, &V)> {
        Some((self.before.as_ref()?, self.after.as_ref()?))
    }

    /// Whether it is to be made.
    pub const fn is_new(&self) -> bool {
        self.before.is_none()
    }

    /// Whether it is to go.
    pub const fn is_gone(&self) -> bool {
        self.after.is_none()
    }
}

impl Diff {
    /// What has to change for `from` to become `to`. What `to` leaves open is as in `from`.
    #[must_use]
    pub fn between(from: &State, to: &State) -> Self {
        let to = &settled(from, to);
        let ports = compare(&from.ports, &to.ports);
        let from = &without_what_ports_take(from, &ports);
        let listeners = |state: &State| state.listeners.iter().map(|one| (one.clone(), ())).collect();
        let adopted = |state: &State| state.adopted.iter().map(|name| (name.clone(), ())).collect();
        let vtep = (!same_vtep(from.vtep.as_ref(), to.vtep.as_ref())).then(|| Delta {
            key: (),
            before: from.vtep.clone(),
            after: to.vtep.clone(),
        });
        Self {
            vtep,
            adopted: compare(&adopted(from), &adopted(to)),
            segments: compare(&from.segments, &to.segments),
            tunnels: compare(&from.tunnels, &to.tunnels),
            ports,
            stations: compare(&from.stations, &to.stations),
            neighbours: compare(&from.neighbours, &to.neighbours),
            listeners: compare(&listeners(from), &listeners(to)),
        }
    }

    /// How many things differ.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.vtep.is_some())
            + self.adopted.len()
            + self.segments.len()
            + self.tunnels.len()
            + self.ports.len()
            + self.stations.len()
            + self.neighbours.len()
            + self.listeners.len()
    }

    /// Whether nothing does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether a port has to be removed and made anew to become another.
pub(crate) fn is_remade(before: &Port, after: &Port) -> bool {
    let name = |port: &Port| port.created.as_ref().map(|created| created.name.clone());
    before.vni != after.vni || before.vlans.is_some() != after.vlans.is_some() || name(before) != name(after)
}

/// Whether a tunnel has to be removed and made anew to become another.
pub(crate) fn is_rejoined(before: &Tunnel, after: &Tunnel) -> bool {
    before.device != after.device
}

fn same_vtep(one: Option<&Vtep>, other: Option<&Vtep>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    let but_for_order = |vtep: &Vtep| Vtep { uplinks: Vec::new(), ..vtep.clone() };
    one.uplink_names() == other.uplink_names() && but_for_order(one) == but_for_order(other)
}

/// The same as `to`, with what it leaves open as it is in `from`.
fn settled(from: &State, to: &State) -> State {
    let mut to = to.clone();
    for (key, tunnel) in &mut to.tunnels {
        if let (None, Some(known)) = (&tunnel.device, from.tunnels.get(key)) {
            tunnel.device.clone_from(&known.device);
        }
    }
    for (name, port) in &mut to.ports {
        let known = from.ports.get(name).and_then(|known| known.created.as_ref());
        let (Some(created), Some(known)) = (&mut port.created, known) else { continue };
        if known.mtu.is_none() {
            // Somebody took it elsewhere, and nobody can say how it is.
            created.addresses.clone_from(&known.addresses);
            created.mtu = None;
        } else {
            created.mtu = created.mtu.or(known.mtu);
        }
    }
    to
}

/// Without the stations and listeners that go with ports and VLANs which are taken away: they have to be put again.
fn without_what_ports_take(from: &State, ports: &[Delta<String, Port>]) -> State {
    let mut from = from.clone();
    let taken = |vni: Vni, at: &At| {
        let At::Port(name) = at else { return false };
        let Ok(place) = ports.binary_search_by(|delta| delta.key.as_str().cmp(name)) else { return false };
        ports[place].change().is_some_and(|(before, after)| {
            is_remade(before, after) || (!stays_in(before, after, vni) && before.is_of(vni))
        })
    };
    from.stations.retain(|(vni, _), at| !taken(*vni, at));
    from.listeners.retain(|(vni, _, at)| !taken(*vni, at));
    from
}

/// Whether a trunk port stays in a segment with the same tag.
fn stays_in(before: &Port, after: &Port, vni: Vni) -> bool {
    let tag = |port: &Port| port.vlans.iter().flat_map(VlanMap::iter).find(|(_, of)| *of == vni);
    tag(before) == tag(after)
}

/// Walks both maps in the order of their keys.
fn compare<K: Ord + Clone, V: PartialEq + Clone>(
    from: &BTreeMap<K, V>,
    to: &BTreeMap<K, V>,
) -> Vec<Delta<K, V>> {
    let mut deltas: Vec<_> = from
        .iter()
        .filter(|(key, before)| to.get(*key) != Some(*before))
        .map(|(key, before)| Delta {
            key: key.clone(),
            before: Some(before.clone()),
            after: to.get(key).cloned(),
        })
        .collect();
    let new = to.iter().filter(|(key, _)| !from.contains_key(key));
    deltas.extend(new.map(|(key, after)| Delta {
        key: key.clone(),
        before: None,
        after: Some(after.clone()),
    }));
    deltas.sort_by(|one, other| one.key.cmp(&other.key));
    deltas
}
