//! `overlay port`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use overlay_common::{IfIndex, Vni, maps::port::PortKind};
use serde::Serialize;

use super::{
    Session,
    output::{Table, or_dash, out_of},
    parse::{ExistOk, MissingOk, Switch, address, rate},
};
use crate::{
    error::{Error, Result},
    instance::Instance,
    membership::Membership,
    mtu,
    netlink::Netlink,
    port::{self, Limits},
    say,
    trunk::{self, VlanMap},
};

#[derive(Debug, Subcommand)]
pub(super) enum Port {
    /// Make a device a port of a segment
    Add {
        /// Name of the device; with --create, of the host's own device to make, whose other end is the port
        device: String,
        /// Make a veth pair, so that the host itself is in the segment
        #[arg(long)]
        create: bool,
        /// Addresses of the host's own device
        #[arg(long = "address", value_name = "ADDR/LEN", num_args = 1.., requires = "create", value_parser = address)]
        addresses: Vec<(IpAddr, u8)>,
        /// Largest IP packet of the host's own device, in bytes [default: what fits the uplinks]
        #[arg(long, value_name = "N", requires = "create")]
        mtu: Option<u32>,
        /// Number of the segment, which is made if it is not there; with --vlan, that of frames without a tag
        #[arg(long, required_unless_present = "vlan")]
        vni: Option<Vni>,
        /// Make it a trunk port: its VLANs are segments of their own, which are made if they are not there
        #[arg(long, value_name = "VID:VNI,FIRST-LAST:VNI,...", conflicts_with = "create")]
        vlan: Option<VlanMap>,
        #[command(flatten)]
        limits: Settings,
        #[command(flatten)]
        exist_ok: ExistOk,
    },
    /// Change the settings of a port
    Set {
        /// Name of the device
        device: String,
        #[command(flatten)]
        limits: Settings,
    },
    /// Change the VLANs of a trunk port
    #[command(subcommand)]
    Vlan(PortVlan),
    /// Make a port an ordinary device again
    Del {
        /// Name of the device
        device: String,
        #[command(flatten)]
        missing_ok: MissingOk,
    },
    /// List ports
    Show,
}

