//! Loading the programs and pinning them and their maps.

use aya::{
    EbpfLoader, include_bytes_aligned,
    programs::{ProgramError, SchedClassifier, Xdp},
};
use aya_obj::programs::XdpAttachType;
use overlay_common::maps::{
    ageing, config, counters, drops, fdb, flood, learned, member, next_hop, port, segment, uplink, vtep,
};

use crate::{
    error::{Context as _, Result},
    instance::Instance,
};

/// The compiled programs.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overlay-ebpf"));

/// The maps, all of which are pinned under their own names.
const MAPS: [&str; 14] = [
    ageing::NAME,
    ageing::RECLAIMED,
    config::NAME,
    counters::NAME,
    drops::NAME,
    fdb::NAME,
    flood::NAME,
    learned::NAME,
    member::NAME,
    next_hop::NAME,
    port::NAME,
    segment::NAME,
    uplink::NAME,
    vtep::NAME,
];

/// TC ingress of a port.
pub const FROM_PORT: &str = "from_port";
/// TC ingress of an uplink.
pub const FROM_UPLINK: &str = "from_uplink";
/// XDP on an uplink, the driver's hook.
pub const FROM_UPLINK_XDP: &str = "from_uplink_xdp";
/// XDP on an uplink, the generic hook.
pub const FROM_UPLINK_XDP_GENERIC: &str = "from_uplink_xdp_generic";

/// Removes FDB entries; no hook runs it, but commands do.
pub const FDB_REMOVE: &str = "fdb_remove";

/// Loads programs and maps, with room for `fdb_entries` stations, and pins them in a new instance.
///
/// # Errors
///
/// Fails if the kernel refuses a program or a map.
pub fn load(instance: &Instance, fdb_entries: u32) -> Result<()> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries(fdb::NAME, fdb_entries);
    loader.map_max_entries(ageing::NAME, fdb_entries);
    for name in MAPS {
        loader.map_pin_path(name, instance.maps().join(name));
    }
    let mut ebpf = loader.load(OBJECT).context(|| "cannot load the maps")?;
    for (name, program) in ebpf.programs_mut() {
        let path = instance.programs().join(name);
        let outcome = match program {
            aya::programs::Program::Xdp(program) => program.load().and_then(|()| pin(program.pin(path))),
            aya::programs::Program::SchedClassifier(program) => {
                program.load().and_then(|()| pin(program.pin(path)))
            }
            _ => Ok(()),
        };
        outcome.context(|| format!("cannot load program {name}"))?;
    }
    Ok(())
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
