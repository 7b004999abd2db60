//! What an instance holds in the kernel: programs, maps and links.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::MapInfo,
    programs::{
        ProgramInfo,
        links::{FdLink, PinnedLink},
        loaded_links, loaded_programs,
    },
};

use crate::{overlay::Instance, process::wait_until};

/// The kernel's numbers of programs, maps and links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Programs.
    pub programs: BTreeSet<u32>,
    /// Maps, those that no pin but only a program holds included.
    pub maps: BTreeSet<u32>,
    /// Links.
    pub links: BTreeSet<u32>,
}

impl Objects {
    /// What the pins of an instance hold.
    pub fn of(instance: &Instance<'_>) -> Result<Self> {
        let mut objects = Self::default();
        for pin in pins(&instance.pins().join("programs"))? {
            let info = ProgramInfo::from_pin(&pin).with_context(|| pin.display().to_string())?;
            objects.programs.insert(info.id());
            objects.maps.extend(info.map_ids()?.context("the kernel does not tell the maps of a program")?);
        }
        for pin in pins(&instance.pins().join("maps"))? {
            let info = MapInfo::from_pin(&pin).with_context(|| pin.display().to_string())?;
            objects.maps.insert(info.id());
        }
        for pin in pins(&instance.pins().join("links"))? {
            let link = FdLink::from(PinnedLink::from_pin(&pin).with_context(|| pin.display().to_string())?);
            objects.links.insert(link.info()?.id());
        }
        ensure!(!objects.programs.is_empty() && !objects.maps.is_empty(), "no pins: {objects:?}");
        Ok(objects)
    }

    /// Waits until none of them is there any more: the kernel frees them a while after their last user.
    pub fn gone(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        wait_until(deadline, || Ok((self.left() == Self::default()).then_some(())))
            .with_context(|| format!("still there: {:?}", self.left()))
    }

    fn left(&self) -> Self {
        // An object that goes while it is asked about is an error of the iterator, and gone.
        let programs = loaded_programs().filter_map(Result::ok).map(|info| info.id());
        let maps = map_ids();
        let links = loaded_links().filter_map(Result::ok).map(|info| info.id());
        Self {
            programs: programs.filter(|id| self.programs.contains(id)).collect(),
            maps: maps.filter(|id| self.maps.contains(id)).collect(),
            links: links.filter(|id| self.links.contains(id)).collect(),
        }
    }
}

/// The numbers of all maps, without opening any.
///
/// Opening and closing a program array that nobody has open any more makes the kernel empty it once more. If it has not
/// come round to the first time yet, the array stays for good (Linux 6.18, `prog_array_map_clear`).
fn map_ids() -> impl Iterator<Item = u32> {
    /// `BPF_MAP_GET_NEXT_ID` of `include/uapi/linux/bpf.h`.
    const NEXT_ID: libc::c_int = 12;
    let next = |id: u32| {
        // The id to start from, the next one, which the kernel fills in, and no flags.
        let mut attributes = [id, 0, 0];
        // SAFETY: the kernel reads and writes the attributes, which are as long as said.
        let code = unsafe {
            libc::syscall(libc::SYS_bpf, NEXT_ID, attributes.as_mut_ptr(), size_of_val(&attributes))
        };
        (code == 0).then_some(attributes[1])
    };
    std::iter::successors(next(0), move |id| next(*id))
}

/// The pins below a directory, at any depth.
fn pins(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(pins(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}
