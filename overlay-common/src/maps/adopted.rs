//! `ADOPTED`, `ADOPTED_PORTS` and `ADOPTED_STATIONS`: segments of the kernel's `vxlan` devices whose known frames the programs
//! forward, while the kernel has all others.
//!
//! Such a segment is not in `SEGMENTS`: to all other programs and commands it is the kernel's. It is served until its *lease* is over,
//! which whoever follows the kernel's FDB renews. What the programs know of it is what the kernel's bridge and `vxlan` device know,
//! or the device alone where it is in no bridge and the host sends by it. Every now and then the programs leave the kernel a frame of each station, so that it does not forget those.

use bytemuck::{Pod, Zeroable};

use super::{
    fdb::{Origin, Place, Standing},
    map_data,
    segment::Segment,
};
use crate::{IfIndex, Vni};

/// The map's name: a hash of VNI (`u32`) to [`Adopted`].
pub const NAME: &str = "ADOPTED";

/// The map's name: a hash of device index (`u32`) to VNI (`u32`), of the bridge members whose frames are looked
/// at; of a device that the host sends by, its own.
pub const PORTS_NAME: &str = "ADOPTED_PORTS";

/// The map's name: a hash of [`super::fdb::FdbKey`] to [`Station`].
pub const STATIONS_NAME: &str = "ADOPTED_STATIONS";

/// Devices that can be adopted.
pub const MAX_ENTRIES: usize = 1 << 10;

/// Bridge members that can be looked at.
pub const MAX_PORTS: usize = 1 << 14;

/// Stations there is room for; those beyond stay with the kernel.
pub const MAX_STATIONS: usize = 1 << 16;

/// How long a lease lasts, in nanoseconds.
pub const LEASE_NS: u64 = 3_000_000_000;

/// Of each ageing time, this part passes before the kernel sees a frame of a station again.
const SHARE: u64 = 4;

const NAME_LEN: usize = 16;

/// A `vxlan` device of the kernel whose segment is adopted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Adopted {
    lease: u64,
    segment: Segment,
    device: u32,
    bridge: u32,
    name: [u8; NAME_LEN],
    pad: u32,
}

/// Where the kernel knows a station, and when it was last shown to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Station {
    standing: u64,
    /// When the kernel last got a frame of it, as far as programs saw to that.
    seen: u64,
    /// When the kernel last got one to it.
    asked: u64,
}

map_data!(Adopted, Station);

impl Adopted {
    /// The segment of `device`, a member of `bridge` or the host's own, with a lease that is over. The name's first 15 bytes count.
    #[must_use]
    pub fn new(device: IfIndex, bridge: Option<IfIndex>, name: &str, segment: Segment) -> Self {
        let mut bytes = [0; NAME_LEN];
        for (to, from) in bytes[..NAME_LEN - 1].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        let bridge = bridge.map_or(0, IfIndex::get);
        Self { lease: 0, segment, device: device.get(), bridge, name: bytes, pad: 0 }
    }

    /// Its settings, as the device has them.
    #[inline(always)]
    #[must_use]
    pub const fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The `vxlan` device.
    #[must_use]
    pub const fn device(&self) -> Option<IfIndex> {
        IfIndex::new(self.device)
    }

    /// The bridge that it is a member of; `None`: the host itself is the station behind it.
    #[inline(always)]
    #[must_use]
    pub const fn bridge(&self) -> Option<IfIndex> {
        IfIndex::new(self.bridge)
    }

    /// The name that the device had when it was adopted.
    #[must_use]
    pub fn name(&self) -> &str {
        let len = self.name.iter().position(|byte| *byte == 0).unwrap_or(NAME_LEN);
        core::str::from_utf8(&self.name[..len]).unwrap_or_default()
    }

    /// Until when its frames may be taken, nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn lease(&self) -> u64 {
        self.lease
    }

    /// The same until then.
    #[must_use]
    pub const fn with_lease(self, until: u64) -> Self {
        Self { lease: until, ..self }
    }

    /// Nanoseconds after which the kernel shall see a frame of a station again; 0: it forgets none.
    #[inline(always)]
    #[must_use]
    pub const fn patience(&self) -> u64 {
        self.segment.ageing() as u64 * (1_000_000_000 / SHARE)
    }
}

impl Station {
    /// A station of segment `vni` that the kernel is to be shown first.
    #[must_use]
    pub const fn new(vni: Vni, place: Place) -> Self {
        Self { standing: Standing::at(vni, place, Origin::Control).word(), seen: 0, asked: 0 }
    }

    /// Where it is, and in which segment.
    #[inline(always)]
    #[must_use]
    pub const fn standing(&self) -> Standing {
        Standing::from_word(self.standing)
    }

    /// Where it is. `None` if this is not, or no longer, a station of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self, vni: Vni) -> Option<Place> {
        self.standing().place(vni)
    }

    /// Whether the kernel shall have a frame of it that came at `now`; then that is noted.
    #[inline(always)]
    pub const fn is_due(&mut self, patience: u64, now: u64) -> bool {
        let due = is_due(self.seen, patience, now);
        if due {
            self.seen = now;
        }
        due
    }

    /// The same of a frame to it.
    #[inline(always)]
    pub const fn is_asked(&mut self, patience: u64, now: u64) -> bool {
        let due = is_due(self.asked, patience, now);
        if due {
            self.asked = now;
        }
        due
    }
}

#[inline(always)]
const fn is_due(last: u64, patience: u64, now: u64) -> bool {
    last == 0 || (patience != 0 && now.saturating_sub(last) > patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_eq!((size_of::<Adopted>(), size_of::<Station>()), (88, 24));
    }

    #[test]
    fn names() {
        let device = IfIndex::new(3).expect("not 0");
        let adopted = |name| Adopted::new(device, Some(device), name, Segment::default());
        assert_eq!(adopted("vxlan100").name(), "vxlan100");
        assert_eq!(adopted("a-very-long-name-indeed").name(), "a-very-long-nam");
        assert_eq!(adopted("vxlan100").with_lease(7).lease(), 7);
        assert_eq!(adopted("").patience(), 75_000_000_000, "a quarter of 300 s");
        assert_eq!(adopted("").bridge(), Some(device));
        assert_eq!(Adopted::new(device, None, "", Segment::default()).bridge(), None);
    }

    #[test]
    fn the_kernel_sees_a_frame_now_and_then() {
        let place = Place::Port { device: IfIndex::new(3).expect("not 0"), peer: false };
        let mut station = Station::new(Vni::MAX, place);
        assert_eq!(station.place(Vni::MAX), Some(place));
        assert!(station.is_due(10, 100), "one that is new");
        assert!(!station.is_due(10, 110) && station.is_due(10, 111) && !station.is_due(10, 112));
        assert!(station.is_asked(10, 112), "apart from that, one to it");
        assert!(!station.is_due(0, u64::MAX) && !station.is_asked(0, u64::MAX), "one that does not age");
    }
}
