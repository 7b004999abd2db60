//! Trunk ports: which of their VLANs are which segments. `overlay port add --vlan`, `overlay port vlan`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use overlay_common::{
    IfIndex, Vid, Vni,
    maps::{
        fdb::Removal,
        mdb::Listener,
        port::Port,
        vlan::{TagKey, VlanKey},
    },
};

use crate::{
    error::{Error, Result},
    grace,
    instance::Instance,
    maps, mdb,
    netlink::Netlink,
    port, segment,
    undo::Undo,
};

/// Which VLANs are which segments: each at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VlanMap(BTreeMap<Vid, Vni>);

impl VlanMap {
    /// All pairs, by VLAN.
    pub fn iter(&self) -> impl Iterator<Item = (Vid, Vni)> {
        self.0.iter().map(|(vid, vni)| (*vid, *vni))
    }

    /// Adds a pair.
    fn add(&mut self, vid: Vid, vni: Vni) -> Result<(), String> {
        if let Some(other) = self.0.get(&vid) {
            return Err(format!("VLAN {vid} is there twice, for VNI {other} and for VNI {vni}"));
        }
        if let Some((other, _)) = self.iter().find(|(_, known)| *known == vni) {
            return Err(format!("VNI {vni} is there twice, for VLAN {other} and for VLAN {vid}"));
        }
        self.0.insert(vid, vni);
        Ok(())
    }

    /// Checks that `native`, the segment of frames without a tag, is not one of a VLAN too.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if it is.
    pub fn refuse_native(&self, native: Option<Vni>) -> Result<()> {
        match self.iter().find(|(_, vni)| Some(*vni) == native) {
            None => Ok(()),
            Some((vid, vni)) => Err(Error::Usage(format!(
                "VNI {vni} is there twice, for VLAN {vid} and for frames without a tag (--vni)"
            ))),
        }
    }
}

/// Of pairs that a map of the kernel's has.
impl FromIterator<(Vid, Vni)> for VlanMap {
    fn from_iter<T: IntoIterator<Item = (Vid, Vni)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Display for VlanMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (vid, vni)) in self.iter().enumerate() {
            write!(f, "{}{vid}:{vni}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Reads `VID:VNI` and `FIRST-LAST:VNI`, whose VLANs are that VNI and those after it, separated by commas.
impl FromStr for VlanMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut map = Self::default();
        for part in text.split(',') {
            add_part(&mut map, part).map_err(|error| format!("{part:?}: {error}"))?;
        }
        Ok(map)
    }
}

fn add_part(map: &mut VlanMap, part: &str) -> Result<(), String> {
    let (vids, vni) = part.split_once(':').ok_or("not of the form VID:VNI")?;
    let vid = |text: &str| text.parse::<Vid>().map_err(|error| error.to_string());
    let (first, last) = match vids.split_once('-') {
        Some((first, last)) => (vid(first)?, vid(last)?),
        None => (vid(vids)?, vid(vids)?),
    };
    if first > last {
        return Err(format!("the range {first}-{last} is the wrong way round"));
    }
    let vni: Vni = vni.parse().map_err(|error| format!("{error}"))?;
    for (number, vni) in (first.get()..=last.get()).zip(vni.get()..) {
        let vni = Vni::new(vni).ok_or_else(|| format!("the range ends above VNI {}", Vni::MAX))?;
        map.add(Vid::new(number).ok_or("a VLAN id is 1 to 4094")?, vni)?;
    }
    Ok(())
}

/// The map of a port; `None`: it is no trunk.
pub(crate) fn map_of(instance: &Instance, device: IfIndex, port: Port) -> Result<Option<VlanMap>> {
    if !port.is_trunk() {
        return Ok(None);
    }
    let pair = |(key, vni): (VlanKey, u32)| {
        let pair = (key.vid()?, Vni::new(vni)?);
        (key.device() == Some(device)).then_some(pair)
    };
    Ok(Some(maps::vlans(instance)?.entries()?.into_iter().filter_map(pair).collect()))
}

/// Lets a trunk port's VLANs into their segments, which are there.
///
/// # Errors
///
/// Fails if a map is full; what was done is for [`unmap`].
pub(crate) fn map(instance: &Instance, device: IfIndex, added: &VlanMap) -> Result<()> {
    let (mut vlans, mut tags) = (maps::vlans(instance)?, maps::tags(instance)?);
    for (vid, vni) in added.iter() {
        mark(instance, vni, true)?;
        tags.put(TagKey::new(device, vni), &vid.get().into())?;
        vlans.put(VlanKey::new(device, vid), &vni.get())?;
        maps::flood::change(instance, vni, |list| list.add_port(device))?;
        mdb::forget_queriers(instance, vni)?;
    }
    Ok(())
}

/// Takes VLANs of a trunk port out of their segments. The stations behind them stay.
pub(crate) fn unmap(instance: &Instance, device: IfIndex, removed: &VlanMap) -> Result<()> {
    let (mut vlans, mut tags) = (maps::vlans(instance)?, maps::tags(instance)?);
    for (vid, vni) in removed.iter() {
        vlans.remove(VlanKey::new(device, vid))?;
        maps::flood::change(instance, vni, |list| {
            list.remove_port(device);
            Ok(())
        })?;
        tags.remove(TagKey::new(device, vni))?;
        mdb::forget_listener(instance, vni, Listener::Port(device))?;
    }
    let left = tags.entries()?;
    for (_, vni) in removed.iter().filter(|(_, vni)| !left.keys().any(|key| key.vni() == Some(*vni))) {
        mark(instance, vni, false)?;
    }
    Ok(())
}

