//! The validated configuration, in groups by reader.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::{Filter, NotificationUrls, Schedule};
use crate::gate::tags::TagPolicy;
use crate::gate::window::UpdateTimes;
use crate::options::Options;
use crate::proxy::Proxies;
use crate::secret::Secret;

/// All settings of one run: environment and defaults, checked. [`super::ServicePolicy`] holds what the labels of one
/// service change.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is logged, and how.
    pub log: LogSettings,
    /// From the start of one cycle to the start of the next; `None`: run once and exit, or, with a trigger
    /// path, whenever that changes.
    pub interval: Option<Duration>,
    /// When cycles start by the clock, instead of an interval.
    pub schedule: Option<Schedule>,
    /// How much later at most a cycle starts that starts by interval or schedule.
    pub jitter: Duration,
    /// A file or folder whose changes start a cycle.
    pub trigger_path: Option<PathBuf>,
    /// Shell commands around each cycle.
    pub hooks: Hooks,
    /// Where the engine listens.
    pub engine: EngineAddress,
    /// The docker client's configuration folder (`DOCKER_CONFIG`), for credentials.
    pub docker_config: Option<PathBuf>,
    /// The home folder, whose `.docker` is the last place to look for credentials.
    pub home: Option<PathBuf>,
    /// Logins given by variables rather than by a client's configuration.
    pub logins: Logins,
    /// Which services are ours to update.
    pub services: Selection,
    /// How registries are asked.
    pub lookups: Lookups,
    /// How services are updated.
    pub updates: Updates,
    /// How far and how fast one image is rolled out.
    pub rollout: RolloutSettings,
    /// What happens to a service whose update failed.
    pub rollback: Rollback,
    /// How long a digest that broke a service is kept away from it.
    pub quarantine: QuarantineSettings,
    /// The name of the Docker config that holds the ledger.
    pub ledger_name: String,
    /// The removal of replaced images.
    pub cleanup: Cleanup,
    /// Not empty: this process is the remover on one node, and these are the images to remove.
    pub images_to_remove: Vec<String>,
    /// The notifications of a cycle.
    pub notification: Notification,
    /// The proxies for registries and the notification.
    pub proxies: Proxies,
    /// Page and API; `None`: nothing listens.
    pub listener: Option<Listener>,
    /// Whether metrics have a series for each service that is not in order.
    pub metrics_services: bool,
}

impl Config {
    /// Whether another cycle follows the first one.
    pub fn starts_again(&self) -> bool {
        self.interval.is_some() || self.schedule.is_some() || self.trigger_path.is_some()
    }
}

/// The listener of page and API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// What reading needs; `None`: nothing.
    pub read: Option<Source>,
    /// What steering needs; `None`: there are no routes for it.
    pub steer: Option<Source>,
    /// The secret of webhooks; `None`: there are no routes for them.
    pub hook: Option<Source>,
    /// Names by which it may be called where reading needs no token.
    pub hosts: Vec<String>,
    /// The files of certificate and key; `None`: plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAddress {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A port, here or elsewhere.
    Tcp {
        /// Host name or address, and port: `10.0.0.1:2375`, `[::1]:2376`.
        host: String,
        /// The folder with `ca.pem`, `cert.pem` and `key.pem`; `None`: plain text.
        tls: Option<PathBuf>,
    },
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, .. } => write!(f, "tcp://{host}"),
        }
    }
}

/// Which labels of services count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelsAllowed {
    /// All that Gantry knows.
    All,
    /// Those of these names.
    These(BTreeSet<&'static str>),
}

impl LabelsAllowed {
    /// Whether the label of this name counts.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: LogLevel,
    /// The zone of the times in the log.
    pub time_zone: TimeZone,
    /// The node's name in the log; `None`: the manager's host name, once it is known.
    pub node_name: Option<String>,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, node, message, `key=value`.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// The least severe level that is written to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing at all, not even mistakes in the configuration.
    None,
    /// What failed.
    Error,
    /// And what a user should look at.
    Warn,
    /// And what happened.
    Info,
    /// And why.
    Debug,
}

/// Shell commands around each cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Run before the cycle; its failure skips the cycle's updates.
    pub pre_run: Option<String>,
    /// Run after the cycle.
    pub post_run: Option<String>,
    /// How long each of them may take; `None`: for ever.
    pub timeout: Option<Duration>,
}

impl Hooks {
    /// Whether there is a command around runs. Runs follow one another then.
    pub fn are_set(&self) -> bool {
        self.pre_run.is_some() || self.post_run.is_some()
    }
}

/// Logins given by variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    /// `GANTRY_REGISTRY_USER` and its companions, where a user is given.
    pub single: Option<Login>,
    /// A file with one login per line.
    pub configs_file: Option<PathBuf>,
}

/// The single login of the `GANTRY_REGISTRY_*` variables. Files are read when they are needed, not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The account's name.
    pub user: Source,
    /// Its password.
    pub password: Source,
    /// The registry's host and port; `None`: Docker Hub.
    pub host: Option<Source>,
    /// The name by which services ask for this login (label `gantry.auth.config`).
    pub config: Option<Source>,
    /// The services and images that may use it ([`super::LoginScope`]); `None`: all.
    pub services: Option<Source>,
}

/// Where a value of a login is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was given itself.
    Value(Secret),
    /// It is the content of a file.
    File(PathBuf),
}

