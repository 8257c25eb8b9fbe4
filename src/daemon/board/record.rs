//! What a run came to, for history and API. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::service::why_held;
use crate::cycle::Report;
use crate::image::{Digest, ImageRef};
use crate::model::attention::OtherHand;
use crate::model::finished::NotBegunReason;
use crate::model::row::{Row, State};

/// What started a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WokenBy {
    /// Gantry was started.
    Start,
    /// The time of `GANTRY_SLEEP_SECONDS` was over.
    Interval,
    /// The trigger path changed.
    Path,
    /// A user or a program asked for it.
    Api,
    /// A registry told of a push.
    Webhook,
}

impl WokenBy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Start, Self::Interval, Self::Path, Self::Api, Self::Webhook];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Interval => "interval",
            Self::Path => "path",
            Self::Api => "api",
            Self::Webhook => "webhook",
        }
    }
}

/// A run, as history and API show it.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// Its number.
    pub id: u64,
    /// Whether it goes on.
    pub state: &'static str,
    /// Whether something failed.
    pub failed: bool,
    /// What started it.
    pub trigger: WokenBy,
    /// Who asked for it.
    pub by: Option<String>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// What it did, in a sentence.
    pub summary: String,
    /// The services to which something happened or should have happened.
    pub services: Vec<ServiceRecord>,
    /// Whether more is to be told of them than that a user's pause holds them.
    pub has_changes: bool,
    /// What failed apart from single services.
    pub errors: Vec<String>,
}

/// What a run did to one service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceRecord {
    /// Its name.
    pub service: String,
    /// Its image without the digest.
    pub image: String,
    /// The digest that it had.
    pub from: Option<String>,
    /// The digest that it was to get.
    pub to: Option<String>,
    /// How it stands after the run, by the names of summaries.
    pub outcome: &'static str,
    /// Why; empty where there is nothing to explain.
    pub cause: String,
    /// The last lines of its failed task's output.
    pub log: Vec<String>,
    /// The last output of its health check.
    pub health: Option<String>,
    /// How long its update took.
    pub seconds: Option<u64>,
}

impl RunRecord {
    /// A run that has begun.
    pub fn begun(id: u64, trigger: WokenBy, by: Option<String>, began: Timestamp) -> Self {
        Self {
            id,
            state: "under_way",
            failed: false,
            trigger,
            by,
            began,
            ended: None,
            summary: String::new(),
            services: Vec::new(),
            has_changes: false,
            errors: Vec::new(),
        }
    }

    /// Takes over what the run came to.
    pub fn end(&mut self, report: &Report, at: Timestamp) {
        self.state = "done";
        self.failed = report.has_failed();
        self.ended = Some(at);
        self.summary = report.summary();
        self.errors = report.error.iter().chain(&report.post_run).cloned().collect();
        let stopped = report.stopped.iter().map(|stopped| {
            format!(
                "the rollout of {} was stopped: {} services failed",
                stopped.image.tagged(),
                stopped.failed
            )
        });
        self.errors.extend(stopped);
        self.services = report.rows.iter().filter_map(ServiceRecord::of).collect();
        self.services.sort_by(|a, b| a.service.cmp(&b.service));
        // What a pause holds is no news with each look.
        let by_hand = NotBegunReason::OtherHand(OtherHand::ByHand);
        let held = report.held().filter(|row| row.why_held() == Some(&by_hand)).count();
        self.has_changes = self.services.len() > held;
    }

    /// Whether history keeps it: something happened, failed or was asked for.
    pub fn has_news(&self) -> bool {
        // A registry's event that came to nothing is none.
        let was_asked_for = self.by.is_some() && self.trigger != WokenBy::Webhook;
        self.failed || was_asked_for || self.has_changes
    }
}

impl ServiceRecord {
    /// What is worth a line; `None`: nothing happened to the service.
    fn of(row: &Row) -> Option<Self> {
        let digest = |image: &ImageRef| image.digest().map(|digest| digest.as_str().to_owned());
        let plain = |from: Option<String>, to: Option<String>, cause: String| Self {
            service: row.service.clone(),
            image: row.image.clone(),
            from,
            to,
            outcome: row.state.name(),
            cause,
            log: Vec::new(),
            health: None,
            seconds: None,
        };
        let known = |digest: &Option<Digest>| digest.as_ref().map(|digest| digest.as_str().to_owned());
        let details = row.details.as_deref();
        let from = details.and_then(|details| known(&details.digest));
        let to = details.and_then(|details| known(&details.newest));
        Some(match &row.state {
            State::Ended(finished) => Self {
                log: finished.log.clone(),
                health: finished.health.clone(),
                seconds: Some(finished.took.as_secs()),
                ..plain(digest(&finished.from), digest(&finished.to), cause_of(finished))
            },
            // The run that has it in hand reports it.
            State::Held(held) if held.why == NotBegunReason::UnderWay => return None,
            State::Held(held) => {
                let why = why_held(&held.why).unwrap_or_else(|| held.why.name().to_owned());
                plain(digest(&held.from), digest(&held.to), why)
            }
            State::Error(cause) => plain(from, to, cause.clone()),
            State::NeedsAttention(what) => plain(from, to, what.to_string()),
            State::Waits | State::UpToDate | State::LeftAlone(_) | State::Updating => return None,
        })
    }
}

fn cause_of(finished: &crate::model::finished::Finished) -> String {
    let words = finished.outcome.to_string();
    if words == finished.outcome.name() { String::new() } else { words }
}
