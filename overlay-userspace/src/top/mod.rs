//! `overlay top`: what goes through an instance, as a dashboard in the terminal.
//!
//! What is known and how it is shown stands in [`Board`](board::Board), which samples and keys change; drawing reads it, and
//! changes nothing.

mod board;
mod draw;
mod history;
mod keys;
mod rows;
mod screen;
#[cfg(test)]
mod tests;
mod theme;

use std::{collections::BTreeMap, time::Duration};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use overlay_common::UnderlayAddr;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

pub use self::theme::Theme;

use self::{board::Board, keys::Outcome, screen::Screen};
use crate::{
    error::{Error, Result},
    netlink::Netlink,
    traffic::{
        Follower, Sample,
        reach::{self, Reach},
    },
};

/// How often it is looked which remote VTEPs a way leads to.
const LOOK: Duration = Duration::from_secs(5);

/// Shows the instance of that name in the terminal, until somebody has seen enough. It is looked at every so often.
///
/// # Errors
///
/// Fails if the instance is not up or is taken down meanwhile, and if the terminal does not do as it is told.
pub async fn run(name: &str, every: Duration, theme: Theme) -> Result<()> {
    let follower = Follower::open(name)?;
    let (pace, paced) = watch::channel(every);
    let mut samples = follow(follower, paced);
    let mut reached = look(name.to_owned(), Netlink::connect()?);
    let mut board = Board::new(name, every, theme);
    let mut screen = Screen::open()?;
    let mut events = EventStream::new();
    loop {
        screen.draw(&board)?;
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => if board.press(key) == Outcome::Ends { return Ok(()) },
                // It has another size, perhaps.
                Some(Ok(_)) => {}
                // The terminal is gone.
                Some(Err(_)) | None => return Ok(()),
            },
            sample = samples.recv() => {
                board.feed(sample.unwrap_or_else(|| Err(Error::Failed("nobody looks any more".to_owned())))?);
            }
            Some(reached) = reached.recv() => board.note(reached),
        }
        pace.send_if_modified(|every| std::mem::replace(every, board.every) != board.every);
    }
}

/// Reads the instance at once, and then every so often, as long as somebody listens.
fn follow(follower: Follower, mut pace: watch::Receiver<Duration>) -> mpsc::Receiver<Result<Sample>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while sender.send(follower.read().await).await.is_ok() {
            let every = *pace.borrow_and_update();
            // At another pace, it begins at once.
            let _ = timeout(every, pace.changed()).await;
        }
    });
    receiver
}

/// Looks every so often which remote VTEPs a way leads to.
fn look(name: String, netlink: Netlink) -> mpsc::Receiver<BTreeMap<UnderlayAddr, Reach>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            // If the instance is gone, whoever samples it says so.
            if let Ok(reached) = reach::look(&name, &netlink).await
                && sender.send(reached).await.is_err()
            {
                return;
            }
            sleep(LOOK).await;
        }
    });
    receiver
}
