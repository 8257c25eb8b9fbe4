//! Which services are updated, and which are left alone.

use super::support::{Image, Line, Service, Stage};

#[test]
fn a_moved_tag_updates_the_services_that_opted_in_and_no_others() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let first = stage.service("first", &old, &[]);
    let second = stage.service("second", &old, &["--replicas", "2"]);
    let other = stage.service("other", &old, &["--label", "stage=elsewhere"]);
    let named = stage.service("named", &old, &[]);
    let labelled = stage.service("labelled", &old, &["--label", "gantry.services.excluded=true"]);
    let untouched = [&other, &named, &labelled].map(Service::version);

    let new = stage.image("web", "2", &[]);
    let run = stage.gantry().set("GANTRY_SERVICES_EXCLUDED", &format!("nobody {}", named.name)).run();

    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(run.outcome(&first), "updated", "{run}");
    assert_eq!(run.summary(), "4 services: 2 updated, 2 left alone", "{run}");
    first.runs(&new, 1);
    second.runs(&new, 2);
    assert_eq!([&other, &named, &labelled].map(Service::version), untouched);
}

#[test]
fn filters_of_excluded_services_hold_together_and_none_excludes_none() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    // The label means nothing once the filters say something else.
    let labelled = stage.service("labelled", &old, &["--label", "gantry.services.excluded=true"]);
    let one = stage.service("one", &old, &["--label", "keep=yes"]);
    let both = stage.service("both", &old, &["--label", "keep=yes", "--label", "me"]);

    let new = stage.image("web", "2", &[]);
    let run = stage.gantry().set("GANTRY_SERVICES_EXCLUDED_FILTERS", "label=keep=yes label=me").run();
    assert_eq!(run.summary(), "3 services: 2 updated, 1 left alone", "{run}");
    assert_eq!([&labelled, &one, &both].map(Service::image), [&new, &new, &old].map(Image::pinned));

    let run = stage.gantry().set("GANTRY_SERVICES_EXCLUDED_FILTERS", "None").run();
    assert_eq!(run.summary(), "3 services: 2 up to date, 1 updated", "{run}");
    assert_eq!(both.image(), new.pinned());
}

#[test]
fn a_pin_by_digest_without_a_tag_is_left_alone_and_that_is_said() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let untagged = format!("{}@{}", old.name.strip_suffix(":latest").unwrap(), old.digest);
    let pinned = stage.create("pinned", &untagged, &["--network", "host"]).running();
    let version = pinned.version();
    stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!((run.code, pinned.version()), (Some(0), version), "{run}");
    assert!(run.says(&["left alone", &pinned.name, "pinned by digest without a tag"]), "{run}");
    assert!(stage.requests("web").is_empty(), "a registry is not asked about what cannot change");
}

#[test]
fn a_digest_in_the_stack_file_is_left_to_its_person() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    // What `docker stack deploy` leaves on the service.
    let label = |image: &str| format!("com.docker.stack.image={image}");
    let pinned = stage.service("pinned", &old, &["--label", &label(&old.pinned())]);
    let followed = stage.service("followed", &old, &["--label", &label(&old.name)]);
    let version = pinned.version();
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!((run.code, run.outcome(&followed)), (Some(0), "updated"), "{run}");
    assert_eq!((pinned.version(), followed.image()), (version, new.pinned()), "{run}");
    assert!(run.says(&["left alone", &pinned.name, "pinned by digest in its stack file"]), "{run}");
}

#[test]
fn jobs_are_left_alone_unless_they_are_allowed() {
    let stage = Stage::new();
    let old = stage.image("job", "1", &["--cmd", "true"]);
    let job = stage.create("job", &old.name, &["--mode", "replicated-job", "--network", "host"]);
    let iteration = || job.inspect()["JobStatus"]["JobIteration"]["Index"].clone();
    let (version, before) = (job.version(), iteration());

    let new = stage.image("job", "2", &["--cmd", "true"]);
    let run = stage.cycle();
    assert_eq!((run.code, job.version()), (Some(0), version), "{run}");
    assert!(run.says(&["left alone", &job.name, "GANTRY_UPDATE_JOBS=true"]), "{run}");

    let run = stage.gantry().set("GANTRY_UPDATE_JOBS", "true").run();
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.outcome(&job).starts_with("started, nothing to wait for"), "{run}");
    assert_eq!(job.image(), new.pinned());
    assert_ne!(iteration(), before);
}

