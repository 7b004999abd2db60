//! The last minutes, and who had the most of the last moment.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Block, Paragraph, RenderDirection, Sparkline},
};

use super::{
    super::{
        board::{Board, View},
        history::Point,
        rows::{Shown, Sort},
        theme::Theme,
    },
    bits, ends, minutes, packets, shortened,
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, board: &Board, shown: &Shown) {
    let [past, one, two] =
        Layout::vertical([Constraint::Percentage(34), Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let thirds = Layout::horizontal([Constraint::Fill(1); 3]);
    let [sent, received, dropped] = thirds.areas(past);
    let theme = board.theme;
    let rates = shown.rates;
    let tx = format!(" TX {} ", bits(rates.map(|rates| rates.tx_bits)));
    line(frame, sent, board, theme.sent(), tx, |point| point.sent);
    let rx = format!(" RX {} ", bits(rates.map(|rates| rates.rx_bits)));
    line(frame, received, board, theme.received(), rx, |point| point.received);
    let drops = format!(" Drops {} ", packets(shown.dropped));
    line(frame, dropped, board, theme.amiss(), drops, |point| point.dropped);
    let halves = Layout::horizontal([Constraint::Fill(1); 2]);
    let [segments, vteps] = halves.areas(one);
    let [ports, reasons] = halves.areas(two);
    for (area, view) in [(segments, View::Segments), (vteps, View::Vteps), (ports, View::Ports)] {
        talkers(frame, area, board, shown, view);
    }
    drops_now(frame, reasons, board, shown);
}

/// The last minutes of a rate, the latest on the right.
fn line(
    frame: &mut Frame<'_>,
    area: Rect,
    board: &Board,
    style: Style,
    title: String,
    of: fn(&Point) -> f64,
) {
    let (points, time) = board.history.last(usize::from(area.width.saturating_sub(2)));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is no less than 0")]
    let data: Vec<u64> = points.iter().map(|point| of(point) as u64).collect();
    let span = if points.is_empty() { String::new() } else { format!(" last {} ", minutes(time)) };
    let block = Block::bordered().title(title).title_bottom(Line::from(span).right_aligned());
    let bars =
        Sparkline::default().data(data).direction(RenderDirection::RightToLeft).style(style).block(block);
    frame.render_widget(bars, area);
}

/// Who sends and receives most now.
fn talkers(frame: &mut Frame<'_>, area: Rect, board: &Board, shown: &Shown, view: View) {
    let all = shown.rows(view).len();
    let room = usize::from(area.height.saturating_sub(2));
    let rows = shown.sorted(view, &board.filter, Sort::Bits, false);
    let busy = rows
        .iter()
        .filter_map(|row| Some((row.name.as_str(), row.rates.filter(|rates| rates.packets() > 0.0)?)));
    let width = area.width.saturating_sub(2);
    let lines: Vec<Line<'_>> = busy
        .take(room)
        .map(|(name, rates)| {
            let figures = format!(" {:>11} {:>9}", bits(Some(rates.bits())), packets(Some(rates.packets())));
            let name = shortened(name, usize::from(width).saturating_sub(figures.len()));
            ends(vec![Span::from(name)], Span::styled(figures, board.theme.sent()), width)
        })
        .collect();
    list(frame, area, board, format!(" {} ({all}) ", view.name()), lines, "nothing now");
}

fn drops_now(frame: &mut Frame<'_>, area: Rect, board: &Board, shown: &Shown) {
    let width = area.width.saturating_sub(2);
    let rows = shown.drops(&board.filter, Sort::Bits, false);
    let lines: Vec<Line<'_>> = rows
        .iter()
        .take(usize::from(area.height.saturating_sub(2)))
        .map(|row| {
            let is_now = row.rate.is_some_and(|rate| rate > 0.0);
            let style = if is_now { board.theme.amiss() } else { Theme::aside() };
            ends(vec![Span::from(row.reason)], Span::styled(format!(" {}", packets(row.rate)), style), width)
        })
        .collect();
    list(frame, area, board, " Drops by reason ".to_owned(), lines, "none so far");
}

fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    board: &Board,
    title: String,
    mut lines: Vec<Line<'_>>,
    none: &'static str,
) {
    if lines.is_empty() {
        lines.push(Line::from(none).style(Theme::aside()));
    }
    let block = Block::bordered().title(Span::styled(title, board.theme.heading()));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
