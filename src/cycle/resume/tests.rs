use std::ffi::OsString;

use serde_json::{Value, json};

use super::*;
use crate::config::{Config, ServicePolicy};
use crate::cycle::plan::plan;
use crate::image::Digest;
use crate::ledger::LeftBehind;
use crate::ledger::book::{Book, LedgerChange};
use crate::ledger::entry::{DigestVerdict, Entry, Subject};
use crate::model::candidate::image_of;
use crate::model::history::History;
use crate::model::inspected::{Inspected, ResolvedTag};
use crate::model::quarantine::Quarantine;
use crate::model::rank::Rank;
use crate::model::task_lifecycle::TaskLifecycle;
use crate::options::{Ids, Name};
use crate::swarm::ServiceStatus;

fn digest(digit: char) -> Digest {
    format!("sha256:{}", String::from(digit).repeat(64)).parse().unwrap()
}

fn pinned(digit: char) -> String {
    format!("host:5000/app:1@{}", digest(digit))
}

/// A specification as a user made it.
fn plain(digit: char) -> Value {
    json!({
        "Name": "web",
        "TaskTemplate": { "ContainerSpec": { "Image": pinned(digit) }, "ForceUpdate": 0 },
        "Mode": { "Replicated": { "Replicas": 2 } },
    })
}

/// A specification with what our update sets where nothing is set.
fn ordered(digit: char) -> Value {
    let mut spec = plain(digit);
    spec["UpdateConfig"] = json!({
        "Parallelism": 1, "FailureAction": "pause", "Monitor": 5_000_000_000_u64, "MaxFailureRatio": 0,
        "Order": "start-first",
    });
    spec
}

fn with_env(mut spec: Value) -> Value {
    spec["TaskTemplate"]["ContainerSpec"]["Env"] = json!(["COLOUR=blue"]);
    spec
}

fn service(spec: &Value, previous: Option<Value>, state: Option<(&str, &str)>) -> Service {
    let mut json = json!({ "ID": "s", "Version": { "Index": 1 }, "Spec": spec,
        "ServiceStatus": { "RunningTasks": 2, "DesiredTasks": 2 } });
    if let Some(previous) = previous {
        json["PreviousSpec"] = previous;
    }
    if let Some((state, message)) = state {
        json["UpdateStatus"] = json!({ "State": state, "Message": message });
    }
    Service::from_json(&json.to_string()).unwrap()
}

/// What is decided when the tag stands at this digest.
fn decision(service: &Service, failed: Option<char>, newest: char, variables: &[(&str, &str)]) -> String {
    decision_with(service, failed, newest, variables, Book::default())
}

/// The same, when the ledger knows something.
fn decision_with(
    service: &Service,
    failed: Option<char>,
    newest: char,
    variables: &[(&str, &str)],
    book: Book,
) -> String {
    decision_of(service, TaskLifecycle::RunsOn, failed, newest, variables, book, None)
}

