//! How variable and label say which tags services accept. Pure.

use super::Mistake;
use super::value::Value;
use crate::gate::tags::TagPolicy;

impl Value for TagPolicy {
    const EXPECTED: &'static str = "same, patch, minor, major or /REGEX/ with a group in parentheses";

    fn parse(text: &str) -> Result<Self, &'static str> {
        text.parse().map_err(|_| Self::EXPECTED)
    }

    /// Of a regular expression, the error says what is wrong with it.
    fn read(name: &str, text: &str) -> Result<Self, Mistake> {
        text.parse().map_err(|error| Mistake::new(name, text, format!("{}: {error}", Self::EXPECTED)))
    }
}
