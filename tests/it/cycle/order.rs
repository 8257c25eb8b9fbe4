//! Order, groups and stacks: what begins after what, and what keeps its image.

use gantry::gate::Gate;
use gantry::model::decision::Reason;
use gantry::model::row::State;
use tokio::time::Instant;

use super::{APP, Scene, count, state};
use crate::fake::{ServiceBuilder, millis, pinned, secs};

const DATA: &str = "registry.test/data:1";

/// `shop_db`, then `shop_app`, then `shop_web`.
fn shop() -> Scene {
    let scene = Scene::new();
    scene.registry.release(DATA, "old");
    let service = |name: &str| in_stack(scene.service(name).replicas(1));
    service("shop_db").image(&pinned(DATA, "old")).create();
    service("shop_app").label("gantry.update.after", "db").create();
    service("shop_web").label("gantry.update.after", "app").create();
    scene
}

fn in_stack(service: ServiceBuilder) -> ServiceBuilder {
    service.label("com.docker.stack.namespace", "shop")
}

fn sent(scene: &Scene) -> Vec<String> {
    scene
        .swarm
        .update_log()
        .into_iter()
        .filter(|asked| !asked.is_rollback)
        .map(|asked| asked.service)
        .collect()
}

/// Why a gate holds this service.
fn why(state: &State) -> (Gate, String) {
    match state {
        State::LeftAlone(Reason::Held(held)) => (held.gate(), held.to_string()),
        State::Held(held) => held.refusal().map(|refusal| (refusal.gate, refusal.why.clone())).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn updates_follow_their_predecessors_across_images() {
    let scene = shop();
    scene.swarm.image(&scene.registry.release(DATA, "new")).starts_after(secs(30));
    scene.swarm.image(&scene.registry.release(APP, "new")).starts_after(secs(10));
    let begun = Instant::now();
    let report = scene.cycle().await;
    assert_eq!(count(&report, "updated"), 3, "{report:?}");
    assert_eq!(sent(&scene), ["shop_db", "shop_app", "shop_web"]);
    assert!(begun.elapsed() >= secs(50));
}

#[tokio::test(start_paused = true)]
async fn only_what_needs_an_update_comes_first() {
    let scene = shop();
    let new = scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!((count(&report, "updated"), count(&report, "up to date")), (2, 1), "{report:?}");
    assert_eq!(sent(&scene), ["shop_app", "shop_web"]);
    assert_eq!(scene.swarm.image_of("shop_web"), new);
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_broken_service_keeps_its_image_until_that_is_mended() {
    let scene = shop();
    scene.swarm.image(&scene.registry.release(DATA, "bad")).crashes_after(millis(300), 3);
    let new = scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!(sent(&scene), ["shop_db"]);
    assert_eq!(count(&report, "held back"), 2, "{report:?}");
    let after = |name: &str, words: &str| (Gate::Order, format!("it comes after {name}, {words}"));
    assert_eq!(why(state(&report, "shop_app")), after("shop_db", "which was rolled back"));
    assert_eq!(why(state(&report, "shop_web")), after("shop_app", "which is held back"));
    // The digest is in quarantine: there is still nothing that they could follow.
    let report = scene.cycle().await;
    assert_eq!(why(state(&report, "shop_app")), after("shop_db", "whose newest image is in quarantine"));
    assert_eq!(why(state(&report, "shop_web")), after("shop_app", "which is held back"));
    assert!(!report.has_failed(), "{report:?}");
    scene.registry.release(DATA, "good");
    let report = scene.cycle().await;
    assert_eq!(count(&report, "updated"), 3, "{report:?}");
    assert_eq!(scene.swarm.image_of("shop_web"), new);
}

#[tokio::test(start_paused = true)]
async fn a_held_predecessor_is_waited_for_only_where_that_is_asked() {
    let scene = Scene::new();
    scene.service("db").replicas(1).label("gantry.update.freezes", "2000-01-01/9999-01-01").create();
    scene.service("app").replicas(1).label("gantry.update.after", "db").create();
    scene.service("web").replicas(1).label("gantry.update.after", "!db").create();
    scene.service("tail").replicas(1).label("gantry.update.after", "!web").create();
    scene.service("end").replicas(1).label("gantry.update.after", "web").create();
    let new = scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!((count(&report, "updated"), count(&report, "held")), (2, 3), "{report:?}");
    assert_eq!([scene.swarm.image_of("app"), scene.swarm.image_of("end")], [new.clone(), new]);
    let (gate, words) = why(state(&report, "web"));
    assert_eq!(gate, Gate::Order);
    assert!(words.starts_with("it comes after db, which is held: frozen until 9999-01-01"), "{words}");
    assert_eq!(
        why(state(&report, "tail")),
        (Gate::Order, "it comes after web, which is held back".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_waits_lets_the_next_be_first() {
    let scene = Scene::new();
    scene.registry.release(DATA, "old");
    scene.service("db").replicas(1).image(&pinned(DATA, "old")).create();
    scene
        .service("chosen")
        .replicas(1)
        .label("gantry.rollout.canary", "true")
        .label("gantry.update.after", "db")
        .create();
    scene.service("web").replicas(1).create();
    scene.service("xyz").replicas(1).create();
    scene.swarm.image(&scene.registry.release(DATA, "new")).starts_after(secs(600));
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!(count(&report, "updated"), 4, "{report:?}");
    let mut first = sent(&scene)[..2].to_vec();
    first.sort();
    assert_eq!(first, ["db", "web"]);
    assert_eq!(sent(&scene)[3], "chosen", "waiting ones hold no worker");
}

#[tokio::test(start_paused = true)]
async fn members_of_a_group_follow_one_another_and_stop_with_a_failure() {
    let scene = Scene::new().with("GANTRY_ROLLOUT_INITIAL_WORKERS", 9).with("GANTRY_ROLLOUT_MIN_FAILURES", 9);
    for index in 1..=3 {
        scene.service(&format!("galera-{index}")).replicas(1).label("gantry.update.group", "galera").create();
    }
    scene.service("web").replicas(1).create();
    scene.swarm.image(&scene.registry.release(APP, "new")).starts_after(secs(20));
    let begun = Instant::now();
    assert_eq!(count(&scene.cycle().await, "updated"), 4);
    assert!(begun.elapsed() >= secs(60), "one after the other");
    assert!(begun.elapsed() < secs(120), "{:?}", begun.elapsed());

    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    let report = scene.cycle().await;
    assert_eq!((count(&report, "rolled back"), count(&report, "held back")), (2, 2), "{report:?}");
    assert_eq!(
        why(state(&report, "galera-3")),
        (Gate::Order, "its group galera is stopped by galera-1, which was rolled back".to_owned())
    );
    // In the next cycle, they have their turn again.
    scene.registry.release(APP, "good");
    assert_eq!(count(&scene.cycle().await, "updated"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stack_has_so_many_services_under_way_and_no_more() {
    for (most, seconds) in [(0, 20), (2, 60), (1, 120)] {
        let scene =
            Scene::new().with("GANTRY_ROLLOUT_INITIAL_WORKERS", 50).with("GANTRY_UPDATE_MAX_PER_STACK", most);
        for index in 0..6 {
            in_stack(scene.service(&format!("shop_{index}")).replicas(1)).create();
        }
        scene.swarm.image(&scene.registry.release(APP, "new")).starts_after(secs(20));
        let begun = Instant::now();
        assert_eq!(count(&scene.cycle().await, "updated"), 6);
        let took = begun.elapsed();
        assert!(took >= secs(seconds) && took < secs(seconds) * 2, "{most} at once: {took:?}");
        if most > 0 {
            assert!(scene.swarm.most_updating() <= most, "{}", scene.swarm.most_updating());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn circles_and_unknown_names_are_errors_and_the_others_go_on() {
    let scene = Scene::new();
    let service = |name: &str, after: &str| {
        scene.service(name).replicas(1).label("gantry.update.after", after).create();
    };
    service("a", "b");
    service("b", "a");
    service("lost", "nowhere");
    service("behind", "a");
    scene.service("free").replicas(1).create();
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!((count(&report, "error"), count(&report, "updated")), (3, 2), "{report:?}");
    let State::Error(words) = state(&report, "b") else { panic!("{report:?}") };
    assert_eq!(
        words,
        "label gantry.update.after=\"a\": expected no circle; these wait for one another: a -> b -> a"
    );
    let State::Error(words) = state(&report, "lost") else { panic!("{report:?}") };
    assert!(words.contains("there is no service nowhere"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn three_hundred_services_in_ten_rows_all_end() {
    let scene = Scene::new();
    for stack in 0..10 {
        for index in 0..30 {
            let service = scene.service(&format!("s{stack}_{index:03}")).replicas(1);
            let service = service.label("com.docker.stack.namespace", &format!("s{stack}"));
            let before = if index == 0 { String::new() } else { format!("{:03}", index - 1) };
            service.label("gantry.update.after", &before).create();
        }
    }
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!(count(&report, "updated"), 300, "{}", report.summary());
    let order = sent(&scene);
    let of_one: Vec<&String> = order.iter().filter(|name| name.starts_with("s3_")).collect();
    assert!(of_one.is_sorted() && of_one.len() == 30, "{of_one:?}");
}
