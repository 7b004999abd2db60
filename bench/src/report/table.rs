//! Tables for a terminal.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use crate::{
    cli::Plan,
    figure::Figure,
    peer::Peer,
    results::Results,
    setting::Setting,
    stats::Summary,
    targets::{Bound, Outcome},
};

/// The figures of one setting: a line for each figure, a column for each peer.
pub(crate) fn figures(plan: &Plan, results: &Results, setting: Setting) -> Table {
    let mut table = new_table();
    // A figure takes several lines.
    table.load_style(STYLE.row_separator(LineStyle::none().fill(' ')));
    let head = std::iter::once(setting.to_string()).chain(plan.peers.iter().map(Peer::to_string));
    table.set_header(head);
    for figure in plan.probes.iter().flat_map(|probe| probe.figures()) {
        let cells = plan.peers.iter().map(|&peer| cell(results, setting, peer, *figure));
        table.add_row(std::iter::once(format!("{}\n{}", figure.what(), figure.unit())).chain(cells));
    }
    align(&mut table);
    table
}

/// The targets, and how they stand.
pub(crate) fn targets(outcomes: &[Outcome]) -> Table {
    let mut table = new_table();
    table.set_header(["target", "against", "shall be", "is", ""]);
    for outcome in outcomes {
        let shall = match outcome.bound {
            Bound::AtLeast(bound) => format!("≥ {bound:.2}"),
            Bound::AtMost(bound) => format!("≤ {bound:.2}"),
        };
        let is = outcome.measured.map_or("–".to_owned(), |value| format!("{value:.2}"));
        let verdict = match outcome.reached {
            Some(true) => "reached",
            Some(false) => "missed",
            None => "not measured",
        };
        let over = if outcome.ours == Peer::OursIpv6 { ", over IPv6" } else { "" };
        let what = format!("{} {}{over}", outcome.setting, outcome.figure.what());
        table.add_row([what, outcome.against.to_string(), shall, is, verdict.to_owned()]);
    }
    table
}

/// A line below the names of columns, and no other.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// An empty table in the style of all of them.
pub(crate) fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Numbers to the right.
pub(crate) fn align(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Median, spread and ratios, below each other.
pub(crate) fn cell(results: &Results, setting: Setting, peer: Peer, figure: Figure) -> String {
    let key = (setting, peer, figure);
    let Some(summary) = results.summary(key) else {
        let why = if results.why_unable(setting, peer).is_some() { "cannot run" } else { "failed" };
        return why.to_owned();
    };
    let ratio = |(against, letter)| {
        let ratio = results.ratio(key, against).filter(|_| against != peer);
        ratio.map(|ratio| format!("{:.2} {letter}", ratio.median))
    };
    let ratios: Vec<_> = [(Peer::Kernel, 'k'), (Peer::Floor, 'f')].into_iter().filter_map(ratio).collect();
    let lines = [number(summary.median), range(summary).unwrap_or_default(), ratios.join("  ")];
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// `least–most`, if they differ.
fn range(Summary { min, max, .. }: Summary) -> Option<String> {
    (min < max).then(|| format!("{}–{}", number(min), number(max)))
}

/// Three digits that count, or all before the point.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_more() {
        for (value, shown) in [
            (0.5, "0.50"),
            (9.99, "9.99"),
            (9.996, "10.0"),
            (42.12, "42.1"),
            (99.96, "100"),
            (12345.6, "12346"),
        ] {
            assert_eq!(number(value), shown);
        }
    }
}
