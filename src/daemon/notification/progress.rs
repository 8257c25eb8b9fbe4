//! The notification that tells how far a run is. Pure.

use std::time::Duration;

use super::message::{Kind, LINES, Message, cut};
use crate::cycle::report::grouped;
use crate::model::finished::NotBegunReason;
use crate::model::outcome::Outcome;
use crate::model::row::{Row, State, groups};
use crate::model::world::World;

/// The name of the updates that the text counts first.
fn updated() -> &'static str {
    Outcome::Updated.name()
}

/// Tells how far a run is. `None`: the run has no updates of its own, so there is nothing to tell.
pub(super) fn message(number: u64, world: &World, lasted: Duration, suffix: Option<&str>) -> Option<Message> {
    let counts = counts(world)?;
    let mut body = format!("Run {number} has lasted {}: {counts}", time(lasted));
    if !world.paused.is_empty() {
        body.push_str("\n\nNo update begins: ");
        body.push_str(&cut(&world.paused, LINES, "; ", "more reasons"));
    }
    Some(Message::new(&format!("run {number}: {counts}"), suffix, &body, Kind::Info))
}

/// The counts of the run's own updates: the updated services first, then the others by how late they are in a run.
fn counts(world: &World) -> Option<String> {
    let groups = groups(world.services.values(), place);
    if !groups.keys().any(|(place, _)| *place < HELD) {
        return None;
    }
    let total: usize = groups.values().map(Vec::len).sum();
    let done = groups.get(&(UPDATED, updated())).map_or(0, Vec::len);
    let mut words = vec![format!("{} of {} updated", grouped(done), grouped(total))];
    let others = groups.iter().filter(|((place, _), _)| *place != UPDATED);
    words.extend(others.map(|((_, name), rows)| format!("{} {name}", grouped(rows.len()))));
    Some(words.join(", "))
}

/// The place of the updated services.
const UPDATED: u8 = 0;

/// The place of the updates that do not begin in this run.
const HELD: u8 = 4;

/// Where the text counts a service, and by which name. `None`: it has no update in this run.
fn place(row: &Row) -> Option<(u8, &'static str)> {
    match &row.state {
        State::Ended(one) if one.outcome.name() == updated() => Some((UPDATED, updated())),
        State::Ended(one) => Some((1, one.outcome.name())),
        State::Updating => Some((2, "under way")),
        State::Waits => Some((3, row.state.name())),
        // Another run updates these services.
        State::Held(held) if matches!(held.why, NotBegunReason::UnderWay | NotBegunReason::Withdrawn) => None,
        State::Held(held) => Some((HELD, held.why.name())),
        State::UpToDate | State::LeftAlone(_) | State::NeedsAttention(_) | State::Error(_) => None,
    }
}

/// A length of time, as exact as it is of interest.
fn time(lasted: Duration) -> String {
    let seconds = lasted.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) if minutes < 10 => format!("{minutes} min {seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cause::Cause;
    use crate::model::decision::Reason;
    use crate::model::event::Event;
    use crate::model::finished::Finished;
    use crate::model::outcome::By;

    fn row(service: usize, state: State) -> Row {
        Row::sample(&format!("web-{service:04}"), state)
    }

    fn world(rows: impl IntoIterator<Item = Row>) -> World {
        let mut world = World::default();
        world.apply(&Event::RunBegan);
        world.apply(&Event::Decided(rows.into_iter().collect()));
        world
    }

    fn end(world: &mut World, service: usize, outcome: Outcome) {
        world.apply(&Event::UpdateEnded(Finished {
            service: format!("web-{service:04}"),
            from: "app:1".parse().unwrap(),
            to: "app:1".parse().unwrap(),
            outcome,
            log: Vec::new(),
            health: None,
            took: Duration::ZERO,
        }));
    }

    fn shown(world: &World, lasted: u64) -> Option<String> {
        message(17, world, Duration::from_secs(lasted), Some("(live)")).map(|message| message.shown())
    }

    #[test]
    fn it_counts_the_updates_of_a_run() {
        let mut world =
            world((0..1_300).map(|n| row(n, if n < 1_200 { State::Waits } else { State::UpToDate })));
        assert_eq!(
            shown(&world, 1_800).unwrap(),
            "[Info] Gantry: run 17: 0 of 1,200 updated, 1,200 waiting (live)\n\n\
             Run 17 has lasted 30 min: 0 of 1,200 updated, 1,200 waiting"
        );
        for n in 0..340 {
            end(&mut world, n, Outcome::Updated);
        }
        let cause = || Cause::Unhealthy { node: "node1".to_owned() };
        for n in 340..342 {
            end(&mut world, n, Outcome::RolledBack { by: By::Gantry, cause: cause() });
        }
        for n in 342..392 {
            let (service, image) = (format!("web-{n:04}"), || "app:1".parse().unwrap());
            world.apply(&Event::UpdateBegan { service, from: image(), to: image(), found: None });
        }
        assert_eq!(
            shown(&world, 3_900).unwrap(),
            "[Info] Gantry: run 17: 340 of 1,200 updated, 2 rolled back, 50 under way, 808 waiting (live)\n\n\
             Run 17 has lasted 1 h 5 min: 340 of 1,200 updated, 2 rolled back, 50 under way, 808 waiting"
        );
    }

    #[test]
    fn it_says_why_no_update_begins() {
        let mut world = world([row(0, State::Waits)]);
        for why in ["node2 is down", "node3 is down"] {
            world.apply(&Event::Paused { why: why.to_owned(), reason: "node", is_routine: false });
        }
        let shown = shown(&world, 60).unwrap();
        assert!(shown.ends_with("1 waiting\n\nNo update begins: node2 is down; node3 is down"), "{shown}");
    }

    #[test]
    fn it_counts_no_service_that_another_run_updates() {
        let held = |n: usize, why| Row::sample_held(&format!("web-{n:04}"), why);
        let mut world = world((0..6).map(|n| row(n, State::Waits)));
        world.apply(&Event::NotBegun(vec![
            held(0, NotBegunReason::UnderWay),
            held(1, NotBegunReason::Withdrawn),
            held(2, NotBegunReason::RolloutStopped),
            held(3, NotBegunReason::RolloutStopped),
        ]));
        let shown = shown(&world, 60).unwrap();
        assert!(shown.contains("run 17: 0 of 4 updated, 2 waiting, 2 held back"), "{shown}");
    }

    #[test]
    fn a_run_without_updates_of_its_own_tells_nothing() {
        let states =
            [State::UpToDate, State::LeftAlone(Reason::Job), State::Error("no registry knows it".to_owned())];
        let mut quiet = world(states.into_iter().zip(0..).map(|(state, n)| row(n, state)));
        quiet.apply(&Event::NotBegun(vec![Row::sample_held("web", NotBegunReason::UnderWay)]));
        assert_eq!(shown(&quiet, 3_600), None);
        assert_eq!(shown(&World::default(), 3_600), None);
    }

    #[test]
    fn a_time_is_as_exact_as_it_is_of_interest() {
        let cases = [(45, "45 s"), (60, "1 min"), (90, "1 min 30 s"), (1_859, "30 min"), (7_205, "2 h")];
        for (seconds, shown) in cases {
            assert_eq!(time(Duration::from_secs(seconds)), shown);
        }
    }
}