/// Which services are ours to update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Filters that a service must pass; none: every service.
    pub filters: Vec<Filter>,
    /// Names of services that are never updated.
    pub excluded: BTreeSet<String>,
    /// A service that passes all of these is never updated; none: no service is excluded this way.
    pub excluded_filters: Vec<Filter>,
    /// Which of their labels count.
    pub labels: LabelsAllowed,
    /// The name of our own service; `None`: to be found from our own container.
    pub itself: Option<String>,
}

impl Selection {
    /// Whether labels exclude a service with these labels. Where a filter of excluded services is not about labels, only
    /// the engine can tell.
    pub fn excludes(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.excluded_filters.is_empty()
            && self.excluded_filters.iter().all(|filter| filter.passes(labels) == Some(true))
    }

    /// Whether a selected service stays selected with these labels. Only filters by label can be checked without the
    /// engine; all other filters are taken to pass.
    pub fn still_selects(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.excludes(labels) && self.filters.iter().all(|filter| filter.passes(labels) != Some(false))
    }
}

/// How registries are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookups {
    /// Whether they are asked at all.
    pub method: LookupMethod,
    /// How many look-ups run at once, at least 1.
    pub workers: usize,
    /// Also accept plain HTTP and unverified certificates.
    pub insecure: bool,
    /// Hosts that every registry may name for tokens and as targets of redirects, at any address.
    pub trusted_hosts: Vec<String>,
}

/// The setting that allows plain HTTP and unverified certificates for the registry of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Insecure {
    /// Only the engine, for the registries that it calls insecure.
    No,
    /// The service's label, which speaks for look-ups without an account.
    ByLabel,
    /// The operator's variable, which speaks for all look-ups.
    ByVariable,
}

/// How Gantry finds out whether a service's image is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupMethod {
    /// The registry is asked (`buildx`, `manifest`).
    Registry,
    /// No registry is asked: the service is sent its tag and forced (`none`).
    None,
}

/// How services are updated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updates {
    /// How many updates run at once, at least 1.
    pub workers: usize,
    /// How long one update may take; `None`: as long as it makes progress.
    pub timeout: Option<Duration>,
    /// Whether the new task or the end of the old one comes first.
    pub order: OrderPolicy,
    /// Whether jobs are updated, which runs them.
    pub jobs: bool,
    /// What else is changed with each update.
    pub options: Options,
    /// How many tasks may be starting on one node at once; `None`: no limit.
    pub max_starting_per_node: Option<usize>,
    /// Which tags services accept.
    pub tags: TagPolicy,
    /// For how long a digest must have been known before it is offered; `None`: it is offered at once.
    pub min_age: Option<Duration>,
    /// Whether a new digest waits for a user's approval.
    pub approval: bool,
    /// The command that accepts digests.
    pub accept_command: Option<String>,
    /// How long an approval holds that is not used.
    pub approval_expires: Duration,
    /// When updates may begin.
    pub times: Arc<UpdateTimes>,
    /// How many services of one group are under way at once, at least 1.
    pub group_workers: usize,
    /// How many services of one stack are under way at once; `None`: no limit.
    pub max_per_stack: Option<usize>,
}

/// Whether the new task is started before the old one is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderPolicy {
    /// Start first where the service says nothing and two tasks can surely live side by side; else as the service says.
    Auto,
    /// Start first, also against the service's own order.
    StartFirst,
    /// Stop first, also against the service's own order.
    StopFirst,
    /// Exactly as the service says, also where it says nothing.
    Keep,
}

/// How far and how fast one image is rolled out.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutSettings {
    /// The part of an image's finished updates, from 0 to 1, at whose failure its rollout stops ...
    pub max_failure_ratio: f64,
    /// ... once so many have failed, at least 1.
    pub min_failures: usize,
    /// How many updates an image's rollout begins with, at least 1.
    pub initial_workers: usize,
}

/// What happens to a service whose update failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// Whether it is rolled back.
    pub on_failure: bool,
    /// What else is changed with each rollback.
    pub options: Options,
}

/// How long a digest that broke a service is kept away from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineSettings {
    /// Whether it is kept away from that service afterwards.
    pub enabled: bool,
    /// For how long; `None`: until the tag moves on, or until it is released by hand.
    pub duration: Option<Duration>,
}

/// The removal of replaced images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// Whether they are removed.
    pub enabled: bool,
    /// The image of the cleaning job; `None`: our own.
    pub remover: Option<String>,
    /// What is different about the cleaning job.
    pub options: Options,
}

/// The notifications of a cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Where the Apprise server listens. It may carry a password.
    pub apprise_url: Option<Secret>,
    /// The other addresses.
    pub urls: Option<NotificationUrls>,
    /// After which cycles.
    pub condition: NotificationCondition,
    /// Appended to the title.
    pub title: Option<String>,
    /// How often a cycle tells how far it is while it goes on; `None`: never.
    pub progress: Option<Duration>,
}

impl Notification {
    /// Whether there is no address at all.
    pub fn is_off(&self) -> bool {
        self.apprise_url.is_none() && self.urls.is_none()
    }
}

/// The cycles after which a notification is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationCondition {
    /// After every cycle.
    All,
    /// After a cycle with an update or an error.
    OnChange,
}
