//! The fake swarm behaves as a swarm does.

use gantry::swarm::spec::Edits;
use gantry::swarm::{Change, Spec, Swarm, SwarmError, UpdateState};
use tokio::time::sleep;

use crate::fake::{Call, FakeSwarm, Fault, millis, pinned, secs};

const WEB: &str = "r.test/web:1";

fn to_image(spec: &Spec, image: &str) -> Spec {
    spec.edited(&Edits { image: Some(image.to_owned()), ..Edits::default() }).unwrap()
}

async fn update(swarm: &FakeSwarm, name: &str, image: &str) -> Result<(), SwarmError> {
    let service = swarm.see(name).unwrap();
    let spec = to_image(&service.spec, image);
    swarm.update_service(&service.id, service.version, Change::To(&spec), None).await.map(|_| ())
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
