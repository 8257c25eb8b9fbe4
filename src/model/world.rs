//! How things stand: what the events of a run come to. Pure.
//!
//! Each service has one row. Of two events about one service the later stage counts, whichever came first, so that the
//! events of one run come to the same world in any order.

use std::collections::BTreeMap;

use super::event::Event;
use super::rollout::Rollout;
use super::row::{self, Row, State};

/// How things stand.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The services that the latest run looked at, by name.
    pub services: BTreeMap<String, Row>,
    /// The rollouts, each by its image with the digest.
    pub rollouts: BTreeMap<String, Rollout>,
    /// Why no update begins; empty: updates may begin.
    pub paused: Vec<String>,
    /// Whether a run is under way.
    pub is_running: bool,
}

impl World {
    /// Takes an event into account.
    pub fn apply(&mut self, event: &Event) {
        if let Some((name, image)) = Rollout::of(event) {
            self.rollouts.entry(name).or_insert_with(|| Rollout::new(image)).apply(event);
        }
        match event {
            Event::RunBegan => *self = Self { is_running: true, ..Self::default() },
            Event::Decided(rows) | Event::NotBegun(rows) => {
                for row in rows {
                    self.take(row.clone());
                }
            }
            Event::UpdateBegan { service, to, .. } => {
                let (service, image) = (service.clone(), to.tagged());
                self.take(Row::new(service, image, State::Updating));
            }
            Event::UpdateEnded(finished) => self.take(finished.clone().into()),
            Event::Paused { why, .. } => self.paused.push(why.clone()),
            Event::Resumed { was, .. } => self.paused.retain(|why| why != was),
            Event::RunEnded => self.is_running = false,
            _ => {}
        }
    }

    /// How many services stand in which way, by the names of summaries.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        row::counts(self.services.values())
    }

    fn take(&mut self, row: Row) {
        let known = self.services.get(&row.service);
        if known.is_none_or(|known| known.state.stage() <= row.state.stage()) {
            self.services.insert(row.service.clone(), row);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::image::ImageRef;
    use crate::model::cause::Cause;
    use crate::model::decision::Reason;
    use crate::model::finished::{Finished, NotBegunReason};
    use crate::model::outcome::{By, Outcome};

    fn image() -> ImageRef {
        "registry.test/app:1".parse().unwrap()
    }

    fn ended(service: &str, outcome: Outcome) -> Event {
        Event::UpdateEnded(Finished {
            service: service.to_owned(),
            from: image(),
            to: image(),
            outcome,
            log: Vec::new(),
            health: None,
            took: Duration::ZERO,
        })
    }

    fn late() -> Outcome {
        let cause = Box::new(Cause::Unhealthy { node: "node1".to_owned() });
        Outcome::RolledBack { by: By::Gantry, cause: Cause::Late { cause } }
    }

    /// One service's events in a run, and the name that it is counted by at the end.
    fn story(service: &str, kind: u8) -> (Vec<Event>, &'static str) {
        let decided = |state| Event::Decided(vec![Row::sample(service, state)]);
        let began =
            || Event::UpdateBegan { service: service.to_owned(), from: image(), to: image(), found: None };
        let held = |why| Event::NotBegun(vec![Row::sample_held(service, why)]);
        match kind {
            0 => (vec![decided(State::UpToDate)], "up to date"),
            1 => (vec![decided(State::LeftAlone(Reason::Job))], "left alone"),
            2 => (vec![decided(State::Error("no registry".to_owned()))], "error"),
            3 => (vec![decided(State::Waits), held(NotBegunReason::RolloutStopped)], "held back"),
            4 => (vec![decided(State::Waits), held(NotBegunReason::Unproven)], "unproved"),
            5 => (vec![decided(State::Waits), began(), ended(service, Outcome::Updated)], "updated"),
            6 => (vec![decided(State::Waits), began(), ended(service, Outcome::Removed)], "removed"),
            7 => {
                let events = vec![decided(State::Waits), began(), ended(service, Outcome::Updated)];
                ([events, vec![ended(service, late())]].concat(), "rolled back")
            }
            _ => (vec![decided(State::Waits), began()], "updating"),
        }
    }

    proptest! {
        #[test]
        fn the_events_of_a_run_come_to_the_same_in_any_order(
            kinds in prop::collection::vec(0..9_u8, 0..20),
            order in prop::collection::vec(any::<u32>(), 80),
        ) {
            let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
            let mut events = Vec::new();
            for (number, kind) in kinds.into_iter().enumerate() {
                let (own, name) = story(&format!("web-{number}"), kind);
                events.extend(own);
                *expected.entry(name).or_default() += 1;
            }
            let mut shuffled: Vec<(u32, Event)> = order.into_iter().zip(events).collect();
            shuffled.sort_by_key(|(key, _)| *key);
            let mut world = World::default();
            for (_, event) in &shuffled {
                world.apply(event);
            }
            prop_assert_eq!(world.counts(), expected);
        }
    }

    #[test]
    fn a_pause_lasts_until_its_reason_is_gone_and_a_run_begins_anew() {
        let mut world = World::default();
        world.apply(&Event::RunBegan);
        let paused = |why: &str| Event::Paused { why: why.to_owned(), reason: "node", is_routine: false };
        world.apply(&paused("node2 is down"));
        world.apply(&paused("node3 is down"));
        let was = "node2 is down".to_owned();
        world.apply(&Event::Resumed { was, after: Duration::from_secs(1), is_routine: false });
        assert_eq!((world.paused.as_slice(), world.is_running), (&["node3 is down".to_owned()][..], true));
        world.apply(&ended("web", Outcome::Updated));
        world.apply(&Event::RunEnded);
        assert_eq!((world.services.len(), world.is_running), (1, false));
        world.apply(&Event::RunBegan);
        assert!(world.services.is_empty() && world.paused.is_empty());
    }
}
