//! How the demo's output looks.

use std::{
    env,
    io::{self, IsTerminal as _, Stdout, Write as _},
};

use super::decode::Layer;

/// Columns that lines are kept to.
const WIDTH: usize = 78;
/// Bytes in a line of hexadecimal.
const HEX: usize = 20;

/// Standard output, with headings, commands and what they print set apart.
pub(super) struct Page {
    /// None: nothing is shown.
    out: Option<Stdout>,
    coloured: bool,
}

impl Page {
    pub(super) fn new() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let out = io::stdout();
        Self { coloured: !refused && out.is_terminal(), out: Some(out) }
    }

    #[cfg(test)]
    pub(super) const fn blank() -> Self {
        Self { out: None, coloured: false }
    }

    pub(super) fn heading(&self, text: &str) {
        self.write(&format!("\n{}\n", self.styled("1", text)));
    }

    /// Text, indented.
    pub(super) fn text(&self, text: &str) {
        for line in text.lines() {
            self.write(&format!("  {line}\n"));
        }
    }

    /// Commands that are about to run, as many in a line as fit.
    pub(super) fn commands(&self, commands: &[&str]) {
        for line in wrap(commands.iter().copied(), "; ", WIDTH - 4) {
            self.write(&format!("  {}\n", self.styled("36", &format!("$ {line}"))));
        }
    }

    /// What a command printed.
    pub(super) fn printed(&self, text: &str) {
        for line in text.lines() {
            self.write(&format!("    {line}\n"));
        }
    }

    pub(super) fn layer(&self, layer: &Layer) {
        let first = layer.offset;
        let last = first + layer.bytes.len() - 1;
        let span = format!("bytes {first} to {last}");
        self.write(&format!(
            "  {}  {}\n",
            self.styled("1", &format!("{:<15}", layer.name)),
            self.styled("2", &span)
        ));
        for row in layer.bytes.chunks(HEX) {
            let row: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            self.write(&format!("    {}\n", self.styled("2", &row.join(" "))));
        }
        let fields = layer.fields.iter().map(|(name, value)| format!("{name} {value}"));
        let fields: Vec<String> = fields.collect();
        for line in wrap(fields.iter().map(String::as_str), ", ", WIDTH - 4) {
            self.write(&format!("    {line}\n"));
        }
    }

    pub(super) fn success(&self, text: &str) {
        self.write(&format!("  {}\n", self.styled("32", text)));
    }

    /// A reader who left, as `head` does, must not keep the demo from cleaning up.
    fn write(&self, text: &str) {
        if let Some(mut out) = self.out.as_ref() {
            let _ = out.write_all(text.as_bytes());
        }
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Joins items to lines of at most `width` characters, or of one item that is longer.
fn wrap<'a>(items: impl Iterator<Item = &'a str>, separator: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if line.len() + separator.len() + item.len() <= width => {
                line.push_str(separator);
                line.push_str(item);
            }
            _ => lines.push(item.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled() {
        let lines = wrap(["one", "two", "three", "a long one"].into_iter(), "; ", 8);
        assert_eq!(lines, ["one; two", "three", "a long one"]);
    }
}
