//! Jobs, and services of which no task runs: nothing is started that nobody asked for, nothing is waited for that
//! cannot come, and the report says so.

use serde_json::Value;

use super::support::{Image, Lab, Service, Stage, wait};

/// Longest wait for tasks to come to their end.
const END_SECONDS: u64 = 60;

/// A program that is done in no time.
const ONCE: [&str; 2] = ["--cmd", "true"];

/// A program that is at work until it is told to stop.
const LONG: [&str; 2] = ["--cmd", "trap exit TERM; while :; do sleep 0.1; done"];

/// Services that swarm-cronjob starts are made so, says its documentation.
const CRON: [&str; 6] =
    ["--network", "host", "--restart-condition", "none", "--label", "swarm.cronjob.enable=true"];

/// The states of all tasks.
fn states(service: &Service<'_>) -> Vec<String> {
    let state = |task: &Value| task["Status"]["State"].as_str().unwrap_or_default().to_owned();
    service.tasks().iter().map(state).collect()
}

/// Waits until so many tasks are done, and no other is left.
#[track_caller]
fn done(service: &Service<'_>, tasks: usize) {
    wait(&format!("end of {} tasks of {}", tasks, service.name), END_SECONDS, || {
        let states = states(service);
        (states.len() == tasks && states.iter().all(|state| state == "complete")).then_some(())
    });
}

/// Waits until so many tasks of this image are done.
#[track_caller]
fn ran(service: &Service<'_>, image: &Image, tasks: usize) {
    wait(&format!("end of {tasks} new tasks of {}", service.name), END_SECONDS, || {
        let is_new = |task: &&Value| task["Spec"]["ContainerSpec"]["Image"] == image.pinned().as_str();
        let is_done = |task: &Value| task["Status"]["State"] == "complete";
        (service.tasks().iter().filter(is_new).filter(|task| is_done(task)).count() >= tasks).then_some(())
    });
}

fn replicas(service: &Service<'_>) -> Value {
    service.spec()["Mode"]["Replicated"]["Replicas"].clone()
}

/// Starts a service as swarm-cronjob does: some replicas, and another number of forced updates.
fn start_as_swarm_cronjob(service: &Service<'_>) {
    service.update(&["--replicas", "1", "--force"]);
}

#[test]
fn a_global_job_and_a_replicated_one_run_again_only_where_their_label_allows_it() {
    let stage = Stage::new();
    let old = stage.image("job", "1", &ONCE);
    let create = |name: &str, mode: &str, options: &[&str]| {
        stage.create(name, &old.name, &[&["--mode", mode, "--network", "host"], options].concat())
    };
    let allowed = ["--label", "gantry.update.jobs=true"];
    let (one, everywhere) = (create("one", "replicated-job", &[]), create("everywhere", "global-job", &[]));
    let more_one = create("more-one", "replicated-job", &allowed);
    let more_everywhere = create("more-everywhere", "global-job", &allowed);
    let nodes = stage.lab.nodes;
    for (job, tasks) in [(&one, 1), (&everywhere, nodes), (&more_one, 1), (&more_everywhere, nodes)] {
        done(job, tasks);
    }
    let untouched = [&one, &everywhere].map(Service::version);

    let new = stage.image("job", "2", &ONCE);
    let run = stage.cycle();

    assert_eq!((run.code, run.summary()), (Some(0), "4 services: 2 started, 2 left alone"), "{run}");
    assert!(run.says(&["left alone", &one.name, &everywhere.name, "updating a job runs it"]), "{run}");
    assert_eq!([&one, &everywhere].map(Service::version), untouched);
    for (job, tasks) in [(&more_one, 1), (&more_everywhere, nodes)] {
        assert!(run.outcome(job).starts_with("started, nothing to wait for"), "{run}");
        assert_eq!(job.image(), new.pinned());
        ran(job, &new, tasks);
    }
}

