//! `overlay mdb`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use overlay_common::{
    Family, Vni,
    maps::mdb::{Listener, Subject},
};
use serde::Serialize;

use super::{
    Session,
    fdb::PlaceArgs,
    output::{Table, or_dash, period},
    parse::{ExistOk, MissingOk},
};
use crate::{error::Result, instance::Instance, maps::vteps::Vteps, mdb, netlink::Link};

#[derive(Debug, Subcommand)]
pub(super) enum Mdb {
    /// Let somebody listen to a multicast group, for good
    Add {
        #[command(flatten)]
        group: GroupArgs,
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        exist_ok: ExistOk,
    },
    /// Let somebody listen to a multicast group no more
    Del {
        #[command(flatten)]
        group: GroupArgs,
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        missing_ok: MissingOk,
    },
    /// List who listens to what, and where routers are
    Show {
        /// Number of the one segment to show
        #[arg(long)]
        vni: Option<Vni>,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct GroupArgs {
    /// Number of the segment
    #[arg(long)]
    vni: Vni,
    /// Address of the multicast group
    group: IpAddr,
}

#[derive(Serialize)]
struct Row {
    vni: u32,
    /// The group; none for a router or a querier.
    group: Option<String>,
    kind: &'static str,
    family: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    origin: &'static str,
    left_s: Option<u64>,
}

impl Mdb {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, netlink) = session.open_with_netlink().await?;
        match self {
            Self::Add { group: GroupArgs { vni, group }, place, exist_ok } => {
                exist_ok.apply(mdb::add(&instance, &netlink, vni, group, &place.into()).await)
            }
            Self::Del { group: GroupArgs { vni, group }, place, missing_ok } => {
                missing_ok.apply(mdb::del(&instance, &netlink, vni, group, &place.into()).await)
            }
            Self::Show { vni } => {
                let rows = rows(&instance, &netlink.links().await?, vni)?;
                session.output.print(&rows, |rows| table(rows))
            }
        }
    }
}

fn rows(instance: &Instance, links: &[Link], vni: Option<Vni>) -> Result<Vec<Row>> {
    let vteps = Vteps::open(instance)?.all()?;
    let row = |view: mdb::View| {
        let (group, family, kind, place) = match view.subject {
            Subject::Listener(group, place) => (Some(group), group.family(), "listener", Some(place)),
            // That they are known is of use to the programs only.
            Subject::Group(_) => return None,
            Subject::Router(family, place) => (None, family, "router", Some(place)),
            Subject::Querier(family) => (None, family, "querier", None),
        };
        let (port, remote) = match place {
            Some(Listener::Port(device)) => {
                let link = links.iter().find(|link| link.index == device);
                (Some(link.map_or_else(|| device.to_string(), |link| link.name.clone())), None)
            }
            Some(Listener::Vtep(id)) => {
                let vtep = vteps.iter().find(|(other, _)| *other == id);
                (None, Some(vtep.map_or_else(|| id.to_string(), |(_, vtep)| vtep.remote().to_string())))
            }
            None => (None, None),
        };
        Some(Row {
            vni: view.vni.get(),
            group: group.map(|group| group.to_string()),
            kind,
            family: match family {
                Family::Ipv4 => "ipv4",
                Family::Ipv6 => "ipv6",
            },
            port,
            remote,
            origin: if view.is_static { "static" } else { "learned" },
            left_s: view.left,
        })
    };
    Ok(mdb::show(instance, vni)?.into_iter().filter_map(row).collect())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["VNI", "GROUP", "KIND", "FAMILY", "PORT", "REMOTE", "ORIGIN", "LEFT"]);
    for row in rows {
        table.row([
            row.vni.to_string(),
            or_dash(row.group.as_ref()),
            row.kind.to_owned(),
            row.family.to_owned(),
            or_dash(row.port.as_ref()),
            or_dash(row.remote.as_ref()),
            row.origin.to_owned(),
            or_dash(row.left_s.map(period)),
        ]);
    }
    table
}
