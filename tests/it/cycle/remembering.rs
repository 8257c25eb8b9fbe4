//! What one cycle learns is known to the next, and to the next process.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry::cycle::by_hand;
use gantry::cycle::{self, Report};
use gantry::ledger::book::{self, Book};
use gantry::ledger::entry::DigestVerdict;
use gantry::ledger::release::ReleaseTarget;
use gantry::model::decision::Reason;
use gantry::model::held_back::Why;
use gantry::model::outcome::Outcome;
use gantry::model::row::{Row, State};
use gantry::swarm::{SwarmError, UpdateState};

use super::{APP, Scene, count, outcome};
use crate::fake::{Call, Fault, digest, millis, pinned, secs};

/// Why this service was left alone.
fn why(report: &Report, service: &str) -> Option<Why> {
    match &report.rows.iter().find(|row| row.service == service)?.state {
        State::LeftAlone(Reason::HeldBack(held)) => Some(held.why),
        _ => None,
    }
}

/// The entries of the ledger, as labels.
fn entries(scene: &Scene) -> Vec<(String, String)> {
    let labels = scene.swarm.config("gantry").map(|object| object.labels).unwrap_or_default();
    labels.into_iter().collect()
}

/// How often the ledger was written.
fn writes(scene: &Scene) -> usize {
    scene.swarm.calls(Call::CreateConfig).len() + scene.swarm.calls(Call::UpdateConfig).len()
}

/// A service, and a tag that has moved to an image that crashes.
fn broken() -> Scene {
    let scene = Scene::new();
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(100), 3);
    scene
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_broke_a_service_is_not_offered_to_it_again_until_the_tag_moves() {
    let scene = broken();
    assert!(matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }));
    let sent = scene.swarm.update_log().len();
    // Each cycle is another process.
    for _ in 0..2 {
        let report = scene.cycle().await;
        assert_eq!(why(&report, "web"), Some(Why::BrokeService), "{report:?}");
        assert!(!report.has_failed());
    }
    assert_eq!(scene.swarm.update_log().len(), sent);
    let new = scene.registry.release(APP, "fixed");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("web"), new);
    assert!(entries(&scene).iter().all(|(key, _)| key != "gantry.service.web"), "{:?}", entries(&scene));
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_is_offered_again_and_nothing_is_remembered() {
    let scene = broken().with("GANTRY_QUARANTINE", "false");
    for _ in 0..2 {
        assert!(matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }));
    }
    assert!(
        entries(&scene).iter().all(|(key, _)| !key.starts_with("gantry.service.")),
        "{:?}",
        entries(&scene)
    );
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_runs_out_by_the_engines_clock() {
    let scene = broken().with("GANTRY_QUARANTINE_SECONDS", 3_600);
    scene.cycle().await;
    assert_eq!(why(&scene.cycle().await, "web"), Some(Why::BrokeService));
    scene.swarm.now(|world| world.clock_step = jiff::SignedDuration::from_mins(61));
    assert!(matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }));
    assert_eq!(why(&scene.cycle().await, "web"), Some(Why::BrokeService), "and begins anew");
}

#[tokio::test(start_paused = true)]
async fn what_a_service_broke_of_by_the_cluster_is_not_the_images_fault() {
    let scene = Scene::new().with("GANTRY_UPDATE_TIMEOUT_SECONDS", 30);
    scene.service("web").create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).finds_no_node("insufficient resources on 3 nodes");
    assert!(matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }));
    // The rollback that the service shows from now on must not pass for a person's word.
    let (_, entry) = entries(&scene).into_iter().find(|(key, _)| key == "gantry.service.web").unwrap();
    assert!(entry.starts_with("excused "), "{entry}");
    assert!(
        matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }),
        "it is offered again"
    );
}

#[tokio::test(start_paused = true)]
async fn the_failure_is_in_the_ledger_before_the_rollback_is_over() {
    let scene = broken();
    let context = scene.context();
    let cycle = tokio::spawn(async move { cycle::run(&context).await });
    scene
        .swarm
        .until("the entry", |_| entries(&scene).iter().any(|(key, _)| key == "gantry.service.web"))
        .await;
    assert!(!cycle.is_finished());
    cycle.abort();
    scene
        .swarm
        .until("the rollback", |swarm| swarm.running_images("web") == vec![pinned(APP, "old"); 2])
        .await;
    let _ = cycle.await;
    // Killed; the lease is still there, and the next process takes it over only when there is something to do.
    assert_eq!(why(&scene.cycle().await, "web"), Some(Why::BrokeService));
}

