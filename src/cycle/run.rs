//! A run from its look to its report.

use std::sync::Arc;

use tracing::{Instrument as _, Span};

use super::cleanup;
use super::look::{Looked, Next, look};
use super::report::Report;
use crate::context::Context;
use crate::model::event::Event;
use crate::registry::Registry;
use crate::rollout::Rollouts;
use crate::swarm::Swarm;

/// A run whose look is over. Its updates are under way.
#[derive(Debug)]
pub struct Run<S, R> {
    context: Arc<Context<S, R>>,
    rollouts: Arc<Rollouts<S, R>>,
    report: Report,
    /// What the look came to, or why there was none.
    looked: Result<Box<Looked>, String>,
}

/// Begins a run with its look. An error that concerns all services is part of the report as well.
pub async fn begin<S: Swarm, R: Registry>(
    context: Arc<Context<S, R>>,
    rollouts: Arc<Rollouts<S, R>>,
) -> Run<S, R> {
    context.ledger.run_begins();
    let look = async {
        loop {
            context.events.emit(&Event::RunBegan);
            let mut report = Report { is_partial: !context.scope.is_everything(), ..Report::default() };
            match look(&context, &rollouts, &mut report).await {
                Ok(Next::LookAgain) => {}
                Ok(Next::Done(looked)) => return (report, Ok(looked)),
                Err(error) => return (report, Err(format!("{error:#}"))),
            }
        }
    };
    let (report, looked) = look.instrument(context.span.clone()).await;
    Run { context, rollouts, report, looked }
}

impl<S: Swarm, R: Registry> Run<S, R> {
    /// What its lines of the log are marked with.
    pub fn span(&self) -> Span {
        self.context.span.clone()
    }

    /// Whether it has updates that are under way or wait.
    pub fn has_updates(&self) -> bool {
        self.looked.as_ref().is_ok_and(|looked| looked.handed_in.is_some())
    }

    /// Waits for its updates, cleans up after them, and reports.
    pub async fn end(self) -> Report {
        let span = self.context.span.clone();
        self.finish().instrument(span).await
    }

    async fn finish(self) -> Report {
        let Self { context, rollouts, mut report, looked } = self;
        match looked {
            Ok(looked) => {
                let Looked { keyring, hub, handed_in } = *looked;
                if let Some(handed_in) = handed_in {
                    match handed_in.await {
                        Ok(rolled_out) => report.take_rollout(rolled_out),
                        Err(_) => {
                            report.error = Some("the rollout ended by a fault of Gantry's own".to_owned());
                        }
                    }
                }
                context.events.emit(&Event::NotBegun(report.held().cloned().collect()));
                report.cleanup = cleanup::clean_up(&context, &keyring, &report.rows, rollouts.needed()).await;
                report.hub = hub.after(&context).await;
            }
            Err(error) => report.error = Some(error),
        }
        report.error = report.error.take().or_else(|| context.engine_role.lost());
        report.is_interrupted = context.stop.is_cancelled();
        let left = report.left_behind(context.ledger.left_behind(), context.itself_name());
        context.ledger.run_ends(&*context.swarm, left).await;
        context.events.emit(&Event::RunEnded);
        report
    }
}
