//! A breadth-first search through all states of the model.

use std::collections::{HashMap, VecDeque};

use super::scene::Model;
use super::state::{Action, State};
use super::world::Budget;

/// What a search has come to.
#[derive(Debug)]
pub(super) struct Searched {
    pub(super) states: usize,
    pub(super) steps: usize,
    /// The most steps of any shortest way to a state.
    pub(super) depth: usize,
    /// In how many states nothing is left to do.
    pub(super) ends: usize,
    pub(super) broken: Option<Broken>,
}

/// A promise that was broken, with the shortest way there.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) promise: String,
    pub(super) steps: Vec<Action>,
}

/// How a state was found.
struct Node {
    from: usize,
    by: Option<Action>,
    depth: usize,
}

/// Searches all states, or until a promise is broken.
pub(super) fn search(model: &Model, budget: Budget) -> Searched {
    let first = State::first(budget);
    let mut known = HashMap::from([(first.key(), 0)]);
    let mut nodes = vec![Node { from: 0, by: None, depth: 0 }];
    let mut queue = VecDeque::from([(0, first)]);
    // From which states a step leads to a state, without anything more going wrong.
    let mut back: Vec<Vec<usize>> = vec![Vec::new()];
    let mut ends = Vec::new();
    let mut steps = 0;
    let result = |nodes: &[Node], steps, ends, broken| {
        let depth = nodes.last().map_or(0, |node| node.depth);
        Searched { states: nodes.len(), steps, depth, ends, broken }
    };
    while let Some((at, state)) = queue.pop_front() {
        match state.is_done(model) {
            Ok(true) => ends.push(at),
            Ok(false) => {}
            Err(promise) => {
                let broken = Broken { promise, steps: way(&nodes, at, None) };
                return result(&nodes, steps, ends.len(), Some(broken));
            }
        }
        for action in state.actions(model) {
            steps += 1;
            let next = match state.after(model, action) {
                Ok(next) => next,
                Err(promise) => {
                    let broken = Broken { promise, steps: way(&nodes, at, Some(action)) };
                    return result(&nodes, steps, ends.len(), Some(broken));
                }
            };
            let to = *known.entry(next.key()).or_insert_with(|| {
                nodes.push(Node { from: at, by: Some(action), depth: nodes[at].depth + 1 });
                back.push(Vec::new());
                queue.push_back((nodes.len() - 1, next));
                nodes.len() - 1
            });
            if !action.is_trouble() && to != at {
                back[to].push(at);
            }
        }
    }
    let stuck = never_ends(&back, &ends).map(|at| Broken {
        promise: "from here on, the work never comes to its end".to_owned(),
        steps: way(&nodes, at, None),
    });
    result(&nodes, steps, ends.len(), stuck)
}

/// The steps to a state, and one more.
fn way(nodes: &[Node], to: usize, last: Option<Action>) -> Vec<Action> {
    let before = |at: &usize| (*at != 0).then(|| nodes[*at].from);
    let mut steps: Vec<Action> =
        std::iter::successors(Some(to), before).filter_map(|at| nodes[at].by).collect();
    steps.reverse();
    steps.extend(last);
    steps
}

/// The first state from which no end can be reached.
fn never_ends(back: &[Vec<usize>], ends: &[usize]) -> Option<usize> {
    let mut reaches = vec![false; back.len()];
    let mut left = ends.to_vec();
    while let Some(at) = left.pop() {
        if !std::mem::replace(&mut reaches[at], true) {
            left.extend(&back[at]);
        }
    }
    reaches.iter().position(|reaches| !reaches)
}
