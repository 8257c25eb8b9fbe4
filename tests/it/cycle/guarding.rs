//! When the cluster is not fit for another update, and what an update is waiting for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantry::model::cause::Cause;
use gantry::model::finished::NotBegunReason;
use gantry::model::outcome::{By, Outcome};
use gantry::swarm::{ManagerStatus, TaskState};
use tokio::time::{Instant, sleep};

use super::{APP, Scene, finished, outcome};
use crate::fake::{Call, Fault, World, millis, pinned, secs};
use crate::support::log::Log;

/// A scene with thirty services that need none of the third node, and a new image for them.
fn thirty() -> Scene {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 2);
    for index in 0..30 {
        let service = scene.service(&format!("web-{index:02}")).replicas(1);
        service.constraint("node.hostname!=node3").create();
    }
    scene.registry.release(APP, "new");
    scene
}

/// Something happens after 20 seconds and is over after 100: no update may begin while it is seen.
async fn pauses(scene: Scene, begin: fn(&mut World), end: fn(&mut World), seen_after: Duration) {
    scene.swarm.later(secs(20), begin);
    scene.swarm.later(secs(100), end);
    let report = scene.cycle().await;
    assert_eq!((report.updated().count(), report.postponed.as_ref()), (30, None), "{}", report.summary());
    let sent: Vec<Duration> = scene.swarm.update_log().iter().map(|asked| asked.at).collect();
    let between =
        |from: Duration, until: Duration| sent.iter().filter(|at| (from..until).contains(*at)).count();
    assert!(between(secs(0), secs(20)) > 0 && between(secs(100), secs(9999)) > 10, "{sent:?}");
    assert_eq!(between(secs(20) + seen_after, secs(100)), 0, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_down_pauses_the_rollout_until_it_is_back() {
    let down = |world: &mut World| world.set_ready("node3", false);
    pauses(thirty(), down, |world| world.set_ready("node3", true), secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_begins_after_an_election_pauses_for_a_later_loss() {
    let scene = thirty();
    scene.swarm.leader_changes();
    let down = |world: &mut World| world.set_ready("node3", false);
    pauses(scene, down, |world| world.set_ready("node3", true), secs(3)).await;
}

fn manager(world: &mut World, node: usize, is_leader: bool, is_reachable: bool) {
    world.nodes[node].node.manager = Some(ManagerStatus { is_leader, is_reachable });
}

#[tokio::test(start_paused = true)]
async fn managers_without_a_leader_or_a_spare_vote_pause_the_rollout() {
    let scene = thirty();
    let without_leader = |world: &mut World| manager(world, 0, false, true);
    pauses(scene, without_leader, |world| manager(world, 0, true, true), secs(3)).await;

    let scene = thirty();
    scene.swarm.now(|world| (1..3).for_each(|node| manager(world, node, false, true)));
    let unreachable = |world: &mut World| manager(world, 2, false, false);
    pauses(scene, unreachable, |world| manager(world, 2, false, true), secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_gets_far_slower_pauses_the_rollout_until_it_is_fast_again() {
    let scene = thirty();
    scene.swarm.set_latency_of(Call::Nodes, millis(100));
    let slow = |world: &mut World| world.script.set_latency(Some(Call::Nodes), secs(3));
    pauses(scene, slow, |world| world.script.set_latency(Some(Call::Nodes), millis(100)), secs(12)).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_of_services_that_hangs_blinds_no_guard() {
    let hangs = |world: &mut World, call| world.script.fail(call, None, usize::MAX, Fault::Hangs);
    for (is_silent, seen_after, told) in [(false, 4, "node3 is down"), (true, 9, "does not answer (for 5 s)")]
    {
        let scene = thirty();
        let log = Log::from_level("WARN");
        scene.swarm.later(secs(20), move |world| {
            hangs(world, Call::Services);
            world.set_ready("node3", false);
            if is_silent {
                hangs(world, Call::Nodes);
            }
        });
        tokio::select! {
            report = scene.cycle() => panic!("{report:?}"),
            () = sleep(secs(20 + seen_after)) => {}
        }
        assert_eq!(log.lines_with(told).len(), 1, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_away_postpones_the_rest_and_the_next_cycle_goes_on_without_it() {
    let scene = thirty().with("GANTRY_SLEEP_SECONDS", 600);
    scene.swarm.later(secs(20), |world| world.set_ready("node3", false));
    let begun = Instant::now();
    let report = scene.cycle().await;
    let took = begun.elapsed();
    assert!(took > secs(600) && took < secs(700), "{took:?}");
    assert!(!report.has_failed(), "{report:?}");
    assert!(report.summary().contains("postponed: node3 is down"), "{}", report.summary());
    assert!(report.held().count() > 10);
    assert!(report.held().all(|row| row.why_held() == Some(&NotBegunReason::Postponed)));
    let rest = report.held().count();
    let report = scene.cycle().await;
    assert_eq!((report.updated().count(), report.postponed), (rest, None));
}

/// The most tasks of these services that are starting on one node.
pub(super) fn most_starting(scene: &Scene, services: impl Iterator<Item = String>) -> usize {
    let mut by_node = std::collections::HashMap::<String, usize>::new();
    for service in services {
        let tasks = scene.swarm.tasks_of(&service);
        for task in tasks.into_iter().filter(|task| task.is_wanted() && !task.node_id.is_empty()) {
            *by_node.entry(task.node_id).or_default() += usize::from(task.state < TaskState::Running);
        }
    }
    by_node.into_values().max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn no_more_tasks_start_on_one_node_than_it_may_have() {
    for (limit, most) in [(0, 7), (2, 2), (1, 1)] {
        let scene = Scene::new()
            .with("GANTRY_ROLLOUT_INITIAL_WORKERS", 50)
            .with("GANTRY_UPDATE_MAX_STARTING_PER_NODE", limit);
        for index in 0..20 {
            scene.service(&format!("web-{index:02}")).replicas(1).create();
        }
        sleep(secs(5)).await;
        let new = scene.registry.release(APP, "new");
        scene.swarm.image(&new).starts_after(secs(4));
        let seen = AtomicUsize::new(0);
        let report = tokio::select! {
            report = scene.cycle() => report,
            () = async {
                loop {
                    let services = (0..20).map(|index| format!("web-{index:02}"));
                    seen.fetch_max(most_starting(&scene, services), Ordering::Relaxed);
                    sleep(millis(20)).await;
                }
            } => unreachable!(),
        };
        assert_eq!(report.updated().count(), 20, "{}", report.summary());
        let seen = seen.into_inner();
        assert!(if limit == 0 { seen >= most } else { seen == most }, "limit {limit}: {seen} on one node");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_in_which_nothing_fails_costs_two_writes_of_the_ledger() {
    let scene = Scene::new();
    for index in 0..300 {
        scene.service(&format!("site-{index:03}")).replicas(1).create();
    }
    scene.registry.release(APP, "new");
    scene.swarm.clear_log();
    let report = scene.cycle().await;
    assert_eq!(report.updated().count(), 300);
    let writes = [Call::CreateConfig, Call::UpdateConfig, Call::RemoveConfig];
    let writes: Vec<usize> = writes.into_iter().map(|call| scene.swarm.calls(call).len()).collect();
    assert_eq!(writes, [1, 1, 0]);
    // And the second time, when there is a ledger.
    scene.registry.release(APP, "newer");
    assert_eq!(scene.cycle().await.updated().count(), 300);
    assert_eq!(scene.swarm.calls(Call::CreateConfig).len() + scene.swarm.calls(Call::UpdateConfig).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_update_without_a_time_limit_that_hangs_for_an_hour_is_taken_back_and_does_not_hold_up_the_rest() {
    let scene = Scene::new();
    for index in 0..10 {
        scene.service(&format!("web-{index}")).create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).never_gets_healthy();
    let begun = Instant::now();
    let report = scene.cycle().await;
    for name in ["web-0", "web-1"] {
        let Outcome::RolledBack { by: By::Gantry, cause } = outcome(&report, name) else {
            panic!("{report:?}")
        };
        let cause = cause.to_string();
        assert!(
            cause.contains("timed out after 3600 s while making no progress: starting on node"),
            "{cause}"
        );
        assert_eq!(scene.swarm.running_images(name), [pinned(APP, "old"), pinned(APP, "old")]);
    }
    assert!((secs(7200)..secs(7500)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!((report.finished().count(), report.stopped.len()), (2, 1), "{}", report.summary());
}

#[tokio::test(start_paused = true)]
async fn an_update_without_a_time_limit_that_moves_on_may_take_as_long_as_it_wants() {
    let scene = Scene::new();
    scene.service("web").replicas(4).create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).takes_to_pull(secs(3000)).starts_after(secs(3000));
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert!(finished(&report, "web").took > secs(12_000), "{:?}", finished(&report, "web").took);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_taken_from_its_node_is_no_failure() {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 1);
    for name in ["a", "b"] {
        scene.service(name).replicas(1).monitor(secs(60)).failure_action("pause").create();
    }
    let new = scene.registry.release(APP, "new");
    let drained = async {
        let runs = |swarm: &crate::fake::FakeSwarm| swarm.running_images("a") == [new.clone()];
        scene.swarm.until("the new task runs alone", runs).await;
        // The swarm takes an early end for a failure, whoever caused it.
        let node = scene.swarm.tasks_of("a").pop().unwrap().node_id;
        scene.swarm.now(move |world| world.set_active(&node, false));
    };
    let (report, ()) = tokio::join!(scene.cycle(), drained);
    // Nor is it rolled back: the same is sent again.
    assert_eq!(outcome(&report, "a"), &Outcome::Updated);
    assert_eq!(outcome(&report, "b"), &Outcome::Updated);
    assert!(scene.swarm.update_log().iter().all(|asked| asked.image() == new), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_is_quoted_without_what_terminals_obey() {
    let scene = Scene::new();
    for node in ["node1", "node2"] {
        let service = scene.service(node).replicas(1).constraint(&format!("node.hostname=={node}"));
        service.create();
    }
    let bad = scene.registry.release(APP, "bad");
    let lines: Vec<String> =
        (0..30).map(|n| format!("\u{1b}[31mline {n}\u{1b}[0m\0 {}", "x".repeat(900))).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let image = scene.swarm.image(&bad).turns_unhealthy_after(secs(2)).logging(&lines);
    image.whose_health_check_says("\u{1b}[1mno\0 answer\n");
    let report = scene.cycle().await;
    for (service, health) in [("node1", Some("no answer")), ("node2", None)] {
        let failed = finished(&report, service);
        assert!(matches!(failed.outcome.cause(), Some(Cause::Unhealthy { .. })), "{failed:?}");
        // Only the engine's own node tells.
        assert_eq!(failed.health.as_deref(), health);
        assert_eq!(failed.log.len(), 10);
        assert!(failed.log[9].starts_with("line 29 xxx") && failed.log[9].len() == 303, "{:?}", failed.log);
    }
}
