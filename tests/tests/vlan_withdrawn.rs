//! Trunk ports that lose a VLAN, or go away, while frames of its segment are on their way: none leaves without its tag, for
//! that is another segment.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet},
    mesh,
    overlay::Instance,
    topology::{Lab, Workload},
    traffic,
    trunk::{RED, Switch, site},
    wire::{Direction, Wire},
};

/// How often a station sends.
const PACE: Duration = Duration::from_micros(100);

#[test]
fn no_frame_leaves_a_trunk_without_its_tag_while_it_is_withdrawn() -> Result<()> {
    let lab = Lab::new(2)?;
    let instance = Instance::up(lab.host(1), &[])?;
    let host = instance.host;
    let site = site(&instance, 1)?;
    let red = mesh::workload(&instance, RED, 2)?;
    let trunk = Wire::open(&site.switch.netns, Switch::TRUNK, Direction::In)?;
    let sender = Wire::open(&red.netns, Workload::DEVICE, Direction::In)?;
    for (round, command) in
        [&["port", "vlan", "del", "t1", "10:1000"][..], &["port", "del", "t1"]].into_iter().enumerate()
    {
        traffic::ping(&site.red.netns, red.v4.into(), 3)?;
        let frame = Ethernet::new(red.mac, site.red.mac, ETHER_EXPERIMENT).frame(&[u8::try_from(round)?; 60]);
        let is_tagged = |bytes: &[u8]| bytes.get(18..) == frame.get(14..);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    sender.send(&frame)?;
                    thread::sleep(PACE);
                }
                anyhow::Ok(())
            });
            let withdrawn = trunk
                .expect("a frame with a tag", |seen| is_tagged(&seen.bytes))
                .and_then(|_| host.overlay(command));
            stop.store(true, Ordering::Relaxed);
            sending.join().ok().context("the sender")??;
            withdrawn
        })?;
        let untagged = trunk.collect(|seen| seen.bytes == frame)?.len();
        ensure!(untagged == 0, "{command:?}: {untagged} frames");
        if round == 0 {
            host.overlay(&["port", "vlan", "add", "t1", "10:1000"])?;
        }
    }
    Ok(())
}
