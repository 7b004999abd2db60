//! Stations that are seen for the first time, or not where they were seen last: the rare part of learning, a function of
//! its own so that the programs that learn stay short.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_get_prandom_u32, programs::TcContext};
use aya_log_ebpf::warn;
use overlay_common::{
    MacAddr, Vni,
    explain::{Learning, Step},
    maps::{
        event::Kind,
        fdb::{FdbEntry, FdbKey, Origin, Place, Standing},
    },
};

use crate::{
    clock, explain,
    maps::{
        ageing,
        counters::{self, Unlearned},
        fdb::{self, NotAdded},
        learned, ports, segments,
    },
    reclaim,
    skb::Skb,
    watch,
};

/// A station that is not where it is known to be.
#[derive(Clone, Copy)]
struct Sighting {
    vni: Vni,
    source: MacAddr,
    place: Place,
    /// When it was seen, nanoseconds of the monotonic clock.
    now: u64,
}

/// What came of a sighting: what is told of it, or nothing. A number, which is what a function that is exported can return.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct News(u32);

impl News {
    const NOTHING: Self = Self(u32::MAX);
    /// There is an entry for the station.
    const KNOWN: Self = Self(u32::MAX - 2);
    /// The station was learned.
    const LEARNED: Self = Self(Kind::Learned as u32);
    /// The station was learned, but there was no room in the queue of those that age.
    const UNQUEUED: Self = Self(u32::MAX - 1);
    /// The station moved.
    const MOVED: Self = Self(Kind::Moved as u32);
    /// The station moved once too often.
    const FLAPS: Self = Self(Kind::Flaps as u32);
    /// A limit did not let the station be learned, or moved.
    const LIMITED: Self = Self(Kind::Limit as u32);
    /// There was no room for the station.
    const NO_ROOM: Self = Self(Kind::Full as u32);

    /// The same for who explains.
    #[inline(always)]
    fn learning(self) -> Learning {
        match self {
            Self::LEARNED | Self::UNQUEUED => Learning::Learned,
            Self::MOVED => Learning::Moved,
            Self::FLAPS => Learning::Flaps,
            Self::NO_ROOM | Self::LIMITED => Learning::NoRoom,
            _ => Learning::Kept,
        }
    }
}

/// Notes that a station was seen at `place`: learns it or moves it, as far as the settings and limits of its segment and port
/// allow it.
#[inline(always)]
pub(crate) fn note(skb: &Skb, vni: Vni, source: MacAddr, place: Place) {
    note_station(skb.raw(), source.word(), Standing::learned_at(vni, place).word());
}

// Functions of their own, whose stacks do not add up. They are exported, so that the verifier walks each once.

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn note_station(skb: *mut __sk_buff, mac: u64, standing: u64) -> u32 {
    let news = match News(learn_station(mac, standing)) {
        News::KNOWN => News(move_station(mac, standing)),
        news => news,
    };
    follow_up(skb, mac, standing, news.0)
}

/// Learns a station that is not known, as far as the limits of its segment and port allow it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn learn_station(mac: u64, standing: u64) -> u32 {
    Sighting::read(mac, standing).map_or(News::NOTHING, |sighting| sighting.learn()).0
}

/// Moves one that is known, unless it has to stay.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn move_station(mac: u64, standing: u64) -> u32 {
    Sighting::read(mac, standing).map_or(News::NOTHING, |sighting| sighting.compare()).0
}

/// Does what these left to do: tells what is new, and makes room where stations have aged, so that what could not be
/// learned can be next time.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn follow_up(skb: *mut __sk_buff, mac: u64, standing: u64, news: u32) -> u32 {
    if let Some(sighting) = Sighting::read(mac, standing) {
        sighting.follow_up(&Skb::new(TcContext::new(skb)), News(news));
    }
    0
}

impl Sighting {
    /// One that was passed as numbers: the address, and where the station is and in which segment.
    #[inline(always)]
    fn read(mac: u64, standing: u64) -> Option<Self> {
        let standing = Standing::from_word(standing);
        let vni = standing.vni()?;
        Some(Self { vni, source: MacAddr::from_word(mac), place: standing.place(vni)?, now: clock::now() })
    }

