//! What the programs that Gantry starts, and the people who read its log, learn of its passwords: nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fake::{FakeSwarm, Front};
use crate::support::http::{Answer, Server};
use crate::support::smtp::MailServer;

fn program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_hooks_nor_helpers_nor_the_log_get_a_secret() {
    let swarm = FakeSwarm::with_nodes(1);
    // Nobody listens there, but the account is looked for first.
    swarm.new_service("web").image("127.0.0.1:1/app:1").replicas(0).create();
    let folder = tempfile::tempdir().unwrap();
    let front = Front::unix(&swarm, &folder.path().join("docker.sock"));
    let at = |name: &str| folder.path().join(name).display().to_string();
    program(
        &folder.path().join("docker-credential-spy"),
        &format!("env >{}; echo 'denied: hush-password' >&2; exit 1", at("helper")),
    );
    std::fs::write(at("config.json"), r#"{"credHelpers":{"127.0.0.1:1":"spy"}}"#).unwrap();
    let apprise = Server::start(|request| {
        let key = request.path.rsplit('/').next().unwrap().to_owned();
        let user = request.header("authorization").to_owned();
        let error = format!(r#"{{"error":"no key {key} (hush/key) for hush-user, hush-secret; {user}"}}"#);
        Answer::json(400, error)
    })
    .await;
    let url =
        format!("http://hush-user:hush-secret@{}/notify/hush%2Fkey?token=hush-token", apprise.authority());
    // Two addresses that repeat what they were sent.
    let hook = Server::start(|request| {
        let (path, query, user) = (&request.path, &request.query, request.header("authorization"));
        Answer::json(403, serde_json::json!({ "message": format!("no {path} {query} {user}") }).to_string())
    })
    .await;
    let mail =
        MailServer::start(|line| line.starts_with("AUTH").then(|| format!("535 5.7.8 what is {line}"))).await;
    let urls = format!(
        "http://hush-user:hush-secret@{0}/hush-hook?sig=hush-sig ntfy+http://hush-token@{0}/hush-topic \
         smtp://hush-user:hush-secret@{1}/?from=hush@hush.test&to=hush@hush.test",
        hook.authority(),
        mail.authority()
    );
    std::fs::write(at("addresses"), urls).unwrap();
    let variables = [
        ("PATH", format!("{}:/usr/bin:/bin", folder.path().display())),
        ("DOCKER_HOST", front.address().to_string()),
        ("DOCKER_CONFIG", folder.path().display().to_string()),
        ("GANTRY_LOG_LEVEL", "DEBUG".to_owned()),
        ("GANTRY_CLEANUP_IMAGES", "false".to_owned()),
        ("GANTRY_REGISTRY_HOST", "registry.test".to_owned()),
        ("GANTRY_REGISTRY_USER", "hush-name".to_owned()),
        ("GANTRY_REGISTRY_PASSWORD", "hush-password".to_owned()),
        ("GANTRY_UPDATE_OPTIONS", "--env-add A=hush-option".to_owned()),
        ("GANTRY_NOTIFICATION_APPRISE_URL", url),
        ("GANTRY_NOTIFICATION_URL_FILE", at("addresses")),
        ("GANTRY_PRE_RUN_CMD", format!("env >{}", at("before"))),
        ("GANTRY_POST_RUN_CMD", format!("env >{}", at("after"))),
        ("MY_TOKEN", "given".to_owned()),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command.env_clear().envs(variables).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();

    for name in ["helper", "before", "after"] {
        let environment = std::fs::read_to_string(at(name)).unwrap_or_else(|_| panic!("no {name}:\n{log}"));
        assert!(!environment.contains("hush"), "{name}: {environment}");
        assert!(environment.contains("MY_TOKEN=given"), "{name}: {environment}");
        assert_eq!(environment.contains("GANTRY_"), name != "helper", "{name}: {environment}");
    }
    assert!(!log.contains("hush"), "{log}");
    assert!(log.contains("credential helper spy: denied: ***"), "{log}");
    // The secrets that the hooks did not find are in effect.
    assert!(
        log.contains("Apprise answers 400 Bad Request: no key *** (***) for ***, ***; Basic ***"),
        "{log}"
    );
    assert!(
        log.contains(
            "address 1: http://127.0.0.1) was not sent: http://127.0.0.1 answers 403 Forbidden: no "
        ),
        "{log}"
    );
    assert!(log.contains("smtp://127.0.0.1 answers 535: 5.7.8 what is AUTH PLAIN ***"), "{log}");
    for base64 in ["aHVzaC11c2VyOmh1c2gtc2VjcmV0", "aHVzaC11c2VyAGh1c2gtc2VjcmV0"] {
        assert!(!log.contains(base64), "{log}");
    }
    assert_eq!(hook.requests().len(), 2, "{log}");
    let told = apprise.requests();
    assert_eq!((told.len(), told[0].path.as_str()), (1, "/notify/hush%2Fkey"), "{log}");
}
