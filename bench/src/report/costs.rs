//! Tables of what programs cost.

use comfy_table::Table;

use super::table::{align, new_table, number};
use crate::cost::{Cost, Quartiles};

/// Those that have something in them.
pub(super) fn tables(cost: &Cost) -> Vec<Table> {
    let all = [
        (cost.paths.is_empty(), paths(cost)),
        (cost.traffic.is_empty(), traffic(cost)),
        (cost.sizes.is_empty(), sizes(cost)),
    ];
    all.into_iter().filter(|(is_empty, _)| !is_empty).map(|(_, table)| table).collect()
}

fn paths(cost: &Cost) -> Table {
    let mut table = new_table();
    table.set_header(["path of a frame of 64 B in UDP", "program", "ns, median (quartiles)"]);
    for path in &cost.paths {
        let Quartiles { lower, median, upper } = path.nanoseconds;
        let shown = format!("{median:.0} ({lower:.0}–{upper:.0})");
        table.add_row([path.path, path.program, &shown]);
    }
    align(&mut table);
    table
}

fn traffic(cost: &Cost) -> Table {
    let mut table = new_table();
    table.set_header(["under traffic", "program", "runs", "ns on average"]);
    for one in &cost.traffic {
        let what = format!("{} {}", one.setting, one.traffic);
        table.add_row([what, one.program.to_owned(), one.runs.to_string(), number(one.nanoseconds)]);
    }
    align(&mut table);
    table
}

fn sizes(cost: &Cost) -> Table {
    let mut table = new_table();
    table.set_header(["program", "instructions", "verified"]);
    for size in &cost.sizes {
        table.add_row([size.program.clone(), size.instructions.to_string(), size.verified.to_string()]);
    }
    align(&mut table);
    table
}