#[derive(Debug, Subcommand)]
pub(super) enum PortVlan {
    /// Let VLANs into segments, which are made if they are not there
    Add {
        /// Name of the device
        device: String,
        /// The VLANs and their segments
        #[arg(value_name = "VID:VNI,FIRST-LAST:VNI,...")]
        vlans: VlanMap,
        #[command(flatten)]
        exist_ok: ExistOk,
    },
    /// Take VLANs out of segments
    Del {
        /// Name of the device
        device: String,
        /// The VLANs and their segments
        #[arg(value_name = "VID:VNI,FIRST-LAST:VNI,...")]
        vlans: VlanMap,
        #[command(flatten)]
        missing_ok: MissingOk,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Settings {
    /// Learn no more stations behind it at a time; 0: any number
    #[arg(long, value_name = "N")]
    learn_limit: Option<u32>,
    /// Packets per second that the port may have flooded: broadcast, unknown unicast and multicast; 0: any number
    #[arg(long, value_name = "N[k|M]", value_parser = rate)]
    bum_rate: Option<u32>,
    /// Send frames out of tunnels straight to the device from XDP, where its driver takes them; needs uplinks with native
    /// XDP (up --xdp native). A veth's other end needs GRO on. On uplinks that are veth themselves, only packets with
    /// finished checksums go that way (ethtool -K DEV tx off at the uplink's other end) [default: off]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    xdp_redirect: Option<Switch>,
}

#[derive(Serialize)]
struct Vlan {
    vid: u16,
    vni: u32,
}

#[derive(Serialize)]
struct Row {
    port: String,
    /// 0: the device is gone.
    ifindex: u32,
    vni: Option<u32>,
    kind: &'static str,
    learned: u64,
    learn_limit: u32,
    /// Packets per second; none: any number.
    bum_rate: Option<u32>,
    xdp_redirect: bool,
    /// Whether it is done: the device takes it, and an uplink is served by native XDP.
    fed_by_xdp: bool,
    present: bool,
    created: Option<String>,
    vlans: Vec<Vlan>,
}

impl Port {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        match self {
            Self::Add { device, create: false, vni, vlan, limits, exist_ok, .. } => {
                let member = membership(vni, vlan)?;
                exist_ok.apply(port::add(&instance, &netlink, &device, &member, limits.into()).await)?;
                // What was asked for is done; that it may not do is worth a word, and no failure.
                let vnis: Vec<_> = member.vnis().collect();
                if let Ok(Some(warning)) = mtu::warning(&instance, &netlink, &vnis, &device).await {
                    say::aside(warning);
                }
                limits.warn(&instance, &netlink).await;
                Ok(())
            }
            Self::Vlan(PortVlan::Add { device, vlans, exist_ok }) => {
                exist_ok.apply(trunk::add(&instance, &netlink, &device, &vlans).await)
            }
            Self::Vlan(PortVlan::Del { device, vlans, missing_ok }) => {
                missing_ok.apply(trunk::del(&instance, &device, &vlans))
            }
            Self::Add { device: name, create: true, addresses, mtu, vni, limits, exist_ok, .. } => {
                let vni = vni.ok_or_else(no_segment)?;
                let creation = port::Creation { name, addresses, mtu, limits: limits.into() };
                exist_ok.apply(port::create(&instance, &netlink, &creation, vni).await)
            }
            Self::Set { limits, .. } if port::Change::from(limits) == port::Change::default() => Err(
                Error::Usage("nothing to set; name --learn-limit, --bum-rate or --xdp-redirect".to_owned()),
            ),
            Self::Set { device, limits } => {
                port::set(&instance, &device, limits.into())?;
                limits.warn(&instance, &netlink).await;
                Ok(())
            }
            Self::Del { device, missing_ok } => {
                missing_ok.apply(port::del(&instance, &netlink, &device).await)
            }
            Self::Show => {
                let rows: Vec<Row> = port::show(&instance)?.into_iter().map(row).collect();
                session.output.print(&rows, |rows| table(rows))
            }
        }
    }
}

/// The segments that the flags name.
fn membership(vni: Option<Vni>, vlan: Option<VlanMap>) -> Result<Membership> {
    match (vni, vlan) {
        (native, Some(vlans)) => {
            vlans.refuse_native(native)?;
            Ok(Membership::Trunk(native, vlans))
        }
        (Some(vni), None) => Ok(Membership::Segment(vni)),
        (None, None) => Err(no_segment()),
    }
}

fn no_segment() -> Error {
    Error::Usage("name a segment with --vni, or VLANs with --vlan".to_owned())
}

impl Settings {
    /// Says what is worth knowing of a port that XDP shall feed.
    async fn warn(self, instance: &Instance, netlink: &Netlink) {
        if self.xdp_redirect.is_none_or(|on| !bool::from(on)) {
            return;
        }
        let Ok(links) = netlink.links().await else { return };
        if let Ok(Some(warning)) = port::feed_warning(instance, &links) {
            say::aside(warning);
        }
    }
}

impl From<Settings> for port::Change {
    fn from(Settings { learn_limit, bum_rate, xdp_redirect }: Settings) -> Self {
        Self { stations: learn_limit, bum_rate, xdp_redirect: xdp_redirect.map(bool::from) }
    }
}

impl From<Settings> for Limits {
    fn from(settings: Settings) -> Self {
        let port::Change { stations, bum_rate, xdp_redirect } = settings.into();
        Self {
            stations: stations.unwrap_or_default(),
            bum_rate: bum_rate.unwrap_or_default(),
            xdp_redirect: xdp_redirect.unwrap_or_default(),
        }
    }
}

fn row(view: port::View) -> Row {
    let vlans = view.vlans.iter().flat_map(VlanMap::iter);
    Row {
        port: view.name,
        ifindex: view.device.map_or(0, IfIndex::get),
        vni: view.vni.map(Vni::get),
        kind: match view.kind {
            PortKind::VethPeer => "veth-peer",
            PortKind::Device => "device",
        },
        learned: view.learned,
        learn_limit: view.learn_limit,
        bum_rate: view.bum_rate,
        xdp_redirect: view.xdp_redirect,
        fed_by_xdp: view.is_fed_by_xdp,
        present: view.device.is_some(),
        created: view.created,
        vlans: vlans.map(|(vid, vni)| Vlan { vid: vid.get(), vni: vni.get() }).collect(),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["PORT", "IFINDEX", "VNI", "KIND", "LEARNED", "BUM RATE", "XDP", "VLANS"]);
    for row in rows {
        let vlans: Vec<_> = row.vlans.iter().map(|vlan| format!("{}:{}", vlan.vid, vlan.vni)).collect();
        table.row([
            row.port.clone(),
            if row.present { row.ifindex.to_string() } else { "gone".to_owned() },
            or_dash(row.vni.as_ref()),
            row.kind.to_owned(),
            out_of(row.learned, row.learn_limit),
            or_dash(row.bum_rate),
            match (row.xdp_redirect, row.fed_by_xdp) {
                (false, _) => "-",
                (true, true) => "redirect",
                (true, false) => "cannot",
            }
            .to_owned(),
            if vlans.is_empty() { "-".to_owned() } else { vlans.join(",") },
        ]);
    }
    table
}
