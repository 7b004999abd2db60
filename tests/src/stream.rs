//! Traffic that goes on while something else happens, and counts what it loses.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{IpAddr, UdpSocket},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    netns::NetNs,
    traffic::{PATIENCE, join, udp_pair, uninterrupted},
};

/// How long an answer may take before the next datagram is sent all the same.
const GO_ON_AFTER: Duration = Duration::from_secs(2);

/// How long answers may still take when nothing is sent any more. On a machine with too few CPUs a thread may get none for seconds, and
/// what comes late was not lost: nobody sends a datagram twice.
const LATEST: Duration = Duration::from_secs(15);

/// What became of the datagrams of a [`Stream`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Those sent.
    pub sent: u64,
    /// Those that were answered.
    pub answered: u64,
}

/// Datagrams to and fro, one at a time, as fast as they go, until stopped.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    /// The server goes on until the client has had its last answer.
    server_stop: Arc<AtomicBool>,
    answered: Arc<(Mutex<u64>, Condvar)>,
    client: Option<JoinHandle<Result<Tally>>>,
    server: Option<JoinHandle<Result<()>>>,
}

impl Stream {
    /// Starts it, and waits for the first answer.
    pub fn start(from: &NetNs, to: &NetNs, address: IpAddr) -> Result<Self> {
        let (client, server) = udp_pair(from, to, address)?;
        client.set_read_timeout(Some(GO_ON_AFTER))?;
        server.set_read_timeout(Some(GO_ON_AFTER))?;
        let (stop, server_stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let answered = Arc::new((Mutex::new(0), Condvar::new()));
        let (asked_to, echo_until) = (Arc::clone(&stop), Arc::clone(&server_stop));
        let progress = Arc::clone(&answered);
        let stream = Self {
            stop,
            server_stop,
            answered,
            server: Some(std::thread::spawn(move || echo(&server, &echo_until))),
            client: Some(std::thread::spawn(move || ask(&client, &asked_to, &progress))),
        };
        stream.go_on(1)?;
        Ok(stream)
    }

    /// Waits until `count` more datagrams were answered.
    pub fn go_on(&self, count: u64) -> Result<()> {
        let (answered, changed) = &*self.answered;
        let now = answered.lock().unwrap_or_else(PoisonError::into_inner);
        let goal = *now + count;
        let (now, wait) = changed
            .wait_timeout_while(now, PATIENCE, |answered| *answered < goal)
            .unwrap_or_else(PoisonError::into_inner);
        ensure!(!wait.timed_out(), "the stream stands still: {} answers, {goal} awaited", *now);
        Ok(())
    }

    /// Ends it; every datagram has to have been answered.
    pub fn finish(mut self) -> Result<Tally> {
        let tally = self.end()?;
        ensure!(tally.sent == tally.answered, "lost {} of {}", tally.sent - tally.answered, tally.sent);
        Ok(tally)
    }

    fn end(&mut self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let tally = self.client.take().map(join).transpose();
        self.server_stop.store(true, Ordering::Relaxed);
        let tally = tally?;
        self.server.take().map(join).transpose()?;
        tally.ok_or_else(|| anyhow::anyhow!("the stream has ended before"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // An error here was either reported by `finish`, or the test has failed already.
        let _ = self.end();
    }
}

fn ask(socket: &UdpSocket, stop: &AtomicBool, progress: &(Mutex<u64>, Condvar)) -> Result<Tally> {
    let mut tally = Tally { sent: 0, answered: 0 };
    let mut waiting = BTreeSet::new();
    let mut last = Instant::now();
    loop {
        let stopped = stop.load(Ordering::Relaxed);
        if !stopped {
            socket.send(&tally.sent.to_ne_bytes())?;
            waiting.insert(tally.sent);
            tally.sent += 1;
            last = Instant::now();
        } else if waiting.is_empty() || last.elapsed() > LATEST {
            return Ok(tally);
        }
        while let Some(number) = answer(socket)? {
            if waiting.remove(&number) {
                tally.answered += 1;
                *progress.0.lock().unwrap_or_else(PoisonError::into_inner) = tally.answered;
                progress.1.notify_all();
            }
            if number + 1 == tally.sent {
                break;
            }
            println!("datagram {number} of {} was answered late", tally.sent);
        }
    }
}

/// The number of the datagram that is answered next. `None`: none is for a while.
fn answer(socket: &UdpSocket) -> Result<Option<u64>> {
    let mut answer = [0; 8];
    match uninterrupted(|| socket.recv(&mut answer)) {
        Ok(_) => Ok(Some(u64::from_ne_bytes(answer))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn echo(socket: &UdpSocket, stop: &AtomicBool) -> Result<()> {
    let mut buffer = [0; 8];
    while !stop.load(Ordering::Relaxed) {
        match uninterrupted(|| socket.recv_from(&mut buffer)) {
            Ok((length, sender)) => drop(socket.send_to(&buffer[..length], sender)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
