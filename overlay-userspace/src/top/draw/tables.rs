//! Views of rows.

use std::ops::Range;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    text::Text,
    widgets::{Cell, Row as Line, Table},
};

use super::{
    super::{
        board::{Board, View},
        rows::{About, Row, Shown},
        theme::Theme,
    },
    bits, packets,
};
use crate::traffic::{in_units, reach::Reach};

/// From so many columns on, rows have their last minutes, too, in so many.
const WIDE: u16 = 110;
const TREND: u16 = 24;

/// A column: its heading, how wide it is, and whether it holds numbers.
type Column = (&'static str, u16, bool);

const RATES: [Column; 4] = [("TX", 9, true), ("TX BITS", 11, true), ("RX", 9, true), ("RX BITS", 11, true)];

/// What a view shows besides.
const fn columns(view: View) -> (&'static str, &'static [Column]) {
    match view {
        View::Vteps => ("VTEP", &[("REACHED", 9, false), ("SEGMENTS", 8, true)]),
        View::Ports => ("PORT", &[("VNI", 15, false), ("STATE", 6, false)]),
        _ => ("VNI", &[("LOCAL", 9, true), ("VTEPS", 5, true), ("LEARNED", 7, true)]),
    }
}

/// Segments, remote VTEPs or ports.
pub(super) fn rows(frame: &mut Frame<'_>, area: Rect, board: &Board, view: View) {
    let rows = board.rows(view);
    let (name, more) = columns(view);
    let mut columns = [&[(name, 0, false)], &RATES[..], more].concat();
    let is_wide = area.width >= WIDE;
    if is_wide {
        columns.push(("LAST MINUTES", TREND, false));
    }
    let (seen, chosen) = window(board.chosen, rows.len(), area);
    let seen = rows.get(seen).unwrap_or_default();
    fit(&mut columns, seen.iter().map(|row| row.name.len()).max().unwrap_or_default(), area.width);
    let line = |row: &&Row| {
        let rates = row.rates;
        let mut cells = vec![
            row.name.clone(),
            packets(rates.map(|rates| rates.tx_packets)),
            bits(rates.map(|rates| rates.tx_bits)),
            packets(rates.map(|rates| rates.rx_packets)),
            bits(rates.map(|rates| rates.rx_bits)),
        ];
        let is_amiss = about(board, &row.about, &mut cells);
        if is_wide {
            cells.push(board.history.trend(view, &row.name, TREND.into()));
        }
        let line = Line::new(cells.into_iter().zip(&columns).map(|(text, column)| cell(text, *column)));
        if is_amiss { line.style(board.theme.amiss()) } else { line }
    };
    let lines = seen.iter().map(line);
    table(frame, area, board, &columns, lines.collect(), chosen);
}

/// Leaves out the last columns where there is no room for them beside names.
fn fit(columns: &mut Vec<Column>, name: usize, room: u16) {
    let width = |columns: &[Column]| {
        name + columns.iter().skip(1).map(|(_, width, _)| usize::from(*width) + 1).sum::<usize>()
    };
    while columns.len() > 1 && width(columns) > usize::from(room) {
        columns.pop();
    }
}

/// Adds what only rows of that kind have; whether something is amiss.
fn about(board: &Board, about: &About, cells: &mut Vec<String>) -> bool {
    match about {
        About::Segment { remotes, learned, local } => {
            let local = packets(local.map(|rates| rates.tx_packets));
            cells.extend([local, remotes.to_string(), learned.to_string()]);
            false
        }
        About::Vtep { remote, segments } => {
            let reach = board.reach(*remote);
            let reached = reach.map_or("?", Reach::name).to_owned();
            cells.extend([reached, segments.to_string()]);
            reach.is_some_and(Reach::is_amiss)
        }
        About::Port { segment, is_present } => {
            let state = if *is_present { "there" } else { "gone" }.to_owned();
            cells.extend([segment.clone(), state]);
            !is_present
        }
    }
}

/// What was dropped.
pub(super) fn drops(frame: &mut Frame<'_>, area: Rect, board: &Board, shown: &Shown) {
    const COLUMNS: [Column; 3] = [("REASON", 0, false), ("NOW", 12, true), ("SINCE UP", 12, true)];
    let rows = shown.drops(&board.filter, board.sort, board.is_reversed);
    let (seen, chosen) = window(board.chosen, rows.len(), area);
    let lines = rows.get(seen).unwrap_or_default().iter().map(|row| {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let packets_so_far = in_units(row.packets as f64, "");
        let cells = [row.reason.to_owned(), packets(row.rate), packets_so_far.trim_end().to_owned()];
        let line = Line::new(cells.into_iter().zip(COLUMNS).map(|(text, column)| cell(text, column)));
        if row.rate.is_some_and(|rate| rate > 0.0) { line.style(board.theme.amiss()) } else { line }
    });
    table(frame, area, board, &COLUMNS, lines.collect(), chosen);
}

/// Which rows are in sight, below a heading, and the place of the chosen one among them.
fn window(chosen: usize, count: usize, area: Rect) -> (Range<usize>, usize) {
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let chosen = chosen.min(count.saturating_sub(1));
    let first = (chosen + 1).saturating_sub(room);
    (first..count.min(first + room), chosen - first)
}

fn cell(text: String, (_, _, is_number): Column) -> Cell<'static> {
    Cell::new(Text::from(text).alignment(if is_number { Alignment::Right } else { Alignment::Left }))
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    board: &Board,
    columns: &[Column],
    mut lines: Vec<Line<'_>>,
    chosen: usize,
) {
    let theme = board.theme;
    let is_empty = lines.is_empty();
    if let Some(line) = lines.get_mut(chosen) {
        *line = std::mem::take(line).style(Theme::chosen());
    }
    let heading = Line::new(columns.iter().map(|column| cell(column.0.to_owned(), *column)));
    let widths = columns.iter().map(|(_, width, _)| match width {
        0 => Constraint::Fill(1),
        width => Constraint::Length(*width),
    });
    frame.render_widget(Table::new(lines, widths).header(heading.style(theme.heading())), area);
    if is_empty {
        let none = if board.filter.is_empty() { "none" } else { "none that the filter leaves" };
        let below = Rect { y: area.y + 1, height: 1, ..area };
        frame.render_widget(Text::from(none).style(Theme::aside()), below);
    }
}
