//! What nodes pull with: it is part of a specification, and nobody can read it.

use gantry::swarm::TaskState;
use serde_json::json;

use super::updates::edited;
use super::{Kind, Stage, Subject, plain, rules};
use crate::fake::millis;

rules! {
    another_account_alone_starts_no_task,
    an_account_that_is_not_sent_is_kept,
    a_rollback_brings_the_account_of_its_specification_back_whatever_is_sent_along,
}

async fn another_account_alone_starts_no_task<S: Stage>(stage: &S) {
    let account = stage.account(true);
    let service = plain(stage, "web").image(&stage.image(Kind::Private));
    let web = Subject::with_account(stage, service, Some(&account)).await;
    web.until("it runs", async |web| web.running_images().await.len() == 1).await;
    let (before, task) = (web.see().await, web.tasks().await.remove(0).id);

    web.send_account(&stage.account(false)).await;

    let after = web.see().await;
    assert!(after.version > before.version);
    assert!(after.spec.is_same_as(&before.spec) && after.previous.unwrap().is_same_as(&before.spec));
    web.stays(millis(2500), "the task runs on, and there is no update", async |web| {
        let tasks = web.tasks().await;
        tasks.len() == 1
            && (&tasks[0].id, tasks[0].state) == (&task, TaskState::Running)
            && web.see().await.update.is_none()
    })
    .await;
}

/// Whether the account is the right one: each task has to get the image first.
async fn starts<S: Stage>(web: &Subject<'_, S>) -> bool {
    web.post(|spec| edited(spec, |json| json["Mode"]["Replicated"]["Replicas"] = json!(1))).await;
    web.until("a task runs, or has no image", async |web| {
        web.tasks().await.iter().any(|task| matches!(task.state, TaskState::Running | TaskState::Rejected))
    })
    .await;
    let tasks = web.tasks().await;
    let rejected = tasks.iter().find(|task| task.state == TaskState::Rejected);
    if let Some(task) = rejected {
        // Not a word of the account.
        assert!(task.error.starts_with("No such image: "), "{task:#?}");
    }
    rejected.is_none()
}

async fn an_account_that_is_not_sent_is_kept<S: Stage>(stage: &S) {
    let service = plain(stage, "web").image(&stage.image(Kind::Private)).replicas(0);
    let web = Subject::with_account(stage, service, Some(&stage.account(true))).await;
    web.post(|spec| edited(spec, |json| json["Labels"]["a"] = json!("b"))).await;
    assert!(starts(&web).await);
}

async fn a_rollback_brings_the_account_of_its_specification_back_whatever_is_sent_along<S: Stage>(stage: &S) {
    let (right, wrong) = (stage.account(true), stage.account(false));
    let service = plain(stage, "web").image(&stage.image(Kind::Private)).replicas(0);
    let web = Subject::with_account(stage, service, Some(&wrong)).await;
    web.send_account(&right).await;
    web.roll_back_with(Some(&right)).await.unwrap();
    assert!(!starts(&web).await, "the wrong one is back");

    // So it takes a change of its own, for which a task is started where one has no image.
    web.send_account(&right).await;
    web.until("it runs", async |web| web.running_images().await.len() == 1).await;
}
