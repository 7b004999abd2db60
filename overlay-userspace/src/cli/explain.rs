//! `overlay explain`.

use std::net::IpAddr;

use clap::{ArgGroup, Args, ValueEnum};
use overlay_common::{MacAddr, Vid};

use super::Session;
use crate::{
    error::{Error, Result},
    explain::{self, Captured, Protocol, Side, Sketch},
    instance::Instance,
    netlink::{Link, Netlink},
    preflight,
};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("device").required(true), group = ArgGroup::new("frame").required(true))]
pub(super) struct Explain {
    /// The port that the workload's frame comes by, or a member of a bridge that an adopted device is in
    #[arg(long, value_name = "DEV", group = "device")]
    port: Option<String>,
    /// The uplink that the tunnel packet comes by; none need be named where there is one only
    #[arg(long, value_name = "DEV", num_args = 0..=1, default_missing_value = "", group = "device", conflicts_with = "destination")]
    from_uplink: Option<String>,
    /// A packet of a capture file, pcap or pcapng; N counts from 1 [default: the first]
    #[arg(long, value_name = "FILE[:N]", group = "frame")]
    pcap: Option<Captured>,
    /// The bytes of the frame, as hexadecimal digits
    #[arg(long, value_name = "BYTES", group = "frame", value_parser = explain_hex)]
    hex: Option<Bytes>,
    /// A frame to that address
    #[arg(long = "dst", value_name = "MAC", group = "frame")]
    destination: Option<MacAddr>,
    #[command(flatten)]
    sketch: SketchArgs,
}

/// What a frame is like that is made for `--dst`.
#[derive(Debug, Args)]
struct SketchArgs {
    /// Its source [default: a station that is known behind the port, or else 02:00:00:00:00:01]
    #[arg(long = "src", value_name = "MAC", requires = "destination")]
    source: Option<MacAddr>,
    /// The destination of the IP packet in it; with --proto arp, the address that is asked for [default: 192.0.2.2]
    #[arg(long, value_name = "ADDR", requires = "destination")]
    ip: Option<IpAddr>,
    /// The source of the IP packet in it [default: 192.0.2.1]
    #[arg(long, value_name = "ADDR", requires = "destination")]
    src_ip: Option<IpAddr>,
    /// What is in it: TCP that opens a connection, UDP, an echo request, or a question for an address
    #[arg(long, value_name = "tcp|udp|icmp|arp", requires = "destination", hide_possible_values = true)]
    proto: Option<Proto>,
    /// Its destination port [default: 9]
    #[arg(long, value_name = "N", requires = "destination")]
    dport: Option<u16>,
    /// Its source port [default: 49152]
    #[arg(long, value_name = "N", requires = "destination")]
    sport: Option<u16>,
    /// The VLAN of its tag [default: no tag]
    #[arg(long, value_name = "VID", requires = "destination")]
    vlan: Option<Vid>,
    /// Its bytes, Ethernet header included [default: 98]
    #[arg(long, value_name = "N", requires = "destination")]
    len: Option<u16>,
}

/// Bytes that an argument spells.
#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

fn explain_hex(text: &str) -> Result<Bytes, String> {
    explain::hex(text).map(Bytes)
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Proto {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP or `ICMPv6`
    Icmp,
    /// ARP
    Arp,
}

/// The source of a frame, where nobody is known.
const SOMEBODY: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

/// The port that discards (RFC 863), and the first that is free for clients.
const PORTS: (u16, u16) = (49152, 9);

impl Explain {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        preflight::capabilities()?;
        let (instance, _lock) = Instance::look(&session.name()?)?;
        let netlink = Netlink::connect()?;
        let (side, device) = match (&self.port, &self.from_uplink) {
            (Some(port), _) => explain::port(&instance, &netlink, port).await?,
            (None, uplink) => {
                let name = uplink.as_deref().filter(|name| !name.is_empty());
                (Side::Uplink, explain::uplink(&instance, &netlink, name).await?)
            }
        };
        let frame = self.frame(&instance, &device)?;
        let explanation = explain::explain(&instance, &netlink, (side, &device), &frame).await?;
        session.output.print_text(&explanation, || Ok(explanation.to_string()))
    }

    fn frame(self, instance: &Instance, port: &Link) -> Result<Vec<u8>> {
        if let Some(captured) = &self.pcap {
            return captured.read();
        }
        if let Some(Bytes(bytes)) = self.hex {
            return Ok(bytes);
        }
        let destination =
            self.destination.ok_or_else(|| Error::Usage("name a frame with --dst".to_owned()))?;
        let SketchArgs { source, ip, src_ip, proto, dport, sport, vlan, len } = self.sketch;
        let source = match source {
            Some(source) => source,
            None => explain::behind(instance, port)?.unwrap_or(SOMEBODY),
        };
        let sketch = Sketch {
            source,
            destination,
            source_ip: src_ip,
            destination_ip: ip,
            protocol: match proto.unwrap_or(Proto::Udp) {
                Proto::Tcp => Protocol::Tcp,
                Proto::Udp => Protocol::Udp,
                Proto::Icmp => Protocol::Icmp,
                Proto::Arp => Protocol::Arp,
            },
            source_port: sport.unwrap_or(PORTS.0),
            destination_port: dport.unwrap_or(PORTS.1),
            vlan,
            len: len.map(usize::from),
        };
        sketch.frame()
    }
}
