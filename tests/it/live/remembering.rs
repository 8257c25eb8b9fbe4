//! What Gantry remembers in the swarm: broken images, and a person's word.

use super::support::{Run, Said, Service, Stage, wait};

#[track_caller]
fn is_left_alone(run: &Run, service: &Service<'_>, words: &[&str]) {
    let line = format!("left alone: {}: ", service.name);
    assert!(run.says(&[&[line.as_str()], words].concat()), "{words:?}\n{run}");
    assert_eq!((run.outcome(service), run.code), ("", Some(0)), "{run}");
}

#[test]
fn a_digest_that_broke_a_service_is_left_alone_until_it_is_released_or_the_tag_moves() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    let bad = stage.crashing_image("web", "2");
    let run = stage.cycle();
    assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");
    let remembered = stage.entry(&service);
    assert!(
        remembered.starts_with("quarantined image=")
            && remembered.contains(&bad.digest)
            && remembered.contains("(3)"),
        "{remembered}"
    );
    let version = service.version();
    is_left_alone(&stage.cycle(), &service, &["is in quarantine here", "(3)", "gantry release"]);
    assert_eq!(service.version(), version, "nothing was sent");

    let Said { code, text: list } = stage.say(&["quarantine"]);
    assert!(code == Some(0) && list.contains(&service.name) && list.contains("(3)"), "{list}");
    let Said { code, text: none } = stage.say(&["release", "no-such-service"]);
    assert!(
        code == Some(1)
            && none.contains("there is no service and no image \"no-such-service\"")
            && none.contains(&service.name),
        "{none}"
    );
    let Said { code, text: released } = stage.say(&["release", &service.name]);
    assert!(code == Some(0) && released.contains(&service.name), "{released}");
    let run = stage.cycle();
    assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");

    let new = stage.image("web", "3", &[]);
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, 1);
    assert_eq!(stage.entry(&service), "");
}

#[test]
fn an_image_whose_rollout_was_stopped_is_offered_to_nobody_until_it_is_released() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services: Vec<Service<'_>> =
        (0..4).map(|index| stage.service(&format!("web-{index}"), &old, &[])).collect();
    stage.crashing_image("web", "2");
    let gantry = stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1");
    let first = gantry.run();
    let touched = services.iter().filter(|service| !first.outcome(service).is_empty()).count();
    assert_eq!(touched, 2, "{first}");
    let run = gantry.run();
    assert!(services.iter().all(|service| run.outcome(service).is_empty()), "{run}");
    assert!(run.says(&["is in quarantine for all services", "gantry release"]), "{run}");
    assert_eq!(run.code, Some(0), "{run}");
    let Said { code, text: released } = stage.say(&["release", &old.name]);
    assert_eq!(code, Some(0), "{released}");
    let run = gantry.run();
    assert!(services.iter().any(|service| run.outcome(service).starts_with("rolled back")), "{run}");
}

#[test]
fn killed_between_failure_and_rollback_it_does_not_offer_the_digest_again() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let options = ["--update-failure-action", "rollback", "--update-monitor", "15s"];
    let service = stage.service("web", &old, &options);
    let bad = stage.image("web", "2", &["--cmd", "sleep 1; exit 3"]);
    let daemon = stage.gantry().start();
    service.wait_for(&bad, 30);
    daemon.signal("KILL");
    wait("Swarm's own rollback", 60, || (service.state() == "rollback_completed").then_some(()));
    assert_eq!(stage.entry(&service), "", "nobody was there to see it");
    is_left_alone(&stage.cycle(), &service, &["is in quarantine here", "Swarm rolled it back", "(3)"]);
    // A change of a label makes the service forget; the ledger does not.
    service.update(&["--label-add", "a=b"]);
    is_left_alone(&stage.cycle(), &service, &["is in quarantine here"]);
    assert_eq!(service.image(), old.pinned());
}

