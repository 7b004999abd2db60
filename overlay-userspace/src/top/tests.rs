use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use insta::assert_snapshot;
use overlay_common::{DropReason, IfIndex, UnderlayAddr, Vni, maps::counters::Counters};
use ratatui::{Terminal, backend::TestBackend, style::Color};

use super::{
    board::{Board, Mode, View},
    draw,
    keys::Outcome,
    rows::Sort,
    theme::Theme,
};
use crate::traffic::{Peer, Port, Sample, Traffic, reach::Reach};

const SECOND: Duration = Duration::from_secs(1);

fn remote(last: u8) -> UnderlayAddr {
    UnderlayAddr::from_ipv4([10, 0, 0, last])
}

/// What was counted after so many seconds: each segment and remote VTEP at a pace of its own.
fn sample(start: &Sample, seconds: u32) -> Sample {
    let time = u64::from(seconds);
    let mut sample = Sample {
        at: start.at + SECOND * seconds,
        time: SystemTime::UNIX_EPOCH + SECOND * (1_700_000_000 + seconds),
        ..start.clone()
    };
    for (number, pace) in [(100, 1000), (200, 50), (16_777_215, 0)] {
        let vni = Vni::new(number).expect("a number of a segment");
        for (last, share) in [(2, 3), (3, 1)] {
            let counters = Counters {
                tx_packets: pace * share * time,
                tx_bytes: pace * share * time * 1000,
                rx_packets: pace * time / 2,
                rx_bytes: pace * time * 50,
                ..Counters::default()
            };
            sample.tunnels.insert((vni, Peer::Remote(remote(last))), counters);
        }
        let local = Counters { tx_packets: 7 * time, tx_bytes: 700 * time, ..Counters::default() };
        sample.tunnels.insert((vni, Peer::Local), local);
        sample.learned.insert(vni, 12);
    }
    let traffic = Traffic { tx_packets: 4200 * time, tx_bytes: 4_200_000 * time, ..Traffic::default() };
    let (device, vni) = (IfIndex::new(7), Vni::new(100));
    sample.ports.insert("p1".to_owned(), Port { device, vni, is_trunk: false, traffic: Some(traffic) });
    sample.ports.insert("p2".to_owned(), Port { device: None, vni, is_trunk: true, traffic: None });
    sample.drops = vec![(DropReason::NoRoute, 10 * time), (DropReason::Ecn, 3), (DropReason::TooBig, 0)];
    sample
}

/// A board that has looked three times.
fn board() -> Board {
    let mut board = Board::new("net-1", SECOND, Theme::new(true));
    let start = Sample::empty();
    for seconds in 0..3 {
        board.feed(sample(&start, seconds));
    }
    board.note(BTreeMap::from([(remote(2), Reach::Reached), (remote(3), Reach::NoRoute)]));
    board
}

