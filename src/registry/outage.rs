//! Registries that are away, or have had enough of us: not asked for a while, so that a thousand look-ups
//! do not each wait for what one already knows. Pure: time is a parameter.

use std::collections::HashMap;
use std::hash::Hash;

use tokio::time::Instant;

use super::failure::{Failure, Reached};
use super::limits::Limits;

/// What is known of one registry, as one account sees it.
#[derive(Debug)]
struct Record {
    /// Look-ups in a row that got no answer at all.
    unanswered: u32,
    /// Until when it is not asked.
    until: Option<Instant>,
    /// What is told meanwhile.
    failure: Failure,
}

/// The outages of all registries, by whatever tells them apart.
#[derive(Debug)]
pub(super) struct Outages<K>(HashMap<K, Record>);

impl<K> Default for Outages<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Outages<K> {
    /// Why `key` is not to be asked now.
    pub(super) fn current(&self, key: &K, now: Instant) -> Option<Failure> {
        let record = self.0.get(key)?;
        let remaining = record.until?.checked_duration_since(now).filter(|rest| !rest.is_zero())?;
        Some(match &record.failure {
            Failure::RateLimited { retry_after: Some(_) } => {
                Failure::RateLimited { retry_after: Some(remaining) }
            }
            other => other.clone(),
        })
    }

    /// A look-up got an answer, whatever it was.
    pub(super) fn answered(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// A look-up gave up.
    pub(super) fn gave_up(&mut self, key: K, failure: &Failure, now: Instant, limits: &Limits) {
        let unanswered = match failure {
            Failure::RateLimited { .. } => {
                let asked = failure.retry_after().unwrap_or_default().min(limits.outage_hold_cap);
                let until = Some(now + asked.max(limits.outage_hold));
                self.0.insert(key, Record { unanswered: 0, until, failure: failure.clone() });
                return;
            }
            Failure::Unreachable { reached: Reached::Nothing | Reached::Connection, .. } => {
                self.0.get(&key).map_or(0, |record| record.unanswered).saturating_add(1)
            }
            // It answers, if only for others.
            _ => return self.answered(&key),
        };
        let until = (unanswered >= limits.outage_failures).then(|| now + limits.outage_hold);
        self.0.insert(key, Record { unanswered, until, failure: failure.clone() });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn limits() -> Limits {
        Limits { outage_failures: 3, outage_hold: S(15), outage_hold_cap: S(900), ..Limits::default() }
    }

    fn silence(reached: Reached) -> Failure {
        Failure::Unreachable { cause: "refused".to_owned(), reached, retry_after: None }
    }

    #[test]
    fn a_registry_that_never_answers_is_left_alone_for_a_while_and_then_asked_again() {
        let (mut outages, now) = (Outages::default(), Instant::now());
        for _ in 0..2 {
            outages.gave_up("r", &silence(Reached::Nothing), now, &limits());
            assert_eq!(outages.current(&"r", now), None);
        }
        outages.gave_up("r", &silence(Reached::Connection), now, &limits());
        assert_eq!(outages.current(&"r", now + S(14)), Some(silence(Reached::Connection)));
        assert_eq!(outages.current(&"r", now + S(15)), None);
        assert_eq!(outages.current(&"other", now), None);
        // Still away: one failure is enough now.
        outages.gave_up("r", &silence(Reached::Nothing), now + S(20), &limits());
        assert!(outages.current(&"r", now + S(21)).is_some());
    }

    #[test]
    fn any_answer_ends_the_count_and_a_server_error_is_one() {
        let (mut outages, now) = (Outages::default(), Instant::now());
        for end in [None, Some(silence(Reached::Server)), Some(Failure::NotFound)] {
            for _ in 0..2 {
                outages.gave_up("r", &silence(Reached::Nothing), now, &limits());
            }
            match end {
                None => outages.answered(&"r"),
                Some(failure) => outages.gave_up("r", &failure, now, &limits()),
            }
            outages.gave_up("r", &silence(Reached::Nothing), now, &limits());
            assert_eq!(outages.current(&"r", now), None);
            outages.answered(&"r");
        }
    }

    #[test]
    fn a_registry_that_limits_our_rate_is_not_asked_until_it_allows_within_reason() {
        let (mut outages, now) = (Outages::default(), Instant::now());
        for (asked, held) in [(None, 15), (Some(S(1)), 15), (Some(S(100)), 100), (Some(S(1_000_000)), 900)] {
            let failure = Failure::RateLimited { retry_after: asked };
            outages.gave_up("r", &failure, now, &limits());
            assert!(outages.current(&"r", now + S(held) - S(1)).is_some(), "{asked:?}");
            assert_eq!(outages.current(&"r", now + S(held)), None, "{asked:?}");
        }
    }
}