#[test]
fn a_rollback_by_hand_stands_until_the_tag_moves_on() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let names = ["command", "option", "older"];
    let [command, option, older] = names.map(|name| stage.service(name, &old, &[]));
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    for service in [&command, &option, &older] {
        assert_eq!(run.outcome(service), "updated", "{run}");
    }
    command.roll_back();
    option.update(&["--rollback"]);
    older.update(&["--image", &old.pinned()]);
    for service in [&command, &option, &older] {
        service.settles_on(&old);
    }
    let short = &new.digest["sha256:".len()..][..12];
    let run = stage.cycle();
    for service in [&command, &option, &older] {
        is_left_alone(&run, service, &["rolled back by hand from", short]);
        // A change of a label makes the service forget; the ledger does not.
        service.update(&["--label-add", "a=b"]);
    }
    let run = stage.cycle();
    for service in [&command, &option, &older] {
        is_left_alone(&run, service, &["rolled back by hand from", short]);
        assert_eq!(service.image(), old.pinned());
    }
    let newer = stage.image("web", "3", &[]);
    let run = stage.cycle();
    for service in [&command, &option, &older] {
        assert_eq!(run.outcome(service), "updated", "{run}");
        service.runs(&newer, 1);
    }
}

#[test]
fn a_tag_that_goes_back_is_followed_and_another_tag_by_hand_too() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let (web, other) = (stage.service("web", &old, &[]), stage.service("other", &old, &[]));
    stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!((run.outcome(&web), run.outcome(&other)), ("updated", "updated"), "{run}");
    let own = stage.image("own", "1", &[]);
    other.update(&["--image", &own.pinned()]);
    other.settles_on(&own);
    let own = stage.image("own", "2", &[]);
    // The publisher takes the new image back.
    let back = stage.image("web", "1", &[]);
    assert_eq!(back.digest, old.digest, "the same image again");
    let version = web.version();
    let run = stage.cycle();
    assert_eq!((run.outcome(&other), web.version()), ("updated", version), "{run}");
    assert!(run.says(&["left alone", &web.name, "the tag has gone back to"]), "{run}");
    // Five minutes later.
    let key = format!("gantry.tag.{}", old.name);
    let entry = stage.ledger_labels()[&key].as_str().unwrap().to_owned();
    let since = entry.split(" at=").nth(1).unwrap().split(' ').next().unwrap();
    let earlier = since.parse::<jiff::Timestamp>().unwrap() - jiff::SignedDuration::from_secs(300);
    stage.edit_ledger(&key, &entry.replace(since, &earlier.to_string()));
    let run = stage.cycle();
    assert_eq!(run.outcome(&web), "updated", "{run}");
    web.runs(&old, 1);
    other.runs(&own, 1);
}

#[test]
fn a_broken_image_is_removed_from_the_nodes() {
    let stage = Stage::new();
    // The program does not run as a service here, so it cleans its engine's node alone.
    let here = ["--constraint", "node.role==manager"];
    let service = stage.service("web", &stage.image("web", "1", &[]), &here);
    let bad = stage.crashing_image("web", "2");
    let run = stage.gantry().set("GANTRY_CLEANUP_IMAGES", "true").run();
    assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");
    assert!(
        run.lines.iter().any(|line| line.0["image"].as_str().is_some_and(|image| image == bad.pinned())
            && line.message() == "removed image"),
        "{run}"
    );
}

#[test]
fn every_release_offers_it_again_by_service_by_image_or_all_at_once() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let names = ["one", "two", "three"];
    let services = names.map(|name| stage.service(name, &old, &[]));
    stage.crashing_image("web", "2");
    // All three get it: nothing is stopped, so that each is in quarantine for itself.
    let gantry = stage.gantry().set("GANTRY_ROLLOUT_MIN_FAILURES", "9");
    let rolled_back = |run: &Run| -> Vec<&str> {
        let is_tried = |index: &usize| run.outcome(&services[*index]).starts_with("rolled back: ");
        (0..3).filter(is_tried).map(|index| names[index]).collect()
    };
    assert_eq!(rolled_back(&gantry.run()), names);
    for (release, tried) in
        [(services[1].name.as_str(), &names[1..2]), (&old.name, &names[..]), ("--all", &names[..]), ("", &[])]
    {
        if !release.is_empty() {
            let Said { code, text } = stage.say(&["release", release]);
            assert_eq!(code, Some(0), "{text}");
            assert!(
                text.contains(&services[1].name) && text.contains("released, and offered again"),
                "{text}"
            );
        }
        let run = gantry.run();
        assert_eq!(rolled_back(&run), tried, "after the release of {release:?}: {run}");
    }
}

