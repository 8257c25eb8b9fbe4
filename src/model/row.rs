//! How one service stands in a run, and the groups of services that stand alike. Pure.

use std::collections::BTreeMap;

use super::attention::Attention;
use super::cause::Cause;
use super::decision::{Decision, Details, Planned, Reason};
use super::finished::{Finished, NotBegun, NotBegunReason};
use super::outcome::Outcome;
use super::update::Update;

/// How a service stands.
#[derive(Clone, Debug)]
pub struct Row {
    /// The service's name.
    pub service: String,
    /// Its image without the digest; empty where it runs no container.
    pub image: String,
    /// How it stands.
    pub state: State,
    /// Whether its last change may be an update that an earlier run began and did not judge.
    pub is_left_behind: bool,
    /// What the look showed of it; `None` where a later stage made the row, or nothing more is told of it.
    pub details: Option<Box<Details>>,
}

/// How a service stands in a run.
#[derive(Clone, Debug)]
pub enum State {
    /// Its update waits for others.
    Waits,
    /// It has what the registry has.
    UpToDate,
    /// Gantry leaves it alone.
    LeftAlone(Reason),
    /// It does not run as it should.
    NeedsAttention(Attention),
    /// Whether it needs an update cannot be told; why, in words.
    Error(String),
    /// Its update, or a rollback, is under way.
    Updating,
    /// Its update did not begin.
    Held(Box<NotBegun>),
    /// Its update has ended.
    Ended(Box<Finished>),
}

impl State {
    /// What a decision makes of a service.
    fn of(decision: &Decision) -> Self {
        match decision {
            Decision::Update(_) => Self::Waits,
            Decision::Later(update, hand) => {
                let (from, to, why) =
                    (update.from.clone(), update.to.clone(), NotBegunReason::OtherHand(*hand));
                Self::Held(Box::new(NotBegun { from, to, why }))
            }
            Decision::UpToDate => Self::UpToDate,
            Decision::NeedsAttention { what, .. } => Self::NeedsAttention(what.clone()),
            Decision::LeftAlone(reason) => Self::LeftAlone(reason.clone()),
            Decision::Error(cause) => Self::Error(cause.clone()),
        }
    }

    /// The name under which summaries count it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waits => "waiting",
            Self::UpToDate => "up to date",
            Self::LeftAlone(Reason::Held(_)) => "held",
            Self::LeftAlone(_) => "left alone",
            Self::NeedsAttention(_) => "needs attention",
            Self::Error(_) => "error",
            Self::Updating => "updating",
            Self::Held(held) => held.why.name(),
            Self::Ended(finished) => finished.outcome.name(),
        }
    }

    /// Whether something failed that makes a run fail.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Error(_) => true,
            Self::NeedsAttention(what) => what.is_failure(),
            Self::Ended(finished) => finished.outcome.is_failure(),
            _ => false,
        }
    }

    /// Whether the service still waits for an update that it should have, though nothing failed.
    pub fn is_incomplete(&self) -> bool {
        match self {
            Self::Held(held) => held.why.is_left_behind(),
            Self::LeftAlone(reason) => reason.is_for_now(),
            Self::Ended(finished) => finished.outcome.is_left_behind(),
            _ => false,
        }
    }

    /// How late in a run it comes.
    pub(super) fn stage(&self) -> u8 {
        match self {
            Self::Waits | Self::UpToDate | Self::LeftAlone(_) | Self::NeedsAttention(_) | Self::Error(_) => 0,
            Self::Updating => 1,
            Self::Held(_) => 2,
            Self::Ended(finished) if is_second_thought(&finished.outcome) => 4,
            Self::Ended(_) => 3,
        }
    }
}

/// Whether an outcome takes the place of the success that the service's update was called before.
fn is_second_thought(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::TakenBack(_)) || matches!(outcome.cause(), Some(Cause::Late { .. }))
}

impl Row {
    /// What a decision makes of a service, and the update that follows.
    pub fn decided(planned: Planned) -> (Self, Option<Update>) {
        let Planned { service, image, decision, is_left_behind, details } = planned;
        let state = State::of(&decision);
        let next = match decision {
            Decision::Update(update) => Some(*update),
            _ => None,
        };
        (Self { service, image, state, is_left_behind, details: Some(Box::new(details)) }, next)
    }

    /// The row of a decision that has still to be carried out.
    pub fn of_decision(planned: &Planned) -> Self {
        let Planned { service, image, decision, is_left_behind, details } = planned;
        Self {
            service: service.clone(),
            image: image.clone(),
            state: State::of(decision),
            is_left_behind: *is_left_behind,
            details: Some(Box::new(details.clone())),
        }
    }

    /// The row of an update that does not begin.
    pub fn held(update: Update, why: NotBegunReason) -> Self {
        let Update { service, from, to, .. } = update;
        Self::not_begun(service, NotBegun { from, to, why })
    }

    /// The row of a service whose update does not begin.
    pub fn not_begun(service: String, not_begun: NotBegun) -> Self {
        let image = not_begun.to.tagged();
        Self::new(service, image, State::Held(Box::new(not_begun)))
    }

    /// The row of a service without further details.
    pub fn new(service: String, image: String, state: State) -> Self {
        Self { service, image, state, is_left_behind: false, details: None }
    }

    /// Why its update did not begin.
    pub fn why_held(&self) -> Option<&NotBegunReason> {
        if let State::Held(held) = &self.state { Some(&held.why) } else { None }
    }

    /// How its update ended.
    pub fn finished(&self) -> Option<&Finished> {
        if let State::Ended(finished) = &self.state { Some(finished) } else { None }
    }
}

impl From<Finished> for Row {
    /// An update that Gantry did not send because of another party counts as one that did not begin.
    fn from(finished: Finished) -> Self {
        let (service, image) = (finished.service.clone(), finished.to.tagged());
        let state = if let Outcome::Postponed(hand) = finished.outcome {
            let Finished { from, to, .. } = finished;
            State::Held(Box::new(NotBegun { from, to, why: NotBegunReason::OtherHand(hand) }))
        } else {
            State::Ended(Box::new(finished))
        };
        Self::new(service, image, state)
    }
}

/// The rows of each key, in their order. Rows without a key are in no group.
pub fn groups<'a, K: Ord>(
    rows: impl IntoIterator<Item = &'a Row>,
    key: impl Fn(&'a Row) -> Option<K>,
) -> BTreeMap<K, Vec<&'a Row>> {
    let mut groups: BTreeMap<K, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        if let Some(key) = key(row) {
            groups.entry(key).or_default().push(row);
        }
    }
    groups
}

/// How many services stand in which way, by the names of summaries.
pub fn counts<'a>(rows: impl IntoIterator<Item = &'a Row>) -> BTreeMap<&'static str, usize> {
    groups(rows, |row| Some(row.state.name())).into_iter().map(|(name, rows)| (name, rows.len())).collect()
}

/// The names of these services.
pub fn names<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    rows.iter().map(|row| row.service.as_str()).collect()
}

#[cfg(test)]
impl Row {
    /// A service of `app:1`.
    pub(crate) fn sample(service: &str, state: State) -> Self {
        Self::new(service.to_owned(), "app:1".to_owned(), state)
    }

    /// A service of `app:1` whose update did not begin.
    pub(crate) fn sample_held(service: &str, why: NotBegunReason) -> Self {
        let image = || "app:1".parse().unwrap();
        Self::sample(service, State::Held(Box::new(NotBegun { from: image(), to: image(), why })))
    }
}
