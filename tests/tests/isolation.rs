//! A frame never crosses from one segment to another, nor enters one from a VTEP that is not a member,
//! nor leaves it for the host.

use std::marker::PhantomData;

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    frame::{Arp, ETHER_EXPERIMENT, Echo, Ethernet, IP_ICMP, IP_ICMP6, Mac, Network, Outer},
    mesh, over_both_families,
    overlay::Instance,
    topology::{Host, Lab, Underlay, Workload},
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
const OTHER_VNI: u32 = 200;
/// A sender behind the other host.
const SOMEONE: Mac = Mac([0x02, 0xaa, 0, 0, 0, 1]);

over_both_families! {
    segments_with_the_same_addresses_do_not_meet,
    a_vtep_that_is_no_member_is_not_heard,
    a_vtep_that_is_no_member_is_not_heard_by_native_xdp,
    a_vtep_that_is_no_member_is_not_heard_by_generic_xdp,
    membership_counts_per_segment,
    reserved_bits_are_ignored,
    what_comes_out_of_a_tunnel_never_reaches_the_host,
}

fn marked(source: Mac, destination: Mac, text: &[u8]) -> Vec<u8> {
    let mut payload = [0; 50];
    payload[..text.len()].copy_from_slice(text);
    Ethernet::new(source, destination, ETHER_EXPERIMENT).frame(&payload)
}

fn segments_with_the_same_addresses_do_not_meet<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    let red = mesh::segment(&instances, VNI)?;
    let blue = mesh::segment(&instances, OTHER_VNI)?;
    mesh::exchange(&red[0], &red[1], 1 << 20)?;
    mesh::exchange(&blue[0], &blue[1], 1 << 20)?;
    let open = |workload: &Workload| Wire::open(&workload.netns, Workload::DEVICE, Direction::In);
    let others = [open(&blue[0])?, open(&blue[1])?];
    let (from, to) = (open(&red[0])?, open(&red[1])?);
    let sent: Vec<_> = [Mac::BROADCAST, red[1].mac, Mac([0x02, 0xee, 0, 0, 0, 1])]
        .map(|destination| marked(red[0].mac, destination, b"red"))
        .into();
    for frame in &sent {
        from.send(frame)?;
        to.expect("a frame of its own segment", |received| received.bytes == *frame)?;
    }
    for other in &others {
        let seen = other.collect(|received| sent.contains(&received.bytes))?;
        ensure!(seen.is_empty(), "{} frames crossed to another segment", seen.len());
    }
    Ok(())
}

/// Host 2 is ours, with one workload in `VNI`; host 1 is a member of the segment, host 3 is not.
struct Guarded<'a, N> {
    lab: &'a Lab,
    instance: Instance<'a>,
    workload: Workload,
    inside: Wire,
    underlay: PhantomData<N>,
}

impl<'a, N: Network> Guarded<'a, N> {
    fn new(lab: &'a Lab, arguments: &[&str]) -> Result<Self> {
        let instance = Instance::up(lab.host(2), arguments)?;
        instance.reach(VNI, lab.host(1))?;
        let workload = mesh::workload(&instance, VNI, 2)?;
        let inside = Wire::open(&workload.netns, Workload::DEVICE, Direction::In)?;
        Ok(Self { lab, instance, workload, inside, underlay: PhantomData })
    }

    fn outer(&self, from: &Host) -> Result<Outer<N>> {
        let to = self.instance.host;
        Outer::new((from.mac, from.vtep), (to.mac, to.vtep), VNI)
    }

    /// Sends a frame that `change` has spoilt, five times: it has to be dropped for `reason`, and a right
    /// one that follows has to arrive.
    fn rejects(&self, from: &Host, reason: DropReason, change: impl FnOnce(&mut Outer<N>)) -> Result<()> {
        let host = self.instance.host;
        let mut outer = self.outer(from)?;
        change(&mut outer);
        let inner = marked(SOMEONE, self.workload.mac, b"wrong");
        let before = host.drops()?;
        let wire = Wire::open(&from.netns, &from.uplink, Direction::In)?;
        for _ in 0..5 {
            wire.send(&outer.frame(&inner))?;
        }
        let member = self.lab.host(1);
        let last = marked(SOMEONE, self.workload.mac, b"right");
        Wire::open(&member.netns, &member.uplink, Direction::In)?.send(&self.outer(member)?.frame(&last))?;
        let seen = self.inside.collect_to(|frame| frame.bytes == last, |frame| frame.bytes == inner)?;
        ensure!(seen.is_empty(), "{} of 5 arrived", seen.len());
        let dropped = host.drops_since(&before)?;
        ensure!(
            dropped.get(reason.name()) == Some(&5),
            "5 frames were dropped, and counted as {dropped:?} instead of {reason}"
        );
        Ok(())
    }
}

