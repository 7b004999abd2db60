//! iperf3, and what its JSON says.

use anyhow::{Context as _, Result, bail};
use overlay_tests::process::Background;
use serde::Deserialize;

use super::{
    CONGESTION_CONTROL, Place,
    command::{Call, Transport},
};

/// The port of its server.
const PORT: u16 = 5201;

/// What was carried, as the receiver saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Sum {
    /// How long it took.
    pub(super) seconds: f64,
    /// Payload.
    pub(super) bytes: f64,
    /// UDP: datagrams that were sent.
    pub(super) packets: f64,
    /// UDP: those that did not arrive.
    pub(super) lost_packets: f64,
}

#[derive(Deserialize)]
struct Report {
    error: Option<String>,
    end: Option<End>,
}

#[derive(Deserialize)]
struct End {
    /// Of TCP.
    sum_received: Option<Sum>,
    /// Of UDP.
    sum: Option<Sum>,
}

/// How the receiver shares its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiver {
    /// As every process does.
    Fair,
    /// It runs whenever there is something to receive: where the sender does not wait for it, a pause of a few milliseconds
    /// would overrun its buffer, and look like a loss of the path.
    First,
}

/// Starts a server for a single client.
fn serve(place: &Place<'_>, receiver: Receiver) -> Result<Background> {
    let address = place.site.address();
    let (at, port) = (address.to_string(), PORT.to_string());
    let words = ["iperf3", "-s", "-1", "-B", &at, "-p", &port];
    let words = match receiver {
        Receiver::Fair => words.to_vec(),
        Receiver::First => [&["chrt", "--fifo", "1"], &words[..]].concat(),
    };
    Call { netns: place.site.receiver(), cpu: place.cpus.receiver, words: &words }.serve(
        Transport::Tcp,
        address,
        PORT,
    )
}

/// Runs a client, with more arguments, for so many seconds against a server of its own.
pub(super) fn run(place: &Place<'_>, receiver: Receiver, arguments: &[&str]) -> Result<Sum> {
    let _server = serve(place, receiver)?;
    let seconds = place.seconds.to_string();
    let (at, port) = (place.site.address().to_string(), PORT.to_string());
    let words = [&["iperf3", "-J", "-i", "0", "-c", &at, "-p", &port, "-t", &seconds], arguments].concat();
    let call = Call { netns: place.site.sender(), cpu: place.cpus.sender, words: &words };
    parse(&call.finish(place.seconds)?)
}

/// A client that sends so many bits a second until it is dropped, and its server.
pub(super) fn load(place: &Place<'_>, bits: &str) -> Result<[Background; 2]> {
    let server = serve(place, Receiver::Fair)?;
    let (at, port) = (place.site.address().to_string(), PORT.to_string());
    // Without end: it goes with its guard.
    let words =
        ["iperf3", "-i", "0", "-c", &at, "-p", &port, "-t", "0", "-b", bits, "-C", CONGESTION_CONTROL];
    let client = Call { netns: place.site.sender(), cpu: place.cpus.sender, words: &words }.start()?;
    Ok([client, server])
}

/// Reads what `iperf3 -J` wrote.
fn parse(text: &str) -> Result<Sum> {
    let report: Report =
        serde_json::from_str(text).context("iperf3 did not write the JSON that it should")?;
    if let Some(error) = report.error {
        bail!("iperf3: {error}");
    }
    let end = report.end.context("iperf3 did not come to an end")?;
    // UDP has both, and the receiver's lacks what was lost in some versions.
    let sum = match (end.sum, end.sum_received) {
        (Some(udp), _) => udp,
        (_, Some(tcp)) => tcp,
        _ => bail!("iperf3 tells no sum"),
    };
    if sum.seconds <= 0.0 {
        bail!("iperf3 measured no time");
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_tcp_the_receiver_counts() {
        let text = r#"{"start":{"version":"iperf 3.12"},"intervals":[],"end":{"streams":[],
            "sum_sent":{"start":0,"end":1.000221,"seconds":1.000221,"bytes":5356781568,"retransmits":640,"sender":true},
            "sum_received":{"start":0,"end":1.5,"seconds":1.5,"bytes":5356000000,"sender":true}}}"#;
        let sum = parse(text).unwrap();
        assert_eq!(sum, Sum { seconds: 1.5, bytes: 5_356_000_000.0, packets: 0.0, lost_packets: 0.0 });
    }

    #[test]
    fn of_udp_what_was_lost_is_told() {
        let text = r#"{"start":{},"intervals":[],"end":{"sum":{"start":0,"end":1,"seconds":1.0,"bytes":640000,
            "bits_per_second":5120000.0,"jitter_ms":0.1,"lost_packets":25,"packets":10000,"lost_percent":0.25,
            "sender":true}}}"#;
        let sum = parse(text).unwrap();
        assert_eq!(sum, Sum { seconds: 1.0, bytes: 640_000.0, packets: 10_000.0, lost_packets: 25.0 });
    }

    #[test]
    fn an_error_is_told() {
        let failed = r#"{"start":{},"intervals":[],"end":{},"error":"unable to connect to server: Connection refused"}"#;
        assert!(parse(failed).unwrap_err().to_string().contains("Connection refused"));
        for text in ["", "{}", "[]", r#"{"end":{}}"#, r#"{"end":{"sum_received":{"bytes":5}}}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
