//! `overlay port`.

use clap::Subcommand;
use overlay_common::{Vni, maps::port::PortKind};
use serde::Serialize;

use super::{
    Session,
    output::{Table, or_dash},
    parse::{ExistOk, MissingOk},
};
use crate::{error::Result, mtu, port};

#[derive(Debug, Subcommand)]
pub(super) enum Port {
    /// Make a device a port of a segment
    Add {
        /// Name of the device
        device: String,
        /// Number of the segment, which is made if it is not there
        #[arg(long)]
        vni: Vni,
        #[command(flatten)]
        exist_ok: ExistOk,
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
    port: Option<String>,
    ifindex: u32,
    vni: u32,
    kind: &'static str,
}

impl Port {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        match self {
            Self::Add { device, vni, exist_ok } => {
                exist_ok.apply(port::add(&instance, &netlink, &device, vni).await)?;
                // What was asked for is done; that it may not do is worth a word, and no failure.
                if let Ok(Some(warning)) = mtu::warning(&instance, &netlink, vni, &device).await {
                    eprintln!("overlay: {warning}");
                }
                Ok(())
            }
            Self::Del { device, missing_ok } => {
                missing_ok.apply(port::del(&instance, &netlink, &device).await)
            }
            Self::Show => {
                let rows: Vec<Row> = port::show(&instance, &netlink).await?.into_iter().map(row).collect();
                session.output.print(&rows, |rows| table(rows))
            }
        }
    }
}

fn row(view: port::View) -> Row {
    Row {
        port: view.name,
        ifindex: view.device.get(),
        vni: view.vni.get(),
        kind: match view.kind {
            PortKind::VethPeer => "veth-peer",
            PortKind::Device => "device",
        },
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["PORT", "IFINDEX", "VNI", "KIND"]);
    for row in rows {
        table.row([
            or_dash(row.port.as_ref()),
            row.ifindex.to_string(),
            row.vni.to_string(),
            row.kind.to_owned(),
        ]);
    }
    table
}
