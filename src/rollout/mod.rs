//! Stage 4: the updates, some at a time, each watched to its outcome.
//!
//! `send` writes, `watch` looks, [`machine`] judges. [`Rollouts`] moves values between them.

pub use self::rollouts::Rollouts;

mod aftercare;
mod attempts;
mod begin;
mod budget;
mod cluster;
mod conditions;
pub mod convergence;
#[cfg(test)]
mod every_interleaving;
mod follow;
mod go_on;
pub mod guard;
mod last_words;
pub mod machine;
pub mod openings;
mod ordering;
pub mod pace;
mod paused;
mod placing;
mod queue;
pub mod rolled_out;
pub(crate) mod rollouts;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod send;
mod session;
mod wait_notices;
mod watch;
mod workers;
