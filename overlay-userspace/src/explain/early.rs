//! What XDP on an uplink makes of a packet before TC has it.

use aya::programs::{Program, TestRun as _, TestRunOptions, Xdp};
use overlay_common::{
    IfIndex,
    maps::{jump, uplink::XdpHook},
};

use super::{
    Side,
    programs::{LARGEST, Programs, Run, TC_ACT_REDIRECT, TC_ACT_SHOT, incomplete},
    stations::Stations,
};
use crate::{
    datapath::{FROM_UPLINK_XDP, FROM_UPLINK_XDP_GENERIC},
    error::{Context as _, Error, Result},
    instance::Instance,
    maps,
    netlink::Link,
};

/// The words of `struct xdp_md` (`include/uapi/linux/bpf.h`).
const CONTEXT_WORDS: usize = 6;
/// Where in it the packet begins, behind its metadata; where it ends; and the index of the device.
const DATA: usize = 0;
const DATA_END: usize = 1;
const INGRESS_IFINDEX: usize = 3;

/// Verdicts of XDP (the same file).
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// What XDP makes of a packet.
pub(super) enum Early {
    /// TC gets nothing of it.
    Done(Run),
    /// TC has it, in words.
    Passed(&'static str),
}

/// What TC gets.
const UNTOUCHED: &str = "leaves it to TC as it is";
const STRIPPED: &str = "takes the outer headers off, and notes segment and sender for TC; a test run cannot hand those over, so what follows is of the whole packet";
const REFUSED: &str = "cannot be run for this device (its receive queues know no XDP); what follows is of TC with the whole packet";

/// By which XDP hook an uplink is served.
pub(super) fn hook(instance: &Instance, uplink: &Link) -> Result<XdpHook> {
    let uplink = maps::uplinks(instance)?.get(uplink.index.get())?;
    Ok(uplink.map_or(XdpHook::Off, |uplink| uplink.xdp()))
}

/// The program on that hook.
pub(super) const fn program(hook: XdpHook) -> Option<&'static str> {
    match hook {
        XdpHook::Off => None,
        XdpHook::Native => Some(FROM_UPLINK_XDP),
        XdpHook::Generic => Some(FROM_UPLINK_XDP_GENERIC),
    }
}

impl Programs {
    /// Loads the program of that hook, and what it can jump to.
    pub(super) fn load_early(instance: &Instance, hook: XdpHook, stations: &Stations) -> Result<Self> {
        let mut programs = Self::load_maps(instance, Side::Uplink, stations)?;
        let Some(program) = program(hook) else { return Ok(programs) };
        programs.early(program)?.load().context(|| format!("cannot load explaining program {program}"))?;
        if hook == XdpHook::Native {
            let what = || format!("cannot link explaining program {}", jump::TRANSIT_XDP);
            let mut jumps = programs.take_jumps(jump::XDP_NAME)?;
            let transit = programs.early(jump::TRANSIT_XDP)?;
            transit.load().context(what)?;
            jumps.set(0, transit.fd().context(what)?, 0).context(what)?;
            programs.keep(jumps);
        }
        Ok(programs)
    }

    fn early(&mut self, name: &str) -> Result<&mut Xdp> {
        match self.program(name) {
            Some(Program::Xdp(program)) => Ok(program),
            _ => Err(incomplete()),
        }
    }

    /// Runs it once on a packet that `device` received.
    pub(super) fn run_early(mut self, program: &str, device: IfIndex, frame: &[u8]) -> Result<Early> {
        let what = || format!("the kernel runs no program on a frame of {} bytes", frame.len());
        let mut context = [0_u32; CONTEXT_WORDS];
        context[DATA_END] = u32::try_from(frame.len()).map_err(|error| Error::failed(what(), error))?;
        context[INGRESS_IFINDEX] = device.get();
        let (mut after, mut out) = ([0_u32; CONTEXT_WORDS], vec![0; LARGEST]);
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut out);
        options.ctx_in = Some(bytemuck::cast_slice(&context));
        options.ctx_out = Some(bytemuck::cast_slice_mut(&mut after));
        let Ok(result) = self.early(program)?.test_run(options) else { return Ok(Early::Passed(REFUSED)) };
        out.truncate(result.data_size_out as usize);
        let verdict = match result.return_value {
            XDP_PASS if after[DATA] != 0 => return Ok(Early::Passed(STRIPPED)),
            XDP_PASS => return Ok(Early::Passed(UNTOUCHED)),
            XDP_TX | XDP_REDIRECT => TC_ACT_REDIRECT,
            _ => TC_ACT_SHOT,
        };
        self.told(verdict, out).map(Early::Done)
    }
}
