//! Tap devices: virtual machines, as far as a host sees them.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    mem::zeroed,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    netns::NetNs,
    topology::{Host, Plan, Workload},
    traffic::join,
};

/// Bytes of the largest frame, with what stands in front of it.
const LARGEST: usize = 1 << 17;

/// How long the pumps wait before they look whether it is over, in milliseconds.
const TURN: u16 = 50;

/// `include/uapi/linux/if_tun.h`: what the reader of a tap takes unfinished.
const OFFLOADS: libc::c_ulong = 0x01 | 0x02 | 0x04;

/// A virtual machine: a workload whose frames a process carries between its own tap and one of the host.
#[derive(Debug)]
pub struct Machine {
    /// Its inside, and its port.
    pub workload: Workload,
    stop: Arc<AtomicBool>,
    pumps: Vec<JoinHandle<Result<()>>>,
}

impl Machine {
    /// Starts one. With `offloads`, frames carry a header that says what is still to be done to them
    /// (`IFF_VNET_HDR`), so that they can be larger than the MTU, and have no checksums yet.
    pub fn start(host: &Host, plan: &Plan, offloads: bool) -> Result<Self> {
        let port = format!("t{}-{}", plan.vni, plan.number);
        let netns = NetNs::new(&format!("v{}-{}", plan.vni, plan.number))?;
        let outside = open(&host.netns, &port, offloads)?;
        let inside = open(&netns, Workload::DEVICE, offloads)?;
        let mtu = plan.mtu.unwrap_or(host.inner_mtu);
        host.netns.ip(&format!("link set {port} mtu {mtu} up"))?;
        netns.ip(&format!(
            "link set eth0 address {} mtu {mtu} up\naddr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad",
            plan.mac, plan.v4, plan.v6
        ))?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut pumps = Vec::new();
        for (from, to) in [(&outside, &inside), (&inside, &outside)] {
            let (from, to, stop) = (from.try_clone()?, to.try_clone()?, Arc::clone(&stop));
            pumps.push(std::thread::spawn(move || pump(from, to, &stop)));
        }
        netns.settle(Workload::DEVICE)?;
        let workload = Workload { netns, port, mac: plan.mac, v4: plan.v4, v6: plan.v6 };
        Ok(Self { workload, stop, pumps })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for pump in self.pumps.drain(..) {
            // A pump that broke has made the traffic fail.
            let _ = join(pump);
        }
    }
}

/// Opens a tap, which is gone with the last handle on it.
fn open(netns: &NetNs, name: &str, offloads: bool) -> Result<File> {
    netns.enter(|| {
        let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
        // SAFETY: all zeros are a request without a name.
        let mut request: libc::ifreq = unsafe { zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::try_from(from)?;
        }
        let header = if offloads { libc::IFF_VNET_HDR } else { 0 };
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI | header)?;
        // SAFETY: the file is open, and the pointer is to a local of the type that the call takes.
        let code = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
        ensure!(code == 0, "TUNSETIFF {name}: {}", io::Error::last_os_error());
        let taken = if offloads { OFFLOADS } else { 0 };
        // SAFETY: the file is open, and the call takes a number.
        let code = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, taken) };
        ensure!(code == 0, "TUNSETOFFLOAD {name}: {}", io::Error::last_os_error());
        Ok(file)
    })
}

fn pump(mut from: File, mut to: File, stop: &AtomicBool) -> Result<()> {
    let mut frame = vec![0; LARGEST];
    while !stop.load(Ordering::Relaxed) {
        let mut waiting = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::from(TURN))? == 0 {
            continue;
        }
        let Ok(length) = from.read(&mut frame) else { continue };
        // A device that is down takes nothing.
        let _ = to.write(&frame[..length]);
    }
    Ok(())
}
