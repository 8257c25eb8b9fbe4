//! One cycle, from looking to reporting: the stages in order, each one call.
//!
//! Each stage takes the previous one's value and returns its own. Nothing here ends the process, and
//! what concerns one service is a value in the report, never an early return.

use std::sync::Arc;

use anyhow::Result;

use crate::registry::{Keyring, Registry};
use crate::swarm::Swarm;

pub mod cleanup;
mod context;
pub mod discover;
pub mod inspect;
pub mod plan;
pub mod remover;
pub mod report;
pub mod resume;
pub mod rollout;

pub use self::context::{Context, Itself};
pub use self::report::Report;

/// Runs one cycle. An error that concerns all services is part of the report as well.
pub async fn run<S: Swarm, R: Registry>(context: &Arc<Context<S, R>>) -> Report {
    let mut report = Report::default();
    if let Err(error) = stages(context, &mut report).await {
        report.error = Some(format!("{error:#}"));
    }
    report.is_interrupted = context.stop.is_cancelled();
    report
}

async fn stages<S: Swarm, R: Registry>(context: &Arc<Context<S, R>>, report: &mut Report) -> Result<()> {
    context.beat();
    let found = discover::discover(context).await?;
    let keyring = Keyring::open(&context.credential_sources())?;

    let selection = Arc::new(context.config.services.clone());

    // Ourselves first, to the end: the others are looked at by the newest Gantry.
    for candidates in [found.itself, found.others] {
        if context.stop.is_cancelled() {
            break;
        }
        let inspected = inspect::inspect(context, &keyring, &found.hosts, candidates).await;
        let planned = plan::plan(&inspected, &selection);
        drop(inspected);
        let (finished, not_begun) = rollout::roll_out(context, report.take_decisions(planned)).await;
        report.finished.extend(finished);
        report.not_begun += not_begun;
    }
    report.cleanup = cleanup::clean_up(context, &keyring, &report.finished).await;
    Ok(())
}
