//! What becomes of nodes that go away and come back, and of their tasks. Verdicts rest on it: whether a task ended for
//! its image's or for its node's sake.

use gantry::swarm::{Node, Swarm, Task, TaskState};
use tokio::time::{Instant, sleep};

use super::{Kind, LOOK_INTERVAL, PATIENCE, Stage, Subject, plain, rules};
use crate::fake::secs;

rules! { apart:
    a_lost_nodes_task_says_for_ever_that_it_runs_and_is_started_elsewhere,
    what_ran_when_the_power_failed_is_found_dead_with_exit_code_255,
    a_global_service_has_no_task_for_a_node_that_is_away_and_one_again_when_it_is_back,
    a_drained_node_hands_its_tasks_over_and_keeps_none,
    after_a_change_of_leader_a_node_is_unknown_and_keeps_its_tasks,
    a_node_that_is_down_stays_down_over_a_change_of_leader,
    a_paused_node_keeps_its_tasks_and_is_left_out_of_a_global_update,
}

const LOST: &str = "node3";

async fn node<S: Stage>(stage: &S) -> Node {
    let nodes = stage.swarm().nodes().await.unwrap();
    nodes.into_iter().find(|node| node.name == LOST).unwrap()
}

/// Waits until the node is so.
async fn until<S: Stage>(stage: &S, what: &str, is_so: impl Fn(&Node) -> bool) -> Node {
    let began = Instant::now();
    loop {
        let node = node(stage).await;
        if is_so(&node) {
            return node;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; {node:?}");
        sleep(LOOK_INTERVAL).await;
    }
}

/// The tasks on the node, oldest first.
async fn there<S: Stage>(web: &Subject<'_, S>, node: &Node) -> Vec<Task> {
    web.tasks().await.into_iter().filter(|task| task.node_id == node.id).collect()
}

/// What the swarm counts: how many run, of how many.
async fn counted<S: Stage>(web: &Subject<'_, S>) -> (u64, u64) {
    let status = web.listed().await.status.unwrap();
    (status.running, status.desired)
}

async fn a_lost_nodes_task_says_for_ever_that_it_runs_and_is_started_elsewhere<S: Stage>(stage: &S) {
    let before = node(stage).await;
    assert!(before.is_ready && !before.is_down && before.is_active, "{before:?}");
    let web = Subject::running(stage, plain(stage, "web").replicas(3)).await;
    let [task] = &there(&web, &before).await[..] else { panic!("{:#?}", web.tasks().await) };

    stage.lose(LOST);
    let lost = until(stage, "it is missed", |node| node.is_down).await;
    assert!(!lost.is_ready && lost.is_active && lost.version > before.version, "{before:?} {lost:?}");
    web.until("three tasks elsewhere", async |web| {
        let tasks = web.tasks().await;
        let runs = |task: &&Task| {
            task.node_id != before.id
                && (task.desired, task.state) == (TaskState::Running, TaskState::Running)
        };
        tasks.iter().filter(runs).count() == 3
    })
    .await;
    // Nobody hears from it, so it still says what it said last.
    let is_left = async |web: &Subject<'_, S>| {
        let found = there(web, &before).await;
        let [left] = &found[..] else { return false };
        (&left.id, left.state, left.desired) == (&task.id, TaskState::Running, TaskState::Shutdown)
    };
    web.stays(secs(3), "it says that it runs", is_left).await;
    // And is counted.
    assert_eq!(counted(&web).await, (4, 3));

    stage.restore(LOST);
    let back = until(stage, "it is back", |node| node.is_ready).await;
    assert!(!back.is_down && back.version > lost.version, "{lost:?} {back:?}");
    web.until("its task has ended", async |web| there(web, &before).await[0].state > TaskState::Running)
        .await;
    // Told to end or not: the engine found it dead.
    let dead = there(&web, &before).await.remove(0);
    assert_eq!((dead.state, dead.exit_code), (TaskState::Failed, Some(255)), "{dead:#?}");
    assert_eq!(counted(&web).await, (3, 3));
}

