//! Discover, inspect, plan: who is looked at, what is asked, what is decided.

use gantry::cycle;
use gantry::model::outcome::Outcome;
use gantry::model::row::State;
use gantry::registry::RegistryError;

use super::{APP, Scene, count, finished, outcome, state};
use crate::fake::{digest, pinned, secs};
use crate::support::log::Log;

#[tokio::test(start_paused = true)]
async fn a_tag_that_moved_updates_all_services_that_opted_in_and_no_others() {
    let scene = Scene::new().with("GANTRY_SERVICES_EXCLUDED", "by-name");
    for name in ["web", "api", "by-name"] {
        scene.service(name).create();
    }
    scene.service("by-label").label("gantry.services.excluded", "true").create();
    scene.swarm.new_service("stranger").image(&pinned(APP, "old")).create();
    let new = scene.registry.release(APP, "new");

    let report = scene.cycle().await;

    assert_eq!(report.summary(), "4 services: 2 updated, 2 left alone");
    assert!(!report.has_failed());
    assert_eq!(scene.registry.lookups().len(), 1);
    for name in ["web", "api"] {
        assert_eq!(scene.swarm.running_images(name), [new.clone(), new.clone()]);
    }
    for name in ["by-name", "by-label", "stranger"] {
        assert_eq!(scene.swarm.image_of(name), pinned(APP, "old"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_filter_of_excluded_services_is_the_default_and_none_excludes_none() {
    for (value, excluded) in [("", 1), (" ", 1), ("none", 0), ("None", 0)] {
        let scene = Scene::new().with("GANTRY_SERVICES_EXCLUDED_FILTERS", value);
        scene.service("db").label("gantry.services.excluded", "true").create();
        scene.service("web").create();
        scene.registry.release(APP, "new");
        let log = Log::from_level("WARN");
        let context = scene.context();
        let report = cycle::run(&context).await;
        assert_eq!(
            (count(&report, "left alone"), report.updated().count()),
            (excluded, 2 - excluded),
            "{value:?}"
        );
        cycle::run(&context).await;
        let told = log.lines_with("gantry.services.excluded=true of 1 service has no effect: db");
        assert_eq!(told.len(), 1 - excluded, "said once: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn labels_on_containers_are_warned_of_and_the_one_that_excludes_is_obeyed() {
    let scene = Scene::new();
    let containers = |name: &str, label: &'static str, value: &'static str| {
        let labels = move |spec: &mut serde_json::Value| {
            spec["TaskTemplate"]["ContainerSpec"]["Labels"][label] = value.into();
        };
        scene.service(name).edit(labels)
    };
    containers("db", "gantry.services.excluded", "true").create();
    containers("slow", "gantry.update.timeout_seconds", "600").create();
    containers("stranger", "gantry.enable", "true").label("gantry.enable", "").create();
    containers("other", "com.example", "x").create();
    scene.registry.release(APP, "new");
    let log = Log::from_level("WARN");
    let context = scene.context();
    for _ in 0..2 {
        cycle::run(&context).await;
    }
    assert_eq!(scene.swarm.image_of("db"), pinned(APP, "old"));
    for (name, words) in [
        (
            "db",
            "gantry.services.excluded (gantry.services.excluded is obeyed all the same); labels for Gantry",
        ),
        (
            "slow",
            "WARN  - labels on the containers are not read: gantry.update.timeout_seconds; labels for Gantry",
        ),
        ("stranger", "not updated: labels on the containers are not read: gantry.enable; labels for Gantry"),
    ] {
        let lines = log.lines_with(&format!("service={name}"));
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        assert!(lines[0].contains(words) && lines[0].contains("deploy.labels"), "{lines:?}");
    }
    assert_eq!(log.lines_with("containers").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_not_allowed_names_its_services() {
    let scene = Scene::new().with("GANTRY_LABELS_ALLOWED", "none");
    for index in 0..25 {
        scene.service(&format!("web-{index:02}")).label("gantry.update.jobs", "true").create();
    }
    scene.service("db").label("gantry.rollout.canary", "true").create();
    let log = Log::from_level("WARN");
    scene.cycle().await;
    let jobs = log.lines_with("label gantry.update.jobs is ignored");
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert!(
        jobs[0].contains("services=\"web-00, web-01, ") && jobs[0].ends_with("web-19 and 5 more\""),
        "{jobs:?}"
    );
    let canary = log.lines_with("label gantry.rollout.canary is ignored");
    assert!(canary.len() == 1 && canary[0].ends_with("service=db"), "{canary:?}");
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_the_index_still_lists_is_current_and_one_that_it_dropped_is_not() {
    let scene = Scene::new();
    scene.service("current").image(&pinned(APP, "amd64")).create();
    scene.service("dropped").image(&pinned(APP, "mips")).create();
    scene.registry.release(APP, "index");
    scene.registry.set_manifest(&digest("index"), &[digest("amd64"), digest("arm64")], &["linux/amd64"]);
    let report = scene.cycle().await;
    assert_eq!(count(&report, "up to date"), 1);
    assert_eq!(outcome(&report, "dropped"), &Outcome::Updated);
}

#[tokio::test(start_paused = true)]
async fn an_image_without_a_recorded_digest_gets_one() {
    let scene = Scene::new();
    scene.service("web").image(APP).create();
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn a_pin_by_digest_alone_is_left_alone_and_said_so() {
    let scene = Scene::new();
    scene.service("web").image(&format!("registry.test/app@{}", digest("old"))).create();
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    let State::LeftAlone(reason) = state(&report, "web") else { panic!("{report:?}") };
    assert_eq!(scene.registry.lookups().len(), 0);
    assert!(reason.to_string().contains("pinned by digest"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_digest_in_the_stack_file_is_left_to_its_person() {
    const LABEL: &str = "com.docker.stack.image";
    let scene = Scene::new();
    scene.service("pinned").label(LABEL, &pinned(APP, "old")).create();
    scene.service("followed").label(LABEL, APP).create();
    scene.registry.release(APP, "new");
    for _ in 0..2 {
        let report = scene.cycle().await;
        let State::LeftAlone(reason) = state(&report, "pinned") else { panic!("{report:?}") };
        assert_eq!(count(&report, "left alone"), 1);
        assert_eq!(reason.to_string(), "pinned by digest in its stack file");
    }
    assert_eq!(scene.swarm.image_of("pinned"), pinned(APP, "old"));
    assert_eq!(scene.swarm.image_of("followed"), pinned(APP, "new"));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_one_service_concerns_no_other() {
    let scene = Scene::new();
    scene.service("web").create();
    scene.service("local").image("registry.test/local:1").create();
    scene.service("typo").label("gantry.update.timeout_seconds", "soon").create();
    let gone =
        RegistryError::NotFound { image: "registry.test/local:1".into(), registry: "registry.test".into() };
    scene.registry.fail("registry.test/local:1", gone);
    scene.registry.release(APP, "new");

    let report = scene.cycle().await;

    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert!(report.has_failed());
    let error = |name: &str| {
        let State::Error(cause) = state(&report, name) else { panic!("{report:?}") };
        cause
    };
    assert!(error("local").contains("gantry.manifest.cmd=none"), "{}", error("local"));
    assert!(error("typo").contains("gantry.update.timeout_seconds") && error("typo").contains("soon"));
    assert_eq!(scene.swarm.update_log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_filter_is_told_in_the_engines_words_and_nothing_is_updated() {
    let scene = Scene::new().with("GANTRY_SERVICES_FILTERS", "colour=blue");
    scene.service("web").create();
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    let error = report.error.clone().unwrap();
    assert!(error.contains("invalid filter") && error.contains("colour=blue"), "{error}");
    assert!(report.has_failed() && scene.swarm.update_log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_fails_once_while_the_services_are_looked_for_costs_a_moment() {
    use crate::fake::Call;
    use gantry::swarm::SwarmError;
    for call in [Call::Config, Call::Services] {
        let scene = Scene::new();
        scene.service("web").create();
        scene.registry.release(APP, "new");
        scene.swarm.fail_next(call, SwarmError::Unavailable("the swarm has no leader".to_owned()));
        let report = scene.cycle().await;
        assert_eq!(report.summary(), "1 service: 1 updated", "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_waited_for_where_it_was_there_before_or_cycles_go_on() {
    for (sleep, is_waited_for) in [("0", false), ("3600", true)] {
        let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", sleep);
        scene.service("web").create();
        scene.registry.release(APP, "new");
        scene.swarm.be_away_for(secs(30));
        let report = scene.cycle().await;
        assert_eq!(report.error.is_none(), is_waited_for, "{report:?}");
        assert_eq!(report.updated().count(), usize::from(is_waited_for));
    }
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 3600);
    scene.service("web").create();
    scene.swarm.be_away_for(secs(3600));
    let begun = tokio::time::Instant::now();
    let report = scene.cycle().await;
    assert!(report.error.is_some_and(|error| error.contains("cannot ask the engine")));
    assert!(begun.elapsed() <= secs(100), "{:?}", begun.elapsed());
    let (report, ()) = tokio::join!(scene.cycle(), async {
        tokio::time::sleep(secs(5)).await;
        scene.stop.cancel();
    });
    assert!(report.is_interrupted && begun.elapsed() <= secs(120), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_worker_says_that_it_needs_a_manager() {
    let mut scene = Scene::new();
    scene.service("web").create();
    scene.swarm = scene.swarm.at("node2");
    let report = scene.cycle().await;
    assert!(report.error.unwrap().contains("run Gantry on a manager node"));
}

#[tokio::test(start_paused = true)]
async fn without_a_look_up_the_service_is_forced_and_sent_no_digest() {
    let scene = Scene::new().with("GANTRY_MANIFEST_CMD", "none");
    scene.service("web").create();
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert_eq!(scene.registry.lookups().len(), 0);
    assert_eq!(scene.swarm.image_of("web"), APP);
    assert_eq!(scene.swarm.spec("web").facts().force_update, 1);
    // Again: the image reads the same, and the tasks are replaced all the same.
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.spec("web").facts().force_update, 2);
}

#[tokio::test(start_paused = true)]
async fn jobs_and_services_without_tasks_are_not_waited_for() {
    let scene = Scene::new();
    scene.service("job").replicated_job(1, 1).create();
    scene.service("allowed").replicated_job(1, 1).label("gantry.update.jobs", "true").create();
    scene.service("asleep").replicas(0).create();
    let new = scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!(count(&report, "left alone"), 1);
    assert!(matches!(outcome(&report, "allowed"), Outcome::Started(_)));
    assert!(matches!(outcome(&report, "asleep"), Outcome::Started(_)));
    assert_eq!(scene.swarm.image_of("asleep"), new);
    assert!(scene.swarm.running_images("asleep").is_empty(), "nothing was started");
    assert_eq!(scene.swarm.image_of("job"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn a_global_service_is_updated_on_every_node_that_is_up() {
    let scene = Scene::new();
    scene.service("everywhere").global().create();
    scene.swarm.node_is_ready("node3", false);
    tokio::time::sleep(crate::fake::secs(20)).await;
    let new = scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "everywhere"), &Outcome::Updated, "{:?}", finished(&report, "everywhere"));
    assert!(scene.swarm.running_images("everywhere").iter().filter(|image| **image == new).count() >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_only_node_is_lost_or_drained_gets_the_image_and_is_not_waited_for() {
    let changes: [fn(&crate::fake::FakeSwarm); 3] = [
        |swarm| swarm.node_is_ready("node3", false),
        |swarm| swarm.node_loses_power("node3"),
        |swarm| swarm.node_is_active("node3", false),
    ];
    for change in changes {
        let scene = Scene::new();
        scene.service("only-there").constraint("node.hostname==node3").create();
        scene.service("anywhere").create();
        change(&scene.swarm);
        tokio::time::sleep(crate::fake::secs(30)).await;
        let new = scene.registry.release(APP, "new");
        let report = scene.cycle().await;
        let without_node = Outcome::Started("no node takes its tasks, as before".to_owned());
        assert_eq!(outcome(&report, "only-there"), &without_node);
        assert_eq!(outcome(&report, "anywhere"), &Outcome::Updated);
        assert_eq!(scene.swarm.image_of("only-there"), new);
    }
}

#[tokio::test(start_paused = true)]
async fn fields_that_nobody_has_heard_of_survive_an_update_and_a_rollback() {
    let scene = Scene::new();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(crate::fake::millis(10), 1);
    for (name, action) in [("pause", "pause"), ("rollback", "rollback")] {
        let service = scene.service(name).failure_action(action).edit(|spec| {
            spec["Zukunft"] = serde_json::json!({"a": [1, {"b": null}], "n": 12_345_678_901_234_567_890_u64});
            spec["TaskTemplate"]["ContainerSpec"]["Neu"] = true.into();
        });
        service.create();
    }
    let before = |name: &str| scene.swarm.spec(name).json().to_owned();
    let specs = [before("pause"), before("rollback")];
    let report = scene.cycle().await;
    assert!(report.finished().all(|f| matches!(f.outcome, Outcome::RolledBack { .. })), "{report:?}");
    for (name, spec) in ["pause", "rollback"].into_iter().zip(specs) {
        let spec = gantry::swarm::Spec::from_json(&spec).unwrap();
        assert!(scene.swarm.spec(name).is_same_as(&spec), "{name}");
    }
    let sent = scene.swarm.update_log()[0].spec.json().to_owned();
    assert!(sent.contains("12345678901234567890") && sent.contains("\"Neu\":true"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn at_debug_an_update_names_its_login_and_its_options_but_no_values() {
    let scene = Scene::new();
    scene.service("web").label("gantry.update.options", "--env-add TOKEN=s3cret --force").create();
    scene.registry.release(APP, "new");
    let log = Log::from_level("DEBUG");
    assert_eq!(*outcome(&scene.cycle().await, "web"), Outcome::Updated);
    let told = log.lines_with("login and options of the update");
    assert_eq!(told.len(), 1, "{told:?}");
    let words = ["service=web", "login=none", r#"options="force env-add""#];
    assert!(words.iter().all(|word| told[0].contains(word)), "{told:?}");
    assert!(log.lines_with("s3cret").is_empty());
}
