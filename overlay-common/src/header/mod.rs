//! Header code: pure, without a packet or a context, tested on the host.

pub mod arp;
pub mod checksum;
pub mod claim;
pub mod dhcp;
pub mod ecn;
pub mod eth;
pub mod fields;
pub mod flow_hash;
pub mod icmp;
pub mod igmp;
pub mod inner_sum;
pub mod ipv4;
pub mod ipv6;
pub mod membership;
pub mod mld;
pub mod nd;
pub mod open_sum;
pub mod outer;
pub mod outer_sum;
pub mod policy;
pub mod source_ports;
pub mod tcp;
pub mod traits;
pub mod udp;
pub mod vlan;
pub mod vxlan;
