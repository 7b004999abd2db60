//! How a segment fills in outer headers: what `overlay vni` can change of it.

use overlay_common::header::{
    policy::{DontFragment, Field, Policy},
    source_ports::SourcePorts,
};

/// Settings to change; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// TTL or hop limit, 1 to 255 where it is fixed.
    pub ttl: Option<Field>,
    /// DSCP, 0 to 63 where it is fixed.
    pub dscp: Option<Field>,
    /// The don't-fragment bit of IPv4.
    pub dont_fragment: Option<DontFragment>,
    /// UDP source ports.
    pub source_ports: Option<SourcePorts>,
    /// Whether packets with reserved bits in their VXLAN header are dropped.
    pub refuse_reserved: Option<bool>,
    /// Whether the packet mark is carried in the VXLAN header.
    pub gbp: Option<bool>,
}

impl Change {
    /// The policy after the change.
    #[must_use]
    pub fn apply(self, policy: Policy) -> Policy {
        policy
            .with_ttl(self.ttl.unwrap_or(policy.ttl()))
            .with_dscp(self.dscp.unwrap_or(policy.dscp()))
            .with_dont_fragment(self.dont_fragment.unwrap_or(policy.dont_fragment()))
            .with_source_ports(self.source_ports.unwrap_or(policy.source_ports()))
            .with_reserved_refused(self.refuse_reserved.unwrap_or(policy.refuses_reserved()))
            .with_gbp(self.gbp.unwrap_or(policy.gbp()))
    }
}
