//! How an update goes, as `UpdateStatus` tells it.

use gantry::swarm::spec::Edits;
use gantry::swarm::{Mode, Spec, Swarm, SwarmError, TaskState, UpdateState};
use serde_json::{Value, json};

use super::{Kind, Stage, Subject, plain, rules};
use crate::fake::{millis, secs};

use UpdateState::{Completed, Paused, RollbackCompleted, RollbackPaused, RollbackStarted, Updating};

rules! {
    a_good_image_is_updating_and_then_completed,
    start_first_never_has_too_few_tasks,
    a_crash_pauses_by_default,
    a_crash_is_rolled_back_and_leaves_no_previous_specification,
    a_rollback_that_fails_as_well_is_paused,
    a_crash_is_called_completed_where_failures_are_to_be_ignored,
    an_unknown_image_is_rejected_and_the_old_tasks_stay,
    an_end_without_an_error_is_a_failure_too,
    a_sick_task_is_not_taken_for_a_good_one_and_pauses_the_update,
    a_crash_after_the_monitor_period_is_not_counted,
    what_starts_no_task_has_no_status,
    a_new_update_of_a_paused_one_remembers_the_bad_image,
    a_new_update_supersedes_a_running_one,
    a_rollback_by_hand_swaps_the_specifications_each_time,
    a_rollback_by_hand_takes_the_whole_specification_back,
    a_global_service_is_updated_node_by_node,
    a_forced_update_replaces_tasks_of_the_same_image,
    what_a_specification_does_not_say_takes_five_seconds,
    an_updater_that_waits_for_a_node_begins_anew_when_a_label_changes,
}

fn step(state: UpdateState, images: &str) -> (UpdateState, String) {
    (state, images.to_owned())
}

async fn a_good_image_is_updating_and_then_completed<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").replicas(2)).await;
    assert!(web.see().await.update.is_none());
    web.send(Kind::Good(2)).await;
    let images = "Good(2) after Good(1)";
    assert_eq!(web.history(Completed).await, [step(Updating, images), step(Completed, images)]);
    assert_eq!(web.see().await.update.unwrap().message, "update completed");
    assert_eq!(web.running_images().await, [stage.image(Kind::Good(2)), stage.image(Kind::Good(2))]);
}

async fn start_first_never_has_too_few_tasks<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").replicas(2).order("start-first")).await;
    web.send(Kind::Good(2)).await;
    web.until("completed", async |web| {
        assert!(web.running_images().await.len() >= 2, "{:#?}", web.tasks().await);
        web.see().await.update.is_some_and(|update| update.state == Completed)
    })
    .await;
}

async fn a_crash_pauses_by_default<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").replicas(2)).await;
    web.send(Kind::Crashes).await;
    let images = "Crashes after Good(1)";
    assert_eq!(web.history(Paused).await, [step(Updating, images), step(Paused, images)]);
    let message = web.see().await.update.unwrap().message;
    let tasks = web.tasks().await;
    let failed: Vec<_> =
        tasks.iter().filter(|task| message.ends_with(&format!("of task {}", task.id))).collect();
    assert!(message.starts_with("update paused due to failure or early termination of task "), "{message}");
    assert_eq!((failed.len(), failed[0].exit_code), (1, Some(3)), "{message} {tasks:#?}");
    // It goes on crash-looping.
    web.until("more crashes", async |web| {
        web.tasks().await.iter().filter(|task| task.exit_code == Some(3)).count() >= 3
    })
    .await;
    assert_eq!(web.see().await.update.unwrap().state, Paused);
}

async fn a_crash_is_rolled_back_and_leaves_no_previous_specification<S: Stage>(stage: &S) {
    let service = plain(stage, "web").replicas(2).order("start-first").failure_action("rollback");
    let web = Subject::running(stage, service.rollback_monitor(secs(2))).await;
    web.send(Kind::Crashes).await;
    let expected = [
        step(Updating, "Crashes after Good(1)"),
        step(RollbackStarted, "Good(1) after nothing"),
        step(RollbackCompleted, "Good(1) after nothing"),
    ];
    let history = web.history(RollbackStarted).await;
    let message = web.see().await.update.unwrap().message;
    assert!(
        message.starts_with("update rolled back due to failure or early termination of task "),
        "{message}"
    );
    let rest = web.history(RollbackCompleted).await;
    assert_eq!([history, rest[1..].to_vec()].concat(), expected);
    let update = web.see().await.update.unwrap();
    assert_eq!(update.message, "rollback completed");
    assert!(!update.is_manual_rollback());
    let both = [stage.image(Kind::Good(1)), stage.image(Kind::Good(1))];
    web.until("both tasks", async |web| web.running_images().await == both).await;
    let answer = web.roll_back().await;
    let Err(SwarmError::Refused(words)) = answer else { panic!("{answer:?}") };
    assert!(words.contains("does not have a previous spec"), "{words}");
}

