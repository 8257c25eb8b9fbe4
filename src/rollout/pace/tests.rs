use std::time::Duration;

use super::*;
use crate::model::outcome::By;

const LIMITS: Limits = Limits { workers: 50, initial: 1, min_failures: 2, max_failure_ratio: 0.1 };
const BAD: Effect = Effect::Failure { blames_image: true };

fn image(name: &str, services: usize) -> impl Iterator<Item = (String, Evidence)> {
    of(name, services, Evidence::Tasks)
}

fn of(name: &str, services: usize, evidence: Evidence) -> impl Iterator<Item = (String, Evidence)> {
    std::iter::repeat_n((name.to_owned(), evidence), services)
}

/// Rollouts of these updates, numbered from 0.
pub(super) fn paced(limits: Limits, updates: impl IntoIterator<Item = (String, Evidence)>) -> Pace {
    let mut pace = Pace::new(limits);
    pace.add(updates.into_iter().enumerate().map(|(number, (name, evidence))| (number, name, evidence)));
    pace
}

/// The rollouts that were stopped.
pub(super) fn stopped(pace: &Pace) -> impl Iterator<Item = Stop> {
    pace.images.values().filter(|image| image.is_stopped).map(|image| image.stop(&pace.limits))
}

/// Begins all that may.
fn begin(pace: &mut Pace) -> Vec<usize> {
    std::iter::from_fn(|| pace.begin(|_| true)).collect()
}

#[test]
fn the_width_doubles_with_each_good_round_up_to_the_number_of_workers() {
    let mut pace = paced(LIMITS, image("app", 1200));
    let mut rounds = Vec::new();
    for _ in 0..8 {
        let round = begin(&mut pace);
        rounds.push(round.len());
        for number in round {
            pace.end(number, Effect::Success);
        }
    }
    assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 50, 50]);
}

#[test]
fn a_success_widens_at_once_and_does_not_wait_for_its_round() {
    let mut pace = paced(LIMITS, image("app", 1200));
    let canary = begin(&mut pace)[0];
    pace.end(canary, Effect::Success);
    let round = begin(&mut pace);
    assert_eq!(round.len(), 2);
    pace.end(round[0], Effect::Success);
    assert_eq!(begin(&mut pace).len(), 2, "one under way, three allowed");
}

#[test]
fn a_broken_image_is_stopped_after_two_of_1200() {
    let mut pace = paced(LIMITS, image("app", 1200));
    let canary = begin(&mut pace);
    assert_eq!(canary, [0]);
    assert_eq!(pace.end(0, BAD), None);
    assert_eq!(begin(&mut pace), [1]);
    let stop = Stop { image: "app".into(), touched: 2, failed: 2, total: 1200, blames_image: true };
    assert_eq!(pace.end(1, BAD), Some(stop));
    assert!(begin(&mut pace).is_empty());
    assert!(pace.is_stopped(2) && stopped(&pace).count() == 1);
}

#[test]
fn an_option_that_does_not_fit_two_services_does_not_keep_the_image_from_the_others() {
    let unfit = Outcome::Failed { cause: Cause::Unfit { message: "no such network".to_owned() } };
    let mut pace = paced(LIMITS, image("app", 10));
    for number in 0..2 {
        assert_eq!(begin(&mut pace), [number]);
        assert_eq!(pace.end(number, Effect::of(&unfit)), None);
    }
    assert_eq!(begin(&mut pace), [2]);
}

#[test]
fn failures_before_a_kill_count_and_so_do_successes() {
    let after = |failed: usize, succeeded: usize| {
        let mut pace = paced(LIMITS, image("app", 100));
        let stop = pace.found_history(0, failed, succeeded);
        (pace, stop)
    };
    let (mut pace, stop) = after(1, 0);
    assert_eq!((stop, begin(&mut pace)), (None, vec![0]));
    let stop = Stop { image: "app".into(), touched: 2, failed: 2, total: 101, blames_image: true };
    assert_eq!(pace.end(0, BAD), Some(stop), "one before, one after");

    let (mut pace, stop) = after(2, 18);
    let expected = Stop { image: "app".into(), touched: 20, failed: 2, total: 120, blames_image: true };
    assert_eq!((stop, begin(&mut pace)), (Some(expected), vec![]));

    let (mut pace, stop) = after(2, 19);
    assert_eq!(stop, None, "one that was added later must not meet failures alone");
    assert_eq!(begin(&mut pace), [0], "it has its canary");
}