#[test]
fn tasks_that_have_ended_are_not_started_again_unless_a_label_allows_it() {
    let stage = Stage::new();
    let old = stage.image("once", "1", &ONCE);
    let create = |name: &str, options: &[&str]| {
        stage.create(name, &old.name, &[&["--network", "host"], options].concat())
    };
    let never = create("never", &["--restart-condition", "none"]);
    let failed_only = create("on-failure", &["--restart-condition", "on-failure", "--replicas", "2"]);
    let everywhere = create("everywhere", &["--restart-condition", "none", "--mode", "global"]);
    let allowed = create("allowed", &["--restart-condition", "none", "--label", "gantry.update.jobs=true"]);
    let services = [(&never, 1), (&failed_only, 2), (&everywhere, stage.lab.nodes), (&allowed, 1)];
    for (service, tasks) in services {
        done(service, tasks);
    }
    let left_alone = [&never, &failed_only, &everywhere];
    let untouched = left_alone.map(Service::version);

    let new = stage.image("once", "2", &ONCE);
    let run = stage.cycle();

    assert_eq!((run.code, run.summary()), (Some(0), "4 services: 1 started, 3 left alone"), "{run}");
    let words = "its tasks have ended, and an update would run them again";
    assert!(run.says(&["left alone", &never.name, &failed_only.name, &everywhere.name, words]), "{run}");
    assert_eq!(left_alone.map(Service::version), untouched);
    assert_eq!(
        run.outcome(&allowed),
        "started, nothing to wait for: its tasks had ended, and run once more",
        "{run}"
    );
    assert_eq!(allowed.image(), new.pinned());
    ran(&allowed, &new, 1);
    assert_eq!(left_alone.map(|service| states(service).len()), [1, 2, stage.lab.nodes]);

    // The variable allows it to all; what is up to date is not run once more.
    let run = stage.gantry().set("GANTRY_UPDATE_JOBS", "true").run();
    assert_eq!(run.summary(), "4 services: 1 up to date, 3 started", "{run}");
    // Swarm may pause the others of a service when the first new task ends, which is what these tasks do.
    for service in left_alone {
        ran(service, &new, 1);
    }
    assert_eq!(states(&allowed).len(), 2);
}

#[test]
fn a_service_whose_task_runs_is_updated_though_it_would_not_be_started_again() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &LONG), &["--restart-condition", "none"]);
    let new = stage.image("web", "2", &LONG);
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, 1);
}

#[test]
fn services_of_swarm_cronjob_get_the_image_between_their_runs_and_are_not_started() {
    let stage = Stage::new();
    let (old, old_long) = (stage.image("once", "1", &ONCE), stage.image("long", "1", &LONG));
    let ended = stage.create("ended", &old.name, &CRON);
    let idle = stage.create("idle", &old.name, &[&CRON[..], &["--replicas", "0"]].concat());
    let at_work = stage.create("at-work", &old_long.name, &CRON).running();
    done(&ended, 1);
    let (version, task) = (at_work.version(), at_work.running_tasks());

    let new = stage.image("once", "2", &ONCE);
    stage.image("long", "2", &LONG);
    // Whatever else is told about replicas.
    let run = stage.gantry().set("GANTRY_UPDATE_OPTIONS", "--replicas 3").run();

    assert_eq!((run.code, run.summary()), (Some(0), "3 services: 2 started, 1 left alone"), "{run}");
    for service in [&ended, &idle] {
        assert_eq!(
            run.outcome(service),
            "started, nothing to wait for: it has no replicas until swarm-cronjob starts it",
            "{run}"
        );
        assert_eq!((service.image(), replicas(service)), (new.pinned(), 0.into()));
    }
    assert!(run.says(&["left alone", &at_work.name, "swarm-cronjob has started it"]), "{run}");
    assert_eq!((at_work.version(), at_work.running_tasks()), (version, task));

    // Nothing was started; what swarm-cronjob starts then is the new image.
    let run = stage.cycle();
    assert_eq!(run.summary(), "3 services: 2 up to date, 1 left alone", "{run}");
    assert!(states(&ended).len() <= 1, "{:?}", states(&ended));
    assert_eq!(states(&idle), [""; 0]);
    start_as_swarm_cronjob(&idle);
    done(&idle, 1);
    assert_eq!(idle.tasks()[0]["Spec"]["ContainerSpec"]["Image"], new.pinned().as_str());
}

#[test]
fn what_was_started_or_has_ended_while_others_were_updated_is_left_for_the_next_cycle() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &LONG);
    let first = stage.service("1", &old, &["--update-monitor", "6s"]);
    let cron = stage.create("2", &old.name, &[&CRON[..], &["--replicas", "0"]].concat());
    let on_first_node = ["--restart-condition", "none", "--constraint", "node.hostname==node1"];
    let service = stage.service("3", &old, &on_first_node);
    let new = stage.image("web", "2", &LONG);

    let daemon = stage.gantry().set("GANTRY_UPDATE_NUM_WORKERS", "1").start();
    first.wait_for(&new, 60);
    start_as_swarm_cronjob(&cron);
    let filter = format!("label=com.docker.swarm.service.id={}", service.id);
    let container = stage.lab.docker_on(1, &["ps", "--quiet", "--filter", &filter]);
    stage.lab.docker_on(1, &["kill", &container]);
    wait("end of the task", END_SECONDS, || (states(&service) == ["failed"]).then_some(()));
    let versions = || [cron.version(), service.version()];
    let before = versions();
    let run = daemon.end(120);

    // Two keep the old image for now, and the exit code says so.
    assert_eq!((run.code, run.outcome(&first)), (Some(3), "updated"), "{run}");
    assert_eq!(run.outcome(&cron), "unchanged: it was started or changed meanwhile", "{run}");
    assert_eq!(
        run.outcome(&service),
        "unchanged: its tasks have ended meanwhile, and an update would run them again",
        "{run}"
    );
    assert_eq!((cron.image(), service.image()), (old.pinned(), old.pinned()));
    assert_eq!(versions()[1], before[1]);
    assert_eq!(states(&service), ["failed"]);
}

