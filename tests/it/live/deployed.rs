//! Gantry as its users have it: a service of its own image.

use gantry::cycle::cleanup::remover_name;
use tokio::runtime::Runtime;

use crate::support::proxy::{Address, Mishap, Proxy, Seen};

use super::support::{Gantry, Image, Line, Registry, Request, Run, Service, Stage, wait};

/// Gantry's image in the lab's registry, put there by `lab build`.
pub(super) fn own_image(stage: &Stage) -> String {
    let registry = &stage.lab.registry;
    let path = "/v2/gantry/manifests/latest";
    let request = Request { method: "GET", path, ..Default::default() };
    let is_there = request.to_host(registry).is_ok_and(|answer| answer.status == 200);
    assert!(is_there, "The lab's registry does not have gantry:latest: run `tests/lab/lab build`.");
    format!("{registry}/gantry:latest")
}

/// A copy of Gantry's image in a repository of the stage; the version makes it another image.
fn copy_of_own_image(stage: &Stage, version: &str) -> Image {
    own_image(stage);
    let (registry, repository) = (Registry::at(&stage.lab.registry), stage.repository("gantry"));
    let digest = registry.copy("gantry", "latest", &registry, &repository, |config| {
        config["config"]["Labels"]["version"] = version.into();
    });
    Image { name: format!("{}/{repository}:latest", stage.lab.registry), digest }
}

/// Containers of a node whose image, label or name passes the filter.
fn containers(stage: &Stage, node: usize, filter: &str) -> Vec<String> {
    let listed = stage.lab.docker_on(node, &["ps", "--all", "--quiet", "--filter", filter]);
    listed.lines().map(str::to_owned).collect()
}

fn has_image(stage: &Stage, node: usize, image: &Image) -> bool {
    let name = image.pinned().replace(":latest@", "@");
    stage.lab.engine(node, "GET", &format!("/images/{name}/json")).unwrap().status == 200
}

/// Checks that no trace of the image remover is left anywhere.
fn no_remover_is_left(stage: &Stage) {
    let name = remover_name(&stage.ledger());
    let filter = format!("name={name}");
    let list = ["service", "ls", "--quiet", "--filter", &filter];
    wait("end of the remover", 20, || stage.lab.docker(&list).is_empty().then_some(()));
    for node in 1..=stage.lab.nodes {
        let filter = format!("label=com.docker.swarm.service.name={name}");
        wait("end of the removers", 20, || containers(stage, node, &filter).is_empty().then_some(()));
    }
}

