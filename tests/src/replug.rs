//! Devices that are made again, with other indices, and links that are added.

use anyhow::{Context as _, Result};

use crate::topology::{Host, Lab, Plan, Workload, cable};

/// Plugs the uplink of a host, which is gone, into the switch again.
pub fn uplink(lab: &Lab, host: &Host) -> Result<()> {
    let switch = lab.switch.as_ref().context("a lab of three hosts or more")?;
    let uplink = &host.uplink;
    // Its old index must not be free.
    host.netns.ip("link add filler type veth peer name relliF")?;
    cable(switch, (uplink, None), &host.netns, (uplink, Some(host.mac)))?;
    switch.ip(&format!("link set {uplink} master sw\nlink set {uplink} up"))?;
    host.netns.ip(&format!(
        "link set {uplink} up\naddr add {}/24 dev {uplink}\naddr add {}/64 dev {uplink} nodad\nlink del filler",
        host.v4, host.v6
    ))?;
    host.netns.settle(uplink)
}

/// Gives a workload, whose port is gone, a port of the same name and a device as it was.
pub fn port(host: &Host, workload: &Workload, plan: &Plan) -> Result<()> {
    let port = &workload.port;
    host.netns.ip("link add filler type veth peer name relliF")?;
    cable(&host.netns, (port, None), &workload.netns, (Workload::DEVICE, Some(plan.mac)))?;
    let mtu = plan.mtu.unwrap_or(host.inner_mtu);
    host.netns.ip(&format!("link set {port} mtu {mtu} up\nlink del filler"))?;
    workload.netns.ip(&format!(
        "link set eth0 mtu {mtu} up\naddr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad",
        plan.v4, plan.v6
    ))?;
    workload.netns.settle(Workload::DEVICE)?;
    host.netns.settle(port)
}

/// Joins the first two hosts of a lab by one more link, `x` and `y`, with the addresses 10.9.0.1 and 10.9.0.2.
pub fn second_link(lab: &Lab) -> Result<()> {
    let (one, two) = (lab.host(1), lab.host(2));
    cable(&one.netns, ("x", None), &two.netns, ("y", None))?;
    for (host, device) in [(one, "x"), (two, "y")] {
        host.netns
            .ip(&format!("address add 10.9.0.{}/24 dev {device}\nlink set {device} up", host.number))?;
    }
    one.netns.settle("x")?;
    two.netns.settle("y")
}
