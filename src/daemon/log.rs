//! The log: events of a run as lines. Fields whose names begin with `json.` stand in JSON lines only.

use std::time::Duration;

use crate::cycle::Report;
use crate::cycle::report::Weight;
use crate::image::ImageRef;
use crate::model::event::{Event, Help, UnderWay};
use crate::model::finished::{Finished, Superseded};
use crate::model::outcome::Outcome;
use crate::model::progress::Progress;
use crate::words::some_of;

/// Writes an event to the log.
pub fn write(event: &Event) {
    let kind = event.name();
    match event {
        Event::RunBegan => tracing::debug!(json.event = kind, "a run begins"),
        Event::Decided(rows) => tracing::debug!(services = rows.len(), json.event = kind, "decided"),
        Event::NotBegun(updates) => {
            tracing::debug!(updates = updates.len(), json.event = kind, "updates that do not begin");
        }
        Event::RunEnded => tracing::debug!(json.event = kind, "the run is over"),
        Event::UpdateBegan { service, from, to, found } => tracing::info!(
            service,
            image = to.tagged(),
            from = ends(from, to, from, "no digest"),
            to = ends(from, to, to, "whatever the nodes have"),
            json.event = kind,
            "{}",
            match found {
                None => "updating",
                Some(UnderWay::Update) => "found an update that an earlier run began, watching it to its end",
                Some(UnderWay::Rollback) =>
                    "found a rollback that an earlier run began, watching it to its end",
            }
        ),
        Event::UpdateWaits { service, is_rolling_back, reason } => {
            let doing = if *is_rolling_back { "rolling back" } else { "updating" };
            tracing::warn!(service, reason, json.event = kind, "waiting while {doing}");
        }
        Event::UpdateHelped { service, how } => helped(kind, service, how),
        Event::UpdateFailed { service, cause } => {
            tracing::warn!(service, %cause, json.event = kind, "update failed, rolling back");
        }
        Event::UpdateFailedLate { service, cause } => {
            tracing::error!(service, %cause, json.event = kind, "failed after it was called updated");
        }
        Event::UpdateEnded(finished) => ended(kind, finished),
        Event::RolloutMoved(_)
        | Event::RolloutStopped { .. }
        | Event::RolloutSuperseded(_)
        | Event::RolloutHeld { .. }
        | Event::RolloutEnded { .. } => rollout(kind, event),
        Event::Paused { why, is_routine: true, .. } => tracing::debug!(json.event = kind, "paused: {why}"),
        Event::Paused { why, .. } => tracing::warn!(
            json.event = kind,
            "paused: {why}; no update begins, those under way are watched on"
        ),
        Event::Resumed { was, after, is_routine: true } => {
            tracing::debug!(seconds = after.as_secs_f64(), json.event = kind, "resumed (no longer: {was})");
        }
        Event::Resumed { was, after, .. } => {
            tracing::info!(json.event = kind, "resumed after {} s (no longer: {was})", after.as_secs());
        }
        Event::Notice { services, image, words } => notice(kind, services, image, words),
        Event::GateNews { image, words } => tracing::info!(image, json.event = kind, "{words}"),
        Event::Trouble { what, service, error } => match service.as_str() {
            "" => tracing::warn!(error, json.event = kind, "{what}"),
            service => tracing::warn!(service, error, json.event = kind, "{what}"),
        },
        Event::EngineLost(why) => tracing::error!(json.event = kind, "{why}"),
        Event::Pulls(words) => tracing::info!(json.event = kind, "{words}"),
        Event::ImageRemoved { node, image } => {
            tracing::info!(on = node, image, json.event = kind, "removed image");
        }
        Event::ImageKept { node, image, why } => {
            tracing::info!(on = node, image, why, json.event = kind, "kept image");
        }
        Event::ImageNotRemoved { node, image, why } => {
            tracing::warn!(on = node, image, why, json.event = kind, "cannot remove image");
        }
        Event::RemoverRemoved { service } => tracing::info!(
            service,
            json.event = kind,
            "removed an image remover that an earlier run has left behind"
        ),
    }
}

