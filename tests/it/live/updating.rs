//! How services are updated: what is changed of them, in which order, and how many at once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::{Service, Stage, listed};

/// Every option of `docker service create`, with a value that the lab can run.
const EVERY_OPTION: &str = "\
    --cap-add NET_RAW --cap-drop MKNOD --constraint node.platform.os==linux --container-label inner=yes \
    --dns 198.18.0.1 --dns-option ndots:2 --dns-search example.test --endpoint-mode dnsrr \
    --entrypoint /bin/sh --env KEY=a=b --group 1 --health-cmd true --health-interval 1s \
    --health-retries 2 --health-start-period 5s --health-timeout 3s --host extra:198.18.0.9 \
    --hostname {{.Node.Hostname}} --init --isolation default --label outer=yes --limit-cpu 0.5 \
    --limit-memory 64m --limit-pids 50 --log-driver json-file --log-opt max-size=1m \
    --mode replicated --mount type=tmpfs,dst=/scratch,tmpfs-size=1048576,tmpfs-mode=1770 \
    --mount type=bind,src=/tmp,dst=/host,readonly --placement-pref spread=node.labels.rack \
    --read-only --replicas 2 --replicas-max-per-node 2 --reserve-cpu 0.01 --reserve-memory 4m \
    --restart-condition on-failure --restart-delay 300ms --restart-max-attempts 7 \
    --restart-window 11s --rollback-delay 1s --rollback-failure-action continue \
    --rollback-max-failure-ratio 0.25 --rollback-monitor 1s --rollback-order start-first \
    --rollback-parallelism 2 --stop-grace-period 1s --stop-signal SIGINT \
    --sysctl net.ipv4.ip_unprivileged_port_start=80 --tty --ulimit nofile=64:128 --update-delay 10ms \
    --update-failure-action rollback --update-max-failure-ratio 0.125 --update-monitor 1s \
    --update-order start-first --update-parallelism 2 --user 0:0 --with-registry-auth --workdir /tmp";

/// Options that only newer clients and engines have.
const NEWER_OPTIONS: [[&str; 2]; 2] = [["--health-start-interval", "2s"], ["--oom-score-adj", "5"]];

/// Options that need a name of the test's own, and those that cannot be combined with the others, mean
/// nothing to a specification, or need what the lab does not have (Windows, a generic resource).
const OTHER_OPTIONS: [&str; 13] = [
    "--config",
    "--secret",
    "--network",
    "--publish",
    "--env-file",
    "--name",
    "--detach",
    "--quiet",
    "--no-resolve-image",
    "--no-healthcheck",
    "--max-concurrent",
    "--credential-spec",
    "--generic-resource",
];

/// A port of the nodes that no other test uses.
fn port(stage: &Stage, salt: u32) -> String {
    let sum = stage.prefix.bytes().fold(salt, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    (20_000 + sum % 10_000).to_string()
}

/// Checks that a specification is the one from before, with another image.
#[track_caller]
fn is_the_same_but_for_the_image(mut after: Value, before: &Value) {
    const IMAGE: &str = "/TaskTemplate/ContainerSpec/Image";
    let image = before.pointer(IMAGE).unwrap().clone();
    assert_ne!(after.pointer(IMAGE), Some(&image));
    *after.pointer_mut(IMAGE).unwrap() = image;
    assert_eq!(after, *before);
}

#[test]
fn a_service_with_every_option_keeps_its_specification_but_for_the_image() {
    let stage = Stage::new();
    let (config, secret, network) = (stage.name("config"), stage.name("secret"), stage.name("net"));
    let file = stage.write("file", "content").display().to_string();
    stage.lab.docker(&["config", "create", &config, &file]);
    stage.lab.docker(&["secret", "create", &secret, &file]);
    stage.lab.docker(&["network", "create", "--driver", "overlay", &network]);
    let own = [
        ["--config".to_owned(), format!("source={config},target=/config,uid=1,mode=0400")],
        ["--secret".to_owned(), format!("source={secret},target=/secret,mode=0440")],
        ["--network".to_owned(), format!("name={network},alias=other")],
        ["--publish".to_owned(), format!("mode=host,target=80,published={}", port(&stage, 1))],
        ["--env-file".to_owned(), stage.write("variables", "FROM_FILE=1\n").display().to_string()],
        ["--mount".to_owned(), format!("type=volume,src={},dst=/data,volume-label=a=b", stage.name("data"))],
    ];
    let help = stage.lab.docker(&["service", "create", "--help"]);
    let options_of_help = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let listed = options_of_help.filter_map(|line| {
        line.split_whitespace().find(|word| word.starts_with("--") && !word.ends_with(')'))
    });
    let listed: BTreeSet<&str> = listed.collect();
    let newer = NEWER_OPTIONS.iter().filter(|[option, _]| listed.contains(option)).flatten().copied();
    let own = own.iter().flatten().map(String::as_str);
    let options: Vec<&str> = EVERY_OPTION.split_whitespace().chain(newer).chain(own).collect();
    let known: BTreeSet<&str> = options.iter().copied().chain(OTHER_OPTIONS).collect();
    let missing: Vec<&&str> = listed.difference(&known).collect();
    assert!(missing.is_empty(), "this test does not know {missing:?}");

    let old = stage.image("web", "1", &[]);
    let script = "trap 'exit 0' INT TERM; while :; do sleep 1d & wait $!; done";
    let name = stage.name("full");
    let label = format!("stage={}", stage.prefix);
    let create = ["service", "create", "--detach", "--quiet", "--name", &name, "--label", &label];
    let id = stage
        .lab
        .docker(&[&create, options.as_slice(), &[&old.name, "-c", script, "sh", "two words"]].concat());
    let service = Service { stage: &stage, name: name.clone(), id }.running();
    let before = service.spec();
    for path in [
        "/TaskTemplate/ContainerSpec/Healthcheck",
        "/TaskTemplate/ContainerSpec/Mounts/2",
        "/EndpointSpec/Ports/0",
    ] {
        assert!(before.pointer(path).is_some_and(|value| !value.is_null()), "{path} in {before:#}");
    }

    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();

    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, 2);
    is_the_same_but_for_the_image(service.spec(), &before);
}

