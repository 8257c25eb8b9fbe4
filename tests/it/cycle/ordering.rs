//! In which order services are updated, and what becomes of those whose order was wrong.

use gantry::model::cause::Cause;
use gantry::model::outcome::{By, Outcome};
use gantry::swarm::UpdateOrder;
use serde_json::{Value, json};

use super::{APP, Scene, outcome};
use crate::fake::{Call, ServiceBuilder, millis, pinned};

const GIGABYTE: u64 = 1 << 30;

/// A service that opted in and says nothing of its updates.
fn silent(scene: &Scene, name: &str) -> ServiceBuilder {
    scene.swarm.new_service(name).label("gantry.enable", "true").image(&pinned(APP, "old"))
}

fn with_volume(service: ServiceBuilder) -> ServiceBuilder {
    service.edit(|spec| spec["TaskTemplate"]["ContainerSpec"]["Mounts"] = volume())
}

fn volume() -> Value {
    json!([{ "Type": "volume", "Source": "data", "Target": "/data" }])
}

fn reserving(service: ServiceBuilder, gigabytes: u64) -> ServiceBuilder {
    service.edit(|spec| {
        spec["TaskTemplate"]["Resources"] =
            json!({ "Reservations": { "MemoryBytes": gigabytes * GIGABYTE } });
    })
}

/// The order that a service's specification has.
fn order(scene: &Scene, name: &str) -> Option<&'static str> {
    scene.swarm.spec(name).facts().update.and_then(|update| update.order).map(UpdateOrder::name)
}

/// The orders that a service was sent, without rollbacks.
fn sent(scene: &Scene, name: &str) -> Vec<Option<&'static str>> {
    let log = scene.swarm.update_log().into_iter();
    let log = log.filter(|asked| asked.service == name && !asked.is_rollback && asked.answer.is_ok());
    log.map(|asked| asked.spec.facts().update.and_then(|update| update.order).map(UpdateOrder::name))
        .collect()
}

