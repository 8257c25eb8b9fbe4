//! The board as JSON, in the form of `docs/api.md`. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{Board, RunRecord, ServiceState, ShownPause, ShownRollout, ShownService};
use crate::config::{Insecure, LookupMethod, OrderPolicy, ServicePolicy};
use crate::gate::approval::Approval;
use crate::image::{Digest, ImageRef};
use crate::ledger::entry::{DigestVerdict, Entry, Subject};
use crate::ledger::steered::{SteeringAction, UserPause};
use crate::model::row::{Row, State};

/// How many services that want attention are told of one by one.
const MAX_ATTENTION: usize = 100;

/// How many runs the state has of the history.
const HISTORY_IN_STATE: usize = 20;

/// What the board does not know itself.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// What holds digests back, as the ledger has it.
    pub quarantine: Vec<Entry>,
    /// How long a quarantine lasts; `None`: until the tag moves on.
    pub quarantine_lasts: Option<std::time::Duration>,
    /// A user's word that no update begins.
    pub pause: Option<UserPause>,
    /// The approvals that hold.
    pub approvals: Vec<Approval>,
    /// The latest steering actions, the oldest first.
    pub actions: Vec<SteeringAction>,
}

impl Board {
    /// The name of this moment: `Last-Event-ID` resumes from it.
    pub fn id(&self) -> String {
        format!("{}-{}", self.started.as_millisecond(), self.revision)
    }

    /// The revision that an id means; `None`: one of another process, or nonsense.
    pub fn revision_of(&self, id: &str) -> Option<u64> {
        let (started, revision) = id.split_once('-')?;
        let revision = revision.parse().ok()?;
        (started == self.started.as_millisecond().to_string() && revision <= self.revision)
            .then_some(revision)
    }

    /// The whole state.
    pub fn state(&self, around: &Around, may_steer: bool, now: Timestamp) -> Value {
        let mut state = Map::new();
        state.insert("id".to_owned(), self.id().into());
        state.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        state.insert("node".to_owned(), self.node.clone().into());
        state.insert("now".to_owned(), now.to_string().into());
        state.insert("steer".to_owned(), may_steer.into());
        for (key, value) in self.parts(around) {
            state.insert(key.to_owned(), value);
        }
        state.insert("images".to_owned(), self.images());
        Value::Object(state)
    }

    /// The parts of the state that are sent anew, whole, where they change.
    pub fn parts(&self, around: &Around) -> Vec<(&'static str, Value)> {
        let attention = self.services.iter().filter(|(_, shown)| shown.state.wants_attention());
        let omitted = attention.clone().count().saturating_sub(MAX_ATTENTION);
        let attention: Vec<Value> =
            attention.take(MAX_ATTENTION).map(|(name, shown)| with_words(name, shown)).collect();
        let history = self.history.iter().take(HISTORY_IN_STATE).map(|record| in_short(record));
        let counts: Map<String, Value> =
            self.counts().into_iter().map(|(state, count)| (state.name().to_owned(), count.into())).collect();
        let quarantine = around.quarantine.iter().filter_map(|entry| quarantined(entry, around));
        let paused: Vec<Value> =
            self.told_pauses().map(|pause| json!({ "why": pause.why, "since": time(pause.since) })).collect();
        vec![
            ("verdict", self.verdict(around)),
            ("look", self.look_json()),
            ("guard", json!({ "paused": paused, "by_hand": around.pause.as_ref().map(pause) })),
            ("counts", Value::Object(counts)),
            ("runs", self.runs.values().map(in_short).collect()),
            ("rollouts", self.rollouts.values().map(rollout).collect()),
            ("attention", attention.into()),
            ("attention_omitted", omitted.into()),
            ("quarantine", quarantine.collect()),
            ("history", history.collect()),
            ("approvals", around.approvals.iter().map(approval).collect()),
            ("steered", around.actions.iter().rev().map(action).collect()),
        ]
    }

    /// The services that have changed after a revision.
    pub fn changed_since(&self, revision: u64) -> Vec<Value> {
        let changed = self.services.iter().filter(|(_, shown)| shown.changed > revision);
        changed.map(|(name, shown)| service_in_short(name, shown)).collect()
    }

    /// One service; `None`: it is not known.
    pub(super) fn service(&self, name: &str) -> Option<Value> {
        self.services.get(name).map(|shown| self.whole_service(name, shown))
    }

    /// All services.
    pub fn all_services(&self) -> Value {
        self.services.iter().map(|(name, shown)| self.whole_service(name, shown)).collect()
    }

    fn whole_service(&self, name: &str, shown: &ShownService) -> Value {
        let mut value = with_words(name, shown);
        value["digest"] = json!(shown.digest.as_ref().map(Digest::as_str));
        value["newest"] = json!(shown.newest.as_ref().map(Digest::as_str));
        value["tasks"] = shown
            .tasks
            .map_or(Value::Null, |tasks| json!({ "running": tasks.running, "desired": tasks.desired }));
        value["policy"] = shown.policy.as_deref().map_or(Value::Null, policy);
        value["account"] = json!(shown.account);
        value["next"] = json!(self.next_look.map(time));
        value
    }