fn press(board: &mut Board, code: KeyCode) -> Outcome {
    board.press(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_in(board: &mut Board, text: &str) {
    for letter in text.chars() {
        assert_eq!(press(board, KeyCode::Char(letter)), Outcome::GoesOn, "{letter}");
    }
}

fn drawn(board: &Board, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal of no device");
    terminal.draw(|frame| draw::draw(frame, board)).expect("memory can be drawn on");
    terminal
}

fn picture(board: &Board, width: u16, height: u16) -> String {
    drawn(board, width, height).backend().to_string()
}

#[test]
fn the_overview_is_drawn() {
    assert_snapshot!(picture(&board(), 80, 24));
}

#[test]
fn a_wide_view_of_segments_has_their_last_minutes() {
    let mut board = board();
    type_in(&mut board, "2");
    assert_snapshot!(picture(&board, 120, 16));
}

#[test]
fn remote_vteps_say_whether_they_are_reached() {
    let mut board = board();
    type_in(&mut board, "3");
    assert_snapshot!(picture(&board, 80, 16));
}

#[test]
fn ports_that_are_gone_are_shown() {
    let mut board = board();
    type_in(&mut board, "4");
    assert_snapshot!(picture(&board, 80, 16));
}

#[test]
fn drops_are_drawn_without_those_that_never_were() {
    let mut board = board();
    type_in(&mut board, "5");
    assert_snapshot!(picture(&board, 60, 16));
}

#[test]
fn the_help_names_all_keys() {
    let mut board = board();
    type_in(&mut board, "?");
    assert_snapshot!(picture(&board, 80, 24));
    type_in(&mut board, "q");
    assert_eq!(board.mode, Mode::Watch, "any key ends the help, and not more");
}

#[test]
fn before_the_first_look_there_is_a_word() {
    let board = Board::new("net-1", SECOND, Theme::new(true));
    assert!(picture(&board, 80, 24).contains("looking …"));
}

#[test]
fn a_terminal_that_is_too_small_says_so_and_nothing_else() {
    let board = board();
    for (width, height) in [(59, 16), (60, 15), (40, 5)] {
        let text = picture(&board, width, height);
        let said = format!("overlay top needs 60x16; this terminal has {width}x{height}");
        let words = text.replace(['"', '\n'], " ");
        let words: Vec<&str> = words.split_whitespace().collect();
        assert_eq!(words.join(" "), said);
    }
    assert!(picture(&board, 60, 16).contains("Segments"));
    for (width, height) in [(1, 1), (7, 1), (1, 9)] {
        picture(&board, width, height);
    }
}

#[test]
fn every_size_and_view_can_be_drawn() {
    let mut board = board();
    for view in ['1', '2', '3', '4', '5'] {
        type_in(&mut board, &view.to_string());
        for (width, height) in [(60, 16), (61, 40), (109, 17), (110, 17), (300, 100)] {
            assert!(picture(&board, width, height).contains("overlay top"), "{view} {width} {height}");
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    let has_colours = |is_colored| {
        let mut board = board();
        board.theme = Theme::new(is_colored);
        let terminal = drawn(&board, 80, 24);
        terminal
            .backend()
            .buffer()
            .content()
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(has_colours(true));
    assert!(!has_colours(false));
}

#[test]
fn views_turn_both_ways() {
    let mut board = board();
    for view in [View::Segments, View::Vteps, View::Ports, View::Drops, View::Overview] {
        press(&mut board, KeyCode::Tab);
        assert_eq!(board.view, view);
    }
    press(&mut board, KeyCode::BackTab);
    assert_eq!(board.view, View::Drops);
}

fn names(board: &Board, view: View) -> Vec<&str> {
    board.rows(view).into_iter().map(|row| row.name.as_str()).collect()
}

#[test]
fn rows_are_sorted_by_what_is_asked_for() {
    let mut board = board();
    assert_eq!(names(&board, View::Segments), ["100", "200", "16777215"]);
    assert_eq!(names(&board, View::Vteps), ["10.0.0.2", "10.0.0.3"]);
    type_in(&mut board, "r");
    assert_eq!(names(&board, View::Segments), ["16777215", "200", "100"]);
    type_in(&mut board, "rS");
    assert_eq!(board.sort, Sort::Name);
    assert_eq!(names(&board, View::Vteps), ["10.0.0.2", "10.0.0.3"]);
    type_in(&mut board, "s");
    assert_eq!(board.sort, Sort::Bits);
    // What has no rate comes last.
    assert_eq!(names(&board, View::Ports), ["p1", "p2"]);
}

#[test]
fn a_filter_is_typed_kept_and_given_up() {
    let mut board = board();
    type_in(&mut board, "2/00");
    assert_eq!(names(&board, View::Segments), ["100", "200"]);
    // What else are commands are letters here.
    type_in(&mut board, "q");
    press(&mut board, KeyCode::Backspace);
    press(&mut board, KeyCode::Enter);
    assert_eq!((board.mode.clone(), board.filter.as_str()), (Mode::Watch, "00"));
    type_in(&mut board, "/1");
    assert_eq!(board.count(), 0);
    let seen = picture(&board, 80, 24);
    assert!(seen.contains("none that the filter leaves") && seen.contains("filter: 001"), "{seen}");
    assert_eq!(press(&mut board, KeyCode::Esc), Outcome::GoesOn);
    assert_eq!((board.mode.clone(), board.filter.as_str()), (Mode::Watch, "00"));
    type_in(&mut board, "c");
    assert_eq!(board.count(), 3);
}

#[test]
fn a_row_is_chosen_and_never_one_that_is_not_there() {
    let mut board = board();
    type_in(&mut board, "2jjjjj");
    assert_eq!(board.chosen, 2);
    press(&mut board, KeyCode::Home);
    press(&mut board, KeyCode::Up);
    assert_eq!(board.chosen, 0);
    press(&mut board, KeyCode::End);
    type_in(&mut board, "k");
    assert_eq!(board.chosen, 1);
    type_in(&mut board, "3");
    assert_eq!(board.chosen, 0);
}

#[test]
fn while_paused_nothing_changes_and_then_rates_are_those_of_the_last_second() {
    let mut board = board();
    let start = Sample::empty();
    type_in(&mut board, "p");
    let before = picture(&board, 80, 24);
    assert!(before.contains("PAUSED"));
    let faster = |seconds| Sample { at: start.at + SECOND * seconds, ..sample(&start, seconds * 2) };
    board.feed(faster(10));
    assert_eq!(picture(&board, 80, 24), before);
    type_in(&mut board, " ");
    board.feed(faster(11));
    let rates = board.shown.as_ref().and_then(|shown| shown.rates).expect("two samples have rates");
    // 4200 frames in a second before, and twice that now.
    assert!((rates.tx_packets - 8400.0).abs() < 1.0, "{rates:?}");
}

#[test]
fn the_pace_stays_within_its_bounds() {
    let mut board = board();
    type_in(&mut board, "-");
    assert_eq!(board.every, Duration::from_millis(500));
    type_in(&mut board, "-----");
    assert_eq!(board.every, Duration::from_millis(100));
    type_in(&mut board, &"+".repeat(30));
    assert_eq!(board.every, Duration::from_secs(3600));
}

#[test]
fn three_keys_quit() {
    let quits = |key| board().press(key) == Outcome::Ends;
    assert!(quits(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE)));
    assert!(quits(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)));
    assert!(quits(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
    assert!(!quits(released));
    // Ctrl-C does wherever one is.
    let mut filtering = board();
    type_in(&mut filtering, "/q");
    assert_eq!(filtering.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Outcome::Ends);
}
