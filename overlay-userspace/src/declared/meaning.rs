//! What a file says: everything that is wrong without looking at the host is found here, and where.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt::Display,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use overlay_common::{MacAddr, Vni, maps::config::TcHook, maps::segment::Segment};

use super::{
    fault::Fault,
    file::{self, File, Word},
    settings,
    state::{Created, Port, State, Tunnel, Vtep},
};
use crate::{cli::words, devices, fdb::At, hook, mdb, neigh, trunk::VlanMap};

/// What a file says, and where it says it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meaning {
    pub(crate) state: State,
    pub(crate) places: Places,
    pub(crate) agent: Agent,
}

/// What a file says to the agent. It is no part of the instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
}

/// Where a file names what the host may refuse.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) segments: BTreeMap<Vni, Range<usize>>,
    pub(crate) tunnels: BTreeMap<(Vni, IpAddr), Range<usize>>,
    pub(crate) ports: BTreeMap<String, Range<usize>>,
    pub(crate) stations: BTreeMap<(Vni, MacAddr), Range<usize>>,
    pub(crate) vtep: Range<usize>,
    /// The first segment that reaches each remote VTEP.
    remotes: BTreeMap<IpAddr, Vni>,
}

/// Finds out what a file says.
pub(crate) fn of(file: &File) -> Result<Meaning, Fault> {
    let mut meaning = Meaning::default();
    let vtep = vtep(&file.vtep)?;
    meaning.places.vtep = file.vtep.uplinks.first().map(Word::span).unwrap_or_default();
    let udp_port = vtep.port;
    meaning.state.vtep = Some(vtep);
    meaning.state.adopted = adopted(&file.vtep)?;
    // Names of ports first: stations are behind them.
    for vni in &file.vni {
        meaning.segment(vni)?;
    }
    for port in &file.port {
        meaning.port(port)?;
    }
    for vni in &file.vni {
        meaning.inside(vni, udp_port)?;
    }
    meaning.implied();
    meaning.agent = agent(file.agent.as_ref())?;
    Ok(meaning)
}

fn vtep(vtep: &file::Vtep) -> Result<Vtep, Fault> {
    let mut given: Vec<(&str, &Word)> = Vec::new();
    given.extend(vtep.uplinks.iter().map(|name| ("uplink", name)));
    given.extend(vtep.local.0.iter().map(|addr| ("local", addr)));
    let choices = [
        ("port", &vtep.port),
        ("xdp", &vtep.xdp),
        ("tunnel-gro", &vtep.tunnel_gro),
        ("tc", &vtep.tc),
        ("fdb-size", &vtep.fdb_size),
        ("max-vteps", &vtep.max_vteps),
    ];
    for (name, value) in choices {
        given.extend(value.iter().map(|value| (name, value)));
    }
    if vtep.uplinks.is_empty() {
        return Err(Fault { span: 0..0, message: "vtep.uplinks is empty; name a device".to_owned() });
    }
    let settings = settings::ask(&given, words::vtep)?;
    let mut seen = BTreeSet::new();
    for name in &vtep.uplinks {
        devices::name(&name.get_ref().to_string()).map_err(|error| Fault::at(name, error))?;
        if !seen.insert(name.get_ref().to_string()) {
            return Err(Fault::at(name, format!("{} is named twice", name.get_ref())));
        }
    }
    Ok(Vtep {
        uplinks: settings.uplinks,
        locals: settings.locals.into_iter().map(|addr| addr.to_canonical()).collect(),
        port: settings.port,
        xdp: settings.xdp,
        merging: settings.merging,
        tc: settings.tc.unwrap_or_else(default_tc),
        room: settings.room,
    })
}

fn adopted(vtep: &file::Vtep) -> Result<BTreeSet<String>, Fault> {
    let mut adopted = BTreeSet::new();
    for name in &vtep.adopt {
        let text = name.get_ref().to_string();
        devices::name(&text).map_err(|error| Fault::at(name, error))?;
        if !adopted.insert(text) {
            return Err(Fault::at(name, format!("{} is named twice", name.get_ref())));
        }
    }
    Ok(adopted)
}

