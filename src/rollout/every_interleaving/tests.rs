//! The searches. `make` runs each trouble alone. The longer searches are for an optimised build:
//! `cargo test --release --lib every_interleaving -- --ignored --nocapture`.

use super::library::Library;
use super::scene::{Fault, Model};
use super::search::{Searched, search};
use super::world::Budget;
use crate::cycle::plan::plan;

/// Nothing goes wrong.
const QUIET: Budget = Budget {
    pushes: 0,
    kills: 0,
    users: 0,
    lost: 0,
    failures: 0,
    ticks: 0,
    looks: 0,
    has_other: false,
    all: 0,
};

/// One thing of all goes wrong.
const ONE: Budget = Budget { all: 1, ..QUIET };

/// Searches, and says how much there was to search.
fn searched(name: &str, budget: Budget, fault: Option<Fault>) -> Searched {
    // `rollout` knows nothing of `cycle`, so that the plan is handed in.
    let model = Model { library: Library::new(plan), fault };
    let searched = search(&model, budget);
    let Searched { states, steps, depth, ends, .. } = &searched;
    println!("{name}: {states} states, {steps} steps, depth {depth}, {ends} states in which all is done");
    if let Some(broken) = &searched.broken {
        println!("{}:", broken.promise);
        broken.steps.iter().for_each(|step| println!("    {step:?}"));
    }
    searched
}

/// All promises hold in every interleaving. At least so many states must have been looked at.
fn holds(name: &str, budget: Budget, least: usize) {
    let Searched { states, ends, broken, .. } = searched(name, budget, None);
    assert!(broken.is_none(), "{broken:#?}");
    assert!(ends > 0 && states >= least, "only {states} states, {ends} ends");
}

/// A planted fault is found, by this promise.
fn is_found(fault: Fault, budget: Budget, promise: &str) {
    let Searched { broken, .. } = searched(&format!("{fault:?}"), budget, Some(fault));
    let broken = broken.expect("the fault is found");
    assert!(broken.promise.contains(promise), "{broken:#?}");
}

#[test]
fn three_services_of_two_images_all_get_the_newest() {
    holds("no trouble", Budget { has_other: true, ..QUIET }, 3_000);
}

#[test]
fn promises_hold_when_a_tag_moves() {
    holds("a push", Budget { pushes: 1, ..ONE }, 30_000);
}

#[test]
fn promises_hold_when_a_gantry_is_killed() {
    holds("a kill", Budget { kills: 1, ..ONE }, 30_000);
}

#[test]
fn promises_hold_when_a_user_changes_a_service() {
    holds("a user", Budget { users: 1, ..ONE }, 15_000);
}

#[test]
fn promises_hold_when_an_answer_is_lost() {
    holds("a lost answer", Budget { lost: 1, ..ONE }, 3_000);
}

#[test]
fn promises_hold_when_an_update_fails() {
    holds("a failure", Budget { failures: 1, ..QUIET }, 3_000);
}

#[test]
fn promises_hold_when_a_gantry_is_slow() {
    holds("a slow Gantry", Budget { ticks: 3, ..QUIET }, 1_000);
}

#[test]
fn beginning_without_the_lease_is_found() {
    let budget = Budget { ticks: 3, looks: 1, ..QUIET };
    is_found(Fault::BeginsWithoutLease, budget, "without the lease");
}

#[test]
fn beginning_with_a_replaced_digest_is_found() {
    is_found(Fault::SkipsTakeOut, Budget { pushes: 1, ..ONE }, "a look has seen replaced");
}

#[test]
fn updating_a_service_twice_at_a_time_is_found() {
    is_found(Fault::ForgetsUnderWay, Budget { looks: 1, ..QUIET }, "twice at a time");
}

#[test]
fn forgetting_what_a_newer_digest_replaces_is_found() {
    is_found(Fault::ForgetsWithdrawn, Budget { pushes: 1, ..ONE }, "a report names");
}

#[test]
fn forgetting_a_service_for_good_is_found() {
    is_found(Fault::ForgetsEnd, QUIET, "never comes to its end");
}

/// Each two troubles together, and a failure beside each of them.
#[test]
#[ignore = "minutes, for an optimised build"]
fn promises_hold_under_any_two_troubles() {
    for (name, budget) in [
        ("a push and a failure", Budget { pushes: 1, failures: 1, ..ONE }),
        ("a kill and a failure", Budget { kills: 1, failures: 1, ..ONE }),
        ("a lost answer and a failure", Budget { lost: 1, failures: 1, ..ONE }),
        ("a user and a failure", Budget { users: 1, failures: 1, ..ONE }),
        ("a slow Gantry that looks again", Budget { ticks: 3, looks: 1, ..QUIET }),
        (
            "any trouble, two images",
            Budget { pushes: 1, kills: 1, users: 1, lost: 1, has_other: true, ..ONE },
        ),
        ("any two", Budget { pushes: 1, kills: 1, users: 1, lost: 1, all: 2, ..QUIET }),
    ] {
        holds(name, budget, 10_000);
    }
}
