//! A terminal that a command is run on, and what is on its screen in the end.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, openpty},
    sys::signal::{Signal, kill},
    unistd::{Pid, setsid},
};
use vt100::{Cell, Color, Parser};

/// Columns of a screen.
pub(crate) const COLUMNS: u16 = 110;

/// How long a command may take that ends by itself.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command on a screen of so many rows, to its end or until it is interrupted; the screen's lines with their colours, as
/// escape sequences of ECMA-48.
pub(crate) fn run(command: &mut Command, rows: u16, lasts: Option<Duration>) -> Result<String> {
    let size = Winsize { ws_row: rows, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).context("no terminal")?;
    let slave = File::from(pty.slave);
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    // SAFETY: the closure only makes system calls, which are allowed between fork and exec.
    unsafe {
        command.pre_exec(|| Ok(setsid().map(drop)?));
    }
    let mut child = command.spawn().context("cannot start it")?;
    // Ours would keep the terminal from ending.
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::null());
    let mut screen = Parser::new(rows, COLUMNS, 0);
    let end = Instant::now() + lasts.unwrap_or(LIMIT);
    let mut master = File::from(pty.master);
    let is_over = follow(&mut master, &mut screen, end)?;
    let shown = lines(screen.screen());
    if !is_over {
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
        follow(&mut master, &mut screen, Instant::now() + LIMIT)?;
    }
    let status = child.wait()?;
    ensure!(is_over || lasts.is_some(), "it does not end");
    ensure!(status.success() || lasts.is_some(), "{status}: {shown}");
    Ok(shown)
}

/// Takes what is written to the terminal until nobody has it any more, which is true, or the time is over.
fn follow(master: &mut File, screen: &mut Parser, end: Instant) -> Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        if poll(&mut [PollFd::new(master.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            return Ok(false);
        }
        match master.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(length) => screen.process(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Linux has it so when the last one has closed the other end.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The lines of a screen, without the empty ones at its end.
fn lines(screen: &vt100::Screen) -> String {
    let (rows, columns) = screen.size();
    let lines = (0..rows).map(|row| {
        let cells = (0..columns).filter_map(|column| screen.cell(row, column));
        line(cells)
    });
    let lines: Vec<String> = lines.collect();
    let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines[..used].join("\n")
}

fn line<'a>(cells: impl Iterator<Item = &'a Cell>) -> String {
    let (mut text, mut style, mut used) = (String::new(), String::new(), 0);
    for cell in cells.filter(|cell| !cell.is_wide_continuation()) {
        let next = sequence(cell);
        if next != style {
            text.push_str("\x1b[0m");
            text.push_str(&next);
            style = next;
        }
        if cell.has_contents() && cell.contents() != " " || !style.is_empty() {
            text.push_str(cell.contents());
            if !cell.has_contents() {
                text.push(' ');
            }
            used = text.len();
        } else {
            text.push(' ');
        }
    }
    text.truncate(used);
    if !style.is_empty() || text.contains('\x1b') {
        text.push_str("\x1b[0m");
    }
    text
}

/// What switches to the style of a cell from none; empty: it has none.
fn sequence(cell: &Cell) -> String {
    let mut codes = Vec::new();
    let flags =
        [(cell.bold(), 1), (cell.dim(), 2), (cell.italic(), 3), (cell.underline(), 4), (cell.inverse(), 7)];
    codes.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, code)| code.to_string()));
    codes.extend(color(cell.fgcolor(), 30));
    codes.extend(color(cell.bgcolor(), 40));
    if codes.is_empty() { String::new() } else { format!("\x1b[{}m", codes.join(";")) }
}

fn color(color: Color, base: u8) -> Option<String> {
    match color {
        Color::Default => None,
        Color::Idx(index @ 0..8) => Some((base + index).to_string()),
        Color::Idx(index) => Some(format!("{};5;{index}", base + 8)),
        Color::Rgb(red, green, blue) => Some(format!("{};2;{red};{green};{blue}", base + 8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_keeps_text_and_colours() {
        let mut parser = Parser::new(4, 20, 0);
        parser.process(b"one\r\n\x1b[1;32mgreen\x1b[0m  end\r\n");
        assert_eq!(lines(parser.screen()), "one\n\x1b[0m\x1b[1;32mgreen\x1b[0m  end\x1b[0m");
    }
}
