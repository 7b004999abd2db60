//! What happened, and whether that is well.

use super::{lab::Lab, page::Page, ping::Ping, transfer::Transfer};
use crate::{
    error::{Error, Result},
    instance::{self, Instance},
    maps::{counters, drops},
    netns,
};

/// What a host's programs counted.
struct Counts {
    sent: u64,
    received: u64,
    dropped: u64,
}

pub(super) struct Summary {
    ping: Option<Ping>,
    /// Whether a tunnel packet was captured.
    seen: bool,
    transfer: Result<Transfer>,
    hosts: [Counts; 2],
}

impl Summary {
    /// Reads the counters to what traffic has shown.
    pub(super) fn new(lab: &Lab, ping: Option<Ping>, seen: bool, transfer: Result<Transfer>) -> Result<Self> {
        let count = |index| netns::inside(lab.host(index), count);
        Ok(Self { ping, seen, transfer, hosts: [count(0)?, count(1)?] })
    }

    /// Frames that were dropped, on both hosts.
    pub(super) fn dropped(&self) -> u64 {
        self.hosts.iter().map(|host| host.dropped).sum()
    }

    pub(super) fn print(&self, page: &Page) {
        if let Some(Ping { sent, answered, average }) = &self.ping {
            let average = average.as_ref().map(|ms| format!(", {ms} ms on average")).unwrap_or_default();
            page.text(&format!("ping     {answered} of {sent} answered{average}"));
        }
        match &self.transfer {
            Ok(transfer) => page.text(&format!("TCP      {transfer}")),
            Err(error) => page.text(&format!("TCP      {error}")),
        }
        for (number, host) in (1..).zip(&self.hosts) {
            let Counts { sent, received, .. } = host;
            let (sent, received) = (grouped(*sent), grouped(*received));
            page.text(&format!("host{number}    {sent} frames encapsulated, {received} decapsulated"));
        }
        page.text(&format!("dropped  {}", self.dropped()));
        if self.problems().is_empty() {
            page.success("Everything arrived. Forwarding was eBPF alone; no process took part in it.");
        }
    }

    /// Fails unless everything arrived.
    pub(super) fn verdict(&self) -> Result<()> {
        let problems = self.problems();
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Failed(format!("the demo did not go well: {}", problems.join("; "))))
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(Ping { sent, answered, .. }) = self.ping
            && (answered < sent || sent == 0)
        {
            problems.push(format!("{answered} of {sent} pings were answered"));
        }
        if !self.seen {
            problems.push("no packet was seen in the tunnel".to_owned());
        }
        match &self.transfer {
            Err(error) => problems.push(error.to_string()),
            Ok(transfer) if transfer.bytes == 0 => problems.push("TCP carried nothing".to_owned()),
            Ok(_) => {}
        }
        if self.dropped() > 0 {
            problems.push(format!("frames dropped: {}", self.dropped()));
        }
        problems
    }
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

/// Reads the counters of this network namespace's instance.
fn count() -> Result<Counts> {
    let instance = Instance::open(&instance::name(None)?)?;
    let counted = counters::read(&instance)?;
    // Between ports of one host, nothing is encapsulated.
    let tunnels = || counted.iter().filter(|((_, vtep), _)| vtep.is_some()).map(|(_, counters)| counters);
    Ok(Counts {
        sent: tunnels().map(|counters| counters.tx_packets).sum(),
        received: tunnels().map(|counters| counters.rx_packets).sum(),
        dropped: drops::read(&instance)?.into_iter().map(|(_, packets)| packets).sum(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn summary(answered: u32, dropped: u64) -> Summary {
        let hosts = [0, dropped].map(|dropped| Counts { sent: 10, received: 10, dropped });
        let transfer = Transfer { bytes: 1, duration: Duration::from_secs(1) };
        let ping = Some(Ping { sent: 10, answered, average: None });
        Summary { ping, seen: true, transfer: Ok(transfer), hosts }
    }

    #[test]
    fn only_perfect_is_good() {
        assert!(summary(10, 0).verdict().is_ok());
        assert_eq!(
            summary(9, 3).verdict().unwrap_err().to_string(),
            "the demo did not go well: 9 of 10 pings were answered; frames dropped: 3"
        );
        assert!(Summary { seen: false, ..summary(10, 0) }.verdict().is_err());
        assert!(Summary { transfer: Err(Error::Failed(String::new())), ..summary(10, 0) }.verdict().is_err());
    }

    #[test]
    fn thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