fn agent(agent: Option<&file::Agent>) -> Result<Agent, Fault> {
    let metrics = agent.and_then(|agent| agent.metrics.as_ref());
    let metrics = metrics.map(|address| read("metrics", address, words::metrics)).transpose()?;
    Ok(Agent { metrics: metrics.flatten() })
}

/// How TC programs are attached where nobody says how.
pub(crate) fn default_tc() -> TcHook {
    if hook::has_tcx() { TcHook::Tcx } else { TcHook::Clsact }
}

/// Reads a value by a parser of the command line.
fn read<T, E: Display>(name: &str, value: &Word, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, Fault> {
    let text = value.get_ref().to_string();
    parse(&text).map_err(|error| Fault::at(value, format!("{name}: {text:?}: {error}")))
}

fn vni_of(value: &Word) -> Result<Vni, Fault> {
    read("VNI", value, str::parse::<Vni>)
}

fn addr_of(value: &Word) -> Result<IpAddr, Fault> {
    let parse = |text: &str| text.parse::<IpAddr>().map_err(|_| "no IPv4 or IPv6 address");
    read("remote", value, parse).map(|addr| addr.to_canonical())
}

impl Meaning {
    /// A segment, and its plain ports.
    fn segment(&mut self, vni: &file::Vni) -> Result<(), Fault> {
        let id = vni_of(&vni.id)?;
        if self.state.segments.insert(id, settings::read(vni)?).is_some() {
            return Err(Fault::at(
                &vni.id,
                format!("VNI {id} is there twice; put all of it into one [[vni]]"),
            ));
        }
        self.places.segments.insert(id, vni.id.span());
        for name in &vni.ports {
            self.add_port(name, name.get_ref().to_string(), Port::plain(id))?;
        }
        Ok(())
    }

    fn port(&mut self, port: &file::Port) -> Result<(), Fault> {
        let settings = [
            ("learn-limit", &port.learn_limit),
            ("bum-rate", &port.bum_rate),
            ("xdp-redirect", &port.xdp_redirect),
        ];
        let given: Vec<(&str, &Word)> =
            settings.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        let limits = settings::ask(&given, words::limits)?;
        let vni = port.vni.as_ref().map(vni_of).transpose()?;
        let vlans = port.vlan.as_ref().map(|map| read("vlan", map, str::parse::<VlanMap>)).transpose()?;
        if let (Some(vlans), Some(word)) = (&vlans, &port.vlan) {
            vlans.refuse_native(vni).map_err(|error| Fault::at(word, error))?;
        }
        if vni.is_none() && vlans.is_none() {
            return Err(Fault::at(&port.name, "a port needs `vni`, or `vlan` if it is a trunk"));
        }
        let (name, created) = created(port)?;
        if let (Some(_), Some(word)) = (&created, &port.vlan) {
            return Err(Fault::at(word, "a port that is made (`create`) can be no trunk"));
        }
        self.add_port(&port.name, name, Port { vni, vlans, limits, created })
    }

    fn add_port(&mut self, place: &Word, name: String, port: Port) -> Result<(), Fault> {
        devices::name(&name).map_err(|error| Fault::at(place, error))?;
        let is_uplink = |vtep: &Vtep| vtep.uplinks.contains(&name);
        if self.state.vtep.as_ref().is_some_and(is_uplink) {
            return Err(Fault::at(place, format!("{name} is an uplink, and cannot be a port too")));
        }
        match self.state.ports.entry(name) {
            Entry::Vacant(entry) => {
                self.places.ports.insert(entry.key().clone(), place.span());
                entry.insert(port);
                Ok(())
            }
            Entry::Occupied(known) => {
                let name = known.key();
                let what = match known.get().vni {
                    Some(vni) => format!("a port of VNI {vni}"),
                    None => "a trunk port".to_owned(),
                };
                Err(Fault::at(place, format!("{name} is there already, as {what}; a port is named once")))
            }
        }
    }

    /// Tunnels, stations, neighbours and listeners of a segment.
    fn inside(&mut self, vni: &file::Vni, udp_port: u16) -> Result<(), Fault> {
        let id = vni_of(&vni.id)?;
        let plain = Tunnel { port: udp_port, udp_checksum: false, device: None };
        for remote in &vni.remotes {
            self.tunnel(id, remote, plain.clone())?;
        }
        for tunnel in &vni.tunnel {
            let mut given = Vec::new();
            given.extend(tunnel.port.iter().map(|port| ("port", port)));
            given.extend(tunnel.dev.iter().map(|device| ("dev", device)));
            let (settings, device) = settings::ask(&given, words::reach)?;
            let port = settings.port.unwrap_or(udp_port);
            self.tunnel(id, &tunnel.remote, Tunnel { port, udp_checksum: tunnel.udp6_csum, device })?;
        }
        for station in &vni.fdb {
            self.station(id, station)?;
        }
        for neighbour in &vni.neigh {
            self.neighbour(id, neighbour)?;
        }
        for listener in &vni.mdb {
            self.listener(id, listener)?;
        }
        Ok(())
    }

    fn tunnel(&mut self, vni: Vni, place: &Word, tunnel: Tunnel) -> Result<(), Fault> {
        let remote = addr_of(place)?;
        if self.state.vtep.as_ref().is_some_and(|vtep| vtep.locals.contains(&remote)) {
            return Err(Fault::at(place, format!("{remote} is the local VTEP itself; name another host's")));
        }
        if tunnel.device.is_some() && !remote.is_multicast() {
            return Err(Fault::at(place, format!("dev is for multicast groups, which {remote} is not")));
        }
        let key = (vni, remote);
        if let Some(first) = self.places.tunnels.insert(key, place.span()) {
            self.places.tunnels.insert(key, first);
            return Err(Fault::at(place, format!("VNI {vni} reaches {remote} already")));
        }
        self.refuse_other(key, place, &tunnel)?;
        self.places.remotes.entry(remote).or_insert(vni);
        self.state.tunnels.insert(key, tunnel);
        Ok(())
    }

    /// A remote VTEP is one, whatever segment reaches it; a segment has one group of each family.
    fn refuse_other(&self, (vni, remote): (Vni, IpAddr), place: &Word, tunnel: &Tunnel) -> Result<(), Fault> {
        let first = self.places.remotes.get(&remote);
        let known = first.and_then(|first| Some((first, self.state.tunnels.get(&(*first, remote))?)));
        if let Some((other, _)) = known.filter(|(_, known)| *known != tunnel) {
            return Err(Fault::at(
                place,
                format!("{remote} has other settings in VNI {other}; a remote VTEP has the same everywhere"),
            ));
        }
        if !remote.is_multicast() {
            return Ok(());
        }
        let is_other =
            |(_, other): &(Vni, IpAddr)| other.is_multicast() && other.is_ipv4() == remote.is_ipv4();
        let of_segment = self.state.tunnels.range((vni, IpAddr::from([0; 4]))..);
        let mut groups = of_segment.map(|(key, _)| *key).take_while(|(other, _)| *other == vni);
        match groups.find(is_other) {
            None => Ok(()),
            Some((_, other)) => Err(Fault::at(
                place,
                format!("VNI {vni} has the group {other} already, and can have one of each family"),
            )),
        }
    }

    fn station(&mut self, vni: Vni, station: &file::Station) -> Result<(), Fault> {
        let mac = read("mac", &station.mac, words::station)?;
        let at = self.at(vni, &station.mac, station.remote.as_ref(), station.port.as_ref())?;
        if self.places.stations.insert((vni, mac), station.mac.span()).is_some() {
            return Err(Fault::at(
                &station.mac,
                format!("{mac} is there twice in VNI {vni}; a station is in one place"),
            ));
        }
        self.state.stations.insert((vni, mac), at);
        Ok(())
    }

    fn neighbour(&mut self, vni: Vni, neighbour: &file::Neighbour) -> Result<(), Fault> {
        let ip = read("ip", &neighbour.ip, words::overlay_address)?;
        let mac = read("mac", &neighbour.mac, words::station)?;
        let station = neigh::Station { mac, router: neighbour.router };
        neigh::check(ip, station).map_err(|error| Fault::at(&neighbour.ip, error))?;
        match self.state.neighbours.insert((vni, ip), station) {
            None => Ok(()),
            Some(_) => Err(Fault::at(&neighbour.ip, format!("{ip} is there twice in VNI {vni}"))),
        }
    }

    fn listener(&mut self, vni: Vni, listener: &file::Listener) -> Result<(), Fault> {
        let parse = |text: &str| text.parse::<IpAddr>().map_err(|_| "no IPv4 or IPv6 address");
        let group = read("group", &listener.group, parse)?;
        let group = mdb::checked(group).map_err(|error| Fault::at(&listener.group, error))?.addr().ip();
        let at = self.at(vni, &listener.group, listener.remote.as_ref(), listener.port.as_ref())?;
        if self.state.listeners.insert((vni, group, at)) {
            return Ok(());
        }
        Err(Fault::at(&listener.group, format!("the listener to {group} is there twice in VNI {vni}")))
    }

    /// A place that is in the segment.
    fn at(&self, vni: Vni, whose: &Word, remote: Option<&Word>, port: Option<&Word>) -> Result<At, Fault> {
        match (remote, port) {
            (Some(place), None) => {
                let remote = addr_of(place)?;
                if remote.is_multicast() {
                    return Err(Fault::at(
                        place,
                        format!("{remote} is a multicast group, which nobody is behind"),
                    ));
                }
                if self.state.tunnels.contains_key(&(vni, remote)) {
                    return Ok(At::Remote(remote));
                }
                Err(Fault::at(place, format!("VNI {vni} has no tunnel to {remote}; add it to its `remotes`")))
            }
            (None, Some(place)) => {
                let name = self.port_name(place.get_ref().to_string());
                if self.state.ports.get(&name).is_some_and(|port| port.is_of(vni)) {
                    return Ok(At::Port(name));
                }
                Err(Fault::at(place, format!("{name} is no port of VNI {vni}; add it to its `ports`")))
            }
            _ => Err(Fault::at(whose, "name one place, `remote` or `port`")),
        }
    }

    /// The name of a port, which may have been named by the device that was made with it.
    fn port_name(&self, name: String) -> String {
        let made = format!("{name}{}", crate::port::PORT_END);
        let is_made = self.state.ports.get(&made).is_some_and(|port| port.created.is_some());
        if is_made && !self.state.ports.contains_key(&name) { made } else { name }
    }

    /// Segments that only ports name have default settings.
    fn implied(&mut self) {
        let State { ports, segments, .. } = &mut self.state;
        for vni in ports.values().flat_map(Port::vnis) {
            segments.entry(vni).or_insert_with(Segment::default);
        }
    }
}

/// The name of a port, and the host's own device that is made with it.
fn created(port: &file::Port) -> Result<(String, Option<Created>), Fault> {
    let name = port.name.get_ref().to_string();
    if !port.create {
        let stray = port.address.first().or(port.mtu.as_ref());
        return match stray {
            None => Ok((name, None)),
            Some(word) => Err(Fault::at(word, "that is for the host's own device; it needs `create = true`")),
        };
    }
    devices::name(&name).map_err(|error| Fault::at(&port.name, error))?;
    let addresses =
        port.address.iter().map(|one| read("address", one, words::address)).collect::<Result<_, _>>()?;
    let mtu = port.mtu.as_ref().map(|mtu| read("mtu", mtu, str::parse::<u32>)).transpose()?;
    let end = format!("{name}{}", crate::port::PORT_END);
    Ok((end, Some(Created { name, addresses, mtu })))
}
