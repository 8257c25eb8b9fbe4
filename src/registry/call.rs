//! The registry endpoint of a look-up and the account used.

use std::sync::Arc;

use super::Lookup;
use super::credentials::Credentials;
use super::endpoints::{Endpoint, EndpointRole};
use crate::hosts::EngineRegistries;

/// The registry endpoint of a look-up and the account used.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub endpoint: Endpoint,
    pub repository: String,
    pub credentials: Option<Arc<Credentials>>,
    /// What the engine says of other hosts.
    pub engine: Arc<EngineRegistries>,
}

impl Call {
    /// A mirror is another host than the registry that the account is for: it is asked without the account.
    pub(super) fn new(endpoint: Endpoint, lookup: &Lookup) -> Self {
        let credentials = match endpoint.role {
            EndpointRole::Mirror => None,
            EndpointRole::Upstream => lookup.credentials.clone(),
        };
        let (repository, engine) = (lookup.image.repository().to_owned(), Arc::clone(&lookup.hosts));
        Self { endpoint, repository, credentials, engine }
    }
}
