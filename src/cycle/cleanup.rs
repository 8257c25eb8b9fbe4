//! Stage 5: the replaced images are removed, on every node.
//!
//! A manager's socket shows only its own node, so our own image is run once on every node, with that node's
//! socket. It does the work (see [`super::remover`]), prints what it did and waits to be removed.
//!
//! It is a *global service* rather than a global job. Tried on 20.10: the finished containers of a job
//! stay on the nodes when the job is removed, and running ones are not even stopped; those of a service
//! are stopped and removed with it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

pub use self::cleaned::Cleaned;
use self::service::Remover;
use super::remover::{self, RemovalOrder};
use crate::config::ServicePolicy;
use crate::context::Context;
use crate::image::ImageRef;
use crate::model::outcome::Outcome;
use crate::model::row::Row;
use crate::registry::Keyring;
use crate::registry::credentials::Asker;
use crate::swarm::tasks::tasks_of_any;
use crate::swarm::{Listing, Service, Swarm};

mod cleaned;
mod gather;
mod service;
mod traces;

pub use self::service::{REMOVER_NAME, remover_name};

/// In how many cycles an image is tried again that could not be removed everywhere.
const MORE_TRIES: u32 = 3;

/// Images that a cleaning could not remove everywhere: a container was slow to stop, or a node to answer, or its remover
/// failed. The next cycles try them again.
#[derive(Debug, Default)]
pub struct Leftovers(BTreeMap<ImageRef, u32>);

impl Leftovers {
    /// The images.
    pub fn images(&self) -> BTreeSet<ImageRef> {
        self.0.keys().cloned().collect()
    }

    /// Takes note of what a cycle's cleaning has left; `None`: it did not clean.
    pub fn follow(&mut self, cleaned: Option<&Cleaned>) {
        let Some(cleaned) = cleaned else { return };
        let before = std::mem::take(&mut self.0);
        for image in cleaned.unfinished().filter_map(|image| image.parse::<ImageRef>().ok()) {
            let tries = before.get(&image).map_or(0, |tries| tries + 1);
            if tries < MORE_TRIES {
                self.0.insert(image, tries);
            }
        }
    }
}

/// Images that may go, each with the services that are known to have had it.
type Replaced<'a> = BTreeMap<&'a ImageRef, BTreeSet<&'a str>>;

/// Removes the images that this run replaced, or that broke a service, from all nodes, but none of those that services
/// `need` for updates of other runs. A failure is only a warning. Only one run cleans at a time.
pub async fn clean_up<S: Swarm, R>(
    context: &Context<S, R>,
    keyring: &Keyring,
    rows: &[Row],
    need: impl Future<Output = BTreeSet<ImageRef>>,
) -> Option<Cleaned> {
    let _cleaning = context.ledger.cleaning.lock().await;
    if context.stop.is_cancelled() {
        return None;
    }
    let replaced = replaced(context, rows);
    if !context.config.cleanup.enabled || replaced.is_empty() {
        service::sweep(context).await;
        return None;
    }
    let mut cleaned = Cleaned { socket: service::socket(context).to_owned(), ..Cleaned::default() };
    if let Err(error) = everywhere(context, keyring, &replaced, need, &mut cleaned).await {
        cleaned.problem = Some(format!("{error:#}"));
    }
    cleaned.announce(&context.events);
    service::sweep(context).await;
    Some(cleaned)
}

fn replaced<'a, S, R>(context: &'a Context<S, R>, rows: &'a [Row]) -> Replaced<'a> {
    let mut replaced = Replaced::new();
    let is_updated = |outcome: &Outcome| {
        matches!(outcome, Outcome::Updated | Outcome::UpdatedBut(_) | Outcome::Started(_))
    };
    for finished in rows.iter().filter_map(Row::finished).filter(|finished| finished.from != finished.to) {
        if is_updated(&finished.outcome) {
            replaced.entry(&finished.from).or_default().insert(&finished.service);
        }
        // An image that broke a service is not offered again, so it is of no use on the nodes that pulled it.
        let is_broken =
            matches!(&finished.outcome, Outcome::RolledBack { cause, .. } if cause.blames_image());
        if is_broken && context.config.quarantine.enabled && finished.to.digest().is_some() {
            replaced.entry(&finished.to).or_default();
        }
    }
    if let Some(itself) = &context.itself
        && let Some(own) = &itself.replaced
    {
        replaced.entry(own).or_default().insert(&itself.name);
    }
    for left in &context.leftovers {
        replaced.entry(left).or_default();
    }
    replaced
}

