//! Registries that are away, or have had enough of us: not asked for a while, so that a thousand look-ups
//! do not each wait for what one already knows. Pure: time is a parameter.

use std::collections::HashMap;
use std::hash::Hash;

use reqwest::Method;
use tokio::time::Instant;

use super::failure::{Failure, Reached};
use super::limits::Limits;

/// What a request costs: Docker Hub, and who does as it does, counts `GET` as a pull and `HEAD` not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    Nothing,
    Pull,
}

impl Cost {
    pub(super) fn of(method: &Method) -> Self {
        if method == Method::HEAD { Self::Nothing } else { Self::Pull }
    }
}

/// Until when a registry is not asked, and what is told meanwhile.
#[derive(Debug)]
struct Hold {
    until: Instant,
    failure: Failure,
}

/// What is known of one registry, as one account sees it.
#[derive(Debug, Default)]
struct Record {
    /// Look-ups in a row that got no answer at all.
    unanswered: u32,
    /// It is asked nothing.
    closed: Option<Hold>,
    /// It is asked nothing that counts as a pull.
    closed_to_pulls: Option<Hold>,
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
    /// Why `key` is not to be asked now for what costs so much.
    pub(super) fn current(&self, key: &K, cost: Cost, now: Instant) -> Option<Failure> {
        let record = self.0.get(key)?;
        let of_pulls = record.closed_to_pulls.as_ref().filter(|_| cost == Cost::Pull);
        let hold = [record.closed.as_ref(), of_pulls].into_iter().flatten().find(|hold| hold.until > now)?;
        Some(match &hold.failure {
            Failure::RateLimited { retry_after: Some(_) } => {
                Failure::RateLimited { retry_after: Some(hold.until - now) }
            }
            other => other.clone(),
        })
    }

    /// A look-up got an answer, whatever it was. One that cost nothing says nothing of what does.
    pub(super) fn answered(&mut self, key: &K, cost: Cost) {
        let Some(record) = self.0.get_mut(key) else { return };
        let closed_to_pulls = record.closed_to_pulls.take().filter(|_| cost == Cost::Nothing);
        if closed_to_pulls.is_none() {
            self.0.remove(key);
        } else {
            *record = Record { closed_to_pulls, ..Record::default() };
        }
    }

    /// A look-up gave up.
    pub(super) fn gave_up(&mut self, key: K, cost: Cost, failure: &Failure, now: Instant, limits: &Limits) {
        let hold = |time| Some(Hold { until: now + time, failure: failure.clone() });
        match failure {
            Failure::RateLimited { retry_after } => {
                let asked = retry_after.unwrap_or_default().min(limits.outage_hold_cap);
                let hold = hold(asked.max(limits.outage_hold));
                let record = self.0.entry(key).or_default();
                record.unanswered = 0;
                match cost {
                    Cost::Nothing => record.closed = hold,
                    Cost::Pull => record.closed_to_pulls = hold,
                }
            }
            Failure::Unreachable {
                reached: Reached::Nothing | Reached::Silence | Reached::Connection,
                ..
            } => {
                let record = self.0.entry(key).or_default();
                record.unanswered = record.unanswered.saturating_add(1);
                if record.unanswered >= limits.outage_failures {
                    record.closed = hold(limits.outage_hold);
                }
            }
            // It answers, if only for others.
            _ => self.answered(&key, cost),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const HEAD: Cost = Cost::Nothing;

    fn limits() -> Limits {
        Limits { outage_failures: 3, outage_hold: S(15), outage_hold_cap: S(900), ..Limits::default() }
    }

    fn silence(reached: Reached) -> Failure {
        Failure::Unreachable { cause: "refused".to_owned(), reached, retry_after: None, proxy: None }
    }

    #[test]
    fn a_registry_that_never_answers_is_left_alone_for_a_while_and_then_asked_again() {
        let (mut outages, now) = (Outages::default(), Instant::now());
        for _ in 0..2 {
            outages.gave_up("r", HEAD, &silence(Reached::Nothing), now, &limits());
            assert_eq!(outages.current(&"r", HEAD, now), None);
        }
        outages.gave_up("r", Cost::Pull, &silence(Reached::Silence), now, &limits());
        for cost in [HEAD, Cost::Pull] {
            assert_eq!(outages.current(&"r", cost, now + S(14)), Some(silence(Reached::Silence)));
            assert_eq!(outages.current(&"r", cost, now + S(15)), None);
        }
        assert_eq!(outages.current(&"other", HEAD, now), None);
        // Still away: one failure is enough now.
        outages.gave_up("r", HEAD, &silence(Reached::Nothing), now + S(20), &limits());
        assert!(outages.current(&"r", HEAD, now + S(21)).is_some());
    }

    #[test]
    fn any_answer_ends_the_count_and_a_server_error_is_one() {
        let (mut outages, now) = (Outages::default(), Instant::now());
        let limited = Failure::RateLimited { retry_after: None };
        for end in [None, Some(silence(Reached::Server)), Some(Failure::NotFound), Some(limited)] {
            for _ in 0..2 {
                outages.gave_up("r", HEAD, &silence(Reached::Nothing), now, &limits());
            }
            match end {
                None => outages.answered(&"r", HEAD),
                Some(failure) => outages.gave_up("r", Cost::Pull, &failure, now, &limits()),
            }
            outages.gave_up("r", HEAD, &silence(Reached::Nothing), now, &limits());
            assert_eq!(outages.current(&"r", HEAD, now), None);
            outages.answered(&"r", HEAD);
        }
    }

    #[test]
    fn a_registry_that_limits_our_rate_is_not_asked_until_it_allows_within_reason() {
        let (mut outages, now) = (Outages::default(), Instant::now());
        for (asked, held) in [(None, 15), (Some(S(1)), 15), (Some(S(100)), 100), (Some(S(1_000_000)), 900)] {
            let failure = Failure::RateLimited { retry_after: asked };
            outages.gave_up("r", HEAD, &failure, now, &limits());
            for cost in [HEAD, Cost::Pull] {
                assert!(outages.current(&"r", cost, now + S(held) - S(1)).is_some(), "{asked:?}");
                assert_eq!(outages.current(&"r", cost, now + S(held)), None, "{asked:?}");
            }
        }
    }

    #[test]
    fn a_limit_on_pulls_is_over_when_one_is_answered_and_not_before() {
        let (mut outages, now) = (Outages::default(), Instant::now());
        outages.gave_up("r", Cost::Pull, &Failure::RateLimited { retry_after: None }, now, &limits());
        for _ in 0..2 {
            assert_eq!(outages.current(&"r", HEAD, now), None);
            assert!(outages.current(&"r", Cost::Pull, now).is_some());
            outages.answered(&"r", HEAD);
        }
        outages.answered(&"r", Cost::Pull);
        assert_eq!(outages.current(&"r", Cost::Pull, now), None);
    }
}
