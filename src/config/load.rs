//! From the environment to a [`Config`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::client::CLIENT_VARIABLES;
use super::engine::DockerHost;
use super::listen::{ListenAddress, ListenerToken};
use super::policy::{EXCLUDED, EXCLUDED_BY_LABEL};
use super::shepherd;
use super::update_times::KnownZone;
use super::value::{Url, Value, Zone};
use super::variables::{Raw, VARIABLES, Variable, Variables};
use super::{
    Cleanup, Config, Destination, EngineAddress, Filter, Hooks, LabelsAllowed, Listener, LogFormat, LogLevel,
    LogSettings, Login, Logins, Lookups, Mistake, Mistakes, Notification, NotificationCondition,
    NotificationUrls, QuarantineSettings, Rollback, RolloutSettings, Schedule, Selection, Source, Updates,
};
use crate::gate::window::UpdateTimes;
use crate::proxy::{Proxies, Proxy};
use crate::secret::Secret;
use crate::suggest::unknown_names;

/// How long an approval holds where `GANTRY_APPROVAL_EXPIRES` is 0.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Every variable that begins so is ours, known or not.
pub(super) const PREFIX: &str = "GANTRY_";

/// The variables that programs also take in small letters. Those in capitals come first.
const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// A usable configuration, and its warnings.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings to be logged once at start: unknown variables, variables of another program, variables without effect.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the configuration from an environment. Variables of other programs are ignored.
    ///
    /// # Errors
    /// All variables whose value cannot be used, at once.
    pub fn load(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Loaded, Mistakes> {
        let mut mistakes = Vec::new();
        let (mut warnings, mut unknown) = (Vec::new(), Vec::new());
        let raw = raw(environment, &mut mistakes, &mut warnings, &mut unknown);

        let variables = Variables::read(&raw, &mut mistakes);
        let config = variables.and_then(|v| config(v, &mut mistakes, &mut warnings));
        match config {
            Some(config) if mistakes.is_empty() => {
                warnings.splice(0..0, unknown);
                Ok(Loaded { config, warnings })
            }
            _ => {
                mistakes.sort_by_key(|mistake| VARIABLES.iter().position(|v| v.name == mistake.name));
                let notification = Box::new(readable_notification(&raw));
                let proxies = Box::new(readable_proxies(&raw));
                let (log, engine) = (readable_log_settings(&raw), readable_engine(&raw).map(Box::new));
                Err(Mistakes { list: mistakes, unknown, log, notification, proxies, engine })
            }
        }
    }
}

/// Picks our variables out of the environment. `unknown` are warnings of those that begin as ours do and are none.
fn raw(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    mistakes: &mut Vec<Mistake>,
    warnings: &mut Vec<String>,
    unknown: &mut Vec<String>,
) -> Raw {
    let mut ours = BTreeMap::new();
    let mut in_small_letters = Vec::new();
    let (mut unknown_ours, mut others) = (Vec::new(), Vec::new());
    for (name, value) in environment {
        let name = name.to_string_lossy().into_owned();
        if let Some(known) = PROXIES.into_iter().find(|known| known.to_ascii_lowercase() == name) {
            in_small_letters.extend(value.into_string().ok().map(|value| (known.to_owned(), value)));
            continue;
        }
        match VARIABLES.iter().find(|variable| variable.name == name) {
            Some(variable) => match value.into_string() {
                Ok(value) => _ = ours.insert(name, value),
                Err(value) => mistakes.push(not_utf8(variable, &value.to_string_lossy())),
            },
            // A daemon whose container is entered to ask another one may have them.
            None if CLIENT_VARIABLES.contains(&name.as_str()) => {}
            None if name.starts_with(PREFIX) => unknown_ours.push(name),
            None if !value.is_empty() => others.push(name),
            None => {}
        }
    }
    for (name, value) in in_small_letters {
        let written = ours.entry(name).or_default();
        if written.is_empty() {
            *written = value;
        }
    }
    let known: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    unknown.extend(unknown_names(&unknown_ours, PREFIX, "variable", &known));
    warnings.extend(shepherd::hint(others.iter().map(String::as_str)));
    // All fields are optional texts, so that there is nothing that it could refuse.
    envy::from_iter(ours).unwrap_or_else(|error| {
        mistakes.push(Mistake::missing("the environment", error.to_string()));
        Raw::default()
    })
}

