use std::time::Duration;

use super::*;
use crate::cycle::Report;
use crate::daemon::board::metrics::Edges;
use crate::daemon::board::render::Around;
use crate::image::ImageRef;
use crate::ledger::steered::UserPause;
use crate::model::attention::OtherHand;
use crate::model::cause::Cause;
use crate::model::decision::Reason;
use crate::model::finished::{Finished, NotBegunReason};
use crate::model::outcome::{By, Outcome};
use crate::model::progress::{Counts, Progress};
use crate::model::row::State;

fn image(digit: char) -> ImageRef {
    format!("app:1@sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn finished(service: &str, outcome: Outcome) -> Finished {
    Finished {
        service: service.to_owned(),
        from: image('1'),
        to: image('2'),
        outcome,
        log: vec!["out of luck".to_owned()],
        health: None,
        took: Duration::from_secs(7),
    }
}

fn unhealthy() -> Cause {
    Cause::Unhealthy { node: "node1".to_owned() }
}

fn began(service: &str) -> Event {
    Event::UpdateBegan { service: service.to_owned(), from: image('1'), to: image('2'), found: None }
}

fn decided(rows: impl IntoIterator<Item = (&'static str, State)>) -> Event {
    Event::Decided(rows.into_iter().map(|(name, state)| Row::sample(name, state)).collect())
}

fn words(board: &Board) -> (String, String) {
    let state = board.state(&Around::default(), false, at(0));
    let text = |key: &str| state["verdict"][key].as_str().unwrap().to_owned();
    (text("level"), text("words"))
}

/// A board on which a run has decided on three services.
fn board() -> Board {
    let mut board = Board::new(at(0));
    board.begin(1, WokenBy::Start, None, at(1));
    let rows = [("a", State::UpToDate), ("b", State::Waits), ("c", State::LeftAlone(Reason::Job))];
    board.apply(1, &decided(rows), at(2));
    board
}

#[test]
fn a_service_is_shown_from_waiting_to_its_end() {
    let mut board = board();
    let state = |board: &Board| (board.services["b"].state, board.services["b"].since);
    assert_eq!(state(&board), (ServiceState::Waiting, at(2)));
    assert_eq!(words(&board), ("busy".to_owned(), "1 service waits".to_owned()));
    board.apply(1, &began("b"), at(3));
    assert_eq!(state(&board), (ServiceState::Updating, at(3)));
    assert_eq!(board.services["b"].digest, image('1').digest().cloned());
    board.apply(1, &Event::UpdateFailed { service: "b".to_owned(), cause: unhealthy() }, at(4));
    assert!(board.services["b"].why.starts_with("its update failed and is rolled back: "));
    let rolled_back = Outcome::RolledBack { by: By::Gantry, cause: unhealthy() };
    board.apply(1, &Event::UpdateEnded(finished("b", rolled_back)), at(5));
    assert_eq!(state(&board), (ServiceState::NeedsAttention, at(5)));
    assert_eq!(board.services["b"].log, ["out of luck"]);
    assert_eq!(board.services["b"].digest, image('1').digest().cloned(), "it has the old image again");
    assert_eq!(words(&board), ("attention".to_owned(), "1 service needs attention".to_owned()));
    board.apply(2, &Event::UpdateEnded(finished("b", Outcome::Updated)), at(6));
    assert_eq!(state(&board), (ServiceState::UpToDate, at(6)));
    assert!(board.services["b"].digest == image('2').digest().cloned());
    let (level, words) = words(&board);
    assert_eq!((&*level, &*words), ("ok", "2 of 3 services are on the newest image; 1 left alone"));
}

#[test]
fn each_way_that_an_update_ends_has_its_state() {
    let cause = unhealthy;
    for (outcome, state) in [
        (Outcome::Updated, "up_to_date"),
        (Outcome::UpdatedBut("one task waits".into()), "up_to_date"),
        (Outcome::Unchanged("no".into()), "held"),
        (Outcome::Unchanged(crate::model::outcome::ALREADY_THERE.into()), "up_to_date"),
        (Outcome::RolledBack { by: By::Swarm, cause: cause() }, "needs_attention"),
        (Outcome::RollbackFailed { cause: cause(), why: cause() }, "rollback_failed"),
        (Outcome::Failed { cause: cause() }, "needs_attention"),
        (Outcome::Overtaken { cause: cause(), how: String::new() }, "needs_attention"),
        (Outcome::Started("no tasks".into()), "up_to_date"),
        (Outcome::Superseded("by hand".into()), "left_alone"),
        (Outcome::TakenBack("by hand".into()), "left_alone"),
        (Outcome::Interrupted, "held"),
    ] {
        let mut board = board();
        board.apply(1, &Event::UpdateEnded(finished("b", outcome.clone())), at(3));
        assert_eq!(board.services["b"].state.name(), state, "{outcome:?}");
    }
    let mut board = board();
    board.apply(1, &Event::UpdateEnded(finished("b", Outcome::Removed)), at(3));
    assert!(!board.services.contains_key("b"));
}

#[test]
fn what_another_run_has_in_hand_stays_as_that_run_says() {
    let mut board = board();
    board.apply(1, &began("b"), at(3));
    board.begin(2, WokenBy::Interval, None, at(4));
    let in_hand = Event::NotBegun(vec![Row::sample_held("b", NotBegunReason::UnderWay)]);
    board.apply(2, &in_hand, at(5));
    assert_eq!((board.services["b"].state, board.services["b"].run), (ServiceState::Updating, 1));
}

#[test]
fn a_service_that_is_gone_is_shown_until_a_whole_run_ends_without_it() {
    let mut board = board();
    let rows = |names: &[&str]| -> Vec<Row> {
        names.iter().map(|name| Row::sample(name, State::UpToDate)).collect()
    };
    board.begin(2, WokenBy::Interval, None, at(10));
    let report = Report { rows: rows(&["a"]), ..Report::default() };
    let cut_off = Report { is_interrupted: true, ..Report { rows: rows(&["a"]), ..Report::default() } };
    board.end(2, &cut_off, at(11));
    assert_eq!(board.services.len(), 3);
    board.begin(3, WokenBy::Interval, None, at(12));
    board.end(3, &report, at(13));
    // What run 1 has under way is its own.
    assert_eq!(board.services.len(), 3);
    board.end(1, &Report { rows: rows(&["a", "b", "c"]), ..Report::default() }, at(14));
    board.begin(4, WokenBy::Interval, None, at(15));
    let before = board.revision;
    board.end(4, &report, at(16));
    assert_eq!(board.services.keys().collect::<Vec<_>>(), ["a"]);
    assert!(board.removed > before, "who knew them needs the whole state");
}

#[test]
fn a_reader_gets_what_has_changed_since() {
    let mut board = board();
    let id = board.id();
    assert_eq!(board.revision_of(&id), Some(board.revision));
    assert!(board.changed_since(board.revision).is_empty());
    let revision = board.revision;
    board.apply(1, &began("b"), at(3));
    // The same again is no change.
    board.apply(1, &decided([("a", State::UpToDate)]), at(4));
    let changed = board.changed_since(revision);
    assert_eq!((changed.len(), &changed[0]["service"]), (1, &"b".into()), "{changed:?}");
    assert_eq!(board.services["a"].since, at(2));
    for foreign in ["", "5", "1-2", &format!("{}-999", board.started.as_millisecond()), "x-1"] {
        assert_eq!(board.revision_of(foreign), None, "{foreign}");
    }
}

#[test]
fn a_rollout_is_shown_while_it_goes_on_and_ten_minutes_longer() {
    let mut board = board();
    let moved = |step, touched| {
        let counts = Counts { width: 2, under_way: 1, touched, succeeded: 0, failed: 0, total: 3 };
        let (image, from, canary) = (image('2'), image('1'), vec!["b".to_owned()]);
        Event::RolloutMoved(Progress { image, from, canary, counts, step })
    };
    board.apply(1, &moved(1, 1), at(3));
    board.apply(1, &moved(2, 2), at(4));
    let shown = |board: &Board| board.state(&Around::default(), false, at(0))["rollouts"].clone();
    let first = &shown(&board)[0];
    assert_eq!(
        (&first["image"], &first["touched"], &first["waiting"]),
        (&"app:1".into(), &2.into(), &1.into())
    );
    assert_eq!((&first["canary"][0], &first["state"]), (&"b".into(), &"running".into()));
    board.apply(1, &moved(3, 3), at(5));
    board.apply(1, &Event::RolloutEnded { image: image('2') }, at(5));
    assert_eq!(shown(&board)[0]["state"], "done");
    board.end(1, &Report::default(), at(500));
    assert_eq!(board.rollouts.len(), 1);
    board.begin(2, WokenBy::Interval, None, at(600));
    board.end(2, &Report::default(), at(606));
    assert!(board.rollouts.is_empty());
    // The same digest again is another rollout.
    board.apply(3, &moved(3, 1), at(700));
    board.apply(3, &Event::RolloutEnded { image: image('2') }, at(701));
    board.apply(3, &moved(1, 1), at(702));
    assert_eq!(shown(&board)[0]["state"], "running");
}

#[test]
fn rollouts_that_are_over_are_few() {
    let mut board = board();
    for second in 0..200 {
        let image: ImageRef = format!("app-{second}:1").parse().unwrap();
        board.apply(1, &Event::RolloutEnded { image }, at(second));
    }
    board.end(1, &Report::default(), at(200));
    assert_eq!(board.rollouts.len(), MAX_ROLLOUTS_OVER);
    assert!(board.rollouts.contains_key("app-199:1"), "the newest stay");
}

#[test]
fn history_has_runs_with_news_only_and_is_bounded() {
    let mut board = Board::new(at(0));
    let names: Vec<String> = (0..1_000).map(|index| format!("web-{index}")).collect();
    let many = || Report {
        rows: names.iter().map(|name| finished(name, Outcome::Updated).into()).collect(),
        ..Report::default()
    };
    for run in 0..300 {
        board.begin(run, WokenBy::Interval, None, at(0));
        board.end(run, &many(), at(1));
    }
    board.begin(300, WokenBy::Interval, None, at(2));
    board.end(300, &Report::default(), at(3));
    assert_eq!((board.history.len(), board.history[0].id), (200, 299), "a run without news is not kept");
    assert_eq!(board.history.iter().map(|record| record.services.len()).sum::<usize>(), 3_000);
    assert!(board.history[199].summary.contains("1,000 updated"), "{:?}", board.history[199]);
    board.begin(301, WokenBy::Api, Some("ci".to_owned()), at(4));
    board.end(301, &Report::default(), at(5));
    assert_eq!(board.run(301).map(|record| (record.state, record.by.as_deref())), Some(("done", Some("ci"))));
}

#[test]
fn metrics_count_what_ended_and_show_how_things_stand() {
    let mut board = board();
    board.apply(1, &began("b"), at(3));
    let paused =
        |reason: &'static str, is_routine| Event::Paused { why: reason.to_owned(), reason, is_routine };
    board.apply(1, &paused("node", false), at(3));
    board.apply(1, &paused("starting", true), at(3));
    assert_eq!(words(&board), ("paused".to_owned(), "paused: node".to_owned()), "no word of routine");
    let rolled_back = Outcome::RolledBack { by: By::Gantry, cause: unhealthy() };
    let text = |board: &Board| {
        board.metrics(&Around::default(), &Edges { interval: Some(300.0), streams: 3, ..Edges::default() })
    };
    let value = |text: &str, series: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse::<f64>().unwrap()
    };
    let first = text(&board);
    let oldest = value(&first, "gantry_update_oldest_start_timestamp_seconds");
    assert!((oldest - at(3).as_duration().as_secs_f64()).abs() < 0.001, "{oldest}");
    board.apply(1, &Event::UpdateEnded(finished("b", rolled_back)), at(9));
    board.apply(1, &Event::Resumed { was: "node".into(), after: Duration::ZERO, is_routine: false }, at(9));
    board.apply(1, &Event::RolloutStopped { image: image('2'), touched: 1, failed: 1, total: 3 }, at(9));
    board.apply(1, &Event::RolloutEnded { image: image('2') }, at(9));
    board.end(1, &Report { error: Some("no engine".into()), ..Report::default() }, at(11));
    let last = text(&board);
    for (series, before, after) in [
        ("gantry_build_info{version=\"0.1.0\"}", 1.0, 1.0),
        ("gantry_cycles_total{result=\"failed\",trigger=\"start\"}", 0.0, 1.0),
        ("gantry_cycles_total{result=\"ok\",trigger=\"webhook\"}", 0.0, 0.0),
        ("gantry_cycle_under_way", 1.0, 0.0),
        ("gantry_cycle_interval_seconds", 300.0, 300.0),
        ("gantry_cycle_last_success_timestamp_seconds", 0.0, 0.0),
        ("gantry_cycle_duration_seconds_count", 0.0, 1.0),
        ("gantry_cycle_duration_seconds_sum", 0.0, 10.0),
        ("gantry_services{state=\"updating\"}", 1.0, 0.0),
        ("gantry_services{state=\"needs_attention\"}", 0.0, 1.0),
        ("gantry_updates_total{outcome=\"rolled back\"}", 0.0, 1.0),
        ("gantry_update_duration_seconds_bucket{le=\"7.5\"}", 0.0, 1.0),
        ("gantry_rollouts_total{result=\"stopped\"}", 0.0, 1.0),
        ("gantry_rollouts{state=\"running\"}", 0.0, 0.0),
        ("gantry_guard_paused{reason=\"node\"}", 1.0, 0.0),
        ("gantry_guard_paused{reason=\"starting\"}", 1.0, 1.0),
        ("gantry_quarantined_digests{scope=\"image\"}", 0.0, 0.0),
        ("gantry_event_streams", 3.0, 3.0),
    ] {
        assert_eq!((value(&first, series), value(&last, series)), (before, after), "{series}");
    }
    // One series for each line, each family described once, and counters named as Prometheus' text form names them.
    let described: Vec<&str> = last.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let unique: BTreeSet<&&str> = described.iter().collect();
    assert_eq!(described.len(), unique.len(), "{described:#?}");
    assert!(described.contains(&"# TYPE gantry_rollouts_total counter"), "{described:#?}");
    assert!(described.contains(&"# TYPE gantry_rollouts gauge"), "{described:#?}");
    assert!(!last.contains("# EOF") && last.lines().count() < 200, "{last}");
}

#[test]
fn a_service_is_explained_rule_by_rule() {
    let mut board = Board::new(at(0));
    let held = |why| Row::sample_held("x", why).state;
    board.apply(
        1,
        &decided([
            ("newest", State::UpToDate),
            ("job", State::LeftAlone(Reason::Job)),
            ("waits", State::Waits),
            ("other", held(NotBegunReason::OtherHand(OtherHand::Updating))),
            ("paused", held(NotBegunReason::OtherHand(OtherHand::ByHand))),
            ("wrong", State::Error("label gantry.update.order: no such order".to_owned())),
        ]),
        at(2),
    );
    board.apply(
        1,
        &Event::UpdateEnded(finished("broken", Outcome::RolledBack { cause: unhealthy(), by: By::Swarm })),
        at(3),
    );
    let gates = |name: &str, around: &Around| -> Vec<(String, String)> {
        let explained = board.explained(name, around).unwrap();
        let text = |gate: &serde_json::Value, key: &str| gate[key].as_str().unwrap().to_owned();
        let gates = explained["gates"].as_array().unwrap();
        gates.iter().map(|gate| (text(gate, "gate"), text(gate, "verdict"))).collect()
    };
    let free = Around::default();
    for (name, last, verdict, count) in [
        ("newest", "outcome", "pass", 11),
        ("job", "tasks", "hold", 4),
        ("waits", "rollout", "hold", 10),
        ("other", "other_changes", "hold", 6),
        ("paused", "pause", "hold", 9),
        ("wrong", "labels", "error", 2),
        ("broken", "outcome", "hold", 11),
    ] {
        let gates = gates(name, &free);
        assert_eq!(gates.len(), count, "{name}: {gates:?}");
        let (decided, passed) = gates.split_last().unwrap();
        assert_eq!((decided.0.as_str(), decided.1.as_str()), (last, verdict), "{name}");
        assert!(passed.iter().all(|(_, verdict)| verdict == "pass"), "{name}: {gates:?}");
    }
    // A pause and the guard speak for all services, whatever the look decided before.
    board.apply(
        1,
        &Event::Paused { why: "node2 is down".to_owned(), reason: "node", is_routine: false },
        at(4),
    );
    let pause = Some(UserPause::new("anna", "sale", at(0), at(9)));
    let explained = board.explained("job", &Around { pause, ..Around::default() }).unwrap();
    let told: Vec<&str> =
        explained["gates"].as_array().unwrap()[3..].iter().map(|it| it["why"].as_str().unwrap()).collect();
    let until = "1970-01-12T13:46:49Z";
    let expected = [
        Reason::Job.to_string(),
        format!("anna has paused updates until {until}: sale"),
        "node2 is down".to_owned(),
    ];
    assert_eq!(told, expected);
    assert!(board.explained("nobody", &free).is_none());
}

#[test]
fn the_state_of_1_200_services_is_under_100_kb() {
    let mut board = Board::new(at(0));
    let rows = (0..1_200).map(|index| Row {
        image: format!("registry.example.com/customers/site-{}:6", index / 6),
        ..Row::sample(&format!("customer-{index:04}_web"), State::UpToDate)
    });
    board.apply(1, &Event::Decided(rows.collect()), at(1));
    let state = board.state(&Around::default(), true, at(2)).to_string();
    assert!(state.len() < 100_000, "{}", state.len());
    assert_eq!(board.images().as_array().map(Vec::len), Some(200));
}
