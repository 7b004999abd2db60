//! The lines above and below.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    super::{
        board::{Board, Mode, View},
        theme::Theme,
    },
    ends, minutes,
};

/// Whose figures these are, and of when.
pub(super) fn head(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let theme = board.theme;
    let mut left = vec![
        Span::styled("overlay top", theme.heading()),
        Span::from(format!("  {}  every {}", board.instance, minutes(board.every))),
    ];
    match board.unreached() {
        0 => {}
        one_or_more => left.push(Span::styled(format!("  {one_or_more} unreachable"), theme.amiss())),
    }
    if board.is_paused {
        left.extend([Span::from("  "), Span::styled(" PAUSED ", Theme::chosen())]);
    }
    let time =
        board.shown.as_ref().map(|shown| format!(" {}", humantime::format_rfc3339_seconds(shown.time)));
    let time = Span::styled(time.unwrap_or_default().replace('T', " "), Theme::aside());
    frame.render_widget(ends(left, time, area.width), area);
}

/// The views, and the order of rows.
pub(super) fn views(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let mut left = Vec::new();
    for (number, view) in (1..).zip(View::ALL) {
        let style = if view == board.view { Theme::chosen() } else { Style::new() };
        left.push(Span::styled(format!(" {number} {} ", view.name()), style));
    }
    let right = match board.view {
        View::Overview => String::new(),
        _ => format!(" by {}{}", board.sort.name(), if board.is_reversed { ", reversed" } else { "" }),
    };
    frame.render_widget(ends(left, Span::styled(right, Theme::aside()), area.width), area);
}

/// What can be done, or what is being typed.
pub(super) fn foot(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let theme = board.theme;
    if let Mode::Filter(_) = board.mode {
        let left = vec![
            Span::styled("filter: ", theme.heading()),
            Span::from(board.filter.as_str()),
            Span::styled(" ", Theme::chosen()),
        ];
        let right = Span::styled(" Enter keeps it, Esc does not", Theme::aside());
        return frame.render_widget(ends(left, right, area.width), area);
    }
    let mut left = Vec::new();
    if !board.filter.is_empty() {
        left.push(Span::styled(format!("filter: {}  ", board.filter), theme.heading()));
    }
    let keys = "Tab view  s sort  / filter  p pause  +- pace  ? help  q quit";
    left.push(Span::styled(keys, Theme::aside()));
    frame.render_widget(Line::from(left), area);
}
