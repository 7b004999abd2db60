use aya_ebpf::{btf_maps::Array, macros::btf_map};
use overlay_common::maps::config::{Config, INDEX};

#[btf_map]
static CONFIG: Array<Config, 1> = Array::new();

/// What holds for the whole instance.
#[inline(always)]
pub(crate) fn get() -> Option<&'static Config> {
    CONFIG.get(INDEX)
}
