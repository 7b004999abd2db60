//! What an instance that is up was told, out of its maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use overlay_common::{
    Family, IfIndex, Vni, VtepId,
    maps::{
        device::{DeviceName, Role, XdpChoice},
        fdb::Origin,
        mdb::{Listener, Subject},
        segment::Segment,
        vtep::Vtep as RemoteVtep,
    },
};

use super::state::{Created, Port, State, Tunnel, Vtep};
use crate::{
    adopt,
    datapath::Room,
    devices,
    error::Result,
    fdb::At,
    instance::Instance,
    maps::{self, vteps::Vteps},
    mdb, neigh,
    netlink::{Address, Link, Netlink},
    port::{self, Limits, stations},
    tunnel,
};

/// What a locked instance was told.
///
/// # Errors
///
/// Fails if the kernel does.
pub async fn read(instance: &Instance, netlink: &Netlink) -> Result<State> {
    let (links, addresses) = (netlink.links().await?, netlink.addresses().await?);
    let mut reader = Reader { instance, links, addresses, names: BTreeMap::new(), remotes: BTreeMap::new() };
    let mut state = State { vtep: Some(reader.vtep()?), ..State::default() };
    state.adopted = adopt::show(instance)?.into_iter().map(|view| view.name).collect();
    state.segments = reader.segments()?;
    state.ports = reader.ports()?;
    reader.remotes = Vteps::open(instance)?.all()?.into_iter().collect();
    reader.stations(&mut state)?;
    reader.listeners(&mut state)?;
    reader.tunnels(&mut state)?;
    for (key, entry) in neigh::show(instance, None)? {
        if let (Some(vni), Some((mac, router)), Origin::Static) =
            (key.vni(), entry.station(key), entry.origin())
        {
            state.neighbours.insert((vni, key.address()), neigh::Station { mac, router });
        }
    }
    Ok(state)
}

struct Reader<'a> {
    instance: &'a Instance,
    links: Vec<Link>,
    addresses: Vec<Address>,
    /// Ports by the device that serves them.
    names: BTreeMap<IfIndex, String>,
    remotes: BTreeMap<VtepId, RemoteVtep>,
}

impl Reader<'_> {
    fn vtep(&self) -> Result<Vtep> {
        let config = self.instance.config()?;
        let uplinks = devices::uplinks(self.instance)?;
        let xdp = uplinks.first().map(|(_, device)| device.role());
        Ok(Vtep {
            uplinks: uplinks.iter().map(|(name, _)| name.as_str().to_owned()).collect(),
            locals: if config.is_following() {
                Vec::new()
            } else {
                config.locals().iter().map(|local| local.ip()).collect()
            },
            port: config.port(),
            xdp: if let Some(Role::Uplink(choice)) = xdp { choice } else { XdpChoice::Auto },
            merging: config.merging(),
            tc: config.tc(),
            room: Room {
                stations: maps::fdb::size(self.instance)?,
                vteps: maps::vteps::size(self.instance)?,
            },
        })
    }

    fn segments(&self) -> Result<BTreeMap<Vni, Segment>> {
        let all = maps::segments(self.instance)?.entries()?.into_iter();
        Ok(all.filter_map(|(number, segment)| Some((Vni::new(number)?, told(segment)))).collect())
    }

    fn ports(&mut self) -> Result<BTreeMap<String, Port>> {
        let mut ports = BTreeMap::new();
        for view in port::show(self.instance)? {
            if let Some(device) = view.device {
                self.names.insert(device, view.name.clone());
            }
            let limits = Limits {
                stations: view.learn_limit,
                bum_rate: view.bum_rate.unwrap_or_default(),
                xdp_redirect: view.xdp_redirect,
            };
            let created = view.created.map(|name| self.created(name));
            ports.insert(view.name, Port { vni: view.vni, vlans: view.vlans, limits, created });
        }
        Ok(ports)
    }

    fn created(&self, name: String) -> Created {
        let link = self.links.iter().find(|link| link.name == name);
        let own = self.addresses.iter().filter(|address| Some(address.device) == link.map(|link| link.index));
        let addresses = own.map(|address| (address.addr, address.prefix)).collect();
        Created { name, addresses, mtu: link.map(|link| link.mtu) }
    }

    fn stations(&self, state: &mut State) -> Result<()> {
        for (key, entry) in maps::fdb::open(self.instance)?.entries()? {
            let Some(vni) = key.vni().filter(|_| entry.origin() == Origin::Static) else { continue };
            if let Some(at) = entry.place(vni).and_then(|place| self.at(place.into())) {
                state.stations.insert((vni, key.mac()), at);
            }
        }
        for (key, station) in stations::waiting(self.instance)? {
            let Some(vni) = key.vni().filter(|_| station.entry().origin() == Origin::Static) else {
                continue;
            };
            state.stations.insert((vni, key.mac()), At::Port(name(station.port())));
        }
        Ok(())
    }

    fn listeners(&self, state: &mut State) -> Result<()> {
        for view in mdb::show(self.instance, None)?.into_iter().filter(|view| view.is_static) {
            let Subject::Listener(group, place) = view.subject else { continue };
            state.listeners.extend(self.at(place).map(|at| (view.vni, group.addr().ip(), at)));
        }
        Ok(())
    }

    fn at(&self, place: Listener) -> Option<At> {
        match place {
            Listener::Port(device) => self.names.get(&device).cloned().map(At::Port),
            Listener::Vtep(id) => self.remotes.get(&id).map(|vtep| At::Remote(vtep.remote().ip())),
        }
    }

    /// A member that came by itself counts once a command put something behind it: it has to stay then.
    fn tunnels(&self, state: &mut State) -> Result<()> {
        let mut needed: BTreeSet<(Vni, IpAddr)> = BTreeSet::new();
        needed.extend(state.stations.iter().filter_map(|((vni, _), at)| remote(at).map(|addr| (*vni, addr))));
        needed.extend(state.listeners.iter().filter_map(|(vni, _, at)| remote(at).map(|addr| (*vni, addr))));
        for view in tunnel::show(self.instance)? {
            let key = (view.vni, view.remote.ip());
            // What is adopted the kernel was told.
            let is_adopted = !state.segments.contains_key(&view.vni);
            if is_adopted || (view.is_learned && !needed.contains(&key)) {
                continue;
            }
            let device = if view.is_group { self.joined_on(view.vtep) } else { None };
            state.tunnels.insert(key, Tunnel { port: view.port, udp_checksum: view.udp_checksum, device });
        }
        Ok(())
    }

    fn joined_on(&self, id: VtepId) -> Option<String> {
        let device = self.remotes.get(&id)?.uplink()?;
        self.links.iter().find(|link| link.index == device).map(|link| link.name.clone())
    }
}

fn remote(at: &At) -> Option<IpAddr> {
    match at {
        At::Remote(addr) => Some(*addr),
        At::Port(_) => None,
    }
}

fn name(name: DeviceName) -> String {
    name.as_str().to_owned()
}

/// The settings of a segment without what follows from its ports and tunnels, and from what is off.
fn told(segment: Segment) -> Segment {
    let segment = segment.with_trunks(false).with_group(Family::Ipv4, None).with_group(Family::Ipv6, None);
    if segment.suppress() {
        return segment;
    }
    segment.with_unknown_neighbour_dropped(false).with_snoop_dhcp(false)
}
