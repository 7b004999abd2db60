//! Loading the programs and pinning them and their maps.

use std::fs;

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{MapData, ProgramArray},
    programs::{Program, ProgramError, SchedClassifier, Xdp},
};
use aya_obj::programs::XdpAttachType;
use overlay_common::maps::{
    admitted, adopted, ageing, answers, bum_rate, config, counters, drops, event, fdb, flood, flow, jump,
    jump::Jump, learned, learned::LearnedKey, mdb, member, neighbour, next_hop, notices, path_mtu, port,
    segment, swept, tally, uplink, vlan, vtep, vtep_ids,
};

use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
    maps,
};

/// The compiled programs.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overlay-ebpf"));

/// The maps, all of which are pinned under their own names.
const MAPS: [&str; 41] = [
    admitted::NAME,
    admitted::FREE_NAME,
    adopted::NAME,
    adopted::PORTS_NAME,
    adopted::STATIONS_NAME,
    ageing::NAME,
    ageing::RECLAIMED,
    answers::NAME,
    bum_rate::NAME,
    config::NAME,
    counters::NAME,
    drops::NAME,
    event::NAMES[0],
    event::NAMES[1],
    event::NAMES[2],
    event::NAMES[3],
    event::LISTENERS,
    event::DESK,
    event::LOST,
    event::RATES,
    fdb::NAME,
    flood::NAME,
    flow::GENERATION,
    learned::NAME,
    jump::NAME,
    jump::XDP_NAME,
    mdb::NAME,
    member::NAME,
    neighbour::NAME,
    next_hop::NAME,
    notices::NAME,
    path_mtu::NAME,
    port::NAME,
    segment::NAME,
    swept::NAME,
    tally::NAME,
    uplink::NAME,
    vlan::NAME,
    vlan::TAGS_NAME,
    vtep::NAME,
    vtep_ids::NAME,
];

/// TC ingress of a port.
pub const FROM_PORT: &str = "from_port";
/// TC ingress of an uplink.
pub const FROM_UPLINK: &str = "from_uplink";
/// XDP on an uplink, the driver's hook.
pub const FROM_UPLINK_XDP: &str = "from_uplink_xdp";
/// XDP on an uplink, the generic hook.
pub const FROM_UPLINK_XDP_GENERIC: &str = "from_uplink_xdp_generic";
/// TC ingress of a member of a bridge that an adopted `vxlan` device is in, or TC egress of one that is in none.
pub const ADOPTED_FROM_PORT: &str = "adopted_from_port";
/// TC ingress of the exit of the pair that cuts packets up.
pub const CHECKSUM_CUT: &str = "checksum_cut";

/// TC ingress of the devices that only have the kernel listen for tunnel packets.
pub const FROM_LISTENER: &str = "from_listener";

/// Removes FDB entries; no hook runs it, but commands do.
pub const FDB_REMOVE: &str = "fdb_remove";
/// Puts entries into the FDB, or removes some; run by commands too.
pub const FDB_EDIT: &str = "fdb_edit";
/// Removes some of the stations that have aged; run by commands too.
pub const FDB_SWEEP: &str = "fdb_sweep";
/// Puts or removes a neighbour; run by commands too.
pub const NEIGH_EDIT: &str = "neigh_edit";
/// Has packets captured from now on; run by commands too.
pub const CAPTURE_BEGIN: &str = "capture_begin";

/// How much there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Stations.
    pub stations: u32,
    /// Remote VTEPs that commands name, [`vtep::MOST_NAMED`] at most.
    pub vteps: u32,
}

/// Loads programs and maps, with room for so much, and pins them in a new instance.
///
/// # Errors
///
/// Fails if the kernel refuses a program or a map.
pub fn load(instance: &Instance, room: Room) -> Result<()> {
    let mut loader = EbpfLoader::new();
    size(&mut loader, room);
    for name in MAPS {
        loader.map_pin_path(name, instance.maps().join(name));
    }
    let mut ebpf = loader.load(OBJECT).context(|| "cannot load the maps")?;
    load_programs(instance, &mut ebpf, |name| !is_for_capture(name))?;
    maps::admitted::fill(instance)?;
    fill_jumps(&mut ebpf, |jump| !jump.is_for_capture())?;
    fill_xdp_jumps(&mut ebpf)?;
    maps::create(instance)?;
    maps::learned::start(instance, LearnedKey::all_neighbours())
}

/// Loads the programs that packets go through while somebody captures, if that was not done before. The instance is locked.
///
/// # Errors
///
/// Fails if the kernel refuses one.
pub fn load_capture(instance: &Instance) -> Result<()> {
    // It is pinned last.
    if instance.programs().join(CAPTURE_BEGIN).exists() {
        return Ok(());
    }
    for name in CAPTURE {
        // Of a load that was cut off.
        let _ = fs::remove_file(instance.programs().join(name));
    }
    let mut loader = EbpfLoader::new();
    for name in MAPS {
        loader.map_pin_path(name, instance.maps().join(name));
    }
    let mut ebpf = loader.load(OBJECT).context(|| "cannot use the maps")?;
    load_programs(instance, &mut ebpf, |name| is_for_capture(name) && name != CAPTURE_BEGIN)?;
    fill_jumps(&mut ebpf, Jump::is_for_capture)?;
    load_programs(instance, &mut ebpf, |name| name == CAPTURE_BEGIN)
}

