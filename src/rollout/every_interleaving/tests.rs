//! The searches. Tests run each trouble alone, and one pair. `make search` runs every pair.

use crate::rollout::conditions::OrderLimits;
use std::sync::Arc;

use super::library::Library;
use super::memory::Memory;
use super::rolling::{LIMITS, finished};
use super::scene::{Fault, Model};
use super::search::{Searched, search};
use super::world::{Budget, World};
use crate::context::Events;
use crate::cycle::plan::plan;
use crate::ledger::LeftBehind;
use crate::model::decision::Decision;
use crate::model::image_history::ImageHistory;
use crate::model::outcome::Outcome;
use crate::model::update::{Begun, Update};
use crate::rollout::queue::Queue;

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

/// The search has found this: the queue watched such an update, and its pace still counted it as waiting.
#[test]
fn a_waiting_update_that_is_found_begun_is_under_way() {
    let (library, world, memory) = (Library::new(plan), World::new(QUIET), Memory::default());
    let list = |index: usize| library.list(index, world.services[index], &LeftBehind::default(), &memory);
    let (_, planned) = library.decide(&std::array::from_fn(list), &world, &memory);
    let updates = planned.into_iter().filter_map(|planned| match planned.decision {
        Decision::Update(update) => Some(*update),
        _ => None,
    });
    let updates: Vec<Update> = updates.collect();
    let mut queue = Queue::new(LIMITS, OrderLimits::NONE);
    queue.join(0, Events::unheard(), updates.clone(), ImageHistory::default());
    let (_, canary, first) = queue.begin().unwrap();

    let spec = library.service(1, world.services[1]).spec;
    let begun = Some(Arc::new(Begun::Update { replaced: spec.clone(), spec }));
    let (new, waiting) = queue.refresh(vec![Update { begun, ..updates[1].clone() }]);
    assert!(new.is_empty() && waiting.len() == 1);
    let found = queue.under_way();
    assert_eq!(found.len(), 1);
    queue.end(found[0].1, finished(&found[0].2, Outcome::Updated));
    // Nothing may begin meanwhile, as this Gantry is not sure of its lease.
    assert!(queue.at_rest().is_empty(), "the canary is under way");
    queue.end(canary, finished(&first, Outcome::Updated));
    assert_eq!(queue.at_rest().len(), 1);
}

/// Two troubles together. With `GANTRY_SEARCH=all`, as `make search` sets it, each two: minutes, in an optimised build.
#[test]
#[expect(clippy::disallowed_methods, reason = "how far to search is no setting of Gantry's")]
fn promises_hold_under_any_two_troubles() {
    let searches = [
        ("a lost answer and a failure", Budget { lost: 1, failures: 1, ..ONE }),
        ("a push and a failure", Budget { pushes: 1, failures: 1, ..ONE }),
        ("a kill and a failure", Budget { kills: 1, failures: 1, ..ONE }),
        ("a user and a failure", Budget { users: 1, failures: 1, ..ONE }),
        ("a slow Gantry that looks again", Budget { ticks: 3, looks: 1, ..QUIET }),
        (
            "any trouble, two images",
            Budget { pushes: 1, kills: 1, users: 1, lost: 1, has_other: true, ..ONE },
        ),
        ("any two", Budget { pushes: 1, kills: 1, users: 1, lost: 1, all: 2, ..QUIET }),
    ];
    let count = if std::env::var_os("GANTRY_SEARCH").is_some() { searches.len() } else { 1 };
    for (name, budget) in searches.into_iter().take(count) {
        holds(name, budget, 10_000);
    }
}
