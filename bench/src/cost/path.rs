//! Every path through a program that a frame can take.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::{
        Bench, Hook, NOBODY, OTHER_VNI, OTHER_VTEP, PORT, REMOTE, SECOND_STATION, STATION, VNI, udp_frame,
    },
    frame::Mac,
    testrun::{self, TC_DROP, TC_NEXT, TC_REDIRECT, XDP_PASS, XDP_REDIRECT},
};
use serde::Serialize;

use super::timing::{self, Quartiles};
use crate::programs::Programs;

/// Bytes of a frame: a UDP datagram of 64 bytes.
const LENGTH: usize = 14 + 20 + 8 + 64;

/// A path, and how long it takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PathCost {
    /// The program.
    pub(crate) program: &'static str,
    /// What becomes of the frame.
    pub(crate) path: &'static str,
    /// Nanoseconds.
    pub(crate) nanoseconds: Quartiles,
}

/// A frame, and the verdict that shows that it takes the path it should.
struct Case<'a> {
    program: &'static str,
    path: &'static str,
    hook: Hook<'a>,
    frame: Vec<u8>,
    verdict: i32,
    is_dropped: bool,
}

/// Times all of them, `times` runs each.
pub(super) fn measure(bench: &Bench<'_>, nothing: &mut Programs, times: usize) -> Result<Vec<PathCost>> {
    let mut costs = Vec::new();
    let mut take = |case: Case<'_>| {
        let Case { program, path, .. } = case;
        let nanoseconds = time(bench, nothing, &case, times).with_context(|| format!("{program}, {path}"))?;
        costs.push(PathCost { program, path, nanoseconds });
        Ok::<_, anyhow::Error>(())
    };
    from_port().into_iter().chain(from_uplink(bench)?).try_for_each(&mut take)?;
    // The others are of one remote VTEP.
    in_transit(bench)?.into_iter().try_for_each(take)?;
    Ok(costs)
}

/// What goes on to a second remote VTEP, which there is from now on.
fn in_transit<'a>(bench: &'a Bench<'_>) -> Result<[Case<'a>; 2]> {
    let (host, beyond) = (bench.host(), Mac([2, 0, 0, 0, 3, 1]));
    host.netns
        .ip(&format!("neigh replace {OTHER_VTEP} lladdr {beyond} dev {} nud permanent", host.uplink))?;
    bench.add_tunnel(VNI, OTHER_VTEP)?;
    bench.add_station(VNI, beyond, ["--remote", OTHER_VTEP])?;
    bench.set(&["--transit", "on"])?;
    // By this the uplink's other end takes what XDP sends, which commands notice.
    let other = bench.lab.host(2);
    other.netns.run(&["ethtool", "-K", &other.uplink, "gro", "on"])?;
    host.overlay(&["status"])?;
    let frame = bench.packet(&udp_frame(REMOTE, beyond, LENGTH), |_| ())?;
    let case = |program, hook, verdict| Case {
        program,
        path: "to another VTEP",
        hook,
        frame: frame.clone(),
        verdict,
        is_dropped: false,
    };
    Ok([
        case("from_uplink", Hook::Uplink(&host.uplink), TC_REDIRECT),
        case("from_uplink_xdp", Hook::Xdp(&host.uplink), XDP_REDIRECT),
    ])
}

fn from_port<'a>() -> [Case<'a>; 5] {
    let of_group = Mac([3, 0, 0, 0, 0, 1]);
    let case = |path, (source, destination), verdict| Case {
        program: "from_port",
        path,
        hook: Hook::Port(PORT),
        frame: udp_frame(source, destination, LENGTH),
        verdict,
        is_dropped: false,
    };
    [
        case("to a remote VTEP", (STATION, REMOTE), TC_REDIRECT),
        case("to a local port", (STATION, SECOND_STATION), TC_REDIRECT),
        case("unknown, flooded to 1 port and 1 VTEP", (STATION, NOBODY), TC_REDIRECT),
        case("broadcast to 1 port and 1 VTEP", (STATION, Mac::BROADCAST), TC_REDIRECT),
        Case { is_dropped: true, ..case("dropped: its source is a group", (of_group, REMOTE), TC_DROP) },
    ]
}

fn from_uplink<'a>(bench: &'a Bench<'_>) -> Result<Vec<Case<'a>>> {
    let uplink = &bench.host().uplink;
    let inner = |destination| udp_frame(REMOTE, destination, LENGTH);
    let tc = |path, frame, verdict| Case {
        program: "from_uplink",
        path,
        hook: Hook::Uplink(uplink),
        frame,
        verdict,
        is_dropped: false,
    };
    let xdp = |path, frame| Case {
        program: "from_uplink_xdp",
        path,
        hook: Hook::Xdp(uplink),
        frame,
        verdict: XDP_PASS,
        is_dropped: false,
    };
    let known = bench.packet(&inner(STATION), |_| ())?;
    let foreign = bench.packet(&inner(STATION), |outer| outer.vxlan.vni = OTHER_VNI)?;
    let plain = udp_frame(bench.lab.host(2).mac, bench.host().mac, LENGTH);
    Ok(vec![
        tc("to a port", known.clone(), TC_REDIRECT),
        tc("unknown, flooded to 2 ports", bench.packet(&inner(NOBODY), |_| ())?, TC_DROP),
        tc("broadcast to 2 ports", bench.packet(&inner(Mac::BROADCAST), |_| ())?, TC_DROP),
        Case { is_dropped: true, ..tc("dropped: its sender is no member", foreign.clone(), TC_DROP) },
        tc("not ours", plain.clone(), TC_NEXT),
        xdp("stripped for a port", known),
        xdp("left to TC", foreign),
        xdp("not ours", plain),
    ])
}

fn time(bench: &Bench<'_>, nothing: &mut Programs, case: &Case<'_>, times: usize) -> Result<Quartiles> {
    let (outcome, drops) = bench.run(case.hook, &case.frame)?;
    ensure!(
        outcome.verdict == case.verdict && drops.is_empty() != case.is_dropped,
        "verdict {} instead of {}, counted {drops:?}",
        outcome.verdict,
        case.verdict
    );
    let (netns, frame) = (&bench.host().netns, &case.frame);
    match case.hook {
        Hook::Port(device) | Hook::Uplink(device) | Hook::Exit(device) => {
            let program = testrun::pinned_tc(&bench.instance, case.program)?;
            let empty = nothing.tc("nothing")?;
            let run = |program, times| testrun::time_tc(program, netns, device, frame, times);
            timing::compare(times, |times| run(&program, times), |times| run(empty, times))
        }
        Hook::Xdp(device) | Hook::XdpGeneric(device) => {
            let program = testrun::pinned_xdp(&bench.instance, case.program)?;
            let empty = nothing.xdp("nothing_xdp")?;
            let run = |program, times| testrun::time_xdp(program, netns, device, frame, times);
            timing::compare(times, |times| run(&program, times), |times| run(empty, times))
        }
    }
}
