//! One service, as page and API show it. Pure.

use std::sync::Arc;

use jiff::Timestamp;

use super::rule::Rule;
use crate::config::ServicePolicy;
use crate::gate::Refusal;
use crate::image::{Digest, ImageRef};
use crate::model::decision::{Details, Reason};
use crate::model::finished::{Finished, NotBegunReason};
use crate::model::held_back::Why;
use crate::model::outcome::Outcome;
use crate::model::row::{Row, State};
use crate::swarm::ServiceStatus;

/// How a service stands, in the words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceState {
    /// It has the image that its registry has.
    UpToDate,
    /// Its update or rollback is under way.
    Updating,
    /// Its update begins when others have ended.
    Waiting,
    /// Its update does not begin, by a rule or for a reason that ends by itself.
    Held,
    /// The newest digest is in quarantine.
    Quarantined,
    /// Gantry is not to update it.
    LeftAlone,
    /// It does not run as it should.
    NeedsAttention,
    /// Its rollback has failed.
    RollbackFailed,
    /// Gantry cannot tell whether it needs an update.
    Error,
}

impl ServiceState {
    /// All states, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::UpToDate,
        Self::Updating,
        Self::Waiting,
        Self::Held,
        Self::Quarantined,
        Self::LeftAlone,
        Self::NeedsAttention,
        Self::RollbackFailed,
        Self::Error,
    ];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::Updating => "updating",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Quarantined => "quarantined",
            Self::LeftAlone => "left_alone",
            Self::NeedsAttention => "needs_attention",
            Self::RollbackFailed => "rollback_failed",
            Self::Error => "error",
        }
    }

    /// Its letter where each service of an image is one letter.
    pub fn letter(self) -> char {
        match self {
            Self::UpToDate => 'u',
            Self::Updating => 'p',
            Self::Waiting => 'w',
            Self::Held => 'h',
            Self::Quarantined => 'q',
            Self::LeftAlone => 'l',
            Self::NeedsAttention => 'a',
            Self::RollbackFailed => 'f',
            Self::Error => 'e',
        }
    }

    /// Whether a person should look at the service.
    pub fn wants_attention(self) -> bool {
        matches!(self, Self::NeedsAttention | Self::RollbackFailed | Self::Error)
    }
}

/// What there is to say of a service that has the newest image.
const NEWEST: &str = "runs the newest image";

/// What there is to say of an update that goes on.
const UNDER_WAY: &str = "its update is under way";

/// A service, as page and API show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownService {
    /// Its image without the digest.
    pub image: String,
    /// How it stands.
    pub state: ServiceState,
    /// Why, in words.
    pub why: String,
    /// The digest in its specification.
    pub digest: Option<Digest>,
    /// The digest that its registry has.
    pub newest: Option<Digest>,
    /// How many of its tasks ran and should have run when it was looked at.
    pub tasks: Option<ServiceStatus>,
    /// The rule that decided; `None`: none speaks against the newest image.
    pub rule: Option<Rule>,
    /// Why it is left alone, in one word.
    pub left_alone: Option<&'static str>,
    /// The image that its gates hold, pinned to its digest. Its tag may be newer than that of the service.
    pub offers: Option<ImageRef>,
    /// What its gates say, where one holds it, in their order.
    pub refusals: Vec<Refusal>,
    /// Its settings; `None`: its labels cannot be read, or it was not looked at yet.
    pub policy: Option<Arc<ServicePolicy>>,
    /// The account for its registry, without its secret.
    pub account: Option<String>,
    /// What there is to tell of the tags that it accepts.
    pub tags: Option<String>,
    /// The last lines of its failed task's output.
    pub log: Vec<String>,
    /// The last output of its health check.
    pub health: Option<String>,
    /// Since when it has stood so.
    pub since: Timestamp,
    /// The run that said so.
    pub run: u64,
    /// The board's revision at its last change.
    pub changed: u64,
}

impl ShownService {
    /// Takes over what was known before and still holds. Returns whether anything is different for people.
    pub(super) fn follow(&mut self, before: Option<&Self>) -> bool {
        let Some(before) = before else { return true };
        if before.state == self.state && before.why == self.why {
            self.since = before.since;
        }
        // The last words of a failure stand until the service is well again.
        if !matches!(self.state, ServiceState::UpToDate | ServiceState::Updating) && self.log.is_empty() {
            self.log.clone_from(&before.log);
            self.health = self.health.take().or_else(|| before.health.clone());
        }
        self.tasks = self.tasks.or(before.tasks);
        if self.policy.is_none() && self.rule != Some(Rule::Labels) {
            self.policy.clone_from(&before.policy);
            self.account = self.account.take().or_else(|| before.account.clone());
            self.tags = self.tags.take().or_else(|| before.tags.clone());
        }
        self.changed = before.changed;
        // Another run that says the same is nothing new.
        let run = std::mem::replace(&mut self.run, before.run);
        let is_different = self != before;
        self.run = run;
        is_different
    }

