//! When a repository is looked at after events. Pure: times are parameters.
//!
//! One push makes many events, and the index comes last. So a look begins [`QUIET`] after the last event of a repository, and
//! [`RESTLESS`] after the first at the latest. There is at most one look per repository and [`SPACING`], and always one after
//! the last event. A registry may tell of a push before it answers with the new digest. So Gantry asks [`AGAIN`] while the
//! digests stand as they did at the last event.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long no further event comes before a look begins.
pub const QUIET: Duration = Duration::from_millis(500);

/// How long after the first event a look begins at the latest.
pub const RESTLESS: Duration = Duration::from_millis(1_500);

/// From one look at a repository to the next, at least.
pub const SPACING: Duration = Duration::from_secs(1);

/// When Gantry asks again after a look.
pub const AGAIN: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30)];

/// The repositories with events. `T` is what is known of a repository's digests, for comparison only.
#[derive(Debug)]
pub struct Coalescer<T>(BTreeMap<String, Awaited<T>>);

/// What is to come for a repository. Times are those since some beginning.
#[derive(Debug)]
struct Awaited<T> {
    /// The first and the last event that no look has followed.
    events: Option<(Duration, Duration)>,
    /// The latest look.
    looked: Option<Duration>,
    /// The look after which Gantry asks again, and how often it has done so.
    asked: Option<(Duration, usize)>,
    /// The digests at the last event.
    before: T,
    /// Who told of the push.
    by: String,
}

/// A repository that is to be looked at now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The repository.
    pub repository: String,
    /// Who told of the push.
    pub by: String,
}

impl<T> Default for Coalescer<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Awaited<T> {
    /// When the next look begins; `None`: none does.
    fn due(&self) -> Option<Duration> {
        let pushed = self.events.map(|(first, last)| (last + QUIET).min(first + RESTLESS));
        let again = || self.asked.and_then(|(at, times)| Some(at + *AGAIN.get(times)?));
        let due = pushed.or_else(again)?;
        Some(self.looked.map_or(due, |looked| due.max(looked + SPACING)))
    }
}

impl<T: PartialEq> Coalescer<T> {
    /// A sender tells of a repository, whose digests are `known` to be these.
    pub fn event(&mut self, repository: &str, by: &str, known: T, at: Duration) {
        let Some(awaited) = self.0.get_mut(repository) else {
            let events = Some((at, at));
            let new = Awaited { events, looked: None, asked: None, before: known, by: by.to_owned() };
            self.0.insert(repository.to_owned(), new);
            return;
        };
        let first = awaited.events.map_or(at, |(first, _)| first);
        awaited.events = Some((first, at));
        awaited.before = known;
        by.clone_into(&mut awaited.by);
    }

    /// When something is to be done next.
    pub fn next(&self) -> Option<Duration> {
        self.0.values().filter_map(|awaited| awaited.due().or(awaited.looked.map(|at| at + SPACING))).min()
    }

    /// The repositories whose look begins now. `known` tells their digests.
    pub fn take_due(&mut self, at: Duration, known: impl Fn(&str) -> T) -> Vec<Due> {
        let mut due = Vec::new();
        self.0.retain(|repository, awaited| {
            let is_due = |awaited: &Awaited<T>| awaited.due().is_some_and(|due| due <= at);
            let is_pushed = awaited.events.is_some();
            if !is_pushed && is_due(awaited) && known(repository) != awaited.before {
                // The registry has told the news, and what is to follow from it does.
                awaited.asked = None;
            }
            if is_due(awaited) {
                awaited.asked = match awaited.asked {
                    Some((first, times)) if !is_pushed => Some((first, times + 1)),
                    _ => Some((at, 0)),
                };
                awaited.events = None;
                awaited.looked = Some(at);
                due.push(Due { repository: repository.clone(), by: awaited.by.clone() });
            }
            // What was looked at just now is remembered until it may be looked at again.
            awaited.due().is_some() || awaited.looked.is_some_and(|looked| looked + SPACING > at)
        });
        due
    }

