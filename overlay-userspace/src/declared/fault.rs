//! What is wrong with a file, and where.

use std::{fmt::Display, ops::Range};

use super::file::Word;
use crate::error::Error;

/// Something wrong at a place of a file.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The bytes of the file that it is about; none: the whole.
    pub(crate) span: Range<usize>,
    /// What it is, in words.
    pub(crate) message: String,
}

impl Fault {
    /// A fault of a value.
    pub(crate) fn at(value: &Word, message: impl Display) -> Self {
        Self { span: value.span(), message: message.to_string() }
    }
}

/// A file's text, and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Text {
    /// Where a span begins, as `NAME:LINE:COLUMN`, both from 1; the name alone, where it is no place.
    pub(crate) fn place(&self, span: &Range<usize>) -> String {
        if span.is_empty() && span.start == 0 {
            return self.name.clone();
        }
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.name)
    }

    /// The fault as a command says it.
    pub(crate) fn error(&self, fault: &Fault) -> Error {
        Error::Usage(format!("{}: {}", self.place(&fault.span), fault.message))
    }
}