fn decision_of(
    service: &Service,
    lifecycle: TaskLifecycle,
    failed: Option<char>,
    newest: char,
    variables: &[(&str, &str)],
    book: Book,
    left_behind_since: Option<u64>,
) -> String {
    let pairs = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let config = Config::load(pairs).unwrap().config;
    let facts = service.spec.facts();
    let left_behind = LeftBehind { since: left_behind_since, ..LeftBehind::default() };
    let now = jiff::Timestamp::UNIX_EPOCH;
    let unfinished = Unfinished::of(service, &left_behind, false, now).map(|mut unfinished| {
        let failed = failed.map(|digit| TaskSpecId { image: pinned(digit), force_update: 0 });
        unfinished.tasks = Some(TaskHistory { failed, ..TaskHistory::default() });
        unfinished.ids = Ids::from([(Name::Network("backend".to_owned()), "n1".to_owned())]);
        Arc::new(unfinished)
    });
    let candidate = Candidate {
        id: service.id.clone(),
        name: facts.name.clone(),
        image: image_of(facts),
        mode: facts.mode,
        lifecycle,
        version: service.version,
        is_excluded: false,
        is_itself: false,
        history: History::of(service),
        rank: Rank::of(facts, lifecycle, service.status, false),
        policy: ServicePolicy::of(&config, &facts.labels).map(Arc::new),
        tasks: service.status,
        unfinished,
        order: None,
        may_collide: false,
    };
    let answer = ResolvedTag { digest: digest(newest), manifest: None, credentials: None, alternates: false };
    let inspected = Inspected { answer: Some(Ok(answer)), ..Inspected::new(candidate) };
    let quarantine = Quarantine {
        is_on: true,
        seen: Arc::default(),
        book: book.into(),
        now: jiff::Timestamp::UNIX_EPOCH,
        duration: None,
        node: String::new(),
    };
    let planned = plan(&[inspected], &Arc::new(config.services), &quarantine).remove(0);
    let name = |image: &ImageRef| image.digest().unwrap().as_str().chars().last().unwrap();
    match planned.decision {
        Decision::Update(update) => {
            let way = format!("{} to {}", name(&update.from), name(&update.to));
            match update.begun.as_deref() {
                None => format!("update {way}"),
                Some(Begun::Update { .. }) => format!("watch update {way}"),
                Some(Begun::Rollback { by, .. }) => format!("watch rollback of {way} by {by:?}"),
            }
        }
        Decision::Later(update, hand) => {
            format!("{} to {} later: {hand:?}", name(&update.from), name(&update.to))
        }
        Decision::UpToDate => "up to date".to_owned(),
        Decision::NeedsAttention { what, .. } => match what {
            Attention::Kept { .. } => "named as kept".to_owned(),
            Attention::Paused { .. } => "named as paused".to_owned(),
            Attention::RollbackFailed { .. } => "named as rollback failed".to_owned(),
            Attention::RollbackHangs { .. } => "named as a rollback that hangs".to_owned(),
            Attention::Failing { .. } => "named as failing".to_owned(),
            Attention::NotRunning { .. } => "named as not running".to_owned(),
        },
        Decision::LeftAlone(Reason::HeldBack(held)) => format!("left alone: {:?}", held.why),
        other => format!("{other:?}"),
    }
}

const UPDATING: Option<(&str, &str)> = Some(("updating", "update in progress"));
const PAUSED: Option<(&str, &str)> = Some(("paused", "update paused due to failure of task x"));
const BACK: Option<(&str, &str)> = Some(("rollback_started", "manually requested rollback"));
const BACK_BY_SWARM: Option<(&str, &str)> = Some(("rollback_started", "update rolled back due to failure"));
const BACK_PAUSED: Option<(&str, &str)> = Some(("rollback_paused", "rollback paused"));

#[test]
fn what_our_update_made_of_the_previous_specification_is_watched() {
    for (spec, previous, state, expected) in [
        (ordered('b'), Some(plain('a')), UPDATING, "watch update a to b"),
        (ordered('b'), Some(ordered('a')), UPDATING, "watch update a to b"),
        // The swarm has not begun yet.
        (ordered('b'), Some(plain('a')), None, "watch update a to b"),
        (ordered('b'), Some(plain('a')), PAUSED, "watch update a to b"),
        // Nothing but the digest: ours with other settings, or as good as ours.
        (plain('b'), Some(plain('a')), UPDATING, "watch update a to b"),
        (plain('b'), Some(plain('a')), PAUSED, "watch update a to b"),
        // Another program's.
        (with_env(ordered('b')), Some(plain('a')), UPDATING, "up to date"),
        (with_env(ordered('b')), Some(plain('a')), PAUSED, "named as paused"),
        (with_env(ordered('b')), Some(ordered('b')), UPDATING, "up to date"),
        (ordered('b'), None, PAUSED, "named as paused"),
        // It came to an end.
        (ordered('b'), Some(plain('a')), Some(("completed", "")), "up to date"),
        // The tag has moved on: the newer image takes its place.
        (ordered('c'), Some(plain('a')), UPDATING, "update c to b"),
        (ordered('c'), Some(plain('a')), PAUSED, "update c to b"),
    ] {
        let service = service(&spec, previous.clone(), state);
        assert_eq!(decision(&service, None, 'b', &[]), expected, "{spec} {previous:?} {state:?}");
    }
}

