//! How large a packet gets to a remote VTEP: echo requests that must not be fragmented, answered by the kernel over there.
//!
//! Nothing is sent to its UDP port: what speaks VXLAN does not answer, and would have to take a packet that nobody sent.

mod echo;

use std::time::{Duration, Instant};

use overlay_common::{Family, UnderlayAddr};

use echo::Echo;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How long to wait for the first answer.
const PATIENCE: Duration = Duration::from_millis(400);
/// The least to wait for any.
const LEAST: Duration = Duration::from_millis(30);
/// The most to wait for later ones.
const MOST_LATER: Duration = Duration::from_millis(370);
/// How often each size is tried: one packet may be lost.
const TRIES: u32 = 3;
/// The most that are asked at once.
pub(super) const MOST: usize = 64;

/// A remote VTEP that is to be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) local: UnderlayAddr,
    pub(super) remote: UnderlayAddr,
    /// The largest IP packet that the uplink sends.
    pub(super) mtu: u16,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not even small packets are answered: nothing is known.
    Silent,
    /// Packets as large as the uplink's are.
    Whole,
    /// IP packets of this many bytes are, and larger ones not; whether the underlay says so (ICMP).
    Less(u16, bool),
}

/// A search for the largest packet that gets through.
#[derive(Clone, Copy, Debug)]
struct Search {
    /// What got through, and what did not.
    fits: Option<u16>,
    fails: u32,
    full: u16,
}

impl Search {
    const fn new(mtu: u16) -> Self {
        Self { fits: None, fails: mtu as u32 + 1, full: mtu }
    }

    /// The size to try next; `None`: it is known, or nothing answers.
    fn next(&self, smallest: u16) -> Option<u16> {
        match self.fits {
            None if self.fails > u32::from(smallest) => Some(smallest),
            None => None,
            Some(fits) if u32::from(fits) + 1 >= self.fails => None,
            // First all of it, which mostly fits.
            Some(_) if self.fails > u32::from(self.full) => Some(self.full),
            Some(fits) => u16::try_from(u32::midpoint(fits.into(), self.fails)).ok(),
        }
    }

    const fn learn(&mut self, size: u16, got_through: bool) {
        if got_through {
            self.fits = Some(size);
        } else {
            self.fails = size as u32;
        }
    }

    const fn answer(&self, is_told: bool) -> Answer {
        match self.fits {
            None => Answer::Silent,
            Some(fits) if fits == self.full => Answer::Whole,
            Some(fits) => Answer::Less(fits, is_told),
        }
    }
}

/// Asks all of them side by side, those beyond [`MOST`] not at all. Without `CAP_NET_RAW` nobody answers.
pub(super) fn probe(targets: &[Target]) -> Vec<Answer> {
    let end = Instant::now() + LIMIT;
    let mut all: Vec<(Search, Option<Echo>, Target)> = targets
        .iter()
        .take(MOST)
        .enumerate()
        .map(|(number, target)| {
            (Search::new(target.mtu), Echo::open(target.local, target.remote, number).ok(), *target)
        })
        .collect();
    let mut wait = PATIENCE;
    while Instant::now() < end {
        let sizes: Vec<Option<u16>> = all.iter().map(|(search, ..)| search).zip(targets).map(next).collect();
        if sizes.iter().all(Option::is_none) {
            break;
        }
        let (got, slowest) = round(&mut all, &sizes, wait);
        for (((search, ..), size), got) in all.iter_mut().zip(&sizes).zip(got) {
            if let Some(size) = size {
                search.learn(*size, got);
            }
        }
        // The first round tells how long the way is.
        wait = if wait == PATIENCE { (slowest * 4).clamp(LEAST, MOST_LATER) } else { wait };
    }
    let answer = |(search, echo, _): &(Search, Option<Echo>, Target)| {
        search.answer(echo.as_ref().is_some_and(Echo::is_told))
    };
    let mut answers: Vec<_> = all.iter().map(answer).collect();
    answers.resize(targets.len(), Answer::Silent);
    answers
}

fn next((search, target): (&Search, &Target)) -> Option<u16> {
    // As small as anything that IP carries, with room for ICMP.
    search.next(match target.remote.family() {
        Family::Ipv4 => 68,
        Family::Ipv6 => 128,
    })
}

/// Sends each its size, some times over; who answered, and how long the slowest of them took.
fn round(
    all: &mut [(Search, Option<Echo>, Target)],
    sizes: &[Option<u16>],
    wait: Duration,
) -> (Vec<bool>, Duration) {
    let mut got = vec![false; all.len()];
    let mut slowest = Duration::ZERO;
    for _ in 0..TRIES {
        let start = Instant::now();
        for (((_, echo, _), size), _) in all.iter_mut().zip(sizes).zip(&got).filter(|(_, got)| !**got) {
            if let (Some(echo), Some(size)) = (echo, size) {
                echo.send(*size);
            }
        }
        loop {
            let mut is_waiting = false;
            for (((_, echo, _), size), got) in all.iter_mut().zip(sizes).zip(&mut got) {
                let (Some(echo), Some(_), false) = (echo, size, *got) else { continue };
                *got = echo.is_answered();
                is_waiting |= !*got;
                if *got {
                    slowest = slowest.max(start.elapsed());
                }
            }
            if !is_waiting || start.elapsed() >= wait {
                break;
            }
            let asked = all.iter().zip(sizes).zip(&got).filter(|((_, size), got)| size.is_some() && !**got);
            let sockets: Vec<&Echo> = asked.filter_map(|(((_, echo, _), _), _)| echo.as_ref()).collect();
            echo::wait(&sockets, wait.saturating_sub(start.elapsed()));
        }
        if sizes.iter().zip(&got).all(|(size, got)| size.is_none() || *got) {
            break;
        }
    }
    (got, slowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a path that carries so much; the answer, and how many sizes were tried.
    fn search(mtu: u16, path: u16) -> (Answer, u32) {
        let (mut search, mut tried) = (Search::new(mtu), 0);
        while let Some(size) = search.next(68) {
            search.learn(size, size <= path);
            tried += 1;
            assert!(tried < 40, "it does not end");
        }
        (search.answer(false), tried)
    }

    #[test]
    fn what_gets_through_is_found_to_the_byte() {
        assert_eq!(search(1500, 1500), (Answer::Whole, 2));
        assert_eq!(search(1500, 9000), (Answer::Whole, 2));
        assert_eq!(search(1500, 60), (Answer::Silent, 1));
        for path in [68, 69, 576, 1280, 1399, 1400, 1498, 1499] {
            let (answer, tried) = search(1500, path);
            assert_eq!(answer, Answer::Less(path, false));
            assert!(tried <= 13, "{path}: {tried}");
        }
        assert_eq!(search(65535, 65534).0, Answer::Less(65534, false));
    }
}
