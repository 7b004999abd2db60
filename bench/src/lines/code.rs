//! Which line of a program the instruction at an address of the kernel came from (`struct bpf_prog_info` in
//! `include/uapi/linux/bpf.h`).

#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes of structures and codes of system calls are small"
)]

use std::{
    collections::BTreeMap,
    io, mem,
    ops::Range,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramInfo;
use aya_obj::generated::{bpf_btf_info, bpf_line_info, bpf_prog_info};
use overlay_tests::overlay::Instance;

/// Commands of `bpf(2)`.
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BTF_GET_FD_BY_ID: libc::c_int = 19;

/// Bits of a line's word that hold the column.
const COLUMN_BITS: u32 = 10;

/// A program as the kernel runs it.
pub(super) struct Code {
    functions: Vec<Range<u64>>,
    /// Where the instructions of a line begin, by address, and of which file and line.
    lines: Vec<(u64, String, u32)>,
    /// What stands in a line of a file, and how many instructions come from it.
    about: BTreeMap<(String, u32), (String, u32)>,
}

impl Code {
    /// Reads that of a pinned program.
    pub(super) fn read(instance: &Instance<'_>, program: &str) -> Result<Self> {
        let pin = instance.pins().join("programs").join(program);
        let fd = ProgramInfo::from_pin(&pin).context("a program's pin")?.fd()?;
        let fd = fd.as_fd();
        let sizes: bpf_prog_info = information(fd, zeroed_info())?;
        let mut starts = vec![0_u64; sizes.nr_jited_ksyms as usize];
        let mut lengths = vec![0_u32; sizes.nr_jited_func_lens as usize];
        let mut addresses = vec![0_u64; sizes.nr_jited_line_info as usize];
        let mut lines = vec![NO_LINE; sizes.nr_line_info as usize];
        let mut wanted = zeroed_info();
        (wanted.nr_jited_ksyms, wanted.jited_ksyms) = (sizes.nr_jited_ksyms, starts.as_mut_ptr() as u64);
        (wanted.nr_jited_func_lens, wanted.jited_func_lens) =
            (sizes.nr_jited_func_lens, lengths.as_mut_ptr() as u64);
        (wanted.nr_line_info, wanted.line_info) = (sizes.nr_line_info, lines.as_mut_ptr() as u64);
        (wanted.nr_jited_line_info, wanted.jited_line_info) =
            (sizes.nr_jited_line_info, addresses.as_mut_ptr() as u64);
        wanted.line_info_rec_size = size_of::<bpf_line_info>() as u32;
        wanted.jited_line_info_rec_size = size_of::<u64>() as u32;
        let found = information(fd, wanted)?;
        ensure!(
            !addresses.is_empty() && addresses.len() == lines.len() && addresses[0] != 0,
            "the kernel does not tell where the lines of {program} are; is its compiler for BPF off?"
        );
        let strings = Strings::read(found.btf_id)?;
        let functions = starts.iter().zip(&lengths).map(|(start, length)| *start..start + u64::from(*length));
        let mut code = Self { functions: functions.collect(), lines: Vec::new(), about: BTreeMap::new() };
        let ends = lines.iter().skip(1).map(|line| line.insn_off).chain([sizes.xlated_prog_len / 8]);
        for ((address, line), end) in addresses.iter().zip(&lines).zip(ends) {
            let (file, number) = (short(&strings.at(line.file_name_off)), line.line_col >> COLUMN_BITS);
            let about = code.about.entry((file.clone(), number));
            let (_, count) = about.or_insert_with(|| (strings.at(line.line_off).trim().to_owned(), 0));
            *count += end.saturating_sub(line.insn_off);
            code.lines.push((*address, file, number));
        }
        code.lines.sort();
        Ok(code)
    }

    /// Whether the instruction at that address is one of the program.
    pub(super) fn has(&self, address: u64) -> bool {
        self.functions.iter().any(|function| function.contains(&address))
    }

    /// The file and line that the instruction at an address comes from.
    pub(super) fn line(&self, address: u64) -> Option<(&str, u32)> {
        let next = self.lines.partition_point(|(start, ..)| *start <= address);
        self.lines.get(next.checked_sub(1)?).map(|(_, file, line)| (file.as_str(), *line))
    }

    /// What stands in that line, and how many instructions come from it.
    pub(super) fn about(&self, file: &str, line: u32) -> (String, u32) {
        self.about.get(&(file.to_owned(), line)).cloned().unwrap_or_default()
    }
}

/// The path of a file behind `src`, and of a crate of others the file's name alone.
fn short(path: &str) -> String {
    let is_ours = path.contains("overlay-");
    let mark = if is_ours { "/src/" } else { "/" };
    path.rsplit_once(mark).map_or(path, |(_, name)| name).to_owned()
}

const NO_LINE: bpf_line_info = bpf_line_info { insn_off: 0, file_name_off: 0, line_off: 0, line_col: 0 };

fn zeroed_info() -> bpf_prog_info {
    // SAFETY: it is made of numbers.
    unsafe { mem::zeroed() }
}

/// The strings of a program's BTF (`struct btf_header` in `include/uapi/linux/btf.h`).
struct Strings(Vec<u8>);

impl Strings {
    fn read(id: u32) -> Result<Self> {
        let mut by_id = [id, 0, 0];
        let fd = bpf(BTF_GET_FD_BY_ID, &mut by_id).context("a program's BTF")?;
        // SAFETY: the kernel just made it, for nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let nothing = bpf_btf_info { btf: 0, btf_size: 0, id: 0, name: 0, name_len: 0, kernel_btf: 0 };
        let size = information(fd.as_fd(), nothing)?.btf_size;
        let mut data = vec![0_u8; size as usize];
        information(fd.as_fd(), bpf_btf_info { btf: data.as_mut_ptr() as u64, btf_size: size, ..nothing })?;
        let word = |at: usize| -> Result<usize> {
            let bytes = data.get(at..at + 4).context("BTF is cut off")?;
            Ok(u32::from_ne_bytes(bytes.try_into()?) as usize)
        };
        let begin = word(4)? + word(16)?;
        Ok(Self(data.get(begin..begin + word(20)?).context("BTF is cut off")?.to_vec()))
    }

    fn at(&self, offset: u32) -> String {
        let bytes = self.0.get(offset as usize..).unwrap_or_default();
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// What the kernel tells about a program or BTF, beside what it writes to where `info` says.
fn information<T>(fd: BorrowedFd<'_>, mut info: T) -> Result<T> {
    /// `struct { .. } info` of `union bpf_attr`.
    #[repr(C)]
    struct Attributes {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut attributes = Attributes {
        fd: fd.as_raw_fd().cast_unsigned(),
        len: size_of::<T>() as u32,
        info: ptr::from_mut(&mut info) as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attributes).context("information about a program")?;
    Ok(info)
}

fn bpf<A>(command: libc::c_int, attributes: &mut A) -> io::Result<i32> {
    // SAFETY: the attributes are as long as said, and what they point to outlives the call.
    let code = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attributes), size_of::<A>()) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(code as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_what_a_reader_looks_for() {
        assert_eq!(short("/build/overlay-ebpf/src/maps/flows.rs"), "maps/flows.rs");
        assert_eq!(short("overlay-common/src/header/eth.rs"), "header/eth.rs");
        assert_eq!(short("/registry/src/aya-ebpf-0.2.1/src/helpers.rs"), "helpers.rs");
    }
}
