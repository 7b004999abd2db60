//! All features of a device, by the kernel's own names (`netdev_features_strings` in `net/ethtool/common.c`).

use std::mem::size_of;

use overlay_common::maps::device::DeviceName;

use super::ethtool;
use crate::error::{Context as _, Error, Result};

/// `ETHTOOL_GSSET_INFO`, `ETHTOOL_GSTRINGS`, `ETHTOOL_GFEATURES`, `ETHTOOL_SFEATURES`.
const COUNT: u32 = 0x37;
const STRINGS: u32 = 0x1b;
const GET: u32 = 0x3a;
const SET: u32 = 0x3b;
/// `ETH_SS_FEATURES`.
const SET_OF_FEATURES: u32 = 4;
/// `ETH_GSTRING_LEN`.
const NAME_LEN: usize = 32;
/// Features in a block.
const BITS: usize = 32;

/// What a device can do, and does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Features {
    names: Vec<String>,
    blocks: Vec<[u32; 4]>,
}

/// A feature of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feature {
    /// Whether it is on.
    pub(crate) is_on: bool,
    /// Whether it can be turned on and off.
    pub(crate) is_changeable: bool,
}

impl Features {
    /// Those of a device.
    ///
    /// # Errors
    ///
    /// Fails if there is no such device in this thread's network namespace.
    pub(crate) fn of(device: DeviceName) -> Result<Self> {
        let what = || format!("cannot tell the features of {}", device.as_str());
        // Command, a reserved word, a mask of sets in 64 bits, and how many strings the set has.
        let mut count = [COUNT, 0, 1 << SET_OF_FEATURES, 0, 0];
        // SAFETY: the kernel writes one number for the one set that is asked for.
        unsafe { ethtool(device, count.as_mut_ptr().cast()) }.context(what)?;
        let count = count[4] as usize;
        let mut strings = vec![0u32; 3 + count * NAME_LEN / size_of::<u32>()];
        strings[..2].copy_from_slice(&[STRINGS, SET_OF_FEATURES]);
        // SAFETY: the kernel writes as many names as it said that it has.
        unsafe { ethtool(device, strings.as_mut_ptr().cast()) }.context(what)?;
        let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let size = count.div_ceil(BITS);
        let mut features = vec![0u32; 2 + size * 4];
        features[..2].copy_from_slice(&[GET, u32::try_from(size).context(what)?]);
        // SAFETY: the kernel writes as many blocks as it is told that there is room for, at most.
        unsafe { ethtool(device, features.as_mut_ptr().cast()) }.context(what)?;
        let blocks = features[2..].chunks_exact(4).map(|block| [block[0], block[1], block[2], block[3]]);
        Ok(Self { names: bytes.chunks_exact(NAME_LEN).map(name).collect(), blocks: blocks.collect() })
    }

    /// The feature of that name; `None`: the kernel knows none.
    pub(crate) fn get(&self, name: &str) -> Option<Feature> {
        let place = self.place(name)?;
        let [available, _, active, never] = *self.blocks.get(place / BITS)?;
        let bit = 1 << (place % BITS);
        Some(Feature { is_on: active & bit != 0, is_changeable: available & bit != 0 && never & bit == 0 })
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|one| one == name)
    }
}

/// Turns a feature of a device on.
///
/// # Errors
///
/// Fails if the device refuses.
pub(crate) fn turn_on(device: DeviceName, name: &str) -> Result<()> {
    let features = Features::of(device)?;
    let refused = || Error::Failed(format!("{} does not let {name} be turned on", device.as_str()));
    let place = features.place(name).ok_or_else(refused)?;
    let size = features.blocks.len();
    let mut request = vec![0u32; 2 + size * 2];
    request[..2].copy_from_slice(&[SET, u32::try_from(size).map_err(|_| refused())?]);
    let bit = 1 << (place % BITS);
    // Which are meant, and what they shall be.
    request[2 + place / BITS * 2..][..2].copy_from_slice(&[bit, bit]);
    // SAFETY: the kernel reads as many blocks as it is told.
    unsafe { ethtool(device, request.as_mut_ptr().cast()) }
        .context(|| format!("cannot turn {name} of {} on", device.as_str()))?;
    match Features::of(device)?.get(name) {
        Some(Feature { is_on: true, .. }) => Ok(()),
        _ => Err(refused()),
    }
}

/// What stands before the first zero.
fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_a_bit_of_its_block() {
        let mut names = vec![String::new(); 40];
        names[33] = "rx-gro".to_owned();
        let features = Features { names, blocks: vec![[0; 4], [0b10, 0b10, 0b10, 0]] };
        assert_eq!(features.get("rx-gro"), Some(Feature { is_on: true, is_changeable: true }));
        assert_eq!(features.get("rx-lro"), None);
        let fixed = Features { blocks: vec![[0; 4], [0b10, 0, 0, 0b10]], ..features };
        assert_eq!(fixed.get("rx-gro"), Some(Feature { is_on: false, is_changeable: false }));
    }

    #[test]
    fn the_loopback_device_tells_its_features() -> Result<()> {
        let device = DeviceName::new("lo").ok_or_else(|| Error::Usage("lo".to_owned()))?;
        let features = Features::of(device)?;
        assert!(features.get("tx-tcp-segmentation").is_some(), "{:?}", features.names);
        Ok(())
    }
}
