use crate::image::Digest;
use crate::model::candidate::Candidate;
use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::{Value, json};

use super::*;
use crate::config::{Config, LookupMethod, ServicePolicy};
use crate::ledger::book::Book;
use crate::model::eligible::needs_answer;
use crate::model::history::History;
use crate::model::rank::Rank;
use crate::model::task_lifecycle::TaskLifecycle;
use crate::model::update::Dispatch;
use crate::registry::{Manifest, Platform};
use crate::swarm::{Mode, Service};

fn digest(digit: char) -> Digest {
    format!("sha256:{}", String::from(digit).repeat(64)).parse().unwrap()
}

fn pinned(digit: char) -> String {
    format!("host:5000/team/app:1@{}", digest(digit))
}

fn config(variables: &[(&str, &str)]) -> Config {
    let pairs = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load(pairs).unwrap().config
}

fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Nothing is known of any image.
fn no_quarantine() -> Quarantine {
    Quarantine {
        is_on: true,
        seen: Arc::default(),
        book: Book::default().into(),
        now: jiff::Timestamp::UNIX_EPOCH,
        duration: None,
        node: String::new(),
    }
}

fn candidate(image: &str) -> Candidate {
    candidate_with(image, &[], &[])
}

fn candidate_with(image: &str, own: &[(&str, &str)], variables: &[(&str, &str)]) -> Candidate {
    Candidate {
        id: "id".to_owned(),
        name: "web".to_owned(),
        image: Some(image.parse()),
        mode: Mode::Replicated(1),
        lifecycle: TaskLifecycle::RunsOn,
        version: 7,
        is_excluded: false,
        is_itself: false,
        history: History::default(),
        rank: Rank::Single,
        policy: ServicePolicy::of(&config(variables), &labels(own)).map(Arc::new),
        tasks: None,
        unfinished: None,
        order: None,
        may_collide: false,
    }
}

/// The tag stands at this digest; behind it are these children, where they were asked for.
fn answer(digit: char, children: Option<&[char]>) -> ResolvedTag {
    let manifest = children.map(|children| {
        let platform = Platform { os: "linux".to_owned(), architecture: "arm64".to_owned() };
        Arc::new(Manifest {
            children: children.iter().copied().map(digest).collect(),
            platforms: vec![platform],
        })
    });
    ResolvedTag { digest: digest(digit), manifest, credentials: None, alternates: false }
}

fn decision(candidate: &Candidate, answer: Option<Result<ResolvedTag, String>>) -> Decision {
    let inspected = Inspected { answer, ..Inspected::new(candidate.clone()) };
    let mut planned = plan(&[inspected], &Arc::new(config(&[]).services), &no_quarantine());
    assert_eq!(planned.len(), 1, "exactly one decision for each service");
    planned.remove(0).decision
}

/// The decision in one word or two, for tables.
fn word(decision: &Decision) -> String {
    match decision {
        Decision::Update(update) if update.force => format!("force {}", update.to),
        Decision::Update(update) => format!("update to {}", update.to),
        Decision::Later(update, hand) => format!("update to {} later: {hand:?}", update.to),
        Decision::UpToDate => "up to date".to_owned(),
        Decision::NeedsAttention { what, .. } => format!("needs attention: {what:?}"),
        Decision::LeftAlone(reason) => format!("left alone: {reason:?}"),
        Decision::Error(cause) => format!("error: {cause}"),
    }
}

#[test]
fn the_registrys_answer_decides() {
    let current = "up to date";
    let update = format!("update to {}", pinned('b'));
    for (has, answer, expected) in [
        (pinned('a'), Some(Ok(answer('a', None))), current),
        (pinned('a'), Some(Ok(answer('b', Some(&[])))), update.as_str()),
        // One platform of the tag's index, and one that the index has no more.
        (pinned('a'), Some(Ok(answer('b', Some(&['c', 'a'])))), current),
        (pinned('a'), Some(Ok(answer('b', Some(&['c', 'd'])))), update.as_str()),
        // No digest was recorded: what runs is not known.
        ("host:5000/team/app:1".to_owned(), Some(Ok(answer('b', Some(&['c'])))), update.as_str()),
        (pinned('a'), Some(Err("host:5000 cannot be reached".into())), "error: host:5000 cannot be reached"),
    ] {
        assert_eq!(word(&decision(&candidate(&has), answer)), expected, "{has}");
    }
}

