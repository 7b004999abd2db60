//! `overlay top` in a terminal: what it shows of real traffic, its keys, its size, and how it leaves the terminal.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac},
    mesh,
    overlay::{FAILED, Instance, USAGE, binary},
    pace::Pace,
    refusal,
    terminal::{Terminal, has_line},
    topology::{Host, Lab, Workload},
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (130, 45);

/// Opens a terminal that runs `overlay top`, and says afterwards how it ended and whether the terminal is as it was.
fn top<'a>(host: &'a Host, size: (u16, u16), arguments: &str) -> Result<Terminal<'a>> {
    let overlay = binary()?;
    let script = format!(
        "stty -g > \"$TMUX_TMPDIR/before\"; {} top {arguments}; code=$?; stty -g > \"$TMUX_TMPDIR/after\"; \
         cmp -s \"$TMUX_TMPDIR/before\" \"$TMUX_TMPDIR/after\" && echo as it was; echo ended with $code; read -r end",
        overlay.display()
    );
    Terminal::open(&host.netns, size, &script)
}

/// Waits until it has ended with that code, the terminal as it was before; what is to be seen.
fn ended(terminal: &Terminal<'_>, code: i32) -> Result<String> {
    let seen = terminal.shows(&format!("ended with {code}"))?;
    ensure!(seen.contains("as it was"), "the terminal is not as it was\n{seen}");
    ensure!(!seen.contains("Segments"), "the picture is still there\n{seen}");
    Ok(seen)
}

/// Somebody who sends 300 datagrams in a second from the first host to the second.
fn busy(workloads: &[Workload]) -> Result<Pace> {
    let (from, to) = (&workloads[0], &workloads[1]);
    Pace::start(&from.netns, &to.netns, to.v4.into(), 300, 972)
}

/// Whether a line with these words has a rate of some Mbit/s, as 300 of 1014 bytes in a second have.
fn is_busy(seen: &str, word: &str) -> bool {
    let lines = seen
        .lines()
        .filter(|line| line.split(|c: char| c.is_whitespace() || c == '│').any(|one| one == word));
    lines.filter_map(|line| line.split_once(" Mbit/s")).any(|(before, _)| {
        let rate = before.rsplit(' ').next().and_then(|rate| rate.parse::<f64>().ok());
        rate.is_some_and(|rate| (1.7..=3.2).contains(&rate))
    })
}

fn views(size: (u16, u16)) -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let (host, port) = (lab.host(1), workloads[0].port.as_str());
    host.overlay(&["tunnel", "add", "--vni", "200", "--remote", "192.0.2.9"])?;
    let _pace = busy(&workloads)?;
    let terminal = top(host, size, "--interval 0.5")?;
    let busy = |view: &str, names: &[&str]| {
        terminal.until(view, |seen| names.iter().all(|name| is_busy(seen, name)))
    };
    let seen = busy("who talks most", &["100", "10.0.0.2", port, "TX"])?;
    ensure!(seen.contains(" last "), "{seen}");
    ensure!(seen.lines().count() == usize::from(size.1), "{seen}");
    // Nothing answers there, and no route by an uplink leads there.
    terminal.shows("1 unreachable")?;
    terminal.press(&["Tab"])?;
    terminal.shows("LEARNED")?;
    let seen = busy("the segment", &["100"])?;
    has_line(&seen, &["VNI", "TX", "TX", "BITS", "RX"])?;
    terminal.press(&["3"])?;
    let seen = terminal.shows("REACHED")?;
    has_line(&seen, &["10.0.0.2", "yes", "1"])?;
    ensure!(seen.lines().any(|line| line.starts_with("192.0.2.9") && line.contains(" no ")), "{seen}");
    terminal.press(&["4"])?;
    terminal.shows("STATE")?;
    has_line(&busy("the port", &[port])?, &[port, "100", "there"])?;
    drops(&terminal, &workloads[0])?;
    terminal.press(&["q"])?;
    ended(&terminal, 0).map(drop)
}

/// Drops are shown by reason.
fn drops(terminal: &Terminal<'_>, workload: &Workload) -> Result<()> {
    terminal.press(&["BTab", "BTab", "BTab", "BTab"])?;
    terminal.shows("SINCE UP")?;
    let wire = Wire::open(&workload.netns, Workload::DEVICE, Direction::In)?;
    let link_only = Mac([0x01, 0x80, 0xc2, 0, 0, 2]);
    for _ in 0..17 {
        wire.send(&Ethernet::new(workload.mac, link_only, ETHER_EXPERIMENT).frame(&[0; 50]))?;
    }
    terminal.until("the drops", |seen| {
        seen.lines().any(|line| line.starts_with("reserved-mac") && line.trim_end().ends_with(" 17"))
    })?;
    Ok(())
}

#[test]
fn every_view_shows_what_goes_on_in_a_small_terminal() -> Result<()> {
    views(SMALL)
}

#[test]
fn every_view_shows_what_goes_on_in_a_large_terminal() -> Result<()> {
    views(LARGE)
}

