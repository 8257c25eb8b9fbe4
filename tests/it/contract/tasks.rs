//! What becomes of tasks.

use gantry::swarm::{Mode, Swarm, SwarmError, Task, TaskState, UpdateState};
use serde_json::json;

use super::updates::edited;
use super::{Kind, Stage, Subject, plain, rules};
use crate::fake::{millis, secs};

rules! {
    a_task_that_fails_is_started_again_after_the_delay,
    a_slot_remembers_five_tasks,
    a_container_that_cannot_be_started_says_why,
    a_task_without_a_node_waits_and_says_why,
    start_first_waits_for_ever_for_a_port_that_the_old_task_has,
    a_limit_per_node_keeps_a_task_waiting,
    a_reservation_without_room_keeps_a_task_waiting,
    a_service_is_scaled_without_a_status,
    a_job_runs_again_with_every_update_and_has_no_status,
    a_task_leaves_its_last_words,
    tasks_of_a_removed_service_cannot_be_listed,
    tasks_of_a_removed_service_are_among_all_tasks_until_they_have_ended,
}

async fn a_task_that_fails_is_started_again_after_the_delay<S: Stage>(stage: &S) {
    let web = Subject::new(stage, plain(stage, "web").image(&stage.image(Kind::Crashes))).await;
    web.until("two failures", async |web| {
        web.tasks().await.iter().filter(|task| task.state == TaskState::Failed).count() >= 2
    })
    .await;
    let tasks = web.tasks().await;
    let (first, second) = (&tasks[0], &tasks[1]);
    assert_eq!((first.slot, second.slot), (1, 1));
    assert_eq!((first.error.as_str(), first.exit_code), ("task: non-zero exit (3)", Some(3)));
    assert_eq!((first.message.as_str(), first.desired), ("started", TaskState::Shutdown));
    let delay = second.since.unwrap().duration_since(first.since.unwrap());
    // The restart delay and the second that it runs.
    assert!(delay.as_millis() >= 1900, "{delay:?}");
    assert!(web.see().await.update.is_none());
}

async fn a_slot_remembers_five_tasks<S: Stage>(stage: &S) {
    let service = plain(stage, "web").image(&stage.image(Kind::CannotStart)).restart_delay(millis(100));
    let web = Subject::new(stage, service).await;
    let mut all = std::collections::BTreeSet::new();
    let began = tokio::time::Instant::now();
    let mut most = 0;
    while all.len() < 8 {
        assert!(began.elapsed() < super::PATIENCE, "{all:?}");
        let tasks = web.tasks().await;
        most = most.max(tasks.len());
        all.extend(tasks.into_iter().map(|task| task.id));
        tokio::time::sleep(millis(20)).await;
    }
    // One more for a moment, until the surplus one is removed.
    assert!((5..=7).contains(&most), "{most}");
}

async fn a_container_that_cannot_be_started_says_why<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web")).await;
    web.send(Kind::CannotStart).await;
    web.history(UpdateState::Paused).await;
    let tasks = web.tasks().await;
    let failed = tasks.iter().find(|task| task.state == TaskState::Failed).unwrap();
    assert!(failed.error.starts_with("starting container failed: "), "{failed:#?}");
    assert!(failed.error.contains("/nonexistent"), "{failed:#?}");
    assert_eq!((failed.message.as_str(), failed.exit_code), ("starting", Some(127)));
}

async fn waits_for_a_node<S: Stage>(web: &Subject<'_, S>, reason: &str) {
    web.until("a pending task with a reason", async |web| {
        let tasks = web.tasks().await;
        tasks.iter().any(|task| task.state == TaskState::Pending && task.error.contains(reason))
    })
    .await;
    web.stays(secs(3), "it waits", async |web| {
        web.see().await.update.is_none_or(|update| update.state == UpdateState::Updating)
    })
    .await;
    let tasks = web.tasks().await;
    let pending = tasks.iter().find(|task| task.state == TaskState::Pending).unwrap();
    assert!(pending.error.starts_with("no suitable node ("), "{pending:#?}");
    assert_eq!((pending.message.as_str(), pending.node_id.as_str()), ("pending task scheduling", ""));
}

async fn a_task_without_a_node_waits_and_says_why<S: Stage>(stage: &S) {
    let service = plain(stage, "web").order("start-first");
    let web = Subject::running(stage, service).await;
    web.post(|spec| {
        edited(spec, |json| {
            json["TaskTemplate"]["Placement"]["Constraints"] = json!(["node.hostname==nowhere"]);
            json["TaskTemplate"]["ContainerSpec"]["Image"] = json!(stage.image(Kind::Good(2)));
        })
    })
    .await;
    let nodes = stage.swarm().nodes().await.unwrap().len();
    waits_for_a_node(&web, &format!("scheduling constraints not satisfied on {nodes} nodes")).await;
    assert_eq!(web.running_images().await, [stage.image(Kind::Good(1))]);
}

async fn start_first_waits_for_ever_for_a_port_that_the_old_task_has<S: Stage>(stage: &S) {
    let nodes = stage.swarm().nodes().await.unwrap().len();
    let service = plain(stage, "web").replicas(nodes as u64).order("start-first").host_port(48_173);
    let web = Subject::running(stage, service).await;
    web.send(Kind::Good(2)).await;
    waits_for_a_node(&web, &format!("host-mode port already in use on {nodes} nodes")).await;
    assert_eq!(web.see().await.update.unwrap().state, UpdateState::Updating);
    assert_eq!(web.running_images().await.len(), nodes);
}