async fn a_rollback_that_fails_as_well_is_paused<S: Stage>(stage: &S) {
    let service = plain(stage, "web").image(&stage.image(Kind::CannotStart)).failure_action("rollback");
    // Restarts are far away: they must not come between.
    let service = service.rollback_monitor(secs(5)).restart_delay(secs(100));
    let web = Subject::new(stage, service).await;
    web.until("a failed task and the next", async |web| web.tasks().await.len() == 2).await;
    web.send(Kind::Unknown).await;
    // The real updater counts a task that cannot start only if it looks in time: now and then it calls the
    // rollback completed although nothing runs. Whatever it says, nothing may be called updated here.
    let is_over = |state: &UpdateState| matches!(state, RollbackPaused | RollbackCompleted);
    let history = web.history_until(is_over).await;
    assert_eq!(history[0], step(Updating, "Unknown after CannotStart"));
    assert!(history[1..].iter().all(|(_, images)| images == "CannotStart after nothing"), "{history:?}");
    let update = web.see().await.update.unwrap();
    if update.state == RollbackPaused {
        // The word is `update` here too.
        let expected = "update paused due to failure or early termination of task ";
        assert!(update.message.starts_with(expected), "{}", update.message);
    }
    assert!(web.running_images().await.is_empty());
}

async fn a_crash_is_called_completed_where_failures_are_to_be_ignored<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").failure_action("continue")).await;
    web.send(Kind::Crashes).await;
    let images = "Crashes after Good(1)";
    assert_eq!(web.history(Completed).await, [step(Updating, images), step(Completed, images)]);
    web.until("nothing runs", async |web| web.running_images().await.is_empty()).await;
}

async fn an_unknown_image_is_rejected_and_the_old_tasks_stay<S: Stage>(stage: &S) {
    let service = plain(stage, "web").replicas(2).order("start-first");
    let web = Subject::running(stage, service).await;
    web.send(Kind::Unknown).await;
    web.until("paused", async |web| {
        assert_eq!(web.running_images().await, [stage.image(Kind::Good(1)), stage.image(Kind::Good(1))]);
        web.see().await.update.is_some_and(|update| update.state == Paused)
    })
    .await;
    let tasks = web.tasks().await;
    let rejected = tasks.iter().find(|task| task.state == TaskState::Rejected).unwrap();
    assert!(rejected.error.starts_with("No such image: "), "{rejected:#?}");
    assert_eq!((rejected.exit_code, rejected.message.as_str()), (None, "preparing"));
    assert!(web.see().await.update.unwrap().message.ends_with(&rejected.id));
}

async fn an_end_without_an_error_is_a_failure_too<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web")).await;
    web.send(Kind::Exits).await;
    web.history(Paused).await;
    let tasks = web.tasks().await;
    let ended = tasks.iter().find(|task| task.state == TaskState::Complete).unwrap();
    assert_eq!((ended.error.as_str(), ended.exit_code, ended.message.as_str()), ("", Some(0), "finished"));
    assert_eq!(ended.desired, TaskState::Shutdown);
}

/// It is no rule that the sick task is never seen to run: when its container ends with exit code 0 after it was
/// stopped as unhealthy, the task is `running` for a moment before it is `complete` (tried on Docker 28.5).
/// So what counts is never a single look at a running task, but the monitor period.
async fn a_sick_task_is_not_taken_for_a_good_one_and_pauses_the_update<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").order("start-first")).await;
    let sick = stage.image(Kind::Sick);
    web.send(Kind::Sick).await;
    let images = "Sick after Good(1)";
    assert_eq!(web.history(Paused).await, [step(Updating, images), step(Paused, images)]);
    let tasks = web.tasks().await;
    let ended = tasks.iter().find(|task| task.image == sick && task.state > TaskState::Running).unwrap();
    assert!(matches!(ended.state, TaskState::Complete | TaskState::Failed), "{ended:#?}");
}

