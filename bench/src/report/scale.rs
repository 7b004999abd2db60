//! Tables of what size costs.

use comfy_table::Table;

use super::table::{align, new_table, number};
use crate::{cost::Quartiles, scale::Scale, targets::Bound};

/// Those that have something in them.
pub(super) fn tables(scale: &Scale) -> Vec<Table> {
    let all = [
        (scale.packets.is_empty(), packets(scale)),
        (scale.loads.is_empty(), loads(scale)),
        (scale.changes.is_empty(), changes(scale)),
        (scale.targets.is_empty(), targets(scale)),
    ];
    all.into_iter().filter(|(is_empty, _)| !is_empty).map(|(_, table)| table).collect()
}

fn packets(scale: &Scale) -> Table {
    let mut table = new_table();
    table.set_header(["of many", "count", "what", "destinations", "ns, median (quartiles)"]);
    for packet in &scale.packets {
        let Quartiles { lower, median, upper } = packet.nanoseconds;
        table.add_row([
            packet.of.to_owned(),
            packet.count.to_string(),
            packet.program.to_owned(),
            if packet.random { "drawn from all" } else { "one" }.to_owned(),
            format!("{median:.0} ({lower:.0}–{upper:.0})"),
        ]);
    }
    align(&mut table);
    table
}

fn loads(scale: &Scale) -> Table {
    let mut table = new_table();
    table.set_header(["stations", "s to load", "B each", "B each, tables included"]);
    for load in &scale.loads {
        table.add_row([
            load.stations.to_string(),
            number(load.seconds),
            number(load.bytes_each),
            number(load.bytes_in_all),
        ]);
    }
    align(&mut table);
    table
}

fn changes(scale: &Scale) -> Table {
    let mut table = new_table();
    table.set_header(["change", "stations", "ms"]);
    for change in &scale.changes {
        let milliseconds = number(change.seconds * 1e3);
        table.add_row([change.what.to_owned(), change.stations.to_string(), milliseconds]);
    }
    align(&mut table);
    table
}

fn targets(scale: &Scale) -> Table {
    let mut table = new_table();
    table.set_header(["target", "shall be", "is", ""]);
    for target in &scale.targets {
        let shall = match target.bound {
            Bound::AtLeast(bound) => format!("≥ {bound:.2}"),
            Bound::AtMost(bound) => format!("≤ {bound:.2}"),
        };
        let verdict = if target.reached { "reached" } else { "missed" };
        table.add_row([target.what.clone(), shall, number(target.measured), verdict.to_owned()]);
    }
    table
}
