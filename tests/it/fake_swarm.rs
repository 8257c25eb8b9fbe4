//! The fake swarm behaves as a swarm does.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use gantry::registry::{Lookup, Registry, RegistryError};
use gantry::swarm::spec::Edits;
use gantry::swarm::{Listing, ServiceChange, Spec, Swarm, SwarmError, TaskState, UpdateState};
use tokio::time::sleep;

use crate::fake::{Call, FakeRegistry, FakeSwarm, Fault, digest, millis, pinned, secs};

const WEB: &str = "r.test/web:1";

fn to_image(spec: &Spec, image: &str) -> Spec {
    spec.edited(&Edits { image: Some(image.to_owned()), ..Edits::default() }).unwrap()
}

async fn update(swarm: &FakeSwarm, name: &str, image: &str) -> Result<(), SwarmError> {
    let service = swarm.see(name).unwrap();
    let spec = to_image(&service.spec, image);
    swarm.update_service(&service.id, service.version, ServiceChange::To(&spec), None).await.map(|_| ())
}

#[tokio::test(start_paused = true)]
async fn a_good_image_replaces_the_old_one_slot_by_slot() {
    let swarm = FakeSwarm::with_nodes(3);
    let (old, new) = (pinned(WEB, "old"), pinned(WEB, "new"));
    swarm.new_service("web").image(&old).replicas(2).order("start-first").create();
    assert_eq!(swarm.running_images("web"), [old.clone(), old.clone()]);
    update(&swarm, "web", &new).await.unwrap();
    assert_eq!(swarm.state_of("web"), None);
    sleep(millis(50)).await;
    assert_eq!(swarm.state_of("web"), Some(UpdateState::Updating));
    let mut seen = Vec::new();
    while swarm.state_of("web") == Some(UpdateState::Updating) {
        let images = swarm.running_images("web");
        assert!(images.len() >= 2, "start-first never has too few tasks: {images:?}");
        if seen.last() != Some(&images) {
            seen.push(images);
        }
        sleep(millis(10)).await;
    }
    assert_eq!(swarm.state_of("web"), Some(UpdateState::Completed));
    assert_eq!(seen.last().unwrap(), &[new.clone(), new.clone()]);
    assert_eq!(swarm.see("web").unwrap().previous.unwrap().facts().image, Some(old));
}

