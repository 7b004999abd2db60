//! `VTEPS`: the remote VTEPs.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{IfIndex, UnderlayAddr, header::outer};

/// The map's name: an array of [`Vtep`], indexed by [`crate::VtepId::index`]; slot 0 stays empty.
pub const NAME: &str = "VTEPS";

/// Slots, the empty one included.
pub const MAX_ENTRIES: usize = 4096;

/// A remote VTEP: its address, and the outer headers of what is sent to it.
///
/// One indirection for every MAC behind it: moving its path is one write.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Vtep {
    remote: UnderlayAddr,
    local: UnderlayAddr,
    outer: outer::Template,
    uplink: u32,
    pad: u32,
}

map_data!(Vtep);

impl Vtep {
    /// The VTEP at `remote`, which sees us as `local`; both speak on UDP port `port` (host byte order). `None` unless
    /// both addresses are IPv4. `uplink` is the device that the route left by when it was made, for when the FIB does
    /// not answer.
    #[must_use]
    pub fn new(local: UnderlayAddr, remote: UnderlayAddr, port: u16, uplink: IfIndex) -> Option<Self> {
        let outer = outer::Template::ipv4(local.to_ipv4()?, remote.to_ipv4()?, port);
        Some(Self { remote, local, outer, uplink: uplink.get(), pad: 0 })
    }

    /// Whether a slot holds a VTEP.
    #[inline(always)]
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.remote != UnderlayAddr::default()
    }

    /// Its address.
    #[inline(always)]
    #[must_use]
    pub const fn remote(&self) -> UnderlayAddr {
        self.remote
    }

    /// Our address towards it.
    #[inline(always)]
    #[must_use]
    pub const fn local(&self) -> UnderlayAddr {
        self.local
    }

    /// The device that the route to it left by when the entry was made.
    #[inline(always)]
    #[must_use]
    pub const fn uplink(&self) -> Option<IfIndex> {
        IfIndex::new(self.uplink)
    }

    /// The outer headers of what is sent to it.
    #[inline(always)]
    #[must_use]
    pub const fn outer(&self) -> &outer::Template {
        &self.outer
    }
}
