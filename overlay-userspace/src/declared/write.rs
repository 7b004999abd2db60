//! A state as a file.

use overlay_common::{
    Vni,
    header::udp::VXLAN_PORT,
    maps::{
        config::{Merging, TcHook},
        device::XdpChoice,
        fdb,
        segment::Segment,
        vtep,
    },
};

use super::{
    file::{self, File, OneOrMore, Word, word},
    meaning::default_tc,
    settings,
    state::{Port, State, Tunnel, Vtep},
};
use crate::{
    error::{Context as _, Error, Result},
    fdb::At,
    port::Limits,
};

/// The TOML that says a state. What is as it is by default is left out.
///
/// # Errors
///
/// [`Error::Failed`] if the instance is not up.
pub fn toml(state: &State) -> Result<String> {
    toml::to_string(&file(state)?).context(|| "cannot write TOML")
}

/// The same, not as text yet.
///
/// # Errors
///
/// [`Error::Failed`] if the instance is not up.
pub fn file(state: &State) -> Result<File> {
    let vtep = state.vtep.as_ref().ok_or_else(|| Error::Failed("the instance is not up".to_owned()))?;
    let mut file = File { vtep: vtep_of(vtep), agent: None, port: Vec::new(), vni: Vec::new() };
    file.vtep.adopt = state.adopted.iter().map(|name| word(name.as_str())).collect();
    for (vni, settings) in &state.segments {
        file.vni.push(segment(*vni, settings));
    }
    for (name, port) in &state.ports {
        match (plain(port), &port.created) {
            (Some(vni), _) => of(&mut file, vni, |vni| vni.ports.push(word(name.as_str()))),
            (None, _) => file.port.push(port_of(name, port)),
        }
    }
    for ((vni, remote), tunnel) in &state.tunnels {
        let remote = word(remote.to_string());
        of(&mut file, *vni, |vni| tunnel_to(vni, remote, tunnel, vtep));
    }
    stations(&mut file, state);
    Ok(file)
}

fn stations(file: &mut File, state: &State) {
    for ((vni, mac), at) in &state.stations {
        let (remote, port) = place(at);
        let station = file::Station { mac: word(mac.to_string()), remote, port };
        of(file, *vni, |vni| vni.fdb.push(station));
    }
    for ((vni, ip), station) in &state.neighbours {
        let (ip, mac) = (word(ip.to_string()), word(station.mac.to_string()));
        let neighbour = file::Neighbour { ip, mac, router: station.router };
        of(file, *vni, |vni| vni.neigh.push(neighbour));
    }
    for (vni, group, at) in &state.listeners {
        let (remote, port) = place(at);
        let listener = file::Listener { group: word(group.to_string()), remote, port };
        of(file, *vni, |vni| vni.mdb.push(listener));
    }
}

/// Changes a segment of the file, where segments are by number.
fn of(file: &mut File, vni: Vni, change: impl FnOnce(&mut file::Vni)) {
    let number = file::Scalar::from(vni.get());
    let key = |one: &file::Vni| match one.id.get_ref() {
        file::Scalar::Number(number) => *number,
        _ => 0,
    };
    if let Ok(place) = file.vni.binary_search_by_key(&i64::from(vni.get()), key) {
        debug_assert_eq!(*file.vni[place].id.get_ref(), number);
        change(&mut file.vni[place]);
    }
}

/// A segment of the file, with nothing in it.
pub(crate) fn segment(vni: Vni, segment: &Segment) -> file::Vni {
    let mut written = file::Vni::new(vni);
    settings::write(&mut written, segment);
    written
}

fn vtep_of(vtep: &Vtep) -> file::Vtep {
    let number = |value: u32, default: u32| (value != default).then(|| word(value));
    file::Vtep {
        uplinks: vtep.uplinks.iter().map(|name| word(name.as_str())).collect(),
        local: OneOrMore(vtep.locals.iter().map(|addr| word(addr.to_string())).collect()),
        port: number(vtep.port.into(), VXLAN_PORT.into()),
        xdp: (vtep.xdp != XdpChoice::Auto).then(|| word(xdp_word(vtep.xdp))),
        tunnel_gro: (vtep.merging != Merging::Auto).then(|| word(merging_word(vtep.merging))),
        tc: (vtep.tc != default_tc()).then(|| word(tc_word(vtep.tc))),
        fdb_size: number(vtep.room.stations, fdb::DEFAULT_ENTRIES),
        max_vteps: number(vtep.room.vteps, vtep::DEFAULT_NAMED),
        adopt: Vec::new(),
    }
}

pub(crate) const fn xdp_word(choice: XdpChoice) -> &'static str {
    match choice {
        XdpChoice::Auto => "auto",
        XdpChoice::Native => "native",
        XdpChoice::Generic => "generic",
        XdpChoice::Off => "off",
    }
}

pub(crate) const fn merging_word(choice: Merging) -> &'static str {
    match choice {
        Merging::Auto => "auto",
        Merging::Always => "on",
        Merging::Never => "off",
    }
}

pub(crate) const fn tc_word(hook: TcHook) -> &'static str {
    match hook {
        TcHook::Tcx => "tcx",
        TcHook::Clsact => "clsact",
    }
}

/// The segment of a port without settings of its own.
fn plain(port: &Port) -> Option<Vni> {
    let is_plain = port.vlans.is_none() && port.created.is_none() && port.limits == Limits::default();
    port.vni.filter(|_| is_plain)
}

pub(crate) fn port_of(name: &str, port: &Port) -> file::Port {
    let limit = |limit: u32| (limit != 0).then(|| word(limit));
    let created = port.created.as_ref();
    let addresses = created
        .map(|created| created.addresses.iter().map(|(addr, len)| word(format!("{addr}/{len}"))).collect());
    file::Port {
        name: word(created.map_or(name, |created| created.name.as_str())),
        vni: port.vni.map(|vni| word(vni.get())),
        vlan: port.vlans.as_ref().map(|vlans| word(vlans.to_string())),
        learn_limit: limit(port.limits.stations),
        bum_rate: limit(port.limits.bum_rate),
        xdp_redirect: port.limits.xdp_redirect.then(|| word(true)),
        create: created.is_some(),
        address: addresses.unwrap_or_default(),
        mtu: created.and_then(|created| created.mtu).map(word),
    }
}

/// A remote VTEP among those without settings of its own, or those with them.
fn tunnel_to(vni: &mut file::Vni, remote: Word, tunnel: &Tunnel, vtep: &Vtep) {
    let port = (tunnel.port != vtep.port).then(|| word(u32::from(tunnel.port)));
    let dev = tunnel.device.as_deref().map(word);
    if port.is_none() && dev.is_none() && !tunnel.udp_checksum {
        vni.remotes.push(remote);
    } else {
        vni.tunnel.push(file::Tunnel { remote, port, udp6_csum: tunnel.udp_checksum, dev });
    }
}

fn place(at: &At) -> (Option<Word>, Option<Word>) {
    match at {
        At::Remote(remote) => (Some(word(remote.to_string())), None),
        At::Port(name) => (None, Some(word(name.as_str()))),
    }
}
