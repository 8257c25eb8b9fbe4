//! Two Gantrys on one swarm: one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry::context::Itself;
use gantry::cycle;
use gantry::cycle::Report;
use gantry::model::outcome::Outcome;
use gantry::swarm::SwarmError;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{APP, Scene, count, outcome};
use crate::fake::{Call, FakeSwarm, Fault, millis, secs};

/// A swarm with a tag that has moved, and services whose update takes so long.
fn slow(services: usize, each: Duration) -> Scene {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 1).with("GANTRY_SLEEP_SECONDS", 3_600);
    for index in 0..services {
        scene.service(&format!("web-{index}")).replicas(1).create();
    }
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).starts_after(each);
    scene
}

fn start(scene: &Scene) -> tokio::task::JoinHandle<Report> {
    let context = scene.context();
    tokio::spawn(async move { cycle::run(&context).await })
}

fn holder(swarm: &FakeSwarm) -> Option<String> {
    swarm.config("gantry")?.labels.get("gantry.lease").cloned()
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_in_time_is_not_sent_once_another_gantry_has_taken_over() {
    let scene = Scene::new();
    scene.service("web").create();
    let new = scene.registry.release(APP, "new");
    // The engine is away after the look at the cluster that lets the update begin, and another Gantry process takes over.
    scene.swarm.before_any(Call::Nodes, |world| {
        let now = world.now;
        world.script.be_away(now, now + secs(60));
    });
    scene.swarm.later(secs(30), |world| {
        let object = world.configs.get("gantry").expect("a ledger").clone();
        let mut labels = object.labels.clone();
        labels.insert("gantry.lease".to_owned(), "by=other who=other".to_owned());
        world.update_config(&object.id, object.version, &labels).expect("the lease");
    });
    let report = scene.cycle().await;
    assert!(scene.swarm.update_log().is_empty(), "{report:?}");
    assert_ne!(scene.swarm.image_of("web"), new);
    assert!(!report.has_failed(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn the_second_waits_for_the_first_and_finds_its_work_done() {
    let scene = slow(6, secs(30));
    let first = start(&scene);
    sleep(secs(5)).await;
    let second = start(&scene).await.unwrap();
    let first = first.await.unwrap();
    assert!(first.finished().all(|finished| finished.outcome == Outcome::Updated));
    assert_eq!(
        (first.finished().count(), second.finished().count(), count(&second, "up to date")),
        (6, 0, 6)
    );
    assert_eq!(scene.swarm.update_log().len(), 6, "nothing was sent twice");
    assert_eq!(holder(&scene.swarm), None, "given back");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_lives_is_waited_for_no_longer_than_the_interval_and_that_is_no_failure() {
    let scene = slow(6, secs(100)).with("GANTRY_SLEEP_SECONDS", 120);
    let first = start(&scene);
    sleep(secs(5)).await;
    let begun = Instant::now();
    let second = start(&scene).await.unwrap();
    assert!((secs(120)..secs(130)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(second.postponed.is_some() && !second.has_failed(), "{second:?}");
    assert!(second.finished().next().is_none() && second.held().count() >= 4, "{second:?}");
    assert!(second.summary().contains("postponed: another Gantry (node1/"), "{}", second.summary());
    assert_eq!(first.await.unwrap().finished().count(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_replaced_within_a_minute() {
    let scene = slow(6, secs(30));
    let first = start(&scene);
    sleep(secs(40)).await;
    first.abort();
    let begun = Instant::now();
    assert!(holder(&scene.swarm).is_some());
    let second = start(&scene);
    let sent = scene.swarm.update_log().len();
    scene.swarm.until("the takeover", |swarm| swarm.update_log().len() > sent).await;
    assert!((secs(15)..secs(60)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let report = second.await.unwrap();
    assert!(report.finished().all(|finished| finished.outcome == Outcome::Updated), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_task_has_ended_is_replaced_at_once() {
    let mut scene = slow(2, secs(30));
    let own = scene.registry.release("registry.test/gantry:1", "own");
    let id = scene.swarm.new_service("gantry").image(&own).replicas(1).create();
    let task = scene.swarm.tasks_of("gantry")[0].id.clone();
    scene.itself = Some(Itself {
        name: "gantry".into(),
        image: None,
        replaced: None,
        task: Some((id, task)),
        socket: None,
    });
    let first = start(&scene);
    sleep(secs(10)).await;
    first.abort();
    scene.swarm.now(|world| world.scale("gantry", 0));
    sleep(secs(5)).await;
    let begun = Instant::now();
    let second = start(&scene);
    let taken = holder(&scene.swarm);
    scene.swarm.until("the takeover", |swarm| holder(swarm) != taken).await;
    assert!(begun.elapsed() < secs(2), "{:?}", begun.elapsed());
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_the_first_gives_back_and_a_waiting_one_stops_at_once() {
    let scene = slow(4, secs(60));
    let first = start(&scene);
    sleep(secs(5)).await;
    let mut other = Scene { stop: tokio_util::sync::CancellationToken::new(), ..slow(0, secs(1)) };
    other.swarm = scene.swarm.clone();
    other.registry = scene.registry.clone();
    let waiting = start(&other);
    sleep(secs(10)).await;
    other.stop.cancel();
    let begun = Instant::now();
    let report = waiting.await.unwrap();
    assert!(
        begun.elapsed() < secs(1) && report.is_interrupted && report.held().next().is_some(),
        "{report:?}"
    );
    scene.stop.cancel();
    first.await.unwrap();
    assert!(begun.elapsed() < secs(1) && holder(&scene.swarm).is_none());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_see_the_ledger_begins_no_update_until_it_can() {
    let scene = slow(8, secs(20));
    let first = start(&scene);
    sleep(secs(5)).await;
    scene.swarm.be_away_for(secs(100));
    sleep(secs(100)).await;
    let begun_by_then = scene.swarm.update_log().len();
    assert!(begun_by_then <= 1, "{begun_by_then}");
    let report = first.await.unwrap();
    assert!(report.finished().all(|finished| finished.outcome == Outcome::Updated), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn who_has_lost_the_lease_begins_no_update_and_watches_what_is_under_way() {
    let scene = slow(4, secs(40));
    let first = start(&scene);
    sleep(secs(10)).await;
    // It hung, and somebody has taken over.
    scene.swarm.now(|world| {
        let object = world.configs["gantry"].clone();
        let mut labels = object.labels.clone();
        labels.insert("gantry.lease".to_owned(), "by=another who=another".to_owned());
        world.update_config(&object.id, object.version, &labels).unwrap();
    });
    let report = first.await.unwrap();
    assert_eq!((report.finished().count(), report.held().count()), (1, 3), "{report:?}");
    assert_eq!(outcome(&report, "web-0"), &Outcome::Updated);
    assert!(!report.has_failed());
    assert_eq!(
        holder(&scene.swarm).as_deref(),
        Some("by=another who=another"),
        "it is not ours to give back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_removed_during_a_rollout_is_made_anew_with_the_lease() {
    let scene = slow(4, secs(30));
    let first = start(&scene);
    sleep(secs(10)).await;
    scene.swarm.now(|world| {
        let id = world.configs["gantry"].id.clone();
        world.remove_config(&id).unwrap();
    });
    scene.swarm.until("a new one", |swarm| holder(swarm).is_some()).await;
    let report = first.await.unwrap();
    assert_eq!(report.finished().count(), 4, "{report:?}");
    assert_eq!(holder(&scene.swarm), None);
}

#[tokio::test(start_paused = true)]
async fn answers_to_writes_that_are_lost_do_no_harm() {
    let scene = slow(3, secs(5));
    for call in [Call::CreateConfig, Call::UpdateConfig] {
        scene.swarm.fail(call, None, 1, Fault::CutAfterwards);
    }
    let report = scene.cycle().await;
    assert_eq!(report.finished().count(), 3, "{report:?}");
    let report = scene.cycle().await;
    assert_eq!(count(&report, "up to date"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_could_not_be_given_back_is_given_back_after_the_next_cycle() {
    let scene = slow(1, secs(5));
    let context = scene.context();
    let swarm = scene.swarm.clone();
    tokio::spawn(async move {
        swarm.until("the lease", |swarm| holder(swarm).is_some()).await;
        let error = SwarmError::Unavailable("status 503".to_owned());
        // The only write that is left to do.
        swarm.fail(Call::UpdateConfig, None, 1, Fault::Error(error));
    });
    cycle::run(&context).await;
    assert!(holder(&scene.swarm).is_some(), "it could not be given back");
    let report = cycle::run(&context).await;
    assert_eq!((count(&report, "up to date"), holder(&scene.swarm)), (1, None), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn many_at_once_update_each_service_once() {
    let scene = Arc::new(slow(5, secs(10)));
    let all: Vec<_> = (0..4).map(|_| start(&scene)).collect();
    for one in all {
        assert!(!one.await.unwrap().has_failed());
    }
    assert_eq!(scene.swarm.update_log().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn where_configs_become_forbidden_during_a_rollout_it_goes_on_alone() {
    let scene = slow(5, secs(10));
    let first = start(&scene);
    sleep(secs(5)).await;
    let forbidden = SwarmError::Forbidden("403 Forbidden".to_owned());
    scene.swarm.fail(Call::Config, None, usize::MAX, Fault::Error(forbidden));
    let begun = Instant::now();
    let report = first.await.unwrap();
    assert_eq!(report.finished().count(), 5, "{report:?}");
    assert!(begun.elapsed() < secs(120), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_ledger_whose_name_is_taken_and_that_nobody_finds_is_not_tried_for_ever() {
    let scene = slow(2, secs(5));
    scene.swarm.now(|world| _ = world.create_config("Gantry", &BTreeMap::new(), "").expect("a config"));
    let report = tokio::time::timeout(secs(600), scene.cycle()).await.expect("an end");
    assert_eq!((report.finished().count(), report.has_failed()), (2, false), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_the_engine_does_not_write_is_tried_for_three_minutes_and_then_the_cycle_fails_for_it()
{
    let scene = slow(2, secs(5));
    let broken = SwarmError::Unavailable("raft is out of order (status 500)".to_owned());
    scene.swarm.fail(Call::CreateConfig, None, usize::MAX, Fault::Error(broken));
    let begun = Instant::now();
    let report = scene.cycle().await;
    assert!((secs(180)..secs(190)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(report.has_failed() && report.postponed.is_none(), "{report:?}");
    let error = report.error.unwrap_or_default();
    assert!(error.contains("cannot write the ledger") && error.contains("raft is out of order"), "{error}");
    assert!(scene.swarm.update_log().is_empty(), "nothing begins without the lease");
    let tries = scene.swarm.calls(Call::CreateConfig);
    assert!(tries.windows(2).all(|two| two[1] >= two[0] + secs(2)), "{tries:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_refuses_for_good_is_not_tried_again() {
    let scene = slow(2, secs(5));
    let refused = SwarmError::Refused("invalid config name".to_owned());
    scene.swarm.fail(Call::CreateConfig, None, usize::MAX, Fault::Error(refused));
    let report = scene.cycle().await;
    assert!(report.error.is_some_and(|error| error.contains("invalid config name")));
    assert_eq!(scene.swarm.calls(Call::CreateConfig).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_writes_again_after_a_minute_costs_that_minute() {
    let scene = slow(2, secs(5));
    let broken = SwarmError::Unavailable("no leader (status 500)".to_owned());
    scene.swarm.fail(Call::CreateConfig, None, 20, Fault::Error(broken));
    let report = scene.cycle().await;
    assert_eq!((report.finished().count(), report.has_failed()), (2, false), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_by_hours_makes_no_live_holder_dead() {
    let scene = slow(6, secs(30));
    let first = start(&scene);
    sleep(secs(5)).await;
    let second = start(&scene);
    let held = holder(&scene.swarm).expect("a lease");
    for minutes in [60, -600, 0, 3, -3] {
        sleep(secs(10)).await;
        scene.swarm.now(|world| world.clock_step = jiff::SignedDuration::from_mins(minutes));
        let now = holder(&scene.swarm);
        assert_eq!(now.as_ref(), Some(&held), "taken over from a holder that lives");
    }
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(
        (first.finished().count(), second.finished().count(), count(&second, "up to date")),
        (6, 0, 6)
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_keep_a_dead_holder_alive() {
    let scene = slow(6, secs(30));
    let first = start(&scene);
    sleep(secs(40)).await;
    first.abort();
    let second = start(&scene);
    let (begun, held) = (Instant::now(), holder(&scene.swarm));
    sleep(secs(10)).await;
    scene.swarm.now(|world| world.clock_step = jiff::SignedDuration::from_hours(-5));
    scene.swarm.until("the takeover", |swarm| holder(swarm) != held).await;
    assert!(begun.elapsed() < secs(60), "{:?}", begun.elapsed());
    assert!(!second.await.unwrap().has_failed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_could_not_be_given_back_is_looked_at_again_before_it_is_believed() {
    let scene = slow(1, secs(1));
    let context = scene.context();
    scene.swarm.fail(Call::UpdateConfig, None, 1, Fault::Error(SwarmError::Unavailable("away".to_owned())));
    assert_eq!(outcome(&cycle::run(&context).await, "web-0"), &Outcome::Updated);
    assert!(holder(&scene.swarm).is_some(), "it could not be given back");

    // While registries are slow, another one takes it over.
    let newer = scene.registry.release(APP, "newer");
    // For a digest, and for what stands behind it.
    scene.registry.set_latency(secs(30));
    scene.swarm.later(secs(30), |world| {
        let object = world.configs.get("gantry").expect("a ledger").clone();
        let mut labels = object.labels.clone();
        labels.insert("gantry.lease".to_owned(), "by=another who=another".to_owned());
        world.update_config(&object.id, object.version, &labels).expect("the lease");
    });
    // And nobody is quick to see it.
    scene.swarm.later(secs(40), |world| world.script.set_latency(Some(Call::Config), secs(5)));
    scene.swarm.clear_log();
    let begun = Instant::now();
    let running = tokio::spawn(async move { cycle::run(&context).await });
    scene.swarm.until("a look at the other image", |_| scene.registry.lookups_of(APP) > 1).await;
    sleep(secs(75).saturating_sub(begun.elapsed())).await;
    assert!(scene.swarm.update_log().is_empty(), "it is somebody else's turn");
    running.abort();
    assert_ne!(scene.swarm.image_of("web-0"), newer);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_given_back_unheard_is_not_believed_while_the_ledger_cannot_be_read() {
    let scene = slow(1, secs(1));
    let context = scene.context();
    assert_eq!(outcome(&cycle::run(&context).await, "web-0"), &Outcome::Updated);
    // The ledger as a look reads it that begins before an earlier run has given the lease back, unheard.
    scene.swarm.now(|world| {
        let object = world.configs.get("gantry").expect("a ledger").clone();
        let mut labels = object.labels.clone();
        labels.insert("gantry.lease".to_owned(), format!("by={} who=me", context.ledger.id()));
        world.update_config(&object.id, object.version, &labels).expect("the lease");
    });
    scene.registry.release(APP, "newer");
    scene.registry.set_latency(secs(30));
    scene.swarm.clear_log();
    scene.swarm.later(secs(10), |world| {
        let object = world.configs.get("gantry").expect("a ledger").clone();
        let mut labels = object.labels.clone();
        labels.insert("gantry.lease".to_owned(), "by=another who=another".to_owned());
        world.update_config(&object.id, object.version, &labels).expect("the lease");
        // When it is asked again, the engine does not answer.
        world.script.fail(Call::Config, None, 1, Fault::Error(SwarmError::Unavailable("away".to_owned())));
    });
    let running = tokio::spawn(async move { cycle::run(&context).await });
    scene.swarm.until("a look at the other image", |_| scene.registry.lookups_of(APP) > 1).await;
    sleep(secs(75)).await;
    assert!(scene.swarm.update_log().is_empty(), "another Gantry has the lease");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn what_the_process_itself_has_written_is_no_other_gantrys_work() {
    use gantry::ledger::Ledger;
    use gantry::ledger::acquire::{LeaseOutcome, LeaseRequest};
    use gantry::ledger::book::LedgerChange;
    use gantry::ledger::entry::{DigestVerdict, Entry, Subject};
    use gantry::swarm::Swarm;

    let entry = |name: &str| Entry {
        subject: Subject::Image(name.to_owned()),
        verdict: DigestVerdict::Offered,
        image: name.to_owned(),
        digest: crate::fake::digest(name),
        service_id: String::new(),
        at: jiff::Timestamp::UNIX_EPOCH,
        node: String::new(),
        before: Vec::new(),
        had: Vec::new(),
        stopped: Vec::new(),
        flips: 0,
        cause: String::new(),
    };
    // Between what the process notes and its wish for the lease: nothing, its own write, another's write.
    for (wait, is_other, expected) in [
        (0, false, LeaseOutcome::Ours),
        (5, false, LeaseOutcome::Ours),
        (5, true, LeaseOutcome::OursAfterWait),
    ] {
        let scene = Scene::new();
        let swarm = &scene.swarm;
        // A write takes longer than what lies between the two.
        swarm.set_latency_of(Call::UpdateConfig, secs(2));
        let (ledger, other) = (Ledger::new("gantry"), Ledger::new("gantry"));
        let engine = swarm.engine().await.unwrap();
        for ledger in [&ledger, &other] {
            ledger.read(swarm, &engine).await.unwrap();
        }
        other.note(LedgerChange::Put(entry("r.test/first:1")));
        other.give_back(swarm, &gantry::ledger::LeftBehind::default()).await;
        ledger.read(swarm, &engine).await.unwrap();
        ledger.note(LedgerChange::Put(entry("r.test/app:1")));
        let request = LeaseRequest {
            who: "me".to_owned(),
            task: None,
            since: 0,
            changes: vec![LedgerChange::Put(entry("r.test/offered:1"))],
            patience: secs(60),
            stop: CancellationToken::new(),
        };
        let taken = async {
            sleep(millis(500)).await;
            if is_other {
                other.read(swarm, &engine).await.unwrap();
                other.note(LedgerChange::Put(entry("r.test/other:1")));
                other.give_back(swarm, &gantry::ledger::LeftBehind::default()).await;
            }
            sleep(secs(wait)).await;
            ledger.take(swarm, &request, || ()).await
        };
        let outcome = tokio::select! {
            outcome = taken => outcome,
            () = ledger.keep(swarm) => unreachable!(),
        };
        assert_eq!(outcome, expected, "{wait} s, another: {is_other}");
        let labels = swarm.config("gantry").unwrap().labels;
        assert!(labels.contains_key("gantry.lease"), "{labels:?}");
        for name in ["app", "first", "offered"] {
            assert!(labels.contains_key(&format!("gantry.image.r.test/{name}:1")), "{name}: {labels:?}");
        }
    }
}
