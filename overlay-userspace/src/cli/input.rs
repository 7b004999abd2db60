//! Files that commands read.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use crate::error::{Context as _, Result};

/// The whole text of a file, and what to call it; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<(String, String)> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context(|| "cannot read standard input")?;
        return Ok(("standard input".to_owned(), text));
    }
    let name = path.display().to_string();
    let text = fs::read_to_string(path).context(|| format!("cannot read {name}"))?;
    Ok((name, text))
}
