//! What a report says: summary, lines, exit code.

use std::time::Duration;

use super::*;
use crate::model::attention::Attention;
use crate::model::cause::Cause;
use crate::model::outcome::{ALREADY_THERE, By, NO_NODE, Outcome, TAKEN_OUT};

fn finished(service: &str, outcome: Outcome) -> Row {
    let finished = Finished {
        service: service.to_owned(),
        from: "app:1".parse().unwrap(),
        to: "app:1".parse().unwrap(),
        outcome,
        log: Vec::new(),
        health: None,
        took: Duration::from_secs(1),
    };
    finished.into()
}

fn held(why: NotBegunReason) -> Row {
    Row::sample_held("z", why)
}

fn error(service: &str, image: &str, cause: &str) -> Row {
    Row { image: image.to_owned(), ..Row::sample(service, State::Error(cause.to_owned())) }
}

fn up_to_date(count: usize) -> Vec<Row> {
    vec![Row::sample("newest", State::UpToDate); count]
}

fn with(rows: Vec<Row>) -> Report {
    Report { rows, ..Report::default() }
}

fn cause() -> Cause {
    Cause::Unhealthy { node: "node1".to_owned() }
}

#[test]
fn the_summary_counts_what_is_not_zero_and_the_lines_name_it_gravest_first() {
    let attention = |service: &str, what| Row::sample(service, State::NeedsAttention(what));
    let not_running = || Attention::NotRunning { running: 1, desired: 2 };
    let rows = vec![
        Row::sample("cron", State::LeftAlone(Reason::Job)),
        error("local", "local:1", "no registry knows it"),
        finished("a", Outcome::Updated),
        finished("b", Outcome::RolledBack { by: By::Swarm, cause: cause() }),
        finished("c", Outcome::Updated),
        finished("d", Outcome::Removed),
        attention("e", not_running()),
        attention("f", Attention::Kept { message: "update paused".to_owned() }),
        attention("g", not_running()),
        held(NotBegunReason::Interrupted),
    ];
    let report = with([rows, up_to_date(2)].concat());
    insta::assert_snapshot!(
        report.summary(),
        @"12 services: 2 up to date, 1 removed, 1 rolled back, 2 updated, 1 not begun, 3 need attention, 1 error, 1 left alone"
    );
    let lines = report.lines().into_iter().filter(|(weight, _)| *weight < Weight::Detail);
    let lines: Vec<String> = lines.map(|(weight, line)| format!("{weight:?} {line}")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    Error error: local (local:1): no registry knows it
    Error rolled back: b
    Error needs attention: f: its update has failed and was kept: update paused
    Warning not begun: z: Gantry was stopped first
    Warning needs attention: e g: it has the newest image, but 1 of 2 tasks run
    Info removed: d
    Info updated: a c
    Info left alone: cron: a job, and updating a job runs it (GANTRY_UPDATE_JOBS=true allows it)
    ");
    assert!(report.has_failed());
}

#[test]
fn a_stopped_rollout_is_told_with_its_numbers_and_causes() {
    let stopped = StoppedRollout {
        image: format!("app:1@sha256:{}", "0123".repeat(16)).parse().unwrap(),
        touched: 2,
        failed: 2,
        total: 1200,
        causes: [cause(), Cause::Ended { node: "node2".to_owned() }].map(|cause| cause.to_string()).into(),
        blames_image: true,
    };
    let rolled_back = |service| finished(service, Outcome::RolledBack { by: By::Gantry, cause: cause() });
    let rows =
        [vec![rolled_back("a"), rolled_back("b")], vec![held(NotBegunReason::RolloutStopped); 1198]].concat();
    let report = Report { stopped: vec![stopped], ..with(rows) };
    insta::assert_snapshot!(report.summary(), @"1,200 services: 2 rolled back, 1,198 held back; the rollout of app:1 was stopped after 2 of 1,200");
    insta::assert_snapshot!(report.lines()[0].1, @"the rollout of app:1 was stopped after 2 of 1,200 (digest 012301230123): 2 failed: a task was unhealthy on node1; a task ended on node2 with exit code 0: it was unhealthy, or its program was done");
    assert!(report.has_failed());
}

#[test]
fn what_nobody_has_judged_is_left_behind_and_what_was_left_until_somebody_has() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let internal = Outcome::Failed { cause: Cause::Internal { message: "a fault".to_owned() } };
    let left_error = Row { is_left_behind: true, ..error("error", "app:1", "no registry knows it") };
    let rows = || {
        vec![
            left_error.clone(),
            error("new error", "app:1", "no registry knows it"),
            finished("judged", Outcome::Updated),
            finished("under way", Outcome::Interrupted),
            finished("ourselves", Outcome::Interrupted),
            finished("fault", internal.clone()),
        ]
    };
    let left = LeftBehind { since: Some(7), services: set(&["judged", "left"]) };
    for (is_interrupted, error, since, names) in [
        (true, None, Some(7), &["error", "fault", "left", "under way"][..]),
        (false, Some("away".to_owned()), Some(7), &["error", "fault", "left", "under way"]),
        (false, None, None, &["error", "fault", "under way"]),
    ] {
        let report = Report { error, is_interrupted, ..with(rows()) };
        let expected = LeftBehind { since, services: set(names) };
        assert_eq!(report.left_behind(left.clone(), Some("ourselves")), expected, "{report:?}");
    }
}

