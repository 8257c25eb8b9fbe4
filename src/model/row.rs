//! How one service stands in a run. Pure.

use super::attention::Attention;
use super::cause::Cause;
use super::decision::{Decision, Planned, Reason};
use super::finished::{Finished, Held};
use super::outcome::Outcome;

/// How a service stands.
#[derive(Clone, Debug)]
pub struct Row {
    /// The service's name.
    pub service: String,
    /// Its image without the digest; empty where it runs no container.
    pub image: String,
    /// How it stands.
    pub state: State,
}

/// How a service stands in a run.
#[derive(Clone, Debug)]
pub enum State {
    /// Its update waits for its turn.
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
    Held(Held),
    /// Its update has ended.
    Ended(Box<Finished>),
}

impl State {
    /// What a decision makes of a service.
    pub fn of(decision: &Decision) -> Self {
        match decision {
            Decision::Update(_) => Self::Waits,
            Decision::Later(_, hand) => Self::Held(Held::OtherHand(*hand)),
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
            Self::LeftAlone(_) => "left alone",
            Self::NeedsAttention(_) => "needs attention",
            Self::Error(_) => "error",
            Self::Updating => "updating",
            Self::Held(held) => held.name(),
            Self::Ended(finished) => finished.outcome.name(),
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

impl From<&Planned> for Row {
    fn from(planned: &Planned) -> Self {
        let Planned { service, image, decision, .. } = planned;
        Self { service: service.clone(), image: image.clone(), state: State::of(decision) }
    }
}
