//! Making a frame of what it shall be like.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Ethernet2Header, IpHeaders, PacketBuilder,
    PacketBuilderStep, VlanId, err::packet::BuildWriteError,
};
use overlay_common::{MacAddr, Vid};

use crate::error::{Error, Result};

/// What a frame of a workload carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP: the first segment of a connection.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or `ICMPv6`: an echo request.
    Icmp,
    /// ARP: who has the address.
    Arp,
}

/// What a frame shall be like.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// Its source.
    pub source: MacAddr,
    /// Its destination.
    pub destination: MacAddr,
    /// The source of the IP packet in it; none: one that is for examples.
    pub source_ip: Option<IpAddr>,
    /// The destination; none: the same.
    pub destination_ip: Option<IpAddr>,
    /// What is in it.
    pub protocol: Protocol,
    /// Its source port.
    pub source_port: u16,
    /// Its destination port.
    pub destination_port: u16,
    /// The VLAN that its tag names; none: no tag.
    pub vlan: Option<Vid>,
    /// Its bytes, Ethernet header included; none: as many as a ping has, if its headers take no more.
    pub len: Option<usize>,
}

/// What a ping has.
const USUAL_LEN: usize = 98;
/// TTL or hop limit.
const TTL: u8 = 64;
/// Its window, TCP says.
const WINDOW: u16 = 64240;

impl Sketch {
    /// Makes the frame, with right lengths and checksums.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be.
    pub fn frame(&self) -> Result<Vec<u8>> {
        let (source, destination) = self.addresses()?;
        let ethernet = PacketBuilder::ethernet2(self.source.bytes(), self.destination.bytes());
        if self.protocol == Protocol::Arp {
            return self.arp(ethernet, source, destination);
        }
        match self.tag()? {
            None => match (source, destination) {
                (IpAddr::V4(a), IpAddr::V4(b)) => self.fill(ethernet.ipv4(a.octets(), b.octets(), TTL)),
                (IpAddr::V6(a), IpAddr::V6(b)) => self.fill(ethernet.ipv6(a.octets(), b.octets(), TTL)),
                _ => Err(mixed()),
            },
            Some(id) => match (ethernet.single_vlan(id), source, destination) {
                (tagged, IpAddr::V4(a), IpAddr::V4(b)) => self.fill(tagged.ipv4(a.octets(), b.octets(), TTL)),
                (tagged, IpAddr::V6(a), IpAddr::V6(b)) => self.fill(tagged.ipv6(a.octets(), b.octets(), TTL)),
                _ => Err(mixed()),
            },
        }
    }

    fn tag(&self) -> Result<Option<VlanId>> {
        self.vlan.map(|vid| VlanId::try_new(vid.get()).map_err(|_| cannot("it has no such VLAN"))).transpose()
    }

    /// Both addresses: one that is not named is of the other's family.
    fn addresses(&self) -> Result<(IpAddr, IpAddr)> {
        let is_ipv6 = self.source_ip.or(self.destination_ip).is_some_and(|address| address.is_ipv6());
        let example = |number: u8| -> IpAddr {
            if is_ipv6 {
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into()
            } else {
                Ipv4Addr::new(192, 0, 2, number).into()
            }
        };
        let source = self.source_ip.unwrap_or_else(|| example(1));
        let destination = self.destination_ip.unwrap_or_else(|| example(2));
        if source.is_ipv4() == destination.is_ipv4() { Ok((source, destination)) } else { Err(mixed()) }
    }

    fn arp(
        &self,
        ethernet: PacketBuilderStep<Ethernet2Header>,
        source: IpAddr,
        destination: IpAddr,
    ) -> Result<Vec<u8>> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
            return Err(Error::Usage(
                "--proto arp asks for IPv4 addresses only; name one with --ip".to_owned(),
            ));
        };
        let packet = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            ArpOperation::REQUEST,
            &self.source.bytes(),
            &source.octets(),
            &[0; 6],
            &destination.octets(),
        )
        .map_err(cannot)?;
        let mut frame = Vec::new();
        match self.tag()? {
            None => ethernet.arp(packet).write(&mut frame),
            Some(id) => ethernet.single_vlan(id).arp(packet).write(&mut frame),
        }
        .map_err(cannot)?;
        let len = self.len.unwrap_or(frame.len());
        if len < frame.len() {
            return Err(too_short(len, frame.len()));
        }
        frame.resize(len, 0);
        Ok(frame)
    }

    fn fill(&self, ip: PacketBuilderStep<IpHeaders>) -> Result<Vec<u8>> {
        let is_ipv6 = self.addresses()?.0.is_ipv6();
        match self.protocol {
            Protocol::Udp => {
                let step = ip.udp(self.source_port, self.destination_port);
                self.write(step.size(0), |frame, payload| step.write(frame, payload))
            }
            Protocol::Tcp => {
                let step = ip.tcp(self.source_port, self.destination_port, 0, WINDOW).syn();
                self.write(step.size(0), |frame, payload| step.write(frame, payload))
            }
            Protocol::Icmp if is_ipv6 => {
                let step = ip.icmpv6_echo_request(1, 1);
                self.write(step.size(0), |frame, payload| step.write(frame, payload))
            }
            Protocol::Icmp | Protocol::Arp => {
                let step = ip.icmpv4_echo_request(1, 1);
                self.write(step.size(0), |frame, payload| step.write(frame, payload))
            }
        }
    }

    /// Writes a frame whose headers take so many bytes, with a payload of zeros.
    fn write(
        &self,
        headers: usize,
        write: impl FnOnce(&mut Vec<u8>, &[u8]) -> Result<(), BuildWriteError>,
    ) -> Result<Vec<u8>> {
        let len = self.len.unwrap_or_else(|| USUAL_LEN.max(headers));
        let payload = len.checked_sub(headers).ok_or_else(|| too_short(len, headers))?;
        let mut frame = Vec::with_capacity(len);
        write(&mut frame, &vec![0; payload]).map_err(cannot)?;
        Ok(frame)
    }
}

fn mixed() -> Error {
    Error::Usage(
        "--ip and --src-ip are of different families; name two IPv4 or two IPv6 addresses".to_owned(),
    )
}

fn too_short(len: usize, headers: usize) -> Error {
    Error::Usage(format!("--len {len} has no room for the frame's headers; name {headers} bytes or more"))
}

fn cannot(cause: impl std::fmt::Display) -> Error {
    Error::Usage(format!("there cannot be such a frame: {cause}"))
}
