//! What the eBPF programs and the userspace of `overlay` share: newtypes, drop reasons, header code, and the keys,
//! values, names and sizes of every map.
//!
//! Everything here is plain data and pure functions, so that it runs, and is tested, on the host. Multi-byte integers
//! in map keys and values are in host byte order unless an item says otherwise; header code speaks network byte order.

#![no_std]
#![expect(
    clippy::cast_possible_truncation,
    reason = "fields are cut out of wider words, and lengths are small"
)]

mod drop_reason;
pub mod explain;
pub mod header;
mod if_index;
mod mac;
pub mod maps;
mod notice;
mod overlay_addr;
mod underlay_addr;
mod vid;
mod vni;
mod vtep_id;

pub use drop_reason::DropReason;
pub use if_index::IfIndex;
pub use mac::{MacAddr, ParseMacError};
pub use notice::Notice;
pub use overlay_addr::OverlayAddr;
pub use underlay_addr::{Family, UnderlayAddr};
pub use vid::{ParseVidError, Vid};
pub use vni::{ParseVniError, Vni};
pub use vtep_id::VtepId;
