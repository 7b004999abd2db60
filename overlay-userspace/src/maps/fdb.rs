//! `FDB`.

use aya::{
    maps::MapInfo,
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use overlay_common::{
    header::eth,
    maps::fdb::{FdbEntry, FdbKey, NAME, Placing, Removal, Report, Swept},
};

use super::Table;
use crate::{
    datapath::{self, FDB_EDIT, FDB_REMOVE, FDB_SWEEP},
    error::{Context as _, Error, Result},
    instance::Instance,
};

/// Opens it: station to place. Entries are removed by [`remove`] only, which keeps count of what is learned.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn open(instance: &Instance) -> Result<Table<FdbKey, FdbEntry>> {
    Table::open(instance, NAME)
}

/// How many stations it has room for.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn size(instance: &Instance) -> Result<u32> {
    let info = MapInfo::from_pin(instance.maps().join(NAME)).context(|| format!("cannot open map {NAME}"))?;
    Ok(info.max_entries())
}

/// Removes the entries that `removal` describes; how many there were. Those of many stations are read and removed some hundred
/// at a time: no CPU is kept from its packets for longer than that takes.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn remove(instance: &Instance, removal: Removal) -> Result<u32> {
    if removal.station().is_some() {
        return remove_one(instance, removal);
    }
    let mut placings = Vec::new();
    open(instance)?.for_each(|key: &FdbKey, entry: &FdbEntry| {
        if key.vni().is_some_and(|vni| removal.holds(vni, key.mac(), entry)) {
            placings.push(Placing::removal(key.mac(), entry.standing()));
        }
    })?;
    let editor = Editor::open(instance)?;
    let mut left = &placings[..];
    while !left.is_empty() {
        left = &left[editor.run(left)?.done()..];
    }
    u32::try_from(placings.len()).context(|| format!("cannot count the entries of map {NAME}"))
}

fn remove_one(instance: &Instance, removal: Removal) -> Result<u32> {
    match run(&datapath::classifier(instance, FDB_REMOVE)?, FDB_REMOVE, bytemuck::bytes_of(&removal))? {
        u32::MAX => Err(misunderstood(FDB_REMOVE)),
        removed => Ok(removed),
    }
}

/// The program that puts entries, whatever was learned of their stations, and removes some.
pub struct Editor {
    program: SchedClassifier,
}

impl Editor {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// Fails if it is gone.
    pub fn open(instance: &Instance) -> Result<Self> {
        Ok(Self { program: datapath::classifier(instance, FDB_EDIT)? })
    }

    /// Puts entries or removes them, in one system call for [`Placing::MOST`] of them, the others are left. Where the map is
    /// full, a learned entry makes way for one. It ends whatever programs on other CPUs do, and may come less far for that.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub fn run(&self, placings: &[Placing]) -> Result<Report> {
        let placings = &placings[..placings.len().min(Placing::MOST)];
        let code = run(&self.program, FDB_EDIT, bytemuck::cast_slice(placings))?;
        Report::from_code(code).ok_or_else(|| misunderstood(FDB_EDIT))
    }
}

/// Removes the stations that have aged, of `learned` of those that are learned, a few at a time: no CPU is kept from its
/// packets for longer than that takes.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn sweep(instance: &Instance, learned: u64) -> Result<()> {
    let program = datapath::classifier(instance, FDB_SWEEP)?;
    // The kernel takes no frame without any byte behind its header.
    let mut seen = 0;
    while seen < learned {
        let swept = Swept::from_code(run(&program, FDB_SWEEP, &[0])?);
        if swept.looked() == 0 {
            break;
        }
        seen += u64::from(swept.learned());
    }
    Ok(())
}

/// Runs a program that changes a map for a command, with what it is asked; what it returns.
pub(super) fn run(program: &SchedClassifier, name: &str, request: &[u8]) -> Result<u32> {
    let frame = [&[0; eth::LEN][..], request].concat();
    let mut options = TestRunOptions::new();
    options.data_in = Some(&frame);
    let result = program.test_run(options).context(|| format!("cannot run program {name}"))?;
    Ok(result.return_value)
}

pub(super) fn misunderstood(name: &str) -> Error {
    Error::Failed(format!("program {name} does not understand this command"))
}

/// The same where nothing adds such entries any more: none of them is left.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn purge(instance: &Instance, removal: Removal) -> Result<()> {
    // An entry that changed after it was read is still there.
    while remove(instance, removal)? > 0 {}
    Ok(())
}
