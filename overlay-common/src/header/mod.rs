//! Header code: pure, without a packet or a context, tested on the host.

pub mod checksum;
pub mod eth;
pub mod icmp;
pub mod inner_sum;
pub mod ipv4;
pub mod ipv6;
pub mod outer;
pub mod tcp;
pub mod udp;
pub mod vxlan;
