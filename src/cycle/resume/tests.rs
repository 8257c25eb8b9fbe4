use std::ffi::OsString;

use serde_json::{Value, json};

use super::*;
use crate::config::{Config, ServicePolicy};
use crate::cycle::inspect::{Answer, Inspected};
use crate::cycle::plan::plan;
use crate::image::Digest;
use crate::swarm::ServiceStatus;

fn digest(digit: char) -> Digest {
    format!("sha256:{}", String::from(digit).repeat(64)).parse().unwrap()
}

fn pinned(digit: char) -> String {
    format!("host:5000/app:1@{}", digest(digit))
}

/// A specification as somebody made it.
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
    let pairs = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let config = Config::load(pairs).unwrap().config;
    let facts = service.spec.facts();
    let unfinished = Unfinished::of(service).map(|mut unfinished| {
        unfinished.failed = failed.map(|digit| Mark { image: pinned(digit), force_update: 0 });
        Arc::new(unfinished)
    });
    let candidate = Candidate {
        id: service.id.clone(),
        name: facts.name.clone(),
        image: facts.image.clone(),
        mode: facts.mode,
        is_excluded: false,
        is_itself: false,
        policy: ServicePolicy::of(&config, &facts.labels),
        tasks: Some(ServiceStatus { running: 2, desired: 2 }),
        unfinished,
    };
    let answer = Answer { digest: digest(newest), manifest: None, credentials: None };
    let inspected = Inspected { candidate, answer: Some(Ok(answer)) };
    let planned = plan(&[inspected], &Arc::new(config.services)).remove(0);
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
        Decision::UpToDate => "up to date".to_owned(),
        Decision::NeedsAttention(Attention::Paused { .. }) => "named as paused".to_owned(),
        Decision::NeedsAttention(Attention::RollbackFailed { .. }) => "named as rollback failed".to_owned(),
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
        // Somebody else's.
        (with_env(ordered('b')), Some(plain('a')), UPDATING, "up to date"),
        (with_env(ordered('b')), Some(plain('a')), PAUSED, "named as paused"),
        (with_env(ordered('b')), Some(ordered('b')), UPDATING, "up to date"),
        (ordered('b'), None, PAUSED, "named as paused"),
        // We would have set an order.
        (plain('b'), Some(plain('a')), UPDATING, "up to date"),
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
fn what_must_not_be_rolled_back_is_named_and_not_judged_again() {
    let service = service(&ordered('b'), Some(plain('a')), PAUSED);
    let kept = [("GANTRY_ROLLBACK_ON_FAILURE", "false")];
    assert_eq!(decision(&service, None, 'b', &kept), "named as paused");
}

#[test]
fn a_rollback_is_watched_whoever_began_it_and_never_updated_over() {
    for (spec, previous, state, failed, expected) in [
        (plain('a'), Some(ordered('b')), BACK, None, "watch rollback of a to b by Gantry"),
        // Back from an image that the tag has left meanwhile.
        (plain('a'), Some(ordered('c')), BACK, None, "watch rollback of a to c by Gantry"),
        (plain('a'), None, BACK_BY_SWARM, Some('b'), "watch rollback of a to b by Swarm"),
        (plain('a'), None, BACK_BY_SWARM, Some('c'), "watch rollback of a to c by Swarm"),
        (plain('a'), None, BACK_BY_SWARM, None, "LeftAlone(RollingBack)"),
        // A rollback of something else than the image.
        (plain('a'), Some(with_env(plain('a'))), BACK, None, "LeftAlone(RollingBack)"),
        // The image alone was set back, as we do where somebody has changed something else meanwhile.
        (
            with_env(ordered('a')),
            Some(with_env(ordered('b'))),
            UPDATING,
            None,
            "watch rollback of a to b by Gantry",
        ),
        (with_env(ordered('a')), Some(with_env(ordered('b'))), PAUSED, None, "named as rollback failed"),
        (with_env(ordered('a')), Some(ordered('b')), UPDATING, None, "update a to b"),
        (plain('a'), Some(ordered('b')), BACK_PAUSED, None, "named as rollback failed"),
        (plain('a'), None, BACK_PAUSED, Some('b'), "named as rollback failed"),
        // A newer image may be what helps.
        (plain('a'), Some(ordered('c')), BACK_PAUSED, None, "update a to b"),
        (plain('a'), None, BACK_PAUSED, Some('c'), "update a to b"),
    ] {
        let service = service(&spec, previous.clone(), state);
        assert_eq!(decision(&service, failed, 'b', &[]), expected, "{spec} {previous:?} {state:?}");
    }
}
