//! One service's settings: the configuration, overridden by the service's labels.
//!
//! Labels are read here and nowhere else.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::update_times::KnownZone;
use super::variables::{LABELS, Label, LabelValues, PREFIX};
use super::{Config, Filter, Insecure, LabelMistakes, LabelsAllowed, LookupMethod, Mistake, OrderPolicy};
use crate::gate::order::Predecessor;
use crate::gate::tags::TagRules;
use crate::gate::window::{UpdateFreezes, UpdateTimes, UpdateWindows};
use crate::image::ImageRef;
use crate::options::Options;
use crate::suggest::unknown_names;

/// The label that excludes a service.
pub(super) const EXCLUDED: &str = "gantry.services.excluded";

/// The filter that the label is by default.
pub(super) const EXCLUDED_BY_LABEL: &str = "label=gantry.services.excluded=true";

/// The longest text of a label of ours, in bytes.
const MAX_BYTES: usize = 16 << 10;

/// The label by which swarm-cronjob knows its services (its documentation, `docs/usage/docker-labels.md`).
const CRONJOB: &str = "swarm.cronjob.enable";

/// The label in which `docker stack deploy` leaves the image as the stack file has it (Docker's client,
/// `cli/compose/convert`).
const STACK_IMAGE: &str = "com.docker.stack.image";

/// The label in which `docker stack deploy` leaves the name of the stack.
pub const STACK: &str = "com.docker.stack.namespace";

/// The label of our examples for `GANTRY_SERVICES_FILTERS`. Used only in filters; never warned about as unknown.
const OPT_IN: &str = "gantry.enable";

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
    /// The setting that allows plain HTTP and unverified certificates for its registry.
    pub insecure: Insecure,
    /// Whether it is updated although it is a job, or its tasks have ended: that runs them.
    pub update_jobs: bool,
    /// Which tags it accepts.
    pub tags: TagRules,
    /// The image as its stack file has it (label `com.docker.stack.image`); `None`: no stack, or no image.
    pub stack_image: Option<ImageRef>,
    /// For how long a digest must have been known before it is offered; `None`: it is offered at once.
    pub min_age: Option<Duration>,
    /// Whether a new digest waits for a user's approval.
    pub approval: bool,
    /// Whether `GANTRY_ACCEPT_CMD` is asked for a new digest.
    pub accept: bool,
    /// How long its update may take; `None`: as long as it makes progress.
    pub timeout: Option<Duration>,
    /// Whether its new task or the end of the old one comes first.
    pub order: OrderPolicy,
    /// What else is changed with its update.
    pub update_options: Options,
    /// Whether it is rolled back when its update failed.
    pub rollback_on_failure: bool,
    /// What else is changed with its rollback.
    pub rollback_options: Options,
    /// When its update may begin.
    pub times: Arc<UpdateTimes>,
    /// The services that come before it, by full names once a look has found them (label `gantry.update.after`).
    pub after: Vec<Predecessor>,
    /// Its group (label `gantry.update.group`).
    pub group: Option<String>,
    /// Its stack (label `com.docker.stack.namespace`).
    pub stack: Option<String>,
    /// Whether it is among the first that get a new image (label `gantry.rollout.canary`).
    pub canary: bool,
    /// Whether only swarm-cronjob starts its tasks (label `swarm.cronjob.enable`).
    pub cronjob: bool,
    /// Whether its stack file names a digest (label `com.docker.stack.image`): a person or a bot moves it, and the next
    /// `docker stack deploy` takes back any other image.
    pub stack_pin: bool,
    /// Warnings for the user: unknown `gantry.*` labels, labels without effect.
    pub warnings: Vec<String>,
}

impl ServicePolicy {
    /// The settings of the service with these labels.
    ///
    /// # Errors
    /// Every label that cannot be parsed, with its value and what was expected. The service is then an
    /// error of its own; no other service is concerned.
    pub fn of(config: &Config, labels: &BTreeMap<String, String>) -> Result<Self, LabelMistakes> {
        let all = labels;
        let labels = &allowed(config, labels);
        let mut mistakes = too_long(labels);
        if !mistakes.is_empty() {
            return Err(LabelMistakes { list: mistakes });
        }
        let Some(own) = LabelValues::read(labels, &mut mistakes) else {
            return Err(LabelMistakes { list: mistakes });
        };
        let mut warnings = warnings(config, all);
        warnings.extend(refused(config, all));
        for option in own.manifest_options.iter().flat_map(|options| &options.unknown) {
            warnings.push(format!("label gantry.manifest.options: {option} has no meaning"));
        }
        Ok(Self {
            excluded: own.services_excluded == Some(true) && is_exclusion_by_label(config),
            auth_config: own.auth_config,
            lookup: own.manifest_cmd.unwrap_or(config.lookups.method),
            insecure: match own.manifest_options.map(|options| options.insecure) {
                Some(false) => Insecure::No,
                _ if config.lookups.insecure => Insecure::ByVariable,
                Some(true) => Insecure::ByLabel,
                None => Insecure::No,
            },
            update_jobs: own.update_jobs.unwrap_or(config.updates.jobs),
            tags: TagRules {
                policy: own.update_tags.unwrap_or_else(|| config.updates.tags.clone()),
                prereleases: own.update_tags_prereleases.unwrap_or(false),
            },
            stack_image: labels.get(STACK_IMAGE).and_then(|image| image.trim().parse().ok()),
            min_age: own.update_min_age.map_or(config.updates.min_age, |age| age.0),
            approval: own.update_approval.unwrap_or(config.updates.approval),
            accept: config.updates.accept_command.is_some() && own.update_accept.unwrap_or(true),
            timeout: own.update_timeout_seconds.map_or(config.updates.timeout, |seconds| seconds.0),
            order: own.update_order.unwrap_or(config.updates.order),
            update_options: own.update_options.map_or_else(|| config.updates.options.clone(), |own| own.0),
            rollback_on_failure: own.rollback_on_failure.unwrap_or(config.rollback.on_failure),
            rollback_options: own
                .rollback_options
                .map_or_else(|| config.rollback.options.clone(), |own| own.0),
            after: own.update_after.map_or_else(Vec::new, |after| after.0),
            group: own.update_group,
            stack: labels.get(STACK).cloned(),
            times: times(config, own.update_windows, own.update_freezes, own.update_zone),
            canary: own.rollout_canary.unwrap_or(false),
            cronjob: labels.get(CRONJOB).is_some_and(|value| value.trim().eq_ignore_ascii_case("true")),
            stack_pin: labels.get(STACK_IMAGE).is_some_and(|image| names_digest(image)),
            warnings,
        })
    }
}

