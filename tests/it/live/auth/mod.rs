//! In whose name registries are asked and nodes pull: every source of accounts, with registries that want one.

use serde_json::{Value, json};

use super::support::{Account, Image, JUERGEN, PULLER, Run, Service, Stage};

mod folders;
mod helpers;
mod hub;
mod logins;
mod rollback;
mod secrecy;
mod tokens;

/// A `config.json` in a folder of the stage; the folder.
fn folder(stage: &Stage, name: &str, config: &Value) -> String {
    let file = stage.write(&format!("{name}/config.json"), &config.to_string());
    file.parent().unwrap().display().to_string()
}

/// As `docker login` without a store leaves it.
fn logged_in(host: &str, account: &Account) -> Value {
    json!({ "auths": { host: { "auth": account.encoded() } } })
}

/// A service as a program posts it that knows nothing of accounts.
fn spec(image: &str, mode: Value) -> Value {
    let mut spec = json!({
        "TaskTemplate": { "ContainerSpec": { "Image": image }, "Networks": [{ "Target": "host" }] },
        "UpdateConfig": { "Parallelism": 0, "Monitor": 1_000_000_000, "Order": "stop-first" },
    });
    spec["Mode"] = mode;
    spec
}

/// A service without tasks: it is looked up and updated, and no node pulls for it.
fn without_tasks<'a>(stage: &'a Stage, name: &str, image: &str, label: Option<&str>) -> Service<'a> {
    let mut spec = spec(image, json!({ "Replicated": { "Replicas": 0 } }));
    if let Some(label) = label {
        spec["Labels"]["gantry.auth.config"] = label.into();
    }
    stage.post(name, spec)
}

/// A service with a task on each node. The nodes have its image already, and the swarm knows no account for it:
/// another one can only be pulled with what an update brings.
fn on_all_nodes<'a>(
    stage: &'a Stage,
    name: &str,
    image: &Image,
    account: &Account,
    label: Option<&str>,
) -> Service<'a> {
    let host = image.name.split('/').next().unwrap();
    let folder = folder(stage, &format!("pulled-{name}"), &logged_in(host, account));
    for node in 1..=stage.lab.nodes {
        stage.lab.docker_on(node, &["--config", &folder, "pull", "--quiet", &image.name]);
    }
    let mut spec = spec(&image.name, json!({ "Global": {} }));
    if let Some(label) = label {
        spec["Labels"]["gantry.auth.config"] = label.into();
    }
    stage.post(name, spec).running()
}

/// Checks that a cycle updated this service, that a task on each node runs the new image, and that nothing
/// secret was said.
#[track_caller]
fn reached_all_nodes(run: &Run, service: &Service<'_>, image: &Image) {
    assert_eq!(run.outcome(service), "updated", "{run}");
    service.runs(image, service.stage.lab.nodes);
    is_discreet(run);
}

/// Everything by which somebody could log in, in all forms in which it is sent; and any halves of it.
fn secrets() -> Vec<String> {
    let mut secrets = Vec::new();
    for account in [PULLER, JUERGEN] {
        secrets.extend([account.password.to_owned(), account.encoded()]);
    }
    let parts = ["wrong-password", "identity-token", "%7E%3F%3E", "~%3F%3E", "eyJ0eXAi"];
    secrets.extend(parts.map(str::to_owned));
    secrets
}

/// Checks that nothing secret was said; these tests run with everything logged.
#[track_caller]
fn is_discreet(run: &Run) {
    let said = run.to_string();
    for secret in secrets() {
        assert!(!said.contains(&secret), "{secret} was said: {said}");
    }
}

/// Checks that a cycle failed for this service, with these words and without a secret.
#[track_caller]
fn fails_with(run: &Run, service: &Service<'_>, words: &[&str]) {
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.says(&[&["error: ", &service.name], words].concat()), "{words:?}: {run}");
    is_discreet(run);
}
