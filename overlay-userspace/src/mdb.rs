//! Who listens to which multicast group: `overlay mdb`.

use std::{collections::BTreeMap, net::IpAddr};

use overlay_common::{
    Family, UnderlayAddr, Vni,
    maps::mdb::{Group, LISTENER_NS, Listener, MdbEntry, MdbKey, Subject},
};

use crate::{
    error::{Error, Result},
    fdb::{self, At},
    instance::Instance,
    maps::{self, Added, Table},
    netlink::Netlink,
    segment,
    undo::Undo,
};

/// Something known about multicast in a segment.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The segment.
    pub vni: Vni,
    /// What is known.
    pub subject: Subject,
    /// Whether a command made it.
    pub is_static: bool,
    /// Seconds that it holds on, if nothing more is heard; `None`: for good.
    pub left: Option<u64>,
}

/// Removes the entries that `unwanted` holds of.
pub(crate) fn remove_where(instance: &Instance, unwanted: impl Fn(MdbKey, &MdbEntry) -> bool) -> Result<()> {
    let mut mdb = maps::mdb(instance)?;
    for (key, _) in mdb.entries()?.into_iter().filter(|(key, entry)| unwanted(*key, entry)) {
        mdb.remove(key)?;
    }
    Ok(())
}

/// Forgets what was heard from a place in a segment, or said of it.
pub(crate) fn forget_listener(instance: &Instance, vni: Vni, place: Listener) -> Result<()> {
    remove_where(instance, |key, _| key.vni() == Some(vni) && key.listener() == Some(place))
}

/// Has all multicast of a segment flooded until somebody has asked again who listens: there is somebody who was not asked.
pub(crate) fn forget_queriers(instance: &Instance, vni: Vni) -> Result<()> {
    let mut mdb = maps::mdb(instance)?;
    for family in [Family::Ipv4, Family::Ipv6] {
        mdb.remove(MdbKey::new(vni, Subject::Querier(family)))?;
    }
    Ok(())
}

/// Forgets what was heard in a segment. What commands said stays.
pub(crate) fn forget_heard(instance: &Instance, vni: Vni) -> Result<()> {
    remove_where(instance, |key, entry| key.vni() == Some(vni) && !entry.is_static())
}

/// Removes what does not hold any more.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn sweep(instance: &Instance) -> Result<()> {
    let now = fdb::now()?;
    let mut mdb = maps::mdb(instance)?;
    for (key, _) in mdb.entries()?.into_iter().filter(|(_, entry)| entry.is_over(now)) {
        // Reading them all takes a while, and a report may have come meanwhile.
        if mdb.get(key)?.is_some_and(|entry| entry.is_over(now)) {
            mdb.remove(key)?;
        }
    }
    Ok(())
}

/// A group whose listeners are learned.
pub(crate) fn checked(group: IpAddr) -> Result<Group> {
    let group = group.to_canonical();
    Group::new(UnderlayAddr::from(group)).ok_or_else(|| {
        Error::Usage(format!("{group} is no multicast group, or one of a link only, which everybody gets"))
    })
}

/// Where somebody listens for good.
async fn place(instance: &Instance, netlink: &Netlink, vni: Vni, at: &At) -> Result<Listener> {
    fdb::place(instance, netlink, vni, at).await.map(Listener::from)
}

/// Lets somebody listen to a group for good.
///
/// # Errors
///
/// [`Error::Exists`] if somebody does there already, by a command; [`Error::Missing`] if the segment, or the place in it, is
/// not there; [`Error::Usage`] for what is no such group.
pub async fn add(instance: &Instance, netlink: &Netlink, vni: Vni, group: IpAddr, at: &At) -> Result<()> {
    let group = checked(group)?;
    let place = place(instance, netlink, vni, at).await?;
    let mut mdb = maps::mdb(instance)?;
    let key = MdbKey::new(vni, Subject::Listener(group, place));
    if mdb.get(key)?.is_some_and(|entry| entry.is_static()) {
        return Err(Error::Exists(format!("a listener of VNI {vni} to {group} is there already")));
    }
    // The group first: until somebody is known to listen, it goes nowhere for no longer than a failure takes.
    let mut undo = Undo::new();
    let group = MdbKey::new(vni, Subject::Group(group));
    let before = mdb.get(group)?;
    put(&mut mdb, group)?;
    undo.push(move || {
        let _ = maps::mdb(instance).and_then(|mut mdb| match before {
            Some(before) => mdb.put(group, &before),
            None => mdb.remove(group).map(drop),
        });
    });
    put(&mut mdb, key)?;
    undo.disarm();
    Ok(())
}

