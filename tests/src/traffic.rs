//! Traffic whose content is checked at the other end, all of it bounded in time.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    mem::size_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    process::Stdio,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    netns::NetNs,
    process::{self, Background},
};

/// How long a single operation on a socket may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
const TRANSFER_LIMIT: Duration = Duration::from_secs(60);
const CHUNK: usize = 64 * 1024;
const IPERF_PORT: &str = "5201";

/// Pings `to` `count` times; every one has to be answered.
pub fn ping(from: &NetNs, to: IpAddr, count: u32) -> Result<()> {
    let (count, to) = (count.to_string(), to.to_string());
    let text = from.run(&["ping", "-q", "-i", "0.01", "-W", "2", "-c", &count, &to])?;
    ensure!(text.contains(&format!(" {count} received")), "ping {to} from {}: {text}", from.name());
    Ok(())
}

/// Pings `to` three times; none must be answered.
pub fn no_ping(from: &NetNs, to: IpAddr) -> Result<()> {
    let words = ["-q", "-i", "0.01", "-W", "0.3", "-c", "3"];
    let output = process::output(from.command("ping").args(words).arg(to.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains(" 0 received"), "ping {to} from {}: {text}", from.name());
    Ok(())
}

/// Sends `length` bytes over TCP, and checks each of them at the other end.
pub fn tcp(from: &NetNs, to: &NetNs, address: IpAddr, length: usize) -> Result<()> {
    let listener = to.enter(|| Ok(TcpListener::bind((address, 0))?))?;
    let target = listener.local_addr()?;
    let server = to.spawn(move || receive_tcp(&listener, length));
    let sent = from.enter(|| send_tcp(TcpStream::connect_timeout(&target, PATIENCE)?, length));
    let received = if sent.is_ok() { join(server) } else { Ok(()) };
    received.and(sent).with_context(|| format!("TCP to {address}, {length} bytes"))
}

fn send_tcp(mut stream: TcpStream, length: usize) -> Result<()> {
    let deadline = Instant::now() + TRANSFER_LIMIT;
    let pattern = Chunks::new(length);
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(TRANSFER_LIMIT))?;
    for chunk in pattern.iter() {
        ensure!(Instant::now() < deadline, "not sent within {TRANSFER_LIMIT:?}");
        stream.write_all(chunk).context("sending")?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("waiting for the receiver's word")?;
    ensure!(answer == b"right", "the receiver is not content");
    Ok(())
}

fn receive_tcp(listener: &TcpListener, length: usize) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let pattern = Chunks::new(length);
    let mut buffer = vec![0; CHUNK];
    for (index, chunk) in pattern.iter().enumerate() {
        let part = &mut buffer[..chunk.len()];
        stream.read_exact(part).with_context(|| format!("receiving chunk {index}"))?;
        ensure!(part == chunk, "chunk {index} is not as it was sent");
    }
    ensure!(stream.read(&mut buffer)? == 0, "more than was sent");
    stream.write_all(b"right")?;
    Ok(())
}

/// Exchanges datagrams of the given sizes, one after the other; each has to come back as it was sent.
pub fn udp(from: &NetNs, to: &NetNs, address: IpAddr, sizes: &[usize]) -> Result<()> {
    let (client, server) = udp_pair(from, to, address)?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for (seed, &size) in sizes.iter().enumerate() {
        let what = || format!("UDP to {address}, datagram {seed} of {size} bytes");
        let expected = Pattern::new(seed as u64).bytes(size);
        client.send(&expected).with_context(what)?;
        let (length, sender) = uninterrupted(|| server.recv_from(&mut buffer)).with_context(what)?;
        ensure!(buffer[..length] == expected, "{} is not as it was sent", what());
        server.send_to(&expected, sender).with_context(what)?;
        let length =
            uninterrupted(|| client.recv(&mut buffer)).with_context(|| format!("{}, the answer", what()))?;
        ensure!(buffer[..length] == expected, "{}, the answer is not as it was sent", what());
    }
    Ok(())
}