#[test]
fn keys_sort_filter_pause_and_help() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let host = lab.host(1);
    for vni in ["200", "300"] {
        host.overlay(&["vni", "add", vni])?;
    }
    let sender = busy(&workloads)?;
    let terminal = top(host, SMALL, "--interval 0.2")?;
    terminal.press(&["2"])?;
    terminal.until("the segment", |seen| is_busy(seen, "100"))?;
    let place = |seen: &str, name: &str| seen.lines().position(|line| line.starts_with(name));
    terminal.press(&["S"])?;
    terminal.shows("by name")?;
    terminal.press(&["r"])?;
    let seen = terminal.shows("by name, reversed")?;
    ensure!(place(&seen, "300 ") < place(&seen, "100 "), "{seen}");
    terminal.press(&["/", "2", "0"])?;
    terminal.shows("filter: 20")?;
    terminal.press(&["Enter"])?;
    let seen = terminal.until("200 alone", |seen| !seen.contains("\n100 ") && seen.contains("\n200 "))?;
    ensure!(!seen.contains("\n300 ") && seen.contains("filter: 20"), "{seen}");
    terminal.press(&["c"])?;
    terminal.shows("\n100 ")?;
    terminal.press(&["?"])?;
    terminal.shows("Shift-Tab")?;
    terminal.press(&["x"])?;
    terminal.until("no help", |seen| !seen.contains("Shift-Tab"))?;
    terminal.press(&["p"])?;
    let paused = terminal.shows("PAUSED")?;
    // Nobody sends any more, but that is not to be seen before it goes on.
    sender.stop()?;
    terminal.press(&["+"])?;
    let still = terminal.shows("every 400ms")?;
    let rows = |seen: &str| seen.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    ensure!(rows(&paused) == rows(&still), "{paused}\n{still}");
    terminal.press(&["Space"])?;
    terminal.until("silence", |seen| !seen.contains("PAUSED") && !is_busy(seen, "100"))?;
    terminal.press(&["Escape"])?;
    ended(&terminal, 0).map(drop)
}

#[test]
fn another_size_is_no_matter_and_too_small_a_one_is_said() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    let terminal = top(host, SMALL, "")?;
    terminal.shows("Overview")?;
    terminal.resize((50, 10))?;
    let seen = terminal.shows("this terminal has 50x10")?;
    let lines: Vec<&str> = seen.lines().filter(|line| !line.trim().is_empty()).collect();
    ensure!(lines == ["overlay top needs 60x16; this terminal has 50x10"], "{seen}");
    terminal.resize(LARGE)?;
    let seen = terminal.until("a picture", |seen| seen.contains("Drops by reason"))?;
    let bottom = seen.lines().last().unwrap_or_default();
    ensure!(seen.lines().count() == usize::from(LARGE.1) && bottom.contains("q quit"), "{seen}");
    terminal.resize(SMALL)?;
    terminal.until("the picture of before", |seen| {
        seen.lines().count() == usize::from(SMALL.1) && seen.trim_end().ends_with("q quit")
    })?;
    terminal.press(&["C-c"])?;
    ended(&terminal, 0).map(drop)
}

#[test]
fn the_terminal_is_as_it_was_however_it_ends() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let instance = Instance::up(host, &[])?;
        let terminal = top(host, SMALL, "")?;
        terminal.shows("Overview")?;
        kill(Pid::from_raw(terminal.process("overlay")?), signal)?;
        ended(&terminal, 0).with_context(|| signal.to_string())?;
        instance.down()?;
    }
    let instance = Instance::up(host, &[])?;
    let terminal = top(host, SMALL, "--interval 0.2")?;
    terminal.shows("Overview")?;
    instance.down()?;
    let seen = ended(&terminal, FAILED)?;
    let said: Vec<&str> = seen.lines().filter(|line| line.starts_with("overlay:")).collect();
    ensure!(said.len() == 1 && said[0].contains("was taken down"), "{seen}");
    Ok(())
}

#[test]
fn it_waits_for_no_lock_and_shows_no_colour_that_is_not_wanted() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let directory = File::open(instance.pins())?;
    let lock = Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    let colours = |prefix: &str| {
        let script = format!("{prefix} {} top", binary()?.display());
        let terminal = Terminal::open(&host.netns, SMALL, &script)?;
        terminal.shows("Drops by reason")?;
        terminal.styled()
    };
    let (with, without) = (colours("")?, colours("NO_COLOR=1")?);
    let is_colored = |text: &str| {
        (0..8).any(|color| ["38;5;", "3"].iter().any(|kind| text.contains(&format!("[{kind}{color}m"))))
    };
    ensure!(is_colored(&with), "{with:?}");
    ensure!(!is_colored(&without), "{without:?}");
    drop(lock);
    instance.down()
}

#[test]
fn without_a_terminal_or_an_instance_it_says_so() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    refusal::check(&host.overlay_fails(&["top"])?, FAILED, "needs a terminal")?;
    refusal::check(&host.overlay_fails(&["top", "-o", "json"])?, USAGE, "stats --watch")?;
    refusal::check(&host.overlay_fails(&["top", "--interval", "0"])?, USAGE, "0.1 to 3600")?;
    let terminal = top(host, SMALL, "")?;
    let seen = ended(&terminal, FAILED)?;
    ensure!(seen.contains("is not up"), "{seen}");
    Ok(())
}
