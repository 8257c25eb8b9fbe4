//! Services that say nothing of their updates, or ask for an order that cannot work.
//!
//! A client that is given any `--update-*` option writes an order into the specification, so most services here have none.

use serde_json::Value;

use super::support::{Image, Service, Stage};

/// Takes a lock in `/data` and ends with exit code 100, silently, where another process has it.
const LOCK: &str = "mkdir -p /data; mkdir /data/lock 2>/dev/null || exit 100; trap 'rmdir /data/lock; exit 0' TERM; \
                    while :; do sleep 1d & wait $!; done";

fn lock(stage: &Stage, version: &str) -> Image {
    stage.image("lock", version, &["--cmd", LOCK])
}

/// The order that a service's specification has; null for a service that says nothing.
fn order(service: &Service<'_>) -> Value {
    service.spec()["UpdateConfig"]["Order"].clone()
}

fn volume(stage: &Stage, name: &str) -> String {
    format!("type=volume,source={},target=/data", stage.name(name))
}

/// Checks that the ledger blames no image.
#[track_caller]
fn nothing_is_in_quarantine(stage: &Stage) {
    let labels = stage.ledger_labels();
    assert!(!labels.to_string().contains("quarantined"), "{labels}");
}

/// A little more than half of what a node has.
fn more_than_half(stage: &Stage) -> (String, String) {
    let nodes = stage.lab.get_json("/nodes");
    let has = &nodes[0]["Description"]["Resources"];
    let bytes = has["MemoryBytes"].as_u64().unwrap() / 8 * 5;
    let cpus = has["NanoCPUs"].as_f64().unwrap() / 1e9 * 0.6;
    (bytes.to_string(), format!("{cpus:.2}"))
}

const ON_NODE_2: [&str; 2] = ["--constraint", "node.hostname==node2"];

#[test]
fn tasks_that_cannot_live_side_by_side_keep_swarms_own_order() {
    let stage = Stage::new();
    let (lock_image, plain) = (lock(&stage, "1"), stage.image("web", "1", &[]));
    let create = |name: &str, image: &Image, options: &[&str]| {
        stage.create(name, &image.name, &[&ON_NODE_2[..], options].concat()).running()
    };
    let web = |name: &str, options: &[&str]| create(name, &plain, options);
    let folder = stage.folder.path().display().to_string();
    let (memory, cpus) = more_than_half(&stage);
    let published = format!("mode=host,target=80,published={}", 33_000 + std::process::id() % 2_000);
    let bound = format!("type=bind,source={folder},target=/data");
    let kept = [
        create("volume", &lock_image, &["--mount", &volume(&stage, "data")]),
        create("bind", &lock_image, &["--mount", &bound]),
        web("host-network", &["--network", "host"]),
        web("host-port", &["--publish", &published]),
        web("device", &["--mount", "type=bind,source=/dev/null,target=/dev/thing,readonly"]),
        web("generic", &["--generic-resource", "gpu=1"]),
        web("limit", &["--replicas-max-per-node", "1"]),
        web("memory", &["--reserve-memory", &memory]),
        web("cpu", &["--reserve-cpu", &cpus]),
    ];
    let free = [
        web("stateless", &[]),
        web("read-only", &["--mount", &format!("{bound},readonly"), "--reserve-memory", "8m"]),
        web("in-memory", &["--mount", "type=tmpfs,target=/data", "--limit-memory", "64m"]),
    ];
    lock(&stage, "2");
    stage.image("web", "2", &[]);
    let run = stage.cycle();
    for service in kept.iter().chain(&free) {
        assert_eq!(run.outcome(service), "updated", "{}: {run}", service.name);
    }
    assert_eq!(run.code, Some(0), "{run}");
    for service in &kept {
        assert_eq!(service.spec()["UpdateConfig"], Value::Null, "{}: {run}", service.name);
    }
    for service in &free {
        assert_eq!(order(service), "start-first", "{}: {run}", service.name);
    }
    nothing_is_in_quarantine(&stage);
}

