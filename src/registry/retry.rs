//! How often and when a registry is asked again. Pure: time is a parameter.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::limits::LookupLimits;
use crate::back_off::BackOff;

/// The attempts of one look-up at one server.
#[derive(Clone, Debug)]
pub(super) struct Retries {
    /// How many attempts are left after the current one.
    left: u32,
    back_off: BackOff,
    /// The longest wait.
    cap: Duration,
}

impl Retries {
    pub(super) fn new(limits: &LookupLimits) -> Self {
        let cap = limits.retry_after_cap;
        let back_off = BackOff::new(limits.backoff.min(cap), cap);
        Self { left: limits.attempts.saturating_sub(1), back_off, cap }
    }

    /// How long to wait before asking again after a failure; `None`: do not ask again.
    ///
    /// Doubles from [`LookupLimits::backoff`]. The registry's own `Retry-After` counts instead when it is longer, and ends the
    /// attempts when it is longer than [`LookupLimits::retry_after_cap`].
    pub(super) fn wait(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let own = self.back_off.wait();
        match retry_after {
            Some(asked) if asked > self.cap => None,
            asked => Some(own.max(asked.unwrap_or_default())),
        }
    }
}

/// Reads `Retry-After`: a number of seconds, or a date. A date in the past asks for no wait; any other text is ignored.
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

    fn limits() -> LookupLimits {
        LookupLimits { attempts: 4, backoff: S(1), retry_after_cap: S(60), ..LookupLimits::default() }
    }

    #[test]
    fn waits_double_until_the_attempts_are_used_up() {
        let mut retries = Retries::new(&limits());
        let waits: Vec<_> = (1..=5).map(|_| retries.wait(None)).collect();
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
            let mut retries = Retries::new(&limits());
            for _ in 1..attempt {
                retries.wait(None);
            }
            assert_eq!(retries.wait(Some(asked)), expected, "{attempt} {asked:?}");
        }
    }

    #[test]
    fn no_number_of_attempts_overflows() {
        let mut retries = Retries::new(&LookupLimits { attempts: u32::MAX, ..limits() });
        assert_eq!((0..100).filter_map(|_| retries.wait(None)).last(), Some(S(60)));
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
