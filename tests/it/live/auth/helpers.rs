//! Credential helpers and stores: programs on `PATH` that are asked for an account.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::super::support::{Gantry, JUERGEN, PULLER, PrivateRegistry, Stage, wait};
use super::{fails_with, folder, on_all_nodes, reached_all_nodes, without_tasks};

/// Puts a helper on the stage's `PATH`. It is told its own folder as `$DIR`.
fn install(stage: &Stage, name: &str, script: &str) {
    let folder = stage.folder.path().join("bin");
    let script = format!("#!/bin/sh\nDIR='{}'\n{script}\n", folder.display());
    let path = stage.write(&format!("bin/docker-credential-{name}"), &script);
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
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
fn a_helper_that_hangs_fails_or_is_missing_is_an_error_of_its_own_services_alone() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let good = without_tasks(&stage, "good", &old.name, None);
    let bad = ["hangs", "fails", "babbles", "missing"]
        .map(|name| without_tasks(&stage, name, &format!("{name}.example/app:1"), None));
    let new = stage.image("web", "2", &[]);
    // What it has started would outlive a helper that is killed alone.
    install(&stage, "hangs", "sleep 77 & echo $! >\"$DIR/child\"\necho $$ >\"$DIR/pid\"\nwait");
    install(&stage, "fails", "cat >/dev/null\necho 'the keychain is locked' >&2\nexit 1");
    install(&stage, "babbles", "cat >/dev/null\necho '{\"Username\":\"me\",\"Secret\":\"wrong-password\"'");
    let helpers =
        ["hangs", "fails", "babbles", "missing"].map(|name| (format!("{name}.example"), name.into()));
    let config = json!({ "credHelpers": helpers.into_iter().collect::<serde_json::Map<_, _>>() });

    let run = gantry(&stage).set("DOCKER_CONFIG", &folder(&stage, "helpers", &config)).run();

    let [hangs, fails, babbles, missing] = &bad;
    fails_with(&run, hangs, &["credential helper hangs for hangs.example: no answer within 10 s"]);
    fails_with(&run, fails, &["credential helper fails for fails.example: the keychain is locked"]);
    fails_with(&run, babbles, &["credential helper babbles", "is not the JSON that a helper prints"]);
    fails_with(&run, missing, &["docker-credential-missing is not installed"]);
    assert_eq!(good.image(), new.pinned(), "{run}");
    for file in ["pid", "child"] {
        let id = std::fs::read_to_string(stage.folder.path().join("bin").join(file)).unwrap();
        wait(&format!("end of the helper's {file}"), 5, || {
            let process = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
            (process.is_empty() || process.contains(") Z ")).then_some(())
        });
    }
}
