//! Putting captured packets together: what a program saw, and what became of it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use overlay_common::{
    DropReason, Vni,
    maps::event::{Event, Kind, Verdict},
};

use super::{
    Heard,
    names::{Names, Place},
    sight,
};

/// How long a packet's verdicts are waited for: they come with it, but not always in one look at the buffers.
const PATIENCE: Duration = Duration::from_millis(100);

/// A packet, and what became of it.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When a program saw it first.
    pub time: SystemTime,
    /// The same by the monotonic clock, in nanoseconds: nobody sets that.
    pub order: u64,
    /// The device that it came by.
    pub device: String,
    /// What there is of it.
    pub packet: Vec<u8>,
    /// How long it was.
    pub len: u32,
    /// Its segment, if that is known.
    pub vni: Option<Vni>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Where it went, or copies of it.
    pub places: Vec<Place>,
    /// Why it, or a copy, was dropped.
    pub drops: Vec<DropReason>,
    /// It was answered here.
    pub is_answered: bool,
    is_passed: bool,
}

/// What to show of what was captured.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only what is of that segment.
    pub vni: Option<Vni>,
    /// Only what came by that device, or goes to that port.
    pub device: Option<String>,
    /// Only what was dropped.
    pub drops: bool,
}

/// Packets whose verdicts are still to come.
#[derive(Default)]
pub struct Assembly {
    waiting: Vec<Waiting>,
    /// The UDP port of tunnels, host byte order.
    port: u16,
}

struct Waiting {
    cpu: usize,
    number: u32,
    captured: Captured,
}

impl Assembly {
    /// Nothing yet; tunnel packets go to that UDP port, host byte order.
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self { waiting: Vec::new(), port }
    }

    /// Takes what was heard, in order; the packets that are complete by that.
    pub fn put(&mut self, heard: Vec<Heard>, names: &mut Names) -> Vec<Captured> {
        let mut complete = Vec::new();
        for Heard { time, cpu, event, packet } in heard {
            match Kind::from_code(event.kind) {
                Some(Kind::Frame) => {
                    complete.extend(self.end(|waiting| waiting.cpu == cpu));
                    let captured = self.begin(time, &event, packet, names);
                    self.waiting.push(Waiting { cpu, number: event.number, captured });
                }
                Some(Kind::Verdict) => {
                    let its = |waiting: &&mut Waiting| waiting.cpu == cpu && waiting.number == event.number;
                    if let Some(waiting) = self.waiting.iter_mut().find(its) {
                        waiting.captured.judge(&event, names);
                    }
                }
                Some(Kind::Dropped) => {
                    complete.extend(self.end(|waiting| waiting.cpu == cpu));
                    let mut captured = self.begin(time, &event, packet, names);
                    captured.fate.drops.extend(reason(&event));
                    complete.push(captured);
                }
                _ => {}
            }
        }
        let now = SystemTime::now();
        complete.extend(
            self.end(|waiting| {
                now.duration_since(waiting.captured.time).is_ok_and(|waited| waited > PATIENCE)
            }),
        );
        complete.retain(|captured| !captured.fate.is_passed);
        complete.sort_by_key(|captured| captured.order);
        complete
    }

    /// What is left when nothing more comes.
    pub fn finish(&mut self) -> Vec<Captured> {
        let mut left = self.end(|_| true);
        left.retain(|captured| !captured.fate.is_passed);
        left
    }

    fn end(&mut self, is_over: impl Fn(&Waiting) -> bool) -> Vec<Captured> {
        let (over, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(is_over);
        self.waiting = waiting;
        over.into_iter().map(|waiting: Waiting| waiting.captured).collect()
    }

    fn begin(&self, time: SystemTime, event: &Event, packet: Vec<u8>, names: &mut Names) -> Captured {
        let in_tunnel = sight::tunnel(&packet, self.port).and_then(|tunnel| tunnel.vni);
        let vni = Vni::new(event.vni).or(in_tunnel);
        let device = names.device(event.device);
        Captured { time, order: event.time, device, packet, len: event.len, vni, fate: Fate::default() }
    }
}

fn reason(event: &Event) -> Option<DropReason> {
    DropReason::ALL.get(usize::from(event.reason)).copied()
}

impl Captured {
    fn judge(&mut self, event: &Event, names: &mut Names) {
        self.vni = Vni::new(event.vni).or(self.vni);
        match Verdict::from_code(event.verdict) {
            Some(Verdict::Sent) => self.fate.places.extend(names.place(event.place)),
            Some(Verdict::Dropped) => self.fate.drops.extend(reason(event)),
            Some(Verdict::Answered) => self.fate.is_answered = true,
            Some(Verdict::Passed) => self.fate.is_passed = true,
            None => {}
        }
    }

    /// What became of it, in words, and of which segment it is.
    #[must_use]
    pub fn comment(&self) -> String {
        match self.vni {
            Some(vni) => format!("VNI {vni}, {}", self.fate),
            None => self.fate.to_string(),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.drops.is_empty() {
            match &self.places[..] {
                [] if self.is_answered => parts.push("answered here".to_owned()),
                [] => parts.push("verdict lost".to_owned()),
                [place] => parts.push(format!("to {place}")),
                places => {
                    let places: Vec<_> = places.iter().map(ToString::to_string).collect();
                    parts.push(format!("flooded to {}", places.join(", ")));
                }
            }
        } else {
            parts.extend(self.drops.iter().map(|reason| format!("dropped: {reason}")));
            // What was dropped was on its way to a single place.
            if self.places.len() > 1 {
                let places: Vec<_> = self.places.iter().map(ToString::to_string).collect();
                parts.push(format!("flooded to {}", places.join(", ")));
            }
        }
        f.write_str(&parts.join(", "))
    }
}

impl Filter {
    /// Whether it lets a packet through.
    #[must_use]
    pub fn takes(&self, captured: &Captured) -> bool {
        let Captured { device, vni, fate, .. } = captured;
        self.vni.is_none_or(|only| *vni == Some(only))
            && (!self.drops || !fate.drops.is_empty())
            && self.device.as_ref().is_none_or(|only| {
                let is_to = |place: &Place| matches!(place, Place::Port(name) if name == only);
                device == only || fate.places.iter().any(is_to)
            })
    }
}
