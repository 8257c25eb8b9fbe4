//! One cycle, from looking to reporting: the stages in order, each one call.
//!
//! Each stage takes the previous one's value and returns its own. Nothing here ends the process, and
//! what concerns one service is a value in the report, never an early return.

use std::sync::Arc;

use anyhow::Result;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::heartbeat::Heartbeat;
use crate::image::ImageRef;
use crate::registry::{Keyring, Registry};
use crate::swarm::Swarm;

pub mod cleanup;
pub mod discover;
pub mod inspect;
pub mod plan;
pub mod remover;
pub mod report;
pub mod rollout;

pub use self::report::Report;

/// What a cycle works with.
#[derive(Debug)]
pub struct Context<S, R> {
    /// What Gantry was told.
    pub config: Arc<Config>,
    /// The swarm.
    pub swarm: Arc<S>,
    /// The registries.
    pub registry: Arc<R>,
    /// Our own service, when we run as one.
    pub itself: Option<Itself>,
    /// Cancelled when no new work is to begin.
    pub stop: CancellationToken,
    /// Beats while work goes on.
    pub heartbeat: Heartbeat,
}

/// Our own service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Itself {
    /// Its name.
    pub name: String,
    /// Its image, as its specification has it: what the image remover runs.
    pub image: Option<String>,
    /// The image that our own update replaced, until it is cleaned up: who began the update could not do it.
    pub replaced: Option<ImageRef>,
    /// Where the engine's socket is on the host, when we have it from there.
    pub socket: Option<String>,
}

impl<S, R> Context<S, R> {
    fn itself_name(&self) -> Option<&str> {
        let named = self.config.services.itself.as_deref();
        named.or_else(|| self.itself.as_ref().map(|itself| itself.name.as_str()))
    }

    fn beat(&self) {
        self.heartbeat.beat(Instant::now());
    }
}

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
    let keyring = Keyring::open(&context.config.credential_sources())?;

    let selection = Arc::new(context.config.services.clone());

    // Ourselves first, to the end: the others are looked at by the newest Gantry.
    for candidates in [found.itself, found.others] {
        if context.stop.is_cancelled() {
            break;
        }
        let inspected = inspect::inspect(context, &keyring, &found.hosts, candidates).await;
        let planned = plan::plan(&inspected, &selection);
        drop(inspected);
        let updates = report.take_decisions(planned);
        let planned = updates.len();
        let finished = rollout::roll_out(context, updates).await;
        if context.stop.is_cancelled() {
            report.not_begun += planned.saturating_sub(finished.len());
        }
        report.finished.extend(finished);
    }
    report.cleanup = cleanup::clean_up(context, &keyring, &report.finished).await;
    Ok(())
}
