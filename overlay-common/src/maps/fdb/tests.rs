use proptest::prelude::*;

use super::*;

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![
        (1u32.., any::<bool>())
            .prop_map(|(index, peer)| Place::Port { device: IfIndex::new(index).unwrap(), peer }),
        (1u16..).prop_map(|id| Place::Vtep(VtepId::new(id).unwrap())),
    ]
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Learned), Just(Origin::Static), Just(Origin::Control)]
}

proptest! {
    #[test]
    fn entry_round_trip(number in 1u32..0x00ff_ffff, place in places(), other in places(), origin in origins(), now in 0..u64::MAX >> 6) {
        let vni = Vni::new(number).unwrap();
        let mut entry = FdbEntry::new(vni, place, origin, now);
        prop_assert_eq!(entry.place(vni), Some(place));
        prop_assert_eq!(entry.place(Vni::new(number + 1).unwrap()), None);
        prop_assert_eq!(entry.origin(), origin);
        prop_assert!((now..=now + TICK).contains(&entry.last_seen()));
        prop_assert_eq!(entry.is_at(vni, other), place == other);
        // SAFETY: the word of a live entry.
        unsafe { entry.standing_word().write(Standing::learned_at(vni, other).word()) };
        prop_assert!(entry.is_at(vni, other) && entry.origin() == Origin::Learned);
        prop_assert_eq!(entry.standing(), FdbEntry::new(vni, other, Origin::Learned, 0).standing());
        // SAFETY: as above.
        unsafe { entry.standing_word().write(Standing::NOWHERE.word()) };
        prop_assert_eq!(entry.place(vni), None);
        prop_assert!(!entry.is_at(vni, other));
    }

    #[test]
    fn key_round_trip(vni in 1u32..=0x00ff_ffff, mac: [u8; 6]) {
        let (vni, mac) = (Vni::new(vni).unwrap(), MacAddr::new(mac));
        let key = FdbKey::new(vni, mac);
        prop_assert_eq!((key.vni(), key.mac()), (Some(vni), mac));
    }
}

/// Nanoseconds of a tick.
const TICK: u64 = 1 << moves::TICK_SHIFT;

#[test]
fn only_learned_entries_age() {
    const SECOND: u64 = 1_000_000_000;
    let place = Place::Vtep(VtepId::FIRST);
    let learned = FdbEntry::new(Vni::MAX, place, Origin::Learned, SECOND);
    assert!(!learned.is_aged(2, 3 * SECOND));
    assert!(learned.is_aged(2, 3 * SECOND + TICK));
    assert!(!learned.is_aged(0, u64::MAX));
    assert!(!learned.is_aged(2, 0));
    assert!(!FdbEntry::new(Vni::MAX, place, Origin::Static, 0).is_aged(2, u64::MAX));
}

#[test]
fn layout() {
    assert_eq!((size_of::<FdbKey>(), size_of::<FdbEntry>()), (12, 24));
}
