//! Paths that shrink under real traffic: workloads learn of it, and go on.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_common::{Family, Notice};
use overlay_tests::{
    figures,
    flow::{self, Flow},
    frame::Network,
    mesh, over_both_families,
    overlay::Instance,
    peer::{Peer, Segment},
    process::wait_until,
    topology::{Host, Lab, Plan, Underlay, Workload},
    traffic,
};

over_both_families!(
    tcp_goes_on_when_the_uplink_shrinks,
    tcp_goes_on_when_the_uplink_shrinks_without_offloads,
    tcp_goes_on_when_the_path_shrinks_behind_a_router,
    tcp_goes_on_when_the_path_shrinks_behind_a_router_without_offloads,
    tcp_to_the_kernel_goes_on_when_the_path_shrinks_behind_a_router,
    udp_that_must_not_be_fragmented_gets_an_error,
    an_mss_that_is_clamped_needs_no_answers,
);

const VNI: u32 = 100;
/// How soon a flow has to be on its way again.
const RECOVERY: Duration = Duration::from_secs(3);
/// How long flows are watched: longer than they may pause.
const WATCHED: Duration = Duration::from_millis(3500);
/// What has to arrive for a flow to be on its way: more than was on the way before.
const ENOUGH: u64 = 16 << 20;
/// What the path shrinks to, bytes of outer IP packet.
const SHRUNK: u32 = 1400;

/// Where the path shrinks.
#[derive(Clone, Copy, Debug)]
enum At {
    Uplink,
    Router,
}

fn workload(instance: &Instance<'_>, offloads: bool) -> Result<Workload> {
    let host = instance.host;
    // As large as if the path had never shrunk.
    let mtu = Some(1430);
    let workload = host.workload(&Plan { offloads, mtu, ..Plan::new(VNI, host.number) })?;
    instance.attach(VNI, &workload)?;
    Ok(workload)
}

/// Makes host 3 the router between the other two.
fn route(lab: &Lab) -> Result<()> {
    let router = lab.host(3);
    for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        router.netns.sysctl(setting, "1")?;
    }
    for setting in ["ipv4/conf/all/send_redirects", "ipv4/conf/u3/send_redirects"] {
        router.netns.sysctl(setting, "0")?;
    }
    for (host, other) in [(lab.host(1), lab.host(2)), (lab.host(2), lab.host(1))] {
        // A router of IPv6 would show them the shorter way.
        for device in ["all", &host.uplink] {
            host.netns.sysctl(&format!("ipv6/conf/{device}/accept_redirects"), "0")?;
        }
        let Host { uplink, vtep, .. } = host;
        host.netns.ip(&format!("route add {} via {} dev {uplink} src {vtep}", other.vtep, router.vtep))?;
    }
    Ok(())
}

/// Lets the path shrink.
fn shrink(lab: &Lab, at: At) -> Result<()> {
    match at {
        At::Uplink => {
            for host in [lab.host(1), lab.host(2)] {
                host.netns.ip(&format!("link set {} mtu {SHRUNK}", host.uplink))?;
            }
            Ok(())
        }
        At::Router => {
            let route = format!("route add {} dev u3 mtu lock {SHRUNK}", lab.host(2).vtep);
            lab.host(3).netns.ip(&route)
        }
    }
}

/// Both flows between two workloads, and how long they take to recover when the path shrinks.
fn recover(lab: &Lab, at: At, workloads: [&Workload; 2], what: &str) -> Result<()> {
    let [from, to] = workloads;
    let addresses = [IpAddr::V4(to.v4), IpAddr::V6(to.v6)];
    for address in addresses {
        traffic::ping(&from.netns, address, 1)?;
    }
    let flows = addresses.map(|address| Flow::start(&from.netns, &to.netns, address));
    let [v4, v6] = flows;
    let flows = [v4?, v6?];
    for flow in &flows {
        flow.progress(0, ENOUGH, Instant::now())?;
    }
    shrink(lab, at)?;
    let pauses = flow::pauses(&flows, WATCHED);
    let seen = flows.each_ref().map(Flow::received);
    for (((flow, pause), seen), inner) in flows.iter().zip(pauses).zip(seen).zip(["IPv4", "IPv6"]) {
        figures::report(&format!("{what}: TCP over {inner} paused for {} ms", pause.as_millis()))?;
        ensure!(pause < RECOVERY, "{inner}: {pause:?}");
        flow.progress(seen, ENOUGH, Instant::now()).context(inner)?;
    }
    flows.into_iter().try_for_each(Flow::finish)
}

fn check_host(host: &Host) -> Result<()> {
    ensure!(host.noticed(Notice::TooBigAnswered)? > 0, "{:?}", host.notices()?);
    ensure!(host.drops()?["too-big"] > 0, "{:?}", host.drops()?);
    let tunnels = host.overlay_json(&["tunnel", "show"])?;
    ensure!(tunnels[0]["path_mtu"] == SHRUNK, "{tunnels}");
    Ok(())
}

fn on_the_uplink(family: Family, offloads: bool) -> Result<()> {
    let lab = Lab::with(2, Underlay { offloads, ..Underlay::over(family) })?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let workloads = [workload(&instances[0], offloads)?, workload(&instances[1], offloads)?];
    let what = format!("uplink's MTU to {SHRUNK}, {family:?} underlay, offloads {offloads}");
    recover(&lab, At::Uplink, [&workloads[0], &workloads[1]], &what)?;
    check_host(lab.host(1))?;
    // The other way, where nobody has been told yet.
    traffic::tcp(&workloads[1].netns, &workloads[0].netns, IpAddr::V6(workloads[0].v6), 4 << 20)
}

