//! `overlay monitor`.

use std::fmt;

use clap::Args;
use overlay_common::{
    DropReason, Vni,
    maps::event::{Event, Kind},
};
use serde::Serialize;

use super::{
    Session,
    listening::{Pipe, Signals, missing},
    output::Format,
};
use crate::{
    error::{Context as _, Result},
    listen::{
        Ear, Heard, Wanted,
        names::{Names, Place},
        sight,
    },
    say,
};

/// Bytes of a packet that tell all that is shown of it, behind two VLAN tags and IPv6, too.
const BYTES: u32 = 128;

/// What is shown unless something is asked for: all but drops.
const USUAL: [Kind; 10] = [
    Kind::Learned,
    Kind::Moved,
    Kind::Aged,
    Kind::Removed,
    Kind::Placed,
    Kind::Limit,
    Kind::Full,
    Kind::Flaps,
    Kind::Neighbour,
    Kind::Missed,
];

#[derive(Clone, Debug, Args)]
pub(super) struct Monitor {
    /// Only events of that segment
    #[arg(long)]
    vni: Option<Vni>,
    /// Only events of these kinds: learned, moved, aged, removed, placed, limit, full, flaps, neighbour, missed, dropped
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    kind: Vec<Kind>,
    /// Dropped packets, too, up to 1000 on each CPU in a second
    #[arg(long)]
    drops: bool,
}

fn kind(text: &str) -> Result<Kind, String> {
    let mut known = USUAL.into_iter().chain([Kind::Dropped]);
    known
        .find(|kind| kind.name() == text)
        .ok_or_else(|| "no such kind of event; --help lists them".to_owned())
}

/// An event, for people and programs.
#[derive(Debug, Serialize)]
struct Row {
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vni: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Place>,
    /// The port or uplink that the packet came by.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// The VTEP that sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// Bytes of the packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    len: Option<u32>,
}

impl Monitor {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let instance = session.open()?;
        let mut signals = Signals::listen()?;
        let port = instance.config()?.port();
        let mut kinds = if self.kind.is_empty() { USUAL.to_vec() } else { self.kind };
        if self.drops {
            kinds.push(Kind::Dropped);
        }
        let mut ear = Ear::open(&instance, Wanted { kinds, vni: self.vni, bytes: BYTES })?;
        drop(instance);
        let mut names = Names::open(ear.instance())?;
        let (mut pipe, mut goes_on) = (Pipe::default(), true);
        say::aside("listening; Ctrl-C ends it");
        while goes_on && !pipe.is_closed() {
            let heard = tokio::select! {
                heard = ear.hear() => heard?,
                () = signals.asked() => {
                    goes_on = false;
                    Some(ear.take()?)
                }
            };
            let Some(heard) = heard else {
                say::aside("the instance was taken down");
                return Ok(());
            };
            let rows = heard.iter().filter_map(|heard| row(heard, &mut names, port));
            for row in rows.filter(|row| self.vni.is_none_or(|only| row.vni == Some(only.get()))) {
                match session.output.format() {
                    Format::Table => pipe.line(row)?,
                    Format::Json => {
                        pipe.line(serde_json::to_string(&row).context(|| "cannot print JSON")?)?;
                    }
                }
            }
        }
        say::aside(format_args!("ended{}", missing(&ear)));
        Ok(())
    }
}

fn row(heard: &Heard, names: &mut Names, port: u16) -> Option<Row> {
    let Heard { time, event, packet, .. } = heard;
    let kind = Kind::from_code(event.kind)?;
    let row = Row {
        time: humantime::format_rfc3339_micros(*time).to_string(),
        event: kind.name(),
        reason: None,
        vni: Vni::new(event.vni).map(Vni::get),
        mac: event.mac.is_station().then(|| event.mac.to_string()),
        address: (kind == Kind::Neighbour).then(|| event.address().to_string()),
        place: names.place(event.place).filter(|_| kind != Kind::Neighbour),
        from: names.place(event.from).filter(|_| kind != Kind::Neighbour),
        device: None,
        sender: None,
        source: None,
        destination: None,
        len: None,
    };
    Some(if Kind::has_packet(event.kind) {
        with_packet(row, (kind, event), packet, names, port)
    } else {
        row
    })
}

/// Adds what is to be seen of an event's packet.
fn with_packet(row: Row, (kind, event): (Kind, &Event), packet: &[u8], names: &mut Names, port: u16) -> Row {
    let tunnel = sight::tunnel(packet, port);
    let stations = sight::stations(tunnel.map_or(packet, |tunnel| tunnel.inner));
    let reason = DropReason::ALL.get(usize::from(event.reason)).filter(|_| kind == Kind::Dropped);
    Row {
        reason: reason.map(|reason| reason.name()),
        vni: row.vni.or_else(|| tunnel.and_then(|tunnel| tunnel.vni).map(Vni::get)),
        device: Some(names.device(event.device)),
        sender: tunnel.map(|tunnel| tunnel.sender.to_string()),
        source: stations.map(|(source, _)| source.to_string()),
        destination: stations.map(|(_, destination)| destination.to_string()),
        len: Some(event.len),
        ..row
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.time, self.event)?;
        let words = [
            ("", self.reason.map(str::to_owned)),
            ("VNI ", self.vni.map(|vni| vni.to_string())),
            ("", self.address.clone()),
            ("", self.mac.clone()),
            ("", self.place.as_ref().map(ToString::to_string)),
            ("from ", self.from.as_ref().map(ToString::to_string)),
            ("on ", self.device.clone()),
            ("from ", self.sender.clone()),
            ("", self.source.clone()),
            ("> ", self.destination.clone()),
            ("length ", self.len.map(|len| len.to_string())),
        ];
        for (name, value) in words {
            if let Some(value) = value {
                write!(f, " {name}{value}")?;
            }
        }
        Ok(())
    }
}