    /// The pauses that people are told of.
    fn told_pauses(&self) -> impl Iterator<Item = &ShownPause> {
        self.paused.iter().filter(|pause| !pause.is_routine)
    }

    fn look_json(&self) -> Value {
        let look = self.look.as_ref();
        json!({
            "began": look.map(|look| time(look.began)),
            "seconds": look.and_then(|look| look.seconds),
            "next": self.next_look.map(time),
        })
    }

    /// How things stand, in one sentence.
    fn verdict(&self, around: &Around) -> Value {
        let counts = self.counts();
        let count = |state| counts.get(&state).copied().unwrap_or(0);
        let total = self.services.len();
        let attention: usize =
            counts.iter().filter(|(state, _)| state.wants_attention()).map(|(_, count)| count).sum();
        let (updating, waiting) = (count(ServiceState::Updating), count(ServiceState::Waiting));
        let stopped = self.rollouts.values().filter(|shown| shown.rollout.is_stopped).count();
        let (level, words) = if let Some(error) = &self.error {
            ("attention", format!("the latest look failed: {error}"))
        } else if attention > 0 || stopped > 0 {
            let attention = number_of(attention, "service needs attention", "services need attention");
            let stopped = number_of(stopped, "rollout was stopped", "rollouts were stopped");
            ("attention", [attention, stopped].into_iter().flatten().collect::<Vec<_>>().join(", "))
        } else if let Some(UserPause { by, why, until, .. }) = &around.pause {
            let words = format!("updates are paused by {by} until {until:.0}: {why}");
            ("paused", words.trim_end_matches(": ").to_owned())
        } else if let Some(pause) = self.told_pauses().next() {
            ("paused", format!("paused: {}", pause.why))
        } else if updating + waiting > 0 {
            let under_way = number_of(updating, "update is under way", "updates are under way");
            let wait = number_of(waiting, "service waits", "services wait");
            ("busy", [under_way, wait].into_iter().flatten().collect::<Vec<_>>().join(", "))
        } else if self.look.is_none_or(|look| look.seconds.is_none()) && total == 0 {
            ("unknown", "Gantry has not looked at the services yet".to_owned())
        } else {
            ("ok", self.all_is_well(&counts))
        };
        json!({ "level": level, "words": words })
    }

    fn all_is_well(&self, counts: &BTreeMap<ServiceState, usize>) -> String {
        let count = |state| counts.get(&state).copied().unwrap_or(0);
        let (total, newest) = (self.services.len(), count(ServiceState::UpToDate));
        let others = [
            (ServiceState::Held, "held"),
            (ServiceState::Quarantined, "in quarantine"),
            (ServiceState::LeftAlone, "left alone"),
        ];
        let others: Vec<String> = others
            .into_iter()
            .filter(|(state, _)| count(*state) > 0)
            .map(|(state, words)| format!("{} {words}", count(state)))
            .collect();
        match (total, others.is_empty()) {
            (0, _) => "no service matches the filters".to_owned(),
            (1, true) => "the service is on the newest image".to_owned(),
            (_, true) => format!("all {total} services are on the newest image"),
            _ => format!("{newest} of {total} services are on the newest image; {}", others.join(", ")),
        }
    }

    /// The services by image, each one letter.
    pub(super) fn images(&self) -> Value {
        let mut images: BTreeMap<&str, (Vec<&str>, String)> = BTreeMap::new();
        for (name, shown) in &self.services {
            let (names, states) = images.entry(&shown.image).or_default();
            names.push(name);
            states.push(shown.state.letter());
        }
        let one = |(image, (services, states)): (&str, (Vec<&str>, String))| json!({ "image": image, "services": services, "states": states });
        images.into_iter().map(one).collect()
    }
}

/// A user's pause.
pub fn pause(pause: &UserPause) -> Value {
    json!({ "by": pause.by, "why": pause.why, "since": time(pause.since), "until": time(pause.until) })
}

/// A user's approval.
pub fn approval(approval: &Approval) -> Value {
    json!({
        "image": approval.image,
        "service": approval.service,
        "digest": approval.digest.as_str(),
        "by": approval.by,
        "via": approval.via,
        "at": time(approval.at),
        "until": time(approval.until),
        "why": approval.why,
    })
}

fn action(action: &SteeringAction) -> Value {
    json!({ "at": time(action.at), "by": action.by, "what": action.what })
}

/// What a run would do now.
pub fn plan(rows: &[Row]) -> Value {
    let services: Vec<Value> = rows.iter().filter_map(planned).collect();
    let count = |action: &str| services.iter().filter(|service| service["action"] == action).count();
    json!({ "updates": count("update"), "errors": count("error"), "services": services })
}

