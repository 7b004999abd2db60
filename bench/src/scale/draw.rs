//! Frames whose destinations are drawn.

use std::time::Duration;

use anyhow::{Result, ensure};
use overlay_tests::{
    bench::{Bench, Hook},
    testrun::{self, TC_REDIRECT},
};

use super::Packet;
use crate::{cost::timing, programs::Programs};

/// Numbers that come as if at random, the same in every run (Marsaglia, "Xorshift RNGs", 2003).
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `count`.
    pub(super) fn below(&mut self, count: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let share = ((self.0 >> 32) * u64::from(count)) >> 32;
        u32::try_from(share).unwrap_or(0)
    }
}

/// What is timed.
pub(super) struct Case<'a> {
    /// Of what there are many.
    pub(super) of: &'static str,
    /// How many.
    pub(super) count: u32,
    /// The program.
    pub(super) program: &'static str,
    /// Its hook, and the device.
    pub(super) hook: Hook<'a>,
}

impl Case<'_> {
    /// Times the program on frames to destinations drawn from all, and on those to one, in turn with one that does nothing.
    pub(super) fn measure(
        &self,
        bench: &Bench<'_>,
        nothing: &mut Programs,
        times: usize,
        frame: impl Fn(u32) -> Result<Vec<u8>>,
    ) -> Result<[Packet; 2]> {
        let mut draw = Draw::new();
        for _ in 0..3 {
            let number = draw.below(self.count);
            let (outcome, drops) = bench.run(self.hook, &frame(number)?)?;
            ensure!(
                outcome.verdict == TC_REDIRECT && drops.is_empty(),
                "{} of {} {}: verdict {}, counted {drops:?}",
                self.program,
                self.count,
                self.of,
                outcome.verdict
            );
        }
        let (Hook::Port(device)
        | Hook::Uplink(device)
        | Hook::Exit(device)
        | Hook::Xdp(device)
        | Hook::XdpGeneric(device)) = self.hook;
        let netns = &bench.host().netns;
        let program = testrun::pinned_tc(&bench.instance, self.program)?;
        let empty = nothing.tc("nothing")?;
        let idle = frame(0)?;
        let mut packet = |random: bool| -> Result<Packet> {
            let run = |times: usize| -> Result<Vec<Duration>> {
                let frames = (0..times).map(|_| frame(if random { draw.below(self.count) } else { 0 }));
                testrun::time_tc_each(&program, netns, device, frames.collect::<Result<Vec<_>>>()?)
            };
            let nanoseconds =
                timing::compare(times, run, |times| testrun::time_tc(empty, netns, device, &idle, times))?;
            Ok(Packet { of: self.of, count: self.count, program: self.program, random, nanoseconds })
        };
        Ok([packet(true)?, packet(false)?])
    }
}
