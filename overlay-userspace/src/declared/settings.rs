//! Settings of segments, between the file's words and what the maps have.

use std::ops::Range;

use overlay_common::{
    header::policy::{DontFragment, Field},
    maps::segment::{ClampMss, Segment},
};

use super::{
    fault::Fault,
    file::{Scalar, Vni, Word, word},
};
use crate::{
    cli::words::{self, Refused},
    segment::Change,
};

/// All settings of a segment as the file has them, and their names.
pub(crate) fn slots(vni: &Vni) -> [(&'static str, Option<&Word>); 21] {
    [
        ("learning", vni.learning.as_ref()),
        ("flood", vni.flood.as_ref()),
        ("ageing", vni.ageing.as_ref()),
        ("mtu", vni.mtu.as_ref()),
        ("clamp-mss", vni.clamp_mss.as_ref()),
        ("learn-limit", vni.learn_limit.as_ref()),
        ("flap-moves", vni.flap_moves.as_ref()),
        ("flap-window", vni.flap_window.as_ref()),
        ("flap-freeze", vni.flap_freeze.as_ref()),
        ("vlan", vni.vlan.as_ref()),
        ("ttl", vni.ttl.as_ref()),
        ("dscp", vni.dscp.as_ref()),
        ("df", vni.df.as_ref()),
        ("source-ports", vni.source_ports.as_ref()),
        ("reserved", vni.reserved.as_ref()),
        ("gbp", vni.gbp.as_ref()),
        ("suppress", vni.suppress.as_ref()),
        ("suppress-unknown", vni.suppress_unknown.as_ref()),
        ("snoop-dhcp", vni.snoop_dhcp.as_ref()),
        ("mcast-snooping", vni.mcast_snooping.as_ref()),
        ("transit", vni.transit.as_ref()),
    ]
}

/// Reads the settings of a segment; those that are not there are as they are by default.
pub(crate) fn read(vni: &Vni) -> Result<Segment, Fault> {
    let given: Vec<(&str, &Word)> =
        slots(vni).into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    if given.is_empty() {
        return Ok(Segment::default());
    }
    let change = ask(&given, words::segment)?;
    change.checked(Segment::default()).map_err(|error| Fault::at(&vni.id, error))
}

/// Has the command line's parsers read settings.
pub(crate) fn ask<T>(
    given: &[(&str, &Word)],
    read: impl Fn(&words::Pairs<'_>) -> Result<T, Refused>,
) -> Result<T, Fault> {
    let pairs: Vec<(&str, String)> =
        given.iter().map(|(name, value)| (*name, value.get_ref().to_string())).collect();
    read(&pairs).map_err(|(place, why)| match given.get(place) {
        Some((name, value)) => Fault::at(value, format!("{name}: {why}")),
        None => Fault { span: Range::default(), message: why },
    })
}

/// Notes the settings of a segment that are not as they are by default.
pub(crate) fn write(vni: &mut Vni, segment: &Segment) {
    let default = Segment::default();
    let (rule, usual) = (segment.flap_rule(), default.flap_rule());
    let (policy, plain) = (segment.policy(), default.policy());
    vni.learning = differs(segment.learning(), &default.learning());
    vni.flood = differs(segment.flood(), &default.flood());
    vni.ageing = differs(segment.ageing(), &default.ageing());
    vni.mtu = segment.mtu().map(|mtu| word(u32::from(mtu)));
    vni.clamp_mss = match segment.clamp_mss() {
        ClampMss::Off => None,
        ClampMss::ToPath => Some(word(true)),
        ClampMss::To(mss) => Some(word(u32::from(mss))),
    };
    vni.learn_limit = differs(segment.learn_limit(), &default.learn_limit());
    vni.flap_moves = differs(u32::from(rule.moves), &u32::from(usual.moves));
    vni.flap_window = differs(rule.window, &usual.window);
    vni.flap_freeze = differs(rule.freeze, &usual.freeze);
    vni.vlan = differs(tagged(segment), &tagged(&default));
    vni.ttl = differs(field(policy.ttl()), &field(plain.ttl()));
    vni.dscp = differs(field(policy.dscp()), &field(plain.dscp()));
    vni.df = differs(df(policy.dont_fragment()), &df(plain.dont_fragment()));
    vni.source_ports = differs(policy.source_ports().to_string(), &plain.source_ports().to_string());
    vni.reserved = differs(reserved(policy.refuses_reserved()), &reserved(plain.refuses_reserved()));
    vni.gbp = differs(policy.gbp(), &plain.gbp());
    vni.suppress = differs(segment.suppress(), &default.suppress());
    vni.suppress_unknown = differs(unknown(segment), &unknown(&default));
    vni.snoop_dhcp = differs(segment.snoop_dhcp(), &default.snoop_dhcp());
    vni.mcast_snooping = differs(segment.mcast_snooping(), &default.mcast_snooping());
    vni.transit = differs(segment.transit(), &default.transit());
}

fn differs<T: PartialEq + Into<Scalar>>(value: T, default: &T) -> Option<Word> {
    (value != *default).then(|| word(value))
}

const fn tagged(segment: &Segment) -> &'static str {
    if segment.keeps_vlan() { "keep" } else { "drop" }
}

const fn unknown(segment: &Segment) -> &'static str {
    if segment.drops_unknown_neighbour() { "drop" } else { "flood" }
}

const fn reserved(refused: bool) -> &'static str {
    if refused { "drop" } else { "ignore" }
}

const fn df(choice: DontFragment) -> &'static str {
    match choice {
        DontFragment::Set => "set",
        DontFragment::Unset => "unset",
        DontFragment::Inherit => "inherit",
    }
}

fn field(field: Field) -> Scalar {
    match field {
        Field::Fixed(number) => u32::from(number).into(),
        Field::Inherit => "inherit".into(),
    }
}

/// All settings as a change.
pub(crate) fn change(segment: &Segment) -> Change {
    let rule = segment.flap_rule();
    let policy = segment.policy();
    Change {
        learning: Some(segment.learning()),
        flood: Some(segment.flood()),
        ageing: Some(segment.ageing()),
        mtu: Some(segment.mtu()),
        clamp_mss: Some(segment.clamp_mss()),
        learn_limit: Some(segment.learn_limit()),
        flap_moves: Some(rule.moves),
        flap_window: Some(rule.window),
        flap_freeze: Some(rule.freeze),
        keeps_vlan: Some(segment.keeps_vlan()),
        headers: crate::headers::Change {
            ttl: Some(policy.ttl()),
            dscp: Some(policy.dscp()),
            dont_fragment: Some(policy.dont_fragment()),
            source_ports: Some(policy.source_ports()),
            refuse_reserved: Some(policy.refuses_reserved()),
            gbp: Some(policy.gbp()),
        },
        suppress: Some(segment.suppress()),
        drop_unknown_neighbour: Some(segment.drops_unknown_neighbour()),
        snoop_dhcp: Some(segment.snoop_dhcp()),
        mcast_snooping: Some(segment.mcast_snooping()),
        transit: Some(segment.transit()),
    }
}
