//! `overlay port`.

use std::net::IpAddr;

use clap::Subcommand;
use overlay_common::{IfIndex, Vni, maps::port::PortKind};
use serde::Serialize;

use super::{
    Session,
    output::{Table, out_of},
    parse::{ExistOk, MissingOk, address},
};
use crate::{error::Result, mtu, port};

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
        /// Number of the segment, which is made if it is not there
        #[arg(long)]
        vni: Vni,
        /// Learn no more stations behind it at a time; 0: any number
        #[arg(long, value_name = "N", default_value_t = 0)]
        learn_limit: u32,
        #[command(flatten)]
        exist_ok: ExistOk,
    },
    /// Change the settings of a port
    Set {
        /// Name of the device
        device: String,
        /// Learn no more stations behind it at a time; 0: any number
        #[arg(long, value_name = "N")]
        learn_limit: u32,
    },
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

#[derive(Serialize)]
struct Row {
    port: String,
    /// 0: the device is gone.
    ifindex: u32,
    vni: u32,
    kind: &'static str,
    learned: u64,
    learn_limit: u32,
    present: bool,
    created: Option<String>,
}

impl Port {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        match self {
            Self::Add { device, create: false, vni, learn_limit, exist_ok, .. } => {
                exist_ok.apply(port::add(&instance, &netlink, &device, vni, learn_limit).await)?;
                // What was asked for is done; that it may not do is worth a word, and no failure.
                if let Ok(Some(warning)) = mtu::warning(&instance, &netlink, vni, &device).await {
                    eprintln!("overlay: {warning}");
                }
                Ok(())
            }
            Self::Add { device: name, create: true, addresses, mtu, vni, learn_limit, exist_ok } => {
                let creation = port::Creation { name, addresses, mtu, learn_limit };
                exist_ok.apply(port::create(&instance, &netlink, &creation, vni).await)
            }
            Self::Set { device, learn_limit } => port::set(&instance, &device, learn_limit),
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

fn row(view: port::View) -> Row {
    Row {
        port: view.name,
        ifindex: view.device.map_or(0, IfIndex::get),
        vni: view.vni.get(),
        kind: match view.kind {
            PortKind::VethPeer => "veth-peer",
            PortKind::Device => "device",
        },
        learned: view.learned,
        learn_limit: view.learn_limit,
        present: view.device.is_some(),
        created: view.created,
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["PORT", "IFINDEX", "VNI", "KIND", "LEARNED"]);
    for row in rows {
        table.row([
            row.port.clone(),
            if row.present { row.ifindex.to_string() } else { "gone".to_owned() },
            row.vni.to_string(),
            row.kind.to_owned(),
            out_of(row.learned, row.learn_limit),
        ]);
    }
    table
}
