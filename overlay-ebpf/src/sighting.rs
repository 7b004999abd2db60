//! Stations that are seen for the first time, or not where they were seen last: the rare part of learning, a function of
//! its own so that the programs that learn stay short.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_log_ebpf::{debug, info, warn};
use overlay_common::{
    MacAddr, Vni,
    maps::{
        fdb::{FdbEntry, FdbKey, Origin, Place},
        segment::Segment,
    },
};

use crate::{
    maps::{
        ageing,
        counters::{self, Unlearned},
        fdb::{self, NotAdded},
        learned, ports, segments,
    },
    reclaim,
    skb::Skb,
};

/// A station that is not where it is known to be.
pub(crate) struct Sighting<'a> {
    pub(crate) skb: &'a Skb,
    pub(crate) vni: Vni,
    pub(crate) source: MacAddr,
    pub(crate) place: Place,
    /// When it was seen, nanoseconds of the monotonic clock.
    pub(crate) now: u64,
}

/// Learns a station or moves it, as far as the settings and limits of its segment and port allow it.
#[inline(never)]
pub(crate) fn judge(sighting: &Sighting<'_>) {
    let Some(segment) = segments::get(sighting.vni) else { return };
    match fdb::entry_mut(sighting.vni, sighting.source) {
        None => sighting.learn(segment),
        Some(entry) => sighting.compare(segment, entry),
    }
}

impl Sighting<'_> {
    #[inline(always)]
    fn learn(&self, segment: Segment) {
        let Some(in_segment) = learned::of_segment(self.vni) else { return };
        if !in_segment.take(segment.learn_limit()) {
            return self.refuse(Unlearned::Limit);
        }
        match self.take_port() {
            Ok(()) => {}
            Err(what) => {
                in_segment.give_back();
                return self.refuse(what);
            }
        }
        // SAFETY: the helper takes nothing.
        let tag = unsafe { bpf_get_prandom_u32() } as u16;
        let key = FdbKey::new(self.vni, self.source);
        let entry = FdbEntry::new(self.vni, self.place, Origin::Learned, self.now).with_tag(tag);
        let added = fdb::add(key, entry);
        if added.is_err() {
            in_segment.give_back();
            self.give_port_back(self.place);
        }
        match added {
            Ok(()) => {
                if !ageing::push(key.with_tag(tag)) {
                    reclaim::reclaim(self.now);
                    ageing::push_over(key.with_tag(tag));
                }
                debug!(self.skb, "VNI {}: learned {:mac}", self.vni.get(), self.source.bytes());
            }
            Err(NotAdded::Known) => {}
            Err(NotAdded::Full) => self.refuse(Unlearned::Full),
        }
    }

    /// Moves a learned entry, unless it has to stay.
    #[inline(always)]
    fn compare(&self, segment: Segment, entry: &mut FdbEntry) {
        let seen = entry.standing();
        // None: it is being removed just now.
        let Some(place) = seen.place(self.vni) else { return };
        let is_same_port = place.port().is_some() && place.port() == self.place.port();
        if seen.origin() != Origin::Learned {
            if !is_same_port && place != self.place {
                counters::unlearned(self.vni, Unlearned::Unmoved);
            }
            return;
        }
        if is_same_port {
            fdb::put_at(entry, seen, self.vni, self.place);
            return;
        }
        let rule = segment.flap_rule();
        let is_aged = entry.is_aged(segment.ageing(), self.now);
        if !is_aged && entry.is_frozen(rule, self.now) {
            return counters::unlearned(self.vni, Unlearned::Unmoved);
        }
        if self.take_port().is_err() {
            return self.refuse(Unlearned::Unmoved);
        }
        if !fdb::put_at(entry, seen, self.vni, self.place) {
            return self.give_port_back(self.place);
        }
        self.give_port_back(place);
        entry.touch(self.now);
        if is_aged {
            return entry.forget_moves();
        }
        info!(self.skb, "VNI {}: {:mac} moved", self.vni.get(), self.source.bytes());
        if entry.count_move(rule, self.now) {
            counters::unlearned(self.vni, Unlearned::Flaps);
            let (vni, mac) = (self.vni.get(), self.source.bytes());
            warn!(self.skb, "VNI {}: {:mac} flaps: {} moves within {} s", vni, mac, rule.moves, rule.window);
        }
    }

    /// Counts a station behind the port that it was seen at, if any.
    #[inline(always)]
    fn take_port(&self) -> Result<(), Unlearned> {
        let Some(device) = self.place.port() else { return Ok(()) };
        let (Some(port), Some(count)) = (ports::get(device), learned::of_port(device)) else {
            return Err(Unlearned::Limit);
        };
        if count.take(port.learn_limit()) { Ok(()) } else { Err(Unlearned::Limit) }
    }

    /// Counts a station less behind the port of a place, if it is one.
    #[inline(always)]
    fn give_port_back(&self, place: Place) {
        if let Some(count) = place.port().and_then(learned::of_port) {
            count.give_back();
        }
    }

    /// Counts what was not done, and makes room where stations have aged, so that it can be done next time.
    #[inline(always)]
    fn refuse(&self, what: Unlearned) {
        counters::unlearned(self.vni, what);
        reclaim::when_due(self.now);
    }
}
