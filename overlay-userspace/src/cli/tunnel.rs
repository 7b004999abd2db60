//! `overlay tunnel`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use overlay_common::{MacAddr, Vni, header::eth};
use serde::Serialize;

use super::{
    Session,
    output::{Table, or_dash},
    parse::{ExistOk, MissingOk, station},
};
use crate::{
    cutter,
    error::{Error, Result},
    instance::Instance,
    netlink::{Link, Netlink},
    tunnel::{self, Settings},
};

#[derive(Debug, Subcommand)]
pub(super) enum Tunnel {
    /// Let a segment reach a remote VTEP, which may send into it from then on
    Add {
        #[command(flatten)]
        tunnel: Ends,
        /// Stations behind the remote VTEP
        #[arg(long = "mac", value_name = "MAC", num_args = 1.., value_parser = station)]
        macs: Vec<MacAddr>,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        exist_ok: ExistOk,
    },
    /// Reach a remote VTEP at another address from now on, in all segments and with every station behind it
    Replace {
        /// Address that it had
        #[arg(value_name = "OLD")]
        old: IpAddr,
        /// Address that it has
        #[arg(long, value_name = "NEW")]
        remote: IpAddr,
    },
    /// Stop a segment from reaching a remote VTEP
    Del {
        #[command(flatten)]
        tunnel: Ends,
        #[command(flatten)]
        missing_ok: MissingOk,
    },
    /// List tunnels
    Show,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Ends {
    /// Number of the segment
    #[arg(long)]
    vni: Vni,
    /// Address of the remote VTEP, or multicast group of the underlay that stands for all that listen to it
    #[arg(long, value_name = "ADDR")]
    remote: IpAddr,
}

/// How the remote VTEP is reached.
#[derive(Clone, Debug, Args)]
pub(super) struct Reach {
    /// UDP port that the remote VTEP listens on [default: that of the local VTEP]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Send UDP checksums to the remote VTEP, which has to be one over IPv6; zeros unless given (RFC 6935)
    #[arg(long)]
    udp6_csum: bool,
    /// Uplink to join the group on, if the remote address is a multicast group [default: that of the route to it]
    #[arg(long = "dev", value_name = "DEV")]
    device: Option<String>,
}

impl Reach {
    /// How, and the uplink that a group is joined on.
    pub(super) fn into_parts(self) -> (Settings, Option<String>) {
        (Settings { udp_checksum: self.udp6_csum, port: self.port }, self.device)
    }
}

#[derive(Serialize)]
struct Row {
    vni: u32,
    remote: String,
    vtep: u16,
    port: u16,
    udp6_csum: bool,
    next_hop: Option<NextHop>,
    /// The largest outer IP packet that is known to get there, in bytes.
    path_mtu: Option<u16>,
    /// What the underlay said about it.
    path_mtu_told: Option<Told>,
    group: bool,
    origin: &'static str,
}

#[derive(Serialize)]
struct Told {
    mtu: u16,
    expires_s: u64,
}

#[derive(Serialize)]
struct NextHop {
    dev: String,
    mac: String,
    mtu: u16,
}

impl Tunnel {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        let done = self.apply(session, &instance, &netlink).await;
        cutter::drop_idle(&instance, &netlink).await.and(done)
    }

    async fn apply(self, session: &Session, instance: &Instance, netlink: &Netlink) -> Result<()> {
        match self {
            Self::Add { tunnel: Ends { vni, remote }, macs, reach, exist_ok } => {
                let (settings, device) = reach.into_parts();
                if remote.to_canonical().is_multicast() && macs.is_empty() {
                    let device = device.as_deref();
                    let added = tunnel::add_group(instance, netlink, vni, remote, device, settings).await;
                    return exist_ok.apply(added);
                }
                if device.is_some() {
                    return Err(Error::Usage(format!(
                        "--dev is for multicast groups, which {remote} is not"
                    )));
                }
                match tunnel::add(instance, netlink, vni, remote, settings, &macs).await {
                    Err(Error::Exists(_)) if exist_ok.is_asked() => {
                        tunnel::complete(instance, vni, remote, &macs)
                    }
                    added => added,
                }
            }
            Self::Del { tunnel: Ends { vni, remote }, missing_ok } => {
                missing_ok.apply(tunnel::del(instance, netlink, vni, remote).await)
            }
            Self::Replace { old, remote } => tunnel::replace(instance, netlink, old, remote).await,
            Self::Show => {
                let links = netlink.links().await?;
                let rows: Vec<Row> = tunnel::show(instance)?.iter().map(|view| row(view, &links)).collect();
                session.output.print(&rows, |rows| table(rows))
            }
        }
    }
}

fn row(view: &tunnel::View, links: &[Link]) -> Row {
    let next_hop = view.next_hop.as_ref().and_then(|hop| {
        let uplink = hop.uplink()?;
        let dev = links
            .iter()
            .find(|link| link.index == uplink)
            .map_or_else(|| uplink.to_string(), |link| link.name.clone());
        Some(NextHop { dev, mac: eth::destination_of(hop.ethernet()).to_string(), mtu: hop.mtu() })
    });
    let told = view.told_mtu.map(|(mtu, expires_s)| Told { mtu, expires_s });
    let known = next_hop.as_ref().map(|hop: &NextHop| hop.mtu).filter(|&mtu| mtu != 0);
    Row {
        vni: view.vni.get(),
        remote: view.remote.to_string(),
        vtep: view.vtep.get(),
        port: view.port,
        udp6_csum: view.udp_checksum,
        next_hop,
        path_mtu: known.into_iter().chain(told.as_ref().map(|told| told.mtu)).min(),
        path_mtu_told: told,
        group: view.is_group,
        origin: if view.is_learned { "learned" } else { "static" },
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table =
        Table::new(["VNI", "REMOTE", "VTEP", "PORT", "UDP6-CSUM", "DEV", "NEXT HOP", "PATH MTU", "ORIGIN"]);
    for row in rows {
        let hop = row.next_hop.as_ref();
        table.row([
            row.vni.to_string(),
            row.remote.clone(),
            row.vtep.to_string(),
            row.port.to_string(),
            if row.udp6_csum { "yes" } else { "-" }.to_owned(),
            or_dash(hop.map(|hop| &hop.dev)),
            or_dash(hop.map(|hop| &hop.mac)),
            or_dash(row.path_mtu),
            row.origin.to_owned(),
        ]);
    }
    table
}
