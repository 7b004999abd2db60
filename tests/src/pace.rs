//! Datagrams at a steady pace.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    netns::NetNs,
    traffic::{join, udp_pair},
};

/// Somebody who sends so many datagrams in a second, until dropped. What was late is made up for.
#[derive(Debug)]
pub struct Pace {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<Result<()>>>,
}

impl Pace {
    /// Sends `per_second` datagrams of `size` bytes.
    pub fn start(from: &NetNs, to: &NetNs, address: IpAddr, per_second: u32, size: usize) -> Result<Self> {
        let (client, server) = udp_pair(from, to, address)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sender = thread::spawn(move || {
            let (start, datagram) = (Instant::now(), vec![0; size]);
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                let due = Duration::from_secs(1) * sent / per_second;
                thread::sleep(due.saturating_sub(start.elapsed()));
                client.send(&datagram)?;
                sent += 1;
            }
            // Nobody reads them, but somebody has to listen.
            drop(server);
            Ok(())
        });
        Ok(Self { stop, sender: Some(sender) })
    }

    /// Stops; every datagram was sent.
    pub fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.take().map_or(Ok(()), join)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}