#[test]
fn a_quarantine_ends_after_the_time_that_it_was_given() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    stage.crashing_image("web", "2");
    let lasting = |seconds: &str| stage.gantry().set("GANTRY_QUARANTINE_SECONDS", seconds).run();
    let run = lasting("3600");
    assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");
    is_left_alone(&lasting("3600"), &service, &["is in quarantine here"]);
    // It began before the rollback, which took longer than this second.
    let run = lasting("1");
    assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");
    is_left_alone(&lasting("3600"), &service, &["is in quarantine here"]);
}

#[test]
fn without_a_quarantine_a_broken_digest_is_tried_in_every_cycle() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    stage.crashing_image("web", "2");
    let gantry = stage.gantry().set("GANTRY_QUARANTINE", "false");
    for _ in 0..2 {
        let run = gantry.run();
        assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");
    }
    assert_eq!(stage.entry(&service), "");
}

#[test]
fn without_any_ledger_the_services_own_rollback_speaks() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let by_gantry = stage.service("by-gantry", &old, &[]);
    let by_swarm = stage.service("by-swarm", &old, &["--update-failure-action", "rollback"]);
    stage.crashing_image("web", "2");
    let run = stage.cycle();
    for service in [&by_gantry, &by_swarm] {
        assert!(run.outcome(service).starts_with("rolled back"), "{run}");
        assert!(service.state() == "rollback_completed", "{}", service.inspect());
    }
    stage.lab.docker(&["config", "rm", &stage.ledger()]);
    let run = stage.cycle();
    // Its tasks tell that it was not a person's whim.
    is_left_alone(&run, &by_gantry, &["is in quarantine here", "it was rolled back", "(3)"]);
    is_left_alone(&run, &by_swarm, &["is in quarantine here", "Swarm rolled it back", "(3)"]);
    assert!(by_gantry.image() == old.pinned() && by_swarm.image() == old.pinned());
}

#[test]
fn an_entry_that_was_damaged_by_hand_is_told_ignored_and_kept_and_the_others_count() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let (web, shop) = (stage.service("web", &old, &[]), stage.service("shop", &old, &[]));
    stage.crashing_image("web", "2");
    let gantry = stage.gantry().set("GANTRY_ROLLOUT_MIN_FAILURES", "9");
    gantry.run();
    let key = format!("gantry.service.{}", web.name);
    stage.edit_ledger(&key, "quarantined, I think");
    stage.edit_ledger("com.example.owner", "ops");
    stage.edit_ledger("gantry.service.ghost", "");
    // Only the ledger speaks for these two: what the services show is forgotten with any other change.
    for service in [&web, &shop] {
        service.update(&["--label-add", "a=b"]);
    }
    let run = gantry.run();
    let told: Vec<&str> = run
        .lines
        .iter()
        .filter(|line| line.message() == "an entry that cannot be read is ignored and kept as it is")
        .filter_map(|line| line.0["label"].as_str())
        .collect();
    assert_eq!(told, ["gantry.service.ghost", &key], "{run}");
    assert!(run.outcome(&web).starts_with("rolled back: "), "ignored: {run}");
    assert_eq!(run.outcome(&shop), "", "{run}");
    let labels = stage.ledger_labels();
    assert_eq!((&labels["gantry.service.ghost"], &labels["com.example.owner"]), (&"".into(), &"ops".into()));
    // A new verdict takes the place of the damaged one, and docker shows it.
    let format = format!("{{{{index .Spec.Labels {key:?}}}}}");
    let shown = stage.lab.docker(&["config", "inspect", "--format", &format, &stage.ledger()]);
    assert!(shown.starts_with("quarantined image="), "{shown}");
}

