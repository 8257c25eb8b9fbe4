//! Options that have no twin, because this machine's CLI does not know them or they are not for users to decide.

use serde_json::{Value, json};

use super::super::support::{Gantry, Stage};

/// Options that only newer clients and engines know, and what they write into a specification.
const NEWER: &str = "--memory-swap 100m --memory-swappiness 20 --oom-score-adj 100 --limit-memory 50m \
                     --health-cmd true --health-start-interval 2s";

#[test]
fn options_that_only_newer_engines_know_are_sent_and_each_engine_takes_what_it_knows() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let spec = |image: &str| {
        json!({
            "TaskTemplate": { "ContainerSpec": { "Image": image }, "Networks": [{ "Target": "host" }] },
            "Mode": { "Replicated": { "Replicas": 0 } },
        })
    };
    let service = stage.post("web", spec(&old.name));
    let new = stage.image("web", "2", &[]);
    let run = stage.gantry().set("GANTRY_UPDATE_OPTIONS", NEWER).run();
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(service.image(), new.pinned());

    // What the engine keeps of the same fields when a program writes them.
    let mut written = spec(&new.pinned());
    written["TaskTemplate"]["ContainerSpec"]["OomScoreAdj"] = 100.into();
    written["TaskTemplate"]["ContainerSpec"]["Healthcheck"] =
        json!({ "Test": ["CMD-SHELL", "true"], "StartInterval": 2_000_000_000_u64 });
    written["TaskTemplate"]["Resources"] = json!({
        "Limits": { "MemoryBytes": 50 << 20 }, "SwapBytes": 100 << 20, "MemorySwappiness": 20,
    });
    let twin = stage.post("twin", written).spec();
    let ours = service.spec();
    for path in [
        "/TaskTemplate/ContainerSpec/OomScoreAdj",
        "/TaskTemplate/ContainerSpec/Healthcheck",
        "/TaskTemplate/Resources/SwapBytes",
        "/TaskTemplate/Resources/MemorySwappiness",
        "/TaskTemplate/Resources/Limits/MemoryBytes",
    ] {
        assert_eq!(ours.pointer(path), twin.pointer(path), "{path}");
    }
    assert_eq!(ours.pointer("/TaskTemplate/Resources/Limits/MemoryBytes"), Some(&Value::from(50 << 20)));
}

#[test]
fn what_is_not_for_users_to_decide_is_refused_at_start_with_what_to_do_instead() {
    let stage = Stage::new();
    let refused = |variable: &str, option: &str| {
        let run = Gantry::new()
            .set("DOCKER_HOST", &stage.lab.docker_host(1))
            .set("GANTRY_LOG_FORMAT", "json")
            .set(variable, option)
            .run();
        let name = option.split([' ', '=']).next().unwrap();
        assert!(run.code != Some(0) && run.says(&[variable, name, "without it"]), "{option}: {run}");
    };
    for option in ["--image web:2", "--rollback"] {
        refused("GANTRY_UPDATE_OPTIONS", option);
    }
    for option in [
        "--mode replicated",
        "--name remover",
        "--replicas 3",
        "--replicas-max-per-node 1",
        "--max-concurrent 2",
        "--entrypoint sh",
    ] {
        refused("GANTRY_CLEANUP_IMAGES_OPTIONS", option);
    }
    let run = stage.gantry().set("GANTRY_CLEANUP_IMAGES_OPTIONS", "--env-file /tmp/env").run();
    assert!(run.code != Some(0) && run.says(&["--env NAME=VALUE instead"]), "{run}");
}
