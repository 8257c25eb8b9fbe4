//! Answers of the API as text for a terminal. Pure.
//!
//! Names, causes and last words are foreign text: what a terminal would obey is taken out.

mod approval;
mod parts;
mod plan;
mod progress;
mod quarantine;
mod run;
mod service;
mod state;
#[cfg(test)]
mod tests;

pub(super) use approval::{approved, waiting};
pub(super) use plan::plan;
pub(super) use progress::{News, Progressed};
pub(super) use quarantine::quarantine;
pub(super) use run::{history, run};
pub(super) use service::explain;
pub(super) use state::{paused, status};