#[test]
fn another_tag_is_never_our_doing() {
    let other = |mut spec: Value| {
        spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(format!("host:5000/other:1@{}", digest('a')));
        spec
    };
    for (state, expected) in [(UPDATING, "up to date"), (PAUSED, "named as paused"), (None, "up to date")] {
        let service = service(&ordered('b'), Some(other(plain('a'))), state);
        assert_eq!(decision(&service, None, 'b', &[]), expected, "{state:?}");
    }
}

#[test]
fn what_must_not_be_rolled_back_is_named_and_not_judged_again() {
    let service = service(&ordered('b'), Some(plain('a')), PAUSED);
    let kept = [("GANTRY_ROLLBACK_ON_FAILURE", "false")];
    assert_eq!(decision(&service, None, 'b', &kept), "named as kept");
}

#[test]
fn a_rollback_is_watched_whoever_began_it_and_never_updated_over() {
    for (spec, previous, state, failed, expected) in [
        (plain('a'), Some(ordered('b')), BACK, Some('b'), "watch rollback of a to b by Gantry"),
        // Nothing has failed there: a person's word.
        (plain('a'), Some(ordered('b')), BACK, None, "left alone: LeftByHand"),
        (plain('a'), Some(ordered('b')), BACK, Some('c'), "left alone: LeftByHand"),
        // Back from an image that the tag has left meanwhile.
        (plain('a'), Some(ordered('c')), BACK, Some('c'), "watch rollback of a to c by Gantry"),
        (plain('a'), Some(ordered('c')), BACK, None, "LeftAlone(RollingBack)"),
        (plain('a'), None, BACK_BY_SWARM, Some('b'), "watch rollback of a to b by Swarm"),
        (plain('a'), None, BACK_BY_SWARM, Some('c'), "watch rollback of a to c by Swarm"),
        (plain('a'), None, BACK_BY_SWARM, None, "LeftAlone(RollingBack)"),
        // A rollback of something else than the image.
        (plain('a'), Some(with_env(plain('a'))), BACK, None, "LeftAlone(RollingBack)"),
        // The image alone was set back, as we do where a user has changed something else meanwhile.
        (
            with_env(ordered('a')),
            Some(with_env(ordered('b'))),
            UPDATING,
            None,
            "watch rollback of a to b by Gantry",
        ),
        (with_env(ordered('a')), Some(with_env(ordered('b'))), PAUSED, None, "named as rollback failed"),
        (with_env(ordered('a')), Some(ordered('b')), UPDATING, None, "a to b later: Updating"),
        (plain('a'), Some(ordered('b')), BACK_PAUSED, None, "named as rollback failed"),
        (with_env(plain('a')), Some(ordered('c')), BACK_PAUSED, None, "named as rollback failed"),
        (plain('a'), Some(with_env(plain('a'))), BACK_PAUSED, None, "named as rollback failed"),
        // Nothing speaks against the image that it goes back from, or a newer image may be what helps.
        (plain('a'), None, BACK_PAUSED, Some('b'), "update a to b"),
        (plain('a'), Some(ordered('c')), BACK_PAUSED, None, "update a to b"),
        (plain('a'), None, BACK_PAUSED, Some('c'), "update a to b"),
    ] {
        let service = service(&spec, previous.clone(), state);
        assert_eq!(decision(&service, failed, 'b', &[]), expected, "{spec} {previous:?} {state:?}");
    }
}