#[test]
fn the_image_is_small_runs_read_only_and_has_what_hooks_and_registries_need() {
    let stage = Stage::new();
    let image = own_image(&stage);
    let run = |options: &[&str], arguments: &[&str]| {
        let fixed = ["run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL"];
        let output = stage
            .lab
            .docker_command(1)
            .args(fixed)
            .args(options)
            .arg(&image)
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    assert_eq!(run(&[], &["--version"]).0, Some(0));
    let size: u64 = stage.lab.docker(&["image", "inspect", "--format", "{{.Size}}", &image]).parse().unwrap();
    assert!(size <= 16_000_000, "{size} bytes");

    let script =
        "[ -s /etc/ssl/certs/ca-certificates.crt ] && wget --help 2>&1 | head -n 1 && echo $((1 + 1))";
    let (code, said) = run(&["--entrypoint", "sh"], &["-c", script]);
    assert!(code == Some(0) && said.ends_with("\n2\n"), "{said}");

    let script = "tar -tzf /usr/share/doc/gantry/crates.tar.gz | grep /tokio- >/dev/null && [ -s /usr/share/common-licenses/GPL-2 ] && \
                  grep -c -E '^(busybox-static|ca-certificates|libc6-dev|tzdata) ' /usr/share/doc/packages";
    assert_eq!(run(&["--entrypoint", "sh"], &["-c", script]), (Some(0), "4\n".to_owned()));

    // Without the socket there is nothing to do, but the log has the right time and words.
    let (code, said) = run(&["--env", "TZ=Asia/Kathmandu"], &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("+05:45 ERROR") && said.contains("cannot ask the engine about itself"), "{said}");
    assert_eq!(run(&[], &["healthcheck"]).0, Some(1), "nobody is there who could be healthy");
}

#[test]
fn the_health_check_tells_a_process_that_hangs_from_one_that_works() {
    let stage = Stage::new();
    let (image, name) = (own_image(&stage), stage.name("daemon"));
    let filter = format!("GANTRY_SERVICES_FILTERS=label=stage={}", stage.prefix);
    let quick = ["--health-interval", "500ms", "--health-retries", "2", "--health-timeout", "2s"];
    let fixed = ["run", "--detach", "--read-only", "--name", &name, "--env", &filter];
    let socket =
        ["--volume", "/var/run/docker.sock:/var/run/docker.sock", "--env", "GANTRY_SLEEP_SECONDS=3600"];
    stage.lab.docker(&[&fixed[..], &quick, &socket, &[&image]].concat());
    let is = |health: &str| {
        let seen = stage.lab.docker(&["inspect", "--format", "{{.State.Health.Status}}", &name]);
        (seen == health).then_some(())
    };
    wait("health", 30, || is("healthy"));
    let said = stage.lab.docker(&["exec", &name, "gantry", "healthcheck"]);
    assert!(said.starts_with("healthy: last sign of life"), "{said}");
    stage.lab.docker(&["kill", "--signal", "STOP", &name]);
    wait("end of health", 60, || is("unhealthy"));
    stage.lab.docker(&["kill", "--signal", "CONT", &name]);
    wait("health again", 30, || is("healthy"));
    stage.lab.docker(&["rm", "--force", &name]);
}

#[test]
fn the_replaced_image_goes_from_all_nodes_unless_somebody_needs_it() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--mode", "global"]);
    // An image that is replaced here, but which another service still has.
    let shared = stage.image("shared", "shared 1", &[]);
    let mover = stage.service("mover", &shared, &["--mode", "global"]);
    stage.service("stayer", &shared, &["--mode", "global", "--label", "gantry.services.excluded=true"]);
    // On node 2 somebody runs it by hand; on node 3 it has another name.
    let by_hand = stage.name("by-hand");
    stage.lab.docker_on(2, &["run", "--detach", "--network", "none", "--name", &by_hand, &old.pinned()]);
    let other_name = stage.repository("mine:1");
    stage.lab.docker_on(3, &["tag", &old.pinned().replace(":latest@", "@"), &other_name]);
    for node in 1..=3 {
        assert!(has_image(&stage, node, &old) && has_image(&stage, node, &shared), "node {node}");
    }
    let new = stage.image("web", "2", &[]);
    stage.image("shared", "shared 2", &[]);

    let remover = own_image(&stage);
    let gantry =
        stage.gantry().set("GANTRY_CLEANUP_IMAGES", "true").set("GANTRY_CLEANUP_IMAGES_REMOVER", &remover);
    let run = gantry.run();

    assert_eq!(
        (run.code, run.outcome(&service), run.outcome(&mover)),
        (Some(0), "updated", "updated"),
        "{run}"
    );
    service.runs(&new, 3);
    assert_eq!([1, 2, 3].map(|node| has_image(&stage, node, &old)), [false, true, true], "{run}");
    assert_eq!([1, 2, 3].map(|node| has_image(&stage, node, &shared)), [true; 3], "{run}");
    // The containers of the old tasks were in the way, and went first.
    let ancestor = format!("ancestor={}", old.pinned().replace(":latest@", "@"));
    assert!(containers(&stage, 1, &ancestor).is_empty());
    let why = |node: &str| {
        let kept = |line: &&Line| {
            line.message() == "kept image" && line.0["on"] == node && line.0["image"] == old.pinned().as_str()
        };
        run.lines
            .iter()
            .filter(kept)
            .filter_map(|line| line.0["why"].as_str())
            .next_back()
            .unwrap_or_default()
    };
    assert!(why("node2").starts_with("container ") && why("node2").ends_with(" uses it"), "{run}");
    assert_eq!(why("node3"), format!("it is also called {other_name}"), "{run}");
    no_remover_is_left(&stage);
    stage.lab.docker_on(2, &["rm", "--force", &by_hand]);
}