async fn everywhere<S: Swarm, R>(
    context: &Context<S, R>,
    keyring: &Keyring,
    replaced: &Replaced<'_>,
    need: impl Future<Output = BTreeSet<ImageRef>>,
    cleaned: &mut Cleaned,
) -> Result<()> {
    // All of them, until it is known which of them services need.
    cleaned.images = replaced.keys().map(ToString::to_string).collect();
    let list = || context.swarm.services(Listing::Filters(&[]));
    let services = service::patiently(context, list).await.context("cannot list the services")?;
    let orders = orders(context, replaced, &services, need.await).await?;
    cleaned.images = orders.iter().map(|order| order.image.to_string()).collect();
    if orders.is_empty() {
        return Ok(());
    }
    let words = traces::words(&orders);

    let itself = services.iter().find(|service| context.itself_name() == Some(service.name()));
    let facts = itself.map(|service| service.spec.facts());
    let found = context.itself.as_ref().and_then(|itself| itself.image.as_ref());
    let own = found.or_else(|| facts.and_then(|facts| facts.image.as_ref()));
    // Our own image is pulled with our own service's login; another one with its registry's.
    let login = facts
        .filter(|_| context.config.cleanup.remover.is_none())
        .and_then(|facts| ServicePolicy::of(&context.config, &facts.labels).ok()?.auth_config);
    let Some(image) = context.config.cleanup.remover.as_ref().or(own) else {
        let own_name = remover_name(context.ledger.name());
        let removal = remover::remove(&*context.swarm, &words, &own_name).await;
        cleaned.nodes.insert("this node".to_owned(), removal);
        cleaned.problem = Some(
            "only this node was cleaned: Gantry knows of no service that it runs as, so there is no image to run on \
             the others (set GANTRY_SERVICES_SELF if it runs as one, else GANTRY_CLEANUP_IMAGES_REMOVER)"
                .to_owned(),
        );
        return Ok(());
    };
    // Two that clean for one ledger would end each other's remover.
    let newest = services.iter().map(|service| service.version).max().unwrap_or_default();
    service::hold(context, newest).await.context("the images are removed by a later cycle")?;
    let remover = Remover::new(context);
    let spec = remover.spec(context, image, &words).await?;
    let reference: ImageRef = image.parse().context("the image remover's image")?;
    let service = context.itself_name().unwrap_or_default();
    let wanted = keyring.wanted(Asker { service, image: &reference, login: login.as_deref() });
    let credentials = keyring.search(&wanted).await?.credentials;
    let auth = credentials.map(|credentials| credentials.registry_auth());
    let id = remover.start(context, &spec, auth.as_ref()).await.context("cannot start the image remover")?;
    let gathered = gather::gather(context, &id, cleaned).await;
    remover.end(context, &id).await.context("cannot remove the image remover's service")?;
    gathered
}

/// What the nodes are to remove: the images that no service needs.
async fn orders<S: Swarm, R>(
    context: &Context<S, R>,
    replaced: &Replaced<'_>,
    services: &[Service],
    also_needed: BTreeSet<ImageRef>,
) -> Result<Vec<RemovalOrder>> {
    // A remover that a killed Gantry has left needs nothing: it goes before the new one comes.
    let remover_name = remover_name(context.ledger.name());
    let others = services.iter().filter(|service| service.name() != remover_name);
    let needed: BTreeSet<String> = others.filter_map(|service| service.spec.facts().image.clone()).collect();
    let mut images: Vec<ImageRef> = needed.iter().filter_map(|written| written.parse().ok()).collect();
    images.extend(also_needed);
    let free: Vec<(&ImageRef, &BTreeSet<&str>)> = replaced
        .iter()
        .filter(|(image, _)| !is_needed(image, &images))
        .map(|(image, names)| (*image, names))
        .collect();
    let owners: Vec<Vec<&Service>> = free
        .iter()
        .map(|(image, names)| match image.digest() {
            Some(_) => Vec::new(),
            None => traces::owners(image, names, services).collect(),
        })
        .collect();
    let ids: BTreeSet<String> = owners.iter().flatten().map(|service| service.id.clone()).collect();
    let ids: Vec<String> = ids.into_iter().collect();
    let tasks = if ids.is_empty() {
        Vec::new()
    } else {
        tasks_of_any(&*context.swarm, &ids).await.context("cannot list the tasks of what was replaced")?
    };
    let mut orders = Vec::new();
    for ((image, _), owners) in free.into_iter().zip(owners) {
        if image.digest().is_some() {
            orders.push(RemovalOrder { image: image.clone(), traces: None });
            continue;
        }
        let owners: BTreeSet<&str> = owners.iter().map(|service| service.id.as_str()).collect();
        let last = traces::last_tasks(image, &owners, &tasks);
        if !last.is_empty() {
            orders.push(traces::order(image, last, &needed));
        }
    }
    Ok(orders)
}

/// Whether a service needs the image: by digest, whatever the tag, or by tag where there is no digest.
fn is_needed(image: &ImageRef, needed: &[ImageRef]) -> bool {
    needed.iter().any(|other| {
        let is_same_repository =
            (other.registry(), other.repository()) == (image.registry(), image.repository());
        is_same_repository
            && match (image.digest(), other.digest()) {
                (Some(digest), Some(other)) => digest == other,
                (None, None) => image.tag() == other.tag(),
                _ => false,
            }
    })
}
