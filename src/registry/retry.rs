//! How often and when a registry is asked again. Pure: the policy takes its clock as a parameter.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::limits::Limits;

/// How long to wait before asking again after the `attempt`-th try (counted from 1) failed; `None`: do
/// not ask again.
///
/// Doubles from [`Limits::backoff`]. What the registry itself asked for counts instead when it is longer,
/// and ends the asking when it is longer than [`Limits::retry_after_cap`].
pub(super) fn wait(attempt: u32, retry_after: Option<Duration>, limits: &Limits) -> Option<Duration> {
    if attempt >= limits.attempts {
        return None;
    }
    let doubled = limits.backoff.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
    let own = doubled.min(limits.retry_after_cap);
    match retry_after {
        Some(asked) if asked > limits.retry_after_cap => None,
        Some(asked) => Some(asked.max(own)),
        None => Some(own),
    }
}

/// Reads `Retry-After`: a number of seconds, or a date. A date in the past asks for no wait; what is
/// neither asks for nothing.
pub(super) fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTimeParser::new().parse_timestamp(header).ok()?;
    let seconds = until.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn limits() -> Limits {
        Limits { attempts: 4, backoff: S(1), retry_after_cap: S(60), ..Limits::default() }
    }

    #[test]
    fn waits_double_until_the_attempts_are_used_up() {
        let waits: Vec<_> = (1..=5).map(|attempt| wait(attempt, None, &limits())).collect();
        assert_eq!(waits, [Some(S(1)), Some(S(2)), Some(S(4)), None, None]);
    }

    #[test]
    fn what_the_registry_asks_for_is_honoured_up_to_the_cap() {
        for (attempt, asked, expected) in [
            (1, S(30), Some(S(30))),
            (1, S(60), Some(S(60))),
            (1, S(61), None),
            (1, S(u64::MAX), None),
            (3, S(0), Some(S(4))),
            (4, S(1), None),
        ] {
            assert_eq!(wait(attempt, Some(asked), &limits()), expected, "{attempt} {asked:?}");
        }
    }

    #[test]
    fn no_number_of_attempts_overflows() {
        let endless = Limits { attempts: u32::MAX, ..limits() };
        assert_eq!(wait(u32::MAX - 1, None, &endless), Some(S(60)));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        for (header, expected) in [
            ("30", Some(30)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header, now), expected.map(S), "{header}");
        }
    }
}