#[test]
fn the_image_remover_goes_where_its_options_let_it() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--mode", "global"]);
    stage.image("web", "2", &[]);
    let options =
        "--constraint node.hostname==node2 --limit-memory 128m --log-driver json-file --detach --init";
    let run = stage
        .gantry()
        .set("GANTRY_CLEANUP_IMAGES", "true")
        .set("GANTRY_CLEANUP_IMAGES_REMOVER", &own_image(&stage))
        .set("GANTRY_CLEANUP_IMAGES_OPTIONS", options)
        .run();
    assert_eq!((run.code, run.outcome(&service)), (Some(0), "updated"), "{run}");
    assert_eq!([1, 2, 3].map(|node| has_image(&stage, node, &old)), [true, false, true], "{run}");
    // A node that is waited for in vain is a warning. (So are a health socket that a neighbouring test holds, and the
    // lab's own place of the engine's socket.)
    let warnings = run.lines.iter().filter(|line| line.level() == "WARN").map(Line::message);
    let is_of_the_lab = |message: &&str| {
        *message == "health checks are not answered" || message.starts_with("DOCKER_HOST is unix://")
    };
    let warnings: Vec<_> = warnings.filter(|message| !is_of_the_lab(message)).collect();
    assert!(warnings.is_empty(), "{warnings:?}: {run}");
    no_remover_is_left(&stage);
}

