use super::*;
use crate::rollout::samples;
use crate::swarm::{ManagerStatus, Node};

const PATIENCE: Duration = Duration::from_secs(300);

fn node(number: usize, is_ready: bool, manager: Option<(bool, bool)>) -> Node {
    Node {
        id: format!("n{number}"),
        name: format!("node{number}"),
        version: 1,
        is_ready,
        is_down: !is_ready,
        is_active: true,
        manager: manager.map(|(is_leader, is_reachable)| ManagerStatus { is_leader, is_reachable }),
        ..Node::default()
    }
}

/// So many managers, all ready, of which the last `away` cannot be reached.
fn managers(count: usize, away: usize) -> Nodes {
    (1..=count).map(|number| node(number, true, Some((number == 1, number <= count - away)))).collect()
}

fn sight(nodes: &Nodes, millis: u64) -> ClusterSight {
    ClusterSight::Answer { nodes: nodes.clone(), took: Some(Duration::from_millis(millis)), busiest: None }
}

fn busy(starting: usize) -> ClusterSight {
    let busiest = Busiest { node: "node2".to_owned(), starting };
    ClusterSight::Answer { nodes: samples::nodes(), took: Some(Duration::ZERO), busiest: Some(busiest) }
}

/// What it says, in words.
fn told(news: Vec<GuardNews>) -> Vec<String> {
    let words = |news| match news {
        GuardNews::Paused { why, is_routine } => {
            format!("paused{}: {why}", if is_routine { "*" } else { "" })
        }
        GuardNews::Resumed { was, after, is_routine } => {
            format!("resumed{} after {}: {was}", if is_routine { "*" } else { "" }, after.as_secs())
        }
    };
    news.into_iter().map(words).collect()
}

#[test]
fn a_node_that_goes_down_shuts_it_and_one_that_was_down_before_does_not() {
    let now = Instant::now();
    let mut guard = Guard::new(None, PATIENCE);
    let two = samples::nodes_without(3, &["n3"]);
    assert!(guard.look(&sight(&two, 1), now).is_empty() && guard.may_begin(0));
    let one = samples::nodes_without(3, &["n2", "n3"]);
    assert_eq!(told(guard.look(&sight(&one, 1), now)), ["paused: node2 is down"]);
    assert!(guard.look(&sight(&one, 1), now).is_empty() && !guard.may_begin(0));
    let then = now + Duration::from_secs(7);
    assert_eq!(told(guard.look(&sight(&samples::nodes(), 1), then)), ["resumed after 7: node2 is down"]);
    assert!(guard.may_begin(0));
    // The swarm has heard from the third one since.
    assert_eq!(told(guard.look(&sight(&two, 1), then)), ["paused: node3 is down"]);
}

/// The same nodes after a change of leader: these are unknown, neither ready nor down.
fn after_election(nodes: &Nodes, unknown: &[&str]) -> Nodes {
    let forget = |node: &Node| {
        let is_unknown = unknown.contains(&node.id.as_str());
        Node { is_ready: node.is_ready && !is_unknown, is_down: node.is_down && !is_unknown, ..node.clone() }
    };
    nodes.iter().map(forget).collect()
}

#[test]
fn an_unknown_node_is_not_down() {
    let now = Instant::now();
    let mut guard = Guard::new(None, PATIENCE);
    assert!(guard.look(&sight(&samples::nodes(), 1), now).is_empty());
    let unknown = after_election(&samples::nodes(), &["n1", "n2", "n3"]);
    assert!(guard.look(&sight(&unknown, 1), now).is_empty() && guard.may_begin(0));
    // The swarm has not heard from the second one in time.
    let one_down = after_election(&samples::nodes_without(3, &["n2"]), &["n3"]);
    assert_eq!(told(guard.look(&sight(&one_down, 1), now)), ["paused: node2 is down"]);
    assert_eq!(guard.look(&sight(&unknown, 1), now).len(), 1, "nothing is down any more");
}

