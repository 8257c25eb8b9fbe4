//! In whose names a cycle asks registries, and what it says of Docker Hub's rate.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use gantry::cycle::hub::HubPulls;
use gantry::registry::HubRate;

use super::{APP, Scene};
use crate::fake::pinned;

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
    let (service, _, cause) = &report.errors[0];
    assert_eq!(service, "e");
    assert!(
        cause.starts_with(r#"label gantry.auth.config="three": expected the name of a login (one, two)"#),
        "{cause}"
    );
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
    let (service, _, cause) = &report.errors[0];
    assert!(service == "c" && cause.contains("expected the name of a login"), "{service}: {cause}");
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