#[test]
fn a_failure_halves_the_width_and_what_is_under_way_is_judged_to_its_end_after_a_stop() {
    let mut pace = paced(Limits { initial: 16, min_failures: 3, ..LIMITS }, image("app", 100));
    assert_eq!(begin(&mut pace).len(), 16);
    assert_eq!(pace.end(0, BAD), None);
    for number in 1..8 {
        pace.end(number, Effect::Nothing);
    }
    assert!(begin(&mut pace).is_empty(), "eight under way, eight allowed");
    assert_eq!(pace.end(8, BAD), None);
    assert!(pace.end(9, BAD).is_some());
    for number in 10..16 {
        assert_eq!(pace.end(number, BAD), None, "it was stopped once");
    }
    let stop = stopped(&pace).next().unwrap();
    assert_eq!((stop.touched, stop.failed, stop.total), (16, 9, 100));
}

#[test]
fn services_with_images_of_their_own_do_not_wait_for_the_many_nor_the_many_for_them() {
    let many = image("many", 1200);
    let few = (0..20).flat_map(|number| image(&format!("own {number}"), 1).collect::<Vec<_>>());
    let mut pace = paced(LIMITS, many.chain(few));
    let first = begin(&mut pace);
    assert_eq!(first.len(), 21, "the canary of each");
    pace.end(first[0], Effect::Success);
    assert_eq!(begin(&mut pace).len(), 2);
}

#[test]
fn workers_go_to_the_image_that_has_the_fewest() {
    let wide = Limits { workers: 10, initial: 10, ..LIMITS };
    let mut pace = paced(wide, image("a", 100).chain(image("b", 100)).chain(image("c", 1)));
    let under_way = begin(&mut pace);
    let of = |from: usize, to: usize| under_way.iter().filter(|n| (from..to).contains(*n)).count();
    assert_eq!((of(0, 100), of(100, 200), of(200, 201)), (5, 4, 1));
}

#[test]
fn services_that_show_nothing_wait_until_the_image_is_proved() {
    let updates =
        || of("app", 1, Evidence::NothingYet).chain(of("app", 3, Evidence::Nothing)).chain(image("app", 1));
    let mut pace = paced(LIMITS, updates());
    assert_eq!(begin(&mut pace), [4], "it shows most");
    pace.end(4, Effect::Success);
    assert_eq!(begin(&mut pace), [1, 2]);
    pace.end(1, Effect::Sent);
    assert_eq!(begin(&mut pace), [3, 0]);

    let mut pace = paced(LIMITS, updates());
    assert_eq!(begin(&mut pace), [4]);
    assert_eq!(pace.end(4, BAD), None, "one failure stops no rollout");
    assert!(begin(&mut pace).is_empty(), "and proves nothing");

    let mut pace = paced(LIMITS, updates());
    assert_eq!(pace.found_history(0, 0, 1), None);
    assert_eq!(begin(&mut pace), [4], "what was shown before is proof, and goes no faster");
    pace.end(4, BAD);
    assert_eq!(begin(&mut pace).len(), 1);
}

#[test]
fn services_that_no_node_takes_get_no_image_that_nothing_else_shows() {
    let mut pace = paced(LIMITS, of("app", 400, Evidence::NothingYet));
    assert!(begin(&mut pace).is_empty());
}

#[test]
fn services_that_did_not_run_before_do_not_stop_an_image_that_others_prove() {
    let updates = image("app", 10).chain(of("app", 4, Evidence::AilingTasks));
    let mut pace = paced(LIMITS, updates);
    let mut stops = 0;
    loop {
        let round = begin(&mut pace);
        if round.is_empty() {
            break;
        }
        for number in round {
            let effect = if number < 10 { Effect::Success } else { BAD };
            stops += usize::from(pace.end(number, effect).is_some());
        }
    }
    assert_eq!((stops, stopped(&pace).count()), (0, 0));

    let mut pace = paced(LIMITS, of("app", 4, Evidence::AilingTasks));
    for number in 0..2 {
        assert_eq!(begin(&mut pace), [number], "where nothing else shows how it does, they do");
        assert_eq!(pace.end(number, BAD).is_some(), number == 1);
    }
}

#[test]
fn what_was_begun_before_is_waited_for_before_a_rollout_is_stopped_for_earlier_failures() {
    let mut pace = paced(LIMITS, image("app", 60));
    for number in 0..40 {
        pace.found_begun(number);
    }
    assert_eq!(pace.found_history(0, 2, 0), None, "two of two have failed, as far as is known");
    assert!(begin(&mut pace).is_empty());
    for number in 0..40 {
        assert_eq!(pace.end(number, Effect::Success), None);
    }
    assert!(!begin(&mut pace).is_empty(), "two of 42");
}

