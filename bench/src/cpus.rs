//! Which CPU does what, and how busy they all are.

use std::{fs, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};

/// The CPUs of the two ends of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cpus {
    /// Of the sending or asking end.
    pub(crate) sender: usize,
    /// Of the receiving or answering end.
    pub(crate) receiver: usize,
}

impl Cpus {
    /// The first two that this process may use; one for both ends if there is no other.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub(crate) fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("asking which CPUs to use")?;
        let mut usable = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
        let sender = usable.next().context("there is no CPU to use")?;
        Ok(Self { sender, receiver: usable.next().unwrap_or(sender) })
    }

    /// In words, for the reader of the figures.
    pub(crate) fn describe(self) -> String {
        let Self { sender, receiver } = self;
        let shared = if sender == receiver { " (the only one: both ends share it)" } else { "" };
        format!(
            "sender on CPU {sender}, receiver on CPU {receiver}{shared}, that of UDP before other processes; veth has no \
             interrupts, and RPS is off: each CPU carries what its own end sends all the way"
        )
    }
}

/// Keeps a command, and what it starts, on one CPU.
pub(crate) fn pin(command: &mut Command, cpu: usize) -> &mut Command {
    // SAFETY: the closure only makes a system call and touches its own stack, which is allowed between fork and exec.
    unsafe { command.pre_exec(move || Ok(pin_here(cpu)?)) }
}

/// Keeps this thread, and those that it starts, on one CPU.
pub(crate) fn pin_here(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Seconds that all CPUs of the machine together were not idle since it started, whoever used them.
///
/// # Errors
///
/// When `/proc/stat` is not as proc(5) has it.
pub(crate) fn busy_seconds() -> Result<f64> {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().context("how long is a clock tick?")?;
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let ticks = busy_ticks(&text).context("/proc/stat is not as expected")?;
    Ok(ticks as f64 / per_second as f64)
}

/// User, nice, system, irq and softirq; not idle, iowait, nor what the hypervisor gave to others (steal).
fn busy_ticks(stat: &str) -> Option<u64> {
    let mut words = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let mut next = || words.next()?.parse::<u64>().ok();
    let (user, nice, system, _idle, _iowait, irq, softirq) =
        (next()?, next()?, next()?, next()?, next()?, next()?, next()?);
    Some(user + nice + system + irq + softirq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waiting_and_stolen_time_is_not_busy() {
        let stat = "cpu  100 20 3 90000 800 4 50 7000 600 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy_ticks(stat), Some(177));
        assert_eq!(busy_ticks("cpu  1 2 3\n"), None);
        assert_eq!(busy_ticks("intr 1 2 3 4 5 6 7\n"), None);
    }

    #[test]
    fn the_machine_is_never_idle_all_along() {
        assert!(busy_seconds().is_ok_and(|seconds| seconds > 0.0));
        assert!(Cpus::choose().is_ok());
    }
}
