//! Drawing what a board says.

mod bars;
mod overview;
mod tables;

use std::{iter, time::Duration};

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect, Size},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Wrap},
};

use super::{
    board::{Board, Mode, View},
    keys::KEYS,
    theme::Theme,
};
use crate::traffic::in_units;

/// The smallest terminal that there is a picture for.
pub(super) const LEAST: Size = Size { width: 60, height: 16 };

/// Draws all of it, or says that there is no room.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board) {
    let area = frame.area();
    if area.width < LEAST.width || area.height < LEAST.height {
        return too_small(frame, area);
    }
    let bars = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ]);
    let [head, views, body, foot] = bars.areas(area);
    bars::head(frame, head, board);
    bars::views(frame, views, board);
    match (&board.shown, board.view) {
        (None, _) => frame.render_widget(Line::from("looking …").style(Theme::aside()), body),
        (Some(shown), View::Overview) => overview::draw(frame, body, board, shown),
        (Some(shown), View::Drops) => tables::drops(frame, body, board, shown),
        (Some(_), view) => tables::rows(frame, body, board, view),
    }
    bars::foot(frame, foot, board);
    if board.mode == Mode::Help {
        help(frame, area, board);
    }
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let (least, has) = (LEAST, area.as_size());
    let text = format!("overlay top needs {least}; this terminal has {has}");
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
}

fn help(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let lines: Vec<Line<'_>> = KEYS
        .iter()
        .map(|(keys, what)| {
            Line::from(vec![Span::styled(format!(" {keys:<15} "), board.theme.heading()), Span::from(*what)])
        })
        .collect();
    let area = area.centered(Constraint::Length(68.min(area.width)), Constraint::Length(13));
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" Keys ").title_alignment(Alignment::Center);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// A rate in bits, or that it is not known yet.
fn bits(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| in_units(rate, "bit/s"))
}

/// A rate in packets, or that it is not known yet.
fn packets(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| in_units(rate, "pps"))
}

/// A time for people, as in `2m05s`.
fn minutes(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{}ms", time.as_millis()),
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A text on the left and one on the right of a line, if there is room for both.
fn ends<'a>(mut left: Vec<Span<'a>>, right: Span<'a>, width: u16) -> Line<'a> {
    let used = left.iter().chain(iter::once(&right)).map(Span::width).sum();
    if let Some(gap) = usize::from(width).checked_sub(used) {
        left.extend([Span::from(" ".repeat(gap)), right]);
    }
    Line::from(left)
}

/// The end of a name that is too long: that is where addresses of one network differ.
fn shortened(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return name.to_owned();
    }
    iter::once('…').chain(name.chars().skip((length + 1).saturating_sub(width))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_name_is_kept() {
        assert_eq!(shortened("10.0.0.2", 8), "10.0.0.2");
        assert_eq!(shortened("2001:db8::17", 8), "…db8::17");
    }

    #[test]
    fn what_does_not_fit_on_the_right_is_left_out() {
        let text = |width| ends(vec![Span::from("left")], Span::from(" right"), width).to_string();
        assert_eq!([text(12), text(10), text(9)], ["left   right", "left right", "left"]);
    }

    #[test]
    fn times_are_for_people() {
        for (millis, expected) in [(250, "250ms"), (59_000, "59s"), (125_000, "2m05s"), (3_720_000, "1h02m")]
        {
            assert_eq!(minutes(Duration::from_millis(millis)), expected);
        }
    }
}