/// When the update of a service with these labels may begin.
fn times(
    config: &Config,
    windows: Option<UpdateWindows>,
    freezes: Option<UpdateFreezes>,
    zone: Option<KnownZone>,
) -> Arc<UpdateTimes> {
    let all = &config.updates.times;
    if windows.is_none() && freezes.is_none() && zone.is_none() {
        return all.clone();
    }
    Arc::new(UpdateTimes {
        windows: windows.unwrap_or_else(|| all.windows.clone()),
        freezes: freezes.unwrap_or_else(|| all.freezes.clone()),
        zone: zone.map_or_else(|| all.zone.clone(), |KnownZone(zone)| zone),
    })
}

/// Whether an image is written with its digest.
fn names_digest(image: &str) -> bool {
    let digest = image.trim().split_once("@sha256:").map(|(_, digits)| digits);
    digest.is_some_and(|digits| digits.len() == 64 && digits.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Whether the label `gantry.services.excluded` has a meaning by itself: while the default filter is there, and no other.
/// With others, or another value, it is for the engine to say which services have all that they ask for.
pub(super) fn is_exclusion_by_label(config: &Config) -> bool {
    let filters = &config.services.excluded_filters;
    config.services.labels.allows(EXCLUDED)
        && filters.len() == 1
        && filters[0].to_string() == EXCLUDED_BY_LABEL
}

/// The labels that `GANTRY_LABELS_ALLOWED` allows.
fn allowed<'a>(config: &Config, labels: &'a BTreeMap<String, String>) -> Cow<'a, BTreeMap<String, String>> {
    if config.services.labels == LabelsAllowed::All {
        return Cow::Borrowed(labels);
    }
    let counts = |name: &str| !name.starts_with(PREFIX) || config.services.labels.allows(name);
    let labels = labels.iter().filter(|(name, _)| counts(name));
    Cow::Owned(labels.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// Warnings for known labels that `GANTRY_LABELS_ALLOWED` leaves out.
fn refused(config: &Config, labels: &BTreeMap<String, String>) -> Vec<String> {
    let is_set = |label: &&Label| labels.get(label.name).is_some_and(|value| !value.trim().is_empty());
    let refused = LABELS.iter().filter(is_set).filter(|label| !config.services.labels.allows(label.name));
    let told =
        |label: &Label| format!("label {} is ignored: GANTRY_LABELS_ALLOWED does not name it", label.name);
    refused.map(told).collect()
}

/// Warnings for unknown labels that look like ours.
fn warnings(config: &Config, labels: &BTreeMap<String, String>) -> Vec<String> {
    let services = &config.services;
    let filters = services.filters.iter().chain(&services.excluded_filters);
    let filtered_by: BTreeSet<&str> = filters.filter_map(Filter::label).collect();
    let known: Vec<&str> = LABELS.iter().map(|label| label.name).collect();
    let set = ours(labels).filter(|(_, value)| !value.trim().is_empty()).map(|(name, _)| name);
    let unknown: Vec<&str> =
        set.filter(|name| !known.contains(name) && *name != OPT_IN && !filtered_by.contains(name)).collect();
    unknown_names(&unknown, PREFIX, "label", &known)
}

/// The labels that look like ours.
fn ours(labels: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    labels.filter(|(name, _)| name.starts_with(PREFIX))
}

/// The labels whose text is longer than any service needs, the first ten of them. Such a text is neither read nor shown.
fn too_long(labels: &BTreeMap<String, String>) -> Vec<Mistake> {
    const MOST_MISTAKES: usize = 10;
    let too_long = ours(labels).filter(|(_, value)| value.len() > MAX_BYTES).take(MOST_MISTAKES);
    too_long.map(|(name, value)| Mistake::too_long(name, value.len(), MAX_BYTES)).collect()
}

#[cfg(test)]
mod tests;
