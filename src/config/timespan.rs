//! Lengths of time with a unit: `90s`, `36h`, `7d`. Pure.

use std::time::Duration;

use super::value::{Value, whole_number};

/// A length of time with a unit; 0 stands for none.
pub(super) struct Timespan(pub(super) Option<Duration>);

impl Value for Timespan {
    /// The bound is that of times in seconds.
    const EXPECTED: &'static str = "a time such as 90s, 15m, 36h, 7d or 2w, or a whole number of seconds";

    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (number, unit) = match text.char_indices().last() {
            Some((at, 's')) => (&text[..at], 1),
            Some((at, 'm')) => (&text[..at], 60),
            Some((at, 'h')) => (&text[..at], 3_600),
            Some((at, 'd')) => (&text[..at], 86_400),
            Some((at, 'w')) => (&text[..at], 604_800),
            _ => (text, 1),
        };
        let seconds = whole_number(number, 0..=999_999_999 / unit).ok_or(Self::EXPECTED)? * unit;
        Ok(Self((seconds > 0).then(|| Duration::from_secs(seconds))))
    }
}

/// How long a digest must have been known, 90 days at most; 0 stands for none.
pub(super) struct MinAge(pub(super) Option<Duration>);

impl Value for MinAge {
    const EXPECTED: &'static str =
        "a time from 0 to 90d such as 36h or 7d (s, m, h, d or w), or a whole number of seconds";

    fn parse(text: &str) -> Result<Self, &'static str> {
        let age = Timespan::parse(text).map_err(|_| Self::EXPECTED)?.0;
        let is_bounded = age.is_none_or(|age| age <= Duration::from_secs(90 * 86_400));
        if is_bounded { Ok(Self(age)) } else { Err(Self::EXPECTED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_seconds() {
        let seconds = |text| Timespan::parse(text).ok().map(|time| time.0.map_or(0, |time| time.as_secs()));
        for (text, expected) in [
            ("0", 0),
            ("90", 90),
            (" 90s ", 90),
            ("15m", 900),
            ("36h", 129_600),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("999999999", 999_999_999),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text:?}");
        }
        for text in
            ["", "d", "-1d", "1.5h", "7 days", "1h30m", "99999999999999999999w", "1000000000s", "5y", "٣d"]
        {
            assert_eq!(seconds(text), None, "{text:?}");
        }
        assert!(MinAge::parse("90d").is_ok() && MinAge::parse("2160h").is_ok());
        assert!(MinAge::parse("91d").is_err() && MinAge::parse("13w").is_err());
    }
}
