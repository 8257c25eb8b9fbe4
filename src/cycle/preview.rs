//! `gantry plan`: what a run would do now, without doing it.

use std::sync::Arc;

use anyhow::Result;

use super::by_hand::apart;
use super::gates::Remember;
use super::look::{Decided, decide};
use super::{discover, gates, inspect, lease, tags};
use crate::config::Config;
use crate::context::RunScope;
use crate::ledger::steered::UserPause;
use crate::model::row::Row;
use crate::registry::{Keyring, Registry};
use crate::rollout::rollouts::Known;
use crate::swarm::Swarm;

/// What a run would do now.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The services, sorted by name.
    pub rows: Vec<Row>,
    /// The user's word that no update begins, where there is one.
    pub pause: Option<UserPause>,
}

/// What a run of this scope would decide on each service now. The registries are asked. Nothing is written,
/// and no lease is taken.
///
/// # Errors
/// What would end the run: the engine cannot be asked, or the ledger cannot be read.
pub async fn preview<S: Swarm, R: Registry>(
    config: &Arc<Config>,
    swarm: &Arc<S>,
    registry: &Arc<R>,
    scope: RunScope,
) -> Result<Preview> {
    let context = apart(config, swarm, registry, scope);
    let found = discover::discover(&context, &Known::default()).await?;
    let keyring = Keyring::open(&context.credential_sources()).await?;
    let candidates = found.itself.into_iter().chain(found.others).collect();
    let mut inspected = inspect::inspect(&context, &keyring, &found.hosts, candidates).await;
    tags::look(&context, &mut inspected).await;
    lease::ask_tasks(&context, &mut inspected).await;
    gates::pass(&context, &mut inspected, Remember::No).await;
    let Decided { planned, .. } = decide(&context, &inspected);
    let mut rows: Vec<Row> = planned.into_iter().map(|planned| Row::decided(planned).0).collect();
    rows.sort_by(|a, b| a.service.cmp(&b.service));
    Ok(Preview { rows, pause: context.ledger.pause() })
}