async fn a_crash_after_the_monitor_period_is_not_counted<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").monitor(millis(200))).await;
    web.send(Kind::Crashes).await;
    let images = "Crashes after Good(1)";
    assert_eq!(web.history(Completed).await, [step(Updating, images), step(Completed, images)]);
    web.until("a crash", async |web| web.tasks().await.iter().any(|task| task.exit_code == Some(3))).await;
    assert_eq!(web.see().await.update.unwrap().state, Completed);
}

async fn what_starts_no_task_has_no_status<S: Stage>(stage: &S) {
    let has_none = async |web: &Subject<'_, S>| web.see().await.update.is_none();

    let web = Subject::running(stage, plain(stage, "web")).await;
    let before = web.running_images().await;
    web.send(Kind::Good(1)).await;
    web.stays(millis(2500), "no change has no status", has_none).await;
    assert_eq!(web.images(&web.see().await), "Good(1) after Good(1)");

    web.post(|spec| edited(spec, |json| json["Labels"]["a"] = json!("b"))).await;
    web.stays(millis(2500), "a label has no status", has_none).await;
    let service = web.see().await;
    assert_eq!((service.spec.facts().labels.len(), service.previous.unwrap().facts().labels.len()), (1, 0));
    assert_eq!((web.tasks().await.len(), web.running_images().await), (1, before));

    let none = Subject::new(stage, plain(stage, "none").replicas(0)).await;
    none.send(Kind::Good(2)).await;
    none.stays(millis(2500), "no replicas have no status", has_none).await;
    assert_eq!(none.images(&none.see().await), "Good(2) after Good(1)");
    assert_eq!(none.see().await.spec.facts().mode, Mode::Replicated(0));
}

async fn a_new_update_of_a_paused_one_remembers_the_bad_image<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web")).await;
    web.send(Kind::Crashes).await;
    web.history(Paused).await;
    web.send(Kind::Good(2)).await;
    let images = "Good(2) after Crashes";
    assert_eq!(web.history(Completed).await, [step(Updating, images), step(Completed, images)]);
}

async fn a_new_update_supersedes_a_running_one<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").replicas(2)).await;
    web.send(Kind::Good(2)).await;
    web.history(Updating).await;
    web.send(Kind::Good(3)).await;
    let images = "Good(3) after Good(2)";
    assert_eq!(web.history(Completed).await, [step(Updating, images), step(Completed, images)]);
    assert_eq!(web.running_images().await, [stage.image(Kind::Good(3)), stage.image(Kind::Good(3))]);
}

async fn a_rollback_by_hand_swaps_the_specifications_each_time<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").rollback_monitor(millis(500))).await;
    let answer = web.roll_back().await;
    assert!(
        matches!(&answer, Err(SwarmError::Refused(words)) if words.contains("previous spec")),
        "{answer:?}"
    );
    web.send(Kind::Good(2)).await;
    web.history(Completed).await;
    for images in ["Good(1) after Good(2)", "Good(2) after Good(1)"] {
        web.roll_back().await.unwrap();
        let update = web.see().await.update.unwrap();
        assert_eq!(update.message, "manually requested rollback");
        assert!(update.is_manual_rollback());
        let history = web.history(RollbackCompleted).await;
        assert_eq!(history, [step(RollbackStarted, images), step(RollbackCompleted, images)]);
    }
    assert_eq!(web.running_images().await, [stage.image(Kind::Good(2))]);
}

async fn a_rollback_by_hand_takes_the_whole_specification_back<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web")).await;
    web.send(Kind::Good(2)).await;
    web.history(Completed).await;
    web.post(|spec| edited(spec, |json| json["Labels"]["a"] = json!("b"))).await;
    web.roll_back().await.unwrap();
    // Only the last change is taken back: the image stays, and no task is touched.
    web.history(RollbackCompleted).await;
    let service = web.see().await;
    assert_eq!(web.images(&service), "Good(2) after Good(2)");
    assert!(service.spec.facts().labels.is_empty());
    assert_eq!(service.previous.unwrap().facts().labels.len(), 1);
}

