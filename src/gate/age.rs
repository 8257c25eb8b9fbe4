//! For how long a digest must have been known before it is offered. Pure.
//!
//! Each digest has a clock of its own, which begins when a look first finds the tag there. A tag that moves while a digest
//! waits starts no clock again, so that a tag which moves more often than the age is still updated.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::image::Digest;

/// The longest that an aged digest waits for a younger one, so that services are not updated twice.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// The part of the age that an aged digest waits for a younger one.
const WAIT_PART: u32 = 10;

/// A digest, and since when Gantry has known it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDigest {
    /// The digest.
    pub digest: Digest,
    /// Since when, by the engine's clock.
    pub since: Timestamp,
}

/// Which of the digests that are newer than a service's own it is offered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aged<'a> {
    /// There is none.
    None,
    /// This one.
    Offer(&'a KnownDigest),
    /// None before this time, when this one is due.
    Wait(&'a KnownDigest, Timestamp),
}

/// Chooses among `newer`, which begins with the newest.
///
/// The newest digest that has its age is offered. Where a younger one has its age within a tenth of the age, and within a
/// day, of the first, that one is waited for.
pub fn choose<'a>(newer: &[&'a KnownDigest], age: Duration, now: Timestamp) -> Aged<'a> {
    let due = |known: &KnownDigest| later(known.since, age);
    let Some(first) = newer.iter().map(|known| due(known)).min() else { return Aged::None };
    let limit = later(first, (age / WAIT_PART).min(LONGEST_WAIT));
    let meant = if now <= limit {
        newer.iter().find(|known| due(known) <= limit)
    } else {
        newer.iter().find(|known| due(known) <= now)
    };
    match meant {
        Some(known) if due(known) <= now => Aged::Offer(known),
        Some(known) => Aged::Wait(known, due(known)),
        None => Aged::None,
    }
}

/// A time so much later; the last that there is, where that is too late.
fn later(at: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| at.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(name: u64, since: i64) -> KnownDigest {
        let digest = format!("sha256:{name:064x}").parse().unwrap();
        KnownDigest { digest, since: Timestamp::from_second(since).unwrap() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What is offered at a time, by its number, of digests that were first seen at these times, the oldest first.
    fn chosen(seen: &[i64], age: u64, now: i64) -> Option<Result<u64, (u64, i64)>> {
        let mut all: Vec<KnownDigest> = (0..).zip(seen).map(|(name, since)| known(name, *since)).collect();
        all.reverse();
        let newer: Vec<&KnownDigest> = all.iter().filter(|known| known.since <= at(now)).collect();
        let number = |known: &KnownDigest| u64::from_str_radix(&known.digest.as_str()[7..], 16).unwrap();
        match choose(&newer, Duration::from_secs(age), at(now)) {
            Aged::None => None,
            Aged::Offer(known) => Some(Ok(number(known))),
            Aged::Wait(known, until) => Some(Err((number(known), until.as_second()))),
        }
    }

    #[test]
    fn a_digest_is_offered_when_it_has_its_age() {
        assert_eq!(chosen(&[0], 100, 99), Some(Err((0, 100))));
        assert_eq!(chosen(&[0], 100, 100), Some(Ok(0)));
        assert_eq!(chosen(&[], 100, 100), None);
    }

    #[test]
    fn a_tag_that_moves_on_restarts_no_clock() {
        assert_eq!(chosen(&[0, 50], 100, 99), Some(Err((0, 100))));
        assert_eq!(chosen(&[0, 50], 100, 100), Some(Ok(0)));
        assert_eq!(chosen(&[0, 50], 100, 160), Some(Ok(1)));
    }

    #[test]
    fn a_younger_one_that_is_due_soon_is_waited_for_once() {
        assert_eq!(chosen(&[0, 8], 100, 100), Some(Err((1, 108))));
        assert_eq!(chosen(&[0, 8], 100, 108), Some(Ok(1)));
        // The third would come a tenth after the first at the earliest: it is not waited for.
        assert_eq!(chosen(&[0, 8, 16], 100, 104), Some(Err((1, 108))));
        assert_eq!(chosen(&[0, 8, 16], 100, 109), Some(Ok(1)));
        assert_eq!(chosen(&[0, 8, 16], 100, 117), Some(Ok(2)));
    }

    #[test]
    fn the_longest_age_overflows_no_clock() {
        let last = KnownDigest { since: Timestamp::MAX, ..known(0, 0) };
        assert_eq!(choose(&[&last], Duration::MAX, at(0)), Aged::Wait(&last, Timestamp::MAX));
    }

    proptest! {
        /// A tag that moves oftener than the age is still updated, and no service gets a digest before its age.
        #[test]
        fn whatever_the_pushes_each_is_followed_in_time(
            gaps in proptest::collection::vec(1_i64..40, 1..60), age in 20_u64..100, step in 1_i64..9,
        ) {
            let mut seen = vec![0];
            for gap in gaps {
                seen.push(seen[seen.len() - 1] + gap);
            }
            let end = seen[seen.len() - 1] + 2 * i64::try_from(age).unwrap() + 20;
            let (mut has, mut last_update) = (None, 0);
            for now in (0..end).step_by(usize::try_from(step).unwrap()) {
                let newer: Vec<i64> = seen.iter().copied().skip(has.map_or(0, |has: usize| has + 1)).collect();
                let offset = has.map_or(0, |has| has + 1);
                if let Some(Ok(number)) = chosen(&newer, age, now) {
                    let number = usize::try_from(number).unwrap() + offset;
                    prop_assert!(now - seen[number] >= i64::try_from(age).unwrap());
                    (has, last_update) = (Some(number), now);
                }
                // Whatever has had its age for a tenth of it and a step is not waited for any longer.
                let due = seen.iter().filter(|since| now - **since >= i64::try_from(age + age / 10).unwrap() + step);
                prop_assert!(has.map_or(0, |has| has + 1) >= due.count(), "at {now}: {has:?}, {last_update}");
            }
            prop_assert_eq!(has, Some(seen.len() - 1));
        }
    }
}
