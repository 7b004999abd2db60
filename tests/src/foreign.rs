//! Somebody else's programs on the hooks we use: they count what they see and let it pass.

use std::{
    borrow::Cow,
    ffi::CString,
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{Array, Map, MapData},
    programs::{
        LinkOrder, ProgramInfo, SchedClassifier, TcAttachType, Xdp, loaded_programs,
        tc::{NlOptions, TcAttachOptions, qdisc_add_clsact},
        xdp::XdpMode,
    },
};
use aya_obj::programs::XdpAttachType;

use crate::{
    netns::NetNs,
    testrun::{Outcome, TC_NEXT, XDP_PASS, run_tc, run_xdp},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// `BPF_MAP_CREATE` of `enum bpf_cmd` (linux/bpf.h).
const MAP_CREATE: libc::c_long = 0;
/// `BPF_PROG_LOAD` of `enum bpf_cmd`.
const PROG_LOAD: libc::c_long = 5;
/// `BPF_MAP_TYPE_ARRAY` of `enum bpf_map_type`.
const ARRAY: u32 = 2;
/// `BPF_PROG_TYPE_SCHED_CLS` of `enum bpf_prog_type`.
const SCHED_CLS: u32 = 3;
/// `BPF_PROG_TYPE_XDP` of `enum bpf_prog_type`.
const XDP: u32 = 6;

/// A program that belongs to somebody else; detached when dropped.
pub struct Foreign {
    counter: Array<MapData, u64>,
    attached: Attached,
}

enum Attached {
    Tc(SchedClassifier),
    Xdp(Xdp),
}

impl Foreign {
    /// On the ingress of `device`, by TCX.
    pub fn tcx(netns: &NetNs, device: &str) -> Result<Self> {
        Self::tc(netns, device, || Ok(TcAttachOptions::TcxOrder(LinkOrder::default())))
    }

    /// On the ingress of `device`, as a filter of a clsact qdisc, which stays when it goes.
    pub fn clsact(netns: &NetNs, device: &str) -> Result<Self> {
        Self::tc(netns, device, || {
            qdisc_add_clsact(device)?;
            Ok(TcAttachOptions::Netlink(NlOptions::default()))
        })
    }

    /// On the ingress of `device`, by TCX: it counts only what metadata comes with whose first 64 bits are not zero.
    pub fn metadata(netns: &NetNs, device: &str) -> Result<Self> {
        let order = || Ok(TcAttachOptions::TcxOrder(LinkOrder::default()));
        Self::tc_with(netns, device, &metadata_or_skip(), order)
    }

    /// On the ingress of `device`, by TCX: it gives every packet a mark.
    pub fn marking(netns: &NetNs, device: &str, mark: i32) -> Result<Self> {
        let order = || Ok(TcAttachOptions::TcxOrder(LinkOrder::default()));
        Self::tc_with(netns, device, &set_mark(mark), order)
    }

    /// On the ingress of `device`, by TCX: it counts only packets with that mark.
    pub fn of_mark(netns: &NetNs, device: &str, mark: i32) -> Result<Self> {
        let order = || Ok(TcAttachOptions::TcxOrder(LinkOrder::default()));
        Self::tc_with(netns, device, &mark_or_skip(mark), order)
    }

    /// On the egress of `device`, by TCX: it marks and counts packets of `len` bytes or more as a congested router does,
    /// where their IP header says that their sender knows ECN.
    pub fn congesting(netns: &NetNs, device: &str, len: i32) -> Result<Self> {
        let (counter, info, name, _fd) = load(SCHED_CLS, &congestion_or_skip(len), TC_NEXT)?;
        let mut program = SchedClassifier::from_program_info(info, name)?;
        let order = TcAttachOptions::TcxOrder(LinkOrder::default());
        netns.enter(|| Ok(program.attach_with_options(device, TcAttachType::Egress, order)?))?;
        Ok(Self { counter, attached: Attached::Tc(program) })
    }

    /// On the XDP hook of `device`, in native mode.
    pub fn xdp(netns: &NetNs, device: &str) -> Result<Self> {
        Self::xdp_in(netns, device, XdpMode::Driver)
    }

    /// On the XDP hook of `device`, in generic mode.
    pub fn generic_xdp(netns: &NetNs, device: &str) -> Result<Self> {
        Self::xdp_in(netns, device, XdpMode::Skb)
    }

    fn xdp_in(netns: &NetNs, device: &str, mode: XdpMode) -> Result<Self> {
        let (counter, info, name, _fd) = load(XDP, &[], XDP_PASS)?;
        let mut program = Xdp::from_program_info(info, name, XdpAttachType::Interface)?;
        netns.enter(|| Ok(program.attach(device, mode)?))?;
        Ok(Self { counter, attached: Attached::Xdp(program) })
    }

    fn tc(
        netns: &NetNs,
        device: &str,
        options: impl FnOnce() -> Result<TcAttachOptions> + Send,
    ) -> Result<Self> {
        Self::tc_with(netns, device, &[], options)
    }

    fn tc_with(
        netns: &NetNs,
        device: &str,
        condition: &[u64],
        options: impl FnOnce() -> Result<TcAttachOptions> + Send,
    ) -> Result<Self> {
        let (counter, info, name, _fd) = load(SCHED_CLS, condition, TC_NEXT)?;
        let mut program = SchedClassifier::from_program_info(info, name)?;
        netns.enter(|| Ok(program.attach_with_options(device, TcAttachType::Ingress, options()?)?))?;
        Ok(Self { counter, attached: Attached::Tc(program) })
    }

    /// Runs the program on `frame`, as if `device` had received it.
    pub fn test_run(&self, netns: &NetNs, device: &str, frame: &[u8]) -> Result<Outcome> {
        match &self.attached {
            Attached::Tc(program) => run_tc(program, netns, device, frame),
            Attached::Xdp(program) => run_xdp(program, netns, device, frame),
        }
    }

    /// How many packets it has seen.
    pub fn seen(&self) -> Result<u64> {
        Ok(self.counter.get(&0, 0)?)
    }
}

/// The first fields of `union bpf_attr` for `BPF_MAP_CREATE`.
#[repr(C)]
struct MapAttributes {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct ProgramAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The counter, the program, its name, and the descriptor that keeps it until it is attached.
type Loaded = (Array<MapData, u64>, ProgramInfo, Cow<'static, str>, OwnedFd);

fn load(program_type: u32, condition: &[u64], verdict: i32) -> Result<Loaded> {
    let map = MapAttributes { map_type: ARRAY, key_size: 4, value_size: 8, max_entries: 1 };
    // SAFETY: the attributes hold no pointers.
    let map = unsafe { bpf(MAP_CREATE, &map) }.context("BPF_MAP_CREATE")?;
    let instructions = [condition, &count_and_return(map.as_raw_fd(), verdict)].concat();
    let name = format!("f{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let license = CString::new("GPL")?;
    let mut attributes = ProgramAttributes {
        program_type,
        instruction_count: u32::try_from(instructions.len())?,
        instructions: instructions.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        ..ProgramAttributes::default()
    };
    ensure!(name.len() < attributes.name.len(), "{name} is too long for a program");
    attributes.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: what the attributes point to outlives the call.
    let program = unsafe { bpf(PROG_LOAD, &attributes) }.context("BPF_PROG_LOAD")?;
    let info = loaded_programs()
        .filter_map(Result::ok)
        .find(|info| info.name_as_str() == Some(&name))
        .with_context(|| format!("the program {name} is not to be found"))?;
    let counter = Map::from_map_data(MapData::from_fd(map)?)?.try_into()?;
    Ok((counter, info, name.into(), program))
}

/// Makes a map or a program.
///
/// # Safety
///
/// `attributes` have to be the first fields of `union bpf_attr` for `command`, their pointers valid.
unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for the attributes, and their size is said.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    match i32::try_from(fd) {
        // SAFETY: the descriptor was just made, and nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Encodes an instruction (RFC 9669).
fn instruction(code: u64, destination: u64, source: u64, offset: i16, value: i32) -> u64 {
    code | destination << 8
        | source << 12
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(value.cast_unsigned()) << 32
}

/// Skips the counting of [`count_and_return`], which has to follow, for a packet without metadata that does not start
/// with zeros. The offsets are those of `struct __sk_buff` (`linux/bpf.h`).
fn metadata_or_skip() -> Vec<u64> {
    const R0: u64 = 0;
    const R1: u64 = 1;
    const R2: u64 = 2;
    const R3: u64 = 3;
    const R4: u64 = 4;
    vec![
        instruction(0x61, R2, R1, 140, 0), // r2 = r1->data_meta
        instruction(0x61, R3, R1, 76, 0),  // r3 = r1->data
        instruction(0xbf, R4, R2, 0, 0),   // r4 = r2
        instruction(0x07, R4, 0, 0, 8),    // r4 += 8
        instruction(0x2d, R4, R3, 11, 0),  // if r4 > r3 goto +11, where it returns
        instruction(0x79, R0, R2, 0, 0),   // r0 = *(u64 *)r2
        instruction(0x15, R0, 0, 9, 0),    // if r0 == 0 goto +9
    ]
}

/// Sets the mark, whose offset is that of `struct __sk_buff` (`linux/bpf.h`).
fn set_mark(mark: i32) -> Vec<u64> {
    vec![
        instruction(0xb7, 2, 0, 0, mark), // r2 = mark
        instruction(0x63, 1, 2, 8, 0),    // r1->mark = r2
    ]
}

/// Skips the counting of [`count_and_return`], which has to follow, for a packet with another mark.
fn mark_or_skip(mark: i32) -> Vec<u64> {
    vec![
        instruction(0x61, 2, 1, 8, 0),    // r2 = r1->mark
        instruction(0x55, 2, 0, 9, mark), // if r2 != mark goto +9, where it returns
    ]
}

/// Sets CE; skips that and the counting of [`count_and_return`], which has to follow, for a packet shorter than `len`.
fn congestion_or_skip(len: i32) -> Vec<u64> {
    const SKB_ECN_SET_CE: i32 = 97;
    vec![
        instruction(0x61, 2, 1, 0, 0),              // r2 = r1->len
        instruction(0xa5, 2, 0, 10, len),           // if r2 < len goto +10, where it returns
        instruction(0x85, 0, 0, 0, SKB_ECN_SET_CE), // skb_ecn_set_ce(r1)
    ]
}

/// Adds 1 to the value at key 0 of the array, and returns `verdict`.
fn count_and_return(counter: i32, verdict: i32) -> Vec<u64> {
    const R0: u64 = 0;
    const R1: u64 = 1;
    const R2: u64 = 2;
    const R10: u64 = 10;
    const PSEUDO_MAP_FD: u64 = 1;
    const MAP_LOOKUP_ELEM: i32 = 1;
    const NEXT_PART: u64 = 0;
    vec![
        instruction(0x62, R10, 0, -4, 0),                 // *(u32 *)(r10 - 4) = 0
        instruction(0xbf, R2, R10, 0, 0),                 // r2 = r10
        instruction(0x07, R2, 0, 0, -4),                  // r2 += -4
        instruction(0x18, R1, PSEUDO_MAP_FD, 0, counter), // r1 = the array
        instruction(NEXT_PART, 0, 0, 0, 0),
        instruction(0x85, 0, 0, 0, MAP_LOOKUP_ELEM), // r0 = map_lookup_elem(r1, r2)
        instruction(0x15, R0, 0, 2, 0),              // if r0 == 0 goto +2
        instruction(0xb7, R1, 0, 0, 1),              // r1 = 1
        instruction(0xdb, R0, R1, 0, 0),             // lock *(u64 *)r0 += r1
        instruction(0xb7, R0, 0, 0, verdict),        // r0 = verdict
        instruction(0x95, 0, 0, 0, 0),               // exit
    ]
}
