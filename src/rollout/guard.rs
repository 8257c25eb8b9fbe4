//! Whether new updates may begin, as far as the cluster is concerned. Pure.
//!
//! ```text
//!             a look shows a reason not to
//!   open  ------------------------------------>  shut  --- shut for longer than the patience -->  given up
//!         <------------------------------------
//!             a look shows none any more
//! ```
//!
//! Only the beginning of updates is guarded: what runs is watched on. While it is shut, each reason is told once, and
//! its end once.
//!
//! A cluster is compared with itself during the rollout. A node that is down at the first look is no reason, until the
//! swarm has heard from it. After a change of leader the nodes are unknown for a while: neither ready nor down. An unknown
//! node is no reason either. It was not down before, as nodes that are down stay down, so it is one when it goes down.
//! That the managers can lose no further vote is one at any time, where there are enough of them for a spare vote
//! (three and more): the next loss would end all control.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::swarm::{Nodes, Task, TaskState};

/// An answer counts as slow at so many times the usual time, and not any more at half of that ...
const SLOW_FACTOR: u32 = 8;

/// ... but never below this: from one millisecond to ten is nothing to wait for.
const SLOW_FLOOR: Duration = Duration::from_secs(1);

/// The usual time is the shortest of the first looks, and the present one the middle one of the last: a single slow
/// answer shuts nothing.
const SAMPLES: usize = 3;

/// The result of one look at the cluster.
#[derive(Clone, Debug)]
pub enum ClusterSight {
    /// It answered.
    Answer {
        /// All nodes.
        nodes: Nodes,
        /// How long the answer took; nothing where the nodes are those of an earlier look.
        took: Option<Duration>,
        /// The node on which most tasks are starting; not looked for where there is no limit.
        busiest: Option<Busiest>,
    },
    /// It did not.
    Silence {
        /// What was said instead.
        words: String,
    },
}

/// The node on which most tasks are starting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Busiest {
    /// Its name.
    pub node: String,
    /// How many, those included that have no node yet and may come to this one.
    pub starting: usize,
}

/// Why no update begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shut {
    /// The engine does not answer, or says that it cannot.
    Silence {
        /// In these words.
        words: String,
    },
    /// The managers have no leader.
    NoLeader,
    /// The next manager that goes takes the control of the swarm along.
    NoSpareVote {
        /// Managers that the leader reaches.
        reachable: usize,
        /// All managers.
        managers: usize,
    },
    /// The swarm does not hear from a node that it heard from before.
    NodeDown {
        /// Its name.
        node: String,
    },
    /// The engine takes far longer to answer than it did.
    Slow {
        /// What it took before.
        usual: Duration,
        /// What it takes now.
        now: Duration,
    },
    /// As many tasks as may be are starting on one node.
    Busy {
        /// Which node, and how many.
        busiest: Busiest,
        /// How many may be.
        limit: usize,
    },
}

impl Shut {
    /// One word for it, as metrics have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Silence { .. } | Self::Slow { .. } => "engine",
            Self::NoLeader | Self::NoSpareVote { .. } => "quorum",
            Self::NodeDown { .. } => "node",
            Self::Busy { .. } => "starting",
        }
    }
}

/// A change that a look has brought: updates pause, or begin again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardNews {
    /// No update begins any more, or there is one more reason for that.
    Paused {
        /// Why.
        why: Shut,
        /// Whether pauses for this reason are usual, and this rollout has told of one before.
        is_routine: bool,
    },
    /// Updates begin again.
    Resumed {
        /// What was first in the way.
        was: Shut,
        /// For how long.
        after: Duration,
        /// As above.
        is_routine: bool,
    },
}

/// The guard.
#[derive(Debug)]
pub struct Guard {
    /// How many tasks may be starting on one node; `None`: no limit.
    limit: Option<usize>,
    /// How long it may stay shut.
    patience: Duration,
    /// The nodes that were not down at one look or another: names by id.
    nodes_seen: BTreeMap<String, String>,
    usual: Option<Duration>,
    looks: usize,
    recent: VecDeque<Duration>,
    busiest: Busiest,
    shut: Option<Pause>,
    was_busy: bool,
}

/// A time in which no update begins.
#[derive(Debug)]
struct Pause {
    since: Instant,
    /// The reasons that were told, the first one first.
    told: Vec<Shut>,
    is_routine: bool,
}

impl Guard {
    /// A guard that has seen nothing: it is open.
    pub fn new(limit: Option<usize>, patience: Duration) -> Self {
        Self {
            limit,
            patience,
            nodes_seen: BTreeMap::new(),
            usual: None,
            looks: 0,
            recent: VecDeque::with_capacity(SAMPLES),
            busiest: Busiest::default(),
            shut: None,
            was_busy: false,
        }
    }

    /// Takes a look. What is returned is to be told.
    pub fn look(&mut self, sight: &ClusterSight, now: Instant) -> Vec<GuardNews> {
        let reasons = self.reasons(sight);
        if reasons.is_empty() {
            let resumed = self.shut.take().and_then(|pause| {
                let was = pause.told.into_iter().next()?;
                let after = now.duration_since(pause.since);
                Some(GuardNews::Resumed { was, after, is_routine: pause.is_routine })
            });
            return resumed.into_iter().collect();
        }
        let was_busy = self.was_busy;
        let pause = self.shut.get_or_insert_with(|| Pause { since: now, told: Vec::new(), is_routine: true });
        let mut news = Vec::new();
        for why in reasons {
            if pause.told.iter().any(|told| told.is_same_as(&why)) {
                continue;
            }
            let is_busy = matches!(why, Shut::Busy { .. });
            let is_routine = is_busy && was_busy;
            self.was_busy |= is_busy;
            pause.is_routine &= is_routine;
            pause.told.push(why.clone());
            news.push(GuardNews::Paused { why, is_routine });
        }
        news
    }

