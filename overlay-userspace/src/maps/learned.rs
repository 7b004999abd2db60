//! `LEARNED`.

use std::collections::HashMap;

use overlay_common::maps::learned::{LearnedKey, NAME};

use super::Table;
use crate::{error::Result, instance::Instance};

fn open(instance: &Instance) -> Result<Table<LearnedKey, u64>> {
    Table::open(instance, NAME)
}

/// How many stations are learned in a segment or behind a port.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn count(instance: &Instance, key: LearnedKey) -> Result<u64> {
    Ok(open(instance)?.get(key)?.unwrap_or(0))
}

/// All counts, by what is counted.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn all(instance: &Instance) -> Result<HashMap<LearnedKey, u64>> {
    let mut counts = HashMap::new();
    open(instance)?.for_each(|key, count| {
        counts.insert(*key, *count);
    })?;
    Ok(counts)
}

/// Starts to count for a segment or a port that no station is learned of.
///
/// # Errors
///
/// Fails if the map is full.
pub fn start(instance: &Instance, key: LearnedKey) -> Result<()> {
    open(instance)?.put(key, &0)
}

/// Stops to count for a segment or a port that no program can learn stations of any more.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn stop(instance: &Instance, key: LearnedKey) -> Result<()> {
    open(instance)?.remove(key).map(drop)
}

/// Sets a count right, if it is not.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn correct(instance: &Instance, key: LearnedKey, count: u64) -> Result<()> {
    let mut map = open(instance)?;
    if map.get(key)? == Some(count) { Ok(()) } else { map.put(key, &count) }
}
