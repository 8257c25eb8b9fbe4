//! One run, from looking to reporting: the stages in order, each one call.
//!
//! Each stage returns a value. What concerns one service is a value in the report, never an early return. Runs may overlap:
//! their looks follow one another, and what they [roll out](Rollouts) goes on side by side.

use std::sync::Arc;

use crate::context::Context;
use crate::registry::Registry;
use crate::rollout::Rollouts;
use crate::swarm::Swarm;

mod accept;
pub mod by_hand;
pub mod cleanup;
pub mod discover;
mod gates;
pub mod gone_back;
pub mod hub;
pub mod inspect;
mod lease;
pub mod look;
mod newest;
mod offer;
mod order;
pub mod plan;
pub mod preview;
pub mod remover;
pub mod report;
pub mod resume;
pub mod run;
mod tags;
mod windows;

pub use self::report::Report;

/// Does one run alone.
pub async fn run<S: Swarm, R: Registry>(context: &Arc<Context<S, R>>) -> Report {
    let rollouts = Arc::new(Rollouts::default());
    // On the heap, as they are large.
    let drive = Box::pin(rollouts.drive());
    let work = Box::pin(async { run::begin(context.clone(), rollouts.clone()).await.end().await });
    tokio::select! {
        report = work => report,
        () = drive => unreachable!("it goes on for as long as it is polled"),
        () = context.ledger.keep_for_runs(&*context.swarm) => unreachable!("it goes on for as long as it is polled"),
    }
}