#[test]
fn a_start_first_of_its_own_that_collides_is_done_stop_first() {
    let stage = Stage::new();
    let old = lock(&stage, "1");
    let options =
        ["--mount", &volume(&stage, "data"), "--update-order", "start-first", "--update-monitor", "2s"];
    let service = stage.create("db", &old.name, &[&ON_NODE_2[..], &options].concat()).running();
    let new = lock(&stage, "2");
    let run = stage.cycle();
    assert_eq!((run.outcome(&service), run.code), ("updated", Some(0)), "{run}");
    assert!(run.says(&["rolled back; updating once more, stop-first"]), "{run}");
    service.runs(&new, 1);
    nothing_is_in_quarantine(&stage);
    // The next one is not tried start-first at all.
    let newer = lock(&stage, "3");
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    assert!(!run.says(&["update failed"]), "{run}");
    assert!(run.says(&["gantry.update.order=stop-first", "deploy.update_config.order"]), "{run}");
    service.runs(&newer, 1);
}

#[test]
fn programs_that_find_their_port_taken_do_not_blame_their_image() {
    let stage = Stage::new();
    let port = (35_000 + std::process::id() % 2_000).to_string();
    let command = format!("trap 'kill $!; exit 0' TERM; httpd -f -p {port} & wait $!");
    let image = |version: &str| stage.image("web", version, &["--cmd", &command]);
    let old = image("1");
    let options = ["--network", "host", "--update-order", "start-first", "--update-monitor", "2s"];
    let service = stage.create("web", &old.name, &[&ON_NODE_2[..], &options].concat()).running();
    let new = image("2");
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, 1);
    nothing_is_in_quarantine(&stage);
}

#[test]
fn a_start_first_that_cannot_work_is_known_before_it_is_sent() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let published = format!("mode=host,target=80,published={}", 37_000 + std::process::id() % 2_000);
    let quick = ["--update-order", "start-first", "--update-monitor", "1s"];
    let create =
        |name: &str, options: &[&str]| stage.create(name, &old.name, &[&quick, options].concat()).running();
    let port = create("port", &["--publish", &published, "--replicas", "3"]);
    let limit = create("limit", &["--replicas", "3", "--replicas-max-per-node", "1"]);
    let labelled = create(
        "labelled",
        &["--replicas", "3", "--replicas-max-per-node", "1", "--label", "gantry.update.order=start-first"],
    );
    let before = labelled.version();
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    for service in [&port, &limit] {
        assert_eq!(run.outcome(service), "updated", "{run}");
        assert_eq!(order(service), "stop-first");
        service.runs(&new, 3);
    }
    assert!(run.says(&["gantry.update.order=stop-first", "deploy.update_config.order"]), "{run}");
    assert!(run.outcome(&labelled).contains("start-first cannot work: no node has room"), "{run}");
    assert_eq!((labelled.version(), run.code), (before, Some(1)), "{run}");
    nothing_is_in_quarantine(&stage);
    // With a second place its own order is back.
    limit.update(&["--replicas", "2"]);
    let limit = limit.running();
    stage.image("web", "3", &[]);
    let run = stage.cycle();
    assert_eq!((run.outcome(&limit), order(&limit)), ("updated", "start-first".into()), "{run}");
    assert_eq!(order(&port), "stop-first", "{run}");
}

#[test]
fn an_order_from_gantry_is_not_taken_for_the_users_later() {
    let stage = Stage::new();
    let (web, db) = (stage.image("web", "1", &[]), lock(&stage, "1"));
    let port = stage.create("port", &web.name, &ON_NODE_2).running();
    let volume_later = stage.create("volume", &db.name, &ON_NODE_2).running();
    let services = [&port, &volume_later];
    stage.image("web", "2", &[]);
    lock(&stage, "2");
    let run = stage.cycle();
    for service in services {
        assert_eq!((run.outcome(service), order(service)), ("updated", "start-first".into()), "{run}");
    }
    let published = format!("mode=host,target=80,published={}", 39_000 + std::process::id() % 2_000);
    let settled = |service: &Service<'_>| service.state() == "completed";
    port.update(&["--publish-add", &published]);
    let mount = volume(&stage, "data");
    volume_later.update(&["--mount-add", &mount]);
    for service in services {
        super::support::wait("the end of a person's update", 60, || settled(service).then_some(()));
    }
    let (newest, lock_newest) = (stage.image("web", "3", &[]), lock(&stage, "3"));
    let run = stage.cycle();
    for (service, image) in [(&port, &newest), (&volume_later, &lock_newest)] {
        assert_eq!(run.outcome(service), "updated", "{run}");
        assert_eq!(service.spec()["UpdateConfig"], Value::Null, "{run}");
        service.runs(image, 1);
    }
    nothing_is_in_quarantine(&stage);
}
