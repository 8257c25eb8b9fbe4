//! Outages: a registry that does not answer, or limits the rate of requests, is not asked for a while. A thousand look-ups
//! must not each wait for what one has found out. Pure: time is a parameter.

use reqwest::Method;
use tokio::time::Instant;

use super::failure::{Failure, Reached};
use super::limits::LookupLimits;

/// What a request costs: Docker Hub and some other registries count `GET` as a pull, and `HEAD` not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestCost {
    Nothing,
    Pull,
}

impl RequestCost {
    pub(super) fn of(method: &Method) -> Self {
        if method == Method::HEAD { Self::Nothing } else { Self::Pull }
    }
}

/// Until when a registry is not asked, and the failure of look-ups meanwhile.
#[derive(Debug)]
struct OutageHold {
    until: Instant,
    failure: Failure,
}

/// The outage of one registry, as one account sees it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Look-ups in a row that got no answer at all.
    unanswered: u32,
    /// It is asked nothing.
    closed: Option<OutageHold>,
    /// It is asked nothing that counts as a pull.
    closed_to_pulls: Option<OutageHold>,
}

impl Outage {
    /// Why the registry is not to be asked now for what costs so much.
    pub(super) fn current(&self, cost: RequestCost, now: Instant) -> Option<Failure> {
        let of_pulls = self.closed_to_pulls.as_ref().filter(|_| cost == RequestCost::Pull);
        let hold = [self.closed.as_ref(), of_pulls].into_iter().flatten().find(|hold| hold.until > now)?;
        Some(match &hold.failure {
            Failure::RateLimited { retry_after: Some(_) } => {
                Failure::RateLimited { retry_after: Some(hold.until - now) }
            }
            other => other.clone(),
        })
    }

    /// Whether there is still something to wait for, or to count.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.unanswered > 0 || self.current(RequestCost::Pull, now).is_some()
    }

    /// A look-up got an answer, whatever it was. An answer to `HEAD` tells nothing of pulls.
    pub(super) fn answered(&mut self, cost: RequestCost) {
        let closed_to_pulls = self.closed_to_pulls.take().filter(|_| cost == RequestCost::Nothing);
        *self = Self { closed_to_pulls, ..Self::default() };
    }

    /// A look-up gave up.
    pub(super) fn gave_up(
        &mut self,
        cost: RequestCost,
        failure: &Failure,
        now: Instant,
        limits: &LookupLimits,
    ) {
        let hold = |time| Some(OutageHold { until: now + time, failure: failure.clone() });
        match failure {
            Failure::RateLimited { retry_after } => {
                let asked = retry_after.unwrap_or_default().min(limits.outage_hold_cap);
                let hold = hold(asked.max(limits.outage_hold));
                self.unanswered = 0;
                match cost {
                    RequestCost::Nothing => self.closed = hold,
                    RequestCost::Pull => self.closed_to_pulls = hold,
                }
            }
            Failure::Unreachable {
                reached: Reached::Nothing | Reached::Silence | Reached::Connection,
                ..
            } => {
                self.unanswered = self.unanswered.saturating_add(1);
                if self.unanswered >= limits.outage_failures {
                    self.closed = hold(limits.outage_hold);
                }
            }
            // The registry answers, if only other look-ups.
            _ => self.answered(cost),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const HEAD: RequestCost = RequestCost::Nothing;

    fn limits() -> LookupLimits {
        LookupLimits {
            outage_failures: 3,
            outage_hold: S(15),
            outage_hold_cap: S(900),
            ..LookupLimits::default()
        }
    }

    fn silence(reached: Reached) -> Failure {
        Failure::Unreachable { cause: "refused".to_owned(), reached, retry_after: None, proxy: None }
    }

    #[test]
    fn a_registry_that_never_answers_is_left_alone_for_a_while_and_then_asked_again() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        for _ in 0..2 {
            outage.gave_up(HEAD, &silence(Reached::Nothing), now, &limits());
            assert_eq!(outage.current(HEAD, now), None);
        }
        outage.gave_up(RequestCost::Pull, &silence(Reached::Silence), now, &limits());
        for cost in [HEAD, RequestCost::Pull] {
            assert_eq!(outage.current(cost, now + S(14)), Some(silence(Reached::Silence)));
            assert_eq!(outage.current(cost, now + S(15)), None);
        }
        // Still away: one failure is enough now.
        outage.gave_up(HEAD, &silence(Reached::Nothing), now + S(20), &limits());
        assert!(outage.current(HEAD, now + S(21)).is_some());
    }

    #[test]
    fn any_answer_ends_the_count_and_a_server_error_is_one() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        let limited = Failure::RateLimited { retry_after: None };
        for end in [None, Some(silence(Reached::Server)), Some(Failure::NotFound), Some(limited)] {
            for _ in 0..2 {
                outage.gave_up(HEAD, &silence(Reached::Nothing), now, &limits());
            }
            match end {
                None => outage.answered(HEAD),
                Some(failure) => outage.gave_up(RequestCost::Pull, &failure, now, &limits()),
            }
            outage.gave_up(HEAD, &silence(Reached::Nothing), now, &limits());
            assert_eq!(outage.current(HEAD, now), None);
            outage.answered(HEAD);
        }
    }

    #[test]
    fn a_registry_that_limits_our_rate_is_not_asked_until_it_allows_within_reason() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        for (asked, held) in [(None, 15), (Some(S(1)), 15), (Some(S(100)), 100), (Some(S(1_000_000)), 900)] {
            let failure = Failure::RateLimited { retry_after: asked };
            outage.gave_up(HEAD, &failure, now, &limits());
            for cost in [HEAD, RequestCost::Pull] {
                assert!(outage.current(cost, now + S(held) - S(1)).is_some(), "{asked:?}");
                assert_eq!(outage.current(cost, now + S(held)), None, "{asked:?}");
            }
        }
    }

    #[test]
    fn a_limit_on_pulls_is_over_when_one_is_answered_and_not_before() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        outage.gave_up(RequestCost::Pull, &Failure::RateLimited { retry_after: None }, now, &limits());
        for _ in 0..2 {
            assert_eq!(outage.current(HEAD, now), None);
            assert!(outage.current(RequestCost::Pull, now).is_some());
            outage.answered(HEAD);
        }
        outage.answered(RequestCost::Pull);
        assert_eq!(outage.current(RequestCost::Pull, now), None);
    }
}
