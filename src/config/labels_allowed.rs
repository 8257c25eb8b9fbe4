//! The names of labels that `GANTRY_LABELS_ALLOWED` lists. Pure.

use std::collections::BTreeSet;

use super::value::Value;
use super::variables::{LABELS, Label, PREFIX};
use super::{LabelsAllowed, Mistake};
use crate::suggest::unknown_names;

impl Value for LabelsAllowed {
    const EXPECTED: &'static str =
        "all, none, or names of labels such as update.order, separated by white space or commas";

    fn parse(text: &str) -> Result<Self, &'static str> {
        match text.trim().to_ascii_lowercase().as_str() {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::These(BTreeSet::new())),
            _ => {}
        }
        names_in(text).map(label_of).collect::<Option<_>>().map(Self::These).ok_or(Self::EXPECTED)
    }

    /// Of many names, the error names those that are wrong.
    fn read(name: &str, text: &str) -> Result<Self, Mistake> {
        Self::parse(text).map_err(|expected| {
            let unknown: Vec<&str> = names_in(text).filter(|word| label_of(word).is_none()).collect();
            let known: Vec<&str> = LABELS.iter().map(|label| label.name).collect();
            let found = unknown_names(&unknown, PREFIX, "label", &known).join("; ");
            Mistake::new(name, text, format!("{expected}; {found}"))
        })
    }
}

/// The words of a list of labels.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty())
}

/// The label that a word of such a list names.
fn label_of(word: &str) -> Option<&'static str> {
    let is_meant = |label: &&Label| label.name == word || label.name.strip_prefix(PREFIX) == Some(word);
    LABELS.iter().find(is_meant).map(|label| label.name)
}
