use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{InfoData, InfoVxlan, LinkAttribute, LinkInfo, VxlanDf};
use overlay_common::{
    IfIndex,
    header::policy::{DontFragment, Field},
};

use super::Netlink;
use crate::error::{Context as _, Result};

/// How a `vxlan` device of the kernel is set (`drivers/net/vxlan/vxlan_core.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// Its VNI.
    pub vni: u32,
    /// Its UDP port, host byte order.
    pub port: u16,
    /// The source of its packets; `None`: what their routes say.
    pub local: Option<IpAddr>,
    /// The device that its packets leave by, wherever their routes lead.
    pub lower: Option<IfIndex>,
    /// The outer TTL; `None`: that of the host's own packets.
    pub ttl: Option<Field>,
    /// The outer DSCP.
    pub dscp: Field,
    /// The outer don't-fragment bit.
    pub df: DontFragment,
    /// UDP source ports, both ends included, host byte order; `None`: those of the host's own sockets.
    pub source_ports: Option<(u16, u16)>,
    /// Whether it sends UDP checksums over IPv6.
    pub udp6_checksum: bool,
    /// Seconds after which it forgets what it learned; 0: never.
    pub ageing: u32,
    /// Whether it answers ARP and ND.
    pub proxy: bool,
    /// An option that it has and that no frame of its may go around; as `ip link` calls it.
    pub oddity: Option<&'static str>,
}

impl Default for Vxlan {
    fn default() -> Self {
        Self {
            vni: 0,
            port: 0,
            local: None,
            lower: None,
            ttl: None,
            dscp: Field::Fixed(0),
            df: DontFragment::Unset,
            source_ports: None,
            udp6_checksum: true,
            ageing: 0,
            proxy: false,
            oddity: None,
        }
    }
}

impl Netlink {
    /// How a `vxlan` device is set. `None`: the device is gone, or none of that kind.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does otherwise.
    pub async fn vxlan(&self, device: IfIndex) -> Result<Option<Vxlan>> {
        let mut messages = self.handle.link().get().match_index(device.get()).execute();
        let message = match messages.try_next().await {
            Ok(message) => message,
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => None,
            Err(error) => return Err(error).context(|| format!("cannot ask for device {device}")),
        };
        let attributes = message.into_iter().flat_map(|message| message.attributes);
        Ok(attributes.filter_map(info).flatten().find_map(|info| match info {
            LinkInfo::Data(InfoData::Vxlan(attributes)) => Some(read(&attributes)),
            _ => None,
        }))
    }
}

pub(super) fn info(attribute: LinkAttribute) -> Option<Vec<LinkInfo>> {
    match attribute {
        LinkAttribute::LinkInfo(info) => Some(info),
        _ => None,
    }
}

fn read(attributes: &[InfoVxlan]) -> Vxlan {
    let mut vxlan = Vxlan::default();
    for attribute in attributes {
        match attribute {
            InfoVxlan::Id(vni) => vxlan.vni = *vni,
            InfoVxlan::Port(port) => vxlan.port = *port,
            InfoVxlan::Local(addr) => vxlan.local = Some((*addr).into()),
            InfoVxlan::Local6(addr) => vxlan.local = Some((*addr).into()),
            InfoVxlan::Link(index) => vxlan.lower = IfIndex::new(*index),
            InfoVxlan::Ttl(ttl @ 1..) => vxlan.ttl = Some(Field::Fixed(*ttl)),
            InfoVxlan::TtlInherit(1..) => vxlan.ttl = Some(Field::Inherit),
            InfoVxlan::Tos(tos) => {
                // 1 stands for that of the inner header.
                vxlan.dscp = if *tos == 1 { Field::Inherit } else { Field::Fixed(tos >> 2) };
            }
            InfoVxlan::Df(VxlanDf::Set) => vxlan.df = DontFragment::Set,
            InfoVxlan::Df(VxlanDf::Inherit) => vxlan.df = DontFragment::Inherit,
            // The kernel leaves out the last of the range (`udp_flow_src_port` in `include/net/udp.h`).
            InfoVxlan::PortRange((first, last)) if first < last => {
                vxlan.source_ports = Some((*first, last - 1));
            }
            InfoVxlan::UDPZeroCsumTX(zero) => vxlan.udp6_checksum = !zero,
            InfoVxlan::Ageing(seconds) => vxlan.ageing = *seconds,
            InfoVxlan::Proxy(on) => vxlan.proxy = *on,
            other => vxlan.oddity = vxlan.oddity.or(oddity(other)),
        }
    }
    vxlan
}

/// An option that has the device do more with frames than to encapsulate them.
fn oddity(attribute: &InfoVxlan) -> Option<&'static str> {
    match attribute {
        InfoVxlan::CollectMetadata(true) => Some("external"),
        InfoVxlan::Vnifilter(true) => Some("vnifilter"),
        InfoVxlan::Rsc(true) => Some("rsc"),
        InfoVxlan::Gbp => Some("gbp"),
        InfoVxlan::Gpe => Some("gpe"),
        InfoVxlan::RemCsumTX(true) => Some("remcsumtx"),
        InfoVxlan::RemCsumRX(true) => Some("remcsumrx"),
        InfoVxlan::Label(1..) => Some("flowlabel"),
        InfoVxlan::LabelPolicy(1..) => Some("flowlabel inherit"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        assert_eq!(read(&[]), Vxlan::default());
        let vxlan = read(&[
            InfoVxlan::Id(100),
            InfoVxlan::Ttl(9),
            InfoVxlan::Tos(1),
            InfoVxlan::Df(VxlanDf::Set),
            InfoVxlan::PortRange((40000, 40004)),
            InfoVxlan::UDPZeroCsumTX(true),
            InfoVxlan::Gpe,
        ]);
        assert_eq!((vxlan.vni, vxlan.ttl, vxlan.dscp), (100, Some(Field::Fixed(9)), Field::Inherit));
        assert_eq!((vxlan.df, vxlan.source_ports), (DontFragment::Set, Some((40000, 40003))));
        assert_eq!((vxlan.udp6_checksum, vxlan.oddity), (false, Some("gpe")));
        assert_eq!(read(&[InfoVxlan::Tos(0xb8), InfoVxlan::Ttl(0)]).dscp, Field::Fixed(46));
        assert_eq!(read(&[InfoVxlan::TtlInherit(1)]).ttl, Some(Field::Inherit));
    }
}
