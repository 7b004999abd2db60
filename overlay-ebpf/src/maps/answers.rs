use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use overlay_common::{
    IfIndex,
    maps::answers::{Bucket, MAX_ENTRIES},
};

#[btf_map]
static ANSWERS: LruHashMap<u32, Bucket, MAX_ENTRIES> = LruHashMap::new();

/// Whether the workload behind `device` may be answered once more at `now`, nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn take(device: IfIndex, now: u64) -> bool {
    if let Some(bucket) = ANSWERS.get_ptr_mut(device.get()) {
        // SAFETY: the map outlives the program; CPUs race for a whole word, at the price of an answer too many.
        return unsafe { (*bucket).take(now) };
    }
    let mut bucket = Bucket::default();
    bucket.take(now) && ANSWERS.insert(device.get(), bucket, 0).is_ok()
}