fn planned(row: &Row) -> Option<Value> {
    let shown = ShownService::of_row(row)?;
    let action = match &row.state {
        State::Waits | State::Updating => "update",
        State::Error(_) => "error",
        State::Held(_) | State::LeftAlone(_) => "held",
        State::UpToDate | State::NeedsAttention(_) | State::Ended(_) => "none",
    };
    let digest = |digest: &Option<Digest>| digest.as_ref().map(|digest| digest.as_str().to_owned());
    Some(json!({
        "service": row.service,
        "image": shown.image,
        "state": shown.state.name(),
        "why": if action == "update" { "its registry has another digest" } else { &shown.why },
        "digest": digest(&shown.digest),
        "newest": digest(&shown.newest),
        "action": action,
    }))
}

fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn number_of(count: usize, one: &str, many: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    }
}

/// A run without its services.
pub fn in_short(record: &RunRecord) -> Value {
    json!({
        "id": record.id,
        "state": record.state,
        "failed": record.failed,
        "trigger": record.trigger.name(),
        "by": record.by,
        "began": time(record.began),
        "ended": record.ended.map(time),
        "summary": record.summary,
    })
}

/// A run with its services.
pub fn whole_run(record: &RunRecord) -> Value {
    let mut run = in_short(record);
    run["services"] = json!(record.services);
    run["errors"] = json!(record.errors);
    run
}

fn rollout(shown: &ShownRollout) -> Value {
    let ShownRollout { rollout, since, .. } = shown;
    let (at, counts) = (&rollout.at, &rollout.at.counts);
    let digest = |image: &ImageRef| image.digest().map(|digest| digest.as_str().to_owned());
    json!({
        "image": at.image.tagged(),
        "from": digest(&at.from),
        "to": digest(&at.image),
        "canary": at.canary,
        "width": counts.width,
        "under_way": counts.under_way,
        "touched": counts.touched,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "waiting": counts.waiting(),
        "total": counts.total,
        "state": rollout.state(),
        "superseded_by": rollout.superseded_by.as_ref().map(Digest::as_str),
        "held_for": rollout.held_for,
        "since": time(*since),
    })
}

fn service_in_short(name: &str, shown: &ShownService) -> Value {
    let mut value = json!({
        "service": name,
        "image": shown.image,
        "state": shown.state.name(),
        "why": shown.why,
        "since": time(shown.since),
    });
    if let Some(refusal) = shown.refusals.first() {
        value["gate"] = json!(refusal.gate.name());
        value["offers_image"] = json!(shown.offers.as_ref().map(ImageRef::tagged));
        value["offers"] = json!(shown.offers.as_ref().and_then(ImageRef::digest).map(Digest::as_str));
        value["until"] = json!(refusal.until.map(time));
    }
    value
}

fn with_words(name: &str, shown: &ShownService) -> Value {
    let mut value = service_in_short(name, shown);
    value["log"] = json!(shown.log);
    value["health"] = json!(shown.health);
    value
}

/// The settings of a service, its labels included.
fn policy(policy: &ServicePolicy) -> Value {
    json!({
        "lookup": match policy.lookup {
            LookupMethod::Registry => "registry",
            LookupMethod::None => "none",
        },
        "insecure": policy.insecure != Insecure::No,
        "auth_config": policy.auth_config,
        "timeout_seconds": policy.timeout.map(|timeout| timeout.as_secs()),
        "order": match policy.order {
            OrderPolicy::Auto => "auto",
            OrderPolicy::StartFirst => "start-first",
            OrderPolicy::StopFirst => "stop-first",
            OrderPolicy::Keep => "keep",
        },
        "jobs": policy.update_jobs,
        "windows": policy.times.windows.to_string(),
        "freezes": policy.times.freezes.to_string(),
        "zone": policy.times.zone_name(),
        "after": policy.after.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "group": policy.group,
        "canary": policy.canary,
        "rollback_on_failure": policy.rollback_on_failure,
        "min_age_seconds": policy.min_age.map_or(0, |age| age.as_secs()),
        "approval": policy.approval,
        "accept_command": policy.accept,
        "tags": policy.tags.to_string(),
    })
}

/// An entry of the quarantine; `None`: the entry holds nothing back.
fn quarantined(entry: &Entry, around: &Around) -> Option<Value> {
    if !entry.is_for_good() {
        return None;
    }
    let service = match &entry.subject {
        Subject::Service(name) => Some(name),
        Subject::Image(_) => None,
        Subject::Tag(_) => return None,
    };
    let lasts = around.quarantine_lasts.filter(|_| entry.verdict == DigestVerdict::Quarantined);
    let until = lasts
        .and_then(|lasts| SignedDuration::try_from(lasts).ok())
        .and_then(|lasts| entry.at.checked_add(lasts).ok());
    Some(json!({
        "service": service,
        "image": entry.image,
        "digest": entry.digest.as_str(),
        "cause": entry.cause,
        "by_hand": entry.verdict == DigestVerdict::LeftByHand,
        "since": time(entry.at),
        "until": until.map(time),
    }))
}
