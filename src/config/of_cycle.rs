//! The configuration of one cycle: the environment of the process, changed by the pre-run command.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};

use super::client::TOKEN;
use super::load::PREFIX;
use super::variables::VARIABLES;
use super::{Config, Loaded, Mistakes};

/// Variables of a process, in no particular order.
pub type Environment = Vec<(OsString, OsString)>;

/// The variables that are read once, when the process starts.
const READ_ONCE: [&str; 24] = [
    "GANTRY_LOG_FORMAT",
    "GANTRY_LOG_LEVEL",
    "GANTRY_NODE_NAME",
    "GANTRY_SLEEP_SECONDS",
    "GANTRY_SCHEDULE",
    "GANTRY_JITTER",
    "GANTRY_TRIGGER_PATH",
    "GANTRY_PRE_RUN_CMD",
    "GANTRY_LEDGER_NAME",
    "GANTRY_APPROVAL_EXPIRES",
    "GANTRY_REGISTRY_TRUSTED_HOSTS",
    "GANTRY_IMAGES_TO_REMOVE",
    "GANTRY_HTTP_ADDRESS",
    "GANTRY_HTTP_READ_TOKEN",
    "GANTRY_HTTP_READ_TOKEN_FILE",
    "GANTRY_HTTP_STEER_TOKEN",
    "GANTRY_HTTP_STEER_TOKEN_FILE",
    "GANTRY_HTTP_HOOK_TOKEN",
    "GANTRY_HTTP_HOOK_TOKEN_FILE",
    "GANTRY_HTTP_OPEN",
    "GANTRY_HTTP_HOSTS",
    "GANTRY_METRICS_SERVICES",
    "GANTRY_HTTP_TLS_CERT_FILE",
    "GANTRY_HTTP_TLS_KEY_FILE",
];

/// Whether a variable is one of Gantry's, known or not.
pub fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Whether hooks do not find this variable of Gantry's in their environment, as its value is or may hold a secret.
pub fn is_withheld(name: &OsStr) -> bool {
    let is_secret =
        |name: &OsStr| VARIABLES.iter().any(|variable| variable.is_secret && name == variable.name);
    name == TOKEN || (is_ours(name) && is_secret(name))
}