#[tokio::test(start_paused = true)]
async fn a_crashing_image_is_rolled_back_where_the_service_says_so() {
    let swarm = FakeSwarm::with_nodes(3);
    let (old, bad) = (pinned(WEB, "old"), pinned(WEB, "bad"));
    swarm.image(&bad).crashes_after(secs(1), 3).logging(&["boom"]);
    swarm.new_service("web").image(&old).replicas(2).order("start-first").failure_action("rollback").create();
    update(&swarm, "web", &bad).await.unwrap();
    swarm.until("rollback", |swarm| swarm.state_of("web") == Some(UpdateState::RollbackStarted)).await;
    let service = swarm.see("web").unwrap();
    assert!(service.previous.is_none());
    let failed = swarm.tasks_of("web").into_iter().find(|task| task.exit_code == Some(3)).unwrap();
    assert!(service.update.unwrap().message.ends_with(&format!("of task {}", failed.id)));
    assert_eq!(swarm.task_log(&failed.id, 9).await.unwrap(), ["boom"]);
    swarm.until("done", |swarm| swarm.state_of("web") == Some(UpdateState::RollbackCompleted)).await;
    assert_eq!(swarm.running_images("web"), [old.clone(), old]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_was_given_all_the_same() {
    let swarm = FakeSwarm::with_nodes(1);
    swarm.new_service("web").image(&pinned(WEB, "old")).create();
    swarm.fail(Call::Update, Some("web"), 1, Fault::CutAfterwards);
    let answer = update(&swarm, "web", &pinned(WEB, "new")).await;
    assert!(matches!(answer, Err(SwarmError::Unavailable(_))), "{answer:?}");
    assert_eq!(swarm.image_of("web"), pinned(WEB, "new"));
    assert_eq!(swarm.update_log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_a_lost_node_are_started_elsewhere_and_end_when_it_returns() {
    let swarm = FakeSwarm::with_nodes(2);
    swarm.new_service("web").image(&pinned(WEB, "old")).replicas(2).create();
    let lost = swarm.tasks_of("web").into_iter().find(|task| task.node_id == swarm.node("node2")).unwrap();
    swarm.node_is_ready("node2", false);
    sleep(secs(10)).await;
    let find = |id: &str| swarm.tasks_of("web").into_iter().find(|task| task.id == id).unwrap();
    // Nobody hears from it, so it still says what it said last.
    assert_eq!((find(&lost.id).state, find(&lost.id).desired), (TaskState::Running, TaskState::Shutdown));
    let wanted: Vec<_> = swarm.tasks_of("web").into_iter().filter(gantry::swarm::Task::is_wanted).collect();
    assert_eq!(wanted.len(), 2);
    assert!(
        wanted.iter().all(|task| task.node_id == swarm.node("node1") && task.state == TaskState::Running)
    );
    swarm.node_is_ready("node2", true);
    sleep(secs(1)).await;
    assert_eq!(find(&lost.id).state, TaskState::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_hands_its_tasks_over() {
    let swarm = FakeSwarm::with_nodes(2);
    swarm.new_service("web").image(&pinned(WEB, "old")).replicas(2).create();
    swarm.new_service("all").image(&pinned(WEB, "old")).global().create();
    swarm.node_is_active("node2", false);
    sleep(secs(10)).await;
    assert_eq!((swarm.running_images("web").len(), swarm.running_images("all").len()), (2, 1));
    swarm.node_is_active("node2", true);
    sleep(secs(10)).await;
    assert_eq!(swarm.running_images("all").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_loses_nothing_but_its_callers() {
    let swarm = FakeSwarm::with_nodes(1);
    swarm.new_service("web").image(&pinned(WEB, "old")).create();
    let mut changes = std::pin::pin!(swarm.changes());
    update(&swarm, "web", &pinned(WEB, "new")).await.unwrap();
    assert_eq!(changes.next().await, Some(Ok(())));
    swarm.be_away_for(secs(30));
    assert!(swarm.nodes().await.unwrap_err().is_transient());
    while let Some(Ok(())) = changes.next().await {}
    assert_eq!(changes.next().await, None);
    sleep(secs(30)).await;
    assert_eq!(swarm.nodes().await.unwrap().len(), 1);
    assert_eq!(swarm.state_of("web"), Some(UpdateState::Completed));
}

#[tokio::test(start_paused = true)]
async fn somebody_else_can_be_faster() {
    let swarm = FakeSwarm::with_nodes(1);
    swarm.new_service("web").image(&pinned(WEB, "old")).create();
    swarm.before(Call::Update, "web", |world| world.set_label("web", "a", "b"));
    assert_eq!(update(&swarm, "web", &pinned(WEB, "new")).await, Err(SwarmError::Conflict));
    assert_eq!(update(&swarm, "web", &pinned(WEB, "new")).await, Ok(()));
    swarm.later(secs(2), |world| world.remove("web").unwrap());
    sleep(secs(3)).await;
    assert!(matches!(update_of_gone(&swarm).await, Err(SwarmError::NotFound(_))));
    let answers: Vec<_> = swarm.update_log().into_iter().map(|asked| asked.answer.is_ok()).collect();
    assert_eq!(answers, [false, true, false]);
}

async fn update_of_gone(swarm: &FakeSwarm) -> Result<Vec<String>, SwarmError> {
    let spec = swarm.new_service("web").spec();
    swarm.update_service("web", 1, ServiceChange::To(&spec), None).await
}

#[tokio::test(start_paused = true)]
async fn failures_within_the_ratio_and_images_that_come_to_their_senses_complete() {
    let swarm = FakeSwarm::with_nodes(3);
    let shaky = pinned(WEB, "shaky");
    swarm.image(&shaky).for_the_first(1).crashes_after(millis(500), 1);
    let service = swarm.new_service("web").image(&pinned(WEB, "old")).replicas(4).restart_delay(secs(1));
    service.max_failure_ratio(0.25).order("start-first").create();
    update(&swarm, "web", &shaky).await.unwrap();
    swarm.until("completed", |swarm| swarm.state_of("web") == Some(UpdateState::Completed)).await;
    sleep(secs(10)).await;
    assert_eq!(swarm.running_images("web"), vec![shaky; 4]);
}

#[tokio::test(start_paused = true)]
async fn one_node_alone_can_fail_to_pull_and_another_be_slow() {
    let swarm = FakeSwarm::with_nodes(3);
    let image = pinned(WEB, "new");
    swarm.image(&image).on_node("node2").cannot_be_pulled();
    swarm.image(&image).on_node("node3").takes_to_pull(secs(100));
    swarm.new_service("web").image(&image).global().deploy();
    sleep(secs(20)).await;
    let states: BTreeMap<String, TaskState> =
        swarm.tasks_of("web").into_iter().map(|task| (task.node_id, task.state)).collect();
    assert_eq!(states[&swarm.node("node1")], TaskState::Running);
    assert!(swarm.tasks_of("web").iter().any(|task| task.state == TaskState::Rejected));
    assert_eq!(states[&swarm.node("node3")], TaskState::Preparing);
    sleep(secs(100)).await;
    assert!(
        swarm
            .tasks_of("web")
            .iter()
            .any(|t| t.node_id == swarm.node("node3") && t.state == TaskState::Running)
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_as_well_is_paused() {
    let swarm = FakeSwarm::with_nodes(1);
    let (old, bad) = (pinned(WEB, "old"), pinned(WEB, "bad"));
    swarm.new_service("web").image(&old).failure_action("rollback").create();
    swarm.image(&bad).crashes_after(millis(100), 1);
    swarm.image(&old).crashes_after(millis(100), 2);
    update(&swarm, "web", &bad).await.unwrap();
    swarm.until("paused", |swarm| swarm.state_of("web") == Some(UpdateState::RollbackPaused)).await;
    assert!(swarm.see("web").unwrap().update.unwrap().message.starts_with("update paused due to failure"));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_services_are_no_burden() {
    let swarm = FakeSwarm::with_nodes(3);
    let image = pinned(WEB, "old");
    for number in 0..10_000 {
        swarm.new_service(&format!("site-{number}")).image(&image).label("gantry.enable", "true").create();
    }
    assert_eq!(swarm.services(Listing::Filters(&[])).await.unwrap().len(), 10_000);
    assert_eq!(swarm.tasks(&[]).await.unwrap().len(), 10_000);
    for number in 0..100 {
        update(&swarm, &format!("site-{number}"), &pinned(WEB, "new")).await.unwrap();
    }
    sleep(secs(60)).await;
    assert_eq!(swarm.state_of("site-99"), Some(UpdateState::Completed));
}

#[tokio::test(start_paused = true)]
async fn a_registry_counts_fails_and_moves_its_tags() {
    let registry = FakeRegistry::new();
    registry.release("app:1", "old");
    let lookup = |image: &str| Lookup {
        image: image.parse().unwrap(),
        credentials: None,
        missing: None,
        hosts: Arc::default(),
        insecure: false,
    };
    let app = lookup("docker.io/library/app:1");
    assert_eq!(registry.digest(&app).await, Ok(digest("old")));
    registry.release("app:1", "new");
    assert_eq!(registry.digest(&app).await, Ok(digest("new")));
    assert_eq!(registry.manifest(&app, &digest("new")).await.unwrap().platforms.len(), 1);
    assert!(matches!(registry.digest(&lookup("app:2")).await, Err(RegistryError::NotFound { .. })));

    let limited = RegistryError::RateLimited { registry: "docker.io".to_owned(), retry_after: None };
    registry.fail_next("app:1", 1, limited.clone());
    assert_eq!(registry.digest(&app).await, Err(limited));
    assert_eq!(registry.digest(&app).await, Ok(digest("new")));
    registry.hang("app:1");
    let many: Vec<_> = (0..5).map(|_| registry.digest(&app)).collect();
    assert!(
        join_all(many).await.iter().all(|answer| matches!(answer, Err(RegistryError::Unreachable { .. })))
    );
    assert_eq!((registry.most_at_work(), registry.lookups_of("app:1")), (5, 9));
}
