//! `overlay port`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use overlay_common::{IfIndex, Vni, maps::port::PortKind};
use serde::Serialize;

use super::{
    Session,
    output::{Table, or_dash, out_of},
    parse::{ExistOk, MissingOk, address, rate},
};
use crate::{
    error::{Error, Result},
    membership::Membership,
    mtu,
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
            Self::Set { limits: Settings { learn_limit: None, bum_rate: None }, .. } => {
                Err(Error::Usage("nothing to set; name --learn-limit or --bum-rate".to_owned()))
            }
            Self::Set { device, limits: Settings { learn_limit, bum_rate } } => {
                port::set(&instance, &device, learn_limit, bum_rate)
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

impl From<Settings> for Limits {
    fn from(settings: Settings) -> Self {
        Self {
            stations: settings.learn_limit.unwrap_or_default(),
            bum_rate: settings.bum_rate.unwrap_or_default(),
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
        present: view.device.is_some(),
        created: view.created,
        vlans: vlans.map(|(vid, vni)| Vlan { vid: vid.get(), vni: vni.get() }).collect(),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["PORT", "IFINDEX", "VNI", "KIND", "LEARNED", "BUM RATE", "VLANS"]);
    for row in rows {
        let vlans: Vec<_> = row.vlans.iter().map(|vlan| format!("{}:{}", vlan.vid, vlan.vni)).collect();
        table.row([
            row.port.clone(),
            if row.present { row.ifindex.to_string() } else { "gone".to_owned() },
            or_dash(row.vni.as_ref()),
            row.kind.to_owned(),
            out_of(row.learned, row.learn_limit),
            or_dash(row.bum_rate),
            if vlans.is_empty() { "-".to_owned() } else { vlans.join(",") },
        ]);
    }
    table
}
