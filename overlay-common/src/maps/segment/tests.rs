use super::*;

#[test]
fn flags() {
    let segment = Segment::default();
    assert!(segment.learning() && segment.flood());
    assert!(!segment.with_learning(false).learning());
    assert!(segment.with_learning(false).flood());
    assert!(segment.with_flood(false).with_flood(true).flood());
    assert!(!segment.keeps_vlan() && !segment.has_trunks());
    assert!(segment.with_vlan_kept(true).keeps_vlan() && !segment.with_vlan_kept(true).has_trunks());
    assert!(!segment.with_trunks(true).with_vlan_kept(true).with_trunks(false).has_trunks());
    assert!(!segment.suppress() && !segment.drops_unknown_neighbour() && !segment.snoop_dhcp());
    let suppressing = segment.with_suppress(true).with_snoop_dhcp(true).with_unknown_neighbour_dropped(true);
    assert!(!suppressing.with_snoop_dhcp(false).snoop_dhcp() && suppressing.suppress());
    assert!(suppressing.with_suppress(false).drops_unknown_neighbour());
    for clamp in [ClampMss::ToPath, ClampMss::To(1360), ClampMss::Off] {
        assert_eq!(segment.with_clamp_mss(clamp).clamp_mss(), clamp);
        assert_eq!(segment.with_clamp_mss(clamp).clamps_mss(), clamp != ClampMss::Off);
    }
    assert_eq!(segment.with_clamp_mss(ClampMss::To(7)).with_clamp_mss(ClampMss::Off), segment);
    assert_eq!((segment.mtu(), segment.with_mtu(Some(1400)).mtu()), (None, Some(1400)));
    assert_eq!(segment.with_ageing(7).with_flood(false).ageing(), 7);
    let rule = FlapRule { moves: 9, window: 8, freeze: 7 };
    assert_eq!(segment.flap_rule(), FlapRule::default());
    assert_eq!(segment.with_flap_rule(rule).with_learn_limit(3).flap_rule(), rule);
    assert_eq!(segment.with_learn_limit(3).learn_limit(), 3);
    assert!(!segment.mcast_snooping() && segment.with_mcast_snooping(true).mcast_snooping());
    assert!(!segment.transit() && segment.with_transit(true).transit());
    assert_eq!(segment.with_transit(true).with_transit(false), segment);
}

#[test]
fn groups() {
    let segment = Segment::default().with_group(Family::Ipv6, Some(VtepId::FIRST));
    assert_eq!(segment.group(Family::Ipv6), Some(VtepId::FIRST));
    assert_eq!(segment.group(Family::Ipv4), None);
    assert_eq!(segment.with_group(Family::Ipv6, None), Segment::default());
}