    /// How many repositories are waited for.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to wait for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Plays events and looks in time. `digest` tells what the registry says at a time. Returns the looks at each repository.
    fn play(
        events: &[(u64, &'static str)],
        digest: impl Fn(&str, Duration) -> u64,
    ) -> BTreeMap<String, Vec<u64>> {
        let mut coalescer = Coalescer::default();
        let mut looks: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        // What the looks have shown.
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        let mut events = events.iter().peekable();
        loop {
            let next_event = events.peek().map(|(at, _)| ms(*at));
            let next_look = coalescer.next();
            if let Some(at) = next_event
                && next_look.is_none_or(|look| at <= look)
            {
                let (_, repository) = events.next().unwrap();
                let seen =
                    *known.entry((*repository).to_owned()).or_insert_with(|| digest(repository, ms(0)));
                coalescer.event(repository, "registry", seen, at);
                continue;
            }
            let Some(at) = next_look else { break };
            let due = coalescer.take_due(at, |repository| known[repository]);
            for Due { repository, .. } in due {
                known.insert(repository.clone(), digest(&repository, at));
                looks.entry(repository).or_default().push(u64::try_from(at.as_millis()).unwrap());
            }
        }
        assert!(coalescer.is_empty(), "nothing is remembered for ever: {coalescer:?}");
        looks
    }

    #[test]
    fn one_push_of_many_events_is_one_look() {
        let pushed = |at: u64| move |_: &str, now: Duration| u64::from(now >= ms(at));
        assert_eq!(play(&[(100, "a")], pushed(100))["a"], [600]);
        let many: Vec<(u64, &str)> = (0..21).map(|index| (100 + index * 20, "a")).collect();
        assert_eq!(play(&many, pushed(500))["a"], [1_000], "half a second after the last");
        let long: Vec<(u64, &str)> = (0..40).map(|index| (100 + index * 50, "a")).collect();
        assert_eq!(play(&long, pushed(1_500))["a"][..2], [1_600, 2_600], "and one after the last of all");
    }

    #[test]
    fn gantry_asks_again_while_the_digest_stays() {
        assert_eq!(play(&[(0, "a")], |_, _| 7)["a"], [500, 2_500, 10_500, 30_500], "then the interval looks");
        let late = |at: u64| move |_: &str, now: Duration| u64::from(now >= ms(at));
        assert_eq!(play(&[(0, "a")], late(2_000))["a"], [500, 2_500], "a registry that is behind");
        assert_eq!(play(&[(0, "a")], late(0))["a"], [500, 2_500, 10_500, 30_500], "pushed as it was before");
        let other = play(&[(0, "a"), (3_000, "b")], |_, _| 7);
        assert_eq!(other["b"], [3_500, 5_500, 13_500, 33_500], "each has times of its own");
    }

    #[test]
    fn a_new_event_begins_anew() {
        let looks = play(&[(0, "a"), (2_400, "a")], |_, now| u64::from(now >= ms(2_400)));
        assert_eq!(looks["a"], [500, 2_900], "its look takes the place of the one that was to ask again");
        let looks = play(&[(0, "a"), (2_600, "a")], |_, _| 7);
        assert_eq!(looks["a"], [500, 2_500, 3_500, 5_500, 13_500, 33_500]);
    }

    proptest! {
        /// Whatever comes when, and whenever the registry has the news.
        #[test]
        fn looks_are_few_and_follow_every_event(
            gaps in prop::collection::vec((0_u64..3_000, 0_usize..3), 1..40),
            moves in prop::collection::vec(0_u64..60_000, 0..6),
        ) {
            let names = ["a", "b", "c"];
            let mut now = 0;
            let events: Vec<(u64, &'static str)> = gaps.iter().map(|(gap, name)| {
                now += gap;
                (now, names[*name])
            }).collect();
            let digest = |_: &str, at: Duration| moves.iter().filter(|moved| ms(**moved) <= at).count() as u64;
            let looks = play(&events, digest);
            for name in names {
                let own: Vec<u64> = events.iter().filter(|(_, of)| *of == name).map(|(at, _)| *at).collect();
                let looks = looks.get(name).cloned().unwrap_or_default();
                prop_assert!(looks.windows(2).all(|pair| pair[1] >= pair[0] + 1_000), "one in a second: {looks:?}");
                for event in &own {
                    let next = looks.iter().find(|look| *look >= event);
                    prop_assert!(next.is_some_and(|look| *look <= event + 1_500), "{event} of {own:?}: {looks:?}");
                }
                for look in &looks {
                    let is_near = own.iter().any(|event| event <= look && *look <= event + 33_000);
                    prop_assert!(is_near, "no look without an event: {look} {own:?}");
                }
                prop_assert!(looks.len() <= own.len() * 4);
            }
        }
    }
}
