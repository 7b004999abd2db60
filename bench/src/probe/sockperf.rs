//! Request and response by sockperf.

use anyhow::{Context as _, Result, ensure};

use super::{
    Place, Value,
    command::{Call, Transport},
    iperf3,
};
use crate::figure::Figure;

/// The port of its server.
const PORT: u16 = 5555;

/// Bytes of a request, and of a response.
const LENGTH: &str = "64";

/// The bulk transfer beside requests, in bits a second: well below what every peer carries, so that it loads all alike.
const LOAD: &str = "2G";

/// What sockperf says about the messages after its warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Report {
    seconds: f64,
    answered: f64,
    p50: f64,
    p99: f64,
}

/// Nothing else to do: both ends spin on CPUs of their own, so that waking up, which is the same for every peer and the
/// hypervisor's matter, is not measured.
pub(super) fn alone(place: &Place<'_>) -> Result<Vec<Value>> {
    let spinning = ["--nonblocked"];
    let waits = if place.cpus.sender == place.cpus.receiver { &[][..] } else { &spinning[..] };
    let report = run(place, waits)?;
    Ok(values(&report, [Figure::Requests, Figure::RequestsP50, Figure::RequestsP99]))
}

/// Beside a bulk transfer both ends sleep while they wait: the CPUs are not theirs alone.
pub(super) fn loaded(place: &Place<'_>) -> Result<Vec<Value>> {
    let _load = iperf3::load(place, LOAD)?;
    let report = run(place, &[])?;
    Ok(values(&report, [Figure::LoadedRequests, Figure::LoadedRequestsP50, Figure::LoadedRequestsP99]))
}

fn values(report: &Report, figures: [Figure; 3]) -> Vec<Value> {
    vec![(figures[0], report.answered / report.seconds), (figures[1], report.p50), (figures[2], report.p99)]
}

fn run(place: &Place<'_>, waits: &[&str]) -> Result<Report> {
    let Place { site, cpus, seconds, .. } = place;
    let (at, port, duration) = (site.address().to_string(), PORT.to_string(), seconds.to_string());
    let server = [&["sockperf", "server", "-i", &at, "-p", &port], waits].concat();
    let _server = Call { netns: site.receiver(), cpu: cpus.receiver, words: &server }.serve(
        Transport::Udp,
        site.address(),
        PORT,
    )?;
    let client = [
        &["sockperf", "ping-pong", "-i", &at, "-p", &port, "-m", LENGTH, "-t", &duration, "--full-rtt"],
        waits,
    ]
    .concat();
    parse(&Call { netns: site.sender(), cpu: cpus.sender, words: &client }.finish(*seconds)?)
}

/// Reads what `sockperf ping-pong --full-rtt` wrote; times are in microseconds.
fn parse(text: &str) -> Result<Report> {
    let valid = text.lines().find(|line| line.contains("[Valid Duration]"));
    let valid = valid.context("sockperf measured nothing")?;
    let percentile = |name: &str| {
        let line = text.lines().find_map(|line| line.split_once(name));
        let value = line.and_then(|(_, rest)| rest.trim_start_matches([' ', '=']).parse::<f64>().ok());
        value.with_context(|| format!("sockperf tells no {name}"))
    };
    let report = Report {
        seconds: after(valid, "RunTime=")?,
        answered: after(valid, "ReceivedMessages=")?,
        p50: percentile("percentile 50.000")?,
        p99: percentile("percentile 99.000")?,
    };
    ensure!(report.seconds > 0.0 && report.answered > 0.0, "sockperf got no answer");
    Ok(report)
}

fn after(line: &str, name: &str) -> Result<f64> {
    let rest = line.split_once(name).map(|(_, rest)| rest);
    let digits = rest.map(|rest| rest.split([' ', ';']).next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).with_context(|| format!("sockperf tells no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
sockperf: \u{1b}[2;35m== version #3.7-no.git == \u{1b}[0m
[ 0] IP = 10.9.0.2        PORT =  5555 # UDP
sockperf: [Total Run] RunTime=1.000 sec; Warm up time=400 msec; SentMessages=71669; ReceivedMessages=71668
sockperf: [Valid Duration] RunTime=0.550 sec; SentMessages=42097; ReceivedMessages=42090
sockperf: # dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0
sockperf: ---> <MAX> observation = 3852.838
sockperf: ---> percentile 99.999 = 3852.838
sockperf: ---> percentile 99.000 =   18.682
sockperf: ---> percentile 90.000 =   12.889
sockperf: ---> percentile 50.000 =   12.284
sockperf: ---> <MIN> observation =    8.618
";

    #[test]
    fn the_time_after_the_warm_up_counts() {
        let report = parse(TEXT).unwrap();
        assert_eq!(report, Report { seconds: 0.55, answered: 42090.0, p50: 12.284, p99: 18.682 });
    }

    #[test]
    fn what_is_missing_is_told() {
        for without in ["[Valid Duration]", "percentile 50.000", "percentile 99.000"] {
            let text: Vec<_> = TEXT.lines().filter(|line| !line.contains(without)).collect();
            assert!(parse(&text.join("\n")).is_err(), "{without}");
        }
        assert!(parse("").is_err());
        assert!(parse(&TEXT.replace("ReceivedMessages=42090", "ReceivedMessages=0")).is_err());
    }
}
