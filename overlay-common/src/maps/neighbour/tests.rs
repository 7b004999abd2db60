//! What claims make of an entry, and in which VLANs it holds.

use proptest::prelude::*;

use super::*;
use crate::{
    Vid,
    header::vlan::{Tag, Tags},
};

fn key(vni: u32, last: u8) -> NeighbourKey {
    NeighbourKey::new(Vni::new(vni).unwrap(), OverlayAddr::from_ipv4([10, 1, 0, last]).unwrap())
}

fn claim(last: u8, strength: Strength, router: Option<bool>) -> Claim {
    let mac = MacAddr::new([2, 0, 0, 0, 0, last]);
    Claim { address: OverlayAddr::from_ipv4([10, 1, 0, 1]).unwrap(), mac, strength, router }
}

fn vlan(vid: u16) -> Vlans {
    Tags::NONE.and(Tag::of(Vid::new(vid).unwrap())).unwrap().vlans()
}

fn entry(origin: Origin) -> Neighbour {
    Neighbour::new(key(1, 1), claim(1, Strength::Adds, None).mac, false, origin, 0)
}

proptest! {
    #[test]
    fn round_trip(vni in 1u32..=0x00ff_ffff, address: [u8; 4], mac: [u8; 6], router: bool, now: u64) {
        let address = OverlayAddr::from_ipv4(address);
        prop_assume!(address.is_some());
        let key = NeighbourKey::new(Vni::new(vni).unwrap(), address.unwrap());
        for origin in [Origin::Learned, Origin::Static, Origin::Control] {
            let entry = Neighbour::new(key, MacAddr::new(mac), router, origin, now);
            prop_assert_eq!(entry.station(key), Some((MacAddr::new(mac), router)));
            prop_assert_eq!((entry.origin(), entry.last_seen()), (origin, now));
        }
    }
}

#[test]
fn an_entry_is_of_its_key() {
    let entry = entry(Origin::Learned);
    let others = (1..=254).map(|last| key(1, last)).chain((2..=100).map(|vni| key(vni, 1)));
    let taken = others.filter(|other| *other != key(1, 1) && entry.station(*other).is_some()).count();
    assert!(taken <= 2, "{taken} of 352 keys take it for theirs");
}

#[test]
fn claims() {
    use Strength::{Adds, Confirms, Replaces};
    let learned = entry(Origin::Learned);
    let effect = |claim: Claim| learned.effect(key(1, 1), &claim, Vlans::NONE, false);
    for strength in [Replaces, Adds, Confirms] {
        assert_eq!(effect(claim(1, strength, None)), Effect::Same);
        assert_eq!(effect(claim(1, strength, Some(true))), Effect::Replaced);
        for origin in [Origin::Static, Origin::Control] {
            let fixed = entry(origin);
            for vlans in [Vlans::NONE, vlan(10)] {
                let effect = |claim: Claim| fixed.effect(key(1, 1), &claim, vlans, false);
                assert_eq!(effect(claim(2, strength, None)), Effect::Refused);
                assert_eq!(effect(claim(1, strength, Some(true))), Effect::Same);
            }
        }
    }
    assert_eq!(effect(claim(2, Replaces, None)), Effect::Replaced);
    assert_eq!(effect(claim(2, Adds, None)), Effect::Ignored);
    assert_eq!(learned.effect(key(1, 1), &claim(2, Adds, None), Vlans::NONE, true), Effect::Replaced);
    assert_eq!(learned.effect(key(1, 1), &claim(2, Confirms, None), Vlans::NONE, true), Effect::Ignored);
}

#[test]
fn what_was_heard_in_a_vlan_holds_there() {
    use Strength::{Adds, Confirms, Replaces};
    let said = claim(1, Adds, None);
    let mut entry = Neighbour::learned(key(1, 1), &said, vlan(10), 0);
    assert_eq!(entry.station(key(1, 1)), Some((said.mac, false)));
    assert!(entry.is_in(vlan(10)) && !entry.is_in(vlan(20)) && !entry.is_in(Vlans::NONE));
    let effect = |strength, vlans| entry.effect(key(1, 1), &claim(1, strength, None), vlans, false);
    for (strength, elsewhere) in
        [(Replaces, Effect::Replaced), (Adds, Effect::Ignored), (Confirms, Effect::Ignored)]
    {
        assert_eq!(effect(strength, vlan(10)), Effect::Same);
        assert_eq!(effect(strength, vlan(20)), elsewhere);
        assert_eq!(effect(strength, Vlans::NONE), elsewhere);
    }
    entry.replace(key(1, 1), &said, vlan(20), 1);
    assert!(entry.is_in(vlan(20)) && !entry.is_in(vlan(10)) && entry.vlans() == vlan(20));
    assert!(self::entry(Origin::Static).is_in(vlan(10)) && self::entry(Origin::Control).is_in(Vlans::NONE));
}

#[test]
fn a_router_stays_one_until_it_says_otherwise_or_is_another() {
    let mut entry = entry(Origin::Learned);
    let is_router = |entry: &Neighbour| entry.station(key(1, 1)).unwrap().1;
    for (last, says, is) in [(1, Some(true), true), (1, None, true), (2, None, false), (2, Some(true), true)]
    {
        entry.replace(key(1, 1), &claim(last, Strength::Replaces, says), Vlans::NONE, 7);
        assert_eq!((is_router(&entry), entry.last_seen()), (is, 7));
    }
}

#[test]
fn only_learned_entries_age() {
    const SECOND: u64 = 1_000_000_000;
    assert!(entry(Origin::Learned).is_aged(2, 2 * SECOND + 1));
    assert!(!entry(Origin::Learned).is_aged(2, 2 * SECOND));
    assert!(!entry(Origin::Learned).is_aged(0, u64::MAX));
    assert!(!entry(Origin::Static).is_aged(2, u64::MAX));
}

#[test]
fn layout() {
    assert_eq!((size_of::<NeighbourKey>(), size_of::<Neighbour>()), (20, 24));
}