#[test]
fn what_is_remembered_of_a_service_goes_with_the_service() {
    let stage = Stage::new();
    let (old, other) = (stage.image("web", "1", &[]), stage.image("other", "1", &[]));
    let (web, third) = (stage.service("web", &old, &[]), stage.service("third", &other, &[]));
    stage.crashing_image("web", "2");
    stage.cycle();
    assert!(stage.entry(&web).starts_with("quarantined "));
    web.remove();
    stage.image("other", "2", &[]);
    let run = stage.cycle();
    assert_eq!(run.outcome(&third), "updated", "{run}");
    assert_eq!(stage.entry(&web), "");
}

#[test]
fn a_persons_word_during_an_update_stands_in_the_next_cycle_too() {
    let stage = Stage::new();
    let (old, own) = (stage.image("web", "1", &[]), stage.image("own", "1", &[]));
    let names = ["rolled-back", "older", "another"];
    let [rolled_back, older, another] = names.map(|name| stage.service(name, &old, &[]));
    let new = stage.slow_image("web", "2", 6);
    let daemon = stage.gantry().start();
    for service in [&rolled_back, &older, &another] {
        service.wait_for(&new, 60);
    }
    rolled_back.update(&["--rollback"]);
    older.update(&["--image", &old.pinned()]);
    another.update(&["--image", &own.pinned()]);
    let run = daemon.end(120);
    for service in [&rolled_back, &older, &another] {
        assert!(run.outcome(service).starts_with("superseded: a user or another program "), "{run}");
    }
    for (service, image) in [(&rolled_back, &old), (&older, &old), (&another, &own)] {
        service.settles_on(image);
    }
    let run = stage.cycle();
    for service in [&rolled_back, &older] {
        is_left_alone(&run, service, &["rolled back by hand from"]);
    }
    assert_eq!(run.outcome(&another), "", "{run}");
    let (newer, own) = (stage.image("web", "3", &[]), stage.image("own", "2", &[]));
    let run = stage.cycle();
    for (service, image) in [(&rolled_back, &newer), (&older, &newer), (&another, &own)] {
        assert_eq!(run.outcome(service), "updated", "{run}");
        service.runs(image, 1);
    }
}

#[test]
fn a_person_who_asks_the_wrong_node_or_for_the_wrong_thing_is_told_what_is_wrong() {
    // Other tests' services would be listed as well.
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    for (arguments, code, words) in [
        (&["quarantine"][..], 0, &["nothing is in quarantine", &stage.ledger(), "GANTRY_LEDGER_NAME"][..]),
        (&["release", &service.name], 1, &["nothing was released: ", "is not in quarantine"]),
        (&["release", &old.name], 1, &["nothing was released: ", "is not in quarantine"]),
        (&["release", "--all"], 1, &["nothing was released: nothing is in quarantine"]),
    ] {
        let said = stage.say(arguments);
        assert!(said.code == Some(code) && words.iter().all(|words| said.text.contains(words)), "{said:?}");
    }
    assert!(stage.ledger_config().is_null(), "a release of nothing makes no ledger");
    for arguments in [&["quarantine"][..], &["release", "--all"]] {
        let Said { code, text } = stage.say_to(&stage.lab.docker_host(2), arguments);
        assert!(code == Some(1) && text.contains("not a swarm manager"), "{text}");
    }

    stage.crashing_image("web", "2");
    stage.cycle();
    stage.edit_ledger("gantry.service.ghost", "quarantined, I think");
    let Said { code, text } = stage.say(&["quarantine"]);
    assert!(code == Some(0) && text.contains("the label gantry.service.ghost"), "{text}");
    let slip = format!("{}x", service.name);
    let Said { code, text } = stage.say(&["release", &slip]);
    assert!(code == Some(1) && text.contains(&format!("did you mean {}?", service.name)), "{text}");
    let theirs = stage.name("theirs");
    let file = stage.write("theirs", "not Gantry's").display().to_string();
    stage.lab.docker(&["config", "create", &theirs, &file]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gantry"));
    command.env_clear().env("DOCKER_HOST", stage.lab.docker_host(1)).env("GANTRY_LEDGER_NAME", &theirs);
    let output = command.args(["release", "--all"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("is not a ledger of Gantry's"), "{text}");
    assert!(output.stdout.is_empty());
}
