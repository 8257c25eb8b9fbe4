//! What holds whatever the cluster shows.

use proptest::prelude::*;

use super::*;
use crate::swarm::{ManagerStatus, Node};

/// What the swarm hears from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Ready,
    Unknown,
    Down,
}

/// A cluster of managers and workers, with what may be wrong with it.
#[derive(Clone, Debug)]
struct Shown {
    /// For each node, whether it is there, what the swarm hears from it, and whether its vote counts.
    nodes: Vec<(bool, Heard, bool)>,
    has_leader: bool,
    millis: u64,
    starting: usize,
    is_silent: bool,
}

fn shown(managers: usize) -> impl Strategy<Value = Shown> {
    let odds = |percent: f64| prop::bool::weighted(percent);
    let heard = prop_oneof![6 => Just(Heard::Ready), 2 => Just(Heard::Unknown), 2 => Just(Heard::Down)];
    let node = (odds(0.95), heard, odds(0.8));
    let nodes = prop::collection::vec(node, managers + 2);
    let millis = prop_oneof![4 => 0..50_u64, 1 => 0..20_000_u64];
    (nodes, odds(0.9), millis, 0..6_usize, odds(0.1)).prop_map(
        |(nodes, has_leader, millis, starting, is_silent)| Shown {
            nodes,
            has_leader,
            millis,
            starting,
            is_silent,
        },
    )
}

impl Shown {
    fn nodes(&self, managers: usize) -> Nodes {
        let there = self.nodes.iter().enumerate().filter(|(_, (is_there, ..))| *is_there);
        let node = |(number, (_, heard, is_reachable)): (usize, &(bool, Heard, bool))| Node {
            id: format!("n{number}"),
            name: format!("node{number}"),
            version: 1,
            is_ready: *heard == Heard::Ready,
            is_down: *heard == Heard::Down,
            is_active: true,
            manager: (number < managers).then_some(ManagerStatus {
                is_leader: number == 0 && self.has_leader,
                is_reachable: *is_reachable,
            }),
            ..Node::default()
        };
        there.map(node).collect()
    }

    fn sight(&self, managers: usize) -> ClusterSight {
        if self.is_silent {
            return ClusterSight::Silence { words: "refused".to_owned() };
        }
        let busiest = Busiest { node: "node1".to_owned(), starting: self.starting };
        let took = Some(Duration::from_millis(self.millis));
        ClusterSight::Answer { nodes: self.nodes(managers), took, busiest: Some(busiest) }
    }
}

fn scenes() -> impl Strategy<Value = (usize, Option<usize>, Vec<Shown>)> {
    (1..6_usize, prop::option::of(1..4_usize)).prop_flat_map(|(managers, limit)| {
        (Just(managers), Just(limit), prop::collection::vec(shown(managers), 1..40))
    })
}

proptest! {
    #[test]
    fn it_is_shut_while_there_is_a_reason_and_says_each_once((managers, limit, looks) in scenes()) {
        let mut now = Instant::now();
        let mut guard = Guard::new(limit, Duration::from_secs(60));
        let (mut nodes_seen, mut told, mut since): (Vec<String>, Vec<Shut>, _) = (Vec::new(), Vec::new(), now);
        for look in looks {
            now += Duration::from_secs(2);
            let was_shut = !guard.may_begin(0);
            let news = guard.look(&look.sight(managers), now);
            let is_shut = guard.shut.is_some();

            // What must shut it does.
            let nodes = look.nodes(managers);
            if look.is_silent {
                prop_assert!(is_shut);
            } else {
                nodes_seen.extend(nodes.iter().filter(|node| !node.is_down).map(|node| node.id.clone()));
                let is_down = nodes.iter().any(|node| node.is_down && nodes_seen.contains(&node.id));
                let votes: Vec<_> = nodes.iter().filter_map(|node| node.manager).collect();
                let alive = votes.iter().filter(|vote| vote.is_reachable).count();
                let is_headless = !votes.is_empty() && !votes.iter().any(|vote| vote.is_leader);
                let is_last_vote = votes.len() >= 3 && alive <= votes.len() / 2 + 1;
                let is_busy = limit.is_some_and(|limit| look.starting >= limit);
                prop_assert!(is_shut || !(is_down || is_headless || is_last_vote || is_busy), "{look:?}");
                // And what is fast and whole opens it, unless it was slow a moment ago.
                let is_slow = guard.shut.as_ref().is_some_and(|pause| {
                    pause.told.iter().any(|told| matches!(told, Shut::Slow { .. }))
                });
                prop_assert!(!is_shut || is_slow || is_down || is_headless || is_last_vote || is_busy, "{look:?}");
                if let Some(limit) = limit {
                    prop_assert!(!guard.may_begin(limit.saturating_sub(look.starting)));
                }
            }

            // Every pause has a reason that is told, no reason is told twice, and its end is told once.
            for one in news {
                match one {
                    GuardNews::Paused { why, .. } => {
                        prop_assert!(is_shut && !told.iter().any(|other| other.is_same_as(&why)));
                        if told.is_empty() {
                            since = now;
                        }
                        told.push(why);
                    }
                    GuardNews::Resumed { was, after, .. } => {
                        prop_assert!(!is_shut && was_shut);
                        prop_assert_eq!((&was, after), (&told[0], now.duration_since(since)));
                        told.clear();
                    }
                }
            }
            prop_assert_eq!(is_shut, !told.is_empty());
            prop_assert_eq!(guard.given_up(now).is_some(), is_shut && now.duration_since(since) >= guard.patience);
        }
    }

    #[test]
    fn a_cluster_that_stays_as_it_was_never_shuts_it(
        managers in prop_oneof![Just(1_usize), Just(2), Just(3), Just(5)], look in shown(1), count in 1..20_usize
    ) {
        let nodes: Vec<(bool, Heard, bool)> =
            (0..managers + 2).map(|n| (true, look.nodes[n.min(2)].1, true)).collect();
        let look = Shown { nodes, has_leader: true, is_silent: false, ..look };
        let mut guard = Guard::new(None, Duration::from_secs(60));
        for _ in 0..count {
            prop_assert!(guard.look(&look.sight(managers), Instant::now()).is_empty());
            prop_assert!(guard.may_begin(1_000_000));
        }
    }
}