fn strangers_are_not_heard<N: Network>(arguments: &[&str]) -> Result<()> {
    let lab = Lab::with(3, Underlay::over(N::FAMILY))?;
    let guarded = Guarded::<N>::new(&lab, arguments)?;
    let (member, stranger) = (lab.host(1), lab.host(3));
    guarded.rejects(stranger, DropReason::NotAMember, |_| {})?;
    guarded.rejects(member, DropReason::UnknownVni, |outer| outer.vxlan.vni = OTHER_VNI)?;
    guarded.rejects(member, DropReason::UnknownVni, |outer| outer.vxlan.vni = 0)?;
    guarded.rejects(member, DropReason::NoVniFlag, |outer| outer.vxlan.flags = 0)
}

fn a_vtep_that_is_no_member_is_not_heard<N: Network>() -> Result<()> {
    strangers_are_not_heard::<N>(&[])
}

fn a_vtep_that_is_no_member_is_not_heard_by_native_xdp<N: Network>() -> Result<()> {
    strangers_are_not_heard::<N>(&["--xdp", "native"])
}

fn a_vtep_that_is_no_member_is_not_heard_by_generic_xdp<N: Network>() -> Result<()> {
    strangers_are_not_heard::<N>(&["--xdp", "generic"])
}

fn membership_counts_per_segment<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay::over(N::FAMILY))?;
    let guarded = Guarded::<N>::new(&lab, &[])?;
    guarded.instance.reach(OTHER_VNI, lab.host(3))?;
    let other = mesh::workload(&guarded.instance, OTHER_VNI, 2)?;
    let inside = Wire::open(&other.netns, Workload::DEVICE, Direction::In)?;
    guarded.rejects(lab.host(3), DropReason::NotAMember, |_| {})?;
    guarded.rejects(lab.host(1), DropReason::NotAMember, |outer| outer.vxlan.vni = OTHER_VNI)?;
    let mut outer = guarded.outer(lab.host(3))?;
    outer.vxlan.vni = OTHER_VNI;
    let frame = marked(SOMEONE, other.mac, b"its own");
    let three = lab.host(3);
    Wire::open(&three.netns, &three.uplink, Direction::In)?.send(&outer.frame(&frame))?;
    inside.expect("a frame of a member", |received| received.bytes == frame)?;
    let seen = inside.collect(|received| received.bytes == marked(SOMEONE, other.mac, b"wrong"))?;
    ensure!(seen.is_empty(), "a frame of another segment's member arrived");
    Ok(())
}

fn reserved_bits_are_ignored<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let guarded = Guarded::<N>::new(&lab, &[])?;
    let one = lab.host(1);
    let mut outer = guarded.outer(one)?;
    outer.vxlan.flags = 0xff;
    outer.vxlan.reserved = [0xff; 3];
    outer.vxlan.reserved_last = 0xff;
    outer.udp.checksum = None;
    let frame = marked(SOMEONE, guarded.workload.mac, b"reserved bits");
    Wire::open(&one.netns, &one.uplink, Direction::In)?.send(&outer.frame(&frame))?;
    guarded.inside.expect("the frame", |received| received.bytes == frame).map(drop)
}

fn what_comes_out_of_a_tunnel_never_reaches_the_host<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let guarded = Guarded::<N>::new(&lab, &[])?;
    let (one, two) = (lab.host(1), lab.host(2));
    let wire = Wire::open(&one.netns, &one.uplink, Direction::In)?;
    let addresses = (one.vtep, two.vtep);
    let echo = Echo { reply: false, id: 0x4242, sequence: 1 }.message(addresses, b"is anybody there");
    let protocol = if one.vtep.is_ipv4() { IP_ICMP } else { IP_ICMP6 };
    let packet = N::between(one.vtep, two.vtep, protocol)?.packet(&echo);
    let port_mac = mac_of(two, &guarded.workload.port)?;
    let outer = guarded.outer(one)?;
    for destination in [two.mac, port_mac, Mac::BROADCAST] {
        let inner = Ethernet::new(one.mac, destination, N::ETHER_TYPE).frame(&packet);
        wire.send(&outer.frame(&inner))?;
    }
    // The host would answer to this through the tunnel or beside it.
    wire.send(&outer.frame(&Arp::request((one.mac, one.v4), two.v4)))?;
    let reply = Echo { reply: true, id: 0x4242, sequence: 1 }.message(addresses, b"is anybody there");
    let heard =
        wire.collect(|frame| frame.bytes.ends_with(&reply[8..]) || is_arp_reply::<N>(&frame.bytes))?;
    ensure!(heard.is_empty(), "the host answered: {heard:?}");
    Ok(())
}

fn is_arp_reply<N: Network>(frame: &[u8]) -> bool {
    let inner = Outer::<N>::parse(frame).map_or(frame, |(_, inner)| inner);
    let arp = Ethernet::parse(inner).and_then(|(_, packet)| Arp::parse(packet));
    arp.is_ok_and(|(arp, _)| arp.operation == 2)
}

fn mac_of(host: &Host, device: &str) -> Result<Mac> {
    let text = host.netns.run(&["ip", "-j", "link", "show", "dev", device])?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    let mac = links[0]["address"].as_str().with_context(|| format!("no address in {text}"))?;
    let bytes = mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<Vec<_>, _>>()?;
    Ok(Mac(bytes.try_into().map_err(|_| anyhow::anyhow!("{mac} is no MAC address"))?))
}
