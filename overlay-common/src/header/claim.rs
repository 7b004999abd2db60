//! What ARP and ND say about neighbours, whichever of the two says it.

use crate::{MacAddr, OverlayAddr};

/// A sender says that it has an IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The IP address.
    pub address: OverlayAddr,
    /// Its own MAC address: the source of the frame too.
    pub mac: MacAddr,
    /// What it is good for.
    pub strength: Strength,
    /// Whether the sender is a router; `None`: it does not say.
    pub router: Option<bool>,
}

/// What a claim is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// It takes the place of another MAC address that was known.
    Replaces,
    /// It does not (the override flag of RFC 4861, section 4.4, is clear).
    Adds,
    /// It says only that what is known still holds.
    Confirms,
}

/// What a frame says about neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What the sender says of itself.
    pub claim: Option<Claim>,
    /// Whose MAC address it asks everybody for. A probe for a duplicate address, an announcement and a question to one
    /// station alone are none.
    pub asks_for: Option<OverlayAddr>,
}

impl Heard {
    /// Nothing that is believed.
    pub const NOTHING: Self = Self { claim: None, asks_for: None };
}