/// The filters by which services are excluded. The default is the label of `gantry.services.excluded`, which may not count.
fn excluded_filters(filters: Vec<Filter>, labels: &LabelsAllowed) -> Vec<Filter> {
    let is_default = matches!(&filters[..], [filter] if filter.to_string() == EXCLUDED_BY_LABEL);
    if is_default && !labels.allows(EXCLUDED) { Vec::new() } else { filters }
}

fn not_utf8(variable: &Variable, value: &str) -> Mistake {
    let expected = format!("{}, in UTF-8", variable.expected);
    if variable.is_secret {
        Mistake::secret(variable.name, expected)
    } else {
        Mistake::new(variable.name, value, expected)
    }
}

/// The text of a variable, unless it is empty.
fn set(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// The value of a variable, if it is right.
fn readable<T: Value>(text: Option<&String>) -> Option<T> {
    T::parse(set(text)?).ok()
}

/// The settings of the log, with the default for each that is wrong: mistakes must be told, too.
fn readable_log_settings(raw: &Raw) -> LogSettings {
    LogSettings {
        format: readable(raw.gantry_log_format.as_ref()).unwrap_or(LogFormat::Text),
        level: readable(raw.gantry_log_level.as_ref()).unwrap_or(LogLevel::Info),
        time_zone: readable(raw.tz.as_ref()).map_or(TimeZone::UTC, |Zone(zone)| zone),
        node_name: set(raw.gantry_node_name.as_ref()).map(str::to_owned),
    }
}

/// The settings for a notification of mistakes: without an address if the address is one of the mistakes.
fn readable_notification(raw: &Raw) -> Notification {
    Notification {
        apprise_url: readable(raw.gantry_notification_apprise_url.as_ref()).map(|Url(url)| url),
        urls: match (
            set(raw.gantry_notification_url.as_ref()),
            set(raw.gantry_notification_url_file.as_ref()),
        ) {
            (Some(text), _) => Some(NotificationUrls::Given(Destination::read_all(text).0)),
            (None, file) => file.map(|path| NotificationUrls::File(path.into())),
        },
        condition: NotificationCondition::All,
        title: set(raw.gantry_notification_title.as_ref()).map(str::to_owned),
        progress: None,
    }
}

/// The engine's address, if it is right.
fn readable_engine(raw: &Raw) -> Option<EngineAddress> {
    let certificates = set(raw.docker_cert_path.as_ref()).map(PathBuf::from);
    let host = set(raw.docker_host.as_ref()).unwrap_or("unix:///var/run/docker.sock");
    DockerHost::parse(host).ok()?.address(set(raw.docker_tls_verify.as_ref()).is_some(), certificates).ok()
}

/// The proxies whose addresses are right.
fn readable_proxies(raw: &Raw) -> Proxies {
    let read = |variable, text: &Option<String>| Proxy::read(variable, text.as_deref()?.trim()).ok();
    let (http, https) = (read("HTTP_PROXY", &raw.http_proxy), read("HTTPS_PROXY", &raw.https_proxy));
    Proxies::new(http, https, raw.no_proxy.as_deref().unwrap_or_default())
}

/// Makes the configuration of the parsed variables, and checks variables that depend on each other.
fn config(v: Variables, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<String>) -> Option<Config> {
    let engine = engine(&v, mistakes);
    let logins = logins(&v, mistakes, warnings);
    let proxies = proxies(&v, warnings);
    let listener = listener(&v, mistakes, warnings);
    let zone = zone(&v, mistakes);
    let (given, file) = (v.gantry_notification_url, v.gantry_notification_url_file);
    if given.is_some() && file.is_some() {
        warnings
            .push("GANTRY_NOTIFICATION_URL_FILE is ignored, as GANTRY_NOTIFICATION_URL is set".to_owned());
    }
    let urls = given.map(|list| NotificationUrls::Given(list.0)).or(file.map(NotificationUrls::File));
    let insecure = v.gantry_manifest_options.as_ref().is_some_and(|options| options.insecure);
    for option in v.gantry_manifest_options.iter().flat_map(|options| &options.unknown) {
        warnings.push(format!("GANTRY_MANIFEST_OPTIONS: {option} has no meaning; only --insecure has one"));
    }
    Some(Config {
        log: LogSettings {
            format: v.gantry_log_format,
            level: v.gantry_log_level,
            time_zone: v.tz.0,
            node_name: v.gantry_node_name,
        },
        interval: v.gantry_sleep_seconds.0,
        schedule: v.gantry_schedule.map(|crons| Schedule::new(crons, zone.clone())),
        jitter: v.gantry_jitter.0.unwrap_or_default(),
        trigger_path: v.gantry_trigger_path,
        hooks: Hooks {
            pre_run: v.gantry_pre_run_cmd,
            post_run: v.gantry_post_run_cmd,
            timeout: v.gantry_hook_timeout_seconds.0,
        },
        engine: engine?,
        docker_config: v.docker_config,
        home: v.home,
        logins: logins?,
        services: Selection {
            filters: v.gantry_services_filters.map_or_else(Vec::new, |filters| filters.0),
            excluded: v.gantry_services_excluded.into_iter().flat_map(|names| names.0).collect(),
            excluded_filters: excluded_filters(
                v.gantry_services_excluded_filters.0,
                &v.gantry_labels_allowed,
            ),
            labels: v.gantry_labels_allowed,
            itself: v.gantry_services_self,
        },
        lookups: Lookups {
            method: v.gantry_manifest_cmd,
            workers: v.gantry_manifest_num_workers.0,
            insecure,
            trusted_hosts: v.gantry_registry_trusted_hosts.map_or_else(Vec::new, |hosts| hosts.0),
        },
        updates: Updates {
            workers: v.gantry_update_num_workers.0,
            timeout: v.gantry_update_timeout_seconds.0,
            order: v.gantry_update_order,
            jobs: v.gantry_update_jobs,
            options: v.gantry_update_options.unwrap_or_default().0,
            max_starting_per_node: v.gantry_update_max_starting_per_node.0,
            tags: v.gantry_update_tags,
            min_age: v.gantry_update_min_age.0,
            approval: v.gantry_update_approval,
            accept_command: v.gantry_accept_cmd,
            approval_expires: v.gantry_approval_expires.0.unwrap_or(A_YEAR),
            group_workers: v.gantry_update_group_workers.0,
            max_per_stack: v.gantry_update_max_per_stack.0,
            times: Arc::new(UpdateTimes::new(v.gantry_update_windows, v.gantry_update_freezes, zone)),
        },
        rollout: RolloutSettings {
            max_failure_ratio: v.gantry_rollout_max_failure_ratio.0,
            min_failures: v.gantry_rollout_min_failures.0,
            initial_workers: v.gantry_rollout_initial_workers.0,
        },
        rollback: Rollback {
            on_failure: v.gantry_rollback_on_failure,
            options: v.gantry_rollback_options.unwrap_or_default().0,
        },
        ledger_name: v.gantry_ledger_name.0,
        quarantine: QuarantineSettings {
            enabled: v.gantry_quarantine,
            duration: v.gantry_quarantine_seconds.0,
        },
        cleanup: Cleanup {
            enabled: v.gantry_cleanup_images,
            remover: v.gantry_cleanup_images_remover,
            options: v.gantry_cleanup_images_options.unwrap_or_default().0,
        },
        images_to_remove: v.gantry_images_to_remove.map_or_else(Vec::new, |images| images.0),
        notification: Notification {
            apprise_url: v.gantry_notification_apprise_url.map(|url| url.0),
            urls,
            condition: v.gantry_notification_condition,
            title: v.gantry_notification_title,
            progress: v.gantry_notification_progress.0,
        },
        proxies,
        listener,
        metrics_services: v.gantry_metrics_services,
    })
}

/// The zone of windows and schedule. Adds the mistake of an interval beside a schedule.
fn zone(v: &Variables, mistakes: &mut Vec<Mistake>) -> TimeZone {
    if let Some(interval) = v.gantry_sleep_seconds.0.filter(|_| v.gantry_schedule.is_some()) {
        let remedy = "no value, as GANTRY_SCHEDULE is set; unset one of the two";
        mistakes.push(Mistake::new("GANTRY_SLEEP_SECONDS", &interval.as_secs().to_string(), remedy));
    }
    v.gantry_update_zone.as_ref().map_or_else(|| v.tz.0.clone(), |KnownZone(zone)| zone.clone())
}

/// The listener of page and API.
fn listener(v: &Variables, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<String>) -> Option<Listener> {
    let mut source = |name: &str, token: Option<&ListenerToken>, file: Option<&PathBuf>| {
        if token.is_some() && file.is_some() {
            warnings.push(format!("{name}_FILE is ignored, as {name} is set"));
        }
        token.map(|token| Source::Value(token.0.clone())).or_else(|| file.cloned().map(Source::File))
    };
    let read = (v.gantry_http_read_token.as_ref(), v.gantry_http_read_token_file.as_ref());
    let read = source("GANTRY_HTTP_READ_TOKEN", read.0, read.1);
    let steer = (v.gantry_http_steer_token.as_ref(), v.gantry_http_steer_token_file.as_ref());
    let steer = source("GANTRY_HTTP_STEER_TOKEN", steer.0, steer.1);
    let hook = (v.gantry_http_hook_token.as_ref(), v.gantry_http_hook_token_file.as_ref());
    let hook = source("GANTRY_HTTP_HOOK_TOKEN", hook.0, hook.1);
    let Some(ListenAddress(address)) = v.gantry_http_address else {
        let (cert, key) = (&v.gantry_http_tls_cert_file, &v.gantry_http_tls_key_file);
        for (name, is_set) in [
            ("GANTRY_HTTP_READ_TOKEN", read.is_some()),
            ("GANTRY_HTTP_STEER_TOKEN", steer.is_some()),
            ("GANTRY_HTTP_HOOK_TOKEN", hook.is_some()),
            ("GANTRY_HTTP_OPEN", v.gantry_http_open),
            ("GANTRY_HTTP_HOSTS", v.gantry_http_hosts.is_some()),
            ("GANTRY_METRICS_SERVICES", v.gantry_metrics_services),
            ("GANTRY_HTTP_TLS_CERT_FILE", cert.is_some()),
            ("GANTRY_HTTP_TLS_KEY_FILE", key.is_some()),
        ] {
            if is_set {
                warnings.push(format!("{name} has no effect without GANTRY_HTTP_ADDRESS"));
            }
        }
        return None;
    };
    if read.is_none() && !v.gantry_http_open && !address.ip().is_loopback() {
        let remedy = "the token that readers of the page need, as GANTRY_HTTP_ADDRESS can be reached from other machines \
                      (GANTRY_HTTP_OPEN=true lets all of them read)";
        mistakes.push(Mistake::missing("GANTRY_HTTP_READ_TOKEN", remedy));
    }
    let (cert, key) = (&v.gantry_http_tls_cert_file, &v.gantry_http_tls_key_file);
    for (name, it, other) in
        [("GANTRY_HTTP_TLS_CERT_FILE", cert, key), ("GANTRY_HTTP_TLS_KEY_FILE", key, cert)]
    {
        if it.is_none() && other.is_some() {
            mistakes.push(Mistake::missing(name, "a file, as HTTPS needs a certificate and its key"));
        }
    }
    let tls = cert.clone().zip(key.clone());
    let hosts = v.gantry_http_hosts.as_ref().map_or_else(Vec::new, |hosts| hosts.0.clone());
    let read = read.filter(|_| !v.gantry_http_open);
    Some(Listener { address, read, steer, hook, hosts, tls })
}

/// The engine's address. The certificates are in the folder of the docker CLI.
fn engine(v: &Variables, mistakes: &mut Vec<Mistake>) -> Option<EngineAddress> {
    let in_home = || v.home.as_deref().map(|home| home.join(".docker"));
    let certificates = v.docker_cert_path.clone().or_else(|| v.docker_config.clone()).or_else(in_home);
    let address = v.docker_host.clone().address(v.docker_tls_verify.is_some(), certificates);
    let expected = "the folder with ca.pem, cert.pem and key.pem, as DOCKER_HOST is to be used with TLS";
    address.map_err(|_| mistakes.push(Mistake::missing("DOCKER_CERT_PATH", expected))).ok()
}

/// The proxies. An address that is not a proxy's is a warning only: it may be meant for another program.
fn proxies(v: &Variables, warnings: &mut Vec<String>) -> Proxies {
    let mut read = |variable, text: Option<&Secret>| match Proxy::read(variable, text?.reveal()) {
        Ok(proxy) => Some(proxy),
        Err(error) => {
            warnings.push(format!("{variable} is ignored: {error}"));
            None
        }
    };
    let http = read("HTTP_PROXY", v.http_proxy.as_ref());
    let https = read("HTTPS_PROXY", v.https_proxy.as_ref());
    Proxies::new(http, https, v.no_proxy.as_deref().unwrap_or_default())
}

/// The logins given by variables.
fn logins(v: &Variables, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<String>) -> Option<Logins> {
    let mut source = |name: &str, value: Option<Secret>, file: &Option<PathBuf>| {
        if value.is_some() && file.is_some() {
            warnings.push(format!("{name}_FILE is ignored, as {name} is set"));
        }
        value.map(Source::Value).or_else(|| file.clone().map(Source::File))
    };
    let text = |text: &Option<String>| text.as_ref().map(Secret::new);
    let user = source("GANTRY_REGISTRY_USER", v.gantry_registry_user.clone(), &v.gantry_registry_user_file);
    let password = v.gantry_registry_password.clone();
    let password = source("GANTRY_REGISTRY_PASSWORD", password, &v.gantry_registry_password_file);
    let host = text(&v.gantry_registry_host);
    let host = source("GANTRY_REGISTRY_HOST", host, &v.gantry_registry_host_file);
    let config = text(&v.gantry_registry_config);
    let config = source("GANTRY_REGISTRY_CONFIG", config, &v.gantry_registry_config_file);
    let services = v.gantry_registry_services.as_ref().map(|scope| Secret::new(&scope.0));
    let services = source("GANTRY_REGISTRY_SERVICES", services, &v.gantry_registry_services_file);

    let single = match (user, password) {
        (Some(user), Some(password)) => Some(Login { user, password, host, config, services }),
        (None, None) => {
            let alone = [
                ("GANTRY_REGISTRY_HOST", host),
                ("GANTRY_REGISTRY_CONFIG", config),
                ("GANTRY_REGISTRY_SERVICES", services),
            ];
            for (name, _) in alone.iter().filter(|(_, value)| value.is_some()) {
                warnings.push(format!("{name} has no effect without GANTRY_REGISTRY_USER"));
            }
            None
        }
        (Some(_), None) => {
            mistakes
                .push(Mistake::missing("GANTRY_REGISTRY_PASSWORD", "the password of GANTRY_REGISTRY_USER"));
            return None;
        }
        (None, Some(_)) => {
            mistakes.push(Mistake::missing("GANTRY_REGISTRY_USER", "the user of GANTRY_REGISTRY_PASSWORD"));
            return None;
        }
    };
    Some(Logins { single, configs_file: v.gantry_registry_configs_file.clone() })
}
