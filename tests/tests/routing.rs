//! A workload that is in two segments and routes between them.

use anyhow::Result;
use overlay_tests::{
    frame::Mac,
    mesh,
    overlay::Instance,
    topology::{Host, Lab, Plan, Workload, cable},
};

const VNI: u32 = 100;
const OTHER_VNI: u32 = 200;

/// A workload on host 1 with a device in each of two segments, which routes between them.
fn router(host: &Host, instance: &Instance<'_>) -> Result<Workload> {
    let router =
        host.workload(&Plan { v4: "10.1.0.254".parse()?, v6: "fd01::254".parse()?, ..Plan::new(VNI, 254) })?;
    instance.attach(VNI, &router)?;
    cable(&host.netns, ("r200", None), &router.netns, ("eth1", Some(Mac([2, 0, 0, 0, 2, 254]))))?;
    host.netns.ip("link set r200 mtu 1450 up")?;
    router.netns.ip(
        "link set eth1 mtu 1450 up\naddr add 10.2.0.254/24 dev eth1\naddr add fd02::254/64 dev eth1 nodad",
    )?;
    for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        router.netns.sysctl(setting, "1")?;
    }
    router.netns.settle("eth1")?;
    host.overlay(&["port", "add", "r200", "--vni", "200"])?;
    Ok(router)
}

/// A workload of either segment, with a route to the other one.
fn routed(instance: &Instance<'_>, vni: u32, number: u8) -> Result<Workload> {
    let net = u16::from(vni == OTHER_VNI) + 1;
    let other = 3 - net;
    let plan = Plan {
        v4: format!("10.{net}.0.{number}").parse()?,
        v6: format!("fd0{net}::{number}").parse()?,
        ..Plan::new(vni, number)
    };
    let workload = instance.host.workload(&plan)?;
    instance.attach(vni, &workload)?;
    workload.netns.ip(&format!(
        "route add 10.{other}.0.0/24 via 10.{net}.0.254\nroute add fd0{other}::/64 via fd0{net}::254"
    ))?;
    Ok(workload)
}

#[test]
fn a_workload_routes_between_two_segments() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    for vni in [VNI, OTHER_VNI] {
        mesh::connect(&instances, vni)?;
    }
    let _router = router(lab.host(1), &instances[0])?;
    let local = [routed(&instances[0], VNI, 1)?, routed(&instances[0], OTHER_VNI, 1)?];
    let remote = [routed(&instances[1], VNI, 2)?, routed(&instances[1], OTHER_VNI, 2)?];
    // Big enough that TCP sends packets of many segments, which the router passes on whole.
    for (one, two) in
        [(&local[0], &local[1]), (&local[0], &remote[1]), (&remote[0], &local[1]), (&remote[0], &remote[1])]
    {
        mesh::exchange(one, two, 16 << 20)?;
    }
    Ok(())
}
