//! Connect, request, response, close: `ab` of Apache against a small HTTP server.

use std::{net::IpAddr, sync::Arc, thread::JoinHandle};

use anyhow::{Context as _, Result, anyhow, ensure};
use overlay_tests::netns::NetNs;
use tiny_http::{Response, Server, StatusCode};

use super::{Place, Value, command::Call};
use crate::{cpus, figure::Figure};

/// The port of the server.
const PORT: u16 = 8080;

/// Connections at the same time: enough that no end ever waits for the other.
const AT_ONCE: &str = "8";

/// More than there can be in any time: `ab` ends with the time.
const MANY: &str = "10000000";

/// Measures.
pub(super) fn measure(place: &Place<'_>) -> Result<Vec<Value>> {
    let site = place.site;
    for netns in [site.sender(), site.receiver()] {
        // Every connection takes a port of its own, and they are not free again at once.
        netns.sysctl("ipv4/ip_local_port_range", "1024 65535")?;
    }
    let _answering = Answering::start(site.receiver(), place.cpus.receiver, site.address())?;
    let (seconds, url) = (place.seconds.to_string(), format!("http://{}:{PORT}/", site.address()));
    let words = ["ab", "-q", "-t", &seconds, "-n", MANY, "-c", AT_ONCE, &url];
    let call = Call { netns: site.sender(), cpu: place.cpus.sender, words: &words };
    Ok(vec![(Figure::Connections, parse(&call.finish(place.seconds)?)?)])
}

/// An HTTP server that has nothing to say, until dropped.
struct Answering<'a> {
    netns: &'a NetNs,
    server: Option<Arc<Server>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl<'a> Answering<'a> {
    /// Listens; its threads keep the namespace and the CPU of the one that starts them.
    fn start(netns: &'a NetNs, cpu: usize, address: IpAddr) -> Result<Self> {
        let server = netns.enter(|| {
            cpus::pin_here(cpu)?;
            Server::http((address, PORT)).map_err(|error| anyhow!("an HTTP server: {error}"))
        })?;
        let server = Arc::new(server);
        let ours = Arc::clone(&server);
        let thread = netns.spawn(move || {
            cpus::pin_here(cpu)?;
            for request in ours.incoming_requests() {
                // A client that does not wait for its answer is its own matter.
                let _ = request.respond(Response::empty(StatusCode(204)));
            }
            Ok(())
        });
        Ok(Self { netns, server: Some(server), thread: Some(thread) })
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        let (Some(server), Some(thread)) = (self.server.take(), self.thread.take()) else { return };
        server.unblock();
        // Had it failed, clients would have had no answer, and measured nothing.
        let _ = thread.join();
        // Its last owner ends a server by a connection to its port, and so has to be where that is. Outside it would go on.
        let _ = self.netns.enter(|| {
            drop(server);
            Ok(())
        });
    }
}

/// Reads the requests a second of `ab`, none of which may have failed.
fn parse(text: &str) -> Result<f64> {
    let field = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name));
        let value = rest.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        value.with_context(|| format!("ab tells no \"{name}\""))
    };
    let failed = field("Failed requests:")?;
    ensure!(failed == 0.0, "{failed} of {} requests failed", field("Complete requests:")?);
    field("Requests per second:")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
        time::{Duration, Instant},
    };

    use overlay_tests::process::wait_until;

    use super::*;

    const TEXT: &str = "\
Concurrency Level:      8
Time taken for tests:   2.000 seconds
Complete requests:      24691
Failed requests:        0
Requests per second:    12345.67 [#/sec] (mean)
Time per request:       0.648 [ms] (mean)
";

    #[test]
    fn a_server_answers_and_gives_its_port_back() -> Result<()> {
        let netns = NetNs::new("answers")?;
        let (address, cpu) = (IpAddr::from([127, 0, 0, 1]), cpus::Cpus::choose()?.receiver);
        for _ in 0..3 {
            // The port is free a moment after the server is gone.
            let deadline = Instant::now() + Duration::from_secs(5);
            let answering = wait_until(deadline, || Ok(Answering::start(&netns, cpu, address).ok()))
                .context("no port")?;
            let answer = netns.enter(|| {
                let mut stream = TcpStream::connect((address, PORT))?;
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                Ok(answer)
            })?;
            assert!(answer.contains(" 204 "), "{answer}");
            drop(answering);
        }
        Ok(())
    }

    #[test]
    fn the_rate_counts_if_nothing_failed() {
        assert_eq!(parse(TEXT).unwrap().to_string(), "12345.67");
        let failed = TEXT.replace("Failed requests:        0", "Failed requests:        3");
        assert_eq!(parse(&failed).unwrap_err().to_string(), "3 of 24691 requests failed");
        assert!(parse("").is_err());
    }
}
