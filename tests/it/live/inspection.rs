//! What is asked of registries, and what follows from their answers.

use serde_json::{Value, json};

use super::support::{Registry, Service, Stage};

#[test]
fn nothing_new_costs_one_head_per_group_and_changes_nothing() {
    let stage = Stage::new();
    let one = stage.image("web:1", "1", &[]);
    // The same digest today, but another tag: it may move by itself tomorrow.
    let two = stage.image("web:2", "1", &[]);
    assert_eq!(one.digest, two.digest);
    let services = ["a", "b", "c"].map(|name| stage.service(name, &one, &[]));
    let other = stage.service("d", &two, &[]);
    let versions = || services.iter().chain([&other]).map(Service::version).collect::<Vec<_>>();
    let before = versions();

    let run = stage.cycle();

    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(run.summary(), "4 services: 4 up to date", "{run}");
    assert_eq!(versions(), before);
    let mut requests = stage.requests("web");
    requests.sort();
    let head = |tag| format!("HEAD /v2/{}/manifests/{tag}", stage.repository("web"));
    assert_eq!(requests, [head("1"), head("2")]);
}

#[test]
fn a_moved_index_is_followed_and_its_platforms_too() {
    let stage = Stage::new();
    let registry = Registry::at(&stage.lab.registry);
    let repository = stage.repository("multi");
    let child = |version, platform: &str| {
        let tag = platform.replace('/', "-");
        stage.image(&format!("multi:{tag}"), version, &["--platform", platform]).digest
    };
    let (amd64, arm64) = (child("1", "linux/amd64"), child("1", "linux/arm64"));
    let children = [(amd64.as_str(), "linux/amd64"), (arm64.as_str(), "linux/arm64")];
    let index = registry.put_index(&repository, "1", &children);
    let name = format!("{}/{repository}:1", stage.lab.registry);
    let quick = ["--network", "host", "--update-monitor", "1s"];
    let by_tag = stage.create("by-tag", &name, &quick).running();
    let by_platform = stage.create("by-platform", &format!("{name}@{amd64}"), &quick).running();
    let platforms = || by_tag.spec()["TaskTemplate"]["Placement"]["Platforms"].clone();
    assert_eq!(by_tag.image(), format!("{name}@{index}"));
    assert_eq!(platforms().as_array().map(Vec::len), Some(2));

    // The digest of one platform is as new as the index that lists it.
    let run = stage.cycle();
    assert_eq!(run.summary(), "2 services: 2 up to date", "{run}");

    let amd64 = child("2", "linux/amd64");
    let index = registry.put_index(&repository, "1", &[(&amd64, "linux/amd64")]);
    let run = stage.cycle();
    assert_eq!(run.summary(), "2 services: 2 updated", "{run}");
    assert_eq!(by_tag.image(), format!("{name}@{index}"));
    assert_eq!(by_platform.image(), format!("{name}@{index}"));
    assert_eq!(platforms(), json!([{ "Architecture": "amd64", "OS": "linux" }]));
}

/// A specification as a program without the docker client posts it: nobody has asked a registry.
fn unresolved(image: &str) -> Value {
    json!({
        "TaskTemplate": {
            "ContainerSpec": { "Image": image },
            "Networks": [{ "Target": "host" }],
        },
        "Mode": { "Replicated": { "Replicas": 1 } },
        "UpdateConfig": { "Parallelism": 1, "Monitor": 1_000_000_000, "Order": "start-first" },
    })
}

#[test]
fn a_service_without_a_recorded_digest_gets_the_one_that_its_tag_has() {
    let stage = Stage::new();
    let image = stage.image("web", "1", &[]);
    let service = stage.post("web", unresolved(&image.name)).running();
    assert_eq!(service.image(), image.name);
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&image, 1);
    let run = stage.cycle();
    assert_eq!(run.summary(), "1 service: 1 up to date", "{run}");
}

#[test]
fn an_image_that_no_registry_knows_is_an_error_of_its_service_alone() {
    let stage = Stage::new();
    let name = stage.local_image("local", "1");
    let local = stage.post("local", unresolved(&name)).running();
    let other = stage.service("other", &stage.image("web", "1", &[]), &[]);
    let version = local.version();
    let new = stage.image("web", "2", &[]);

    let run = stage.cycle();

    assert_eq!(run.code, Some(1), "{run}");
    assert!(
        run.says(&[
            "error: ",
            &local.name,
            "is not known to",
            "a local image needs gantry.manifest.cmd=none"
        ]),
        "{run}"
    );
    assert_eq!(run.outcome(&other), "updated", "{run}");
    assert_eq!(local.version(), version);
    other.runs(&new, 1);
}

#[test]
fn with_manifest_cmd_none_no_registry_is_asked_and_the_tasks_take_what_the_nodes_have() {
    let stage = Stage::new();
    let name = stage.local_image("local", "1");
    let mut spec = unresolved(&name);
    spec["Labels"]["gantry.manifest.cmd"] = "none".into();
    let service = stage.post("local", spec).running();
    let before = service.running_tasks();

    // Built anew on each node, as one would by hand.
    stage.local_image("local", "2");
    for counter in 1..=2 {
        let run = stage.cycle();
        assert_eq!(run.outcome(&service), "updated", "{run}");
        assert_eq!(service.image(), name);
        assert_eq!(service.spec()["TaskTemplate"]["ForceUpdate"], counter);
    }
    let after = service.running_tasks();
    assert!(after.len() == 1 && after != before, "{after:?}");
    assert_eq!(environment(&stage, &after[0]), ["PATH=/bin", "VERSION=2"]);
    assert!(stage.requests("local").is_empty(), "{:?}", stage.requests("local"));
}

/// The variables of the container of a task, wherever it runs.
fn environment(stage: &Stage, task: &str) -> Vec<String> {
    let task = stage.lab.get_json(&format!("/tasks/{task}"));
    let container = task["Status"]["ContainerStatus"]["ContainerID"].as_str().unwrap();
    let path = format!("/containers/{container}/json");
    let mut answers = (1..=stage.lab.nodes).map(|node| stage.lab.engine(node, "GET", &path).unwrap());
    let found = answers.find(|answer| answer.status == 200).unwrap().json();
    let variables: Vec<String> = serde_json::from_value(found["Config"]["Env"].clone()).unwrap();
    variables.into_iter().filter(|it| it.starts_with("PATH") || it.starts_with("VERSION")).collect()
}
