//! The programs that explain: loaded beside the attached ones, never attached themselves. What is only read they share with
//! those; what they write is their own, filled with copies, and goes with them.

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData, ProgramArray},
    programs::{Program, SchedClassifier, TestRun as _, TestRunOptions},
};
use overlay_common::{
    IfIndex, UnderlayAddr,
    explain::{HEAD, MAX_COPIES, MAX_STEPS, Step, Trace},
    maps::{
        admitted::{self, Admitted},
        adopted, ageing,
        answers::{self, Bucket},
        bum_rate::{self, BumRate},
        config, fdb, flood, jump,
        jump::Jump,
        learned::{self, LearnedKey},
        mdb::{self, MdbEntry, MdbKey},
        member::{self, MemberKey},
        neighbour::{self, Neighbour, NeighbourKey},
        next_hop,
        path_mtu::{self, PathMtu},
        port, segment, swept, uplink, vlan,
        vtep::{self, Vtep},
        vtep_ids,
    },
};

use super::{Side, stations::Stations};
use crate::{
    datapath::{ADOPTED_FROM_PORT, FROM_PORT, FROM_UPLINK},
    error::{Context as _, Error, Result},
    instance::Instance,
    maps::copy,
};

/// The compiled programs, with the feature `explain`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overlay-ebpf-explain"));

/// Maps that no program writes.
const SHARED: [&str; 9] = [
    adopted::NAME,
    adopted::PORTS_NAME,
    config::NAME,
    flood::NAME,
    port::NAME,
    segment::NAME,
    uplink::NAME,
    vlan::NAME,
    vlan::TAGS_NAME,
];

/// Maps that only packets from the underlay have written: by VTEPs that come by themselves.
const WRITTEN_BY_ADMISSION: [&str; 3] = [member::NAME, vtep::NAME, vtep_ids::NAME];

/// Maps whose size is a setting.
const SIZED: [&str; 5] = [member::NAME, next_hop::NAME, path_mtu::NAME, vtep::NAME, vtep_ids::NAME];

/// What a frame can grow to.
pub(super) const LARGEST: usize = 1 << 16;

/// The words of `struct __sk_buff` (`include/uapi/linux/bpf.h`), and where in it the indices of the device are.
const CONTEXT_WORDS: usize = 48;
const INGRESS_IFINDEX: usize = 9;
const IFINDEX: usize = 10;

/// Verdicts of TC (`include/uapi/linux/pkt_cls.h`).
pub(super) const TC_ACT_UNSPEC: i32 = -1;
pub(super) const TC_ACT_SHOT: i32 = 2;
pub(super) const TC_ACT_REDIRECT: i32 = 7;

/// Programs that explain, for one frame.
pub(super) struct Programs {
    ebpf: Ebpf,
    side: Side,
    /// The kernel empties a program array that nobody holds.
    jumps: Option<ProgramArray<MapData>>,
}

/// What became of a frame.
pub(super) struct Run {
    /// The program's verdict, as TC has it.
    pub(super) verdict: i32,
    /// The frame afterwards.
    pub(super) frame: Vec<u8>,
    /// What was done, in order.
    pub(super) steps: Vec<Step>,
    /// How the copies begin.
    pub(super) heads: Vec<[u8; HEAD]>,
}

impl Programs {
    /// Loads those that a frame from that side can meet, with these stations.
    pub(super) fn load(instance: &Instance, side: Side, stations: &Stations) -> Result<Self> {
        let mut programs = Self::load_maps(instance, side, stations)?;
        programs.link(side)?;
        Ok(programs)
    }

    /// Their maps, filled with what a frame from that side can meet.
    pub(super) fn load_maps(instance: &Instance, side: Side, stations: &Stations) -> Result<Self> {
        let entries = stations.entries();
        let mut loader = EbpfLoader::new();
        for name in SHARED.into_iter().chain(side.also_shared()) {
            loader.map_pin_path(name, instance.maps().join(name));
        }
        for name in SIZED {
            loader.map_max_entries(name, copy::room(instance, name)?);
        }
        // As much room for the frame's source as there is in the real one: some, or none.
        let count = u32::try_from(entries.len()).context(|| "cannot count stations")?;
        loader.map_max_entries(fdb::NAME, if stations.fill_the_fdb() { count.max(1) } else { count + 1 });
        loader.map_max_entries(ageing::NAME, AGEING_ROOM);
        let mut ebpf = loader.load(OBJECT).context(|| "cannot load the maps of the explaining programs")?;
        copy::fill(&mut ebpf, fdb::NAME, entries)?;
        copy::fill(&mut ebpf, adopted::STATIONS_NAME, stations.adopted())?;
        fill(instance, &mut ebpf)?;
        if side == Side::Uplink {
            fill_for_admission(instance, &mut ebpf)?;
        }
        Ok(Self { ebpf, side, jumps: None })
    }

    /// Loads the entry and what it can jump to.
    fn link(&mut self, side: Side) -> Result<()> {
        self.load_one(side.entry())?;
        let mut jumps = self.take_jumps(jump::NAME)?;
        for jump in Jump::ALL.into_iter().filter(|jump| side.reaches(*jump)) {
            let name = jump.program();
            let what = || format!("cannot link explaining program {name}");
            if name != side.entry() {
                self.load_one(name)?;
            }
            let fd = self.classifier(name)?.fd().context(what)?;
            jumps.set(jump.index(), fd, 0).context(what)?;
        }
        self.keep(jumps);
        Ok(())
    }

    /// The programs' own array of that name.
    pub(super) fn take_jumps(&mut self, name: &str) -> Result<ProgramArray<MapData>> {
        let jumps = self.ebpf.take_map(name).ok_or_else(incomplete)?;
        jumps.try_into().context(|| format!("cannot use map {name}"))
    }