async fn what_ran_when_the_power_failed_is_found_dead_with_exit_code_255<S: Stage>(stage: &S) {
    let before = node(stage).await;
    let web = plain(stage, "web").constraint("node.hostname==node3").restart_delay(secs(1));
    let web = Subject::running(stage, web).await;

    // Before the swarm has missed it.
    stage.lose(LOST);
    stage.restore(LOST);
    web.until("it has ended, and runs again", async |web| {
        let tasks = web.tasks().await;
        tasks.len() == 2 && tasks[1].state == TaskState::Running
    })
    .await;
    let after = until(stage, "it is ready", |node| node.is_ready).await;
    let dead = web.tasks().await.remove(0);
    assert_eq!(
        (dead.state, dead.desired, dead.exit_code),
        (TaskState::Failed, TaskState::Shutdown, Some(255))
    );
    assert_eq!((dead.error.as_str(), dead.message.as_str()), ("task: non-zero exit (255)", "started"));
    assert!(after.version > before.version, "{before:?} {after:?}");
}

async fn a_global_service_has_no_task_for_a_node_that_is_away_and_one_again_when_it_is_back<S: Stage>(
    stage: &S,
) {
    let before = node(stage).await;
    let web = Subject::running(stage, plain(stage, "web").global()).await;
    web.until("a task on each node", async |web| counted(web).await == (3, 3)).await;
    stage.lose(LOST);
    until(stage, "it is missed", |node| node.is_down).await;
    web.until("its task is not wanted", async |web| {
        there(web, &before).await[0].desired == TaskState::Shutdown
    })
    .await;
    // The lost one says that it runs, and it is not to.
    assert_eq!(counted(&web).await, (3, 2));
    web.send(Kind::Good(2)).await;
    web.history(gantry::swarm::UpdateState::Completed).await;
    assert_eq!(there(&web, &before).await.len(), 1);
    assert_eq!(counted(&web).await, (3, 2));

    stage.restore(LOST);
    web.until("a new task there", async |web| {
        let tasks = there(web, &before).await;
        tasks.len() == 2 && tasks[1].state == TaskState::Running
    })
    .await;
    web.until("all are counted", async |web| counted(web).await == (3, 3)).await;
    let tasks = there(&web, &before).await;
    assert_eq!((tasks[0].exit_code, &tasks[1].image), (Some(255), &stage.image(Kind::Good(2))));
}

async fn a_drained_node_hands_its_tasks_over_and_keeps_none<S: Stage>(stage: &S) {
    let before = node(stage).await;
    let web = Subject::running(stage, plain(stage, "web").replicas(3)).await;
    let all = Subject::running(stage, plain(stage, "all").global()).await;
    all.until("a task on each node", async |all| counted(all).await == (3, 3)).await;

    stage.drain(LOST, true);
    let drained = until(stage, "it is drained", |node| !node.is_active).await;
    assert!(
        drained.is_ready && !drained.is_down && drained.version > before.version,
        "{before:?} {drained:?}"
    );
    for (service, count) in [(&web, 3), (&all, 2)] {
        service
            .until("no task there", async |service| {
                let tasks = there(service, &before).await;
                tasks.iter().all(|task| task.state == TaskState::Shutdown)
                    && counted(service).await == (count, count)
            })
            .await;
        let tasks = there(service, &before).await;
        assert_eq!((tasks.len(), tasks[0].desired), (1, TaskState::Shutdown));
    }

    stage.drain(LOST, false);
    let back = until(stage, "it takes tasks", |node| node.is_active).await;
    assert!(back.version > drained.version, "{drained:?} {back:?}");
    all.until("a task on each node", async |all| counted(all).await == (3, 3)).await;
    // What was handed over stays where it is.
    web.stays(secs(2), "none comes back", async |web| there(web, &before).await.len() == 1).await;
}