#[test]
fn it_updates_itself_first_survives_that_and_cleans_up_after_itself() {
    let stage = Stage::new();
    let (old, old_web) = (copy_of_own_image(&stage, "1"), stage.image("web", "1", &[]));
    let web = stage.service("web", &old_web, &[]);
    let (new, new_web) = (copy_of_own_image(&stage, "2"), stage.image("web", "2", &[]));
    assert_ne!(old.digest, new.digest);
    let filter = format!("GANTRY_SERVICES_FILTERS=label=stage={}", stage.prefix);
    let ledger = format!("GANTRY_LEDGER_NAME={}", stage.ledger());
    let options = [
        "--mount",
        "type=bind,src=/var/run/docker.sock,dst=/var/run/docker.sock",
        "--constraint",
        "node.role==manager",
        "--read-only",
        "--health-interval",
        "500ms",
        "--update-order",
        "start-first",
        "--update-monitor",
        "2s",
        "--env",
        "GANTRY_LOG_FORMAT=json",
        "--env",
        "GANTRY_SLEEP_SECONDS=2",
        "--env",
        &ledger,
        "--env",
        &filter,
    ];
    // An old one, so that what it finds first is a newer one of itself.
    let itself = stage.create("gantry", &old.pinned(), &options);

    itself.wait_for(&new, 60);
    web.wait_for(&new_web, 120);
    wait("new Gantry alone", 60, || (itself.running_images() == [new.pinned()]).then_some(()));
    wait("end of the old image", 60, || (!has_image(&stage, 1, &old)).then_some(()));
    wait("end of the web's old image", 60, || {
        (1..=3).all(|node| !has_image(&stage, node, &old_web)).then_some(())
    });
    web.runs(&new_web, 1);
    no_remover_is_left(&stage);

    let logs = |image: &Image| {
        let of_image =
            |task: &&serde_json::Value| task["Spec"]["ContainerSpec"]["Image"] == image.pinned().as_str();
        let tasks = itself.tasks();
        let tasks: Vec<&serde_json::Value> = tasks.iter().filter(of_image).collect();
        assert_eq!(tasks.len(), 1, "each Gantry was started once: {tasks:#?}");
        stage.lab.log_of(&["service", "logs", "--raw", tasks[0]["ID"].as_str().unwrap()])
    };
    assert!(logs(&new).contains(&format!("\"service\":\"{}\"", web.name)), "{}", logs(&new));
    // It does not begin anew with itself, nor with anything else.
    let versions =
        |services: &[&Service<'_>]| services.iter().map(|service| service.version()).collect::<Vec<_>>();
    let before = versions(&[&itself, &web]);
    let cycles = |log: &str| log.lines().filter(|line| line.contains("2 services: 2 up to date")).count();
    let had = cycles(&logs(&new));
    wait("two more cycles", 60, || (cycles(&logs(&new)) >= had + 2).then_some(()));
    assert_eq!(versions(&[&itself, &web]), before);
}

#[test]
fn without_root_and_capabilities_it_updates_a_service() {
    let stage = Stage::new();
    let image = copy_of_own_image(&stage, "1");
    let old_web = stage.image("web", "1", &[]);
    let web = stage.service("web", &old_web, &[]);
    let new_web = stage.image("web", "2", &[]);

    let mount = "type=bind,src=/var/run/docker.sock,dst=/var/run/docker.sock";
    let ask = ["run", "--rm", "--mount", mount, "--entrypoint", "stat", &image.pinned()];
    let group = stage.lab.docker(&[&ask[..], &["-c", "%g", "/var/run/docker.sock"]].concat());
    let user = format!("65532:{}", group.trim());
    let filter = format!("GANTRY_SERVICES_FILTERS=label=stage={}", stage.prefix);
    let ledger = format!("GANTRY_LEDGER_NAME={}", stage.ledger());
    let rights = ["--user", &user, "--cap-drop", "ALL", "--read-only", "--mount", mount];
    let place = ["--constraint", "node.role==manager", "--health-interval", "500ms"];
    let variables = ["--env", "GANTRY_SLEEP_SECONDS=2", "--env", &ledger, "--env", &filter];
    let itself = stage.create("gantry", &image.pinned(), &[&rights[..], &place, &variables].concat());

    wait("the web's new task", 120, || (web.running_images() == [new_web.pinned()]).then_some(()));
    let label = format!("label=com.docker.swarm.service.name={}", itself.name);
    let [container] = &containers(&stage, 1, &label)[..] else { panic!("one container of {user}") };
    let status = stage.lab.docker(&["exec", container, "cat", "/proc/1/status"]);
    let has = |field: &str| status.lines().find_map(|line| line.strip_prefix(field)).map(str::trim);
    assert_eq!(has("Uid:"), Some("65532\t65532\t65532\t65532"), "{status}");
    assert_eq!(has("CapEff:"), Some("0000000000000000"), "{status}");
    // The image remover works beside it as well.
    wait("end of the web's old image", 60, || {
        (1..=3).all(|node| !has_image(&stage, node, &old_web)).then_some(())
    });
    no_remover_is_left(&stage);
}

/// The stage's Gantry, which removes images on all nodes.
fn cleaning(stage: &Stage) -> Gantry {
    let gantry = stage.gantry().set("GANTRY_CLEANUP_IMAGES", "true");
    gantry.set("GANTRY_CLEANUP_IMAGES_REMOVER", &own_image(stage))
}

/// The nodes on which this image was removed.
fn cleaned_nodes(run: &Run, image: &str) -> Vec<String> {
    let is_removed = |line: &&Line| line.message() == "removed image" && line.0["image"] == image;
    let nodes = run.lines.iter().filter(is_removed).filter_map(|line| line.0["on"].as_str());
    let mut nodes: Vec<String> = nodes.map(str::to_owned).collect();
    nodes.sort_unstable();
    nodes
}

#[test]
fn two_ledgers_that_clean_at_once_both_get_clean() {
    let stages = [Stage::new(), Stage::new()];
    let clean = |stage: &Stage| {
        let old = stage.image("web", "1", &[]);
        let service = stage.service("web", &old, &["--mode", "global"]);
        stage.image("web", "2", &[]);
        let run = cleaning(stage).run();
        assert_eq!((run.code, run.outcome(&service)), (Some(0), "updated"), "{run}");
        assert_eq!(cleaned_nodes(&run, &old.pinned()), ["node1", "node2", "node3"], "{run}");
        assert_eq!([1, 2, 3].map(|node| has_image(stage, node, &old)), [false; 3], "{run}");
        no_remover_is_left(stage);
    };
    std::thread::scope(|scope| {
        for stage in &stages {
            scope.spawn(|| clean(stage));
        }
    });
}

#[test]
fn a_remover_whose_making_was_not_answered_is_used_and_removed() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--mode", "global"]);
    stage.image("web", "2", &[]);
    let mut is_lost = false;
    let plan = move |_, seen: &Seen| {
        let is_first = seen.path.contains("/services/create") && !std::mem::replace(&mut is_lost, true);
        is_first.then_some(Mishap::CutAfter)
    };
    let runtime = Runtime::new().unwrap();
    let socket = stage.folder.path().join("engine.sock");
    let engine = Proxy::start(Address::Unix(socket.clone()), Address::Unix(stage.lab.socket(1)), plan);
    let engine = runtime.block_on(engine);
    let run = cleaning(&stage).set("DOCKER_HOST", &format!("unix://{}", socket.display())).run();
    let made = engine.seen().iter().filter(|seen| seen.path.contains("/services/create")).count();
    assert_eq!((run.code, run.outcome(&service), made), (Some(0), "updated", 2), "{run}");
    assert_eq!(cleaned_nodes(&run, &old.pinned()), ["node1", "node2", "node3"], "{run}");
    no_remover_is_left(&stage);
    drop(engine);
    runtime.shutdown_background();
}

