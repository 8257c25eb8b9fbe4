//! Gates: which new images a service accepts, and when. Pure.
//!
//! A gate decides about the beginning of an update and about nothing else: what is under way, rolls back or is cleaned up
//! asks no gate. A gate that cannot be evaluated stays shut and says why. A service that a gate holds is no failure.

use jiff::Timestamp;

pub mod age;
pub mod approval;
pub mod command;
#[cfg(test)]
mod cost;
pub mod order;
pub mod tags;
pub mod window;

/// A gate, in the order in which they are asked: what is in memory first, registries last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// Which tags the service accepts.
    Tags,
    /// For how long Gantry must have known a digest.
    Age,
    /// Whether a user must approve a digest.
    Approval,
    /// Whether a digest must be signed.
    Signature,
    /// Whether a node can run it.
    Platform,
    /// What a command of the user says.
    Command,
    /// When updates may begin. Asked where an update begins.
    Window,
    /// Which services come first. Asked where an update begins.
    Order,
}

impl Gate {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Tags,
        Self::Age,
        Self::Approval,
        Self::Signature,
        Self::Platform,
        Self::Command,
        Self::Window,
        Self::Order,
    ];

    /// Its name in API and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::Age => "age",
            Self::Approval => "approval",
            Self::Signature => "signature",
            Self::Platform => "platform",
            Self::Command => "command",
            Self::Window => "window",
            Self::Order => "order",
        }
    }
}

/// Why a gate holds an image back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The gate.
    pub gate: Gate,
    /// Why, in words that are the same at each look: with times, not with what is left of them.
    pub why: String,
    /// When the gate opens by itself, where that is known.
    pub until: Option<Timestamp>,
}