#[test]
fn a_name_stays_as_it_was_written_and_gets_the_tag_that_it_means() {
    for (has, expected) in [
        ("nginx", format!("update to nginx:latest@{}", digest('b'))),
        ("nginx:1.27", format!("update to nginx:1.27@{}", digest('b'))),
        ("docker.io/library/nginx:1", format!("update to docker.io/library/nginx:1@{}", digest('b'))),
        (&format!("ghcr.io/a/b:x@{}", digest('a')), format!("update to ghcr.io/a/b:x@{}", digest('b'))),
    ] {
        assert_eq!(word(&decision(&candidate(has), Some(Ok(answer('b', None))))), expected);
    }
}

#[test]
fn what_is_not_ours_is_left_alone_and_no_registry_is_asked_for_it() {
    let job = |own: &[(&str, &str)]| Candidate { mode: Mode::Job, ..candidate_with(&pinned('a'), own, &[]) };
    let plugin = Candidate { image: None, ..candidate(&pinned('a')) };
    let by_name = Candidate { is_excluded: true, ..candidate(&pinned('a')) };
    let by_label = |value| candidate_with(&pinned('a'), &[("gantry.services.excluded", value)], &[]);
    let untagged = format!("host:5000/team/app@{}", digest('a'));
    let by_stack_file = |image: &str| candidate_with(&pinned('a'), &[("com.docker.stack.image", image)], &[]);
    for (candidate, expected) in [
        (by_name.clone(), "left alone: Excluded"),
        (by_label("true"), "left alone: Excluded"),
        (by_label("True"), "left alone: Excluded"),
        (candidate(&untagged), "left alone: PinnedByDigest"),
        (plugin, "left alone: NoContainer"),
        (by_stack_file(&pinned('a')), "left alone: PinnedByStackFile"),
        // The person who has set another image by hand will see it taken back by the next deploy.
        (by_stack_file(&pinned('c')), "left alone: PinnedByStackFile"),
        (by_stack_file(&pinned('c').replace(":1@", ":2@")), "left alone: PinnedByStackFile"),
        (by_stack_file(&untagged), "left alone: PinnedByStackFile"),
        (by_stack_file(&format!(" {} ", pinned('a'))), "left alone: PinnedByStackFile"),
        (job(&[]), "left alone: Job"),
        (job(&[("gantry.update.jobs", "false")]), "left alone: Job"),
        // Excluded first: what is wrong with a service that is not ours does not matter here.
        (Candidate { image: Some("A B".parse()), ..by_name.clone() }, "left alone: Excluded"),
        (Candidate { mode: Mode::Job, ..by_name }, "left alone: Excluded"),
    ] {
        assert!(!needs_answer(&candidate), "{candidate:?}");
        for answer in [None, Some(Ok(answer('b', None)))] {
            assert_eq!(word(&decision(&candidate, answer)), expected, "{candidate:?}");
        }
    }
    let tag_only = ["host:5000/team/app:1", "host:5000/team/app", "", "app:1@sha256:12"].map(by_stack_file);
    for candidate in [by_label("false"), job(&[("gantry.update.jobs", "true")])].into_iter().chain(tag_only) {
        assert!(needs_answer(&candidate), "{candidate:?}");
        assert_eq!(
            word(&decision(&candidate, Some(Ok(answer('b', None))))),
            format!("update to {}", pinned('b'))
        );
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_it() {
    let bad_label = candidate_with(&pinned('a'), &[("gantry.update.timeout_seconds", "soon")], &[]);
    let bad_image = candidate("host:5000/Team/app:1");
    for (candidate, expected) in [
        (bad_label, ["gantry.update.timeout_seconds", "soon"]),
        (bad_image, ["host:5000/Team/app:1", "name"]),
    ] {
        assert!(!needs_answer(&candidate));
        let Decision::Error(cause) = decision(&candidate, None) else { panic!("{candidate:?}") };
        assert!(expected.iter().all(|word| cause.contains(word)), "{cause}");
    }
}

#[test]
fn without_a_look_up_the_tag_is_forced_unless_it_is_ourselves() {
    let none = [("GANTRY_MANIFEST_CMD", "none")];
    let other = candidate_with(&pinned('a'), &[], &none);
    assert!(!needs_answer(&other));
    assert_eq!(word(&decision(&other, None)), "force host:5000/team/app:1");
    let by_label = candidate_with(&pinned('a'), &[("gantry.manifest.cmd", "none")], &[]);
    assert_eq!(word(&decision(&by_label, None)), "force host:5000/team/app:1");

    let ourselves = Candidate { is_itself: true, ..other };
    assert!(needs_answer(&ourselves));
    assert_eq!(word(&decision(&ourselves, Some(Ok(answer('a', None))))), "up to date");
    assert_eq!(
        word(&decision(&ourselves, Some(Ok(answer('b', None))))),
        format!("update to {}", pinned('b'))
    );
}

#[test]
fn a_registry_that_was_to_be_asked_and_was_not_forces_nothing() {
    let asked = candidate(&pinned('a'));
    let ourselves = Candidate {
        is_itself: true,
        ..candidate_with(&pinned('a'), &[], &[("GANTRY_MANIFEST_CMD", "none")])
    };
    for candidate in [asked, ourselves] {
        assert_eq!(word(&decision(&candidate, None)), "left alone: NotAsked");
    }
}

#[test]
fn every_service_gets_its_own_decision_whoever_stands_beside_it() {
    let all = [
        Inspected { answer: Some(Ok(answer('a', None))), ..Inspected::new(candidate(&pinned('a'))) },
        Inspected { ..Inspected::new(candidate_with(&pinned('a'), &[("gantry.update.order", "?")], &[])) },
        Inspected { answer: Some(Ok(answer('a', Some(&['b'])))), ..Inspected::new(candidate(&pinned('c'))) },
        Inspected { answer: Some(Ok(answer('a', Some(&['b'])))), ..Inspected::new(candidate(&pinned('b'))) },
    ];
    let selection = Arc::new(config(&[]).services);
    let words = |inspected: &[Inspected]| -> Vec<String> {
        plan(inspected, &selection, &no_quarantine()).iter().map(|planned| word(&planned.decision)).collect()
    };
    let alone: Vec<String> = all.iter().flat_map(|one| words(std::slice::from_ref(one))).collect();
    assert_eq!(words(&all), alone);
    let mut reversed = all.to_vec();
    reversed.reverse();
    let mut backwards = words(&reversed);
    backwards.reverse();
    assert_eq!(backwards, alone);
    assert_eq!(plan(&all, &selection, &no_quarantine())[0].image, "host:5000/team/app:1");
}

#[test]
fn an_update_carries_the_platforms_of_the_new_image_where_they_are_known() {
    let platforms = |answer| match decision(&candidate(&pinned('a')), answer) {
        Decision::Update(update) => update.platforms,
        other => panic!("{other:?}"),
    };
    let arm = Platform { os: "linux".to_owned(), architecture: "arm64".to_owned() };
    assert_eq!(platforms(Some(Ok(answer('b', Some(&[]))))), Some(vec![arm]));
    assert_eq!(platforms(Some(Ok(answer('b', None)))), None);
    // A list that is empty would keep the tasks off every node.
    let empty = ResolvedTag {
        digest: digest('b'),
        manifest: Some(Arc::default()),
        credentials: None,
        alternates: false,
    };
    assert_eq!(platforms(Some(Ok(empty))), None);
}

/// The update from `a` to `b` of a service that is selected by a label.
fn update_of(image: &str, variables: &[(&str, &str)]) -> Update {
    let mut variables = variables.to_vec();
    variables.push(("GANTRY_SERVICES_FILTERS", "label=gantry.enable=true"));
    let inspected = Inspected {
        answer: Some(Ok(answer('b', Some(&[])))),
        ..Inspected::new(candidate_with(image, &[], &variables))
    };
    let selection = Arc::new(config(&variables).services);
    let inspected = match inspected.candidate.policy.as_ref().unwrap().lookup {
        LookupMethod::Registry => inspected,
        LookupMethod::None => Inspected { answer: None, ..inspected },
    };
    match plan(&[inspected], &selection, &no_quarantine()).remove(0).decision {
        Decision::Update(update) => *update,
        other => panic!("{other:?}"),
    }
}

fn update() -> Update {
    update_of(&pinned('a'), &[])
}

/// A service that opted in, with these changes to its specification.
fn service(image: &str, edit: impl FnOnce(&mut Value)) -> Service {
    let mut spec = json!({
        "Name": "web",
        "Labels": { "gantry.enable": "true" },
        "TaskTemplate": { "ContainerSpec": { "Image": image } },
    });
    edit(&mut spec);
    Service::from_json(&json!({ "ID": "id", "Version": { "Index": 7 }, "Spec": spec }).to_string()).unwrap()
}

/// What is sent for an update without options.
fn dispatch(update: &Update, service: &Service) -> Dispatch {
    update.dispatch(service, TaskLifecycle::RunsOn, None)
}

#[test]
fn when_its_turn_comes_a_service_is_decided_on_again() {
    let unchanged = |_: &mut Value| {};
    let send = |dispatch: Dispatch| matches!(dispatch, Dispatch::Send(_));
    let update = update();
    assert!(send(dispatch(&update, &service(&pinned('a'), unchanged))));
    assert!(send(dispatch(&update, &service(&pinned('a'), |spec| spec["Labels"]["owner"] = "alice".into()))));
    assert!(send(dispatch(
        &update,
        &service(&pinned('a'), |spec| {
            spec["Mode"] = json!({ "Replicated": { "Replicas": 9 } });
        })
    )));
    // A user was faster.
    assert_eq!(dispatch(&update, &service(&pinned('b'), unchanged)), Dispatch::AlreadyThere);
    // Another digest of the same tag, another tag, another name, no digest any more, no image at all.
    for image in [&pinned('c'), "host:5000/team/app:2", "other", "host:5000/team/app:1"] {
        assert_eq!(
            dispatch(&update, &service(image, unchanged)),
            Dispatch::ChangedTo(image.to_owned()),
            "{image}"
        );
    }
    let no_image = service("", |spec| spec["TaskTemplate"] = json!({}));
    assert_eq!(dispatch(&update, &no_image), Dispatch::ChangedTo(String::new()));
    // Taken out, by the filter's label or the excluding one; whatever its image is by now.
    for image in [pinned('a'), pinned('b'), pinned('c')] {
        let out = service(&image, |spec| spec["Labels"] = json!({}));
        assert_eq!(dispatch(&update, &out), Dispatch::NotOurs);
        let off = service(&image, |spec| spec["Labels"]["gantry.enable"] = "false".into());
        assert_eq!(dispatch(&update, &off), Dispatch::NotOurs);
        let excluded = service(&image, |spec| spec["Labels"]["gantry.services.excluded"] = "true".into());
        assert_eq!(dispatch(&update, &excluded), Dispatch::NotOurs);
    }
}

#[test]
fn tasks_that_have_ended_are_run_again_only_where_that_is_allowed_and_cron_jobs_by_nobody_but_swarm_cronjob()
{
    const CRON: (&str, &str) = ("swarm.cronjob.enable", "true");
    const JOBS: (&str, &str) = ("gantry.update.jobs", "true");
    let planned = |lifecycle, mode, own: &[(&str, &str)]| {
        let candidate = Candidate { mode, lifecycle, ..candidate_with(&pinned('a'), own, &[]) };
        match decision(&candidate, Some(Ok(answer('b', None)))) {
            Decision::Update(update) => Ok(update.start),
            Decision::LeftAlone(reason) => {
                assert!(!needs_answer(&candidate), "no registry is asked for what is left alone");
                Err(reason)
            }
            other => panic!("{other:?}"),
        }
    };
    let (one, none, later) = (Mode::Replicated(1), Mode::Replicated(0), Start::LeftToCronjob { version: 7 });
    for (lifecycle, mode, own, expected) in [
        (TaskLifecycle::RunsOn, one, &[][..], Ok(Start::Replaced)),
        (TaskLifecycle::RunsOn, one, &[CRON], Ok(Start::Replaced)),
        (TaskLifecycle::UnderWay, one, &[], Ok(Start::Replaced)),
        (TaskLifecycle::WithoutNode, one, &[], Ok(Start::WithoutNode)),
        (TaskLifecycle::Ended, one, &[], Err(Reason::Ended)),
        (TaskLifecycle::Ended, Mode::Global, &[], Err(Reason::Ended)),
        (TaskLifecycle::Ended, one, &[JOBS], Ok(Start::Again)),
        (TaskLifecycle::Ended, Mode::Global, &[JOBS], Ok(Start::Again)),
        (TaskLifecycle::Ended, none, &[], Ok(Start::Replaced)),
        (TaskLifecycle::Ended, one, &[CRON], Ok(later)),
        (TaskLifecycle::Ended, none, &[CRON], Ok(later)),
        (TaskLifecycle::Ended, one, &[CRON, JOBS], Ok(later)),
        (TaskLifecycle::UnderWay, one, &[CRON], Err(Reason::CronjobRuns)),
        (TaskLifecycle::WithoutNode, one, &[CRON, JOBS], Err(Reason::CronjobRuns)),
        // No replicas can be taken from it.
        (TaskLifecycle::Ended, Mode::Global, &[CRON], Err(Reason::Ended)),
        (TaskLifecycle::Ended, Mode::Global, &[CRON, JOBS], Ok(Start::Again)),
    ] {
        assert_eq!(planned(lifecycle, mode, own), expected, "{lifecycle:?} {mode:?} {own:?}");
    }
}

#[test]
fn what_has_ended_or_was_started_since_it_was_planned_is_left_for_the_next_cycle() {
    let one = service(&pinned('a'), |_| {});
    let no_replicas = service(&pinned('a'), |spec| spec["Mode"] = json!({ "Replicated": { "Replicas": 0 } }));
    let replicas = |start, service: &Service, lifecycle| {
        let update = Update { start, ..update() };
        match update.dispatch(service, lifecycle, None) {
            Dispatch::Send(edits) => Ok(edits.replicas),
            Dispatch::NotNow(why) => Err(why),
            other => panic!("{other:?}"),
        }
    };
    let (seen, older) = (Start::LeftToCronjob { version: 7 }, Start::LeftToCronjob { version: 6 });
    let ended = Err("its tasks have ended meanwhile, and an update would run them again");
    for (start, service, lifecycle, expected) in [
        (Start::Replaced, &one, TaskLifecycle::UnderWay, Ok(None)),
        (Start::Replaced, &one, TaskLifecycle::Ended, ended),
        (Start::WithoutNode, &one, TaskLifecycle::Ended, ended),
        (Start::WithoutNode, &one, TaskLifecycle::RunsOn, Ok(None)),
        (Start::Replaced, &no_replicas, TaskLifecycle::Ended, Ok(None)),
        (Start::Again, &one, TaskLifecycle::Ended, Ok(None)),
        (Start::Again, &one, TaskLifecycle::UnderWay, Err("it was started meanwhile")),
        (seen, &one, TaskLifecycle::Ended, Ok(Some(0))),
        (older, &one, TaskLifecycle::Ended, Err("it was started or changed meanwhile")),
    ] {
        assert_eq!(replicas(start, service, lifecycle), expected, "{start:?} {lifecycle:?}");
    }
}

#[test]
fn filters_that_only_the_engine_understands_are_taken_to_hold() {
    let filters = [
        ("GANTRY_SERVICES_FILTERS", "name=web mode=replicated"),
        ("GANTRY_SERVICES_EXCLUDED_FILTERS", "name=db label=x"),
    ];
    let mut update = update();
    update.selection = Arc::new(config(&filters).services);
    let with_x = service(&pinned('a'), |spec| spec["Labels"] = json!({ "x": "" }));
    assert!(matches!(dispatch(&update, &with_x), Dispatch::Send(_)));
}

#[test]
fn a_name_without_a_tag_may_stand_so_in_the_specification() {
    let edits = |update: &Update, image: &str| match dispatch(update, &service(image, |_| {})) {
        Dispatch::Send(edits) => edits.image,
        other => panic!("{other:?}"),
    };
    let update = update_of("nginx", &[]);
    let expected = Some(format!("nginx:latest@{}", digest('b')));
    assert_eq!(edits(&update, "nginx"), expected);
    assert_eq!(edits(&update, "nginx:latest"), expected);
    assert_eq!(
        dispatch(&update, &service("nginx:1", |_| {})),
        Dispatch::ChangedTo("nginx:1".to_owned()),
        "another tag is another image"
    );
}

#[test]
fn what_is_forced_counts_on_from_what_is_there_now() {
    let update = update_of("local:1", &[("GANTRY_MANIFEST_CMD", "none")]);
    let forced = |counter: Option<u64>| {
        let service = service("local:1", |spec| {
            if let Some(counter) = counter {
                spec["TaskTemplate"]["ForceUpdate"] = counter.into();
            }
        });
        match dispatch(&update, &service) {
            Dispatch::Send(edits) => (edits.image.unwrap(), edits.force_update, edits.platforms),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(forced(None), ("local:1".to_owned(), Some(1), None));
    assert_eq!(forced(Some(41)), ("local:1".to_owned(), Some(42), None));
    // Not forced: the counter stays what it is.
    let Dispatch::Send(edits) = dispatch(&super::tests::update(), &service(&pinned('a'), |_| {})) else {
        panic!()
    };
    assert_eq!(edits.force_update, None);
    assert_eq!(edits.platforms, Some(vec![("linux".to_owned(), "arm64".to_owned())]));
}

#[test]
fn the_reasons_read_as_parts_of_a_sentence() {
    for (reason, words) in [
        (Reason::Excluded, "excluded"),
        (Reason::PinnedByDigest, "pinned by digest without a tag, so there is nothing newer to look for"),
        (Reason::PinnedByStackFile, "pinned by digest in its stack file"),
        (Reason::Job, "a job, and updating a job runs it (GANTRY_UPDATE_JOBS=true allows it)"),
        (Reason::NoContainer, "runs no container"),
        (Reason::NotAsked, "Gantry was stopped before its registry was asked"),
    ] {
        assert_eq!(reason.to_string(), words);
    }
}
