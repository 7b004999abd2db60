//! What things look like.

use std::env;

use ratatui::style::{Color, Modifier, Style};

/// Styles. Colours are those of the terminal, and never all that tells one thing from another.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    is_colored: bool,
}

impl Theme {
    /// With colours, or without.
    #[must_use]
    pub const fn new(is_colored: bool) -> Self {
        Self { is_colored }
    }

    /// Without colours if `NO_COLOR` is set (<https://no-color.org>).
    #[must_use]
    pub fn of_environment() -> Self {
        Self::new(env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    fn colored(self, color: Color) -> Style {
        if self.is_colored { Style::new().fg(color) } else { Style::new() }
    }

    pub(super) fn heading(self) -> Style {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub(super) fn sent(self) -> Style {
        self.colored(Color::Green)
    }

    pub(super) fn received(self) -> Style {
        self.colored(Color::Blue)
    }

    pub(super) fn amiss(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn chosen() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn aside() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}