#[test]
fn a_guard_that_begins_after_an_election_sees_later_losses() {
    let now = Instant::now();
    let down_before = samples::nodes_without(3, &["n3"]);
    let blind = after_election(&down_before, &["n1", "n2"]);
    for has_reported in [true, false] {
        let mut guard = Guard::new(None, PATIENCE);
        assert!(guard.look(&sight(&blind, 1), now).is_empty() && guard.may_begin(0));
        if has_reported {
            assert!(guard.look(&sight(&down_before, 1), now).is_empty() && guard.may_begin(0));
        }
        let lost = samples::nodes_without(3, &["n2", "n3"]);
        assert_eq!(told(guard.look(&sight(&lost, 1), now)), ["paused: node2 is down"], "{has_reported}");
    }
}

#[test]
fn a_host_that_joined_again_as_another_node_is_not_down() {
    let now = Instant::now();
    let mut guard = Guard::new(None, PATIENCE);
    assert!(guard.look(&sight(&samples::nodes(), 1), now).is_empty());
    let former = samples::nodes_without(3, &["n3"]);
    for is_ready in [false, true] {
        let again = Node { id: "n4".to_owned(), is_ready, is_down: false, ..node(3, true, None) };
        let both: Nodes = former.iter().cloned().chain([again]).collect();
        assert!(guard.look(&sight(&both, 1), now).is_empty(), "{is_ready}");
    }
}

#[test]
fn a_node_that_was_removed_or_drained_is_not_down() {
    let now = Instant::now();
    let mut guard = Guard::new(None, PATIENCE);
    assert!(guard.look(&sight(&samples::nodes(), 1), now).is_empty());
    assert!(guard.look(&sight(&samples::nodes_without(2, &[]), 1), now).is_empty());
    let drained: Nodes =
        samples::nodes().iter().cloned().map(|node| Node { is_active: false, ..node }).collect();
    assert!(guard.look(&sight(&drained, 1), now).is_empty());
}

#[test]
fn the_last_spare_vote_counts_where_there_is_one_to_lose() {
    for (count, away, shuts) in [
        (1, 0, None),
        (2, 0, None),
        (3, 0, None),
        (3, 1, Some("2 of 3 managers are reachable, and the swarm cannot lose another one")),
        (4, 1, Some("3 of 4 managers are reachable, and the swarm cannot lose another one")),
        (5, 1, None),
        (5, 2, Some("3 of 5 managers are reachable, and the swarm cannot lose another one")),
        (7, 2, None),
    ] {
        let now = Instant::now();
        // Also right at the start: the next loss ends all control, whenever the first one was.
        let mut guard = Guard::new(None, PATIENCE);
        let news = told(guard.look(&sight(&managers(count, away), 1), now));
        assert_eq!(news.first().map(|news| news.trim_start_matches("paused: ")), shuts, "{away} of {count}");
        assert_eq!(guard.may_begin(0), shuts.is_none());
        assert_eq!(guard.look(&sight(&managers(count, 0), 1), now).len(), usize::from(shuts.is_some()));
    }
    let leaderless: Nodes = (1..=3).map(|number| node(number, true, Some((false, true)))).collect();
    let mut guard = Guard::new(None, PATIENCE);
    assert_eq!(
        told(guard.look(&sight(&leaderless, 1), Instant::now())),
        ["paused: the managers have no leader"]
    );
}

#[test]
fn an_engine_that_gets_far_slower_shuts_it_until_it_is_much_faster_again() {
    let (now, nodes) = (Instant::now(), samples::nodes());
    let mut guard = Guard::new(None, PATIENCE);
    let mut look = |millis| (told(guard.look(&sight(&nodes, millis), now)), guard.may_begin(0));
    for millis in [300, 200, 250] {
        assert_eq!(look(millis), (vec![], true));
    }
    // One slow answer is nothing; two of three are.
    assert_eq!(look(9000), (vec![], true));
    assert_eq!(look(200), (vec![], true));
    assert_eq!(look(1700).0, ["paused: the engine takes 1700 ms to answer, 200 ms before"]);
    // Half of that is not fast yet, less is.
    for millis in [900, 900, 900] {
        assert_eq!(look(millis), (vec![], false));
    }
    assert!(look(300).0.is_empty());
    assert_eq!(look(300).0.len(), 1);
    assert_eq!(look(300), (vec![], true));
}

