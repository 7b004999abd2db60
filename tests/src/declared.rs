//! Configuration files, and what `overlay apply` makes of them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{overlay::Failure, topology::Host};

/// A file that is removed when dropped.
#[derive(Debug)]
pub struct TempFile(PathBuf);

impl TempFile {
    /// A file with that text.
    pub fn new(text: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("overlay-{}-{number}.toml", std::process::id()));
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The same, as an argument.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A directory that nobody has made yet, and that is removed when dropped.
#[derive(Debug)]
pub struct TempDirectory(PathBuf);

impl TempDirectory {
    /// One for that purpose.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        Self(std::env::temp_dir().join(format!("overlay-{}-{purpose}", std::process::id())))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Host {
    /// Applies a text, which has to succeed; what it prints.
    pub fn apply(&self, text: &str, arguments: &[&str]) -> Result<String> {
        let file = TempFile::new(text)?;
        self.overlay(&[&["apply", "-f", file.name()], arguments].concat())
            .with_context(|| format!("applying\n{text}"))
    }

    /// The changes that applying a text makes, as JSON.
    pub fn apply_json(&self, text: &str) -> Result<Vec<Value>> {
        let file = TempFile::new(text)?;
        let report = self.overlay_json(&["apply", "-f", file.name()])?;
        ensure!(report["applied"] == true, "{report}");
        report["changes"].as_array().cloned().context("no changes")
    }

    /// Applies a text, which has to fail; how, with the file called FILE.
    pub fn apply_fails(&self, text: &str) -> Result<Failure> {
        let file = TempFile::new(text)?;
        let failure = self.overlay_fails(&["apply", "-f", file.name()])?;
        Ok(Failure { stderr: failure.stderr.replace(file.name(), "FILE"), ..failure })
    }
}
