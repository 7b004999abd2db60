//! A TCP connection that goes on while something else happens.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    netns::NetNs,
    traffic::{PATIENCE, join},
};

/// Bytes of one message: more than fit one packet.
const MESSAGE: usize = 6000;

/// How long the connection may stand still: TCP doubles its pauses.
const STANDSTILL: Duration = Duration::from_secs(15);

/// How long the receiver waits before it looks whether it is over.
const TURN: Duration = Duration::from_millis(100);

/// Messages to and fro on one connection, until stopped.
#[derive(Debug)]
pub struct Dialogue {
    stop: Arc<AtomicBool>,
    answered: Arc<(Mutex<u64>, Condvar)>,
    client: Option<JoinHandle<Result<()>>>,
    server: Option<JoinHandle<Result<()>>>,
}

impl Dialogue {
    /// Connects, and waits for the first answer.
    pub fn start(from: &NetNs, to: &NetNs, address: IpAddr) -> Result<Self> {
        let listener = to.enter(|| Ok(TcpListener::bind((address, 0))?))?;
        let target = listener.local_addr()?;
        let client = from.enter(|| Ok(TcpStream::connect_timeout(&target, PATIENCE)?))?;
        let (server, _) = listener.accept()?;
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new((Mutex::new(0), Condvar::new()));
        for end in [&client, &server] {
            end.set_read_timeout(Some(TURN))?;
            end.set_nodelay(true)?;
        }
        let (asking, answering) = (Arc::clone(&stop), Arc::clone(&stop));
        let progress = Arc::clone(&answered);
        let flow = Self {
            stop,
            answered,
            client: Some(std::thread::spawn(move || ask(client, &asking, &progress))),
            server: Some(std::thread::spawn(move || answer(server, &answering))),
        };
        flow.go_on(1)?;
        Ok(flow)
    }

    /// Waits until `count` more messages were answered.
    pub fn go_on(&self, count: u64) -> Result<()> {
        let (answered, changed) = &*self.answered;
        let now = answered.lock().unwrap_or_else(PoisonError::into_inner);
        let goal = *now + count;
        let (now, wait) = changed
            .wait_timeout_while(now, STANDSTILL, |answered| *answered < goal)
            .unwrap_or_else(PoisonError::into_inner);
        ensure!(!wait.timed_out(), "the connection stands still: {} answers, {goal} awaited", *now);
        Ok(())
    }

    /// Ends it; nothing may have gone wrong.
    pub fn finish(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let client = self.client.take().map_or(Ok(()), join);
        let server = self.server.take().map_or(Ok(()), join);
        client.context("the asking end")?;
        server.context("the answering end")
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        // An error here was either reported by `finish`, or the test has failed already.
        let _ = self.end();
    }
}

fn ask(mut stream: TcpStream, stop: &AtomicBool, progress: &(Mutex<u64>, Condvar)) -> Result<()> {
    for number in 0_u64.. {
        let message: Vec<u8> = number.to_ne_bytes().into_iter().cycle().take(MESSAGE).collect();
        stream.write_all(&message)?;
        let Some(answer) = receive(&mut stream, stop)? else { return Ok(()) };
        ensure!(answer == message, "answer {number} is not as it was sent");
        *progress.0.lock().unwrap_or_else(PoisonError::into_inner) = number + 1;
        progress.1.notify_all();
    }
    Ok(())
}

fn answer(mut stream: TcpStream, stop: &AtomicBool) -> Result<()> {
    while let Some(message) = receive(&mut stream, stop)? {
        stream.write_all(&message)?;
    }
    Ok(())
}

/// A whole message; none: it is over.
fn receive(stream: &mut TcpStream, stop: &AtomicBool) -> Result<Option<Vec<u8>>> {
    let mut message = vec![0; MESSAGE];
    let mut length = 0;
    while length < MESSAGE {
        match stream.read(&mut message[length..]) {
            Ok(0) => return Ok(None),
            Ok(more) => length += more,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                if stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    // Between messages, so that both ends agree.
    Ok((!stop.load(Ordering::Relaxed)).then_some(message))
}
