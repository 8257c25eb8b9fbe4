//! Which services come before which (`gantry.update.after`): the graph of a look, and what it holds. Pure.
//!
//! What both need an update is put in order where updates begin (`rollout::conditions`). Here is held what comes after a
//! service that gets none in this cycle, though it should.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Config, LabelMistakes, Mistake, STACK};
use crate::gate::order::{OrderedService, UpdateAfter, UpdateGraph};
use crate::gate::{Gate, Refusal};
use crate::model::candidate::Candidate;
use crate::model::decision::{Decision, Planned, Reason};
use crate::model::held::Held;
use crate::model::held_back::Why;
use crate::swarm::Service;

/// The label that names a service's predecessors.
const AFTER: &str = "gantry.update.after";

/// The order of all services that were listed. Labels that cannot be read are mistakes already.
pub(super) fn graph(config: &Config, listed: &[Service]) -> UpdateGraph {
    let is_ordered = |service: &Service| service.spec.facts().labels.contains_key(AFTER);
    if !config.services.labels.allows(AFTER) || !listed.iter().any(is_ordered) {
        return UpdateGraph::default();
    }
    let services = listed.iter().map(|service| {
        let facts = service.spec.facts();
        let after = facts.labels.get(AFTER).and_then(|text| UpdateAfter::read(text));
        let stack = facts.labels.get(STACK).map(String::as_str);
        OrderedService { name: &facts.name, stack, after: after.unwrap_or_default() }
    });
    let mut services: Vec<OrderedService<'_>> = services.collect();
    // Circles are told alike at each look.
    services.sort_by_key(|service| service.name);
    UpdateGraph::of(&services)
}

/// Puts the full names of its predecessors into the settings of a service, or what is wrong with them.
pub(super) fn apply(graph: &UpdateGraph, candidate: &mut Candidate) {
    let Ok(policy) = &mut candidate.policy else { return };
    if let Some(expected) = graph.mistakes.get(&candidate.name) {
        let written: Vec<String> = policy.after.iter().map(ToString::to_string).collect();
        let mistake = Mistake::new(AFTER, &written.join(","), expected.clone());
        candidate.policy = Err(LabelMistakes { list: vec![mistake] });
    } else if let Some(after) = graph.after.get(&candidate.name) {
        Arc::make_mut(policy).after.clone_from(after);
    }
}

/// Why a service gets no update in this cycle that its successors should wait for.
#[derive(Clone, Debug)]
struct Block {
    /// In words that follow the service's name.
    words: String,
    /// A gate holds it: only who waits strictly waits for that.
    is_gate: bool,
    until: Option<Timestamp>,
}

/// Holds the updates that come after a service which gets none in this cycle, though it should.
pub(super) fn hold(mut planned: Vec<Planned>) -> Vec<Planned> {
    let mut followers: BTreeMap<String, Vec<(usize, bool)>> = BTreeMap::new();
    for (number, planned) in planned.iter().enumerate() {
        for predecessor in planned.details.policy.iter().flat_map(|policy| &policy.after) {
            let strict = predecessor.is_strict;
            followers.entry(predecessor.name.clone()).or_default().push((number, strict));
        }
    }
    if followers.is_empty() {
        return planned;
    }
    let mut open: Vec<(String, Block)> = planned
        .iter()
        .filter_map(|planned| Some((planned.service.clone(), block(&planned.decision)?)))
        .collect();
    while let Some((name, block)) = open.pop() {
        for (number, is_strict) in followers.get(&name).into_iter().flatten() {
            if block.is_gate && !is_strict {
                continue;
            }
            let follower = &mut planned[*number];
            let Decision::Update(update) = &follower.decision else { continue };
            if update.begun.is_some() {
                continue;
            }
            let why = format!("it comes after {name}, {}", block.words);
            let refusal = Refusal { gate: Gate::Order, why, until: block.until };
            let Some(held) = Held::by(update.to.clone(), vec![refusal]) else { continue };
            follower.decision = Decision::LeftAlone(Reason::Held(Box::new(held)));
            let block = Block { words: "which is held back".to_owned(), ..block.clone() };
            open.push((follower.service.clone(), block));
        }
    }
    planned
}

/// Whether a decision leaves a service without an update that it should have.
fn block(decision: &Decision) -> Option<Block> {
    let block = |words: &str| Block { words: words.to_owned(), is_gate: false, until: None };
    match decision {
        Decision::LeftAlone(Reason::HeldBack(held)) if held.why != Why::LeftByHand => {
            Some(block("whose newest image is in quarantine"))
        }
        Decision::LeftAlone(Reason::Held(held)) => {
            Some(Block { words: format!("which is held: {held}"), is_gate: true, until: held.first.until })
        }
        Decision::Later(..) => Some(block("which is postponed")),
        _ => None,
    }
}
