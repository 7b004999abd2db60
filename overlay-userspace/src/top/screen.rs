//! The terminal, taken over and given back.

use ratatui::DefaultTerminal;

use super::{board::Board, draw};
use crate::error::{Context as _, Result};

/// The terminal while it is ours: it is as it was before when this is dropped, and if there is a panic.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| give_back());
        Ok(Self { terminal: terminal.context(|| "cannot take over the terminal")? })
    }

    /// Shows what there is.
    pub(super) fn draw(&mut self, board: &Board) -> Result<()> {
        let drawn = self.terminal.draw(|frame| draw::draw(frame, board));
        drawn.map(drop).context(|| "cannot write to the terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // It may be gone.
    let _ = ratatui::try_restore();
}