#[tokio::test(start_paused = true)]
async fn what_swarm_rolled_back_while_nobody_looked_is_found_in_the_failed_task_and_remembered() {
    let scene = Scene::new();
    scene.service("web").failure_action("rollback").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(100), 3);
    scene.swarm.now(|world| world.set_image("web", &pinned(APP, "bad")));
    let is_over = |swarm: &crate::fake::FakeSwarm| {
        swarm.state_of("web") == Some(gantry::swarm::UpdateState::RollbackCompleted)
    };
    scene.swarm.until("the swarm's rollback", is_over).await;
    let report = scene.cycle().await;
    assert_eq!(why(&report, "web"), Some(Why::BrokeService), "{report:?}");
    // A change of a label makes the service forget; the ledger does not.
    scene.swarm.now(|world| world.set_label("web", "a", "b"));
    scene.swarm.clear_log();
    assert_eq!(why(&scene.cycle().await, "web"), Some(Why::BrokeService));
    assert!(scene.swarm.calls(Call::Tasks).is_empty() && writes(&scene) == 0);
}

#[tokio::test(start_paused = true)]
async fn a_persons_rollback_stands_also_after_another_change_until_the_tag_moves_on() {
    let scene = Scene::new();
    scene.service("web").create();
    scene.registry.release(APP, "new");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    scene.swarm.now(|world| world.roll_back("web"));
    assert_eq!(why(&scene.cycle().await, "web"), Some(Why::LeftByHand));
    scene.swarm.now(|world| world.set_label("web", "a", "b"));
    assert_eq!(why(&scene.cycle().await, "web"), Some(Why::LeftByHand));
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
    // What the person does comes to its end first.
    tokio::time::sleep(secs(60)).await;
    scene.registry.release(APP, "newer");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
}

