//! The table of all variables and labels: the one place where each is defined.
//!
//! From it come the raw variables that are read from the environment, their parsers and defaults, those of
//! the labels, the text of `gantry --help`, the tables of the pages in `docs/` and the suggestions for names that
//! are not in the table. An entry reads
//!
//! ```text
//! /// What it means, in Markdown.
//! "NAME" name: Kind = "default" else "the default in words" label "its.label" its_label;
//! ```
//!
//! A variable without `=` is an `Option`. Default, `else` and `label` may be missing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::destination_list::DestinationList;
use super::engine::DockerHost;
pub use super::entry::{Label, Variable};
use super::hosts::Hosts;
use super::listen::{ListenAddress, ListenerToken};
use super::schedule::CronList;
use super::scope::Scope;
use super::timespan::{MinAge, Timespan};
use super::update_times::KnownZone;
use super::value::{
    Count, CreateOptions, Filters, FiltersOrNone, Limit, ManifestOptions, ObjectName, Ratio, RollbackOptions,
    Seconds, UpdateOptions, Url, Value, WordList, Zone,
};
use super::{LabelsAllowed, LogFormat, LogLevel, LookupMethod, Mistake, NotificationCondition, OrderPolicy};
use crate::gate::order::UpdateAfter;
use crate::gate::tags::TagPolicy;
use crate::gate::window::{UpdateFreezes, UpdateWindows};
use crate::secret::Secret;

/// Every label that begins so is ours, known or not.
pub(crate) const PREFIX: &str = "gantry.";

/// `Some` of what is there.
macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

/// The type of a variable: its kind where it has a default, an `Option` of it where it has none.
macro_rules! field_type {
    ($type:ident) => { Option<$type> };
    ($type:ident $default:literal) => { $type };
}

/// Reads a variable; `None` after a mistake.
macro_rules! read {
    ($type:ident $raw:expr, $name:literal, $mistakes:ident) => {
        match $raw {
            Some(text) => parse::<$type>($name, text, $mistakes).map(Some),
            None => Some(None),
        }
    };
    ($type:ident $raw:expr, $name:literal, $mistakes:ident, $default:literal) => {
        parse::<$type>($name, $raw.unwrap_or($default), $mistakes)
    };
}