/// What the ledger says of a service, and of orders.
fn remembered(scene: &Scene) -> (Option<String>, String) {
    let labels = scene.swarm.config("gantry").map(|object| object.labels).unwrap_or_default();
    (labels.get("gantry.service.web").cloned(), labels.get("gantry.orders").cloned().unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn start_first_is_chosen_only_where_two_tasks_can_live_side_by_side() {
    let scene = Scene::new();
    silent(&scene, "stateless").create();
    silent(&scene, "global").global().create();
    silent(&scene, "some-memory").edit(|_| ()).create();
    reserving(silent(&scene, "room").replicas(2), 2).create();
    silent(&scene, "limit-not-reached").max_per_node(1).create();
    with_volume(silent(&scene, "volume")).create();
    silent(&scene, "host-port").host_port(80).create();
    silent(&scene, "limit-reached").replicas(3).max_per_node(1).create();
    reserving(silent(&scene, "no-room").constraint("node.hostname==node3"), 5).create();
    silent(&scene, "own").order("stop-first").create();
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert!(report.finished().all(|it| it.outcome == Outcome::Updated), "{report:?}");
    for name in ["stateless", "global", "some-memory", "room", "limit-not-reached"] {
        assert_eq!(order(&scene, name), Some("start-first"), "{name}");
    }
    for name in ["volume", "host-port", "limit-reached", "no-room"] {
        assert_eq!(scene.swarm.spec(name).facts().update, None, "{name}");
    }
    assert_eq!(order(&scene, "own"), Some("stop-first"));
}

#[tokio::test(start_paused = true)]
async fn the_network_of_the_host_is_an_obstacle_and_others_are_none() {
    let scene = Scene::new();
    let on = |name: &str, network: &str| {
        let networks = json!([{ "Target": network }]);
        silent(&scene, name).edit(|spec| spec["TaskTemplate"]["Networks"] = networks).create();
    };
    scene.swarm.now(|world| {
        let host = gantry::options::Name::Network("host".to_owned());
        world.named.insert(host, "host-id".to_owned());
    });
    on("on-host", "host-id");
    on("inside", "overlay-id");
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert!(report.finished().all(|it| it.outcome == Outcome::Updated), "{report:?}");
    assert_eq!((order(&scene, "on-host"), order(&scene, "inside")), (None, Some("start-first")));
    assert_eq!(scene.swarm.calls(Call::Named).len(), 1, "it is asked once for all");
}

#[tokio::test(start_paused = true)]
async fn a_database_with_a_lock_is_updated_and_its_image_is_not_blamed() {
    let scene = Scene::new();
    with_volume(silent(&scene, "web")).create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).needs_lock(100);
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert_eq!(sent(&scene, "web"), [None]);
    assert!(!report.has_failed());
}

#[tokio::test(start_paused = true)]
async fn a_start_first_of_its_own_that_collides_is_done_stop_first_and_never_tried_again() {
    let scene = Scene::new();
    with_volume(scene.service("web").replicas(1)).create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).needs_lock(100);
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated, "{report:?}");
    assert!(!report.has_failed());
    assert_eq!(sent(&scene, "web"), [Some("start-first"), Some("stop-first")]);
    let (entry, orders) = remembered(&scene);
    assert!(entry.as_ref().is_none_or(|entry| entry.starts_with("excused")), "{entry:?}");
    assert!(orders.ends_with(":start>stop!"), "{orders}");

    let newer = scene.registry.release(APP, "newer");
    scene.swarm.image(&newer).needs_lock(100);
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated, "{report:?}");
    assert_eq!(sent(&scene, "web").len(), 3, "stop-first at once");

    // Deployed anew it asks for start-first again, and is still known.
    scene.swarm.now(|world| world.change("web", |spec| spec["UpdateConfig"]["Order"] = "start-first".into()));
    tokio::time::sleep(crate::fake::secs(30)).await;
    let newest = scene.registry.release(APP, "newest");
    scene.swarm.image(&newest).needs_lock(100);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(sent(&scene, "web").last(), Some(&Some("stop-first")));

    // Without the volume nothing stands against its own wish.
    scene.swarm.now(|world| {
        world.change("web", |spec| {
            spec["TaskTemplate"]["ContainerSpec"].as_object_mut().unwrap().remove("Mounts");
        });
    });
    tokio::time::sleep(crate::fake::secs(30)).await;
    scene.registry.release(APP, "last");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(order(&scene, "web"), Some("start-first"));
}

#[tokio::test(start_paused = true)]
async fn a_bad_image_is_found_out_stop_first_where_start_first_might_have_been_to_blame() {
    let scene = Scene::new();
    with_volume(scene.service("web").replicas(1)).create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    let report = scene.cycle().await;
    let Outcome::RolledBack { cause: Cause::TaskFailed { exit_code: Some(3), .. }, .. } =
        outcome(&report, "web")
    else {
        panic!("{report:?}")
    };
    assert_eq!(sent(&scene, "web"), [Some("start-first"), Some("stop-first")]);
    assert_eq!(order(&scene, "web"), Some("start-first"), "the rollback brings its own order back");
    let (entry, orders) = remembered(&scene);
    assert!(entry.is_some_and(|entry| entry.starts_with("quarantined")));
    assert!(!orders.contains('!'), "{orders}");
    let updates = scene.swarm.update_log().len();
    scene.cycle().await;
    assert_eq!(scene.swarm.update_log().len(), updates, "it is in quarantine");
}

#[tokio::test(start_paused = true)]
async fn a_forced_start_first_that_collides_goes_back_and_is_an_error_from_then_on() {
    let scene = Scene::new().with("GANTRY_UPDATE_ORDER", "start-first");
    with_volume(silent(&scene, "web")).create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).needs_lock(100);
    let report = scene.cycle().await;
    let Outcome::RolledBack { cause: Cause::Collision { .. }, .. } = outcome(&report, "web") else {
        panic!("{report:?}")
    };
    assert_eq!(sent(&scene, "web"), [Some("start-first")]);
    let (entry, _) = remembered(&scene);
    assert!(entry.is_some_and(|entry| entry.starts_with("excused")));
    // Not in quarantine, and not tried again either.
    let updates = scene.swarm.update_log().len();
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::Failed { cause: Cause::Order { .. } }), "{report:?}");
    assert_eq!(scene.swarm.update_log().len(), updates);
    // With the order left to Gantry it is updated.
    let scene = scene.with("GANTRY_UPDATE_ORDER", "auto");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(order(&scene, "web"), None);
}