/// Notes whether a trunk port has a VLAN for a segment.
fn mark(instance: &Instance, vni: Vni, any: bool) -> Result<()> {
    let mut segments = maps::segments(instance)?;
    match segments.get(vni.get())?.filter(|segment| segment.has_trunks() != any) {
        Some(segment) => segments.put(vni.get(), &segment.with_trunks(any)),
        None => Ok(()),
    }
}

/// Lets more VLANs of a trunk port into their segments, which are made if they are not there.
///
/// # Errors
///
/// [`Error::Missing`] if it is no trunk port; [`Error::Exists`] if the VLANs are there already, [`Error::Conflict`] if they,
/// or their segments, are there otherwise.
pub async fn add(instance: &Instance, netlink: &Netlink, name: &str, added: &VlanMap) -> Result<()> {
    let (device, native, known) = open(instance, name)?;
    if added.iter().all(|(vid, vni)| known.0.get(&vid) == Some(&vni)) {
        return Err(Error::Exists(format!("{name} has VLAN {added} already")));
    }
    let conflict = |reason: String| {
        Error::Conflict(format!(
            "{name} cannot have VLAN {added} too: {reason}; `overlay port vlan del` first"
        ))
    };
    let mut all = known;
    for (vid, vni) in added.iter() {
        all.add(vid, vni).map_err(conflict)?;
    }
    all.refuse_native(native).map_err(|error| conflict(error.to_string()))?;
    let links = netlink.links().await?;
    let mut undo = Undo::new();
    for (_, vni) in added.iter() {
        segment::ensure(instance, &links, vni, &mut undo)?;
    }
    undo.push(|| {
        let _ = withdraw(instance, device, added);
    });
    map(instance, device, added)?;
    undo.disarm();
    Ok(())
}

/// Takes VLANs of a trunk port out of their segments.
///
/// # Errors
///
/// [`Error::Missing`] if it is no trunk port, or a VLAN is not there, or is another segment.
pub fn del(instance: &Instance, name: &str, removed: &VlanMap) -> Result<()> {
    let (device, _, known) = open(instance, name)?;
    if let Some((vid, vni)) = removed.iter().find(|(vid, vni)| known.0.get(vid) != Some(vni)) {
        return Err(Error::Missing(format!(
            "{name} has no VLAN {vid}:{vni}; `overlay port show` lists those it has"
        )));
    }
    withdraw(instance, device, removed)
}

/// Takes VLANs of a trunk port out of their segments, and then the stations behind them, when nothing learns them any more.
fn withdraw(instance: &Instance, device: IfIndex, removed: &VlanMap) -> Result<()> {
    unmap(instance, device, removed)?;
    grace::wait(instance)?;
    for (_, vni) in removed.iter() {
        maps::fdb::purge(instance, Removal::ALL.vni(vni).port(device))?;
    }
    Ok(())
}

/// The device, native segment and VLANs of a trunk port, whose device has to be there.
fn open(instance: &Instance, name: &str) -> Result<(IfIndex, Option<Vni>, VlanMap)> {
    let missing = || {
        Error::Missing(format!(
            "{name} is no trunk port; `overlay port add {name} --vlan VID:VNI` makes it one"
        ))
    };
    let (_, wanted, settings) = port::find(instance, name).map_err(|error| match error {
        Error::Missing(_) => missing(),
        error => error,
    })?;
    let device = wanted.index().ok_or_else(|| {
        Error::Missing(format!("port {name} is gone; its VLANs can be changed when it is back"))
    })?;
    let vlans = map_of(instance, device, settings)?.ok_or_else(missing)?;
    Ok((device, settings.vni(), vlans))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        text.parse::<VlanMap>().map(|map| map.to_string())
    }

    #[test]
    fn maps_and_ranges() {
        assert_eq!(parse("10:1000").as_deref(), Ok("10:1000"));
        assert_eq!(parse("20:7,10:1000").as_deref(), Ok("10:1000,20:7"));
        assert_eq!(parse("100-102:1100,5:5").as_deref(), Ok("5:5,100:1100,101:1101,102:1102"));
        assert_eq!(parse("1-4094:1").map(|map| map.split(',').count()), Ok(4094));
    }

    #[test]
    fn what_is_no_map() {
        for (text, about) in [
            ("", "VID:VNI"),
            ("10", "VID:VNI"),
            ("10:1,", "VID:VNI"),
            ("0:1", "1 to 4094"),
            ("4095:1", "1 to 4094"),
            ("4090-4095:1", "1 to 4094"),
            ("x:1", "a number"),
            ("10:0", "1 to 16777215"),
            ("10:x", "not a number"),
            ("20-10:1", "wrong way round"),
            ("10-20:16777210", "above VNI 16777215"),
            ("10:1,10:2", "VLAN 10 is there twice"),
            ("10:1,11:1", "VNI 1 is there twice"),
            ("10-20:1,15:100", "VLAN 15 is there twice"),
            ("10-20:1,30:5", "VNI 5 is there twice"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(about), "{text}: {error}");
        }
    }
}
