//! Credential helpers and stores: programs on `PATH` that are asked for an account.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::super::support::{Gantry, HttpServer, JUERGEN, PULLER, PrivateRegistry, Stage, wait};
use super::{fails_with, folder, on_all_nodes, reached_all_nodes, without_tasks};
use crate::support::http::Answer;

/// Puts a helper on the stage's `PATH`. It is told its own folder as `$DIR`.
fn install(stage: &Stage, name: &str, script: &str) {
    let folder = stage.folder.path().join("bin");
    let script = format!("#!/bin/sh\nDIR='{}'\n{script}\n", folder.display());
    let path = stage.write(&format!("bin/docker-credential-{name}"), &script);
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// A registry that wants an account.
fn closed(_: &Stage) -> HttpServer {
    HttpServer::start(|_| Answer::new(401, "").with("www-authenticate", "Basic realm=\"lab\""))
}

fn gantry(stage: &Stage) -> Gantry {
    stage.gantry().set("PATH", &format!("{}/bin:/usr/bin:/bin", stage.folder.path().display()))
}

#[test]
fn a_helper_for_one_registry_and_a_store_for_all_are_asked_and_the_nodes_pull_with_their_answer() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let service = on_all_nodes(&stage, "app", &old, &JUERGEN, None);
    // As Docker's own helpers: one word as argument, the server as a line of input, JSON as output.
    let answer = |user: &str, password: &str| {
        format!(
            "read -r server\necho \"$1 $server\" >>\"$DIR/asked\"\n\
             printf '%s' '{{\"ServerURL\":\"\",\"Username\":\"{user}\",\"Secret\":\"{password}\"}}'"
        )
    };
    install(&stage, "own", &answer(JUERGEN.user, JUERGEN.password));
    install(&stage, "all", &answer(PULLER.user, PULLER.password));
    let nothing = "cat >/dev/null\necho 'credentials not found in native keychain'\nexit 1";
    install(&stage, "nothing", nothing);

    let run = gantry(&stage)
        .set("DOCKER_CONFIG", &folder(&stage, "nothing", &json!({ "credsStore": "nothing" })))
        .run();
    fails_with(&run, &service, &["refuses access", "without credentials"]);

    let new = private.push(&stage, "app", "2");
    let both = json!({ "credHelpers": { &private.host: "own" }, "credsStore": "nothing" });
    let run = gantry(&stage).set("DOCKER_CONFIG", &folder(&stage, "own", &both)).run();
    reached_all_nodes(&run, &service, &new);

    let new = private.push(&stage, "app", "3");
    // `docker login` with a store leaves an empty entry.
    let store = json!({ "auths": { &private.host: {} }, "credsStore": "all" });
    let run = gantry(&stage).set("DOCKER_CONFIG", &folder(&stage, "all", &store)).run();
    reached_all_nodes(&run, &service, &new);
    let asked = std::fs::read_to_string(stage.folder.path().join("bin/asked")).unwrap();
    assert_eq!(asked, format!("get {0}\nget {0}\n", private.host));
}

#[test]
fn a_helper_that_hangs_fails_or_is_missing_is_a_reason_only_where_an_account_is_wanted() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    // Its registry is open, and so it needs no account.
    let good = without_tasks(&stage, "good", &old.name, None);
    let registries = ["hangs", "fails", "babbles", "missing"].map(|_| closed(&stage));
    let mut number = 0;
    let bad = ["hangs", "fails", "babbles", "missing"].map(|name| {
        number += 1;
        without_tasks(&stage, name, &format!("{}/app:1", registries[number - 1].authority()), None)
    });
    let new = stage.image("web", "2", &[]);
    // What it has started would outlive a helper that is killed alone.
    install(&stage, "hangs", "sleep 77 & echo $! >\"$DIR/child\"\necho $$ >\"$DIR/pid\"\nwait");
    install(&stage, "fails", "cat >/dev/null\necho 'the keychain is locked' >&2\nexit 1");
    install(&stage, "babbles", "cat >/dev/null\necho '{\"Username\":\"me\",\"Secret\":\"wrong-password\"'");
    let hosts = registries.iter().map(HttpServer::authority);
    let helpers = hosts.zip(["hangs", "fails", "babbles"].map(Into::into));
    let helpers: serde_json::Map<_, _> = helpers.collect();
    let config = json!({ "credHelpers": helpers, "credsStore": "missing" });

    let run = gantry(&stage).set("DOCKER_CONFIG", &folder(&stage, "helpers", &config)).run();

    let [hangs, fails, babbles, missing] = &bad;
    let fails_with = |service, words: &[&str]| {
        fails_with(
            &run,
            service,
            &[&["refuses access", "without credentials (credential helper "], words].concat(),
        );
    };
    fails_with(hangs, &["hangs for ", ": no answer within 10 s"]);
    fails_with(fails, &["fails for ", ": the keychain is locked"]);
    fails_with(babbles, &["babbles for ", "is not the JSON that a helper prints"]);
    fails_with(missing, &["docker-credential-missing is not installed"]);
    let warned =
        run.lines.iter().filter(|line| line.message().starts_with("credential helper missing:")).count();
    assert_eq!(warned, 1, "{run}");
    assert_eq!(good.image(), new.pinned(), "{run}");
    for file in ["pid", "child"] {
        let id = std::fs::read_to_string(stage.folder.path().join("bin").join(file)).unwrap();
        wait(&format!("end of the helper's {file}"), 5, || {
            let process = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
            (process.is_empty() || process.contains(") Z ")).then_some(())
        });
    }
}
