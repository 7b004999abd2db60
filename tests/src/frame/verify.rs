//! Whether a receiver would find anything wrong with a frame.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::{
    ETHER_IPV4, ETHER_IPV6, Ethernet, IP_ICMP, IP_ICMP6, IP_TCP, IP_UDP, Ipv4, Ipv6, Network, Udp,
    VXLAN_PORT, Vxlan, checksum, transport::pseudo_checksum,
};

/// Checks every length and checksum of a frame, and of the frame inside it where it is VXLAN.
pub fn verify(frame: &[u8]) -> Result<()> {
    let (ethernet, packet) = Ethernet::parse(frame)?;
    match ethernet.ether_type {
        ETHER_IPV4 => {
            let (ip, payload) = Ipv4::parse(packet)?;
            let header = &packet[..20 + ip.options.len()];
            ensure!(checksum(&[header]) == 0, "IPv4: header checksum {:#06x}", ip.checksum.unwrap_or(0));
            // The payload of a fragment has no header of its own, or one that covers more than is here.
            if ip.fragment & 0x3fff != 0 {
                return Ok(());
            }
            verify_payload(ip.addresses(), ip.protocol, payload)
        }
        ETHER_IPV6 => {
            let (ip, payload) = Ipv6::parse(packet)?;
            verify_payload(ip.addresses(), ip.next_header, payload)
        }
        _ => Ok(()),
    }
}

fn verify_payload(addresses: (IpAddr, IpAddr), protocol: u8, payload: &[u8]) -> Result<()> {
    match protocol {
        IP_ICMP => ensure!(checksum(&[payload]) == 0, "ICMP: checksum"),
        IP_TCP | IP_ICMP6 => {
            ensure!(pseudo_checksum(addresses, protocol, payload) == 0, "protocol {protocol}: checksum");
        }
        IP_UDP => {
            let (udp, data) = Udp::parse(payload)?;
            ensure!(Udp::LEN + data.len() == payload.len(), "UDP: shorter than the packet");
            // A tunnel may do without over IPv6, too (RFC 6935).
            let may_be_absent = addresses.0.is_ipv4() || udp.destination == VXLAN_PORT;
            let absent = udp.checksum == Some(0) && may_be_absent;
            let right = absent || pseudo_checksum(addresses, protocol, payload) == 0;
            ensure!(right, "UDP: checksum {:#06x}", udp.checksum.unwrap_or(0));
            if udp.destination == VXLAN_PORT {
                let (_, inner) = Vxlan::parse(data)?;
                verify(inner)?;
            }
        }
        _ => {}
    }
    Ok(())
}