#[test]
fn an_image_that_only_services_without_tasks_have_does_not_crawl() {
    let mut pace = paced(LIMITS, of("app", 300, Evidence::Nothing));
    let mut rounds = 0;
    loop {
        let round = begin(&mut pace);
        if round.is_empty() {
            break;
        }
        rounds += 1;
        for number in round {
            pace.end(number, Effect::Sent);
        }
    }
    assert_eq!(rounds, 11);
}

#[test]
fn failures_that_say_nothing_of_the_others_slow_down_but_do_not_stop() {
    let mut pace = paced(Limits { initial: 8, ..LIMITS }, image("app", 40));
    let mut ended = 0;
    loop {
        let round = begin(&mut pace);
        if round.is_empty() {
            break;
        }
        for number in round {
            assert_eq!(pace.end(number, Effect::Setback), None);
            ended += 1;
        }
    }
    assert_eq!(ended, 40);
}

#[test]
fn a_rollout_that_the_image_is_not_to_blame_for_stops_too_but_does_not_blame_it() {
    let mut pace = paced(LIMITS, image("app", 40));
    for number in 0..2 {
        assert_eq!(begin(&mut pace), [number]);
        let stop = pace.end(number, Effect::Failure { blames_image: false });
        assert_eq!(stop.map(|stop| stop.blames_image), (number == 1).then_some(false));
    }
}

#[test]
fn a_service_that_is_taken_back_holds_its_rollout_and_no_other() {
    let mut pace = paced(LIMITS, image("app", 100).chain(image("other", 1)));
    assert_eq!(begin(&mut pace), [0, 100]);
    assert_eq!(pace.end(0, Effect::TakenBack), None);
    assert!(begin(&mut pace).is_empty());
    assert_eq!((pace.held_for(7), pace.held_for(100), pace.is_stopped(7)), (Some(0), None, false));
}

#[test]
fn successes_that_turn_bad_slow_a_rollout_down_and_stop_it() {
    let mut pace = paced(LIMITS, image("app", 1200));
    for expected in [1, 2, 4] {
        let round = begin(&mut pace);
        assert_eq!(round.len(), expected);
        for number in round {
            pace.end(number, Effect::Success);
        }
    }
    assert_eq!(pace.turn_bad(0, BAD), None);
    assert_eq!(begin(&mut pace).len(), 4, "half of eight");
    let stop = Stop { image: "app".into(), touched: 11, failed: 2, total: 1200, blames_image: true };
    assert_eq!(pace.turn_bad(1, BAD), Some(stop));
    assert!(begin(&mut pace).is_empty());
}

#[test]
fn each_outcome_has_its_effect() {
    let image = || Cause::Unhealthy { node: "n".into() };
    let node = || Cause::NodeDown { node: "n".into() };
    let room = || Cause::NoSuitableNode { reason: "insufficient resources on 3 nodes".into() };
    let innocent = Effect::Failure { blames_image: false };
    let nothing_sent = || Cause::Refused { message: String::new() };
    for (outcome, effect) in [
        (Outcome::Updated, Effect::Success),
        (Outcome::RolledBack { by: By::Gantry, cause: image() }, BAD),
        (Outcome::RolledBack { by: By::Swarm, cause: image() }, BAD),
        (Outcome::RolledBack { by: By::Gantry, cause: room() }, innocent),
        (Outcome::RolledBack { by: By::Gantry, cause: node() }, Effect::Setback),
        // What made the update fail counts, not what made its rollback fail.
        (Outcome::RollbackFailed { cause: image(), why: node() }, BAD),
        (Outcome::Failed { cause: image() }, BAD),
        (
            Outcome::Failed {
                cause: Cause::TimedOut { after: Duration::ZERO, waiting: String::new(), blames_image: false },
            },
            innocent,
        ),
        (Outcome::Failed { cause: nothing_sent() }, Effect::Setback),
        (Outcome::Started(String::new()), Effect::Sent),
        (Outcome::Unchanged(String::new()), Effect::Nothing),
        (Outcome::Superseded(String::new()), Effect::Nothing),
        (Outcome::TakenBack(String::new()), Effect::TakenBack),
        (Outcome::Removed, Effect::Nothing),
        (Outcome::Interrupted, Effect::Nothing),
    ] {
        assert_eq!(Effect::of(&outcome), effect, "{outcome}");
    }
}
