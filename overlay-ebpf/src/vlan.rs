//! VLAN tags of frames: taking them off, putting them on. The kernel keeps the outer tag beside the bytes of an skb, as a
//! device's hardware does, and the others among them; a tag among the bytes moves beside them when its turn comes.

use aya_ebpf::helpers::{bpf_skb_vlan_pop, bpf_skb_vlan_push};
use network_types::eth::EthHdr;
use overlay_common::{
    DropReason,
    header::{
        eth::{self, Payload},
        vlan::{Tag, Tags},
    },
};

use crate::{frame, helper::done, packet::Packet as _, skb::Skb};

/// Takes the outer tag off, wherever it is.
#[inline(always)]
pub(crate) fn take(skb: &mut Skb) -> Result<Option<Tag>, DropReason> {
    let Some(tag) = outer(skb)? else { return Ok(None) };
    pop(skb)?;
    Ok(Some(tag))
}

/// Takes off all tags that there are: not more than can be kept, `first` included.
#[inline(always)]
pub(crate) fn take_all(skb: &mut Skb, first: Option<Tag>) -> Result<Tags, DropReason> {
    let mut tags = Tags::NONE;
    if let Some(tag) = first {
        tags = tags.and(tag).ok_or(DropReason::InnerVlan)?;
    } else if let Some(tag) = take(skb)? {
        tags = tags.and(tag).ok_or(DropReason::InnerVlan)?;
    } else {
        return Ok(tags);
    }
    if let Some(tag) = take(skb)? {
        tags = tags.and(tag).ok_or(DropReason::InnerVlan)?;
    }
    if skb.has_vlan_tag() { Err(DropReason::InnerVlan) } else { Ok(tags) }
}

#[inline(always)]
fn outer(skb: &Skb) -> Result<Option<Tag>, DropReason> {
    if let Some(tag) = beside(skb) {
        return Ok(Some(tag));
    }
    let header = skb.get::<EthHdr>(0).ok_or(DropReason::InnerTruncated)?;
    if eth::payload(header) != Payload::Vlan {
        return Ok(None);
    }
    let behind = skb.get(eth::LEN).ok_or(DropReason::InnerTruncated)?;
    Ok(frame::tag(header, behind).map(|(tag, _)| tag))
}

/// The tag beside the bytes.
#[inline(always)]
fn beside(skb: &Skb) -> Option<Tag> {
    if !skb.has_vlan_tag() {
        return None;
    }
    let fields = skb.fields();
    Tag::new((fields.vlan_proto as u16).to_ne_bytes(), fields.vlan_tci as u16)
}

/// Puts a tag on, outside those that there are.
#[inline(always)]
pub(crate) fn push(skb: &mut Skb, tag: Tag) -> Result<(), DropReason> {
    let protocol = u16::from_ne_bytes(tag.protocol());
    // SAFETY: the context is valid.
    done(unsafe { bpf_skb_vlan_push(skb.raw(), protocol, tag.control()) }).map_err(|_| DropReason::VlanFailed)
}

/// Puts back what [`take_all`] took off.
#[inline(always)]
pub(crate) fn push_all(skb: &mut Skb, tags: Tags) -> Result<(), DropReason> {
    if let Some(inner) = tags.inner() {
        push(skb, inner)?;
    }
    tags.outer().map_or(Ok(()), |outer| push(skb, outer))
}

/// Takes the outer tag off.
#[inline(always)]
pub(crate) fn pop(skb: &mut Skb) -> Result<(), DropReason> {
    // SAFETY: the context is valid.
    done(unsafe { bpf_skb_vlan_pop(skb.raw()) }).map_err(|_| DropReason::VlanFailed)
}
