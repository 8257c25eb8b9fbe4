//! Docker Hub's rate: what it still allows before and after a cycle that asks it.
//!
//! Learning it costs a request that Docker Hub does not count. It is good to know and no reason to wait or to
//! fail: what cannot be learnt is not told.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;

use super::inspect::question;
use crate::context::Context;
use crate::image::DOCKER_HUB;
use crate::model::candidate::Candidate;
use crate::model::event::Event;
use crate::registry::credentials::LoginQuery;
use crate::registry::{Credentials, HubRate, Keyring, Registry, RegistryError};

/// What Docker Hub allowed one account, or this address without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubPulls {
    /// The account's name; `None`: no account, the address counts.
    pub account: Option<String>,
    /// What was left before the cycle.
    pub before: Option<HubRate>,
    /// What is left after it; pulls of the nodes count as well.
    pub after: Option<HubRate>,
}

impl HubPulls {
    /// What is left after the cycle, in words; nothing where Docker Hub did not say.
    pub fn told(&self) -> Option<String> {
        let whose = self.account.as_deref().unwrap_or("this address");
        let (before, after) = (self.before.as_ref()?.remaining, self.after.as_ref()?);
        Some(format!("Docker Hub after the cycle: {after} for {whose} ({before} before)"))
    }
}

/// The accounts in whose names a cycle asks Docker Hub, with what each was allowed before it.
#[derive(Debug)]
pub struct HubAccounts(Vec<(Option<Arc<Credentials>>, HubPulls)>);

/// Asks and logs what is left before the cycle, for each account that one of these services needs.
pub async fn before<S, R: Registry>(
    context: &Context<S, R>,
    keyring: &Keyring,
    candidates: impl Iterator<Item = &Candidate>,
) -> HubAccounts {
    let wanted: HashSet<LoginQuery> = candidates
        .filter_map(question)
        .filter(|question| question.image.registry() == DOCKER_HUB)
        .map(|question| question.account(keyring))
        .collect();
    // A login that cannot be had is an error of its services.
    let found = join_all(wanted.iter().map(|wanted| keyring.search(wanted))).await;
    let accounts: HashSet<Option<Arc<Credentials>>> =
        found.into_iter().flatten().map(|found| found.credentials).collect();
    let asked = accounts.into_iter().map(|credentials| async {
        let before = ask(context, credentials.as_ref()).await;
        let account = credentials.as_ref().map(|credentials| name(credentials));
        (credentials, HubPulls { account, before, after: None })
    });
    let mut accounts = join_all(asked).await;
    accounts.sort_by(|(_, a), (_, b)| a.account.cmp(&b.account));
    for (_, pulls) in &accounts {
        if let Some(before) = &pulls.before {
            let whose = pulls.account.as_deref().unwrap_or("this address");
            let words = format!("Docker Hub before the cycle: {before} for {whose}");
            context.events.emit(&Event::Pulls(words));
        }
    }
    HubAccounts(accounts)
}

impl HubAccounts {
    /// Asks what is left after the cycle.
    pub async fn after<S, R: Registry>(self, context: &Context<S, R>) -> Vec<HubPulls> {
        let asked = self.0.into_iter().map(|(credentials, mut pulls)| async move {
            // Who had no answer, or no limit, before the cycle is not asked again.
            if pulls.before.is_some() && !context.stop.is_cancelled() {
                pulls.after = ask(context, credentials.as_ref()).await;
            }
            pulls
        });
        join_all(asked).await
    }
}

async fn ask<S, R: Registry>(
    context: &Context<S, R>,
    credentials: Option<&Arc<Credentials>>,
) -> Option<HubRate> {
    let answer = context.registry.hub_rate(credentials).await;
    context.beat();
    match answer {
        Ok(rate) => rate,
        Err(error @ RegistryError::RateLimited { .. }) => {
            context.events.notice(&[], "", format_args!("Docker Hub: {error}"));
            None
        }
        Err(error) => {
            tracing::debug!(%error, "Docker Hub does not say how many pulls are left");
            None
        }
    }
}

fn name(credentials: &Credentials) -> String {
    credentials.username().unwrap_or(&credentials.source).to_owned()
}
