//! Numbers of any size, as they stand in tags. Pure.

use std::cmp::Ordering;

/// A number in decimal digits, without the zeros before it. No digits are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digits<'a>(&'a str);

impl<'a> Digits<'a> {
    /// The number with these digits.
    pub(super) fn of(digits: &'a str) -> Self {
        Self(digits.trim_start_matches('0'))
    }
}

impl Ord for Digits<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(other.0))
    }
}

impl PartialOrd for Digits<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The digits at the beginning of a text, and the rest.
pub(super) fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_as_numbers_however_long_they_are() {
        let long = "9".repeat(120);
        for (less, more) in [("9", "10"), ("", "1"), ("007", "8"), ("99", "101"), ("5", long.as_str())] {
            assert!(Digits::of(less) < Digits::of(more), "{less} {more}");
        }
        assert_eq!(Digits::of("007"), Digits::of("7"));
        assert_eq!(Digits::of("0"), Digits::of(""));
    }
}
