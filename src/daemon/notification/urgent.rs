//! What people are told when it happens, not at the run's end: a stopped rollout, a failed rollback. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::message::{CAUSE, Kind, LINES, Message, NAMES, cut};
use crate::cycle::Report;
use crate::cycle::report::grouped;
use crate::image::ImageRef;
use crate::model::event::Event;
use crate::model::outcome::Outcome;
use crate::model::row::Row;
use crate::model::world::World;
use crate::words::beginning;

/// How many causes of one stop are told.
const MAX_CAUSES: usize = 3;

/// What people are told when it happens.
#[derive(Clone, Debug)]
pub(super) enum Urgent {
    /// Too many updates to an image failed: no more of them begin.
    RolloutStopped {
        image: ImageRef,
        /// How many services got the image.
        touched: usize,
        /// How many of them failed.
        failed: usize,
        /// How many services there were to update.
        total: usize,
    },
    /// Neither the new image nor the old image of a service runs.
    RollbackFailed { service: String, image: ImageRef, outcome: Outcome },
}

impl Urgent {
    /// What people are told of an event at once.
    pub(super) fn of(event: &Event) -> Option<Self> {
        match event {
            // Where no service was left to keep from the image, the message at the run's end comes as soon.
            Event::RolloutStopped { touched, total, .. } if touched >= total => None,
            Event::RolloutStopped { image, touched, failed, total } => Some(Self::RolloutStopped {
                image: image.clone(),
                touched: *touched,
                failed: *failed,
                total: *total,
            }),
            Event::UpdateEnded(finished) => {
                is_failed_rollback(&finished.outcome).then(|| Self::RollbackFailed {
                    service: finished.service.clone(),
                    image: finished.to.clone(),
                    outcome: finished.outcome.clone(),
                })
            }
            _ => None,
        }
    }

    /// Whether the message at a run's end tells the same.
    pub(super) fn is_told_by(&self, report: &Report) -> bool {
        match self {
            Self::RolloutStopped { image, .. } => {
                report.stopped.iter().any(|stopped| stopped.image == *image)
            }
            Self::RollbackFailed { service, .. } => {
                report.finished().any(|one| one.service == *service && is_failed_rollback(&one.outcome))
            }
        }
    }
}

fn is_failed_rollback(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::RollbackFailed { .. })
}

/// Tells what has happened, each with the world of its run; `more` is how many more there were.
pub(super) fn message(told: &[(&Urgent, &World)], more: usize, suffix: Option<&str>) -> Message {
    let mut stops = Vec::new();
    let mut rollbacks: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (urgent, world) in told {
        match urgent {
            Urgent::RolloutStopped { image, touched, failed, total } => {
                let after = format!("after {} of {}", grouped(*touched), grouped(*total));
                let causes = causes(world, image);
                let digest =
                    image.digest().map_or_else(String::new, |it| format!(" (digest {})", it.short()));
                let mut line = format!("rollout of {}{digest} stopped {after}", image.tagged());
                let _ = write!(line, ", as {} failed", grouped(*failed));
                if !causes.is_empty() {
                    let _ = write!(line, ": {}", beginning(&causes.join("; "), CAUSE));
                }
                stops.push((format!("rollout of {} stopped {after}", image.tagged()), line));
            }
            Urgent::RollbackFailed { service, image, outcome } => {
                let words = beginning(&outcome.to_string(), CAUSE);
                rollbacks.entry(format!("{words} ({})", image.tagged())).or_default().push(service);
            }
        }
    }
    let title = title(&stops, &rollbacks.values().flatten().copied().collect::<Vec<_>>());
    let rollbacks =
        rollbacks.iter().map(|(words, names)| format!("{}: {words}", cut(names, NAMES, ", ", "more")));
    let mut lines: Vec<String> = rollbacks.chain(stops.into_iter().map(|(_, line)| line)).collect();
    if more > 0 {
        lines.truncate(LINES - 1);
        lines.push(format!("and {} more in the log", grouped(more)));
    }
    let lines = cut(&lines, LINES, "\n", "more lines in the log");
    let body = format!("{lines}\n\nThe log and the message at the run's end tell the rest.");
    Message::new(&title, suffix, &body, Kind::Failure)
}

fn title(stops: &[(String, String)], services: &[&str]) -> String {
    let rollbacks = match services {
        [] => None,
        [service] => Some(format!("rollback of {service} failed")),
        services => Some(format!("{} rollbacks failed", grouped(services.len()))),
    };
    let stops = match stops {
        [] => None,
        [(title, _)] => Some(title.clone()),
        stops => Some(format!("{} rollouts stopped", grouped(stops.len()))),
    };
    rollbacks.into_iter().chain(stops).collect::<Vec<_>>().join(", ")
}