fn behind_a_router(family: Family, offloads: bool) -> Result<()> {
    let lab = Lab::with(3, Underlay { offloads, ..Underlay::over(family) })?;
    route(&lab)?;
    let instances = [Instance::up(lab.host(1), &[])?, Instance::up(lab.host(2), &[])?];
    mesh::connect(&instances, VNI)?;
    let workloads = [workload(&instances[0], offloads)?, workload(&instances[1], offloads)?];
    let what = format!("router's MTU to {SHRUNK}, {family:?} underlay, offloads {offloads}");
    recover(&lab, At::Router, [&workloads[0], &workloads[1]], &what)?;
    check_host(lab.host(1))?;
    ensure!(lab.host(1).noticed(Notice::PathMtuLearned)? > 0);
    ensure!(lab.host(2).noticed(Notice::PathMtuLearned)? == 0, "that way the path is as it was");
    Ok(())
}

fn tcp_goes_on_when_the_uplink_shrinks<N: Network>() -> Result<()> {
    on_the_uplink(N::FAMILY, true)
}

fn tcp_goes_on_when_the_uplink_shrinks_without_offloads<N: Network>() -> Result<()> {
    on_the_uplink(N::FAMILY, false)
}

fn tcp_goes_on_when_the_path_shrinks_behind_a_router<N: Network>() -> Result<()> {
    behind_a_router(N::FAMILY, true)
}

fn tcp_goes_on_when_the_path_shrinks_behind_a_router_without_offloads<N: Network>() -> Result<()> {
    behind_a_router(N::FAMILY, false)
}

fn tcp_to_the_kernel_goes_on_when_the_path_shrinks_behind_a_router<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay::over(N::FAMILY))?;
    route(&lab)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let instance = Instance::up(one, &[])?;
    instance.reach(VNI, two)?;
    // What a kernel that is to get zero checksums has to be told.
    let options: &[&str] = if N::FAMILY == Family::Ipv6 { &["udp6zerocsumrx"] } else { &[] };
    let peer = Peer::join(two, &Segment::new(two, VNI, &[one]).options(options))?;
    let ours = mesh::workload(&instance, VNI, 1)?;
    let theirs = two.workload(&Plan::new(VNI, 2))?;
    peer.attach(&theirs)?;
    recover(
        &lab,
        At::Router,
        [&ours, &theirs],
        &format!("router's MTU to {SHRUNK}, {:?} underlay, to the kernel's vxlan", N::FAMILY),
    )?;
    check_host(one)
}

/// Sends a datagram that must not be fragmented.
fn send(socket: &UdpSocket, length: usize) -> std::io::Result<usize> {
    socket.send(&vec![7; length])
}

fn must_not_fragment(socket: &UdpSocket, address: IpAddr) -> Result<()> {
    let (level, option, value) = match address {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO),
    };
    // SAFETY: the socket is open, and the pointer is to a local of the size it says.
    let code = unsafe {
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>())?;
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    };
    ensure!(code == 0, "MTU discovery: {}", std::io::Error::last_os_error());
    Ok(())
}

fn udp_that_must_not_be_fragmented_gets_an_error<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay { mtu: SHRUNK, ..Underlay::over(N::FAMILY) })?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let workloads = [workload(&instances[0], true)?, workload(&instances[1], true)?];
    let (from, to) = (&workloads[0], &workloads[1]);
    let room = lab.host(1).inner_mtu;
    for (address, headers) in [(IpAddr::V4(to.v4), 28), (IpAddr::V6(to.v6), 48)] {
        traffic::ping(&from.netns, address, 1)?;
        let any: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = from.netns.enter(|| Ok(UdpSocket::bind((any, 0))?))?;
        socket.connect((address, 9))?;
        must_not_fragment(&socket, address)?;
        let fits = usize::try_from(room)? - headers;
        send(&socket, fits + 1).context("the first one is taken for small enough")?;
        let error = wait_until(Instant::now() + RECOVERY, || Ok(send(&socket, fits + 1).err()))?;
        ensure!(error.raw_os_error() == Some(libc::EMSGSIZE), "{error}");
        // What came by ICMP waits in the socket still, where the kernel found the MTU of the route first.
        let _ = socket.take_error()?;
        send(&socket, fits).with_context(|| format!("{fits} bytes to {address}"))?;
        let text = from.netns.run(&["ip", "route", "get", &address.to_string()])?;
        ensure!(text.contains(&format!("mtu {room}")), "{text}");
    }
    Ok(())
}

fn an_mss_that_is_clamped_needs_no_answers<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay { mtu: SHRUNK, ..Underlay::over(N::FAMILY) })?;
    let instances = mesh::up(&lab, &[])?;
    // One side is enough, for both directions.
    lab.host(1).overlay(&["vni", "add", &VNI.to_string(), "--clamp-mss", "on"])?;
    mesh::connect(&instances, VNI)?;
    let workloads = [workload(&instances[0], true)?, workload(&instances[1], true)?];
    for (from, to) in [(0, 1), (1, 0)] {
        let (from, to) = (&workloads[from], &workloads[to]);
        for address in [IpAddr::V4(to.v4), IpAddr::V6(to.v6)] {
            traffic::tcp(&from.netns, &to.netns, address, 4 << 20)?;
        }
    }
    for host in &lab.hosts {
        let drops = host.drops()?;
        ensure!(drops["too-big"] == 0, "{drops:?}");
    }
    // SYN and SYN-ACK of four connections.
    ensure!(lab.host(1).noticed(Notice::MssClamped)? == 8, "{:?}", lab.host(1).notices()?);
    Ok(())
}