/// Loads and pins some of the programs.
fn load_programs(instance: &Instance, ebpf: &mut Ebpf, which: impl Fn(&str) -> bool) -> Result<()> {
    for (name, program) in ebpf.programs_mut().filter(|(name, _)| which(name)) {
        let path = instance.programs().join(name);
        let outcome = match program {
            Program::Xdp(program) => program.load().and_then(|()| pin(program.pin(path))),
            Program::SchedClassifier(program) => program.load().and_then(|()| pin(program.pin(path))),
            _ => Ok(()),
        };
        outcome.context(|| format!("cannot load program {name}"))?;
    }
    Ok(())
}

/// The programs that are loaded only when somebody captures, in this order.
const CAPTURE: [&str; 3] =
    [Jump::CaptureFromPort.program(), Jump::CaptureFromUplink.program(), CAPTURE_BEGIN];

fn is_for_capture(name: &str) -> bool {
    CAPTURE.contains(&name)
}

/// Says how large the maps are to be.
fn size(loader: &mut EbpfLoader<'_>, room: Room) {
    let vteps = vtep::slots(room.vteps);
    let tunnels = vteps.saturating_mul(member::OF_EACH_VTEP);
    for (name, entries) in [
        (fdb::NAME, room.stations),
        (ageing::NAME, room.stations),
        (vtep::NAME, vteps),
        (vtep_ids::NAME, vteps),
        (path_mtu::NAME, vteps),
        (next_hop::NAME, next_hop::slots(vteps)),
        (member::NAME, tunnels),
        (counters::NAME, counters::entries(tunnels)),
    ] {
        loader.map_max_entries(name, entries);
    }
}

/// Puts those of the programs that others jump to into their slots.
fn fill_jumps(ebpf: &mut Ebpf, which: impl Fn(Jump) -> bool) -> Result<()> {
    let mut jumps = program_array(ebpf, jump::NAME)?;
    for jump in Jump::ALL.into_iter().filter(|jump| which(*jump)) {
        let name = jump.program();
        let Some(Program::SchedClassifier(program)) = ebpf.program(name) else {
            return Err(missing());
        };
        let what = || format!("cannot link program {name}");
        jumps.set(jump.index(), program.fd().context(what)?, 0).context(what)?;
    }
    Ok(())
}

/// The same for those of XDP.
fn fill_xdp_jumps(ebpf: &mut Ebpf) -> Result<()> {
    let mut jumps = program_array(ebpf, jump::XDP_NAME)?;
    let Some(Program::Xdp(program)) = ebpf.program(jump::TRANSIT_XDP) else {
        return Err(missing());
    };
    let what = || format!("cannot link program {}", jump::TRANSIT_XDP);
    jumps.set(0, program.fd().context(what)?, 0).context(what)
}

fn program_array(ebpf: &mut Ebpf, name: &str) -> Result<ProgramArray<MapData>> {
    let map = ebpf.take_map(name).ok_or_else(missing)?;
    map.try_into().context(|| format!("cannot use map {name}"))
}

fn missing() -> Error {
    Error::Failed("the compiled programs are not complete".to_owned())
}

/// The kernel's id of a pinned TC program.
///
/// # Errors
///
/// Fails if it is gone.
pub fn classifier_id(instance: &Instance, name: &str) -> Result<u32> {
    classifier(instance, name)?.info().map(|info| info.id()).context(|| format!("cannot find program {name}"))
}

/// The kernel's id of a pinned XDP program.
///
/// # Errors
///
/// Fails if it is gone.
pub fn xdp_id(instance: &Instance, name: &str) -> Result<u32> {
    xdp(instance, name)?.info().map(|info| info.id()).context(|| format!("cannot find program {name}"))
}

fn pin(pinned: Result<(), aya::pin::PinError>) -> Result<(), ProgramError> {
    pinned.map_err(|error| ProgramError::IOError(std::io::Error::other(error)))
}

/// Opens a pinned TC program.
///
/// # Errors
///
/// Fails if it is gone.
pub fn classifier(instance: &Instance, name: &str) -> Result<SchedClassifier> {
    SchedClassifier::from_pin(instance.programs().join(name))
        .context(|| format!("cannot open program {name}"))
}

/// Opens a pinned XDP program.
///
/// # Errors
///
/// Fails if it is gone.
pub fn xdp(instance: &Instance, name: &str) -> Result<Xdp> {
    Xdp::from_pin(instance.programs().join(name), XdpAttachType::Interface)
        .context(|| format!("cannot open program {name}"))
}