impl Config {
    /// Reads the configuration of a cycle whose pre-run command has left this environment behind. Its
    /// `GANTRY_*` variables count, and one that it unset is unset; all else is as the process has it. So is what the
    /// command did not find ([`is_withheld`]), unless it has set that itself.
    ///
    /// Leaves out the warnings that [`Config::load`] has given for the process itself.
    ///
    /// # Errors
    /// All variables whose value cannot be used, at once.
    pub fn of_cycle(process: &Environment, left_behind: Environment) -> Result<Loaded, Mistakes> {
        let own = |name: &&str| process.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let is_read_once = |name: &OsStr| READ_ONCE.iter().any(|known| name == *known);

        let changed: Vec<&str> = READ_ONCE
            .into_iter()
            .filter(|name| {
                let new = left_behind.iter().find(|(known, _)| known == name).map(|(_, value)| value);
                new.is_some() && new != own(name)
            })
            .collect();
        let is_left = |name: &OsStr| left_behind.iter().any(|(known, _)| known == name);
        let is_kept =
            |name: &OsStr| !is_ours(name) || is_read_once(name) || (is_withheld(name) && !is_left(name));
        let kept: Environment = process.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
        let new = left_behind.into_iter().filter(|(name, _)| is_ours(name) && !is_read_once(name));
        let mut loaded = Self::load(kept.into_iter().chain(new))?;

        if let Ok(known) = Self::load(process.iter().cloned()) {
            let known: HashSet<String> = known.warnings.into_iter().collect();
            loaded.warnings.retain(|warning| !known.contains(warning));
        }
        loaded.warnings.extend(
            changed.iter().map(|name| {
                format!("{name}, set by the pre-run command, is only read when Gantry is started")
            }),
        );
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn what_the_pre_run_command_set_or_unset_counts_and_all_else_is_as_it_was() {
        let process = [
            ("DOCKER_HOST", "tcp://here:1"),
            ("GANTRY_UPDATE_NUM_WORKERS", "7"),
            ("GANTRY_MANIFEST_NUM_WORKERS", "3"),
            ("GANTRY_SERVICES_EXCLUDED", "a"),
        ];
        let left = [
            ("DOCKER_HOST", "tcp://elsewhere:1"),
            ("GANTRY_UPDATE_NUM_WORKERS", "8"),
            ("GANTRY_SERVICES_EXCLUDED", "a"),
            ("GANTRY_NOTIFICATION_TITLE", "two\nlines"),
        ];
        let loaded = Config::of_cycle(&environment(&process), environment(&left)).unwrap();
        let config = loaded.config;
        assert!(!format!("{:?}", config.engine).contains("elsewhere"), "{:?}", config.engine);
        assert_eq!(config.updates.workers, 8);
        assert_eq!(config.lookups.workers, 10, "it was unset");
        assert!(config.services.excluded.contains("a"));
        assert_eq!(config.notification.title.as_deref(), Some("two\nlines"));
        assert_eq!(loaded.warnings, [""; 0]);
    }

    #[test]
    fn what_is_read_once_stays_and_is_told_where_it_was_to_change() {
        let process =
            [("GANTRY_SLEEP_SECONDS", "60"), ("GANTRY_LOG_LEVEL", "WARN"), ("GANTRY_OLD", "known before")];
        let left = [
            ("GANTRY_SLEEP_SECONDS", "soon"),
            ("GANTRY_LOG_LEVEL", "WARN"),
            ("GANTRY_OLD", "known before"),
            ("GANTRY_NEW", ""),
        ];
        let loaded = Config::of_cycle(&environment(&process), environment(&left)).unwrap();
        assert_eq!(loaded.config.interval.unwrap().as_secs(), 60);
        insta::assert_snapshot!(loaded.warnings.join("\n"), @r"
        GANTRY_NEW is not a variable of Gantry; gantry --help lists them all
        GANTRY_SLEEP_SECONDS, set by the pre-run command, is only read when Gantry is started
        ");
    }

    #[test]
    fn what_the_pre_run_command_does_not_find_stays_unless_it_sets_it() {
        let process = environment(&[
            ("GANTRY_REGISTRY_USER", "me"),
            ("GANTRY_REGISTRY_PASSWORD", "hush"),
            ("GANTRY_NOTIFICATION_APPRISE_URL", "http://apprise/notify/key"),
        ]);
        let of = |left: &[(&str, &str)]| Config::of_cycle(&process, environment(left)).unwrap().config;
        let url =
            |config: &Config| config.notification.apprise_url.as_ref().map(|url| url.reveal().to_owned());
        assert_eq!(of(&[]).logins, Config::load(process.clone()).unwrap().config.logins);
        assert_eq!(url(&of(&[])).as_deref(), Some("http://apprise/notify/key"));
        let other = of(&[("GANTRY_REGISTRY_PASSWORD", "new"), ("GANTRY_NOTIFICATION_APPRISE_URL", "")]);
        assert_ne!(other.logins, of(&[]).logins);
        assert_eq!(url(&other), None, "empty is unset");
    }

    #[test]
    fn what_may_hold_a_secret_is_withheld_and_nothing_of_others() {
        let withheld: Vec<&str> = VARIABLES
            .iter()
            .map(|variable| variable.name)
            .filter(|name| is_withheld(OsStr::new(name)))
            .collect();
        insta::assert_snapshot!(withheld.join("\n"), @r"
        GANTRY_REGISTRY_USER
        GANTRY_REGISTRY_PASSWORD
        GANTRY_UPDATE_OPTIONS
        GANTRY_ROLLBACK_OPTIONS
        GANTRY_CLEANUP_IMAGES_OPTIONS
        GANTRY_NOTIFICATION_APPRISE_URL
        GANTRY_NOTIFICATION_URL
        GANTRY_HTTP_READ_TOKEN
        GANTRY_HTTP_STEER_TOKEN
        GANTRY_HTTP_HOOK_TOKEN
        ");
        assert!(is_withheld(OsStr::new(TOKEN)), "of the command line");
        let hooks = include_str!("../../docs/hooks.md");
        for name in withheld.into_iter().chain([TOKEN]) {
            assert!(hooks.contains(&format!("\n- `{name}`\n")), "docs/hooks.md does not list {name}");
        }
    }

    #[test]
    fn a_mistake_of_the_pre_run_command_is_one_of_the_configuration() {
        let left = environment(&[("GANTRY_UPDATE_NUM_WORKERS", "many")]);
        let mistakes = Config::of_cycle(&Vec::new(), left).unwrap_err();
        assert!(mistakes.to_string().contains("GANTRY_UPDATE_NUM_WORKERS=\"many\""), "{mistakes}");
    }
}
