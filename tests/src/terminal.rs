//! A terminal of any size with somebody at its keys: tmux, with a server of its own.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::{agent::GENEROUS, netns::NetNs, process};

/// A terminal; its server goes when it is dropped.
#[derive(Debug)]
pub struct Terminal<'a> {
    netns: &'a NetNs,
    /// Where its socket is.
    directory: PathBuf,
}

impl<'a> Terminal<'a> {
    /// One of so many columns and rows, in a network namespace, that runs lines of `sh`.
    pub fn open(netns: &'a NetNs, (columns, rows): (u16, u16), script: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("overlay-{}-{number}.tmux", std::process::id()));
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let terminal = Self { netns, directory };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, script])?;
        Ok(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.netns.command("tmux");
        // One that the tests themselves run in is not meant.
        command.env_remove("TMUX").env("TMUX_TMPDIR", &self.directory);
        process::checked(command.args(["-u", "-L", "test"]).args(arguments))
    }

    /// Presses keys, as tmux names them.
    pub fn press(&self, keys: &[&str]) -> Result<()> {
        self.tmux(&[&["send-keys"], keys].concat()).map(drop)
    }

    /// Gives it another size.
    pub fn resize(&self, (columns, rows): (u16, u16)) -> Result<()> {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &rows]).map(drop)
    }

    /// The text that is to be seen.
    pub fn text(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same, with the codes of what it looks like.
    pub fn styled(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Waits until what is to be seen `is_right`, and returns it.
    pub fn until(&self, what: &str, is_right: impl Fn(&str) -> bool) -> Result<String> {
        let mut seen = String::new();
        process::wait_until(Instant::now() + GENEROUS, || {
            seen = self.text()?;
            Ok(is_right(&seen).then(|| seen.clone()))
        })
        .with_context(|| format!("{what} is not to be seen, but\n{seen}"))
    }

    /// Waits until a text is to be seen.
    pub fn shows(&self, text: &str) -> Result<String> {
        self.until(text, |seen| seen.contains(text))
    }

    /// The process that the shell has started and that is called that.
    pub fn process(&self, name: &str) -> Result<i32> {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"])?;
        let path = format!("/proc/{0}/task/{0}/children", shell.trim());
        let children = fs::read_to_string(&path).context(path)?;
        let is_it =
            |id: &&str| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|comm| comm.trim() == name);
        let id = children.split_whitespace().find(is_it);
        Ok(id.with_context(|| format!("the shell runs no {name}"))?.parse()?)
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let ended = self.tmux(&["kill-server"]);
        let removed = fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            assert!(ended.is_ok() && removed.is_ok(), "{ended:?}, {removed:?}");
        }
    }
}

/// Asserts that a line of a picture has these words in this order.
pub fn has_line(text: &str, words: &[&str]) -> Result<()> {
    let is_it = |line: &str| {
        let mut found = line.split(|c: char| c.is_whitespace() || c == '│');
        words.iter().all(|word| found.any(|found| found == *word))
    };
    ensure!(text.lines().any(is_it), "no line has {words:?} in\n{text}");
    Ok(())
}
