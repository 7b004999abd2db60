//! Segments: `overlay vni`.

use overlay_common::{
    IfIndex, UnderlayAddr, Vni,
    maps::{
        fdb::{FlapRule, Removal},
        flood::FloodList,
        learned::LearnedKey,
        segment::{ClampMss, Segment},
    },
};

use crate::{
    devices,
    error::{Error, Result},
    fdb, grace, headers,
    instance::Instance,
    maps, mdb, neigh,
    netlink::{Link, Netlink},
    undo::Undo,
};

/// Settings to change; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Whether source addresses are learned.
    pub learning: Option<bool>,
    /// Whether unknown unicast is flooded.
    pub flood: Option<bool>,
    /// Seconds after which a learned station that sends nothing is forgotten; 0: never.
    pub ageing: Option<u32>,
    /// The largest IP packet that goes into tunnels, in bytes; none: what their paths carry.
    pub mtu: Option<Option<u16>>,
    /// What the MSS of TCP handshakes is lowered to.
    pub clamp_mss: Option<ClampMss>,
    /// How many stations can be learned at a time; 0: any number.
    pub learn_limit: Option<u32>,
    /// How many moves within the window are flapping; 0: none are.
    pub flap_moves: Option<u16>,
    /// That window, in seconds.
    pub flap_window: Option<u32>,
    /// Seconds that a station that flaps stays where it is; 0: it may go on moving.
    pub flap_freeze: Option<u32>,
    /// Whether frames keep their VLAN tags; otherwise those with one are dropped.
    pub keeps_vlan: Option<bool>,
    /// How outer headers are filled in.
    pub headers: headers::Change,
    /// Whether ARP and ND are answered where the answer is known.
    pub suppress: Option<bool>,
    /// Whether requests for addresses that are not known are dropped instead of flooded.
    pub drop_unknown_neighbour: Option<bool>,
    /// Whether addresses are learned from DHCP too.
    pub snoop_dhcp: Option<bool>,
    /// Whether the receivers of multicast are learned.
    pub mcast_snooping: Option<bool>,
    /// Whether frames go on from tunnel to tunnel.
    pub transit: Option<bool>,
}

impl Change {
    /// The settings after the change.
    fn apply(self, segment: Segment) -> Segment {
        let rule = segment.flap_rule();
        segment
            .with_learn_limit(self.learn_limit.unwrap_or(segment.learn_limit()))
            .with_flap_rule(FlapRule {
                moves: self.flap_moves.unwrap_or(rule.moves),
                window: self.flap_window.unwrap_or(rule.window),
                freeze: self.flap_freeze.unwrap_or(rule.freeze),
            })
            .with_learning(self.learning.unwrap_or(segment.learning()))
            .with_flood(self.flood.unwrap_or(segment.flood()))
            .with_ageing(self.ageing.unwrap_or(segment.ageing()))
            .with_vlan_kept(self.keeps_vlan.unwrap_or(segment.keeps_vlan()))
            .with_policy(self.headers.apply(*segment.policy()))
            .with_suppress(self.suppress.unwrap_or(segment.suppress()))
            .with_unknown_neighbour_dropped(
                self.drop_unknown_neighbour.unwrap_or(segment.drops_unknown_neighbour()),
            )
            .with_snoop_dhcp(self.snoop_dhcp.unwrap_or(segment.snoop_dhcp()))
            .with_mtu(self.mtu.unwrap_or(segment.mtu()))
            .with_clamp_mss(self.clamp_mss.unwrap_or(segment.clamp_mss()))
            .with_mcast_snooping(self.mcast_snooping.unwrap_or(segment.mcast_snooping()))
            .with_transit(self.transit.unwrap_or(segment.transit()))
    }

    /// The settings after the change, if they fit each other.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if they do not.
    pub fn checked(self, before: Segment) -> Result<Segment> {
        let segment = self.apply(before);
        check(&segment)?;
        self.check(segment).map(|()| segment)
    }