async fn a_limit_per_node_keeps_a_task_waiting<S: Stage>(stage: &S) {
    let nodes = stage.swarm().nodes().await.unwrap().len();
    let service = plain(stage, "web").replicas(nodes as u64).order("start-first").max_per_node(1);
    let web = Subject::running(stage, service).await;
    web.send(Kind::Good(2)).await;
    waits_for_a_node(&web, "max replicas per node limit exceed").await;
    assert_eq!(web.running_images().await.len(), nodes);
}

async fn a_reservation_without_room_keeps_a_task_waiting<S: Stage>(stage: &S) {
    let nodes = stage.swarm().nodes().await.unwrap();
    let memory = nodes[0].traits.capacity.as_ref().unwrap().memory / 8 * 5;
    let service = plain(stage, "web").replicas(nodes.len() as u64).order("start-first");
    let service = service.edit(|spec| {
        spec["TaskTemplate"]["Resources"] = json!({ "Reservations": { "MemoryBytes": memory } });
    });
    let web = Subject::running(stage, service).await;
    assert!(web.tasks().await.iter().all(|task| task.reserved.memory == memory));
    web.send(Kind::Good(2)).await;
    waits_for_a_node(&web, &format!("insufficient resources on {} nodes", nodes.len())).await;
    assert_eq!(web.running_images().await.len(), nodes.len());
}

async fn a_service_is_scaled_without_a_status<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web")).await;
    for replicas in [3, 1] {
        web.post(|spec| edited(spec, |json| json["Mode"]["Replicated"]["Replicas"] = json!(replicas))).await;
        web.until("scaled", async |web| web.tasks().await.len() == replicas).await;
        web.until("all run", async |web| web.running_images().await.len() == replicas).await;
        let service = web.listed().await;
        assert_eq!(service.spec.facts().mode, Mode::Replicated(replicas as u64));
        assert_eq!((service.status.unwrap().desired, service.update), (replicas as u64, None));
    }
}

async fn a_job_runs_again_with_every_update_and_has_no_status<S: Stage>(stage: &S) {
    let job = plain(stage, "job").image(&stage.image(Kind::Exits)).global_job();
    let job =
        Subject::new(stage, job.edit(|spec| _ = spec.as_object_mut().unwrap().remove("UpdateConfig"))).await;
    let nodes = stage.swarm().nodes().await.unwrap().len();
    let done = async |job: &Subject<'_, S>| {
        let tasks = job.tasks().await;
        let done = tasks.iter().filter(|task| task.state == TaskState::Complete);
        done.map(|task| task.id.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    job.until("done", async |job| done(job).await.len() == nodes).await;
    let first = done(&job).await;
    assert!(job.tasks().await.iter().all(|task| task.desired == TaskState::Complete));
    job.post(Clone::clone).await;
    job.until("done again", async |job| {
        let again = done(job).await;
        again.len() == nodes && again.is_disjoint(&first)
    })
    .await;
    let service = job.see().await;
    assert_eq!((service.spec.facts().mode, service.update), (Mode::Job, None));
    job.roll_back().await.unwrap();
    job.stays(secs(3), "a rollback of a job has no end", async |job| {
        job.see().await.update.is_some_and(|update| update.state == UpdateState::RollbackStarted)
    })
    .await;
}

async fn a_task_leaves_its_last_words<S: Stage>(stage: &S) {
    let web = Subject::new(stage, plain(stage, "web").image(&stage.image(Kind::Crashes))).await;
    web.until("a failure", async |web| web.tasks().await.iter().any(|task| task.state == TaskState::Failed))
        .await;
    let task = web.tasks().await.remove(0);
    assert_eq!(stage.swarm().task_log(&task.id, 20).await.unwrap(), ["boom"]);
    let answer = stage.swarm().task_log("nosuchtask", 20).await;
    assert!(matches!(&answer, Err(SwarmError::NotFound(_))), "{answer:?}");
}

async fn tasks_of_a_removed_service_cannot_be_listed<S: Stage>(stage: &S) {
    let swarm = stage.swarm();
    let web = Subject::running(stage, plain(stage, "web")).await;
    let service = web.see().await;
    swarm.remove_service(&web.id).await.unwrap();
    swarm.remove_service(&web.id).await.unwrap();
    let expected = SwarmError::NotFound(format!("service {} not found", web.id));
    assert_eq!(swarm.tasks(std::slice::from_ref(&web.id)).await.unwrap_err(), expected);
    assert!(swarm.service(&web.id).await.unwrap().is_none());
    let change = gantry::swarm::ServiceChange::To(&service.spec);
    assert_eq!(swarm.update_service(&web.id, service.version, change, None).await.unwrap_err(), expected);
}

async fn tasks_of_a_removed_service_are_among_all_tasks_until_they_have_ended<S: Stage>(stage: &S) {
    let swarm = stage.swarm();
    let web = Subject::running(stage, plain(stage, "web").replicas(2)).await;
    let left = async || -> Vec<Task> {
        let all = swarm.tasks(&[]).await.unwrap().into_iter();
        all.filter(|task| task.service_id == web.id).collect()
    };
    swarm.remove_service(&web.id).await.unwrap();
    let tasks = left().await;
    assert_eq!(tasks.len(), 2, "{tasks:#?}");
    assert!(tasks.iter().all(|task| task.image == stage.image(Kind::Good(1))), "{tasks:#?}");
    let began = tokio::time::Instant::now();
    loop {
        let tasks = left().await;
        let is_ending = |task: &Task| task.desired == TaskState::Remove || task.state == TaskState::Running;
        assert!(tasks.iter().all(is_ending), "{tasks:#?}");
        if tasks.is_empty() {
            break;
        }
        assert!(began.elapsed() < super::PATIENCE, "{tasks:#?}");
        tokio::time::sleep(millis(10)).await;
    }
}
