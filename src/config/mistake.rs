//! A value that cannot be used. Pure.

use std::fmt;

use crate::words::{piece, quoted};

/// One value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The variable or label.
    pub name: String,
    /// The value, fit to be shown: cut to a sane size, escaped, `***` for a secret; `None`: it is missing.
    pub value: Option<String>,
    /// What was expected instead, in words.
    pub expected: String,
}

impl Mistake {
    /// A value that is not what was expected.
    pub fn new(name: &str, value: &str, expected: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: Some(quoted(value)), expected: expected.into() }
    }

    /// A secret value that is not what was expected.
    pub fn secret(name: &str, expected: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: Some("***".to_owned()), expected: expected.into() }
    }

    /// A label with more bytes than any service needs.
    pub fn too_long(name: &str, bytes: usize, most: usize) -> Self {
        let expected = format!("at most {most} bytes; shorten the label");
        Self { name: piece(name), value: Some(format!("({bytes} bytes)")), expected }
    }

    /// A value that is missing.
    pub fn missing(name: &str, expected: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: None, expected: expected.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}: expected {}", self.name, self.expected),
            None => write!(f, "{} is not set: expected {}", self.name, self.expected),
        }
    }
}

/// All mistakes in one service's labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMistakes {
    /// The mistakes, in the order of the table of labels; never empty.
    pub list: Vec<Mistake>,
}

impl std::error::Error for LabelMistakes {}

impl fmt::Display for LabelMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.list.iter().enumerate() {
            write!(f, "{}label {mistake}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