async fn a_global_service_is_updated_node_by_node<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").global().monitor(millis(500))).await;
    let nodes = stage.swarm().nodes().await.unwrap().len();
    web.until("a task on every node", async |web| web.running_images().await.len() == nodes).await;
    web.send(Kind::Good(2)).await;
    web.history(Completed).await;
    let running = web.tasks().await.into_iter().filter(|task| task.state == TaskState::Running);
    let mut places: Vec<_> = running.map(|task| (task.node_id, task.image, task.slot)).collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), nodes);
    assert!(places.iter().all(|(_, image, slot)| *image == stage.image(Kind::Good(2)) && *slot == 0));
}

async fn a_forced_update_replaces_tasks_of_the_same_image<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web").monitor(millis(500))).await;
    let before = web.tasks().await;
    web.edit(&Edits { force_update: Some(1), ..Edits::default() }).await;
    web.history(Completed).await;
    let running: Vec<_> =
        web.tasks().await.into_iter().filter(|task| task.state == TaskState::Running).collect();
    assert_eq!((running.len(), running[0].force_update), (1, 1));
    assert_ne!(running[0].id, before[0].id);
}

async fn what_a_specification_does_not_say_takes_five_seconds<S: Stage>(stage: &S) {
    let bare = plain(stage, "web").edit(|spec| {
        spec.as_object_mut().unwrap().remove("UpdateConfig");
        spec["TaskTemplate"].as_object_mut().unwrap().remove("RestartPolicy");
    });
    let web = Subject::running(stage, bare).await;
    let service = web.see().await;
    let facts = service.spec.facts();
    assert_eq!((facts.monitor(), facts.restart_delay, facts.update), (secs(5), secs(5), None));

    web.send(Kind::Good(2)).await;
    web.until("it runs", async |web| web.running_images().await == [stage.image(Kind::Good(2))]).await;
    let runs = tokio::time::Instant::now();
    web.history(Completed).await;
    // The machine may be busy.
    assert!((millis(4_800)..secs(8)).contains(&runs.elapsed()), "monitored for {:?}", runs.elapsed());

    web.send(Kind::Crashes).await;
    web.history(Paused).await;
    let failed = async |web: &Subject<'_, S>| {
        let tasks = web.tasks().await.into_iter().filter(|task| task.exit_code == Some(3));
        tasks.map(|task| task.since.unwrap()).collect::<Vec<_>>()
    };
    web.until("another failure", async |web| failed(web).await.len() >= 2).await;
    let failed = failed(&web).await;
    // The delay, and the second that it runs.
    let between = failed[1].duration_since(failed[0]).as_millis();
    assert!((5_900..9_000).contains(&between), "{between} ms");
}

/// Its updater takes the slots in any order, and waits for ever in one whose task finds no node.
async fn an_updater_that_waits_for_a_node_begins_anew_when_a_label_changes<S: Stage>(stage: &S) {
    let nodes = stage.swarm().nodes().await.unwrap().len();
    let service = plain(stage, "web").replicas(nodes as u64 + 1).max_per_node(1).monitor(secs(1));
    let web = Subject::new(stage, service).await;
    let good = |number: u8| vec![stage.image(Kind::Good(number)); nodes];
    web.until("as many as there are nodes", async |web| web.running_images().await == good(1)).await;
    web.send(Kind::Good(2)).await;
    let new = stage.image(Kind::Good(2));
    web.until("the new task without a node", async |web| {
        web.tasks().await.iter().any(|task| task.image == new && task.error.contains("no suitable node"))
    })
    .await;
    // The place of each old task goes to the one that waits, and the updater waits again.
    for _ in 0..2 * nodes {
        web.post(|spec| spec.with_label("x", Some("1")).unwrap()).await;
        tokio::time::sleep(millis(500)).await;
        web.post(|spec| spec.with_label("x", None).unwrap()).await;
        tokio::time::sleep(secs(3)).await;
    }
    web.until("the new image on all nodes", async |web| web.running_images().await == good(2)).await;
    assert!(web.see().await.spec.facts().labels.is_empty());
}

/// The specification with any change.
pub(super) fn edited(spec: &Spec, edit: impl Fn(&mut Value)) -> Spec {
    let mut json: Value = serde_json::from_str(spec.json()).unwrap();
    edit(&mut json);
    Spec::from_json(&json.to_string()).unwrap()
}
