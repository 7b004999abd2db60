//! Single frames through a pinned program, by `BPF_PROG_TEST_RUN`.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{SchedClassifier, TestRun as _, TestRunAttrs, TestRunOptions, TestRunResult, Xdp};
use aya_obj::programs::XdpAttachType;

use crate::{netns::NetNs, overlay::Instance};

/// TC verdict: not ours, the next program decides.
pub const TC_NEXT: i32 = -1;
/// TC verdict: drop.
pub const TC_DROP: i32 = 2;
/// TC verdict: redirect. The kernel does not carry it out in a test run.
pub const TC_REDIRECT: i32 = 7;
/// XDP verdict: drop.
pub const XDP_DROP: i32 = 1;
/// XDP verdict: pass.
pub const XDP_PASS: i32 = 2;
/// XDP verdict: send by the device that it came by.
pub const XDP_TX: i32 = 3;
/// XDP verdict: redirect.
pub const XDP_REDIRECT: i32 = 4;

/// What a program may grow a frame to.
const LARGEST: usize = 1 << 16;

/// What a program did with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its verdict, one of the constants of this module.
    pub verdict: i32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// The context afterwards: a `__sk_buff` or an `xdp_md`.
    pub context: Vec<u8>,
}

/// The fields of `struct __sk_buff` (`linux/bpf.h`) up to those that matter here, in 32-bit words.
mod sk_buff {
    pub(super) const WORDS: usize = 48;
    pub(super) const MARK: usize = 2;
    pub(super) const INGRESS_IFINDEX: usize = 9;
    pub(super) const IFINDEX: usize = 10;
}

/// The fields of `struct xdp_md` (`linux/bpf.h`), in 32-bit words.
mod xdp_md {
    pub(super) const WORDS: usize = 6;
    pub(super) const DATA: usize = 0;
    pub(super) const DATA_END: usize = 1;
    pub(super) const INGRESS_IFINDEX: usize = 3;
}

/// Runs the TC program pinned as `program` on `frame`, as if `device` of the host had received it.
pub fn tc(instance: &Instance<'_>, program: &str, device: &str, frame: &[u8]) -> Result<Outcome> {
    let program = pinned_tc(instance, program)?;
    run_tc(&program, &instance.host.netns, device, frame)
}

/// The same with a packet mark; [`mark_of`] says what it is afterwards.
pub fn tc_marked(
    instance: &Instance<'_>,
    program: &str,
    device: &str,
    mark: u32,
    frame: &[u8],
) -> Result<Outcome> {
    let program = pinned_tc(instance, program)?;
    run_tc_marked(&program, &instance.host.netns, device, mark, frame)
}