    /// Whether an update may begin while so many that have begun have not been seen to start their tasks: these may
    /// all come to one node.
    pub fn may_begin(&self, unseen: usize) -> bool {
        self.shut.is_none() && self.limit.is_none_or(|limit| self.busiest.starting + unseen < limit)
    }

    /// Why the guard has been shut for longer than the patience, if it has.
    pub fn given_up(&self, now: Instant) -> Option<&Shut> {
        let pause = self.shut.as_ref()?;
        (now.duration_since(pause.since) >= self.patience).then(|| pause.told.first())?
    }

    /// The reasons not to begin anything, the gravest first.
    fn reasons(&mut self, sight: &ClusterSight) -> Vec<Shut> {
        let (nodes, took, busiest) = match sight {
            ClusterSight::Answer { nodes, took, busiest } => (nodes, *took, busiest),
            ClusterSight::Silence { words } => return vec![Shut::Silence { words: words.clone() }],
        };
        let present = nodes.iter().filter(|node| !node.is_down);
        self.nodes_seen.extend(present.map(|node| (node.id.clone(), node.name.clone())));
        let mut reasons = Vec::new();
        reasons.extend(lost_votes(nodes));
        // A node that is not listed was removed from the swarm.
        let lost: BTreeSet<&str> = nodes.lost().map(|node| node.id.as_str()).collect();
        let down = self.nodes_seen.iter().filter(|(id, _)| lost.contains(id.as_str()));
        reasons.extend(down.map(|(_, name)| Shut::NodeDown { node: name.clone() }));
        reasons.extend(self.slowness(took));
        self.busiest = busiest.clone().unwrap_or_default();
        if let Some(limit) = self.limit.filter(|limit| self.busiest.starting >= *limit) {
            reasons.push(Shut::Busy { busiest: self.busiest.clone(), limit });
        }
        reasons
    }

    fn slowness(&mut self, took: Option<Duration>) -> Option<Shut> {
        if let Some(took) = took {
            if self.looks < SAMPLES {
                self.looks += 1;
                self.usual = Some(self.usual.map_or(took, |usual| usual.min(took)));
            }
            if self.recent.len() == SAMPLES {
                self.recent.pop_front();
            }
            self.recent.push_back(took);
        }
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let (now, usual) = (*sorted.get(sorted.len().saturating_sub(1) / 2)?, self.usual?);
        let is_slow = |pause: &Pause| pause.told.iter().any(|told| matches!(told, Shut::Slow { .. }));
        let limit = (usual * SLOW_FACTOR).max(SLOW_FLOOR);
        let limit = if self.shut.as_ref().is_some_and(is_slow) { limit / 2 } else { limit };
        (self.recent.len() == SAMPLES && now >= limit).then_some(Shut::Slow { usual, now })
    }
}

fn lost_votes(nodes: &Nodes) -> Option<Shut> {
    let votes: Vec<_> = nodes.iter().filter_map(|node| node.manager).collect();
    let (managers, reachable) = (votes.len(), votes.iter().filter(|vote| vote.is_reachable).count());
    let quorum = managers / 2 + 1;
    if managers > 0 && !votes.iter().any(|vote| vote.is_leader) {
        return Some(Shut::NoLeader);
    }
    // With one or two managers there never was a spare vote.
    (managers > quorum && reachable <= quorum).then_some(Shut::NoSpareVote { reachable, managers })
}

/// The node on which most of these tasks are starting. One that has no node yet may come to any; one that finds none
/// comes to none.
pub fn busiest(tasks: &[Task], nodes: &Nodes) -> Busiest {
    let mut by_node: BTreeMap<&str, usize> = BTreeMap::new();
    for task in tasks.iter().filter(|task| is_starting(task)) {
        *by_node.entry(task.node_id.as_str()).or_default() += 1;
    }
    let without_node = by_node.remove("").unwrap_or_default();
    let (node, starting) = by_node.into_iter().max_by_key(|(_, starting)| *starting).unwrap_or_default();
    Busiest { node: nodes.name(node).to_owned(), starting: starting + without_node }
}

fn is_starting(task: &Task) -> bool {
    // Prepared and held back: it waits for the task before it, or for its restart delay.
    let is_held = task.state == TaskState::Ready && task.desired == TaskState::Ready;
    let has_no_place = task.node_id.is_empty() && !task.error.is_empty();
    task.is_wanted() && task.state < TaskState::Running && !is_held && !has_no_place
}

impl Shut {
    /// Whether it is the same reason, with figures that may have changed.
    fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NodeDown { node }, Self::NodeDown { node: other }) => node == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for Shut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence { words } if words.contains("not a swarm manager") => {
                f.write_str("the engine is not a manager of the swarm")
            }
            Self::Silence { words } => write!(f, "the engine does not answer ({words})"),
            Self::NoLeader => f.write_str("the managers have no leader"),
            Self::NoSpareVote { reachable, managers } => write!(
                f,
                "{reachable} of {managers} managers are reachable, and the swarm cannot lose another one"
            ),
            Self::NodeDown { node } => write!(f, "{node} is down"),
            Self::Slow { usual, now } => write!(
                f,
                "the engine takes {} ms to answer, {} ms before",
                now.as_millis(),
                usual.as_millis()
            ),
            Self::Busy { busiest, limit } if busiest.node.is_empty() => {
                write!(f, "{} tasks are about to start, of at most {limit} on one node", busiest.starting)
            }
            Self::Busy { busiest, limit } => {
                write!(f, "{} tasks are starting on {}, of at most {limit}", busiest.starting, busiest.node)
            }
        }
    }
}

#[cfg(test)]
mod any_sequence;
#[cfg(test)]
mod tests;
