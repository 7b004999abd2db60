//! Two hosts and two workloads.

use std::{
    path::Path,
    process,
    sync::{Arc, atomic::AtomicBool},
};

use super::{page::Page, shell::Shell};
use crate::error::Result;

/// The device that faces the underlay, on both hosts.
pub(super) const UPLINK: &str = "uplink";

const TOPOLOGY: &str = "\
┌ work1 ──────────────┐                            ┌ work2 ──────────────┐
│ 192.168.0.1    eth0 │╶╴╶╴╶╴╶╴ segment 100 ╶╴╶╴╶╴╶│ eth0    192.168.0.2 │
└────────────────┬────┘                            └────┬────────────────┘
┌ host1 ─────────┴────┐                            ┌────┴───────── host2 ┐
│               port1 │      VXLAN over UDP        │ port2               │
│ 10.0.0.1     uplink ├────────────────────────────┤ uplink     10.0.0.2 │
└─────────────────────┘                            └─────────────────────┘
";

/// The namespaces, and the shell that made them.
pub(super) struct Lab {
    pub(super) shell: Shell,
    hosts: [String; 2],
    workloads: [String; 2],
}

impl Lab {
    /// Only names; nothing is made yet.
    pub(super) fn new(page: Page, stop: Arc<AtomicBool>) -> Result<Self> {
        let name = |what: &str| format!("ovdemo-{}-{what}", process::id());
        let hosts = [name("host1"), name("host2")];
        let workloads = [name("work1"), name("work2")];
        let variables = ["$H1", "$H2", "$W1", "$W2"].into_iter();
        let variables = variables.zip(hosts.iter().chain(&workloads).cloned()).collect();
        Ok(Self { shell: Shell::new(page, variables, stop)?, hosts, workloads })
    }

    /// The namespace of a host.
    pub(super) fn host(&self, index: usize) -> &str {
        &self.hosts[index]
    }

    /// The namespace of the workload behind the first host.
    pub(super) fn client(&self) -> &str {
        &self.workloads[0]
    }

    /// The namespace of the workload behind the second host.
    pub(super) fn server(&self) -> &str {
        &self.workloads[1]
    }

    /// Makes everything: the hosts, their overlay, and the workloads on it.
    pub(super) fn build(&mut self) -> Result<()> {
        self.shell.page().heading("Two hosts and their workloads, in network namespaces");
        self.shell.page().text(TOPOLOGY);
        self.shell.introduce();
        self.plug()?;
        self.shell.page().heading("An overlay between the hosts");
        self.overlay()?;
        self.shell.page().heading("The workloads come up");
        self.start()
    }

    fn plug(&mut self) -> Result<()> {
        self.shell.make(&[
            ("ip netns add $H1", "ip netns del $H1"),
            ("ip netns add $H2", "ip netns del $H2"),
            ("ip netns add $W1", "ip netns del $W1"),
            ("ip netns add $W2", "ip netns del $W2"),
        ])?;
        self.shell.show(&["ip -n $H1 link add uplink type veth peer name uplink netns $H2"])?;
        self.shell.show(&["ip -n $H1 addr add 10.0.0.1/24 dev uplink", "ip -n $H1 link set uplink up"])?;
        self.shell.show(&["ip -n $H2 addr add 10.0.0.2/24 dev uplink", "ip -n $H2 link set uplink up"])?;
        self.shell.show(&["ip -n $H1 link add port1 type veth peer name eth0 netns $W1"])?;
        self.shell.show(&["ip -n $H2 link add port2 type veth peer name eth0 netns $W2"])?;
        self.shell.show(&["ip -n $H1 link set port1 up", "ip -n $H2 link set port2 up"])
    }

    fn overlay(&mut self) -> Result<()> {
        self.shell.make(&[("overlay -n $H1 up --uplink uplink", "overlay -n $H1 down")])?;
        self.shell.make(&[("overlay -n $H2 up --uplink uplink", "overlay -n $H2 down")])?;
        self.shell.show(&["overlay -n $H1 port add port1 --vni 100"])?;
        self.shell.show(&["overlay -n $H2 port add port2 --vni 100"])?;
        self.shell.show(&["overlay -n $H1 tunnel add --vni 100 --remote 10.0.0.2"])?;
        self.shell.show(&["overlay -n $H2 tunnel add --vni 100 --remote 10.0.0.1"])
    }

    /// Comes last, and quietly: what a workload sends before the other is there is a drop, and IPv6 sends unasked.
    fn start(&self) -> Result<()> {
        let quiet = if Path::new("/proc/net/if_inet6").exists() { " addrgenmode none" } else { "" };
        self.shell.show(&[&format!("ip -n $W1 link set eth0 addr 02:00:00:00:00:01 mtu 1450{quiet}")])?;
        self.shell.show(&[&format!("ip -n $W2 link set eth0 addr 02:00:00:00:00:02 mtu 1450{quiet}")])?;
        self.shell.show(&["ip -n $W1 addr add 192.168.0.1/24 dev eth0", "ip -n $W1 link set eth0 up"])?;
        self.shell.show(&["ip -n $W2 addr add 192.168.0.2/24 dev eth0", "ip -n $W2 link set eth0 up"])
    }
}
