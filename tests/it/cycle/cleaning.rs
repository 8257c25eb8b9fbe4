//! Cleaning up on all nodes, where something is in its way.

use gantry::cycle::cleanup::{Cleaned, Leftovers, REMOVER_NAME};
use gantry::cycle::remover::Removal;
use gantry::cycle::rollout::Outcome;
use gantry::cycle::{Itself, Report};
use gantry::swarm::{Swarm, SwarmError};
use tokio::time::{Instant, sleep};

use super::{APP, Scene, outcome};
use crate::fake::{Call, Fault, pinned, secs};

/// The image that removers run.
fn own() -> String {
    pinned("registry.test/gantry:latest", "own")
}

/// Three nodes, a service whose image is about to be replaced, and ourselves as a service that is not looked at. A remover
/// says at once that it has removed the image.
fn scene() -> Scene {
    let mut scene = Scene::new().with("GANTRY_CLEANUP_IMAGES", true);
    scene.itself = Some(Itself {
        name: "gantry".into(),
        image: Some(own()),
        replaced: None,
        task: None,
        socket: Some("/srv/docker.sock".into()),
    });
    scene.service("web").create();
    let removal = Removal { removed: vec![pinned(APP, "old")], ..Removal::default() };
    scene.swarm.image(&own()).logging(&["2026 INFO started", &removal.to_line()]);
    scene.registry.release(APP, "new");
    scene
}

/// The cycle in which that is replaced: what its cleaning did, which is no reason for it to fail. Afterwards no remover is left.
async fn cleaned(scene: &Scene) -> Cleaned {
    let report: Report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated, "{report:?}");
    assert!(!report.has_failed(), "{report:?}");
    assert!(scene.swarm.see(REMOVER_NAME).is_none(), "a remover is left: {report:?}");
    report.cleanup.expect("there is something to remove")
}

/// What the next cycles are to try again.
fn left(cleaned: &Cleaned) -> Vec<String> {
    let mut leftovers = Leftovers::default();
    leftovers.follow(Some(cleaned));
    leftovers.images().iter().map(ToString::to_string).collect()
}

