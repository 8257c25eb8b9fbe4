//! A tag, taken apart: prefix, numbers, pre-release, suffix. Pure.
//!
//! The grammar is our own, as tags are no semantic versions: `4.0.19.2979-ls99`, `2025.11.1`, `22.04`, `3.13.0rc1`.
//!
//! ```text
//!   v1.25.3-rc.1-alpine3.22
//!   |\____/\____/\________/
//!   | numbers  \     suffix
//!   prefix      pre-release
//! ```

use std::cmp::Ordering;

use super::digits::split_digits;
use super::prerelease::Prerelease;

/// The most numbers that a tag of a family has. Windows images and some builds have five.
pub(super) const MOST_NUMBERS: usize = 5;

/// The most digits of one number. More digits are a date without separators, or a build's time.
const MOST_DIGITS: usize = 7;

/// From this first number on, a tag is a date: `2025.11.1`.
const FIRST_YEAR: u32 = 1000;

/// The number of hexadecimal digits from which a word may be the abbreviation of a commit, as git writes it.
const SHORTEST_COMMIT: usize = 7;

/// Why a tag belongs to no family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unordered {
    /// It has no number: `latest`, `alpine`.
    NoNumber,
    /// It has more numbers than any version has.
    TooManyNumbers,
    /// A number has so many digits that it is a date or a time: `20250115`.
    LongNumber,
    /// It has the digits of a commit or a digest, which have no order.
    Hash,
}

/// One number of a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TagNumber {
    value: u32,
    /// How many digits it is written with.
    width: usize,
}

impl TagNumber {
    fn of(digits: &str) -> Option<Self> {
        Some(Self { value: digits.parse().ok()?, width: digits.len() })
    }

    /// Whether it is written with zeros before it: `04`.
    fn is_padded(self) -> bool {
        self.value.checked_ilog10().unwrap_or(0) as usize + 1 < self.width
    }
}

/// A tag, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct TagParts<'a> {
    /// The whole tag.
    pub text: &'a str,
    prefix: &'a str,
    numbers: [TagNumber; MOST_NUMBERS],
    count: usize,
    pub prerelease: Option<Prerelease<'a>>,
    /// The suffix without the pre-release, as it stands before and after the pre-release.
    suffix: (&'a str, &'a str),
}

impl<'a> TagParts<'a> {
    /// Takes a tag apart.
    ///
    /// # Errors
    /// Why the tag belongs to no family.
    pub(super) fn of(text: &'a str) -> Result<Self, Unordered> {
        let start = text.find(|c: char| c.is_ascii_digit()).ok_or(Unordered::NoNumber)?;
        if is_signature(text) || has_commit(text) {
            return Err(Unordered::Hash);
        }
        let (prefix, mut rest) = text.split_at(start);
        let (mut numbers, mut count) = ([TagNumber::default(); MOST_NUMBERS], 0);
        loop {
            let (digits, after) = split_digits(rest);
            if digits.len() > MOST_DIGITS {
                return Err(Unordered::LongNumber);
            }
            let place = numbers.get_mut(count).ok_or(Unordered::TooManyNumbers)?;
            *place = TagNumber::of(digits).ok_or(Unordered::NoNumber)?;
            (count, rest) = (count + 1, after);
            match after.strip_prefix('.').filter(|next| next.starts_with(|c: char| c.is_ascii_digit())) {
                Some(next) => rest = next,
                None => break,
            }
        }
        let (prerelease, suffix) = Prerelease::split(rest);
        Ok(Self { text, prefix, numbers, count, prerelease, suffix })
    }

    /// How many numbers it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether it is a date.
    pub(super) fn is_calendar(&self) -> bool {
        self.numbers[0].value >= FIRST_YEAR
    }

    /// Whether both have the same form, so that the higher one can replace the lower one.
    pub(super) fn is_family_of(&self, other: &TagParts<'_>) -> bool {
        self.count == other.count
            && self.prefix == other.prefix
            && self.is_calendar() == other.is_calendar()
            && is_same_text(self.suffix, other.suffix)
            && self.is_padded_as(other)
    }

    /// Whether zeros before a number stand at the same places: `22.04` and `22.10` fit, `20.04.1` and `5.1.4` do not. Where
    /// one tag has zeros, both have equally many digits up to there.
    fn is_padded_as(&self, other: &TagParts<'_>) -> bool {
        let both = || self.numbers.iter().zip(&other.numbers).take(self.count);
        let last = both().rposition(|(one, two)| one.is_padded() || two.is_padded());
        last.is_none_or(|last| both().take(last + 1).all(|(one, two)| one.width == two.width))
    }

    /// How many of the first numbers are equal.
    pub(super) fn equal_numbers(&self, other: &TagParts<'_>) -> usize {
        let both = self.numbers.iter().zip(&other.numbers).take(self.count);
        both.take_while(|(one, two)| one.value == two.value).count()
    }

    /// The order within a family. Two tags with equal numbers are equal, however the numbers are written.
    pub(super) fn order(&self, other: &TagParts<'_>) -> Ordering {
        let numbers = |parts: &TagParts<'_>| parts.numbers.map(|number| number.value);
        numbers(self).cmp(&numbers(other)).then_with(|| match (&self.prerelease, &other.prerelease) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(two)) => one.order(two),
        })
    }
}

/// Whether a tag is that of a signature or of a referrer: `sha256-0123….sig`, `sha256-0123…`.
pub(super) fn is_signature(tag: &str) -> bool {
    ["sha256-", "sha384-", "sha512-"].iter().any(|algorithm| tag.starts_with(algorithm))
}

/// Whether a tag, or a word of it, consists of hexadecimal digits as the names of commits do. A tag of fewer digits and
/// letters is taken for one as well: no version looks so.
fn has_commit(tag: &str) -> bool {
    let is_hex = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has_letter = |word: &str| word.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_short = |word: &str| is_hex(word) && has_letter(word);
    // A longer row of digits alone is told as a date.
    let may_be = |word: &str| word.len() == SHORTEST_COMMIT || has_letter(word);
    let is_commit = |word: &str| word.len() >= SHORTEST_COMMIT && is_hex(word) && may_be(word);
    is_short(tag) || tag.split(['-', '_']).any(is_commit)
}

fn is_same_text(one: (&str, &str), two: (&str, &str)) -> bool {
    one.0.len() + one.1.len() == two.0.len() + two.1.len()
        && one.0.bytes().chain(one.1.bytes()).eq(two.0.bytes().chain(two.1.bytes()))
}