async fn after_a_change_of_leader_a_node_is_unknown_and_keeps_its_tasks<S: Stage>(stage: &S) {
    let before = node(stage).await;
    let there_only = |name| plain(stage, name).constraint("node.hostname==node3");
    let web = Subject::running(stage, there_only("web")).await;
    let all = plain(stage, "all").global().constraint("node.hostname!=node1");
    let all = Subject::running(stage, all).await;
    all.until("a task on each node", async |all| counted(all).await == (2, 2)).await;
    stage.change_leader();
    let unknown = until(stage, "it is unknown", |node| !node.is_ready).await;
    assert!(!unknown.is_down && unknown.is_active && unknown.version > before.version, "{unknown:?}");
    for (service, count) in [(&web, 1), (&all, 2)] {
        let tasks = there(service, &before).await;
        let [task] = &tasks[..] else { panic!("{tasks:#?}") };
        assert_eq!((task.state, task.desired), (TaskState::Running, TaskState::Running));
        assert_eq!(counted(service).await, (count, count));
    }
    // It gets no new task.
    let late = Subject::new(stage, there_only("late")).await;
    late.until("no node for it", async |late| {
        let tasks = late.tasks().await;
        tasks.len() == 1
            && tasks[0].state == TaskState::Pending
            && tasks[0].error.contains("not available for new tasks")
    })
    .await;
    assert!(!node(stage).await.is_ready);

    let back = until(stage, "it has reported", |node| node.is_ready).await;
    assert!(!back.is_down && back.version > unknown.version, "{unknown:?} {back:?}");
    for service in [&web, &late] {
        service.until("it runs", async |service| counted(service).await == (1, 1)).await;
    }
}

async fn a_node_that_is_down_stays_down_over_a_change_of_leader<S: Stage>(stage: &S) {
    stage.lose(LOST);
    until(stage, "it is missed", |node| node.is_down).await;
    stage.change_leader();
    // Until the others have reported, and longer than a node is unknown.
    let began = Instant::now();
    let mut have_reported = false;
    while !have_reported || began.elapsed() < secs(20) {
        assert!(node(stage).await.is_down);
        let nodes = stage.swarm().nodes().await.unwrap();
        have_reported = nodes.iter().filter(|node| node.is_ready).count() == 2;
        assert!(began.elapsed() < PATIENCE, "{nodes:?}");
        sleep(LOOK_INTERVAL).await;
    }
    stage.restore(LOST);
    until(stage, "it is back", |node| node.is_ready).await;
}

async fn a_paused_node_keeps_its_tasks_and_is_left_out_of_a_global_update<S: Stage>(stage: &S) {
    let agent = Subject::running(stage, plain(stage, "agent").global().monitor(secs(1))).await;
    agent.until("a task on each node", async |agent| counted(agent).await == (3, 3)).await;
    let web = Subject::running(stage, plain(stage, "web").replicas(3)).await;
    stage.pause(LOST);
    let paused = until(stage, "it is paused", |node| !node.is_active).await;
    assert!(paused.is_ready && !paused.is_down, "{paused:?}");

    agent.send(Kind::Good(2)).await;
    agent.history(gantry::swarm::UpdateState::Completed).await;
    let tasks = there(&agent, &paused).await;
    let found: Vec<_> = tasks.iter().map(|task| (task.desired, task.state, task.image.clone())).collect();
    assert_eq!(found, [(TaskState::Running, TaskState::Running, stage.image(Kind::Good(1)))]);
    let [old, new] = [Kind::Good(1), Kind::Good(2)].map(|kind| stage.image(kind));
    let mut expected = vec![old, new.clone(), new];
    expected.sort();
    let mut running = agent.running_images().await;
    running.sort();
    assert_eq!(running, expected);
    // Nor has the other service lost its task there.
    assert_eq!(there(&web, &paused).await.len(), 1);
}