macro_rules! table {
    (
        $(
            group $group:literal
            $(
                $(#[doc = $doc:literal])+
                $name:literal $field:ident: $type:ident
                    $(= $default:literal)? $(else $words:literal)? $(label $label:literal $label_field:ident)?;
            )+
        )+
        labels
        $(
            $(#[doc = $own_doc:literal])+
            $own_label:literal $own_field:ident: $own_type:ident;
        )+
    ) => {
        /// Every variable, in the order in which they are explained.
        pub const VARIABLES: &[Variable] = &[$($(
            Variable {
                name: $name,
                group: $group,
                default: optional!($($default)?),
                default_words: optional!($($words)?),
                expected: <$type as Value>::EXPECTED,
                is_secret: <$type as Value>::IS_SECRET,
                doc: concat!($($doc),+),
                label: optional!($($label)?),
            },
        )+)+];

        /// Every label; first the labels that override a variable.
        pub const LABELS: &[Label] = &[
            $($($(
                Label {
                    name: $label,
                    variable: Some($name),
                    expected: <$type as Value>::EXPECTED,
                    doc: concat!("`", $name, "` for this service."),
                    },
            )?)+)+
            $(
                Label {
                    name: $own_label,
                    variable: None,
                    expected: <$own_type as Value>::EXPECTED,
                    doc: concat!($($own_doc),+),
                },
            )+
        ];

        /// The variables as they are in the environment.
        #[derive(Debug, Default, Deserialize)]
        pub(super) struct Raw {
            $($(pub(super) $field: Option<String>,)+)+
        }

        /// The variables, parsed one by one.
        pub(super) struct Variables {
            $($(
                $(#[doc = $doc])+
                pub(super) $field: field_type!($type $($default)?),
            )+)+
        }

        /// The labels of one service, parsed one by one; `None`: not set.
        pub(super) struct LabelValues {
            $($($(pub(super) $label_field: Option<$type>,)?)+)+
            $(
                $(#[doc = $own_doc])+
                pub(super) $own_field: Option<$own_type>,
            )+
        }

        impl Variables {
            /// Parses all variables; `None` when there are mistakes, which are then added.
            pub(super) fn read(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<Self> {
                $($(
                    let $field = set(raw.$field.as_deref());
                    let $field = read!($type $field, $name, mistakes $(, $default)?);
                )+)+
                Some(Self { $($($field: $field?,)+)+ })
            }
        }

        impl LabelValues {
            /// Parses all labels; `None` when there are mistakes, which are then added.
            pub(super) fn read(labels: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> Option<Self> {
                $($($(
                    let $label_field = set(labels.get($label).map(String::as_str));
                    let $label_field = read!($type $label_field, $label, mistakes);
                )?)+)+
                $(
                    let $own_field = set(labels.get($own_label).map(String::as_str));
                    let $own_field = read!($own_type $own_field, $own_label, mistakes);
                )+
                Some(Self { $($($($label_field: $label_field?,)?)+)+ $($own_field: $own_field?,)+ })
            }
        }
    };
}

/// The text, unless it is empty: an empty variable or label is unset.
fn set(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// Parses a text or notes the mistake.
fn parse<T: Value>(name: &str, text: &str, mistakes: &mut Vec<Mistake>) -> Option<T> {
    T::read(name, text).map_err(|mistake| mistakes.push(mistake)).ok()
}

table! {
    group "Log"
        /// `text` is for people, `json` is one object per line for machines, with at least `level`,
        /// `message` and `time`.
        "GANTRY_LOG_FORMAT" gantry_log_format: LogFormat = "text";
        /// The least severe level that is logged. `NONE` is silent even about mistakes.
        "GANTRY_LOG_LEVEL" gantry_log_level: LogLevel = "INFO";
        /// The name of the node in the log.
        "GANTRY_NODE_NAME" gantry_node_name: String else "host name of the manager";
        /// The time zone of the times in the log.
        "TZ" tz: Zone = "UTC";

    group "Cycle"
        /// From the start of one cycle to the start of the next. A cycle that takes longer is followed by
        /// the next one at once. 0: run once and exit, with an exit code that says how it went; with
        /// `GANTRY_TRIGGER_PATH`, run at the start and then whenever that changes.
        "GANTRY_SLEEP_SECONDS" gantry_sleep_seconds: Seconds = "0";
        /// Cron expressions of the times at which cycles start, instead of `GANTRY_SLEEP_SECONDS`: 5 fields, or 6 with
        /// seconds first; several are separated by `;`. The zone is that of `GANTRY_UPDATE_ZONE`. The first cycle waits for
        /// the first of these times.
        "GANTRY_SCHEDULE" gantry_schedule: CronList;
        /// Cycles that start by interval or schedule start up to so much later, by the swarm's id and the time: always the same
        /// for one swarm and one time, so that many swarms do not ask at once. A time such as `90s` or `15m`.
        "GANTRY_JITTER" gantry_jitter: Timespan = "0";
        /// A file or folder, which need not exist yet. Whatever is changed, created, moved or removed there
        /// starts a cycle at once; with an interval, whichever comes first.
        "GANTRY_TRIGGER_PATH" gantry_trigger_path: PathBuf;
        /// Run by `sh` before each cycle. `GANTRY_*` variables that it sets apply to that cycle. When it
        /// fails, nothing is updated in that cycle, and the cycle has failed.
        "GANTRY_PRE_RUN_CMD" gantry_pre_run_cmd: String;
        /// Run by `sh` after each cycle. When it fails, the cycle has failed.
        "GANTRY_POST_RUN_CMD" gantry_post_run_cmd: String;
        /// How long each of the two may take before it is ended and has failed. 0: as long as it likes.
        "GANTRY_HOOK_TIMEOUT_SECONDS" gantry_hook_timeout_seconds: Seconds = "600";

    group "Engine"
        /// Where the engine listens. It must be a manager.
        "DOCKER_HOST" docker_host: DockerHost = "unix:///var/run/docker.sock";
        /// Any value: use TLS over TCP, and verify the engine's certificate.
        "DOCKER_TLS_VERIFY" docker_tls_verify: String;
        /// The folder with `ca.pem`, `cert.pem` and `key.pem` for TLS.
        "DOCKER_CERT_PATH" docker_cert_path: PathBuf else "`DOCKER_CONFIG`, or `$HOME/.docker`";

    group "Credentials"
        /// The folder whose `config.json` has the credentials for registries. Nothing is written to it.
        "DOCKER_CONFIG" docker_config: PathBuf else "`$HOME/.docker`";
        /// The home folder, as every system sets it.
        "HOME" home: PathBuf;
        /// The user of one login, in addition to `config.json` and before it.
        "GANTRY_REGISTRY_USER" gantry_registry_user: Secret;
        /// A file with the user. It is read in each cycle, as are the other files here; the line end after
        /// the value is not part of it. A file that cannot be read is an error, and nothing is updated.
        "GANTRY_REGISTRY_USER_FILE" gantry_registry_user_file: PathBuf;
        /// The password of this login.
        "GANTRY_REGISTRY_PASSWORD" gantry_registry_password: Secret;
        /// A file with the password.
        "GANTRY_REGISTRY_PASSWORD_FILE" gantry_registry_password_file: PathBuf;
        /// The registry of this login.
        "GANTRY_REGISTRY_HOST" gantry_registry_host: String else "Docker Hub";
        /// A file with the registry.
        "GANTRY_REGISTRY_HOST_FILE" gantry_registry_host_file: PathBuf;
        /// A name for this login, by which the label `gantry.auth.config` chooses it. The only login for a registry is
        /// used by all its services, with or without a name. Of several, services without the label use the one without a
        /// name, or with the name of the folder that `DOCKER_CONFIG` or `HOME` gives. Nothing is written to it where it is
        /// a folder.
        "GANTRY_REGISTRY_CONFIG" gantry_registry_config: String;
        /// A file with the name.
        "GANTRY_REGISTRY_CONFIG_FILE" gantry_registry_config_file: PathBuf;
        /// The services and images that may use this login; without it, all. Names, separated by commas, with `*` for any
        /// characters. A name with a slash is of images, without tag: `registry.example.com/team-a/*`, or `team-a/*`. Any
        /// other name is of services: `team-a_*`. One that fits is enough.
        "GANTRY_REGISTRY_SERVICES" gantry_registry_services: Scope else "all services";
        /// A file with these names.
        "GANTRY_REGISTRY_SERVICES_FILE" gantry_registry_services_file: PathBuf;
        /// A file with a login per line: `<config> <host> <user> <password>`, separated by tabs or spaces. A fifth word
        /// says which services and images may use the login, as `GANTRY_REGISTRY_SERVICES` does, without spaces. Empty
        /// lines and lines that begin with `#` are skipped. Any other line is an error, and nothing is updated.
        "GANTRY_REGISTRY_CONFIGS_FILE" gantry_registry_configs_file: PathBuf;
        /// Hosts that every registry may name for tokens or redirect to, whatever their addresses are. Names or addresses,
        /// separated by commas, with a port or for all ports, with `*` for any characters. No other
        /// host may have a link-local address, a loopback address, or, where the registry has a public address, a private
        /// one. Only a registry on loopback may name other servers on loopback.
        "GANTRY_REGISTRY_TRUSTED_HOSTS" gantry_registry_trusted_hosts: Hosts else "none";

    group "Proxies"
        /// The proxy for addresses that begin with `https://`, which is what registries have: `http://HOST:PORT`,
        /// `https://HOST:PORT` or `socks5://HOST:PORT`, with `USER:PASSWORD@` before the host where it wants an account.
        /// Also for the notification. The engine has settings of its own (`docker info`), and so do the nodes.
        "HTTPS_PROXY" https_proxy: Secret;
        /// The same for addresses that begin with `http://`.
        "HTTP_PROXY" http_proxy: Secret;
        /// What is asked without a proxy, separated by commas: names with all that is below them (`corp.test`), only what
        /// is below (`.corp.test`, `*.corp.test`), addresses, networks (`10.0.0.0/8`), each but these with a port if
        /// need be, and `*`. `localhost` and its addresses never need a proxy. All three may be written in small letters.
        "NO_PROXY" no_proxy: String;

    group "Which services"
        /// Filters of `docker service ls --filter` that a service must pass to be updated, for example
        /// `label=gantry.enable=true`. They are sent to the engine; one that it refuses is an error, and
        /// nothing is updated. Several labels must all be there; of several names, ids or modes one is enough, and a
        /// name also finds longer ones.
        "GANTRY_SERVICES_FILTERS" gantry_services_filters: Filters else "all services";
        /// Names of services that are never updated.
        "GANTRY_SERVICES_EXCLUDED" gantry_services_excluded: WordList;
        /// A service that passes these filters, as those above, is never updated. `none`: no service is excluded by a
        /// filter, and its label `gantry.services.excluded` has no effect.
        "GANTRY_SERVICES_EXCLUDED_FILTERS" gantry_services_excluded_filters: FiltersOrNone
            = "label=gantry.services.excluded=true";
        /// Which labels of services count: `all`, `none`, or their names, such as `update.order rollout.canary`. Any other
        /// label of Gantry's is ignored with a warning. A label can give a service rights over the nodes: see
        /// docs/security.md.
        "GANTRY_LABELS_ALLOWED" gantry_labels_allowed: LabelsAllowed = "all";
        /// The name of Gantry's own service, which is updated before the others are looked at.
        "GANTRY_SERVICES_SELF" gantry_services_self: String else "found from our own container";

    group "Looking up images"
        /// `buildx` and `manifest`: ask the registry. No command is run for that. `none`: do not ask; the
        /// service is sent its tag without a digest, and its tasks are replaced by what each node has or
        /// can pull. This is for local images. Gantry's own image is asked for in any case.
        "GANTRY_MANIFEST_CMD" gantry_manifest_cmd: LookupMethod = "buildx"
            label "gantry.manifest.cmd" manifest_cmd;
        /// How many images are looked up at once.
        "GANTRY_MANIFEST_NUM_WORKERS" gantry_manifest_num_workers: Count = "10";
        /// `--insecure` also accepts plain HTTP and certificates that cannot be verified, with an account too. As a label it
        /// counts for look-ups without an account only. Other options have no meaning, and a warning says so.
        "GANTRY_MANIFEST_OPTIONS" gantry_manifest_options: ManifestOptions
            label "gantry.manifest.options" manifest_options;

    group "Updating"
        /// How many services are updated at once.
        "GANTRY_UPDATE_NUM_WORKERS" gantry_update_num_workers: Count = "50";
        /// How long one service's update may take. 0: as long as it makes progress; after an hour without any it
        /// has failed. Swarm itself has no limit.
        "GANTRY_UPDATE_TIMEOUT_SECONDS" gantry_update_timeout_seconds: Seconds = "0"
            label "gantry.update.timeout_seconds" update_timeout_seconds;
        /// `auto`: the service's own order. Where it has none, the new task starts before the old one stops, if both can
        /// surely live side by side: no writable mount, no host network or host-mode port, no device or generic resource, and
        /// room for one task more. Else Swarm's default, stop-first. `keep`: the service's own order, always.
        "GANTRY_UPDATE_ORDER" gantry_update_order: OrderPolicy = "auto"
            label "gantry.update.order" update_order;
        /// Also update replicated and global jobs, and services whose tasks have ended and are not started again
        /// (`--restart-condition none` or `on-failure`). Their update runs them. Services of swarm-cronjob (label
        /// `swarm.cronjob.enable=true`) need no permission: they get the image between two runs, without being run.
        "GANTRY_UPDATE_JOBS" gantry_update_jobs: bool = "false"
            label "gantry.update.jobs" update_jobs;
        /// Options of `docker service update`, such as `--env-add A=B --limit-memory 512m`, applied to the
        /// specification with every update. They make no update necessary. An option that is not understood
        /// makes the service an error.
        "GANTRY_UPDATE_OPTIONS" gantry_update_options: UpdateOptions
            label "gantry.update.options" update_options;
        /// Which tags a service accepts: `same` only its own tag's digest; `patch`, `minor`, `major` also a newer tag of the same
        /// family, whose numbers differ so far at most; `/REGEX/` also a newer tag that matches, ordered by its groups. See
        /// docs/policies.md.
        "GANTRY_UPDATE_TAGS" gantry_update_tags: TagPolicy = "same"
            label "gantry.update.tags" update_tags;
        /// Offer a digest only when Gantry has known it for so long, by its own clock: `36h`, `7d`, at most `90d`. Each digest
        /// has its own clock, so that a tag which moves more often is still updated. See docs/policies.md.
        "GANTRY_UPDATE_MIN_AGE" gantry_update_min_age: MinAge = "0"
            label "gantry.update.min_age" update_min_age;
        /// `true`: a new digest waits until a user approves it (`gantry approve`). See docs/policies.md.
        "GANTRY_UPDATE_APPROVAL" gantry_update_approval: bool = "false"
            label "gantry.update.approval" update_approval;
        /// How long an approval that is not used holds. 0: for a year.
        "GANTRY_APPROVAL_EXPIRES" gantry_approval_expires: Timespan = "7d";
        /// Asked by `sh` before a new digest is rolled out, once for each digest and hour, with JSON on its standard
        /// input: exit code 0 accepts, 75 says not yet, any other is an error, and the update waits. See docs/policies.md.
        "GANTRY_ACCEPT_CMD" gantry_accept_cmd: String;
        /// When updates may begin (docs/policies.md): days and times such as `mon-fri 22:00-06:00; sat,sun 00:00-24:00`.
        /// Days are those on which a window begins; an end at or before the start is on the next day; `daily` is each day.
        /// `always`: at any time. What is under way when a window ends goes on.
        "GANTRY_UPDATE_WINDOWS" gantry_update_windows: UpdateWindows = "always"
            label "gantry.update.windows" update_windows;
        /// Dates on which no update begins, whatever the windows: `2026-12-20/2027-01-03 2026-11-27`, first and last day
        /// included, separated by white space. `none`: no such date.
        "GANTRY_UPDATE_FREEZES" gantry_update_freezes: UpdateFreezes = "none"
            label "gantry.update.freezes" update_freezes;
        /// The time zone of windows, freezes and schedule.
        "GANTRY_UPDATE_ZONE" gantry_update_zone: KnownZone else "`TZ`"
            label "gantry.update.zone" update_zone;
        /// No update starts while so many tasks, of whatever service, are starting on one node. 0: no limit.
        "GANTRY_UPDATE_MAX_STARTING_PER_NODE" gantry_update_max_starting_per_node: Limit = "0";
        /// How many services with the same label `gantry.update.group` are under way at once. When one of them fails, no other
        /// one of its group begins in that cycle.
        "GANTRY_UPDATE_GROUP_WORKERS" gantry_update_group_workers: Count = "1";
        /// How many services of one stack are under way at once. 0: no limit.
        "GANTRY_UPDATE_MAX_PER_STACK" gantry_update_max_per_stack: Limit = "0";

    group "When an update fails"
        /// Roll a service back when its update failed.
        "GANTRY_ROLLBACK_ON_FAILURE" gantry_rollback_on_failure: bool = "true"
            label "gantry.rollback.on_failure" rollback_on_failure;
        /// Options of `docker service update`, applied to the specification that a rollback restores.
        "GANTRY_ROLLBACK_OPTIONS" gantry_rollback_options: RollbackOptions
            label "gantry.rollback.options" rollback_options;
        /// Stop rolling out an image when this part of its finished updates failed ...
        "GANTRY_ROLLOUT_MAX_FAILURE_RATIO" gantry_rollout_max_failure_ratio: Ratio = "0.1";
        /// ... and at least so many.
        "GANTRY_ROLLOUT_MIN_FAILURES" gantry_rollout_min_failures: Count = "2";
        /// How many services get a new image first. Each success widens the rollout.
        "GANTRY_ROLLOUT_INITIAL_WORKERS" gantry_rollout_initial_workers: Count = "1";
        /// Never offer a digest again to a service that it broke, nor to any service once its rollout was
        /// stopped, nor to a service that a person has moved away from it. `false`: offer what the tag stands
        /// at, whatever happened before.
        "GANTRY_QUARANTINE" gantry_quarantine: bool = "true";
        /// Offer what broke a service again after so long. 0: when the tag has moved on to another digest, or
        /// after `gantry release`.
        "GANTRY_QUARANTINE_SECONDS" gantry_quarantine_seconds: Seconds = "0";
        /// The name of the Docker config in whose labels Gantry remembers what it must not forget, and by which
        /// one Gantry waits for another. Two that look after different services may each have their own.
        "GANTRY_LEDGER_NAME" gantry_ledger_name: ObjectName = "gantry";

    group "Cleaning up"
        /// Remove replaced images from all nodes.
        "GANTRY_CLEANUP_IMAGES" gantry_cleanup_images: bool = "true";
        /// The image of the job that removes them on each node.
        "GANTRY_CLEANUP_IMAGES_REMOVER" gantry_cleanup_images_remover: String
            else "our own image, when we run as a service";
        /// Options of `docker service create` for this job, such as `--constraint node.labels.big==true`.
        "GANTRY_CLEANUP_IMAGES_OPTIONS" gantry_cleanup_images_options: CreateOptions;
        /// Internal. This process is the job on one node: it removes these images there, says so, and stays until
        /// it is removed. It ends with 1 when an image could not be removed.
        "GANTRY_IMAGES_TO_REMOVE" gantry_images_to_remove: WordList;

    group "Notification"
        /// The address of an [Apprise](https://github.com/caronc/apprise-api) server that is told of each
        /// cycle's end, such as `http://apprise:8000/notify/KEY`.
        "GANTRY_NOTIFICATION_APPRISE_URL" gantry_notification_apprise_url: Url;
        /// Addresses that are told of each cycle's end without an Apprise server: see docs/notifications.md. Up to 20,
        /// separated by white space.
        "GANTRY_NOTIFICATION_URL" gantry_notification_url: DestinationList;
        /// A file with these addresses. It is read for each message.
        "GANTRY_NOTIFICATION_URL_FILE" gantry_notification_url_file: PathBuf;
        /// `on-change`: only after a cycle with an update or an error.
        "GANTRY_NOTIFICATION_CONDITION" gantry_notification_condition: NotificationCondition = "all";
        /// Appended to the title.
        "GANTRY_NOTIFICATION_TITLE" gantry_notification_title: String;
        /// A cycle that lasts longer than so many seconds also tells how far it is, each time that so many
        /// seconds have passed. 0: never.
        "GANTRY_NOTIFICATION_PROGRESS" gantry_notification_progress: Seconds = "0";

    group "Seeing and steering"
        /// Where the status page and the API listen: `HOST:PORT`, or `:PORT` for all addresses. Empty: nothing
        /// listens.
        "GANTRY_HTTP_ADDRESS" gantry_http_address: ListenAddress;
        /// The token with which page and API can be read. Without it, `GANTRY_HTTP_ADDRESS` must be a loopback
        /// address, or `GANTRY_HTTP_OPEN` must be `true`.
        "GANTRY_HTTP_READ_TOKEN" gantry_http_read_token: ListenerToken;
        /// A file with that token, or with a line `NAME TOKEN` for each user. It is read again when it changes.
        "GANTRY_HTTP_READ_TOKEN_FILE" gantry_http_read_token_file: PathBuf;
        /// The token with which Gantry can be steered (run, release) as well as read. Without it, nothing can be
        /// steered over HTTP.
        "GANTRY_HTTP_STEER_TOKEN" gantry_http_steer_token: ListenerToken;
        /// A file with that token, or with a line `NAME TOKEN` for each user. The name stands in the log and in the
        /// history of runs. It is read again when it changes.
        "GANTRY_HTTP_STEER_TOKEN_FILE" gantry_http_steer_token_file: PathBuf;
        /// The secret of webhooks (docs/webhooks.md): registries sign their events with it, or send it. Without it,
        /// `/hooks/` answers 404.
        "GANTRY_HTTP_HOOK_TOKEN" gantry_http_hook_token: ListenerToken;
        /// A file with that secret, or with a line `NAME TOKEN` for each sender. The name stands in the log and in the
        /// history of runs. It is read again when it changes.
        "GANTRY_HTTP_HOOK_TOKEN_FILE" gantry_http_hook_token_file: PathBuf;
        /// `true`: reading needs no token, from wherever the address can be reached.
        "GANTRY_HTTP_OPEN" gantry_http_open: bool = "false";
        /// Names by which the page may be called, apart from `localhost` and IP addresses. Needed on a loopback address,
        /// and where reading needs no token: a page of another site could read Gantry's by a name of its own otherwise.
        "GANTRY_HTTP_HOSTS" gantry_http_hosts: WordList;
        /// `true`: metrics have a series with the name of each service that is not in order, 100 at most.
        "GANTRY_METRICS_SERVICES" gantry_metrics_services: bool = "false";
        /// The certificate chain for HTTPS, in PEM. It is read again when it changes.
        "GANTRY_HTTP_TLS_CERT_FILE" gantry_http_tls_cert_file: PathBuf;
        /// The key of that certificate, in PEM.
        "GANTRY_HTTP_TLS_KEY_FILE" gantry_http_tls_key_file: PathBuf;

    labels
        /// `true`: this service is never updated. In effect through the default of
        /// `GANTRY_SERVICES_EXCLUDED_FILTERS`.
        "gantry.services.excluded" services_excluded: bool;
        /// The name of the login with which this service's image is looked up and pulled, or an absolute
        /// folder with a `config.json` of its own.
        "gantry.auth.config" auth_config: String;
        /// `false`: `GANTRY_ACCEPT_CMD` is not asked for this service.
        "gantry.update.accept" update_accept: bool;
        /// Services whose updates of the same cycle end before that of this one begins (docs/policies.md): short names within
        /// the same stack, or full names, separated by commas. With `!` before a name, this service also waits while a gate
        /// holds that one.
        "gantry.update.after" update_after: UpdateAfter;
        /// A word. Of the services with the same one, only `GANTRY_UPDATE_GROUP_WORKERS` are under way at once.
        "gantry.update.group" update_group: String;
        /// `true`: `gantry.update.tags` also accepts pre-releases: `1.3.0-rc.1`, `2.0.0-beta`, `3.14.0a2`. A regular expression says
        /// itself what it accepts.
        "gantry.update.tags.prereleases" update_tags_prereleases: bool;
        /// `true`: this service is among the first that get a new image.
        "gantry.rollout.canary" rollout_canary: bool;
}