#[test]
fn an_engine_that_was_fast_may_take_up_to_a_second() {
    let (now, nodes) = (Instant::now(), samples::nodes());
    let mut guard = Guard::new(None, PATIENCE);
    for millis in [1, 1, 1, 900, 900, 900, 999] {
        assert!(guard.look(&sight(&nodes, millis), now).is_empty());
    }
    for (millis, count) in [(1000, 0), (1000, 1)] {
        assert_eq!(guard.look(&sight(&nodes, millis), now).len(), count);
    }
}

#[test]
fn an_engine_that_does_not_answer_shuts_it_and_the_first_answer_is_what_is_compared_with() {
    let now = Instant::now();
    let mut guard = Guard::new(None, PATIENCE);
    let silence = ClusterSight::Silence { words: "refused".to_owned() };
    assert_eq!(told(guard.look(&silence, now)), ["paused: the engine does not answer (refused)"]);
    assert!(guard.look(&ClusterSight::Silence { words: "cut".to_owned() }, now).is_empty());
    assert_eq!(guard.look(&sight(&samples::nodes_without(3, &["n1"]), 1), now).len(), 1);
    assert!(guard.may_begin(0));
}

#[test]
fn not_more_tasks_start_on_one_node_than_may() {
    let now = Instant::now();
    let mut guard = Guard::new(Some(3), PATIENCE);
    assert!(guard.look(&busy(1), now).is_empty());
    // Those that have begun and are not seen yet may come to the same node.
    assert!(guard.may_begin(1) && !guard.may_begin(2));
    assert_eq!(told(guard.look(&busy(3), now)), ["paused: 3 tasks are starting on node2, of at most 3"]);
    assert!(!guard.may_begin(0));
    assert_eq!(guard.look(&busy(2), now).len(), 1);
    assert!(guard.may_begin(0));
    // The second time is nothing new.
    assert_eq!(told(guard.look(&busy(4), now)), ["paused*: 4 tasks are starting on node2, of at most 3"]);
    assert_eq!(
        told(guard.look(&busy(0), now)),
        ["resumed* after 0: 4 tasks are starting on node2, of at most 3"]
    );
    assert!(Guard::new(None, PATIENCE).may_begin(1_000));
}

#[test]
fn the_busiest_node_has_its_starting_tasks_and_those_that_may_come() {
    use TaskState::{Failed, Pending, Preparing, Ready, Running, Shutdown, Starting};
    let nodes = samples::nodes();
    let task = |id: &str, node: &str, state, desired| Task {
        node_id: node.to_owned(),
        state,
        desired,
        ..samples::task(id, samples::NEW, 1)
    };
    let mut tasks = vec![
        task("a", "n1", Preparing, Running),
        task("b", "n2", Starting, Running),
        task("c", "n2", Preparing, Ready),
        // None of these starts.
        task("d", "n1", Running, Running),
        task("e", "n1", Failed, Shutdown),
        task("f", "n1", Starting, Shutdown),
        task("g", "n1", Ready, Ready),
        Task { error: "no suitable node".to_owned(), ..task("h", "", Pending, Running) },
    ];
    assert_eq!(busiest(&tasks, &nodes), Busiest { node: "node2".to_owned(), starting: 2 });
    tasks.push(task("i", "", Pending, Running));
    assert_eq!(busiest(&tasks, &nodes).starting, 3);
    assert_eq!(busiest(&[], &nodes).starting, 0);
}

#[test]
fn what_stays_shut_is_given_up_and_told_by_its_first_reason() {
    let now = Instant::now();
    let mut guard = Guard::new(None, PATIENCE);
    guard.look(&sight(&managers(3, 0), 1), now);
    let mut nodes = managers(3, 1);
    let is_up = |node: &Node| node.id != "n3";
    let lose = |node: Node| Node { is_ready: is_up(&node), is_down: !is_up(&node), ..node };
    nodes = nodes.iter().cloned().map(lose).collect();
    let news = told(guard.look(&sight(&nodes, 1), now));
    assert_eq!(news.len(), 2, "{news:?}");
    assert_eq!(guard.given_up(now + PATIENCE - Duration::from_secs(1)), None);
    assert!(matches!(guard.given_up(now + PATIENCE), Some(Shut::NoSpareVote { .. })));
    guard.look(&sight(&managers(3, 0), 1), now + PATIENCE * 2);
    assert_eq!(guard.given_up(now + PATIENCE * 9), None);
}
