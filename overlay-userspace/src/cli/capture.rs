//! `overlay capture`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use nix::net::if_::if_indextoname;
use overlay_common::{
    Vni,
    maps::event::{Kind, MOST_BYTES},
};

use super::{
    Session,
    listening::{Pipe, Signals, missing},
};
use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
    listen::{
        Ear, Wanted,
        capture::{Assembly, Captured, Filter},
        file::CaptureFile,
        names::Names,
        sight,
    },
    maps, say,
};

#[derive(Clone, Debug, Args)]
pub(super) struct Capture {
    /// Only packets of that segment
    #[arg(long)]
    vni: Option<Vni>,
    /// Only packets that came by that port or uplink, or go to that port
    #[arg(long, value_name = "DEV")]
    port: Option<String>,
    /// Only packets that were dropped
    #[arg(long)]
    drops: bool,
    /// End after so many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Bytes of each packet to keep
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(14..=i64::from(MOST_BYTES)))]
    snaplen: u32,
    /// Write a pcapng file instead of a line for each packet; - is standard output
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Where packets go.
enum Sink {
    Lines,
    File(CaptureFile<BufWriter<Box<dyn Write>>>),
}

impl Capture {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let instance = session.open()?;
        let signals = Signals::listen()?;
        let config = instance.config()?;
        let devices = devices(&instance)?;
        self.check_port(&devices)?;
        let mut sink = self.sink(&devices)?;
        let kinds =
            if self.drops { vec![Kind::Dropped] } else { vec![Kind::Frame, Kind::Verdict, Kind::Dropped] };
        let ear = Ear::open(&instance, Wanted { kinds, vni: self.vni, bytes: self.snaplen })?;
        drop(instance);
        let names = Names::open(ear.instance())?;
        let filter = Filter { vni: self.vni, device: self.port.clone(), drops: self.drops };
        say::aside("capturing; Ctrl-C ends it");
        let assembly = Assembly::new(config.port());
        let mut work = Work { ear, names, assembly, filter, port: config.port(), count: 0, most: self.count };
        let done = work.go(&mut sink, signals).await;
        let missing = missing(&work.ear);
        say::aside(format_args!("{} packets captured{missing}", work.count));
        done
    }

    /// Refuses a device that is no port or uplink, where the capture would see nothing.
    fn check_port(&self, devices: &[String]) -> Result<()> {
        let Some(port) = self.port.as_ref().filter(|port| !devices.contains(port)) else { return Ok(()) };
        Err(Error::Missing(format!(
            "--port {port} is no port or uplink of this instance; `overlay port show` lists ports"
        )))
    }

    fn sink(&self, devices: &[String]) -> Result<Sink> {
        let Some(path) = &self.write else { return Ok(Sink::Lines) };
        let what = || format!("cannot write {}", path.display());
        let writer: Box<dyn Write> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(path).context(what)?)
        };
        let mut file = CaptureFile::begin(BufWriter::new(writer), self.snaplen, devices).context(what)?;
        file.flush().context(what)?;
        Ok(Sink::File(file))
    }
}

/// The names of ports and uplinks that are there.
fn devices(instance: &Instance) -> Result<Vec<String>> {
    let uplinks = maps::uplinks(instance)?.entries()?.into_keys();
    let ports = maps::ports(instance)?.entries()?.into_keys();
    let names = uplinks.chain(ports).filter_map(|index| if_indextoname(index).ok()?.into_string().ok());
    Ok(names.filter(|name| !name.is_empty()).collect())
}

struct Work {
    ear: Ear,
    names: Names,
    assembly: Assembly,
    filter: Filter,
    port: u16,
    count: u64,
    most: Option<u64>,
}

impl Work {
    /// Captures until a signal, the end of the instance or of the pipe, or as many packets as there shall be.
    async fn go(&mut self, sink: &mut Sink, mut signals: Signals) -> Result<()> {
        let mut pipe = Pipe::default();
        loop {
            let heard = tokio::select! {
                heard = self.ear.hear() => heard?,
                () = signals.asked() => break,
            };
            let Some(heard) = heard else {
                say::aside("the instance was taken down");
                break;
            };
            let captured = self.assembly.put(heard, &mut self.names);
            if self.put(sink, &captured, &mut pipe)? || pipe.is_closed() {
                return Ok(());
            }
        }
        let heard = self.ear.take()?;
        let mut captured = self.assembly.put(heard, &mut self.names);
        captured.extend(self.assembly.finish());
        self.put(sink, &captured, &mut pipe).map(drop)
    }

    /// Puts packets where they go; whether that is the end.
    fn put(&mut self, sink: &mut Sink, captured: &[Captured], pipe: &mut Pipe) -> Result<bool> {
        for captured in captured.iter().filter(|captured| self.filter.takes(captured)) {
            let written = match sink {
                Sink::Lines => pipe.line(self.line(captured)),
                Sink::File(file) => {
                    let packet = (&captured.packet[..], captured.len);
                    pipe.check(file.write(&captured.device, captured.time, packet, &captured.comment()))
                }
            };
            written?;
            self.count += 1;
            if pipe.is_closed() || self.most.is_some_and(|most| self.count >= most) {
                break;
            }
        }
        if let Sink::File(file) = sink {
            pipe.check(file.flush())?;
        }
        Ok(self.most.is_some_and(|most| self.count >= most))
    }

    fn line(&self, captured: &Captured) -> String {
        let Captured { time, device, packet, len, .. } = captured;
        let frame = match sight::tunnel(packet, self.port) {
            Some(tunnel) => format!("{} | {}", tunnel.sender, sight::describe(tunnel.inner)),
            None => sight::describe(packet),
        };
        let time = humantime::format_rfc3339_micros(*time);
        format!("{time} {device}: {frame}, length {len}: {}", captured.comment())
    }
}