    #[inline(always)]
    fn follow_up(&self, skb: &Skb, news: News) {
        explain::note(|| Step::Learn(Some(self.vni), news.learning()));
        if news == News::NOTHING {
            return;
        }
        let told = if news == News::UNQUEUED { News::LEARNED } else { news };
        watch::station(skb, told.0 as u8, self.vni, self.source, self.place);
        match news {
            News::FLAPS => {
                warn!(skb, "VNI {}: {:mac} flaps: it moves too often", self.vni.get(), self.source.bytes());
            }
            News::NO_ROOM | News::LIMITED => reclaim::when_due(skb, self.now),
            News::UNQUEUED => {
                reclaim::reclaim::<false>(skb, self.now);
                if let Some(entry) = fdb::entry_mut(self.vni, self.source)
                    && entry.origin() == Origin::Learned
                {
                    let element = FdbKey::new(self.vni, self.source).with_tag(entry.tag());
                    reclaim::put_back::<false>(skb, self.vni, element, entry);
                }
            }
            _ => {}
        }
    }

    #[inline(always)]
    fn learn(&self) -> News {
        let Some(segment) = segments::get(self.vni) else { return News::NOTHING };
        if fdb::entry_mut(self.vni, self.source).is_some() {
            return News::KNOWN;
        }
        let Some(in_segment) = learned::of_segment(self.vni) else { return News::NOTHING };
        if !in_segment.take(segment.learn_limit()) {
            return self.refuse(Unlearned::Limit);
        }
        if !self.take_port() {
            in_segment.give_back();
            return self.refuse(Unlearned::Limit);
        }
        // SAFETY: the helper takes nothing.
        let tag = unsafe { bpf_get_prandom_u32() } as u16;
        let key = FdbKey::new(self.vni, self.source);
        let entry = FdbEntry::new(self.vni, self.place, Origin::Learned, self.now).with_tag(tag);
        let added = fdb::add(key, entry);
        if added.is_err() {
            in_segment.give_back();
            learned::leave_port(self.place);
        }
        match added {
            Ok(()) if ageing::push(key.with_tag(tag)) => News::LEARNED,
            Ok(()) => News::UNQUEUED,
            Err(NotAdded::Known) => News::NOTHING,
            Err(NotAdded::Full | NotAdded::Busy) => self.refuse(Unlearned::Full),
        }
    }

    #[inline(always)]
    fn compare(&self) -> News {
        let Some(segment) = segments::get(self.vni) else { return News::NOTHING };
        let Some(entry) = fdb::entry_mut(self.vni, self.source) else { return News::NOTHING };
        let seen = entry.standing();
        // None: it is being removed just now.
        let Some(place) = seen.place(self.vni) else { return News::NOTHING };
        let is_same_port = place.port().is_some() && place.port() == self.place.port();
        if seen.origin() != Origin::Learned {
            if !is_same_port && place != self.place {
                counters::unlearned(self.vni, Unlearned::Unmoved);
            }
            return News::NOTHING;
        }
        if is_same_port {
            fdb::put_at(entry, seen, self.vni, self.place);
            return News::NOTHING;
        }
        let rule = segment.flap_rule();
        let is_aged = entry.is_aged(segment.ageing(), self.now);
        if !is_aged && entry.is_frozen(rule, self.now) {
            counters::unlearned(self.vni, Unlearned::Unmoved);
            return News::NOTHING;
        }
        if !is_aged && entry.freeze_instead(rule, self.now) {
            counters::unlearned(self.vni, Unlearned::Unmoved);
            counters::unlearned(self.vni, Unlearned::Flaps);
            return News::FLAPS;
        }
        if !self.take_port() {
            return self.refuse(Unlearned::Unmoved);
        }
        if !fdb::put_at(entry, seen, self.vni, self.place) {
            learned::leave_port(self.place);
            return News::NOTHING;
        }
        learned::leave_port(place);
        watch::moves_from(place);
        entry.touch(self.now);
        if is_aged {
            entry.forget_moves();
            return News::LEARNED;
        }
        if !entry.count_move(rule, self.now) {
            return News::MOVED;
        }
        counters::unlearned(self.vni, Unlearned::Flaps);
        News::FLAPS
    }

    /// Counts a station behind the port that it was seen at, if it was at one; whether the port's limit allows it.
    #[inline(always)]
    fn take_port(&self) -> bool {
        let Some(device) = self.place.port() else { return true };
        let (Some(port), Some(count)) = (ports::get(device), learned::of_port(device)) else {
            return false;
        };
        count.take(port.learn_limit())
    }

    /// Counts what was not done.
    #[inline(always)]
    fn refuse(&self, what: Unlearned) -> News {
        counters::unlearned(self.vni, what);
        if matches!(what, Unlearned::Full) { News::NO_ROOM } else { News::LIMITED }
    }
}
