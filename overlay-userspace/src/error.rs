use std::fmt::Display;

use thiserror::Error;

/// Why a command was not carried out. Its text is one line: what was wrong, with what, and what to do.
#[derive(Debug, Error)]
pub enum Error {
    /// The command makes no sense as it was given.
    #[error("{0}")]
    Usage(String),
    /// It was to add what is there already, just as it was to be added.
    #[error("{0}")]
    Exists(String),
    /// It was to add what is there already, but not as it was to be added.
    #[error("{0}")]
    Conflict(String),
    /// It was to change or remove what is not there.
    #[error("{0}")]
    Missing(String),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
}

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure and its cause, as one line.
    pub fn failed(what: impl Display, cause: impl Display) -> Self {
        let cause = cause.to_string();
        Self::Failed(format!("{what}: {}", cause.lines().next().unwrap_or("unknown cause")))
    }

    /// The same error, of a part of what was to be added: that this part is there does not make the whole there.
    #[must_use]
    pub fn as_conflict(self) -> Self {
        match self {
            Self::Exists(message) => Self::Conflict(message),
            other => other,
        }
    }

    /// The same error, and what it is about.
    #[must_use]
    pub fn because_of(self, what: impl Display) -> Self {
        match self {
            Self::Usage(message) => Self::Usage(format!("{what}: {message}")),
            Self::Exists(message) => Self::Exists(format!("{what}: {message}")),
            Self::Conflict(message) => Self::Conflict(format!("{what}: {message}")),
            Self::Missing(message) => Self::Missing(format!("{what}: {message}")),
            Self::Failed(message) => Self::Failed(format!("{what}: {message}")),
        }
    }

    /// The exit code of the process: 1 failed, 2 bad usage, 3 exists already, 4 does not exist.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Exists(_) | Self::Conflict(_) => 3,
            Self::Missing(_) => 4,
        }
    }
}

/// Adds what was being done to an error.
pub trait Context<T> {
    /// Names what failed.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] where there was an error.
    fn context<C: Display>(self, what: impl FnOnce() -> C) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context<C: Display>(self, what: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|cause| Error::failed(what(), cause))
    }
}
