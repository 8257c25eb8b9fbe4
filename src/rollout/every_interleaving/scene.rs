//! One step of one Gantry: what it may see and change.

use super::gantry::Gantry;
use super::library::Library;
use super::world::World;

/// An error says which promise is broken.
pub(super) type Verdict = Result<(), String>;

/// What the model is made of.
pub(super) struct Model {
    pub(super) library: Library,
    /// A fault that is planted.
    pub(super) fault: Option<Fault>,
}

/// Faults of the code around the pure parts, each of which the search must find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// The session begins and sends updates without asking whether the lease allows it.
    BeginsWithoutLease,
    /// The session does not take out what a look has found to be outdated.
    SkipsTakeOut,
    /// A look does not set the services apart that are under way.
    ForgetsUnderWay,
    /// Reports leave out the updates that a newer digest has replaced.
    ForgetsWithdrawn,
    /// An update that has ended still counts as under way.
    ForgetsEnd,
}

/// What becomes of a write and its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    Heard,
    /// The write arrives, and its answer does not.
    Lost,
    /// The write does not arrive.
    NotSent,
}

/// One process at work, beside another one.
pub(super) struct Scene<'a> {
    pub(super) model: &'a Model,
    pub(super) world: &'a mut World,
    pub(super) me: &'a mut Gantry,
    pub(super) other: &'a Gantry,
}

impl Answer {
    pub(super) fn arrives(self) -> bool {
        self != Self::NotSent
    }

    pub(super) fn is_heard(self) -> bool {
        self == Self::Heard
    }
}
