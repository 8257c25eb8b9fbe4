//! What is wrong with a configuration, all of it at once.

use std::fmt;

use super::{EngineAddress, LogSettings, Notification};
use crate::proxy::Proxies;
use crate::words::quoted;

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

/// All that is wrong with the environment.
#[derive(Clone, Debug)]
pub struct Mistakes {
    /// The mistakes, in the order of the table of variables; never empty.
    pub list: Vec<Mistake>,
    /// How to say so: what of the log's own settings could be read, defaults for the rest.
    pub log: LogSettings,
    /// Where a notification goes, as far as that could be read.
    pub notification: Box<Notification>,
    /// The proxies for that.
    pub proxies: Box<Proxies>,
    /// The engine, if its address could be read.
    pub engine: Option<Box<EngineAddress>>,
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.list.len() == 1 { "" } else { "s" };
        write!(f, "the configuration has {} mistake{plural}:", self.list.len())?;
        self.list.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

/// All that is wrong with one service's labels.
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