fn nodes(cleaned: &Cleaned) -> Vec<&str> {
    cleaned.nodes.keys().map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_a_killed_gantry_has_left_is_replaced_and_needs_no_image() {
    let mut scene = scene();
    let older = pinned("registry.test/gantry:latest", "older");
    scene.swarm.new_service(REMOVER_NAME).image(&older).global().create();
    // Whoever was killed was another Gantry, and its image is of no use any more.
    scene.itself.as_mut().unwrap().replaced = Some(older.parse().unwrap());
    let cleaned = cleaned(&scene).await;
    assert_eq!(cleaned.images, [pinned(APP, "old"), older]);
    assert_eq!((nodes(&cleaned), &cleaned.problem), (vec!["node1", "node2", "node3"], &None));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_says_nothing_is_waited_for_two_minutes_named_and_tried_again() {
    let scene = scene();
    scene.swarm.image(&own()).on_node("node2").logging(&["2026 INFO started"]);
    let begun = Instant::now();
    let cleaned = cleaned(&scene).await;
    assert!((secs(120)..secs(135)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!((nodes(&cleaned), &cleaned.silent[..]), (vec!["node1", "node3"], &["node2".to_owned()][..]));
    assert_eq!(cleaned.problem.as_deref(), Some("no report from node2"));
    assert_eq!(left(&cleaned), [pinned(APP, "old")]);
}

#[tokio::test(start_paused = true)]
async fn removers_that_find_no_place_are_told_of_in_the_swarm_s_words() {
    let scene = scene();
    scene.swarm.image(&own()).finds_no_node("insufficient resources on 3 nodes");
    let cleaned = cleaned(&scene).await;
    let words = "no report from node1, node2, node3; no suitable node (insufficient resources on 3 nodes)";
    assert_eq!((cleaned.problem.as_deref(), cleaned.silent.len()), (Some(words), 3));
    assert_eq!(left(&cleaned), [pinned(APP, "old")]);
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_fails_is_not_waited_for_told_with_its_cause_and_tried_again() {
    let scene = scene();
    scene.swarm.image(&own()).on_node("node2").cannot_be_pulled();
    scene.swarm.image(&own()).on_node("node3").cannot_start("no such mount");
    let begun = Instant::now();
    let cleaned = cleaned(&scene).await;
    assert!(begun.elapsed() < secs(40), "{:?}", begun.elapsed());
    assert_eq!((nodes(&cleaned), &cleaned.problem), (vec!["node1", "node2", "node3"], &None));
    let failed = |node: &str| cleaned.nodes[node].failed.clone();
    let all = |cause: String| vec![("all images".to_owned(), cause)];
    assert_eq!(failed("node1"), []);
    assert_eq!(failed("node2"), all(format!("No such image: {}", own())));
    assert_eq!(failed("node3"), all("starting container failed: no such mount".to_owned()));
    assert_eq!(left(&cleaned), [pinned(APP, "old")]);
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_the_engine_refuses_is_a_warning_in_its_words_and_the_next_cycle_tries_again() {
    let mut scene = scene();
    scene.swarm.fail_next(Call::Create, SwarmError::Refused("invalid mount config".to_owned()));
    let refused = cleaned(&scene).await;
    let words = "cannot start the image remover: the engine refuses: invalid mount config";
    assert_eq!((refused.problem.as_deref(), nodes(&refused)), (Some(words), Vec::new()));
    assert_eq!(left(&refused), [pinned(APP, "old")]);

    scene.leftovers = [pinned(APP, "old").parse().unwrap()].into();
    let cleaned = scene.cycle().await.cleanup.unwrap();
    assert_eq!((cleaned.images, cleaned.nodes.len()), (vec![pinned(APP, "old")], 3));
    assert!(scene.swarm.see(REMOVER_NAME).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_remover_whose_making_was_not_confirmed_goes_with_the_next_cleaning() {
    let mut scene = scene();
    scene.swarm.fail(Call::Create, None, 1, Fault::CutAfterwards);
    let report = scene.cycle().await;
    assert!(scene.swarm.see(REMOVER_NAME).is_some(), "{report:?}");
    assert_eq!(left(&report.cleanup.unwrap()), [pinned(APP, "old")]);

    scene.leftovers = [pinned(APP, "old").parse().unwrap()].into();
    let cleaned = scene.cycle().await.cleanup.unwrap();
    assert_eq!((cleaned.nodes.len(), cleaned.problem), (3, None));
    assert!(scene.swarm.see(REMOVER_NAME).is_none());
}

#[tokio::test(start_paused = true)]
async fn images_of_which_it_is_not_known_who_needs_them_are_tried_again() {
    let mut scene = scene();
    scene.registry.release(APP, "old");
    scene.leftovers = [pinned(APP, "older").parse().unwrap()].into();
    // Who needs them is the last that is asked of services, and this cycle asks as the one before did.
    scene.cycle().await;
    let calls = scene.swarm.call_log();
    let last = calls.iter().rposition(|(_, call)| *call == Call::Services).unwrap();
    scene.swarm.clear_log();
    scene.swarm.fail_at(last, Fault::Error(SwarmError::Unavailable("no leader".to_owned())));
    let cleaned = scene.cycle().await.cleanup.unwrap();
    let words = "cannot list the services: the engine cannot be used: no leader";
    assert_eq!((cleaned.problem.as_deref(), left(&cleaned)), (Some(words), vec![pinned(APP, "older")]));
    assert!(scene.swarm.calls(Call::Create).is_empty(), "nothing is removed that may be needed");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_for_a_while_costs_a_cleaning_time_and_nothing_else() {
    // While it is waited for what the removers say, and when they are to go.
    for call in [Call::Log, Call::Remove] {
        let scene = scene();
        scene.swarm.fail(call, None, 1, Fault::Away(secs(30)));
        let cleaned = cleaned(&scene).await;
        assert_eq!((cleaned.nodes.len(), cleaned.problem), (3, None), "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_waits_for_no_remover_and_leaves_none() {
    let scene = scene();
    scene.swarm.image(&own()).logging(&[]);
    let (swarm, stop) = (scene.swarm.clone(), scene.stop.clone());
    let told = tokio::spawn(async move {
        swarm.until("a remover", |swarm| swarm.see(REMOVER_NAME).is_some()).await;
        sleep(secs(5)).await;
        stop.cancel();
        Instant::now()
    });
    let cleaned = cleaned(&scene).await;
    assert!(told.await.unwrap().elapsed() < secs(1));
    assert_eq!(cleaned.silent, ["node1", "node2", "node3"]);
}

#[tokio::test(start_paused = true)]
async fn where_it_is_switched_off_nothing_is_removed_whatever_is_left() {
    let mut scene = scene().with("GANTRY_CLEANUP_IMAGES", false);
    scene.leftovers = [pinned(APP, "older").parse().unwrap()].into();
    scene.itself.as_mut().unwrap().replaced = Some(pinned(APP, "oldest").parse().unwrap());
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert!(report.cleanup.is_none(), "{report:?}");
    for call in [Call::Create, Call::Image, Call::RemoveImage, Call::RemoveContainer] {
        assert!(scene.swarm.calls(call).is_empty(), "{call:?}");
    }
    let old = pinned(APP, "old").replace(":1@", "@");
    for node in ["node1", "node2"] {
        let here = scene.swarm.at(node).local_image(&old).await.unwrap();
        assert!(here.is_some(), "{node}");
    }
}
