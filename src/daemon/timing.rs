//! When timed cycles begin: jitter, and what is worth a note. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

/// A schedule whose cycles follow one another faster makes up for a missed one by itself: nothing is written for it.
const DENSE: SignedDuration = SignedDuration::from_mins(10);

/// How much later the cycle of this time begins, up to `most`: always the same for a swarm and a time, and different for
/// different swarms.
pub(super) fn jitter(swarm_id: &str, cycle: Timestamp, most: Duration) -> Duration {
    let hash = Sha256::digest(format!("{swarm_id}\n{}", cycle.as_second()));
    let number = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    Duration::from_millis(number % most)
}

/// Whether a cycle that is due at `due` and begins, or is followed by the next one, at `then` is a matter of the ledger and
/// of the log.
pub(super) fn worth_a_note(due: Timestamp, then: Timestamp, jitter: Duration) -> bool {
    let jitter = SignedDuration::try_from(jitter).unwrap_or(SignedDuration::MAX);
    then.duration_since(due) >= DENSE.saturating_add(jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_delay_is_the_same_for_a_swarm_and_a_time_and_spread_over_all() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(jitter("a", at(0), Duration::ZERO), Duration::ZERO);
        assert_eq!(jitter("a", at(0), hour), jitter("a", at(0), hour));
        let delays: Vec<Duration> = (0..1_000).map(|swarm| jitter(&swarm.to_string(), at(0), hour)).collect();
        assert!(delays.iter().all(|delay| *delay <= hour));
        for quarter in 0..4_u32 {
            let (from, to) = (hour / 4 * quarter, hour / 4 * (quarter + 1));
            let within = delays.iter().filter(|delay| from <= **delay && **delay < to).count();
            assert!((180..320).contains(&within), "{within} of 1000 in quarter {quarter}");
        }
        assert_ne!(jitter("a", at(0), hour), jitter("a", at(60), hour));
        assert!(jitter("a", at(0), Duration::MAX) > Duration::ZERO, "no length of time is too long");
    }

    #[test]
    fn only_gaps_of_ten_minutes_are_worth_a_note() {
        assert!(!worth_a_note(at(0), at(599), Duration::ZERO));
        assert!(worth_a_note(at(0), at(600), Duration::ZERO));
        assert!(!worth_a_note(at(0), at(600), Duration::from_secs(1)));
        assert!(!worth_a_note(at(0), at(600), Duration::MAX));
    }
}
