//! What an agent serves as metrics.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{agent::GENEROUS, netns::NetNs, process::wait_until};

/// Where agents serve them unless told otherwise.
pub const ADDRESS: &str = "127.0.0.1:9477";

/// An answer by HTTP.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, in lower case.
    pub headers: String,
    /// What it says.
    pub body: String,
}

/// Asks for a page, from inside a namespace.
pub fn ask(netns: &NetNs, address: &str, method: &str, path: &str) -> Result<Answer> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut stream = connect(netns, address)?;
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| format!("{path}: so far {text}"))?;
    let (headers, body) = text.split_once("\r\n\r\n").with_context(|| text.clone())?;
    let status = headers.split_whitespace().nth(1).context("no status")?.parse()?;
    Ok(Answer { status, headers: headers.to_lowercase(), body: body.to_owned() })
}

/// Connects, from inside a namespace.
pub fn connect(netns: &NetNs, address: &str) -> Result<TcpStream> {
    let address: SocketAddr = address.parse()?;
    let stream = netns.enter(|| Ok(TcpStream::connect_timeout(&address, GENEROUS)?))?;
    stream.set_read_timeout(Some(GENEROUS))?;
    Ok(stream)
}

/// All metrics.
pub fn fetch(netns: &NetNs) -> Result<String> {
    let answer = ask(netns, ADDRESS, "GET", "/metrics")?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.body)
}

/// The value of a series, as in `overlay_drops_total{reason="no-vni"}`.
#[must_use]
pub fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Fetches until a series has a value that `is_right`.
pub fn wait_for(netns: &NetNs, series: &str, is_right: impl Fn(f64) -> bool) -> Result<f64> {
    let mut seen = None;
    wait_until(Instant::now() + GENEROUS, || {
        seen = value(&fetch(netns)?, series);
        std::thread::sleep(Duration::from_millis(20));
        Ok(seen.filter(|value| is_right(*value)))
    })
    .with_context(|| format!("{series} is {seen:?}"))
}

/// The names of all families.
#[must_use]
pub fn names(text: &str) -> BTreeSet<String> {
    let of = |line: &str| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned());
    text.lines().filter_map(of).collect()
}
