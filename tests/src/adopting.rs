//! `vxlan` devices of the kernel that instances adopt and release, while something goes through them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::{
    dialogue::Dialogue,
    kernel::{self, adopted, carried_by, forwarded_in},
    process::wait_until,
    routed,
    stream::Stream,
    topology::{Host, Lab},
};

/// Packets that the kernel has all the same: it sees the first frame of each station, and neighbours are asked now and then.
pub const FEW: u64 = 12;

/// How long it may take until stations are known, or a thousand packets in a row go by the programs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A device, on each host of that name.
#[derive(Clone, Copy, Debug)]
pub struct Adopting {
    device: &'static str,
    vni: u32,
}

/// The one of [`kernel::segment`].
pub const BRIDGED: Adopting = Adopting { device: kernel::DEVICE, vni: kernel::VNI };

/// The one of [`routed::pods`].
pub const ROUTED: Adopting = Adopting { device: routed::DEVICE, vni: routed::VNI };

impl Adopting {
    /// Packets that the kernel's device of `host` has sent and received.
    pub fn carried(self, host: &Host) -> Result<(u64, u64)> {
        carried_by(host, self.device)
    }

    /// Packets that the programs of `host` have sent and received for it.
    pub fn forwarded(self, host: &Host) -> Result<(u64, u64)> {
        forwarded_in(host, self.vni)
    }

    /// Waits until the programs of `host` carry a stream both ways, and the kernel's device stands still.
    pub fn carries(self, host: &Host, stream: &Stream) -> Result<()> {
        // The kernel has all while an agent has no CPU to renew what was lent.
        let mut told = String::new();
        let carried_all = wait_until(Instant::now() + PATIENCE, || {
            let (kernel, ours) = (self.carried(host)?, self.forwarded(host)?);
            stream.go_on(1000)?;
            let (kernel_after, ours_after) = (self.carried(host)?, self.forwarded(host)?);
            let (sent, received) = (ours_after.0 - ours.0, ours_after.1 - ours.1);
            let by_kernel = (kernel_after.0 - kernel.0, kernel_after.1 - kernel.1);
            told = format!("the programs sent {sent}, received {received}; the kernel {by_kernel:?}");
            let is_all =
                sent >= 1000 - FEW && received >= 1000 - FEW && by_kernel.0 <= FEW && by_kernel.1 <= FEW;
            Ok(is_all.then_some(()))
        });
        carried_all.context(told)
    }

    /// Adopts and releases on one host, then on both, while datagrams and a connection go on: nothing of either is lost. `known`
    /// waits until the programs know all that they have to.
    pub fn loses_nothing(
        self,
        lab: &Lab,
        (stream, talk): (Stream, Dialogue),
        known: impl Fn(&Host) -> Result<()>,
    ) -> Result<()> {
        let before: Vec<_> = lab.hosts.iter().map(Host::drops).collect::<Result<_>>()?;
        for round in 0..3 {
            let hosts = [lab.host(1 + round % 2), lab.host(2 - round % 2)];
            for host in hosts {
                host.overlay(&["adopt", self.device])?;
                known(host)?;
                self.carries(host, &stream)?;
                talk.go_on(50)?;
            }
            for host in hosts {
                host.overlay(&["adopt", "--release", self.device])?;
                ensure!(adopted(host)?.is_none(), "it is released");
                let ours = self.forwarded(host)?;
                stream.go_on(500)?;
                talk.go_on(50)?;
                ensure!(self.forwarded(host)? == ours, "the programs have no frame any more");
            }
        }
        for (host, before) in lab.hosts.iter().zip(&before) {
            ensure!(host.drops_since(before)?.is_empty(), "{:?}", host.drops_since(before)?);
        }
        stream.finish()?;
        talk.finish()
    }
}
