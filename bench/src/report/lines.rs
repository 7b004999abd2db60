//! Tables of where the time of a packet goes.

use comfy_table::Table;

use super::table::{align, new_table, number};
use crate::lines::{Lines, Program};

/// Lines of a program that are shown: those that take so much of a packet, in nanoseconds.
const LEAST: f64 = 0.1;

pub(super) fn tables(all: &[Lines]) -> Vec<Table> {
    let of_setting = |lines: &Lines| {
        let mut tables = vec![whole(lines)];
        tables.extend(lines.programs.iter().map(program));
        tables
    };
    all.iter().flat_map(of_setting).collect()
}

fn whole(lines: &Lines) -> Table {
    let mut table = new_table();
    table.set_header([&format!("{}: a packet of 64 B in UDP", lines.setting), "ns"]);
    table.add_row(["all CPUs", &number(lines.nanoseconds)]);
    for program in &lines.programs {
        table.add_row([&format!("{}, its own instructions", program.name), &number(program.nanoseconds)]);
    }
    for (name, nanoseconds) in &lines.functions {
        table.add_row([name, &number(*nanoseconds)]);
    }
    align(&mut table);
    table
}

fn program(program: &Program) -> Table {
    let mut table = new_table();
    table.set_header([program.name, "line", "instructions", "ns"]);
    for line in program.lines.iter().filter(|line| line.nanoseconds >= LEAST) {
        let shown = [line.text.clone(), line.place.clone(), line.instructions.to_string()];
        table.add_row(shown.into_iter().chain([number(line.nanoseconds)]));
    }
    table
}