/// Waits until the swarm has tried in vain to place the tasks of a service.
#[track_caller]
fn without_a_node(service: &Service<'_>) {
    wait(&format!("a pending task of {}", service.name), END_SECONDS, || {
        let tasks = service.tasks();
        let is_refused = |task: &Value| {
            task["Status"]["Err"].as_str().is_some_and(|words| words.contains("no suitable node"))
        };
        tasks.iter().any(is_refused).then_some(())
    });
}

#[test]
fn a_service_that_no_node_suits_gets_the_image_once_another_has_proved_it_and_is_not_waited_for() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let nowhere = ["--network", "host", "--constraint", "node.labels.nobody==here"];
    let pending = stage.create("pending", &old.name, &nowhere);
    let global = stage.create("global", &old.name, &[&nowhere[..], &["--mode", "global"]].concat());
    without_a_node(&pending);

    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!((run.code, run.summary()), (Some(3), "2 services: 2 unproved"), "{run}");
    assert_eq!([&pending, &global].map(Service::image), [old.pinned(), old.pinned()]);

    // The tag stands at the new image by now.
    let options = ["--network", "host", "--no-resolve-image", "--update-monitor", "1s"];
    let running = stage.create("running", &old.pinned(), &options).running();
    let run = stage.cycle();
    let summary = "3 services: 2 started, 1 updated; 1 started without a node";
    assert_eq!((run.code, run.summary()), (Some(3), summary), "{run}");
    running.runs(&new, 1);
    let told = |why: &str| format!("started, nothing to wait for: {why}");
    assert_eq!(run.outcome(&pending), told("no node takes its tasks, as before"), "{run}");
    assert_eq!(run.outcome(&global), told("no node is eligible"), "{run}");
    assert_eq!([&pending, &global].map(Service::image), [new.pinned(), new.pinned()]);
}

/// Makes all nodes take no tasks, or take them again.
fn make_all(lab: &Lab, availability: &str) {
    for node in lab.docker(&["node", "ls", "--quiet"]).split_whitespace() {
        lab.docker(&["node", "update", "--availability", availability, node]);
    }
}

#[test]
fn while_all_nodes_are_drained_services_keep_their_image_and_are_updated_when_the_nodes_are_back() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let global = stage.service("global", &old, &["--mode", "global"]);
    let single = stage.service("single", &old, &[]);
    make_all(stage.lab, "drain");
    without_a_node(&single);
    wait("end of all tasks", END_SECONDS, || {
        let all_over =
            |service: &Service<'_>| service.tasks().iter().all(|task| task["Status"]["State"] != "running");
        (all_over(&global) && all_over(&single)).then_some(())
    });

    let new: Image = stage.image("web", "2", &[]);
    let run = stage.cycle();

    assert_eq!((run.code, run.summary()), (Some(3), "2 services: 2 unproved"), "{run}");
    make_all(stage.lab, "active");
    wait("all tasks", END_SECONDS, || {
        (global.running_images().len() == stage.lab.nodes && single.running_images().len() == 1).then_some(())
    });
    let run = stage.cycle();
    assert_eq!((run.code, run.summary()), (Some(0), "2 services: 2 updated"), "{run}");
    global.runs(&new, stage.lab.nodes);
    single.runs(&new, 1);
}

#[test]
fn a_service_whose_node_is_lost_is_updated_when_that_is_back() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--constraint", "node.hostname==node3"]);
    stage.lab.run(&["stop", "3", "--kill"]);
    // The lost task says that it runs, and another one waits.
    without_a_node(&service);
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!((run.code, run.summary()), (Some(3), "1 service: 1 unproved"), "{run}");
    assert_eq!(service.image(), old.pinned());
    stage.lab.run(&["start", "3"]);
    wait("the old image on the node that is back", END_SECONDS, || {
        (service.running_images() == [old.pinned()]).then_some(())
    });
    let run = stage.cycle();
    assert_eq!((run.code, run.summary()), (Some(0), "1 service: 1 updated"), "{run}");
    service.runs(&new, 1);
}
