//! Segments with a multicast group of the underlay: whoever speaks to one becomes a member.

use overlay_common::{
    DropReason, UnderlayAddr, Vni, VtepId,
    maps::{admitted::MAX_OF_SEGMENT, jump::Jump},
};

use crate::{
    clock,
    decap::{self, Stranger},
    maps::{
        admitted::{self, Noted},
        config, counters, jumps, learned, members, vtep_ids, vteps,
    },
    skb::Skb,
    verdict::Outcome,
};

/// Lets the sender of a packet into its segment, if that has a group of the sender's family, and starts over with the
/// packet.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let Stranger { vni, segment, source } = decap::stranger(skb)?;
    let group = segment.group(source.family()).ok_or(DropReason::NotAMember)?;
    let is_local = config::get().is_some_and(|config| config.is_local(source));
    if is_local || !source.is_of_a_host() {
        return Err(DropReason::NotAMember);
    }
    admit(vni, group, source)?;
    jumps::jump(skb, Jump::FromUplink)
}

/// Makes the VTEP at `source` a member, which is reached as the group is.
#[inline(always)]
fn admit(vni: Vni, group: VtepId, source: UnderlayAddr) -> Result<(), DropReason> {
    let count = learned::of_members(vni).ok_or(DropReason::NotAMember)?;
    if !count.is_below(MAX_OF_SEGMENT) {
        return Err(DropReason::TooManyMembers);
    }
    // An id counts only if its VTEP has that address.
    let known =
        vtep_ids::get(source).filter(|id| vteps::get(*id).is_some_and(|vtep| vtep.remote() == source));
    let id = match known {
        Some(id) => id,
        None => claim(group, source)?,
    };
    match admitted::add(vni, source, clock::now()) {
        // Commands count down, and count anew each time.
        Noted::New => count.increase(),
        Noted::Before => {}
        Noted::Full => return Err(DropReason::TooManyMembers),
    }
    if !members::add(vni, source, id) {
        return Err(DropReason::TooManyMembers);
    }
    // Last: a command that stops to count looks for a member that came again after that.
    counters::start(vni, id);
    Ok(())
}

/// Gives the VTEP at `source` an id. What is left of one that fails half way, the next command clears.
#[inline(always)]
fn claim(group: VtepId, source: UnderlayAddr) -> Result<VtepId, DropReason> {
    let template = vteps::get(group).ok_or(DropReason::UnknownVtep)?;
    let id = admitted::take_id().ok_or(DropReason::TooManyMembers)?;
    vteps::set(id, &template.with_remote(source));
    if vtep_ids::add(source, id) {
        return Ok(id);
    }
    // Another CPU was first.
    vteps::clear(id);
    admitted::give_back(id);
    vtep_ids::get(source).ok_or(DropReason::TooManyMembers)
}
