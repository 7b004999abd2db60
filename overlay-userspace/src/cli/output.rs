//! Printing what commands show.

use std::{
    fmt::Display,
    io::{self, Write as _},
    time::Duration,
};

use clap::ValueEnum;
use serde::Serialize;

use crate::error::{Context as _, Error, Result};

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

/// Where commands print to.
pub(super) struct Output {
    format: Format,
}

/// Rows for people: a heading, and cells as wide as their columns need.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_owned).to_vec()] }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// One with any number of columns.
    pub(super) fn with(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row of that many cells.
    pub(super) fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// As lines.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

impl Output {
    pub(super) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// How it prints.
    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Prints `data` as JSON, or as the table that `table` makes of it.
    pub(super) fn print<T: Serialize>(&self, data: &T, table: impl FnOnce(&T) -> Table) -> Result<()> {
        match self.format {
            Format::Table => write(&table(data).render()),
            Format::Json => write(&json(data)?),
        }
    }

    /// Prints `data` as JSON, and nothing for people.
    pub(super) fn print_json<T: Serialize>(&self, data: &T) -> Result<()> {
        match self.format {
            Format::Table => Ok(()),
            Format::Json => write(&json(data)?),
        }
    }
}

impl Output {
    /// Prints `data` as JSON, or a line for each of its items.
    pub(super) fn print_lines<T: Serialize, L: Display>(
        &self,
        data: &T,
        lines: impl FnOnce(&T) -> &[L],
    ) -> Result<()> {
        self.print_text(data, || {
            let lines: Vec<_> = lines(data).iter().map(ToString::to_string).collect();
            Ok(lines.iter().flat_map(|line| [line, "\n"]).collect())
        })
    }

    /// Prints `data` as JSON, or the text that stands for it.
    pub(super) fn print_text<T: Serialize>(
        &self,
        data: &T,
        text: impl FnOnce() -> Result<String>,
    ) -> Result<()> {
        match self.format {
            Format::Table => write(&text()?),
            Format::Json => write(&json(data)?),
        }
    }
}

fn json<T: Serialize>(data: &T) -> Result<String> {
    let json = serde_json::to_string_pretty(data).context(|| "cannot print JSON")?;
    Ok(format!("{json}\n"))
}

fn write(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::failed("cannot print", error)),
        Ok(()) => Ok(()),
    }
}

/// A cell for how many stations are learned, and how many can be at most; 0: any number.
pub(super) fn out_of(learned: u64, limit: u32) -> String {
    if limit == 0 { learned.to_string() } else { format!("{learned}/{limit}") }
}

/// A cell for a time: its two largest units, as in `3h5m`.
pub(super) fn period(seconds: u64) -> String {
    let exact = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    exact.split(' ').take(2).collect()
}

/// A cell for a value that may not be there.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let shown = [0, 59, 60, 11_110, 86_400 * 3 + 7].map(period);
        assert_eq!(shown, ["0s", "59s", "1m", "3h5m", "3days7s"]);
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["VNI", "REMOTE"]);
        table.row(["16777215".to_owned(), "10.0.0.1".to_owned()]);
        assert_eq!(table.render(), "VNI       REMOTE\n16777215  10.0.0.1\n");
    }
}
