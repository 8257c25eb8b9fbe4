//! The part of a tag that says that the version is not released yet. Pure.

use std::cmp::Ordering;

use super::digits::{Digits, split_digits};

/// The words of pre-releases, with their place on the way to the release.
const WORDS: [(&str, Maturity); 11] = [
    ("dev", Maturity::Unfinished),
    ("nightly", Maturity::Unfinished),
    ("snapshot", Maturity::Unfinished),
    ("canary", Maturity::Unfinished),
    ("edge", Maturity::Unfinished),
    ("test", Maturity::Unfinished),
    ("next", Maturity::Unfinished),
    ("alpha", Maturity::Alpha),
    ("beta", Maturity::Beta),
    ("pre", Maturity::Preview),
    ("rc", Maturity::Candidate),
];

/// The words that Python writes directly after the numbers, with a number after the word: `3.13.0rc1` (PEP 440).
const OF_PYTHON: [(&str, Maturity); 3] =
    [("a", Maturity::Alpha), ("b", Maturity::Beta), ("rc", Maturity::Candidate)];

/// How far a pre-release is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Maturity {
    Unfinished,
    Alpha,
    Beta,
    Preview,
    Candidate,
}

/// A pre-release: its word, and the numbers after the word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prerelease<'a> {
    stage: Maturity,
    word: &'a str,
    /// The numbers, separated by dots: `1`, `20260801.2`.
    numbers: &'a str,
}

impl<'a> Prerelease<'a> {
    /// Finds the first pre-release in what follows the numbers of a tag. Returns the pre-release, and the texts before and
    /// after it.
    pub(super) fn split(rest: &'a str) -> (Option<Self>, (&'a str, &'a str)) {
        let (word, numbers) = split_word(rest);
        let stage = OF_PYTHON.iter().find(|(known, _)| *known == word);
        if let Some((_, stage)) = stage.filter(|_| numbers.starts_with(|c: char| c.is_ascii_digit())) {
            let (prerelease, after) = Self::read(word, *stage, numbers);
            return (Some(prerelease), ("", after));
        }
        for (index, _) in rest.match_indices(['-', '_', '.']) {
            let (word, numbers) = split_word(&rest[index + 1..]);
            if let Some((_, stage)) = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)) {
                let (prerelease, after) = Self::read(word, *stage, numbers);
                return (Some(prerelease), (&rest[..index], after));
            }
        }
        (None, (rest, ""))
    }

    /// Reads the numbers after the word. Returns what follows them, too.
    fn read(word: &'a str, stage: Maturity, rest: &'a str) -> (Self, &'a str) {
        let joined = rest.strip_prefix(['.', '-']).unwrap_or(rest);
        if !joined.starts_with(|c: char| c.is_ascii_digit()) {
            return (Self { stage, word, numbers: "" }, rest);
        }
        let end = joined.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(joined.len());
        let numbers = joined[..end].trim_end_matches('.');
        (Self { stage, word, numbers }, &joined[numbers.len()..])
    }

    /// The order on the way to the release.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let letters = |word: &'a str| word.bytes().map(|byte| byte.to_ascii_lowercase());
        let words = || letters(self.word).cmp(other.word.bytes().map(|byte| byte.to_ascii_lowercase()));
        self.stage
            .cmp(&other.stage)
            .then_with(|| order_of_numbers(self.numbers, other.numbers))
            .then_with(words)
    }
}

/// Compares numbers that dots separate, the first ones first. A missing number is 0.
fn order_of_numbers(mut one: &str, mut two: &str) -> Ordering {
    while !(one.is_empty() && two.is_empty()) {
        let ((first, rest), (second, other)) = (split_digits(one), split_digits(two));
        match Digits::of(first).cmp(&Digits::of(second)) {
            Ordering::Equal => {}
            order => return order,
        }
        (one, two) = (rest.trim_start_matches('.'), other.trim_start_matches('.'));
    }
    Ordering::Equal
}

/// The letters at the beginning of a text, and the rest.
fn split_word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len()))
}
