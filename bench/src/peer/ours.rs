//! `overlay`, as a user sets it up: learning on, everything counted.

use anyhow::{Result, ensure};
use overlay_tests::{
    mesh,
    topology::{Lab, Workload},
};

use super::{Parts, VNI};

/// An instance on each host, with static stations as the kernel's bridge has them.
pub(super) fn build<'a>(lab: &'a Lab, workloads: &[Workload; 2], xdp: &str) -> Result<Parts<'a>> {
    let instances = mesh::up(lab, &["--xdp", xdp])?;
    mesh::connect(&instances, VNI)?;
    let vni = VNI.to_string();
    for (instance, (own, far)) in instances.iter().zip([(0, 1), (1, 0)]) {
        let host = instance.host;
        let (own, far) = (&workloads[own], &workloads[far]);
        instance.attach(VNI, own)?;
        let remote = lab.host(3 - host.number).vtep.to_string();
        host.overlay(&["fdb", "add", "--vni", &vni, &own.mac.to_string(), "--port", &own.port])?;
        host.overlay(&["fdb", "add", "--vni", &vni, &far.mac.to_string(), "--remote", &remote])?;
        let status = host.overlay_json(&["status"])?;
        let served = &status["uplinks"][0];
        ensure!(served["xdp"] == xdp, "the uplink is served by XDP {}: {}", served["xdp"], served["why"]);
    }
    Ok(Parts::Instances(instances))
}
