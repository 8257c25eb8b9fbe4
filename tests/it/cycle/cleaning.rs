//! Cleaning up on all nodes, where something is in its way.

use crate::fake::World;
use gantry::context::Itself;
use gantry::cycle::Report;
use gantry::cycle::cleanup::{Cleaned, Leftovers, REMOVER_NAME, remover_name};
use gantry::cycle::remover::Removal;
use gantry::model::outcome::Outcome;
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
    let killed = scene.swarm.new_service(REMOVER_NAME).image(&older).global();
    killed.label("gantry.services.excluded", "true").create();
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
async fn a_remover_whose_making_was_not_confirmed_is_used_and_removed() {
    // As often as the engine says nothing, within two minutes.
    for lost in [1, 3] {
        let scene = scene();
        scene.swarm.fail(Call::Create, None, lost, Fault::CutAfterwards);
        let cleaned = cleaned(&scene).await;
        assert_eq!((cleaned.nodes.len(), cleaned.problem), (3, None), "{lost}");
    }
    // The engine is away right after it has made it, and so the answer is lost.
    let scene = scene();
    scene.swarm.fail(Call::Create, None, 1, Fault::CutAfterwards);
    let away = async {
        scene.swarm.until("a remover", |swarm| swarm.see(REMOVER_NAME).is_some()).await;
        scene.swarm.be_away_for(secs(40));
    };
    let (cleaned, ()) = tokio::join!(cleaned(&scene), away);
    assert_eq!((cleaned.nodes.len(), cleaned.problem), (3, None));
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_could_not_be_seen_goes_when_the_engine_is_back() {
    let scene = scene();
    scene.swarm.fail(Call::Create, None, 1, Fault::CutAfterwards);
    let context = scene.context();
    let away = async {
        scene.swarm.until("a remover", |swarm| swarm.see(REMOVER_NAME).is_some()).await;
        scene.swarm.be_away_for(secs(200));
    };
    let (report, ()) = tokio::join!(gantry::cycle::run(&context), away);
    let cleaned = report.cleanup.unwrap();
    assert!(cleaned.problem.as_deref().is_some_and(|why| why.starts_with("cannot start the image remover")));
    assert!(scene.swarm.see(REMOVER_NAME).is_some(), "nothing else could be done");
    sleep(secs(60)).await;
    // The next cycle of the process, whether or not there is something to remove.
    gantry::cycle::run(&context).await;
    assert!(scene.swarm.see(REMOVER_NAME).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_a_killed_gantry_has_left_goes_when_the_next_one_starts() {
    for is_on in [true, false] {
        let scene = scene().with("GANTRY_CLEANUP_IMAGES", is_on);
        scene.registry.release(APP, "old");
        let left = scene.swarm.new_service(REMOVER_NAME).image(&own()).global();
        left.label("gantry-image-remover.ledger", "gantry")
            .label("gantry.services.excluded", "true")
            .create();
        let other = scene.swarm.new_service(&remover_name("other")).image(&own()).global();
        other
            .label("gantry-image-remover.ledger", "other")
            .label("gantry.services.excluded", "true")
            .create();
        let context = scene.context();
        // As at the start of a process.
        context.ledger.suspect_remover();
        let report = gantry::cycle::run(&context).await;
        assert!(report.finished().next().is_none() && report.cleanup.is_none(), "{report:?}");
        assert!(scene.swarm.see(REMOVER_NAME).is_none(), "it has the socket of every node");
        assert!(scene.swarm.see(&remover_name("other")).is_some(), "that one belongs to another Gantry");
        assert!(!scene.swarm.config("gantry").unwrap().labels.contains_key("gantry.lease"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_has_the_removers_name_by_chance_is_left_alone() {
    let scene = scene();
    scene.swarm.new_service(REMOVER_NAME).image(&pinned("registry.test/mine:1", "mine")).create();
    let report = scene.cycle().await;
    let problem = report.cleanup.unwrap().problem.unwrap();
    assert!(problem.contains("is no image remover of this Gantry, and is left alone"), "{problem}");
    assert_eq!(scene.swarm.image_of(REMOVER_NAME), pinned("registry.test/mine:1", "mine"));
}

/// The same swarm and registry for a Gantry with another ledger, which looks after these services alone.
fn with_ledger(
    scene: &Scene,
    name: &str,
) -> std::sync::Arc<gantry::context::Context<crate::fake::FakeSwarm, crate::fake::FakeRegistry>> {
    let other = scene
        .again()
        .with("GANTRY_LEDGER_NAME", name)
        .with("GANTRY_SERVICES_FILTERS", format!("label=of={name}"));
    other.context()
}

#[tokio::test(start_paused = true)]
async fn two_ledgers_that_clean_at_once_both_get_clean() {
    let scene = scene();
    for name in ["one", "two"] {
        let image = format!("registry.test/{name}:1");
        scene.registry.release(&image, "old");
        scene.service(&format!("web-{name}")).image(&pinned(&image, "old")).label("of", name).create();
        scene.registry.release(&image, "new");
    }
    let removed = |name: &str| Removal {
        removed: vec![pinned(&format!("registry.test/{name}:1"), "old")],
        ..Removal::default()
    };
    scene.swarm.image(&own()).takes_to_pull(secs(5)).logging(&[&removed("one").to_line()]);
    sleep(secs(5)).await;
    let (one, two) = (with_ledger(&scene, "one"), with_ledger(&scene, "two"));
    let (one, two) = tokio::join!(gantry::cycle::run(&one), gantry::cycle::run(&two));
    for report in [one, two] {
        let cleaned = report.cleanup.unwrap();
        assert_eq!((cleaned.nodes.len(), &cleaned.problem), (3, &None), "{cleaned:?}");
    }
    for name in [REMOVER_NAME, &remover_name("one"), &remover_name("two")] {
        assert!(scene.swarm.see(name).is_none(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_of_one_ledger_do_not_end_each_others_remover() {
    let mut scene = scene();
    scene.registry.release(APP, "old");
    scene.leftovers = [pinned(APP, "older").parse().unwrap()].into();
    scene.swarm.image(&own()).takes_to_pull(secs(5)).logging(&[&Removal::default().to_line()]);
    let (one, two) = (scene.context(), scene.context());
    let (one, two) = tokio::join!(gantry::cycle::run(&one), gantry::cycle::run(&two));
    for report in [one, two] {
        let cleaned = report.cleanup.unwrap();
        assert_eq!((cleaned.nodes.len(), &cleaned.problem), (3, &None), "{cleaned:?}");
    }
    assert!(scene.swarm.see(REMOVER_NAME).is_none());
}

#[tokio::test(start_paused = true)]
async fn nodes_whose_output_does_not_come_delay_no_other_nodes_report() {
    let scene = scene();
    // Each of these requests would take a minute.
    scene.swarm.fail(Call::Log, None, 2, Fault::Hangs);
    let begun = Instant::now();
    let cleaned = cleaned(&scene).await;
    assert_eq!((nodes(&cleaned), &cleaned.problem), (vec!["node1", "node2", "node3"], &None));
    assert!(begun.elapsed() < secs(40), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_does_not_end_the_wait_for_reports() {
    let scene = scene();
    scene.swarm.image(&own()).takes_to_pull(secs(3)).logging(&[&Removal::default().to_line()]);
    scene.swarm.before(Call::Create, REMOVER_NAME, World::elect);
    let cleaned = cleaned(&scene).await;
    assert_eq!((nodes(&cleaned), &cleaned.problem), (vec!["node1", "node2", "node3"], &None));
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
    scene.swarm.fail_at(last, Fault::Error(SwarmError::Refused("not today".to_owned())));
    let cleaned = scene.cycle().await.cleanup.unwrap();
    let words = "cannot list the services: the engine refuses: not today";
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

#[tokio::test(start_paused = true)]
async fn whatever_request_goes_wrong_a_single_run_leaves_no_remover() {
    let calm = scene();
    cleaned(&calm).await;
    let calls = calm.swarm.call_log();
    let first = calls.iter().position(|(_, call)| *call == Call::Create).unwrap();
    let unavailable = || SwarmError::Unavailable("status 500".to_owned());
    for (number, (_, call)) in calls.iter().enumerate().skip(first) {
        for fault in [
            Fault::Error(unavailable()),
            Fault::CutAfterwards,
            Fault::Hangs,
            Fault::Takes(secs(50)),
            Fault::Away(secs(60)),
        ] {
            let scene = scene();
            scene.swarm.fail_at(number, fault.clone());
            let report = scene.cycle().await;
            let place = format!("{fault:?} at request {number} ({call:?}): {report:?}");
            assert_eq!(outcome(&report, "web"), &Outcome::Updated, "{place}");
            assert!(scene.swarm.see(REMOVER_NAME).is_none(), "{place}");
            assert_eq!(report.cleanup.as_ref().map(|cleaned| cleaned.nodes.len()), Some(3), "{place}");
        }
    }
}