/// How often to make room for an entry, that others may take first.
const TRIES: u32 = 8;

/// How many learned listeners make way at a time.
const BATCH: usize = 64;

/// Makes an entry that holds for good. Where the map is full, learned listeners make way.
fn put(mdb: &mut Table<MdbKey, MdbEntry>, key: MdbKey) -> Result<()> {
    for _ in 0..TRIES {
        match mdb.add(key, &MdbEntry::STATIC)? {
            Added::New => return Ok(()),
            Added::Known => return mdb.put(key, &MdbEntry::STATIC),
            Added::Full => make_room(mdb)?,
        }
    }
    Err(Error::Failed(
        "there are as many listeners as there can be; `overlay vni set --mcast-snooping off` or `overlay mdb del` makes \
         room"
            .to_owned(),
    ))
}

/// Has learned listeners of the segment that has most of them make way, those first that hold on least. Their groups are
/// flooded until all of the listeners have said so again.
fn make_room(mdb: &mut Table<MdbKey, MdbEntry>) -> Result<()> {
    let mut learned: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, entry) in mdb.entries()? {
        if let (Some(vni), Subject::Listener(group, _), false) = (key.vni(), key.subject(), entry.is_static())
        {
            learned.entry(vni).or_default().push((entry.until(), key, group));
        }
    }
    let Some((vni, mut most)) = learned.into_iter().max_by_key(|(_, listeners)| listeners.len()) else {
        return Ok(());
    };
    most.sort_unstable_by_key(|(until, ..)| *until);
    let again = fdb::now()? + LISTENER_NS;
    for (_, key, group) in most.into_iter().take(BATCH) {
        let group = MdbKey::new(vni, Subject::Group(group));
        if let Some(mut known) = mdb.get(group)? {
            known.set_from(again);
            mdb.put(group, &known)?;
        }
        mdb.remove(key)?;
    }
    Ok(())
}

/// Lets somebody listen to a group no more, whether a command had said so or the listener.
///
/// # Errors
///
/// [`Error::Missing`] if nobody does there.
pub async fn del(instance: &Instance, netlink: &Netlink, vni: Vni, group: IpAddr, at: &At) -> Result<()> {
    let group = checked(group)?;
    let place = place(instance, netlink, vni, at).await?;
    let mut mdb = maps::mdb(instance)?;
    if !mdb.remove(MdbKey::new(vni, Subject::Listener(group, place)))? {
        return Err(Error::Missing(format!("nobody of VNI {vni} listens to {group} there")));
    }
    let is_of_group = |key: &MdbKey| {
        key.vni() == Some(vni) && matches!(key.subject(), Subject::Listener(other, _) if other == group)
    };
    if !mdb.entries()?.iter().any(|(key, entry)| entry.is_static() && is_of_group(key)) {
        mdb.remove(MdbKey::new(vni, Subject::Group(group)))?;
    }
    Ok(())
}

/// All that is known, of that segment or of all.
///
/// # Errors
///
/// [`Error::Missing`] if that segment is not there.
pub fn show(instance: &Instance, only: Option<Vni>) -> Result<Vec<View>> {
    if let Some(vni) =
        only.filter(|vni| maps::segments(instance).is_ok_and(|all| matches!(all.get(vni.get()), Ok(None))))
    {
        return Err(segment::missing(vni));
    }
    let now = fdb::now()?;
    let view = |(key, entry): (MdbKey, MdbEntry)| {
        let vni = key.vni().filter(|vni| only.is_none_or(|only| only == *vni))?;
        let is_static = entry.is_static();
        let left = (!is_static).then(|| entry.until().saturating_sub(now) / 1_000_000_000);
        Some(View { vni, subject: key.subject(), is_static, left })
    };
    Ok(maps::mdb(instance)?.entries()?.into_iter().filter_map(view).collect())
}