#[test]
fn of_a_tag_what_the_service_had_is_removed_on_each_node() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let options =
        ["--network", "host", "--stop-grace-period", "1s", "--mode", "global", "--no-resolve-image"];
    let service = stage.create("web", &old.name, &options).running();
    assert_eq!(service.image(), old.name, "without a digest");
    let id_on = |node: usize, name: &str| {
        let answer = stage.lab.engine(node, "GET", &format!("/images/{name}/json")).unwrap();
        answer.json()["Id"].as_str().map(str::to_owned)
    };
    let before = [1, 2, 3].map(|node| id_on(node, &old.name).expect("its image"));
    let new = stage.image("web", "2", &[]);
    // On one node the tag stands at the new image by then; on another one a person runs the old one.
    stage.lab.docker_on(2, &["pull", "--quiet", &new.name]);
    let by_hand = stage.name("by-hand");
    stage.lab.docker_on(3, &["run", "--detach", "--network", "none", "--name", &by_hand, &before[2]]);
    let run = cleaning(&stage).run();
    stage.lab.docker_on(3, &["rm", "--force", &by_hand]);
    assert_eq!((run.code, run.outcome(&service)), (Some(0), "updated"), "{run}");
    let is_left = [1, 2, 3].map(|node| id_on(node, &before[node - 1]).is_some());
    assert_eq!(is_left, [false, false, true], "{run}");
    assert_eq!(cleaned_nodes(&run, &old.name), ["node1", "node2"], "{run}");
    assert!([1, 2, 3].iter().all(|node| has_image(&stage, *node, &new)), "{run}");
    service.runs(&new, 3);
}

#[test]
fn a_node_that_cannot_run_the_remover_is_named_with_the_reason() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    stage.image("web", "2", &[]);
    let options = "--mount type=bind,src=/nowhere,dst=/nowhere --constraint node.hostname!=node3";
    let run = cleaning(&stage).set("GANTRY_CLEANUP_IMAGES_OPTIONS", options).run();
    assert_eq!((run.code, run.outcome(&service)), (Some(0), "updated"), "{run}");
    let words = "cannot clean up on node1, node2: the path /nowhere of a mount does not exist there";
    assert!(run.messages().contains(&words), "{run}");
    no_remover_is_left(&stage);
}