#[test]
fn an_error_before_updating_is_the_whole_story() {
    let report = Report { error: Some("cannot list the services".to_owned()), ..Report::default() };
    insta::assert_snapshot!(report.summary(), @"cycle failed, nothing was updated: cannot list the services");
    assert!(report.has_failed());
}

#[test]
fn a_cycle_that_was_stopped_before_it_looked_does_not_say_that_there_is_nothing() {
    let report = Report { is_interrupted: true, ..Report::default() };
    insta::assert_snapshot!(report.summary(), @"interrupted, nothing was updated");
    insta::assert_snapshot!(Report { rows: up_to_date(2), ..report }.summary(), @"2 services: 2 up to date; interrupted");
}

#[test]
fn only_failures_make_a_cycle_fail() {
    let failed = |outcome: Outcome| with(vec![finished("a", outcome)]).has_failed();
    for outcome in [
        Outcome::RolledBack { by: By::Gantry, cause: cause() },
        Outcome::RollbackFailed { cause: cause(), why: cause() },
        Outcome::Failed { cause: cause() },
    ] {
        assert!(failed(outcome.clone()), "{outcome}");
    }
    for outcome in [
        Outcome::Updated,
        Outcome::Unchanged(String::new()),
        Outcome::Started(String::new()),
        Outcome::Superseded(String::new()),
        Outcome::Removed,
        Outcome::Interrupted,
    ] {
        assert!(!failed(outcome.clone()), "{outcome}");
    }
}

#[test]
fn what_is_left_behind_makes_a_run_incomplete_and_is_said() {
    let started = |why: &str| Outcome::Started(why.to_owned());
    let unchanged = |why: &str| Outcome::Unchanged(why.to_owned());
    let ended = |outcome: Outcome| with(vec![finished("web", outcome)]);
    let not_begun = |why: NotBegunReason| with(vec![held(why)]);
    let left_alone = |reason: Reason| with(vec![Row::sample("web", State::LeftAlone(reason))]);
    let postponed =
        Report { postponed: Some("node3 is down".to_owned()), ..not_begun(NotBegunReason::Postponed) };
    for (report, summary, line) in [
        (postponed, "1 service: 1 postponed: node3 is down", "postponed: z: node3 is down"),
        (
            not_begun(NotBegunReason::Unproven),
            "1 service: 1 unproved",
            "unproved: z: no node takes their tasks, or they have none",
        ),
        (
            not_begun(NotBegunReason::Interrupted),
            "1 service: 1 not begun",
            "not begun: z: Gantry was stopped first",
        ),
        (
            ended(started(NO_NODE)),
            "1 service: 1 started; 1 started without a node",
            "without a node: web: their tasks start",
        ),
        (
            ended(unchanged("not sent, as another Gantry has taken over")),
            "1 service: 1 unchanged",
            "unchanged: web",
        ),
        (
            left_alone(Reason::RollingBack),
            "1 service: 1 left alone",
            "left alone: web: it is being rolled back",
        ),
    ] {
        assert!(report.is_incomplete() && !report.has_failed(), "{report:?}");
        assert_eq!(report.summary(), summary);
        assert!(report.lines().iter().any(|(_, said)| said.starts_with(line)), "{:?}", report.lines());
        let failed = Report { post_run: Some("it failed".to_owned()), ..report };
        assert!(!failed.is_incomplete() && failed.has_failed(), "a failure is a failure");
    }
    for whole in [
        Report::default(),
        ended(Outcome::Updated),
        ended(Outcome::Removed),
        ended(Outcome::Superseded(String::new())),
        ended(started("its tasks had ended, and run once more")),
        ended(unchanged(ALREADY_THERE)),
        ended(unchanged(TAKEN_OUT)),
        left_alone(Reason::Excluded),
        left_alone(Reason::Job),
    ] {
        assert!(!whole.is_incomplete() && !whole.has_failed(), "{whole:?}");
    }
}

