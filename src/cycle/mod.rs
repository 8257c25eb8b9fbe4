//! One cycle, from looking to reporting: the stages in order, each one call.
//!
//! Each stage returns a value. What concerns one service is a value in the report, never an early return.

use std::sync::Arc;

use anyhow::{Error, Result};

use crate::context::Context;
use crate::ledger::turn::Turn;
use crate::model::earlier::Earlier;
use crate::model::event::Event;
use crate::model::row::Row;
use crate::registry::{Keyring, Registry};
use crate::rollout;
use crate::swarm::Swarm;

pub mod by_hand;
pub mod cleanup;
pub mod discover;
pub mod gone_back;
pub mod hub;
pub mod inspect;
pub mod plan;
pub mod remover;
pub mod report;
pub mod resume;
mod turn;

pub use self::report::Report;

/// Runs one cycle. An error that concerns all services is part of the report as well.
pub async fn run<S: Swarm, R: Registry>(context: &Arc<Context<S, R>>) -> Report {
    let mut report = Report::default();
    let work = async {
        loop {
            context.events.emit(&Event::RunBegan);
            match stages(context, &mut report).await {
                Ok(Next::LookAgain) => report = Report::default(),
                Ok(Next::Done) => return None,
                Err(error) => return Some(format!("{error:#}")),
            }
        }
    };
    let error = tokio::select! {
        error = work => error,
        () = context.ledger.keep(&*context.swarm) => None,
    };
    report.error = error.or_else(|| context.standing.lost());
    report.is_interrupted = context.stop.is_cancelled();
    let left = report.left_behind(context.ledger.left_behind(), context.itself_name());
    context.ledger.give_back(&*context.swarm, &left).await;
    context.events.emit(&Event::RunEnded);
    report
}

enum Next {
    Done,
    /// Another Gantry has been at work since the stages looked. Its lease is over, and it is ours now.
    LookAgain,
}

async fn stages<S: Swarm, R: Registry>(context: &Arc<Context<S, R>>, report: &mut Report) -> Result<Next> {
    context.beat();
    let found = discover::discover(context).await?;
    let keyring = context.beating(Keyring::open(&context.credential_sources())).await?;
    let hub = hub::before(context, &keyring, found.itself.iter().chain(&found.others)).await;
    // Ourselves first, to the end: the others are looked at by the newest Gantry.
    for candidates in [found.itself, found.others] {
        if context.stop.is_cancelled() {
            break;
        }
        let mut inspected = inspect::inspect(context, &keyring, &found.hosts, candidates).await;
        turn::ask_tasks(context, &mut inspected).await;
        let quarantine = context.quarantine();
        let tags = gone_back::look(context, &inspected, &quarantine);
        let planned = tags.hold(plan::plan(&inspected, &context.selection(), &quarantine));
        let planned = quarantine.hold_what_finds_no_room(&inspected, planned);
        context.events.emit(&Event::Decided(planned.iter().cloned().map(|it| Row::decided(it).0).collect()));
        let earlier = Earlier::of(&inspected, &planned, &quarantine);
        let turn = turn::take(context, &inspected, &planned, &tags, found.newest).await;
        drop(inspected);
        match turn {
            Turn::Ours => {}
            Turn::OursAfterWait => return Ok(Next::LookAgain),
            Turn::Failed { cause } => return Err(Error::new(cause).context("cannot write the ledger")),
            Turn::NotOurs { .. } | Turn::Stopped => {
                report.postpone(planned, &turn);
                break;
            }
        }
        let rolled_out = rollout::roll_out(context, report.take_decisions(planned), earlier).await;
        rolled_out.stopped.iter().for_each(|stopped| context.remember_stopped(stopped));
        report.take_rollout(rolled_out);
    }
    context.events.emit(&Event::NotBegun(report.held().cloned().collect()));
    report.cleanup = cleanup::clean_up(context, &keyring, &report.rows).await;
    report.hub = hub.after(context).await;
    Ok(Next::Done)
}
