//! Frames with VLAN tags that a segment keeps.

use anyhow::Result;
use overlay_common::header::vlan;

use crate::{
    frame::Mac,
    overlay::Instance,
    topology::{Plan, Workload},
    trunk::{ETHER_SERVICE_TAG, Switch, Tag, tag, tagged},
};

/// Tags that are kept: any priority, DEI and VLAN, of either protocol.
#[must_use]
pub fn kept() -> Vec<Vec<Tag>> {
    vec![
        vec![tag(10)],
        vec![tag(0)],
        vec![tag(0xe000)],
        vec![tag(0xffff)],
        vec![(ETHER_SERVICE_TAG, 0x5064)],
        vec![(ETHER_SERVICE_TAG, 0xb064), tag(0x700a)],
        vec![tag(0x2005), tag(0xc006)],
        vec![tag(7), (ETHER_SERVICE_TAG, 8)],
    ]
}

/// The frame with tags put into it, the outer one first.
#[must_use]
pub fn with_tags(frame: &[u8], tags: &[Tag]) -> Vec<u8> {
    let mac = |at: usize| Mac([0, 1, 2, 3, 4, 5].map(|byte: usize| frame[at + byte]));
    let ether_type = u16::from_be_bytes([frame[12], frame[13]]);
    tagged(mac(6), mac(0), tags, ether_type, &frame[14..])
}

/// The frame without tags.
#[must_use]
pub fn without_tags(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    while bytes.len() > 16 && matches!(bytes[12..14], [0x81, 0x00] | [0x88, 0xa8]) {
        bytes.drain(12..16);
    }
    bytes
}

/// Adds the port `t1` to segment `vni`, which keeps tags, and workload `number` behind it, whose frames have these there.
pub fn workload(instance: &Instance<'_>, vni: u32, number: u8, tags: &[Tag]) -> Result<(Switch, Workload)> {
    let mut switch = Switch::new(instance.host, "t1")?;
    let workload = switch.workload(&plan(instance, vni, number)?, tags)?;
    switch.start()?;
    attach(instance, vni)?;
    Ok((switch, workload))
}

/// What a workload looks like whose packets fit the tunnel behind as many tags as can be kept.
pub fn plan(instance: &Instance<'_>, vni: u32, number: u8) -> Result<Plan> {
    let room = instance.host.inner_mtu - u32::try_from(vlan::MAX_KEPT * vlan::LEN)?;
    Ok(Plan { mtu: Some(room), ..Plan::new(vni, number) })
}

/// Adds the port `t1` to segment `vni`, which keeps tags.
pub fn attach(instance: &Instance<'_>, vni: u32) -> Result<()> {
    let vni = vni.to_string();
    instance.host.overlay(&["vni", "add", &vni, "--exist-ok"])?;
    instance.host.overlay(&["vni", "set", &vni, "--vlan", "keep"])?;
    instance.host.overlay(&["port", "add", "t1", "--vni", &vni]).map(drop)
}