#[tokio::test(start_paused = true)]
async fn an_older_digest_set_by_hand_stands_and_a_tag_that_goes_back_is_followed() {
    let scene = Scene::new();
    scene.service("web").create();
    scene.service("other").create();
    scene.registry.release(APP, "new");
    scene.cycle().await;
    scene.swarm.now(|world| world.set_image("web", &pinned(APP, "old")));
    let report = scene.cycle().await;
    assert_eq!(why(&report, "web"), Some(Why::LeftByHand), "{report:?}");
    let is_over = |swarm: &crate::fake::FakeSwarm| swarm.state_of("web") == Some(UpdateState::Completed);
    scene.swarm.until("the end of the person's update", is_over).await;
    // The publisher takes the new image back: `other` goes back too, when the tag has stood there for a while.
    scene.registry.release(APP, "old");
    let report = scene.cycle().await;
    assert_eq!((count(&report, "left alone"), count(&report, "up to date")), (1, 1), "{report:?}");
    tokio::time::sleep(secs(300)).await;
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "other"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("other"), pinned(APP, "old"));
    assert_eq!(count(&report, "up to date"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_without_failures_writes_the_ledger_twice_and_an_idle_cycle_never() {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 3);
    for index in 0..20 {
        scene.service(&format!("web-{index:02}")).create();
    }
    assert_eq!((count(&scene.cycle().await, "up to date"), writes(&scene)), (20, 0));
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert!(report.finished().all(|finished| finished.outcome == Outcome::Updated));
    assert_eq!(writes(&scene), 2);
    scene.cycle().await;
    assert_eq!(writes(&scene), 2);
    let labels = entries(&scene);
    assert_eq!(labels.len(), 1, "{labels:?}");
    assert!(labels[0].1.starts_with(&format!("offered digest={}", digest("new"))), "{labels:?}");
}

#[tokio::test(start_paused = true)]
async fn many_failures_at_once_are_few_writes() {
    let scene =
        Scene::new().with("GANTRY_ROLLOUT_INITIAL_WORKERS", 40).with("GANTRY_ROLLOUT_MIN_FAILURES", 99);
    for index in 0..40 {
        let node = format!("node.hostname==node{}", 1 + index % 3);
        scene.service(&format!("web-{index:02}")).constraint(&node).monitor(secs(10)).create();
    }
    let bad = scene.registry.release(APP, "bad");
    for (node, seconds) in [("node1", 1), ("node2", 4), ("node3", 7)] {
        scene.swarm.image(&bad).on_node(node).crashes_after(secs(seconds), 3);
    }
    scene.swarm.clear_log();
    let report = scene.cycle().await;
    let rolled_back = report.counts().get("rolled back").copied();
    let remembered = entries(&scene).iter().filter(|(_, text)| text.starts_with("quarantined ")).count();
    assert_eq!((rolled_back, remembered), (Some(40), 40), "{report:?}");
    assert!(writes(&scene) <= 6, "{} writes", writes(&scene));
    let mut times = scene.swarm.calls(Call::UpdateConfig);
    // The lease is given back at once.
    times.pop();
    assert!(times.len() > 1 && times.windows(2).all(|two| two[1] >= two[0] + secs(2)), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_ledger_that_comes_late_loses_nothing() {
    const OTHER: &str = "registry.test/other:1";
    let scene = Scene::new();
    scene.service("web").create();
    scene.registry.release(OTHER, "old");
    scene.service("other").image(&pinned(OTHER, "old")).create();
    scene.registry.release(APP, "new");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    scene.swarm.now(|world| world.roll_back("web"));
    tokio::time::sleep(secs(60)).await;
    scene.registry.release(OTHER, "new");
    // What the service shows is written together with the lease, and by the time of the answer somebody else has looked.
    scene.swarm.fail(Call::UpdateConfig, None, 1, Fault::AnswersLate(secs(5)));
    let report = scene.cycle().await;
    assert_eq!((outcome(&report, "other"), why(&report, "web")), (&Outcome::Updated, Some(Why::LeftByHand)));
    let is_remembered =
        |(key, text): &(String, String)| key == "gantry.service.web" && text.starts_with("left-by-hand ");
    assert!(entries(&scene).iter().any(is_remembered), "{:?}", entries(&scene));
}

#[tokio::test(start_paused = true)]
async fn where_configs_are_forbidden_the_process_remembers_for_itself() {
    let scene = broken();
    let forbidden = || Fault::Error(SwarmError::Forbidden("403 Forbidden".to_owned()));
    for call in [Call::Config, Call::CreateConfig, Call::UpdateConfig] {
        scene.swarm.fail(call, None, usize::MAX, forbidden());
    }
    let context = scene.context();
    assert!(matches!(outcome(&cycle::run(&context).await, "web"), Outcome::RolledBack { .. }));
    assert_eq!(why(&cycle::run(&context).await, "web"), Some(Why::BrokeService));
    assert_eq!(scene.swarm.calls(Call::Config).len(), 1, "it is tried once");
}

#[tokio::test(start_paused = true)]
async fn writing_may_be_forbidden_alone() {
    let scene = broken();
    let forbidden = Fault::Error(SwarmError::Forbidden("405 Method Not Allowed".to_owned()));
    scene.swarm.fail(Call::CreateConfig, None, usize::MAX, forbidden);
    let context = scene.context();
    assert!(matches!(outcome(&cycle::run(&context).await, "web"), Outcome::RolledBack { .. }));
    assert_eq!(why(&cycle::run(&context).await, "web"), Some(Why::BrokeService));
}

#[tokio::test(start_paused = true)]
async fn a_config_that_is_somebody_elses_is_not_touched() {
    let scene = broken();
    let theirs =
        |world: &mut crate::fake::World| world.create_config("gantry", &[].into(), "dGhlaXJz").unwrap();
    scene.swarm.now(|world| _ = theirs(world));
    let before = scene.swarm.config("gantry");
    assert!(matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }));
    assert_eq!(scene.swarm.config("gantry"), before);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_entry_is_ignored_and_kept_and_the_others_count() {
    let scene = broken();
    scene.cycle().await;
    let object = scene.swarm.config("gantry").unwrap();
    let mut labels = object.labels.clone();
    labels.insert("gantry.service.ghost".to_owned(), "quarantined, I think".to_owned());
    scene.swarm.now(|world| world.update_config(&object.id, object.version, &labels).unwrap());
    let report = scene.cycle().await;
    assert_eq!(why(&report, "web"), Some(Why::BrokeService));
    scene.registry.release(APP, "fixed");
    scene.cycle().await;
    let labels = scene.swarm.config("gantry").unwrap().labels;
    assert_eq!(Book::read(&labels).damaged, ["gantry.service.ghost"]);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_cannot_be_read_stops_the_cycle_before_anything_is_offered() {
    let scene = broken();
    let away = Fault::Error(SwarmError::Unavailable("no leader".to_owned()));
    scene.swarm.fail(Call::Config, None, 1_000, away);
    let report = scene.cycle().await;
    assert!(
        report.error.as_deref().is_some_and(|error| error.contains("cannot read the ledger")),
        "{report:?}"
    );
    assert!(scene.swarm.update_log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_gone_is_forgotten_with_the_next_write() {
    let scene = broken();
    scene.service("shop").create();
    scene.cycle().await;
    scene.swarm.now(|world| world.remove("web").unwrap());
    // This one is still there, but not looked at any more.
    scene.swarm.now(|world| world.set_label("shop", "gantry.enable", "false"));
    let other = scene.registry.release("registry.test/other:1", "old");
    scene.service("third").image(&other).create();
    scene.registry.release("registry.test/other:1", "new");
    assert_eq!(outcome(&scene.cycle().await, "third"), &Outcome::Updated);
    let services = entries(&scene).into_iter().filter(|(key, _)| key.starts_with("gantry.service."));
    assert_eq!(services.map(|(key, _)| key).collect::<Vec<_>>(), ["gantry.service.shop"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_write_at_once_nothing_is_lost_whoever_is_faster() {
    let scene =
        Scene::new().with("GANTRY_ROLLOUT_MIN_FAILURES", 99).with("GANTRY_ROLLOUT_INITIAL_WORKERS", 50);
    for index in 0..4 {
        scene.service(&format!("web-{index}")).create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(100), 3);
    // Before each of the next writes, somebody else writes an entry about a service of their own.
    for index in 0..8 {
        scene.swarm.before_any(Call::UpdateConfig, move |world| {
            let object = world.configs["gantry"].clone();
            let mut labels = object.labels.clone();
            let text = format!(
                "quarantined image=other:1 digest={} service=id-{index} at=2026-01-01T00:00:00Z",
                digest("theirs")
            );
            labels.insert(format!("gantry.service.theirs-{index}"), text);
            world.update_config(&object.id, object.version, &labels).unwrap();
        });
    }
    scene.cycle().await;
    let written: Vec<String> = entries(&scene).into_iter().map(|(key, _)| key).collect();
    for name in
        (0..4).map(|index| format!("web-{index}")).chain((0..8).map(|index| format!("theirs-{index}")))
    {
        assert!(written.contains(&format!("gantry.service.{name}")), "{name} is lost: {written:?}");
    }
    assert!(!written.contains(&"gantry.lease".to_owned()), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn a_release_by_hand_in_the_middle_of_a_rollout_and_what_that_rollout_learns_are_both_kept() {
    const OTHER: &str = "registry.test/other:1";
    let scene = broken();
    scene.cycle().await;
    let old = scene.registry.release(OTHER, "old");
    scene.service("third").image(&old).create();
    let bad = scene.registry.release(OTHER, "bad");
    scene.swarm.image(&bad).starts_after(secs(20)).crashes_after(millis(100), 3);
    let context = scene.context();
    let rollout = tokio::spawn(async move { cycle::run(&context).await });
    scene.swarm.until("the lease", |_| entries(&scene).iter().any(|(key, _)| key == "gantry.lease")).await;
    let release = by_hand::release(
        &scene.config(),
        &std::sync::Arc::new(scene.swarm.clone()),
        &ReleaseTarget::Named("web".to_owned()),
    )
    .await
    .unwrap();
    assert_eq!(release.released.len(), 1, "{release:?}");
    assert!(matches!(outcome(&rollout.await.unwrap(), "third"), Outcome::RolledBack { .. }));
    let labels = scene.swarm.config("gantry").unwrap().labels;
    let verdict = |name: &str| {
        let book = Book::read(&labels);
        book.service(name, &scene.swarm.see(name).unwrap().id).map(|entry| entry.verdict)
    };
    assert_eq!(
        (verdict("web"), verdict("third")),
        (Some(DigestVerdict::Released), Some(DigestVerdict::Quarantined))
    );
    assert_eq!(book::lease(&labels), None);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_full_forgets_what_says_least_and_offers_nothing_that_has_no_room() {
    for (verdict, is_full) in [("offered", false), ("quarantined", true)] {
        let scene = broken();
        let images = (0..128).map(|index| {
            let text = format!("{verdict} digest={} at=2025-01-01T00:00:00Z", digest("theirs"));
            (format!("gantry.image.other:{index}"), text)
        });
        let (labels, data) = (images.collect(), STANDARD.encode(gantry::ledger::TEXT));
        scene.swarm.now(|world| _ = world.create_config("gantry", &labels, &data).unwrap());
        let report = scene.cycle().await;
        if is_full {
            let is_full = |row: &Row| matches!(row.state, State::LeftAlone(Reason::LedgerFull(_)));
            assert!(report.rows.iter().all(is_full), "{report:?}");
            assert!(report.is_incomplete() && scene.swarm.update_log().is_empty());
            assert_eq!(writes(&scene), 0, "{:?}", scene.swarm.call_log());
            continue;
        }
        assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { .. }));
        let labels = entries(&scene);
        let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(labels.len() <= 128 && bytes <= 32 << 10, "{} entries, {bytes} bytes", labels.len());
        assert!(
            labels.iter().any(|(key, _)| key == "gantry.service.web"),
            "a quarantine says more than an offer"
        );
        let (sent, written) = (scene.swarm.update_log().len(), writes(&scene));
        let report = scene.cycle().await;
        assert!(why(&report, "web").is_some() && scene.swarm.update_log().len() == sent, "{report:?}");
        assert_eq!(writes(&scene), written);
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_by_the_end_of_a_cycle_is_written_by_the_next_one() {
    let scene = broken();
    let no_leader = SwarmError::Unavailable("no leader (status 500)".to_owned());
    scene.swarm.fail(Call::UpdateConfig, None, usize::MAX, Fault::Error(no_leader));
    let context = scene.context();
    assert!(matches!(outcome(&cycle::run(&context).await, "web"), Outcome::RolledBack { .. }));
    assert!(entries(&scene).iter().all(|(key, _)| key != "gantry.service.web"));
    scene.swarm.heal();
    assert_eq!(why(&cycle::run(&context).await, "web"), Some(Why::BrokeService));
    let labels = entries(&scene);
    assert!(labels.iter().any(|(key, text)| key == "gantry.service.web" && text.starts_with("quarantined ")));
    assert!(labels.iter().all(|(key, _)| key != "gantry.lease"), "{labels:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_of_one_repository_push_out_no_others_and_what_finds_no_room_is_held() {
    let scene = broken();
    assert!(matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }));
    let name = |number: usize| format!("registry.test/base:{number}");
    for number in 0..150 {
        let service =
            scene.swarm.new_service(&format!("base-{number:03}")).image(&pinned(&name(number), "old"));
        service.label("gantry.enable", "true").replicas(1).create();
        let bad = scene.registry.release(&name(number), "bad");
        scene.swarm.image(&bad).crashes_after(millis(100), 3);
    }
    scene.swarm.clear_log();
    for _ in 0..4 {
        let report = scene.cycle().await;
        assert_eq!(why(&report, "web"), Some(Why::BrokeService), "{}", report.summary());
        let is_full = |row: &Row| matches!(row.state, State::LeftAlone(Reason::LedgerFull(_)));
        if report.rows.iter().any(is_full) {
            assert!(report.has_failed() || report.is_incomplete());
        }
    }
    let mut tried: Vec<String> = Vec::new();
    for asked in scene.swarm.update_log().iter().filter(|asked| !asked.is_rollback) {
        assert!(!tried.contains(&asked.service), "{} was offered its broken image again", asked.service);
        tried.push(asked.service.clone());
    }
    assert!((24..=74).contains(&tried.len()), "{}", tried.len());
    // What is mended makes room by itself.
    for number in 0..150 {
        scene.registry.release(&name(number), "fixed");
    }
    for _ in 0..3 {
        scene.cycle().await;
    }
    for number in 0..150 {
        let image = scene.swarm.image_of(&format!("base-{number:03}"));
        assert_eq!(image, pinned(&name(number), "fixed"));
    }
}