/// A ledger that remembers that the digest `b` broke the service, or was left by a person.
fn book(verdict: DigestVerdict) -> Book {
    let entry = Entry {
        subject: Subject::Service("web".to_owned()),
        verdict,
        image: "host:5000/app:1".to_owned(),
        digest: digest('b'),
        service_id: "s".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
        node: String::new(),
        before: Vec::new(),
        had: Vec::new(),
        stopped: Vec::new(),
        flips: 0,
        cause: "it crashed".to_owned(),
    };
    // Its services were offered `c` before.
    let offered = |name| Entry {
        subject: Subject::Image("host:5000/app:1".to_owned()),
        verdict: DigestVerdict::Offered,
        digest: digest(name),
        service_id: String::new(),
        ..entry.clone()
    };
    let mut book = Book::default();
    for entry in [offered('c'), offered('b'), entry.clone()] {
        book.apply(&LedgerChange::Put(entry));
    }
    book
}

#[test]
fn what_the_ledger_knows_tells_our_rollbacks_from_those_of_people() {
    for (spec, previous, state, verdict, expected) in [
        (plain('a'), ordered('b'), BACK, DigestVerdict::Quarantined, "watch rollback of a to b by Gantry"),
        (plain('a'), ordered('b'), BACK, DigestVerdict::LeftByHand, "left alone: LeftByHand"),
        // Options for rollbacks, or a user's change, came in between.
        (
            with_env(plain('a')),
            ordered('b'),
            UPDATING,
            DigestVerdict::Quarantined,
            "watch rollback of a to b by Gantry",
        ),
        (with_env(plain('a')), ordered('b'), PAUSED, DigestVerdict::Quarantined, "named as rollback failed"),
        (plain('a'), plain('b'), UPDATING, DigestVerdict::LeftByHand, "left alone: LeftByHand"),
        // What a person went back to does not run either: that is theirs, and is not hidden.
        (plain('a'), plain('b'), PAUSED, DigestVerdict::LeftByHand, "named as paused"),
        // It is in quarantine, and yet the service still has it: it is brought to its end.
        (ordered('b'), plain('a'), UPDATING, DigestVerdict::Quarantined, "watch update a to b"),
        (ordered('b'), plain('a'), PAUSED, DigestVerdict::Quarantined, "watch update a to b"),
        // What failed is older than what is in quarantine: nothing newer takes its place.
        (ordered('c'), plain('a'), PAUSED, DigestVerdict::Quarantined, "watch update a to c"),
        (with_env(ordered('c')), plain('a'), PAUSED, DigestVerdict::Quarantined, "named as paused"),
        // A person has chosen another one instead, of which we know nothing.
        (ordered('d'), plain('a'), PAUSED, DigestVerdict::Quarantined, "named as paused"),
        (ordered('d'), plain('a'), UPDATING, DigestVerdict::Quarantined, "left alone: BrokeService"),
        (ordered('d'), plain('a'), UPDATING, DigestVerdict::LeftByHand, "left alone: LeftByHand"),
    ] {
        let service = service(&spec, Some(previous.clone()), state);
        let told = decision_with(&service, None, 'b', &[], book(verdict));
        assert_eq!(told, expected, "{spec} {previous} {state:?} {verdict:?}");
    }
}

#[test]
fn our_update_with_options_is_known_by_them() {
    let options = [("GANTRY_UPDATE_OPTIONS", "--env-add COLOUR=blue --network-add backend")];
    let mut sent = with_env(ordered('b'));
    sent["TaskTemplate"]["Networks"] = json!([{ "Target": "n1" }]);
    for (sent, expected) in
        [(sent.clone(), "watch update a to b"), (with_env(ordered('b')), "named as paused")]
    {
        let service = service(&sent, Some(plain('a')), PAUSED);
        assert_eq!(decision(&service, None, 'b', &options), expected, "{sent}");
    }
}

#[test]
fn what_the_ledger_says_broke_a_service_and_still_does_is_brought_to_its_end() {
    for (running, variables, verdict, expected) in [
        (0, &[][..], DigestVerdict::Quarantined, "watch update a to b"),
        // It runs: a user has seen to it.
        (2, &[], DigestVerdict::Quarantined, "left alone: BrokeService"),
        (
            0,
            &[("GANTRY_ROLLBACK_ON_FAILURE", "false")],
            DigestVerdict::Quarantined,
            "left alone: BrokeService",
        ),
        // It may be long ago that this worked.
        (0, &[], DigestVerdict::Released, "named as not running"),
    ] {
        let mut completed = service(&ordered('b'), Some(plain('a')), Some(("completed", "update completed")));
        completed.status = Some(ServiceStatus { running, desired: 2 });
        let told = decision_with(&completed, None, 'b', variables, book(verdict));
        assert_eq!(told, expected, "{running} {variables:?} {verdict:?}");
    }
}