/// The packet mark that a TC program left a frame with.
#[must_use]
pub fn mark_of(outcome: &Outcome) -> u32 {
    let word = outcome.context.chunks_exact(size_of::<u32>()).nth(sk_buff::MARK);
    word.and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// Runs the TC program pinned as `program` so many times, as if devices of the host had received a frame each in turn, as
/// fast as can be: what comes of it is not looked at.
pub fn tc_in_turn(
    instance: &Instance<'_>,
    program: &str,
    received: &[(&str, Vec<u8>)],
    times: usize,
) -> Result<()> {
    let program = pinned_tc(instance, program)?;
    let netns = &instance.host.netns;
    let contexts: Vec<Vec<u8>> = received
        .iter()
        .map(|(device, _)| Ok(of_words(&tc_context(netns.ifindex(device)?))))
        .collect::<Result<_>>()?;
    netns.enter(|| {
        for ((_, frame), context) in received.iter().zip(&contexts).cycle().take(times) {
            let mut options = TestRunOptions::new();
            options.data_in = Some(frame);
            options.ctx_in = Some(context);
            program.test_run(options).context("BPF_PROG_TEST_RUN")?;
        }
        Ok(())
    })
}

/// The TC program pinned as `program`.
pub fn pinned_tc(instance: &Instance<'_>, program: &str) -> Result<SchedClassifier> {
    let path = pin(instance, program);
    SchedClassifier::from_pin(&path).with_context(|| path.display().to_string())
}

/// The XDP program pinned as `program`.
pub fn pinned_xdp(instance: &Instance<'_>, program: &str) -> Result<Xdp> {
    let path = pin(instance, program);
    Xdp::from_pin(&path, XdpAttachType::Interface).with_context(|| path.display().to_string())
}

/// Gives a TC program a fresh copy of `frame` so many times, as if `device` had received it; how long it took each time.
pub fn time_tc(
    program: &SchedClassifier,
    netns: &NetNs,
    device: &str,
    frame: &[u8],
    times: usize,
) -> Result<Vec<Duration>> {
    let context = of_words(&tc_context(netns.ifindex(device)?));
    let run = || Ok(program.test_run(fresh(frame, &context))?.duration);
    netns.enter(|| (0..times).map(|_| run()).collect::<Result<_>>().context("BPF_PROG_TEST_RUN"))
}

/// The same on each of some frames.
pub fn time_tc_each(
    program: &SchedClassifier,
    netns: &NetNs,
    device: &str,
    frames: Vec<Vec<u8>>,
) -> Result<Vec<Duration>> {
    let context = of_words(&tc_context(netns.ifindex(device)?));
    let run = |frame: Vec<u8>| Ok(program.test_run(fresh(&frame, &context))?.duration);
    netns.enter(|| frames.into_iter().map(run).collect::<Result<_>>().context("BPF_PROG_TEST_RUN"))
}

/// The same with an XDP program. The kernel takes only a device whose receive queues know XDP, as those of a veth do while
/// a native program is attached.
pub fn time_xdp(
    program: &Xdp,
    netns: &NetNs,
    device: &str,
    frame: &[u8],
    times: usize,
) -> Result<Vec<Duration>> {
    let context = of_words(&xdp_context(frame, netns.ifindex(device)?)?);
    let run = || Ok(program.test_run(fresh(frame, &context))?.duration);
    netns.enter(|| (0..times).map(|_| run()).collect::<Result<_>>().context("BPF_PROG_TEST_RUN"))
}

fn fresh<'a>(frame: &'a [u8], context: &'a [u8]) -> TestRunOptions<'a> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.ctx_in = Some(context);
    options
}

/// Runs the TC program pinned as `program` once for each frame, as if `device` of the host had received them one after the
/// other, as fast as can be: what comes of it is not looked at.
pub fn tc_each(
    instance: &Instance<'_>,
    program: &str,
    device: &str,
    frames: impl IntoIterator<Item = Vec<u8>> + Send,
) -> Result<()> {
    let path = pin(instance, program);
    let program = SchedClassifier::from_pin(&path).with_context(|| path.display().to_string())?;
    let netns = &instance.host.netns;
    let context = of_words(&tc_context(netns.ifindex(device)?));
    netns.enter(|| {
        for frame in frames {
            let mut options = TestRunOptions::new();
            options.data_in = Some(&frame);
            options.ctx_in = Some(&context);
            program.test_run(options).context("BPF_PROG_TEST_RUN")?;
        }
        Ok(())
    })
}

/// Has an XDP program take `frame` so many times as frames of `device` that live: what the program says is done with each,
/// in turns of `batch` of them. Returns when all have been taken; others may still have to receive what was sent.
///
/// Each time the bytes are as the program and those after it left them, where they did not change where the frame begins.
pub fn xdp_live(
    program: &Xdp,
    netns: &NetNs,
    device: &str,
    frame: &[u8],
    (times, batch): (u32, u32),
) -> Result<Duration> {
    let context = of_words(&xdp_context(frame, netns.ifindex(device)?)?);
    let mut options = fresh(frame, &context);
    options.repeat = times;
    options.attrs = TestRunAttrs::new().xdp_live_frames(batch);
    netns.enter(|| {
        let start = Instant::now();
        program.test_run(options).context("BPF_PROG_TEST_RUN with live frames")?;
        Ok(start.elapsed())
    })
}

fn of_words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Runs the XDP program pinned as `program` on `frame`, as if `device` of the host had received it.
pub fn xdp(instance: &Instance<'_>, program: &str, device: &str, frame: &[u8]) -> Result<Outcome> {
    let program = pinned_xdp(instance, program)?;
    run_xdp(&program, &instance.host.netns, device, frame)
}