#[test]
fn a_service_without_replicas_gets_the_image_and_is_not_waited_for() {
    let stage = Stage::new();
    let service = stage.service("empty", &stage.image("web", "1", &[]), &["--replicas", "0"]);
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(run.outcome(&service), "started, nothing to wait for: it has no replicas", "{run}");
    service.runs(&new, 0);
}

#[test]
fn a_global_service_is_updated_on_every_node() {
    let stage = Stage::new();
    let service = stage.service("everywhere", &stage.image("web", "1", &[]), &["--mode", "global"]);
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, stage.lab.nodes);
}

#[test]
fn its_own_service_comes_first_and_to_its_end_before_the_others_are_looked_at() {
    let stage = Stage::new();
    let (own, other) = (stage.image("own", "1", &[]), stage.image("a", "1", &[]));
    let itself = stage.service("zzz", &own, &[]);
    let first = stage.service("aaa", &other, &[]);
    let (own, other) = (stage.image("own", "2", &[]), stage.image("a", "2", &[]));
    let run = stage.gantry().set("GANTRY_SERVICES_SELF", &itself.name).run();
    itself.runs(&own, 1);
    first.runs(&other, 1);
    let at = |words: &str, name: &str| {
        let found = |line: &Line| {
            line.message() == words && [&line.0["service"], &line.0["image"]].iter().any(|it| **it == *name)
        };
        run.lines.iter().position(found).unwrap_or_else(|| panic!("no {words:?} of {name}: {run}"))
    };
    assert!(at("updated", &itself.name) < at("looked up", &other.name), "{run}");
    assert!(at("looked up", &other.name) < at("updated", &first.name), "{run}");
}

#[test]
fn what_has_become_of_a_service_when_its_turn_comes_is_what_counts() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let theirs = stage.image("theirs", "1", &[]);
    let first = stage.service("1", &old, &["--update-monitor", "6s"]);
    let taken_out = stage.service("2", &old, &[]);
    let changed = stage.service("3", &old, &[]);
    let removed = stage.service("4", &old, &[]);
    let new = stage.image("web", "2", &[]);

    let daemon = stage.gantry().set("GANTRY_UPDATE_NUM_WORKERS", "1").start();
    first.wait_for(&new, 30);
    taken_out.update(&["--label-rm", "stage"]);
    changed.update(&["--image", &theirs.name]);
    removed.remove();
    let versions = || [taken_out.version(), changed.inspect()["Spec"].clone()];
    let before = versions();
    let run = daemon.end(60);

    assert_eq!((run.code, run.outcome(&first)), (Some(0), "updated"), "{run}");
    assert_eq!(run.outcome(&taken_out), "unchanged: it was taken out meanwhile", "{run}");
    assert_eq!(
        run.outcome(&changed),
        format!("superseded: a user or another program changed it to {}", theirs.pinned()),
        "{run}"
    );
    assert_eq!(run.outcome(&removed), "removed meanwhile", "{run}");
    assert_eq!(versions(), before);
    assert_eq!((taken_out.image(), changed.image()), (old.pinned(), theirs.pinned()));
}

#[test]
fn a_label_that_is_not_allowed_gives_a_service_nothing() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let options = "gantry.update.options=--mount-add type=bind,source=/etc,target=/host --env-add A=B";
    let labels = ["--label", options, "--label", "gantry.update.order=stop-first"];
    let service = stage.service("web", &old, &labels);
    let new = stage.image("web", "2", &[]);
    let run = stage.gantry().set("GANTRY_LABELS_ALLOWED", "update.order rollout.canary").run();
    assert_eq!((run.code, run.outcome(&service)), (Some(0), "updated"), "{run}");
    service.runs(&new, 1);
    let container = &service.spec()["TaskTemplate"]["ContainerSpec"];
    assert!(container.get("Mounts").is_none() && container.get("Env").is_none(), "{container}");
    let words = "label gantry.update.options is ignored: GANTRY_LABELS_ALLOWED does not name it";
    let is_told = |line: &&Line| line.message() == words && line.is_about(&service) && line.level() == "WARN";
    assert_eq!(run.lines.iter().filter(is_told).count(), 1, "{run}");
    assert!(!run.says(&["gantry.update.order is ignored"]), "{run}");
}