    /// What holds it, in one word: a gate, or anything else; `None`: nothing does.
    pub(super) fn held_by(&self) -> Option<&'static str> {
        let gate = self.refusals.first().map(|refusal| refusal.gate.name());
        (self.state == ServiceState::Held).then(|| gate.unwrap_or("other"))
    }

    /// A service that is being updated.
    pub(super) fn updating(from: &ImageRef, to: &ImageRef) -> Self {
        Self {
            digest: from.digest().cloned(),
            newest: to.digest().cloned(),
            ..Self::new(to.tagged(), ServiceState::Updating, UNDER_WAY.to_owned())
        }
    }

    /// What a run says of a service; `None`: another run has it in hand, or it is gone.
    pub(super) fn of_row(row: &Row) -> Option<Self> {
        let (state, why) = match &row.state {
            State::Waits => (ServiceState::Waiting, "its update begins when others have ended".to_owned()),
            State::UpToDate => (ServiceState::UpToDate, NEWEST.to_owned()),
            State::LeftAlone(reason) => (of_reason(reason), reason.to_string()),
            State::NeedsAttention(what) => (ServiceState::NeedsAttention, what.to_string()),
            State::Error(cause) => (ServiceState::Error, cause.clone()),
            State::Updating => (ServiceState::Updating, UNDER_WAY.to_owned()),
            State::Held(held) => (ServiceState::Held, why_held(&held.why)?),
            State::Ended(finished) => return Self::of_end(finished),
        };
        let details = row.details.as_deref().cloned().unwrap_or_default();
        let rule = Rule::of_row(row);
        let left_alone = match &row.state {
            State::LeftAlone(reason) => Some(reason.name()),
            _ => None,
        };
        let (offers, refusals) = match &row.state {
            State::LeftAlone(Reason::Held(held)) => {
                (Some(held.image.clone()), held.refusals().cloned().collect())
            }
            State::Held(held) => (None, held.refusal().cloned().into_iter().collect()),
            _ => (None, Vec::new()),
        };
        let Details { digest, newest, tasks, policy, account, tags } = details;
        Some(Self {
            digest,
            newest,
            tasks,
            rule,
            left_alone,
            offers,
            refusals,
            policy,
            account,
            tags,
            ..Self::new(row.image.clone(), state, why)
        })
    }

    /// How an update has left a service; `None`: it is gone.
    pub(super) fn of_end(finished: &Finished) -> Option<Self> {
        let Finished { from, to, outcome, log, health, .. } = finished;
        let state = match outcome {
            Outcome::Removed => return None,
            Outcome::Updated | Outcome::UpdatedBut(_) | Outcome::Started(_) => ServiceState::UpToDate,
            Outcome::Unchanged(_) if !outcome.is_left_behind() => ServiceState::UpToDate,
            Outcome::Unchanged(_) | Outcome::Postponed(_) | Outcome::Interrupted => ServiceState::Held,
            Outcome::RolledBack { .. } | Outcome::Failed { .. } | Outcome::Overtaken { .. } => {
                ServiceState::NeedsAttention
            }
            Outcome::RollbackFailed { .. } => ServiceState::RollbackFailed,
            Outcome::Superseded(_) | Outcome::TakenBack(_) => ServiceState::LeftAlone,
        };
        let why = if matches!(outcome, Outcome::Updated) { NEWEST.to_owned() } else { outcome.to_string() };
        let has_new = state == ServiceState::UpToDate || matches!(outcome, Outcome::Failed { .. });
        Some(Self {
            rule: (state != ServiceState::UpToDate).then_some(Rule::Outcome),
            digest: if has_new { to.digest() } else { from.digest() }.cloned(),
            newest: to.digest().cloned(),
            log: log.clone(),
            health: health.clone(),
            ..Self::new(to.tagged(), state, why)
        })
    }

    fn new(image: String, state: ServiceState, why: String) -> Self {
        Self {
            image,
            state,
            why,
            digest: None,
            newest: None,
            tasks: None,
            rule: None,
            left_alone: None,
            offers: None,
            refusals: Vec::new(),
            policy: None,
            account: None,
            tags: None,
            log: Vec::new(),
            health: None,
            since: Timestamp::UNIX_EPOCH,
            run: 0,
            changed: 0,
        }
    }
}

fn of_reason(reason: &Reason) -> ServiceState {
    match reason {
        Reason::HeldBack(held) if held.why != Why::LeftByHand => ServiceState::Quarantined,
        Reason::GoneBack(_)
        | Reason::LedgerFull(_)
        | Reason::NotAsked
        | Reason::TasksUnknown
        | Reason::Held(_) => ServiceState::Held,
        Reason::RollingBack => ServiceState::Updating,
        _ => ServiceState::LeftAlone,
    }
}

/// Why an update did not begin; `None`: another run says it.
pub(super) fn why_held(held: &NotBegunReason) -> Option<String> {
    Some(match held {
        // The run that has it in hand, or the one that took it over, says more.
        NotBegunReason::Withdrawn | NotBegunReason::UnderWay => return None,
        NotBegunReason::RolloutStopped => "the rollout of its image was stopped".to_owned(),
        NotBegunReason::Unproven => {
            "no node takes its tasks, and no other service has shown that the image works".to_owned()
        }
        NotBegunReason::Interrupted => "Gantry was stopped before its update began".to_owned(),
        NotBegunReason::Postponed => {
            "another Gantry is rolling out, or the cluster is not fit for updates".to_owned()
        }
        NotBegunReason::OtherHand(hand) => hand.to_string(),
        NotBegunReason::Gate(refusal) => refusal.why.clone(),
        NotBegunReason::TakenBack => {
            "a user or another program rolled back another service of this image".to_owned()
        }
    })
}