/// Has `device` of the host receive `frame` with `metadata` in front of it, as an XDP program could leave it there. The
/// kernel insists on multiples of four bytes. The program that the frame goes through is `from_uplink_xdp`, which lets
/// what is no packet of a tunnel pass as it is.
pub fn receive(instance: &Instance<'_>, device: &str, metadata: &[u8], frame: &[u8]) -> Result<()> {
    let program = pinned_xdp(instance, "from_uplink_xdp")?;
    let netns = &instance.host.netns;
    let bytes = [metadata, frame].concat();
    let mut context = [0_u32; xdp_md::WORDS];
    context[xdp_md::DATA] = u32::try_from(metadata.len())?;
    context[xdp_md::DATA_END] = u32::try_from(bytes.len())?;
    context[xdp_md::INGRESS_IFINDEX] = netns.ifindex(device)?;
    let context = of_words(&context);
    let mut options = TestRunOptions::new();
    options.data_in = Some(&bytes);
    options.ctx_in = Some(&context);
    options.attrs = TestRunAttrs::new().xdp_live_frames(1);
    netns.enter(|| Ok(program.test_run(options)?)).context("BPF_PROG_TEST_RUN")?;
    Ok(())
}

pub(crate) fn run_tc(
    program: &SchedClassifier,
    netns: &NetNs,
    device: &str,
    frame: &[u8],
) -> Result<Outcome> {
    run_tc_marked(program, netns, device, 0, frame)
}

fn run_tc_marked(
    program: &SchedClassifier,
    netns: &NetNs,
    device: &str,
    mark: u32,
    frame: &[u8],
) -> Result<Outcome> {
    let mut context = tc_context(netns.ifindex(device)?);
    context[sk_buff::MARK] = mark;
    netns.enter(|| run(frame, Some(&context), |options| Ok(program.test_run(options)?)))
}

/// Of the context the kernel takes the mark and the two indices; what else it would take is left zero, as it insists
/// for most (`convert___skb_to_skb` in `net/bpf/test_run.c`).
fn tc_context(ifindex: u32) -> [u32; sk_buff::WORDS] {
    let mut context = [0; sk_buff::WORDS];
    context[sk_buff::INGRESS_IFINDEX] = ifindex;
    context[sk_buff::IFINDEX] = ifindex;
    context
}

/// The kernel takes a device only once its receive queues know XDP, as those of a veth do while a native
/// program is attached or GRO is on; with another device the frame seems to come from `lo`.
pub(crate) fn run_xdp(program: &Xdp, netns: &NetNs, device: &str, frame: &[u8]) -> Result<Outcome> {
    let context = xdp_context(frame, netns.ifindex(device)?)?;
    netns.enter(|| {
        run(frame, Some(&context), |options| Ok(program.test_run(options)?))
            .or_else(|_| run(frame, None, |options| Ok(program.test_run(options)?)))
    })
}

fn xdp_context(frame: &[u8], ifindex: u32) -> Result<[u32; xdp_md::WORDS]> {
    let mut context = [0; xdp_md::WORDS];
    context[xdp_md::DATA_END] = u32::try_from(frame.len())?;
    context[xdp_md::INGRESS_IFINDEX] = ifindex;
    Ok(context)
}

fn pin(instance: &Instance<'_>, program: &str) -> PathBuf {
    instance.pins().join("programs").join(program)
}

fn run(
    frame: &[u8],
    context: Option<&[u32]>,
    call: impl FnOnce(TestRunOptions<'_>) -> Result<TestRunResult>,
) -> Result<Outcome> {
    let mut frame_out = vec![0; LARGEST];
    let mut context_out = vec![0; context.map_or(0, size_of_val)];
    let context_in = context.map(of_words);
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.data_out = Some(&mut frame_out);
    options.ctx_in = context_in.as_deref();
    if !context_out.is_empty() {
        options.ctx_out = Some(&mut context_out);
    }
    let result = call(options).context("BPF_PROG_TEST_RUN")?;
    let length = usize::try_from(result.data_size_out)?;
    ensure!(length <= frame_out.len(), "a frame of {length} bytes came out");
    frame_out.truncate(length);
    Ok(Outcome { verdict: result.return_value.cast_signed(), frame: frame_out, context: context_out })
}