#[tokio::test(start_paused = true)]
async fn a_start_first_that_cannot_work_is_known_before_anything_is_sent() {
    let full = |scene: &Scene| {
        scene.service("port").replicas(3).host_port(80).create();
        scene.service("global").global().host_port(81).create();
        scene.service("limit").replicas(3).max_per_node(1).create();
        reserving(scene.service("memory").replicas(3), 5).create();
        scene.registry.release(APP, "new");
    };
    let names = ["port", "global", "limit", "memory"];
    let scene = Scene::new();
    full(&scene);
    let report = scene.cycle().await;
    for name in names {
        assert_eq!(outcome(&report, name), &Outcome::Updated, "{name}");
        assert_eq!(sent(&scene, name), [Some("stop-first")], "{name}");
    }
    // At the next update for which it can work the service's own order is back.
    scene.swarm.now(|world| world.scale("port", 1));
    scene.registry.release(APP, "newer");
    scene.cycle().await;
    assert_eq!((order(&scene, "port"), order(&scene, "limit")), (Some("start-first"), Some("stop-first")));

    for wish in ["start-first", "keep"] {
        let scene = Scene::new().with("GANTRY_UPDATE_ORDER", wish);
        full(&scene);
        let report = scene.cycle().await;
        for name in names {
            let outcome = outcome(&report, name);
            assert!(matches!(outcome, Outcome::Failed { cause: Cause::Order { .. } }), "{wish} {name}");
        }
        assert_eq!(scene.swarm.update_log().len(), 0, "{wish}");
    }
    let scene = Scene::new().with("GANTRY_UPDATE_OPTIONS", "--update-order start-first");
    full(&scene);
    assert!(scene.cycle().await.has_failed());
    assert_eq!(scene.swarm.update_log().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn gantrys_own_start_first_is_not_taken_for_the_users() {
    for (what, edit) in [
        ("volume", (|spec| spec["TaskTemplate"]["ContainerSpec"]["Mounts"] = volume()) as fn(&mut Value)),
        ("host port", |spec| {
            spec["EndpointSpec"]["Ports"] = json!([{ "PublishMode": "host", "PublishedPort": 80 }]);
        }),
    ] {
        let scene = Scene::new();
        silent(&scene, "web").global().create();
        let before = scene.swarm.spec("web");
        scene.registry.release(APP, "new");
        assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
        assert_eq!(order(&scene, "web"), Some("start-first"));
        let (_, orders) = remembered(&scene);
        assert!(orders.ends_with(":none>start"), "{orders}");
        scene.swarm.now(|world| world.change("web", edit));
        tokio::time::sleep(crate::fake::secs(60)).await;

        let newer = scene.registry.release(APP, "newer");
        scene.swarm.image(&newer).needs_lock(100);
        let report = scene.cycle().await;
        assert_eq!(outcome(&report, "web"), &Outcome::Updated, "{what}: {report:?}");
        assert_eq!(scene.swarm.spec("web").facts().update, before.facts().update, "{what}: as it was made");
        scene.registry.release(APP, "newest");
        assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
        assert_eq!(remembered(&scene).1, "", "{what}: nothing of Gantry's is left");
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_set_for_a_while_does_not_stay() {
    let scene = Scene::new();
    silent(&scene, "silent").create();
    scene.service("start").create();
    scene.service("stop").order("stop-first").create();
    scene.registry.release(APP, "new");
    let scene = scene.with("GANTRY_UPDATE_ORDER", "stop-first");
    scene.cycle().await;
    assert_eq!(["silent", "start", "stop"].map(|name| order(&scene, name)), [Some("stop-first"); 3]);
    scene.registry.release(APP, "newer");
    let scene = scene.with("GANTRY_UPDATE_ORDER", "start-first");
    scene.cycle().await;
    assert_eq!(["silent", "start", "stop"].map(|name| order(&scene, name)), [Some("start-first"); 3]);
    scene.registry.release(APP, "newest");
    let scene = scene.with("GANTRY_UPDATE_ORDER", "keep");
    scene.cycle().await;
    let kept = ["silent", "start", "stop"].map(|name| order(&scene, name));
    assert_eq!(kept, [None, Some("start-first"), Some("stop-first")]);
}

#[tokio::test(start_paused = true)]
async fn room_that_is_gone_when_the_new_task_needs_it_is_done_without() {
    let scene = Scene::new();
    reserving(silent(&scene, "web").replicas(3), 4).create();
    let new = scene.registry.release(APP, "new");
    let greedy = reserving(scene.swarm.new_service("greedy").global(), 2).spec();
    scene.swarm.before(Call::Update, "web", move |world| {
        world.create(&greedy, None).unwrap();
    });
    scene.swarm.set_latency_of(Call::Update, crate::fake::secs(2));
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated, "{report:?}");
    assert_eq!(sent(&scene, "web"), [Some("start-first"), None]);
    assert_eq!(scene.swarm.running_images("web"), vec![new; 3]);
    assert!(!report.has_failed());
}

#[tokio::test(start_paused = true)]
async fn room_that_other_updates_take_for_a_while_is_waited_for() {
    let scene = Scene::new();
    // Seven of eight gigabytes: one second task at a time.
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        reserving(scene.service(name).replicas(1).constraint("node.hostname==node1"), 1).create();
    }
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).starts_after(crate::fake::secs(5));
    let report = scene.cycle().await;
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        assert_eq!(outcome(&report, name), &Outcome::Updated, "{name}: {report:?}");
        assert_eq!(sent(&scene, name), [Some("start-first")], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_rolls_back_to_the_order_that_the_service_had() {
    let scene = Scene::new();
    silent(&scene, "web").create();
    let before = scene.swarm.spec("web");
    scene.registry.release(APP, "new");
    scene.cycle().await;
    scene.swarm.now(|world| world.roll_back("web"));
    assert!(scene.swarm.spec("web").is_same_as(&before));
    tokio::time::sleep(crate::fake::secs(60)).await;
    scene.cycle().await;
    assert_eq!(remembered(&scene).1, "", "nothing of it is Gantry's any more");
}

#[tokio::test(start_paused = true)]
async fn a_collision_that_swarm_rolled_back_while_no_gantry_ran_is_no_quarantine() {
    let scene = Scene::new().with("GANTRY_UPDATE_ORDER", "start-first");
    with_volume(scene.service("web").replicas(1).failure_action("rollback")).create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).needs_lock(100);
    let report = scene.cycle().await;
    assert!(
        matches!(
            outcome(&report, "web"),
            Outcome::RolledBack { by: By::Swarm, cause: Cause::Collision { .. } }
        ),
        "{report:?}"
    );
    // As if that Gantry had died before it could write anything down.
    scene.swarm.now(|world| world.configs.clear());
    let scene = scene.with("GANTRY_UPDATE_ORDER", "auto");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_not_gantrys_to_change_stops_the_rollout_and_blames_nobody() {
    let scene = Scene::new().with("GANTRY_UPDATE_ORDER", "keep");
    for index in 0..20 {
        with_volume(scene.service(&format!("web-{index:02}")).replicas(1)).create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    let report = scene.cycle().await;
    let tried = scene.swarm.update_log().iter().filter(|asked| !asked.is_rollback).count();
    assert_eq!((tried, report.stopped.len()), (2, 1), "{report:?}");
    let labels = scene.swarm.config("gantry").unwrap().labels;
    assert!(labels.values().all(|entry| !entry.starts_with("quarantined")), "{labels:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_which_no_specification_tells_is_a_collision_too() {
    let scene = Scene::new();
    silent(&scene, "web").create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).needs_lock(1).logging(&["fatal: another instance is at work"]);
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated, "{report:?}");
    assert_eq!(sent(&scene, "web"), [Some("start-first"), None]);
    assert!(remembered(&scene).0.is_none_or(|entry| !entry.starts_with("quarantined")));
}
