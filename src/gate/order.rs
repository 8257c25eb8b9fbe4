//! Which services come first: the graph of `gantry.update.after`. Pure.
//!
//! Nothing here recurses: a graph may have as many services as the swarm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Why a list of predecessors cannot be read.
pub const AFTER_EXPECTED: &str = "names of services, separated by commas or white space, each with ! before it where it is waited for also while a gate \
     holds it";

/// More predecessors than any service needs.
const MOST: usize = 100;

/// So many members of a circle are named.
const MOST_TOLD: usize = 12;

/// A service that comes before another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Its name: as it is written, or in full where it is [found](UpdateGraph).
    pub name: String,
    /// Whether it is waited for also while a gate holds it.
    pub is_strict: bool,
}

impl fmt::Display for Predecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_strict { "!" } else { "" }, self.name)
    }
}

/// The services that come before another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateAfter(pub Vec<Predecessor>);

impl UpdateAfter {
    /// Reads `db, !queue`. `None`: it cannot be read.
    pub fn read(text: &str) -> Option<Self> {
        let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        let read = |word: &str| {
            let name = word.strip_prefix('!').unwrap_or(word);
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let is_name = !name.is_empty() && name.chars().all(is_plain);
            is_name.then(|| Predecessor { name: name.to_owned(), is_strict: word != name })
        };
        let all: Option<Vec<Predecessor>> = words.take(MOST + 1).map(read).collect();
        all.filter(|all| all.len() <= MOST).map(Self)
    }
}

/// A service as its order is worked out.
#[derive(Clone, Debug)]
pub struct OrderedService<'a> {
    /// Its full name.
    pub name: &'a str,
    /// The stack that it belongs to.
    pub stack: Option<&'a str>,
    /// What comes before it, as its label says.
    pub after: UpdateAfter,
}

/// Which services come before which, by full names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateGraph {
    /// What comes before a service; services without predecessors are left out.
    pub after: BTreeMap<String, Vec<Predecessor>>,
    /// What is wrong with a service's predecessors, in words that follow "expected".
    pub mistakes: BTreeMap<String, String>,
}

impl UpdateGraph {
    /// Works out the order of all services.
    pub fn of(services: &[OrderedService<'_>]) -> Self {
        let index: BTreeMap<&str, usize> =
            services.iter().enumerate().map(|(index, service)| (service.name, index)).collect();
        let mut graph = Self::default();
        let mut edges: Vec<Vec<usize>> = vec![Vec::new(); services.len()];
        for (number, service) in services.iter().enumerate() {
            let mut found = Vec::new();
            for predecessor in &service.after.0 {
                let short = service.stack.map(|stack| format!("{stack}_{}", predecessor.name));
                let place = short.as_deref().and_then(|name| index.get(name));
                let Some(place) = place.or_else(|| index.get(predecessor.name.as_str())) else {
                    let words = format!(
                        "names of services that Gantry looks at; there is no service {}",
                        predecessor.name
                    );
                    graph.mistakes.entry(service.name.to_owned()).or_insert(words);
                    continue;
                };
                edges[number].push(*place);
                let name = services[*place].name.to_owned();
                found.push(Predecessor { name, is_strict: predecessor.is_strict });
            }
            if !found.is_empty() {
                graph.after.insert(service.name.to_owned(), found);
            }
        }
        for circle in circles(&edges) {
            let names: Vec<&str> = circle.iter().map(|place| services[*place].name).collect();
            let told = names[..names.len().min(MOST_TOLD)].join(" -> ");
            let more = names.len().saturating_sub(MOST_TOLD);
            let more = if more > 0 { format!(" -> ({more} more)") } else { String::new() };
            let words = format!("no circle; these wait for one another: {told}{more} -> {}", names[0]);
            for name in names {
                graph.mistakes.insert(name.to_owned(), words.clone());
            }
        }
        graph
    }
}

/// The circles of a graph, whose edges lead from a service to those before it: each as a way around, and then the services
/// that are in the same knot and not on that way.
fn circles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let is_own = |place: usize| edges[place].contains(&place);
    knots(edges)
        .into_iter()
        .filter(|knot| knot.len() > 1 || is_own(knot[0]))
        .map(|knot| way_around(edges, &knot))
        .collect()
}

/// The strongly connected parts of a graph, by Tarjan's algorithm with a stack of its own.
fn knots(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut state = Tarjan {
        number: vec![None; edges.len()],
        low: vec![0; edges.len()],
        is_open: vec![false; edges.len()],
        open: Vec::new(),
        next: 0,
    };
    let mut knots = Vec::new();
    for root in 0..edges.len() {
        if state.number[root].is_some() {
            continue;
        }
        // Each place of the way down, with the number of its edges that were followed.
        let mut way: Vec<(usize, usize)> = vec![(root, 0)];
        state.enter(root);
        while let Some((place, followed)) = way.last_mut() {
            let place = *place;
            if let Some(to) = edges[place].get(*followed).copied() {
                *followed += 1;
                match state.number[to] {
                    None => {
                        state.enter(to);
                        way.push((to, 0));
                    }
                    Some(number) if state.is_open[to] => state.low[place] = state.low[place].min(number),
                    Some(_) => {}
                }
                continue;
            }
            way.pop();
            if let Some((above, _)) = way.last() {
                state.low[*above] = state.low[*above].min(state.low[place]);
            }
            if state.number[place] == Some(state.low[place]) {
                knots.push(state.leave(place));
            }
        }
    }
    knots
}

/// What Tarjan's algorithm remembers.
struct Tarjan {
    number: Vec<Option<usize>>,
    low: Vec<usize>,
    is_open: Vec<bool>,
    open: Vec<usize>,
    next: usize,
}

impl Tarjan {
    fn enter(&mut self, place: usize) {
        self.number[place] = Some(self.next);
        self.low[place] = self.next;
        self.next += 1;
        self.is_open[place] = true;
        self.open.push(place);
    }

    /// Takes the knot of which this place is the first.
    fn leave(&mut self, first: usize) -> Vec<usize> {
        let mut knot = Vec::new();
        while let Some(place) = self.open.pop() {
            self.is_open[place] = false;
            knot.push(place);
            if place == first {
                break;
            }
        }
        knot.sort_unstable();
        knot
    }
}

/// A knot in the order of a way around through it, from its first place; then what is not on that way.
fn way_around(edges: &[Vec<usize>], knot: &[usize]) -> Vec<usize> {
    let within = |place: &usize| knot.binary_search(place).is_ok();
    let mut way = vec![knot[0]];
    let mut places = BTreeMap::from([(knot[0], 0)]);
    while let Some(next) = way.last().and_then(|last| edges[*last].iter().find(|to| within(to))) {
        if let Some(at) = places.get(next) {
            way.drain(..at);
            break;
        }
        places.insert(*next, way.len());
        way.push(*next);
    }
    let places: BTreeSet<usize> = way.iter().copied().collect();
    let first = way.iter().enumerate().min_by_key(|(_, place)| **place).map_or(0, |(at, _)| at);
    way.rotate_left(first);
    let rest: Vec<usize> = knot.iter().filter(|place| !places.contains(place)).copied().collect();
    way.extend(rest);
    way
}

#[cfg(test)]
mod tests;
