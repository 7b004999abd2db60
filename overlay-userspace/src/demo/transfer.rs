//! A TCP transfer between the workloads, every byte of it checked.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike as _},
};

use super::lab::Lab;
use crate::{
    error::{Context as _, Error, Result},
    netns,
};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
/// What is sent, again and again, with its number in front.
const BLOCK: usize = 128 << 10;
/// Silence after which a side gives up, in seconds.
const PATIENCE: u32 = 3;

/// A connection between the workloads.
pub(super) struct Connection {
    client: TcpStream,
    server: TcpStream,
}

/// What came across.
pub(super) struct Transfer {
    pub(super) bytes: u64,
    pub(super) duration: Duration,
}

impl fmt::Display for Transfer {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gigabytes, seconds) = (self.bytes as f64 / 1e9, self.duration.as_secs_f64());
        let rate = gigabytes * 8.0 / seconds.max(f64::EPSILON);
        write!(f, "{gigabytes:.2} GB in {seconds:.1} s: {rate:.1} Gbit/s, every byte as it was sent")
    }
}

/// Connects the first workload to the second.
pub(super) fn connect(lab: &Lab) -> Result<Connection> {
    let what = || "no TCP connection between the workloads";
    let listener = netns::inside(lab.server(), || TcpListener::bind((SERVER, 0)).context(what))?;
    setsockopt(&listener, ReceiveTimeout, &TimeVal::seconds(PATIENCE.into())).context(what)?;
    let patience = Duration::from_secs(PATIENCE.into());
    let address: SocketAddr = listener.local_addr().context(what)?;
    let connect = || TcpStream::connect_timeout(&address, patience).context(what);
    let client = netns::inside(lab.client(), connect)?;
    let (server, _) = listener.accept().context(what)?;
    client.set_write_timeout(Some(patience)).context(what)?;
    server.set_read_timeout(Some(patience)).context(what)?;
    Ok(Connection { client, server })
}

impl Connection {
    /// Sends from the client to the server as fast as it goes, until the time is up or `stop` is set.
    pub(super) fn run(self, time: Duration, stop: &AtomicBool) -> Result<Transfer> {
        let Self { client, server } = self;
        let (sent, received) = thread::scope(|scope| {
            let sender = scope.spawn(|| send(client, time, stop));
            let received = receive(server);
            (sender.join(), received)
        });
        let received = received.context(|| "the TCP transfer broke off at the receiver")?;
        let sent = sent.map_err(|_| Error::Failed("the TCP sender broke down".to_owned()))?;
        let sent = sent.context(|| "the TCP transfer broke off at the sender")?;
        if received.bytes != sent {
            let text = format!("of {sent} bytes sent by TCP, {} arrived", received.bytes);
            return Err(Error::Failed(text));
        }
        Ok(received)
    }
}

fn send(mut stream: TcpStream, time: Duration, stop: &AtomicBool) -> io::Result<u64> {
    let end = Instant::now() + time;
    let mut block = block();
    let mut number = 0u64;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        stamp(&mut block, number);
        stream.write_all(&block)?;
        number += 1;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(number * BLOCK as u64)
}

fn receive(mut stream: TcpStream) -> io::Result<Transfer> {
    let (mut expected, mut block) = (block(), vec![0; BLOCK]);
    let start = Instant::now();
    let mut number = 0u64;
    loop {
        let len = fill(&mut stream, &mut block)?;
        stamp(&mut expected, number);
        if block[..len] != expected[..len] {
            return Err(io::Error::other(format!(
                "the {} bytes after {} differ",
                len,
                number * BLOCK as u64
            )));
        }
        if len < BLOCK {
            let bytes = number * BLOCK as u64 + len as u64;
            return Ok(Transfer { bytes, duration: start.elapsed() });
        }
        number += 1;
    }
}

/// Reads until the block is full or the stream at its end; the bytes read.
fn fill(stream: &mut TcpStream, block: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < block.len() {
        match stream.read(&mut block[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// Bytes without a pattern, by Marsaglia's xorshift (2003).
fn block() -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(BLOCK).collect()
}

fn stamp(block: &mut [u8], number: u64) {
    block[..8].copy_from_slice(&number.to_be_bytes());
}
