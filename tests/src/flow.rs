//! One TCP connection that never pauses, to see how it fares when something changes.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    netns::NetNs,
    process::wait_until,
    traffic::{PATIENCE, join},
};

/// How many bytes in a row differ from those behind them: a prime, so that no offset is like another nearby.
const PERIOD: usize = 251;
const CHUNK: usize = PERIOD * 64;
/// How long a socket may be stuck before the flow is taken for dead.
const STUCK: Duration = Duration::from_secs(20);

/// A TCP connection over which one side sends all the time.
pub struct Flow {
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    client: Option<JoinHandle<Result<()>>>,
    server: Option<JoinHandle<Result<()>>>,
}

impl Flow {
    /// Connects, and starts to send.
    pub fn start(from: &NetNs, to: &NetNs, address: IpAddr) -> Result<Self> {
        let listener = to.enter(|| Ok(TcpListener::bind((address, 0))?))?;
        let target = listener.local_addr()?;
        let (received, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let stream = from.enter(|| Ok(TcpStream::connect_timeout(&target, PATIENCE)?))?;
        let (count, halt) = (Arc::clone(&received), Arc::clone(&stop));
        let server = to.spawn(move || receive(&listener, &count));
        let client = from.spawn(move || send(stream, &halt));
        Ok(Self { received, stop, client: Some(client), server: Some(server) })
    }

    /// Bytes that have arrived.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits for so many more bytes than `since`; how long after `begin` they were there.
    pub fn progress(&self, since: u64, more: u64, begin: Instant) -> Result<Duration> {
        wait_until(begin + STUCK, || Ok((self.received() >= since + more).then(|| begin.elapsed())))
            .with_context(|| format!("{} bytes more than {since} arrived", self.received() - since))
    }

    /// Ends the connection; all that was sent has to have arrived as it was.
    pub fn finish(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.client.take().map_or(Ok(()), join);
        let received = self.server.take().map_or(Ok(()), join);
        sent.and(received)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        // An error here was either reported by `finish`, or the test has failed already.
        let _ = self.end();
    }
}

/// Watches flows for so long: how long each stood still at most.
#[must_use]
pub fn pauses<const N: usize>(flows: &[Flow; N], period: Duration) -> [Duration; N] {
    let begin = Instant::now();
    let mut longest = [Duration::ZERO; N];
    let mut last = flows.each_ref().map(|flow| (flow.received(), begin));
    while begin.elapsed() < period {
        std::thread::sleep(Duration::from_millis(1));
        for ((flow, last), longest) in flows.iter().zip(&mut last).zip(&mut longest) {
            let (received, now) = (flow.received(), Instant::now());
            *longest = now.duration_since(last.1).max(*longest);
            if received != last.0 {
                *last = (received, now);
            }
        }
    }
    longest
}

fn pattern() -> Vec<u8> {
    (0..CHUNK + PERIOD).map(|at| u8::try_from(at % PERIOD).unwrap_or(0)).collect()
}

fn send(mut stream: TcpStream, stop: &AtomicBool) -> Result<()> {
    stream.set_write_timeout(Some(STUCK))?;
    let pattern = pattern();
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&pattern[..CHUNK]).context("sending")?;
    }
    Ok(stream.shutdown(Shutdown::Write)?)
}

fn receive(listener: &TcpListener, count: &AtomicU64) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(STUCK))?;
    let (pattern, mut buffer, mut total) = (pattern(), vec![0; CHUNK], 0_u64);
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("receiving"),
        };
        let phase = usize::try_from(total % PERIOD as u64)?;
        ensure!(
            buffer[..length] == pattern[phase..phase + length],
            "byte {total} or one soon after is not as it was sent"
        );
        total += length as u64;
        count.store(total, Ordering::Relaxed);
    }
}