fn rollout(kind: &str, event: &Event) {
    match event {
        Event::RolloutMoved(Progress { image, canary, counts, .. }) => tracing::debug!(
            image = image.tagged(),
            to = image.digest().map_or("whatever the nodes have", |digest| digest.short()),
            canary = canary.join(", "),
            width = counts.width,
            touched = counts.touched,
            failed = counts.failed,
            total = counts.total,
            json.event = kind,
            "rolling out"
        ),
        Event::RolloutStopped { image, touched, failed, total } if touched >= total => tracing::debug!(
            image = image.tagged(),
            touched,
            failed,
            total,
            json.event = kind,
            "too many updates to this image failed; no service is left to keep from it"
        ),
        Event::RolloutStopped { image, touched, failed, total } => tracing::error!(
            image = image.tagged(),
            touched,
            failed,
            total,
            json.event = kind,
            "too many updates to this image failed: its rollout is stopped"
        ),
        Event::RolloutSuperseded(Superseded { image, by, touched, total }) => tracing::info!(
            image = image.tagged(),
            from = image.digest().map_or("no digest", |digest| digest.short()),
            to = by.short(),
            touched,
            total,
            json.event = kind,
            "the tag has moved on: services that wait get the newer digest"
        ),
        Event::RolloutHeld { image, service } => tracing::warn!(
            image = image.tagged(),
            service,
            json.event = kind,
            "a person or another program took this service back; no more updates to its image begin in this cycle"
        ),
        Event::RolloutEnded { image } => {
            tracing::debug!(image = image.tagged(), json.event = kind, "the rollout is over");
        }
        _ => {}
    }
}

fn helped(kind: &str, service: &str, how: &Help) {
    match how {
        Help::SentAgain(why) => {
            tracing::warn!(service, why, json.event = kind, "not a failure: Gantry sends the same again");
        }
        Help::WentOn(why) => tracing::warn!(
            service,
            why,
            json.event = kind,
            "Swarm waits in vain: Gantry has it go on with the others"
        ),
        Help::StopFirst(cause) => {
            tracing::warn!(service, cause, json.event = kind, "rolled back; updating once more, stop-first");
        }
        Help::RenewedAccount => tracing::warn!(
            service,
            json.event = kind,
            "a node cannot get the old image with the account that came back with it; Gantry gives the service the account \
             of the update"
        ),
        Help::Told(words) => tracing::warn!(service, json.event = kind, "{words}"),
    }
}

fn ended(kind: &str, finished: &Finished) {
    let Finished { service, from, to, outcome, log, health, took } = finished;
    let seconds = took.as_secs();
    let cause = outcome.cause().map(ToString::to_string);
    let digest = |image: &ImageRef| image.digest().map(|digest| digest.as_str().to_owned());
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                service,
                seconds,
                json.event = kind,
                json.image = to.tagged(),
                json.from = digest(from),
                json.to = digest(to),
                json.outcome = outcome.name(),
                json.cause = cause,
                "{outcome}"
            )
        };
    }
    if outcome.is_failure() {
        line!(error);
        if let Some(health) = health {
            tracing::error!(service, json.event = kind, "its health check's last output: {health}");
        }
        for line in log {
            tracing::error!(service, json.event = kind, "its last output: {line}");
        }
    } else if matches!(outcome, Outcome::TakenBack(_) | Outcome::Postponed(_)) {
        line!(warn);
    } else {
        line!(info);
    }
}

fn notice(kind: &str, services: &[String], image: &str, words: &str) {
    match (services, image) {
        ([], "") => tracing::warn!(json.event = kind, "{words}"),
        ([], image) => tracing::warn!(image, json.event = kind, "{words}"),
        ([service], _) => tracing::warn!(service, json.event = kind, "{words}"),
        (services, _) => {
            let names: Vec<&str> = services.iter().map(String::as_str).collect();
            tracing::warn!(services = some_of(&names, ", "), json.event = kind, "{words}");
        }
    }
}

/// Writes what a run came to, line by line, and its summary.
pub(super) fn announce(report: &Report, took: Duration) {
    for (weight, line) in report.lines() {
        match weight {
            Weight::Error => tracing::error!("{line}"),
            Weight::Warning => tracing::warn!("{line}"),
            Weight::Info => tracing::info!("{line}"),
            Weight::Detail => tracing::debug!("{line}"),
        }
    }
    let seconds = took.as_secs();
    if report.has_failed() {
        tracing::error!(seconds, "{}", report.summary());
    } else if report.is_incomplete() {
        tracing::warn!(seconds, "{}", report.summary());
    } else {
        tracing::info!(seconds, "{}", report.summary());
    }
}

/// One end of an update in a few characters: the digest, with the tag where the update changes the tag.
fn ends(from: &ImageRef, to: &ImageRef, end: &ImageRef, none: &str) -> String {
    let digest = end.digest().map_or(none, |digest| digest.short());
    match end.tag().filter(|_| from.tag() != to.tag()) {
        Some(tag) => format!("{tag}@{digest}"),
        None => digest.to_owned(),
    }
}
