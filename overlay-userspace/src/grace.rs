//! Waiting for the programs.

use crate::{error::Result, instance::Instance, maps::generation};

/// `MEMBARRIER_CMD_GLOBAL` of `include/uapi/linux/membarrier.h`.
const GLOBAL: libc::c_int = 1;

/// Waits until every program that runs now has ended, and with it what it may still do with what was just removed from a
/// map: a global memory barrier waits for a grace period of RCU (`kernel/sched/membarrier.c`), and a program is a reader. Those that
/// start from now on do not go by what others found out before.
///
/// # Errors
///
/// Fails if the map that says so is gone.
pub fn wait(instance: &Instance) -> Result<()> {
    generation::begin(instance)?;
    // A kernel that refuses it, as on CPUs without a tick, leaves a window of microseconds.
    // SAFETY: takes numbers, and touches no memory.
    let _ = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    Ok(())
}