    /// Refuses to turn on what does nothing in the segment as it will be.
    fn check(self, segment: Segment) -> Result<()> {
        let idle = match (segment.suppress(), self.drop_unknown_neighbour, self.snoop_dhcp) {
            (false, Some(true), _) => "--suppress-unknown drop",
            (false, _, Some(true)) => "--snoop-dhcp on",
            _ => return Ok(()),
        };
        Err(Error::Usage(format!("{idle} does nothing without --suppress on; name both")))
    }
}

/// A segment, and what is in it.
#[derive(Clone, Debug)]
pub struct View {
    /// Its number.
    pub vni: Vni,
    /// Its settings.
    pub settings: Segment,
    /// How many stations are learned.
    pub learned: u64,
    /// Its ports on this host.
    pub ports: Vec<IfIndex>,
    /// Its remote VTEPs.
    pub remotes: Vec<UnderlayAddr>,
}

/// Adds a segment.
///
/// # Errors
///
/// [`Error::Exists`] if it is there; [`Error::Failed`] if a `vxlan` device of the kernel serves it.
pub async fn add(instance: &Instance, netlink: &Netlink, vni: Vni, change: Change) -> Result<()> {
    if let Some(segment) = maps::segments(instance)?.get(vni.get())? {
        return Err(if change.apply(segment) == segment {
            Error::Exists(format!("VNI {vni} exists already; `overlay vni set` changes it"))
        } else {
            Error::Conflict(format!(
                "VNI {vni} exists already with other settings; `overlay vni set` changes them"
            ))
        });
    }
    change.checked(Segment::default())?;
    make(instance, &netlink.links().await?, vni, change)
}

/// Makes a segment that is not there.
///
/// # Errors
///
/// [`Error::Failed`] if a `vxlan` device of the kernel serves it.
pub(crate) fn make(instance: &Instance, links: &[Link], vni: Vni, change: Change) -> Result<()> {
    refuse_foreign(instance.config()?.port(), links, vni)?;
    let mut undo = Undo::new();
    create(instance, vni, change, &mut undo)?;
    undo.disarm();
    Ok(())
}

/// Makes sure that a segment is there: one that is not is made with default settings, to be undone by `undo`.
///
/// # Errors
///
/// [`Error::Failed`] if a `vxlan` device of the kernel serves it.
pub(crate) fn ensure<'a>(
    instance: &'a Instance,
    links: &[Link],
    vni: Vni,
    undo: &mut Undo<'a>,
) -> Result<()> {
    refuse_foreign(instance.config()?.port(), links, vni)?;
    if maps::segments(instance)?.get(vni.get())?.is_some() {
        return Ok(());
    }
    create(instance, vni, Change::default(), undo)
}

fn create<'a>(instance: &'a Instance, vni: Vni, change: Change, undo: &mut Undo<'a>) -> Result<()> {
    undo.push(move || {
        let _ = forget(instance, vni);
    });
    maps::fdb::purge(instance, Removal::ALL.vni(vni))?;
    for what in [LearnedKey::segment(vni), LearnedKey::neighbours(vni), LearnedKey::refused(vni)] {
        maps::learned::start(instance, what)?;
    }
    maps::counters::start(instance, vni, None)?;
    maps::flood::open(instance)?.put(vni.get(), &FloodList::new(vni))?;
    maps::segments(instance)?.put(vni.get(), &change.apply(Segment::default()))
}

fn forget(instance: &Instance, vni: Vni) -> Result<()> {
    maps::segments(instance)?.remove(vni.get())?;
    maps::flood::open(instance)?.remove(vni.get())?;
    mdb::remove_where(instance, |key, _| key.vni() == Some(vni))?;
    grace::wait(instance)?;
    maps::fdb::purge(instance, Removal::ALL.vni(vni))?;
    maps::neighbours::remove_where(instance, false, |key, _| key.vni() == Some(vni))?;
    for what in [LearnedKey::segment(vni), LearnedKey::neighbours(vni), LearnedKey::refused(vni)] {
        maps::learned::stop(instance, what)?;
    }
    maps::counters::stop(instance, vni, None)
}