/// Sends `count` datagrams of `size` bytes in a single piece that the kernel or the device cuts up
/// (`UDP_SEGMENT`); all have to arrive, as they were.
pub fn udp_segmented(from: &NetNs, to: &NetNs, address: IpAddr, size: usize, count: usize) -> Result<()> {
    let (client, server) = udp_pair(from, to, address)?;
    // The neighbour has to be known: what waits for one is short, and a piece counts as one packet.
    client.send(b"first")?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    uninterrupted(|| server.recv(&mut buffer)).context("the first datagram")?;
    segment(&client, size)?;
    let expected = Pattern::new(size as u64).bytes(size * count);
    client.send(&expected)?;
    for (index, part) in expected.chunks(size).enumerate() {
        let what = || format!("UDP to {address}, datagram {index} of {count} sent in a single piece");
        let length = uninterrupted(|| server.recv(&mut buffer)).with_context(what)?;
        ensure!(buffer[..length] == *part, "{} is not as it was sent", what());
    }
    Ok(())
}

/// Has the kernel cut up what the socket sends into datagrams of `size` bytes (`UDP_SEGMENT`).
pub fn segment(socket: &UdpSocket, size: usize) -> Result<()> {
    let size = libc::c_int::try_from(size)?;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>())?;
    // SAFETY: the socket is open, and the pointer is to a local of the size it says.
    let code = unsafe {
        let value = (&raw const size).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, length)
    };
    ensure!(code == 0, "UDP_SEGMENT: {}", io::Error::last_os_error());
    Ok(())
}

/// A socket in `from`, connected to one in `to`; both give up after [`PATIENCE`].
pub(crate) fn udp_pair(from: &NetNs, to: &NetNs, address: IpAddr) -> Result<(UdpSocket, UdpSocket)> {
    let server = to.enter(|| Ok(UdpSocket::bind((address, 0))?))?;
    let target = server.local_addr()?;
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let client = from.enter(|| {
        let client = UdpSocket::bind((any, 0))?;
        client.connect(target)?;
        Ok(client)
    })?;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((client, server))
}

/// Sends over one TCP connection for `seconds` with iperf3, and returns Gbit/s.
pub fn iperf3(from: &NetNs, to: &NetNs, address: IpAddr, seconds: u32) -> Result<f64> {
    let address = address.to_string();
    let mut server = Background::start(
        to.command("iperf3")
            .args(["-s", "-1", "--forceflush", "-p", IPERF_PORT, "-B", &address])
            .stdout(Stdio::piped()),
    )?;
    let output = server.child().stdout.take().context("no stdout")?;
    // Kept open until the end: the server writes on.
    let mut lines = BufReader::new(output).lines();
    lines
        .by_ref()
        .find(|line| line.as_ref().map_or(true, |line| line.contains("listening")))
        .context("the iperf3 server ended before it listened")??;
    let seconds = seconds.to_string();
    let text = from.run(&["iperf3", "-J", "-c", &address, "-p", IPERF_PORT, "-t", &seconds])?;
    let report: serde_json::Value = serde_json::from_str(&text)?;
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(rate.with_context(|| format!("no rate in {text}"))? / 1e9)
}

/// Repeats a system call that a signal has interrupted: those with a timeout are not restarted by the kernel.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Waits for a thread of the harness.
pub(crate) fn join<T>(handle: JoinHandle<Result<T>>) -> Result<T> {
    handle.join().map_err(|_| anyhow!("a thread of the harness panicked"))?
}

/// The bytes of a transfer, in chunks of which none is like the next.
struct Chunks {
    pattern: Vec<u8>,
    length: usize,
}

impl Chunks {
    /// How many chunks in a row differ: a prime, so that no power of two of them repeats.
    const DIFFERENT: usize = 251;

    fn new(length: usize) -> Self {
        Self { pattern: Pattern::new(length as u64).bytes(CHUNK + Self::DIFFERENT), length }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.length).step_by(CHUNK).enumerate().map(|(index, start)| {
            let size = CHUNK.min(self.length - start);
            &self.pattern[index % Self::DIFFERENT..][..size]
        })
    }
}

/// Bytes that look random and are the same for the same seed (xorshift64).
struct Pattern(u64);

impl Pattern {
    fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend(self.0.to_ne_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
