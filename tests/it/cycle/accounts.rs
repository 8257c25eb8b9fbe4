//! In whose names a cycle asks registries, and what it says of Docker Hub's rate.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use gantry::cycle::hub::HubPulls;
use gantry::model::cause::Cause;
use gantry::model::outcome::{By, Outcome};
use gantry::model::row::State;
use gantry::registry::credentials::{Account, Credentials};
use gantry::registry::{HubRate, RegistryError};
use gantry::secret::Secret;
use gantry::swarm::SwarmError;

use super::{APP, Scene, outcome, state};
use crate::fake::{Call, Fault, Timing, World, millis, pinned, secs};

const HUB_APP: &str = "team/app:1";

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// In whose names the tag was looked up.
fn users(scene: &Scene) -> Vec<String> {
    let lookups = scene.registry.lookups();
    let user = |credentials: &gantry::registry::Credentials| credentials.username().unwrap_or("?").to_owned();
    let mut users: Vec<String> = lookups
        .iter()
        .map(|lookup| lookup.credentials.as_deref().map_or_else(|| "nobody".to_owned(), user))
        .collect();
    users.sort();
    users
}

#[tokio::test(start_paused = true)]
async fn each_service_is_looked_up_with_the_login_that_its_label_names() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "one registry.test anna p\ntwo registry.test bob p\n";
    let scene = Scene::new().with("GANTRY_REGISTRY_CONFIGS_FILE", file(&folder, "logins", lines));
    for (service, login) in [("a", "one"), ("b", "two"), ("c", "one"), ("d", ""), ("e", "three")] {
        scene.service(service).label("gantry.auth.config", login).create();
    }
    scene.registry.release(APP, "new");

    let report = scene.cycle().await;

    assert_eq!(users(&scene), ["anna", "bob", "nobody"]);
    assert_eq!(report.summary(), "5 services: 4 updated, 1 error");
    let State::Error(cause) = state(&report, "e") else { panic!("{report:?}") };
    assert!(
        cause.starts_with(r#"label gantry.auth.config="three": expected the name of a login (one, two)"#),
        "{cause}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_label_loosens_a_look_up_with_an_account() {
    let folder = tempfile::tempdir().unwrap();
    let login = file(&folder, "logins", "one registry.test anna p\n");
    for (variable, account, expected) in [
        ("", true, false),
        ("--insecure=false", true, false),
        ("--insecure", true, true),
        ("", false, true),
        ("--insecure=false", false, true),
    ] {
        let scene = Scene::new().with("GANTRY_MANIFEST_OPTIONS", variable);
        let scene = if account { scene.with("GANTRY_REGISTRY_CONFIGS_FILE", &login) } else { scene };
        scene.service("web").label("gantry.manifest.options", "--insecure").create();
        scene.service("plain").create();
        let cause = "its certificate is refused".to_owned();
        let error = RegistryError::Unreachable { registry: "registry.test".to_owned(), proxy: None, cause };
        scene.registry.fail(APP, error);

        let report = scene.cycle().await;

        let loosened = scene.registry.lookups().iter().any(|lookup| lookup.insecure);
        assert_eq!(loosened, expected, "{variable:?} {account}");
        let told = |name: &str| {
            let State::Error(cause) = state(&report, name) else { panic!("{report:?}") };
            cause.contains("label gantry.manifest.options=--insecure does not count")
                && cause.contains("GANTRY_MANIFEST_OPTIONS=--insecure")
                && cause.contains("insecure-registries")
        };
        assert_eq!(told("web"), !expected, "{variable:?} {account}: {report:?}");
        assert!(!told("plain"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_with_a_login_of_another_service_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "team-a registry.test anna p team-a_*\nteam-b registry.test bob p team-b_*\n";
    let scene = Scene::new().with("GANTRY_REGISTRY_CONFIGS_FILE", file(&folder, "logins", lines));
    scene.service("team-a_web").create();
    scene.service("team-b_web").create();
    scene.service("mine").label("gantry.auth.config", "team-b").create();
    scene.registry.release(APP, "new");

    let report = scene.cycle().await;

    assert_eq!(users(&scene), ["anna", "bob"]);
    assert_eq!(report.summary(), "3 services: 2 updated, 1 error");
    let State::Error(cause) = state(&report, "mine") else { panic!("{report:?}") };
    assert!(
        cause.contains("found a login that is not for this service") && !cause.contains("team-a"),
        "{cause}"
    );
    assert_eq!(scene.swarm.image_of("mine"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn where_no_registry_is_asked_the_nodes_get_the_account_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "one registry.test anna p\ntwo registry.test bob p\n";
    let scene = Scene::new().with("GANTRY_REGISTRY_CONFIGS_FILE", file(&folder, "logins", lines));
    for (service, login) in [("a", "one"), ("b", "two"), ("c", "three")] {
        scene
            .service(service)
            .label("gantry.auth.config", login)
            .label("gantry.manifest.cmd", "none")
            .create();
    }

    let report = scene.cycle().await;

    assert_eq!(scene.registry.lookups().len(), 0);
    assert_eq!(report.summary(), "3 services: 2 updated, 1 error");
    let State::Error(cause) = state(&report, "c") else { panic!("{report:?}") };
    assert!(cause.contains("expected the name of a login"), "{cause}");
    let sent = scene.swarm.update_log();
    let user = |service: &str| {
        let auth = sent.iter().find(|asked| asked.service == service).unwrap().auth.clone().unwrap();
        let auth: serde_json::Value = serde_json::from_slice(&URL_SAFE.decode(auth).unwrap()).unwrap();
        auth["username"].as_str().unwrap().to_owned()
    };
    assert_eq!((user("a"), user("b")), ("anna".to_owned(), "bob".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_file_of_logins_that_cannot_be_used_skips_all_updates_of_its_cycle_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logins");
    let scene = Scene::new().with("GANTRY_REGISTRY_CONFIGS_FILE", path.display());
    scene.service("web").create();
    scene.registry.release(APP, "new");
    for (text, words) in
        [(None, "No such file"), (Some("one registry.test hunter2\n"), "line 1: expected <config>")]
    {
        if let Some(text) = text {
            file(&folder, "logins", text);
        }
        let report = scene.cycle().await;
        let error = report.error.as_deref().unwrap_or_default();
        assert!(error.contains(&path.display().to_string()) && error.contains(words), "{error}");
        assert!(!report.summary().contains("hunter2") && report.has_failed(), "{}", report.summary());
        assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
    }
    // It was written anew meanwhile.
    file(&folder, "logins", "one registry.test anna hunter2\n");
    assert_eq!(scene.cycle().await.summary(), "1 service: 1 updated");
    assert_eq!(users(&scene), ["anna"]);
}

fn rate(remaining: u64) -> HubRate {
    HubRate { remaining, limit: Some(100), window: Some(Duration::from_secs(21600)) }
}

#[tokio::test(start_paused = true)]
async fn what_docker_hub_allows_is_asked_before_and_after_for_each_account_that_is_used_there() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "one docker.io anna p\ntwo docker.io bob p\nthree ghcr.io carl p\n";
    let scene = Scene::new().with("GANTRY_REGISTRY_CONFIGS_FILE", file(&folder, "logins", lines));
    scene.registry.release(HUB_APP, "old");
    for (service, login) in [("a", ""), ("b", "one"), ("c", "one")] {
        let service = scene.service(service).image(&pinned(HUB_APP, "old"));
        service.label("gantry.auth.config", login).create();
    }
    scene.service("elsewhere").create();
    // Nobody, then anna; before, then after.
    scene.registry.set_hub_rates(&[rate(80), rate(80), rate(76)]);

    let report = scene.cycle().await;

    let mut asked: Vec<String> = scene
        .registry
        .hub_questions()
        .iter()
        .map(|credentials| {
            credentials.as_deref().map_or("nobody", |it| it.username().unwrap_or("?")).to_owned()
        })
        .collect();
    asked.sort();
    assert_eq!(asked, ["anna", "anna", "nobody", "nobody"]);
    let told: Vec<String> = report.hub.iter().filter_map(HubPulls::told).collect();
    assert_eq!(
        told,
        [
            "Docker Hub after the cycle: 76 of 100 pulls left in 6 h for this address (80 before)",
            "Docker Hub after the cycle: 76 of 100 pulls left in 6 h for anna (80 before)"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn docker_hub_is_not_asked_what_it_allows_when_nothing_is_asked_of_it() {
    let scene = Scene::new();
    scene.service("elsewhere").create();
    let hub = || scene.service("left-alone").image(&pinned(HUB_APP, "old"));
    hub().label("gantry.services.excluded", "true").create();
    scene.registry.set_hub_rates(&[rate(80)]);
    let report = scene.cycle().await;
    assert!(scene.registry.hub_questions().is_empty() && report.hub.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_docker_hub_that_does_not_say_what_it_allows_changes_nothing() {
    let scene = Scene::new();
    scene.registry.release(HUB_APP, "new");
    scene.service("web").image(&pinned(HUB_APP, "old")).create();
    let report = scene.cycle().await;
    assert_eq!(report.summary(), "1 service: 1 updated");
    // It is not asked again after the cycle.
    assert_eq!(scene.registry.hub_questions().len(), 1);
    assert!(!report.has_failed());
}

/// What Gantry sends with its update, and the account with which nodes get the old image by now.
fn today() -> String {
    let account = Account::Password { username: "anna".to_owned(), password: Secret::new("today") };
    let (source, server) = (String::new(), "registry.test".to_owned());
    Credentials { source, server, account }.registry_auth().reveal().to_owned()
}

/// Nodes do not have what they do not run.
fn lose_images(world: &mut World) {
    world.nodes.iter_mut().for_each(|node| node.images.clear());
}

/// A service `web` whose account was changed since it was made, and whose update fails. By the time it is taken back, no
/// node has its old image any more.
fn changed_since() -> Scene {
    let scene = Scene::new().with("GANTRY_REGISTRY_HOST", "registry.test");
    let scene = scene.with("GANTRY_REGISTRY_USER", "anna").with("GANTRY_REGISTRY_PASSWORD", "today");
    scene.service("web").order("stop-first").auth("yesterday").create();
    scene.swarm.image(&pinned(APP, "old")).needs_account(&today());
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    scene.swarm.now(lose_images);
    scene
}

/// Each update that was asked for: whether it was a rollback, whether it brought an account, and whether it was done.
fn asked(scene: &Scene) -> Vec<(bool, bool, Result<(), SwarmError>)> {
    let log = scene.swarm.update_log().into_iter();
    log.map(|asked| (asked.is_rollback, asked.auth == Some(today()), asked.answer)).collect()
}

const SENT: (bool, bool, Result<(), SwarmError>) = (false, true, Ok(()));
const TAKEN_BACK: (bool, bool, Result<(), SwarmError>) = (true, true, Ok(()));

#[track_caller]
fn is_restored(scene: &Scene, outcome: &Outcome) {
    assert!(
        matches!(outcome, Outcome::RolledBack { by: By::Gantry, cause: Cause::TaskFailed { .. } }),
        "{outcome}"
    );
    assert_eq!(scene.swarm.running_images("web"), [pinned(APP, "old"), pinned(APP, "old")]);
    assert_eq!(scene.swarm.auth_of("web"), Some(today()));
}

#[tokio::test(start_paused = true)]
async fn what_a_rollback_brings_back_is_given_the_account_of_today_where_a_node_lacks_its_image() {
    let scene = changed_since();
    let report = scene.cycle().await;
    is_restored(&scene, outcome(&report, "web"));
    assert_eq!(asked(&scene), [SENT, TAKEN_BACK, SENT]);
    assert!(scene.swarm.update_log()[2].spec.is_same_as(&scene.service("web").order("stop-first").spec()));
}

#[tokio::test(start_paused = true)]
async fn what_swarm_rolls_back_by_itself_is_given_the_account_of_today_as_well() {
    let scene = changed_since();
    scene
        .swarm
        .now(|world| world.change("web", |spec| spec["UpdateConfig"]["FailureAction"] = "rollback".into()));
    let report = scene.cycle().await;
    let outcome = outcome(&report, "web");
    assert!(matches!(outcome, Outcome::RolledBack { by: By::Swarm, .. }), "{outcome}");
    assert_eq!(asked(&scene), [SENT, SENT]);
    assert_eq!(scene.swarm.running_images("web"), [pinned(APP, "old"), pinned(APP, "old")]);
}

#[tokio::test(start_paused = true)]
async fn what_is_restored_by_an_update_of_its_own_has_its_account_at_once() {
    let scene = changed_since().with("GANTRY_ROLLBACK_OPTIONS", "--label-add rolled=back");
    let report = scene.cycle().await;
    is_restored(&scene, outcome(&report, "web"));
    assert_eq!(asked(&scene), [SENT, SENT]);
}

/// Somebody does this right before the account is sent.
fn before_renewal(scene: &Scene, action: impl FnOnce(&mut World) + Send + 'static) {
    for _ in 0..2 {
        scene.swarm.before(Call::Update, "web", |_| ());
    }
    scene.swarm.before(Call::Update, "web", action);
}

#[tokio::test(start_paused = true)]
async fn an_account_is_sent_again_where_somebody_was_faster_and_their_change_stays() {
    let scene = changed_since();
    before_renewal(&scene, |world| world.set_label("web", "a", "b"));
    let report = scene.cycle().await;
    is_restored(&scene, outcome(&report, "web"));
    assert_eq!(asked(&scene), [SENT, TAKEN_BACK, (false, true, Err(SwarmError::Conflict)), SENT]);
    assert_eq!(scene.swarm.spec("web").facts().labels.get("a").map(String::as_str), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn an_account_is_not_sent_to_what_somebody_has_changed_meanwhile() {
    let scene = changed_since();
    let theirs = pinned(APP, "theirs");
    let image = theirs.clone();
    before_renewal(&scene, move |world| world.set_image("web", &image));
    scene.cycle().await;
    assert_eq!(asked(&scene), [SENT, TAKEN_BACK, (false, true, Err(SwarmError::Conflict))]);
    assert_eq!(scene.swarm.image_of("web"), theirs);
    assert_eq!(scene.swarm.auth_of("web").as_deref(), Some("yesterday"));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_sent_without_an_answer_is_sent_again() {
    let scene = changed_since();
    scene.swarm.fail(Call::Update, Some("web"), 2, Fault::Takes(Duration::ZERO));
    scene.swarm.fail(Call::Update, Some("web"), 1, Fault::CutAfterwards);
    let report = scene.cycle().await;
    is_restored(&scene, outcome(&report, "web"));
    assert_eq!(asked(&scene), [SENT, TAKEN_BACK, SENT, SENT]);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_does_not_help_is_sent_once() {
    // With a word of an update in the new account, and without: see below.
    for orchestrate in [millis(10), secs(1)] {
        let scene = changed_since();
        scene.swarm.image(&pinned(APP, "old")).needs_account("of somebody else");
        scene.swarm.set_timing(Timing { orchestrate, ..Timing::default() });
        let report = scene.cycle().await;
        let outcome = outcome(&report, "web");
        let lacks_image = |why: &Cause| matches!(why, Cause::ImageNotFound { .. });
        assert!(matches!(outcome, Outcome::RollbackFailed { why, .. } if lacks_image(why)), "{outcome}");
        assert_eq!(asked(&scene), [SENT, TAKEN_BACK, SENT]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_has_the_time_it_takes_to_pull_with_the_account_that_it_was_given() {
    let scene = changed_since();
    scene.swarm.image(&pinned(APP, "old")).needs_account(&today()).takes_to_pull(secs(120));
    // The swarm starts a task again before it sees an update in the new account: there is no word of one.
    scene.swarm.set_timing(Timing { orchestrate: secs(1), ..Timing::default() });
    let report = scene.cycle().await;
    is_restored(&scene, outcome(&report, "web"));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_while_an_account_is_renewed_is_waited_for() {
    let scene = changed_since();
    before_renewal(&scene, |world| {
        let now = world.now;
        world.script.be_away(now, now + secs(600));
    });
    let report = scene.cycle().await;
    is_restored(&scene, outcome(&report, "web"));
}