/// Why updates of a run to this image have failed, each cause once.
fn causes(world: &World, image: &ImageRef) -> Vec<String> {
    let ended = world.services.values().filter_map(Row::finished).filter(|one| one.to == *image);
    let mut told: Vec<String> = Vec::new();
    for cause in ended.filter_map(|one| one.outcome.cause()).map(ToString::to_string) {
        if told.len() < MAX_CAUSES && !told.contains(&cause) {
            told.push(cause);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::cause::Cause;
    use crate::model::finished::{Finished, StoppedRollout};
    use crate::model::outcome::By;

    fn image(name: &str) -> ImageRef {
        format!("registry.test/{name}:1@sha256:{}", "1".repeat(64)).parse().unwrap()
    }

    fn unhealthy(node: &str) -> Cause {
        Cause::Unhealthy { node: node.to_owned() }
    }

    fn rolled_back(node: &str) -> Outcome {
        Outcome::RolledBack { by: By::Gantry, cause: unhealthy(node) }
    }

    fn not_rolled_back() -> Outcome {
        Outcome::RollbackFailed { cause: unhealthy("node1"), why: unhealthy("node2") }
    }

    fn ended(service: &str, outcome: Outcome) -> Event {
        Event::UpdateEnded(Finished {
            service: service.to_owned(),
            from: image("app"),
            to: image("app"),
            outcome,
            log: vec!["a line".to_owned()],
            health: None,
            took: Duration::from_secs(1),
        })
    }

    fn stopped(name: &str) -> Event {
        Event::RolloutStopped { image: image(name), touched: 2, failed: 2, total: 1_200 }
    }

    fn shown(events: &[Event], more: usize) -> String {
        let mut world = World::default();
        for event in events {
            world.apply(event);
        }
        let urgent: Vec<Urgent> = events.iter().filter_map(Urgent::of).collect();
        let told: Vec<(&Urgent, &World)> = urgent.iter().map(|urgent| (urgent, &world)).collect();
        message(&told, more, Some("(live)")).shown()
    }

    #[test]
    fn a_stopped_rollout_is_told_with_its_causes() {
        let failures = [("a", "node1"), ("b", "node2"), ("c", "node1")];
        let mut events: Vec<Event> =
            failures.iter().map(|(service, node)| ended(service, rolled_back(node))).collect();
        events.push(stopped("app"));
        insta::assert_snapshot!(shown(&events, 0));
        // Of failures in an earlier run, this run knows no causes.
        let shown = shown(&[stopped("app")], 0);
        assert!(shown.contains("stopped after 2 of 1,200, as 2 failed\n"), "{shown}");
    }

    #[test]
    fn a_failed_rollback_is_told_with_both_causes() {
        insta::assert_snapshot!(shown(&[ended("shop", not_rolled_back())], 0));
    }

    #[test]
    fn several_are_one_short_message() {
        let rollbacks = (0..80).map(|n| ended(&format!("site-{n:04}"), not_rolled_back()));
        let events: Vec<Event> = rollbacks.chain(["app", "shop"].map(stopped)).collect();
        insta::assert_snapshot!(shown(&events, 20));
        let stops: Vec<Event> = (0..40).map(|n| stopped(&format!("app-{n}"))).collect();
        let shown = shown(&stops, 20);
        assert!(shown.starts_with("[Failure] Gantry: 40 rollouts stopped (live)"), "{shown}");
        assert!(shown.contains("\nand 20 more in the log\n") && shown.lines().count() < 20, "{shown}");
    }

    #[test]
    fn other_events_wait_for_the_end_of_the_run() {
        let others = [ended("a", Outcome::Updated), ended("a", rolled_back("node1")), Event::RunEnded];
        assert!(others.iter().all(|event| Urgent::of(event).is_none()));
    }

    #[test]
    fn the_message_at_the_end_tells_the_same_or_does_not() {
        let stop = Urgent::of(&stopped("app")).unwrap();
        let rollback = Urgent::of(&ended("shop", not_rolled_back())).unwrap();
        let stopped = |name| StoppedRollout {
            image: image(name),
            touched: 2,
            failed: 2,
            total: 3,
            causes: Vec::new(),
            blames_image: true,
        };
        let row = |service: &str, outcome| match ended(service, outcome) {
            Event::UpdateEnded(finished) => Row::from(finished),
            _ => unreachable!(),
        };
        for (stops, rows, has_stop, has_rollback) in [
            (vec![stopped("app")], vec![row("shop", rolled_back("node1"))], true, false),
            (vec![stopped("shop")], vec![row("shop", not_rolled_back())], false, true),
            (vec![], vec![row("app", not_rolled_back())], false, false),
        ] {
            let report = Report { stopped: stops, rows, ..Report::default() };
            assert_eq!(
                (stop.is_told_by(&report), rollback.is_told_by(&report)),
                (has_stop, has_rollback),
                "{report:?}"
            );
        }
    }
}
