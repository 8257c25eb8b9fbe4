//! The nodes that were down while an update was watched. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::swarm::Nodes;

/// The nodes that were down, or may have been, while an update was watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct DownNodes {
    /// The version of each node at the first look, by node id.
    first: BTreeMap<String, u64>,
    /// The names of nodes that were seen down.
    down: BTreeSet<String>,
    /// The names of nodes whose version has changed since the first look.
    changed: BTreeSet<String>,
    /// Whether the update began before the first look.
    is_late: bool,
}

impl DownNodes {
    /// For an update that began before the first look.
    pub(crate) fn since_later() -> Self {
        Self { is_late: true, ..Self::default() }
    }

    /// Takes a look.
    pub(crate) fn look(&mut self, nodes: &Nodes) {
        self.down.extend(nodes.lost().map(|node| node.name.clone()));
        for node in nodes.iter() {
            match self.first.get(&node.id) {
                Some(version) if *version == node.version => {}
                Some(_) => {
                    self.changed.insert(node.name.clone());
                }
                None => {
                    self.first.insert(node.id.clone(), node.version);
                }
            }
        }
    }

    /// Whether the node was seen down.
    pub(crate) fn was_down(&self, name: &str) -> bool {
        self.down.contains(name)
    }

    /// Whether the engine of the node may have restarted meanwhile: a restart changes the version of the node.
    pub(crate) fn may_have_been_restarted(&self, name: &str) -> bool {
        self.was_down(name) || self.changed.contains(name)
    }

    /// Whether the node may have been down between two looks. Swarm changes the version of a node when the node goes down
    /// and when it is back, but also for a label, for a drain, and for a change of leader.
    pub(crate) fn may_have_been_down(&self, name: &str) -> bool {
        self.is_late || self.may_have_been_restarted(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cause::Cause;
    use crate::swarm::Node;

    fn node(version: u64, is_ready: bool) -> Nodes {
        let (id, name) = ("n1".to_owned(), "node1".to_owned());
        [Node { id, name, version, is_ready, is_down: !is_ready, is_active: true, ..Node::default() }]
            .into_iter()
            .collect()
    }

    fn ended_with(code: i64) -> Cause {
        let error = format!("task: non-zero exit ({code})");
        Cause::TaskFailed { node: "node1".to_owned(), exit_code: Some(code), error }
    }

    fn is_blamed(looks: &[(u64, bool)], code: i64) -> bool {
        let mut down_nodes = DownNodes::default();
        for (version, is_ready) in looks {
            down_nodes.look(&node(*version, *is_ready));
        }
        ended_with(code).with(&down_nodes).blames_image()
    }

    #[test]
    fn what_ends_on_a_node_that_was_down_is_not_the_images_fault() {
        for code in [1, 255] {
            assert!(is_blamed(&[], code));
            assert!(is_blamed(&[(7, true), (7, true)], code));
            assert!(!is_blamed(&[(7, true), (8, false), (9, true)], code));
            assert!(!is_blamed(&[(8, false), (9, true)], code));
        }
    }

    #[test]
    fn a_node_that_was_away_between_two_looks_explains_what_its_engine_found_dead_or_ended_and_nothing_else()
    {
        for (code, may_be_the_engine) in [(255, true), (143, true), (137, true), (1, false), (3, false)] {
            assert_eq!(is_blamed(&[(7, true), (9, true)], code), !may_be_the_engine, "{code}");
            assert!(is_blamed(&[(7, true), (7, true)], code), "{code}: nothing has happened to the node");
        }
        let mut down_nodes = DownNodes::default();
        down_nodes.look(&node(7, true));
        let ended = || Cause::Ended { node: "node1".to_owned() };
        assert!(ended().with(&down_nodes).blames_image());
        down_nodes.look(&node(9, true));
        assert!(!ended().with(&down_nodes).blames_image());
    }

    #[test]
    fn a_node_that_came_back_as_another_one_is_not_down() {
        let node = |id: &str, is_ready: bool| {
            let (id, name) = (id.to_owned(), "node1".to_owned());
            Node { id, name, version: 1, is_ready, is_down: !is_ready, is_active: true, ..Node::default() }
        };
        let mut down_nodes = DownNodes::default();
        for _ in 0..2 {
            down_nodes.look(&[node("former", false), node("present", true)].into_iter().collect());
        }
        assert!(
            ended_with(1).with(&down_nodes).blames_image()
                && ended_with(255).with(&down_nodes).blames_image()
        );
    }

    #[test]
    fn a_change_of_leader_explains_no_end_but_that_of_an_engine() {
        let mut down_nodes = DownNodes::default();
        let unknown = node(8, false).iter().map(|node| Node { is_down: false, ..node.clone() }).collect();
        down_nodes.look(&node(7, true));
        down_nodes.look(&unknown);
        assert!(ended_with(1).with(&down_nodes).blames_image());
    }

    #[test]
    fn what_was_before_the_first_look_of_an_earlier_runs_update_is_unknown() {
        let mut down_nodes = DownNodes::since_later();
        down_nodes.look(&node(7, true));
        assert!(
            ended_with(1).with(&down_nodes).blames_image()
                && !ended_with(255).with(&down_nodes).blames_image()
        );
    }

    #[test]
    fn another_nodes_absence_explains_nothing() {
        let mut down_nodes = DownNodes::default();
        down_nodes.look(&node(8, false));
        let elsewhere =
            Cause::TaskFailed { node: "node2".to_owned(), exit_code: Some(255), error: String::new() };
        assert!(elsewhere.with(&down_nodes).blames_image());
    }
}
