//! `gantry quarantine` and `gantry release`: a person reads and changes the ledger.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::book::{self, Book, Labels};
use super::release::{self, Listed, Release, Target};
use super::{MAX_CONFLICTS, TEXT, is_ours, is_somebody_else_faster};
use crate::swarm::{ConfigObject, Listing, Service, Swarm, SwarmError};

/// Why a person could not read or change the ledger.
#[derive(Debug, thiserror::Error)]
pub enum ByHandError {
    /// The engine's word.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// The config of that name is not Gantry's.
    #[error("the config {0} is somebody else's; GANTRY_LEDGER_NAME names Gantry's own")]
    NotOurs(String),
}

/// What is held back now. A quarantine ends after `duration`, if it has one.
pub async fn listed<S: Swarm>(
    swarm: &S,
    name: &str,
    duration: Option<Duration>,
) -> Result<Listed, ByHandError> {
    let (object, services) = look(swarm, name).await?;
    let now = swarm.engine().await?.time.unwrap_or_else(Timestamp::now);
    let book = Book::read(&labels(object.as_ref()));
    let held = release::held(&book, &services, now, duration);
    Ok(Listed { held, damaged: book.damaged, missing: object.is_none().then(|| name.to_owned()) })
}

/// Releases what is meant. A daemon sees it at its next cycle.
pub async fn release<S: Swarm>(swarm: &S, name: &str, target: &Target) -> Result<Release, ByHandError> {
    let mut conflicts = 0;
    loop {
        let (object, services) = look(swarm, name).await?;
        let now = swarm.engine().await?.time.unwrap_or_else(Timestamp::now);
        let before = labels(object.as_ref());
        let release = release::release(target, &Book::read(&before), &services, now);
        let after = book::change(&before, &release.changes);
        let written = match &object {
            _ if after == before => Ok(()),
            Some(object) => swarm.update_config_object(object, &after).await,
            None => swarm.create_config_object(name, &after, &STANDARD.encode(TEXT)).await.map(|_| ()),
        };
        match written {
            Err(error) if is_somebody_else_faster(&error) && conflicts < MAX_CONFLICTS => conflicts += 1,
            written => return Ok(written.map(|()| release)?),
        }
    }
}

async fn look<S: Swarm>(swarm: &S, name: &str) -> Result<(Option<ConfigObject>, Vec<Service>), ByHandError> {
    let object = swarm.config_object(name).await?;
    if object.as_ref().is_some_and(|object| !is_ours(object)) {
        return Err(ByHandError::NotOurs(name.to_owned()));
    }
    Ok((object, swarm.services(Listing::Filters(&[])).await?))
}

fn labels(object: Option<&ConfigObject>) -> Labels {
    object.map(|object| object.labels.clone()).unwrap_or_default()
}
