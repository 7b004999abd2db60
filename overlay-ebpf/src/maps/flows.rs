use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::maps::flow::{Flow, Key, MAX_ENTRIES};

#[btf_map]
static FLOWS: PerCpuArray<Flow, MAX_ENTRIES> = PerCpuArray::new();

/// What is known of the flow of `key` in this generation, at `now`.
#[inline(always)]
pub(crate) fn known(key: &Key, generation: u64, now: u64) -> Option<&'static Flow> {
    let flow = FLOWS.get(key.index())?;
    if flow.is_of(key, generation, now) { Some(flow) } else { None }
}

/// What is known of the flow of `key` in this generation, at `now`; or the place to keep what is found out about it. `None`
/// does not happen: every key has a place.
#[inline(always)]
pub(crate) fn get(key: &Key, generation: u64, now: u64) -> Option<Result<&'static Flow, &'static mut Flow>> {
    let flow = super::of_this_cpu(&FLOWS, key.index())?;
    if flow.is_of(key, generation, now) {
        return Some(Ok(flow));
    }
    flow.claim(key);
    Some(Err(flow))
}
