//! The `ping` program, and what it says.

use super::shell::{Shell, is_on_path};
use crate::error::{Error, Result};

/// What became of the echo requests.
pub(super) struct Ping {
    pub(super) sent: u32,
    pub(super) answered: u32,
    /// Milliseconds there and back, as printed; none without an answer.
    pub(super) average: Option<String>,
}

/// Pings the second workload from the first; `None` where there is no `ping`.
pub(super) fn run(shell: &Shell) -> Result<Option<Ping>> {
    if !is_on_path("ping") {
        shell.page().text("Left out: there is no `ping` here; the package iputils-ping has it.");
        return Ok(None);
    }
    let output = shell.attempt("ip netns exec $W1 ping -nq -c 10 -i 0.1 -w 4 192.168.0.2")?;
    shell.check()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let Some(ping) = parse(&printed) else {
        return Err(Error::failed("`ping` failed", String::from_utf8_lossy(&output.stderr)));
    };
    for line in printed.lines().skip_while(|line| !line.contains("packets transmitted")) {
        shell.page().printed(line);
    }
    Ok(Some(ping))
}

/// Reads what `ping` of iputils, or of busybox, prints at its end.
fn parse(printed: &str) -> Option<Ping> {
    let line = printed.lines().find(|line| line.contains("packets transmitted"))?;
    let mut parts = line.split(", ").map(|part| part.split(' ').next().unwrap_or_default());
    let (sent, answered) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let times = printed.lines().find(|line| line.contains("min/avg/max"));
    let average = times.and_then(|line| line.split(" = ").nth(1)?.split('/').nth(1).map(str::to_owned));
    Some(Ping { sent, answered, average })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iputils() {
        let ping = parse(
            "--- 192.168.0.2 ping statistics ---\n\
             10 packets transmitted, 9 received, 10% packet loss, time 90ms\n\
             rtt min/avg/max/mdev = 0.030/0.037/0.076/0.013 ms\n",
        )
        .unwrap();
        assert_eq!((ping.sent, ping.answered, ping.average.as_deref()), (10, 9, Some("0.037")));
    }

    #[test]
    fn no_answer() {
        let ping = parse("3 packets transmitted, 0 received, 100% packet loss, time 2047ms\n\n").unwrap();
        assert_eq!((ping.sent, ping.answered, ping.average), (3, 0, None));
        assert!(parse("").is_none());
        assert!(parse("packets transmitted").is_none());
    }

    #[test]
    fn busybox() {
        let ping = parse(
            "2 packets transmitted, 2 packets received, 0% packet loss\n\
             round-trip min/avg/max = 0.052/0.055/0.059 ms\n",
        )
        .unwrap();
        assert_eq!((ping.sent, ping.answered, ping.average.as_deref()), (2, 2, Some("0.055")));
    }
}
