//! What keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    board::{Board, Mode, View},
    rows::Sort,
};
use crate::traffic::{LONGEST, SHORTEST};

/// Rows that a page has, for the keys.
const PAGE: usize = 10;

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    GoesOn,
    Ends,
}

/// Keys and what they do, for the help.
pub(super) const KEYS: [(&str, &str); 11] = [
    ("Tab, Shift-Tab", "next view, previous view"),
    ("1 to 5", "that view"),
    ("Up, Down, j, k", "choose a row; PgUp, PgDn, Home, End"),
    ("s, S", "sort by the next column, by the previous one"),
    ("r", "reverse the order"),
    ("/", "filter by a part of the name; Enter keeps it"),
    ("c", "clear the filter"),
    ("p, Space", "pause, and go on"),
    ("+, -", "look half as often, twice as often"),
    ("?, h", "this help"),
    ("q, Esc, Ctrl-C", "quit"),
];

impl Board {
    /// Does what a key is for.
    pub(super) fn press(&mut self, key: KeyEvent) -> Outcome {
        if key.kind == KeyEventKind::Release {
            return Outcome::GoesOn;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Outcome::Ends } else { Outcome::GoesOn };
        }
        match &self.mode {
            Mode::Watch => return self.command(key.code),
            Mode::Filter(before) => {
                let before = before.clone();
                self.edit(key.code, before);
            }
            Mode::Help => self.mode = Mode::Watch,
        }
        Outcome::GoesOn
    }

    fn command(&mut self, key: KeyCode) -> Outcome {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Outcome::Ends,
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(View::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='5') => {
                let number = digit.to_digit(10).unwrap_or(1) as usize;
                self.show(View::ALL[number - 1]);
            }
            KeyCode::Char('s') => self.resort(1),
            KeyCode::Char('S') => self.resort(Sort::ALL.len() - 1),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('/') => self.mode = Mode::Filter(self.filter.clone()),
            KeyCode::Char('c') => self.filter.clear(),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('+' | '=') => self.every = (self.every * 2).min(LONGEST),
            KeyCode::Char('-') => self.every = (self.every / 2).max(SHORTEST),
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            key => self.choose(key),
        }
        Outcome::GoesOn
    }

    fn edit(&mut self, key: KeyCode, before: String) {
        match key {
            KeyCode::Enter => self.mode = Mode::Watch,
            KeyCode::Esc => (self.filter, self.mode) = (before, Mode::Watch),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
        self.chosen = 0;
    }

    fn turn(&mut self, by: usize) {
        let place = View::ALL.iter().position(|view| *view == self.view).unwrap_or_default();
        self.show(View::ALL[(place + by) % View::ALL.len()]);
    }

    fn show(&mut self, view: View) {
        (self.view, self.chosen) = (view, 0);
    }

    fn resort(&mut self, by: usize) {
        let place = Sort::ALL.iter().position(|sort| *sort == self.sort).unwrap_or_default();
        (self.sort, self.chosen) = (Sort::ALL[(place + by) % Sort::ALL.len()], 0);
    }

    fn choose(&mut self, key: KeyCode) {
        let last = self.count().saturating_sub(1);
        let chosen = self.chosen.min(last);
        self.chosen = match key {
            KeyCode::Up | KeyCode::Char('k') => chosen.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => chosen + 1,
            KeyCode::PageUp => chosen.saturating_sub(PAGE),
            KeyCode::PageDown => chosen + PAGE,
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => chosen,
        }
        .min(last);
    }
}