#[test]
fn what_a_dead_gantry_began_is_brought_to_its_end_though_the_swarm_calls_it_completed() {
    let completed = Some(("completed", "update completed"));
    for (spec, previous, since, variables, expected) in [
        // At version 1 since version 0, and it may just look as if it ran.
        (ordered('b'), plain('a'), Some(0), &[][..], "watch update a to b"),
        (ordered('b'), plain('a'), Some(1), &[], "up to date"),
        (ordered('b'), plain('a'), None, &[], "up to date"),
        (with_env(ordered('b')), plain('a'), Some(0), &[], "up to date"),
        (ordered('b'), ordered('b'), Some(0), &[], "up to date"),
        (ordered('c'), plain('a'), Some(0), &[], "update c to b"),
        (
            ordered('b'),
            plain('a'),
            Some(0),
            &[("GANTRY_ROLLBACK_ON_FAILURE", "false")],
            "watch update a to b",
        ),
    ] {
        let service = service(&spec, Some(previous.clone()), completed);
        let told = decision_of(&service, TaskLifecycle::RunsOn, None, 'b', variables, Book::default(), since);
        assert_eq!(told, expected, "{spec} {previous} {since:?}");
    }
}

#[test]
fn what_is_sent_without_being_watched_is_not_watched_later() {
    let jobs = [("GANTRY_UPDATE_JOBS", "true")];
    for (lifecycle, state, expected) in [
        (TaskLifecycle::RunsOn, UPDATING, "watch update a to b"),
        (TaskLifecycle::UnderWay, UPDATING, "watch update a to b"),
        // No node takes its tasks: it may stand so for ever.
        (TaskLifecycle::WithoutNode, UPDATING, "up to date"),
        // Its tasks ended as soon as they were run again, which the swarm takes for a failure.
        (TaskLifecycle::Ended, PAUSED, "up to date"),
    ] {
        let service = service(&ordered('b'), Some(plain('a')), state);
        let told = decision_of(&service, lifecycle, None, 'b', &jobs, Book::default(), None);
        assert_eq!(told, expected, "{lifecycle:?} {state:?}");
    }
}

#[test]
fn a_persons_change_that_finds_no_node_is_not_overrun() {
    for (present, expected) in [
        (with_env(plain('a')), "a to b later: Updating"),
        // Gantry's own, of which the swarm has placed nothing either.
        (ordered('c'), "update c to b"),
    ] {
        let previous = if expected.starts_with('a') { plain('a') } else { plain('d') };
        let service = service(&present, Some(previous), UPDATING);
        let told = decision_of(&service, TaskLifecycle::WithoutNode, None, 'b', &[], Book::default(), None);
        assert_eq!(told, expected, "{present}");
    }
}

#[test]
fn an_update_that_gantry_has_sent_twice_is_still_its_own() {
    let mut labelled = ordered('b');
    labelled["Labels"] = json!({ "a person's": "label" });
    let offered = Entry {
        subject: Subject::Image("host:5000/app:1".to_owned()),
        verdict: DigestVerdict::Offered,
        ..book(DigestVerdict::Quarantined).entries().next().unwrap().clone()
    };
    for (digit, expected) in [('b', "update b to c"), ('a', "named as paused")] {
        let offered = Entry { digest: digest(digit), ..offered.clone() };
        let mut book = Book::default();
        book.apply(&LedgerChange::Put(offered));
        let service = service(&labelled, Some(ordered('b')), PAUSED);
        assert_eq!(decision_with(&service, None, 'c', &[], book), expected, "offered {digit}");
    }
}