#[test]
fn a_registry_that_is_down_is_one_line() {
    let errors = (0..1200).map(|n| {
        let cause = if n == 7 {
            "no registry knows it"
        } else {
            "registry.test cannot be reached: connection refused"
        };
        error(&format!("site-{n:04}"), &format!("registry.test/app{}:1", n % 12), cause)
    });
    let lines = with(errors.collect()).lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].1.starts_with("error: site-0000 site-0001 "), "{lines:?}");
    let end = "(registry.test/app0:1, registry.test/app10:1, registry.test/app11:1 and 9 other images): registry.test \
               cannot be reached: connection refused";
    assert!(lines[0].1.ends_with(end), "{lines:?}");
    assert_eq!(lines[1].1, "error: site-0007 (registry.test/app7:1): no registry knows it");
}

#[test]
fn no_service_is_left_alone_without_its_reason() {
    let reasons = [
        Reason::Excluded,
        Reason::PinnedByDigest,
        Reason::Job,
        Reason::Ended,
        Reason::CronjobRuns,
        Reason::NoContainer,
        Reason::NotAsked,
        Reason::RollingBack,
    ];
    for reason in reasons {
        let words = format!("left alone: web: {reason}");
        let report = with(vec![Row::sample("web", State::LeftAlone(reason))]);
        let said = report.lines().into_iter().find(|(_, line)| *line == words);
        assert!(said.as_ref().is_some_and(|(weight, _)| *weight <= Weight::Info), "{words}: {said:?}");
    }
}

#[test]
fn services_that_are_up_to_date_are_named_where_details_are_asked_for() {
    let report = with(["a", "b"].map(|service| Row::sample(service, State::UpToDate)).into());
    assert_eq!(report.lines(), [(Weight::Detail, "up to date: a b".to_owned())]);
}

#[test]
fn an_error_in_the_middle_does_not_say_that_nothing_was_updated() {
    let error = Some("this engine is no swarm manager any more".to_owned());
    let waits = Row::sample("c", State::Waits);
    let rows = vec![finished("a", Outcome::Updated), finished("b", Outcome::Interrupted), waits];
    let report = Report { error, is_interrupted: true, ..with(rows) };
    insta::assert_snapshot!(report.summary(), @"cycle failed, 1 interrupted, 1 updated: this engine is no swarm manager any more");
}

#[test]
fn a_report_costs_in_proportion_to_its_services() {
    let report = |services: usize| {
        let rows = (0..services).flat_map(|n| {
            let name = format!("service{n}");
            let cause = format!("{name} fails");
            let failed = error(&name, &format!("{name}:1"), &cause);
            [
                Row::sample(&name, State::UpToDate),
                Row::sample(&name, State::LeftAlone(Reason::Job)),
                Row { is_left_behind: true, ..failed },
                finished(&name, Outcome::Updated),
                Row::sample_held(&name, NotBegunReason::Postponed),
            ]
        });
        with(rows.collect())
    };
    let tell = |report: &Report| {
        let left = report.left_behind(LeftBehind::default(), None);
        std::hint::black_box((report.lines(), report.summary(), report.counts(), left));
    };
    let (few, many) = (report(500), report(4000));
    assert_eq!(crate::cost::is_slow("report", || tell(&few), || tell(&many)), None);
}