    pub(super) fn keep(&mut self, jumps: ProgramArray<MapData>) {
        self.jumps = Some(jumps);
    }

    pub(super) fn program(&mut self, name: &str) -> Option<&mut Program> {
        self.ebpf.program_mut(name)
    }

    fn load_one(&mut self, name: &str) -> Result<()> {
        self.classifier(name)?.load().context(|| format!("cannot load explaining program {name}"))
    }

    fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        match self.ebpf.program_mut(name) {
            Some(Program::SchedClassifier(program)) => Ok(program),
            _ => Err(incomplete()),
        }
    }

    /// Runs them once on a frame that `device` received.
    pub(super) fn run(mut self, device: IfIndex, frame: &[u8]) -> Result<Run> {
        let mut context = [0_u32; CONTEXT_WORDS];
        (context[INGRESS_IFINDEX], context[IFINDEX]) = (device.get(), device.get());
        let mut out = vec![0; LARGEST];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut out);
        options.ctx_in = Some(bytemuck::cast_slice(&context));
        let entry = self.side.entry();
        let result = self.classifier(entry)?.test_run(options).map_err(|error| {
            Error::failed(format!("the kernel runs no program on a frame of {} bytes", frame.len()), error)
        })?;
        out.truncate(result.data_size_out as usize);
        self.told(result.return_value.cast_signed(), out)
    }

    /// What they wrote down, of a frame that they left like that.
    pub(super) fn told(&self, verdict: i32, frame: Vec<u8>) -> Result<Run> {
        let map = self.ebpf.map(TRACE).ok_or_else(incomplete)?;
        let trace: Array<_, Trace> = map.try_into().context(|| "cannot use the trace")?;
        let trace = trace.get(&0, 0).context(|| "cannot read the trace")?;
        let count = trace.step_count as usize;
        let steps = trace.steps[..count.min(MAX_STEPS)].iter().filter_map(|record| record.step()).collect();
        Ok(Run {
            verdict,
            frame,
            steps,
            heads: trace.copies[..(trace.copy_count as usize).min(MAX_COPIES)].to_vec(),
        })
    }
}

/// The section of the programs' own variables, which is a map of that name.
const TRACE: &str = ".bss";

/// Stations that wait to age: none but the one that may be learned.
const AGEING_ROOM: u32 = 16;

pub(super) fn incomplete() -> Error {
    Error::Failed("the compiled programs that explain are not complete".to_owned())
}

impl Side {
    /// The program that it comes to first.
    pub(super) const fn entry(self) -> &'static str {
        match self {
            Self::Port => FROM_PORT,
            Self::Member => ADOPTED_FROM_PORT,
            Self::Uplink => FROM_UPLINK,
        }
    }

    /// What programs of that side only read, though others write it.
    fn also_shared(self) -> impl Iterator<Item = &'static str> {
        WRITTEN_BY_ADMISSION.into_iter().filter(move |_| self != Self::Uplink)
    }

    /// Whether a frame from that side can meet a program.
    const fn reaches(self, jump: Jump) -> bool {
        match jump {
            Jump::ForwardFromPort
            | Jump::FloodFromPort
            | Jump::FloodToTunnels
            | Jump::TaggedFromPort
            | Jump::SuppressFromPort
            | Jump::TooBigFromPort
            | Jump::ClampMssFromPort
            | Jump::GroupsFromPort => matches!(self, Self::Port),
            Jump::ForwardFromTunnel
            | Jump::FloodFromTunnel
            | Jump::TaggedFromUplink
            | Jump::SnoopFromTunnel
            | Jump::PathMtuFromUplink
            | Jump::ClampMssFromTunnel
            | Jump::FromUplink
            | Jump::AdmitFromUplink
            | Jump::GroupsFromTunnel
            | Jump::TransitFromUplink
            | Jump::UnwrapFromUplink
            | Jump::TransitFromTunnel
            | Jump::TooBigFromTunnel
            | Jump::AdoptedFromUplink => matches!(self, Self::Uplink),
            Jump::ForwardAdopted => matches!(self, Self::Member),
            Jump::DeliverToPort => true,
            // Nobody captures what is explained.
            Jump::CaptureFromPort | Jump::CaptureFromUplink => false,
        }
    }
}

/// Copies what programs of either side write and go by. Caches, counters and the generation begin empty.
fn fill(instance: &Instance, ebpf: &mut Ebpf) -> Result<()> {
    copy::hash::<LearnedKey, u64>(instance, ebpf, learned::NAME)?;
    copy::hash::<NeighbourKey, Neighbour>(instance, ebpf, neighbour::NAME)?;
    copy::hash::<MdbKey, MdbEntry>(instance, ebpf, mdb::NAME)?;
    copy::hash::<u32, BumRate>(instance, ebpf, bum_rate::NAME)?;
    copy::hash::<u32, Bucket>(instance, ebpf, answers::NAME)?;
    copy::array::<PathMtu>(instance, ebpf, path_mtu::NAME)?;
    copy::array::<u64>(instance, ebpf, swept::NAME)?;
    copy::array::<u64>(instance, ebpf, ageing::RECLAIMED)
}

fn fill_for_admission(instance: &Instance, ebpf: &mut Ebpf) -> Result<()> {
    copy::hash::<MemberKey, u32>(instance, ebpf, member::NAME)?;
    copy::hash::<UnderlayAddr, u32>(instance, ebpf, vtep_ids::NAME)?;
    copy::hash::<MemberKey, Admitted>(instance, ebpf, admitted::NAME)?;
    copy::array::<Vtep>(instance, ebpf, vtep::NAME)?;
    copy::head(instance, ebpf, admitted::FREE_NAME)
}
