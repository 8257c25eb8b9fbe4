//! A user's regular expression for tags, within bounds. Pure.

use std::fmt;
use std::hash::{Hash, Hasher};

use regex_lite::{Regex, RegexBuilder};

use super::digits::Digits;
use super::step::TagStep;

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 200;

/// The largest compiled pattern, in bytes. A match takes time in proportion to the length of the tag and to this size. A pattern
/// for seven numbers takes 6,000 bytes.
const MAX_COMPILED: usize = 16 << 10;

/// How deep groups may be nested.
const MAX_DEPTH: u32 = 10;

/// The named groups that tell how large a step is.
const STEPS: [(&str, TagStep); 3] =
    [("major", TagStep::Major), ("minor", TagStep::Minor), ("patch", TagStep::Patch)];

/// A regular expression that a whole tag must match. Its groups are the keys of the order.
#[derive(Clone, Debug)]
pub struct TagPattern {
    text: String,
    regex: Regex,
    /// The places of the groups that tell how large a step is.
    steps: Vec<(usize, TagStep)>,
}

/// Why a text is no pattern for tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is too long.
    #[error("a regular expression of at most {MAX_BYTES} bytes")]
    TooLong,
    /// It is none, or it is too large once compiled.
    #[error("a regular expression that is not too large, without look-around, back-references and \\p{{..}}")]
    Unreadable,
    /// It has no group, so that nothing tells which of two tags is the newer one.
    #[error("a regular expression with a group in parentheses, by which tags are ordered")]
    NoGroup,
}

impl TagPattern {
    /// Compiles the regular expression `text`, which has to match whole tags.
    pub(super) fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_BYTES {
            return Err(PatternError::TooLong);
        }
        let build =
            |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_COMPILED).nest_limit(MAX_DEPTH).build();
        // `a)|(b` is no regular expression, and would be one within the parentheses below.
        let is_one = build(text).is_ok();
        let regex =
            build(&format!("^(?:{text})$")).ok().filter(|_| is_one).ok_or(PatternError::Unreadable)?;
        if regex.captures_len() < 2 {
            return Err(PatternError::NoGroup);
        }
        let names = regex.capture_names().enumerate();
        let step = |(index, name): (usize, Option<&str>)| {
            let (_, step) = STEPS.iter().find(|(step, _)| Some(*step) == name)?;
            Some((index - 1, *step))
        };
        let steps = names.filter_map(step).collect();
        Ok(Self { text: text.to_owned(), regex, steps })
    }

    /// The keys of a tag; `None`: the tag does not match.
    pub(super) fn keys<'a>(&self, tag: &'a str) -> Option<Vec<Key<'a>>> {
        let captures = self.regex.captures(tag)?;
        let texts = captures.iter().skip(1);
        Some(texts.map(|found| Key::of(found.map_or("", |found| found.as_str()))).collect())
    }

    /// How large the step from one tag to the next is; `None`: the pattern does not name the group that differs.
    pub(super) fn step(&self, from: &[Key<'_>], to: &[Key<'_>]) -> Option<TagStep> {
        let differs = |index: &usize| from.get(*index) != to.get(*index);
        self.steps.iter().find(|(index, _)| differs(index)).map(|(_, step)| *step)
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TagPattern {}

impl Hash for TagPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// What one group of a pattern found. A number is below every other text, so that the order is total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'a> {
    /// Digits. A group that found nothing is 0: `3.3` is `3.3.0`.
    Number(Digits<'a>),
    Text(&'a str),
}

impl<'a> Key<'a> {
    fn of(text: &'a str) -> Self {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            Self::Number(Digits::of(text))
        } else {
            Self::Text(text)
        }
    }
}
