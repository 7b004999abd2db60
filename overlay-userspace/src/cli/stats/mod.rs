//! `overlay stats`.

mod neigh;
mod rows;
mod tables;
mod watch;

use std::time::Duration;

use clap::{Args, ValueEnum};
use overlay_common::Vni;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use self::rows::{Event, Port, Rows, Segment, Tunnel, Vtep};
use super::{Session, output::Table, parse};
use crate::{
    error::Result,
    instance::Instance,
    maps::{drops, notices},
    segment,
    traffic::{Sample, Span},
};

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Stats {
    /// Number of the one segment to show
    #[arg(long)]
    vni: Option<Vni>,
    /// What to count by: each segment's remote VTEPs one by one, segments, remote VTEPs, or ports
    #[arg(long, value_enum, default_value_t = By::Tunnel, conflicts_with_all = ["drops", "neigh", "notices"])]
    by: By,
    /// Show what was dropped, and why
    #[arg(long, conflicts_with = "vni")]
    drops: bool,
    /// Show what share of ARP and ND was answered on this host
    #[arg(long, conflicts_with_all = ["drops", "notices", "watch"])]
    neigh: bool,
    /// Show what was done besides forwarding and dropping
    #[arg(long, conflicts_with_all = ["vni", "drops"])]
    notices: bool,
    /// Show how fast it grows, each so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = parse::interval)]
    watch: Option<Duration>,
}

/// What is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Segment and remote VTEP
    Tunnel,
    /// Segment
    Vni,
    /// Remote VTEP
    Vtep,
    /// Port
    Port,
}

/// What is shown.
struct Page {
    rows: Rows,
    /// When that was, if it is shown time and again.
    moment: Option<Moment>,
}

struct Moment {
    /// RFC 3339, in UTC.
    time: String,
    /// For so long before that rates are averages.
    seconds: f64,
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(moment) = &self.moment {
            map.serialize_entry("time", &moment.time)?;
            map.serialize_entry("seconds", &moment.seconds)?;
        }
        map.serialize_entry(self.rows.name(), &self.rows)?;
        map.end()
    }
}

impl Page {
    fn table(&self) -> Table {
        self.rows.table(self.moment.is_some())
    }
}

impl Stats {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        if let Some(every) = self.watch {
            return self.watch(session, every).await;
        }
        let (instance, _) = session.open_with_netlink().await?;
        if self.neigh {
            return neigh::show(session, &instance, self.vni);
        }
        let page = Page { rows: self.rows(&instance)?, moment: None };
        session.output.print(&page, Page::table)
    }

    /// What was counted until now.
    fn rows(&self, instance: &Instance) -> Result<Rows> {
        if self.drops {
            let drops = drops::read(instance)?.into_iter();
            return Ok(Rows::Drops(Event::drops(drops.map(|(reason, packets)| (reason, packets, None)))));
        }
        if self.notices {
            let notices = notices::read(instance)?.into_iter();
            return Ok(Rows::Notices(Event::notices(notices.map(|(notice, count)| (notice, count, None)))));
        }
        self.check(instance)?;
        Ok(self.of(Span { before: None, now: &Sample::read(instance)? }))
    }

    /// Refuses a segment that is not there.
    fn check(&self, instance: &Instance) -> Result<()> {
        self.vni.map_or(Ok(()), |vni| segment::show(instance, Some(vni)).map(drop))
    }

    fn of(&self, span: Span<'_>) -> Rows {
        if self.drops {
            return Rows::Drops(Event::drops(span.counts(|sample| &sample.drops)));
        }
        if self.notices {
            return Rows::Notices(Event::notices(span.counts(|sample| &sample.notices)));
        }
        match self.by {
            By::Tunnel => Rows::Segments(Tunnel::all(span, self.vni)),
            By::Vni => Rows::Vnis(Segment::all(span, self.vni)),
            By::Vtep => Rows::Vteps(Vtep::all(span, self.vni)),
            By::Port => Rows::Ports(Port::all(span, self.vni)),
        }
    }
}