/// Refuses a VNI that a `vxlan` device of the kernel serves on the same port.
pub(crate) fn refuse_foreign(port: u16, links: &[Link], vni: Vni) -> Result<()> {
    let serves = |link: &&Link| {
        link.vxlan.is_some_and(|vxlan| vxlan.port == port && vxlan.vni.is_none_or(|other| other == vni.get()))
    };
    match links.iter().find(serves) {
        None => Ok(()),
        Some(link) => Err(Error::Failed(format!(
            "VNI {vni} is served by the kernel's vxlan device {0} on port {port}; `ip link del {0}` first",
            link.name
        ))),
    }
}

/// Changes the settings of a segment.
///
/// # Errors
///
/// [`Error::Missing`] if it is not there; [`Error::Failed`] if more stations are learned than shall be.
pub fn set(instance: &Instance, vni: Vni, change: Change) -> Result<()> {
    let mut segments = maps::segments(instance)?;
    let before = segments.get(vni.get())?.ok_or_else(|| missing(vni))?;
    let segment = change.checked(before)?;
    if change.learn_limit.is_some() {
        let learned = maps::learned::count(instance, LearnedKey::segment(vni))?;
        fdb::check_limit(segment.learn_limit(), learned, &format!("VNI {vni}"), &format!("--vni {vni}"))?;
    }
    segments.put(vni.get(), &segment)?;
    let is_deaf = before.mcast_snooping() && !segment.mcast_snooping();
    let is_unsure = before.suppress() && !segment.suppress();
    if !is_deaf && !is_unsure {
        return Ok(());
    }
    // Nothing keeps true any more what was heard.
    grace::wait(instance)?;
    if is_deaf {
        mdb::forget_heard(instance, vni)?;
    }
    if is_unsure { neigh::flush(instance, vni).map(drop) } else { Ok(()) }
}

/// Refuses settings that do not fit each other.
fn check(segment: &Segment) -> Result<()> {
    match segment.flap_rule() {
        FlapRule { moves: 0, freeze: 1.., .. } => Err(Error::Usage(
            "--flap-freeze needs --flap-moves, which is 0: no station ever flaps".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Removes a segment that has no ports and no tunnels.
///
/// # Errors
///
/// [`Error::Missing`] if it is not there; [`Error::Failed`] if something is in it.
pub fn del(instance: &Instance, vni: Vni) -> Result<()> {
    let view = show(instance, Some(vni))?.into_iter().next().ok_or_else(|| missing(vni))?;
    let ports = view.ports.len() + devices::missing_ports(instance, vni)?.len();
    if ports > 0 || !view.remotes.is_empty() {
        return Err(Error::Failed(format!(
            "VNI {vni} has {ports} ports and {} tunnels; `overlay port del` and `overlay tunnel del` remove them",
            view.remotes.len()
        )));
    }
    forget(instance, vni)
}

/// That segment, or all of them, by number.
///
/// # Errors
///
/// [`Error::Missing`] if that segment is not there.
pub fn show(instance: &Instance, only: Option<Vni>) -> Result<Vec<View>> {
    let flood = maps::flood::open(instance)?;
    let vteps = maps::vteps::Vteps::open(instance)?;
    let mut views = Vec::new();
    for (number, settings) in maps::segments(instance)?.entries()? {
        let Some(vni) = Vni::new(number).filter(|vni| only.is_none_or(|only| only == *vni)) else { continue };
        let list = flood.get(number)?.unwrap_or_else(|| FloodList::new(vni));
        let mut remotes = Vec::new();
        for id in list.vteps() {
            remotes.extend(vteps.get(id)?.map(|vtep| vtep.remote()));
        }
        remotes.sort();
        let learned = maps::learned::count(instance, LearnedKey::segment(vni))?;
        views.push(View { vni, settings, learned, ports: list.ports().collect(), remotes });
    }
    match only {
        Some(vni) if views.is_empty() => Err(missing(vni)),
        _ => Ok(views),
    }
}

/// There is no such segment.
pub(crate) fn missing(vni: Vni) -> Error {
    Error::Missing(format!("there is no VNI {vni}; `overlay vni show` lists those there are"))
}