#[test]
fn what_is_written_in_no_option_is_kept_as_well() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    // What only a program can say, or what the client writes in another way.
    let spec = json!({
        "Labels": { "empty": "", "many words": "a \"b\"\n\u{e4}\u{1f600}\\" },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": old.pinned(),
                "Env": ["A=1", "A=2", "EMPTY="],
                "Isolation": "default",
                "Privileges": { "CredentialSpec": null, "SELinuxContext": { "Disable": true } },
                "Healthcheck": { "Test": ["CMD-SHELL", "true"], "Interval": 1_000_000_000, "Retries": 3 },
                "DNSConfig": {},
            },
            "Networks": [{ "Target": "host" }],
            "ForceUpdate": 7,
            "LogDriver": { "Name": "none" },
            "RestartPolicy": { "Condition": "any", "Delay": 1, "MaxAttempts": 0, "Window": 0 },
        },
        "Mode": { "Replicated": { "Replicas": 1 } },
        "UpdateConfig": { "Parallelism": 0, "Monitor": 1_000_000_000, "MaxFailureRatio": 0.1, "Order": "start-first" },
    });
    let service = stage.post("odd", spec).running();
    let before = service.spec();
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, 1);
    is_the_same_but_for_the_image(service.spec(), &before);
}

#[test]
fn the_new_task_starts_first_where_the_service_says_nothing_and_nothing_forbids_it() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let create = |name: &str, options: &[&str]| stage.create(name, &old.name, options).running();
    let silent = create("silent", &[]);
    let own = create("own", &["--network", "host", "--update-order", "stop-first", "--update-monitor", "1s"]);
    let published = format!("mode=host,target=80,published={}", port(&stage, 2));
    let port = create("port", &["--publish", &published]);
    let full = create("full", &["--network", "host", "--replicas-max-per-node", "1"]);
    let labelled = create("labelled", &["--network", "host", "--label", "gantry.update.order=stop-first"]);
    let order = |service: &Service<'_>| service.spec()["UpdateConfig"].clone();
    assert_eq!(order(&silent), Value::Null, "the engine writes no update configuration of its own");
    let kept = order(&own);

    stage.image("web", "2", &[]);
    let run = stage.cycle();

    assert_eq!(run.summary(), "5 services: 5 updated", "{run}");
    // All of what the engine takes for its defaults: a lone order means a parallelism of 0 to it.
    let default = |order: &str| {
        json!({ "Parallelism": 1, "FailureAction": "pause", "Monitor": 5_000_000_000_u64, "MaxFailureRatio": 0,
                "Order": order })
    };
    assert_eq!(order(&silent), default("start-first"));
    assert_eq!(order(&own), kept);
    assert_eq!(order(&port), Value::Null);
    assert_eq!(order(&full), Value::Null);
    assert_eq!(order(&labelled), default("stop-first"));

    stage.image("web", "3", &[]);
    let only = |service: &Service<'_>| format!("label=stage={} name={}", stage.prefix, service.name);
    let run = stage
        .gantry()
        .set("GANTRY_UPDATE_ORDER", "start-first")
        .set("GANTRY_SERVICES_FILTERS", &only(&own))
        .run();
    assert_eq!(run.outcome(&own), "updated", "{run}");
    assert_eq!(order(&own)["Order"], "start-first");
    let run =
        stage.gantry().set("GANTRY_UPDATE_ORDER", "keep").set("GANTRY_SERVICES_FILTERS", &only(&full)).run();
    assert_eq!(run.outcome(&full), "updated", "{run}");
    assert_eq!(order(&full), Value::Null);
}

#[test]
fn a_start_first_update_leaves_no_moment_without_a_running_task() {
    let stage = Stage::new();
    let service = stage.create("web", &stage.image("web", "1", &[]).name, &[]).running();
    let new = stage.image("web", "2", &["--health", "true", "--health-interval", "1s"]);
    let (mut least, mut images) = (usize::MAX, BTreeSet::new());
    let run = stage.gantry().start().until_its_end(150, || {
        let running = service.running_images();
        least = least.min(running.len());
        images.extend(running);
        assert!(images.len() <= 2 && least > 0, "{images:?}");
    });
    assert_eq!((run.outcome(&service), run.code, least, images.len()), ("updated", Some(0), 1, 2), "{run}");
    service.runs(&new, 1);
}

#[test]
fn no_more_services_are_updated_at_once_than_there_are_workers() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let names = ["a", "b", "c", "d", "e"];
    let services =
        names.map(|name| stage.create(name, &old.name, &["--network", "host", "--update-monitor", "1s"]));
    let services = services.map(Service::running);
    let most_at_once = |workers: &str| {
        let mut most = 0;
        let daemon = stage.gantry().set("GANTRY_UPDATE_NUM_WORKERS", workers).start();
        let run = daemon.until_its_end(150, || {
            let listed = listed("services", "id", &services);
            let updating = listed.iter().filter(|service| service["UpdateStatus"]["State"] == "updating");
            most = most.max(updating.count());
        });
        assert_eq!(run.summary(), "5 services: 5 updated", "{run}");
        most
    };
    stage.image("web", "2", &[]);
    assert_eq!(most_at_once("2"), 2);
    stage.image("web", "3", &[]);
    assert!(most_at_once("50") > 2, "more workers do more at once");
}
