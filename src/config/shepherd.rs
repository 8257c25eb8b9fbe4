//! The variables of [Shepherd](https://github.com/containrrr/shepherd), an updater that many come from, and
//! what they are called here.
//!
//! None of them has an effect; `TZ` alone means the same to both. A user who changes only the image in a stack
//! file would not notice that, so Gantry names the variables that are set once at start.

use std::fmt::Write as _;

/// A variable of Shepherd.
struct ShepherdVariable {
    name: &'static str,
    /// What stands for it here, in Markdown.
    ours: &'static str,
    /// What differs, in Markdown.
    doc: &'static str,
    /// Whether a program other than Shepherd is hardly ever given a variable of this name. The others are
    /// named only beside one that tells.
    is_telling: bool,
}

/// Without `HOSTNAME`, which Docker sets in every container, and `TZ`.
const VARIABLES: &[ShepherdVariable] = &[
    telling(
        "SLEEP_TIME",
        "`GANTRY_SLEEP_SECONDS`",
        "In seconds, without a unit, from start to start. Default 0: run once.",
    ),
    telling("RUN_ONCE_AND_EXIT", "`GANTRY_SLEEP_SECONDS=0`", "The default."),
    telling("FILTER_SERVICES", "`GANTRY_SERVICES_FILTERS`", "The same expressions; several hold together."),
    telling("IGNORELIST_SERVICES", "`GANTRY_SERVICES_EXCLUDED`", "The same names."),
    telling("BLACKLIST_SERVICES", "`GANTRY_SERVICES_EXCLUDED`", "The same names."),
    general("TIMEOUT", "`GANTRY_UPDATE_TIMEOUT_SECONDS`", "In seconds. Default 0: no limit."),
    telling("UPDATE_OPTIONS", "`GANTRY_UPDATE_OPTIONS`", "The same options, except `--image`."),
    telling("ROLLBACK_ON_FAILURE", "`GANTRY_ROLLBACK_ON_FAILURE`", "On by default."),
    telling("ROLLBACK_OPTIONS", "`GANTRY_ROLLBACK_OPTIONS`", "The same options."),
    telling("WITH_REGISTRY_AUTH", "nothing", "Credentials reach the nodes with every update."),
    telling(
        "WITH_INSECURE_REGISTRY",
        "`GANTRY_MANIFEST_OPTIONS=--insecure`",
        "Not needed for registries that the engine itself trusts without TLS.",
    ),
    telling(
        "WITH_NO_RESOLVE_IMAGE",
        "`GANTRY_UPDATE_OPTIONS=--no-resolve-image`",
        "For images that no registry has: `GANTRY_MANIFEST_CMD=none`.",
    ),
    general("REGISTRY_USER", "`GANTRY_REGISTRY_USER`", "Or `GANTRY_REGISTRY_USER_FILE`."),
    general(
        "REGISTRY_PASSWORD",
        "`GANTRY_REGISTRY_PASSWORD`",
        "For the secret `shepherd_registry_password`: \
         `GANTRY_REGISTRY_PASSWORD_FILE=/run/secrets/shepherd_registry_password`.",
    ),
    general("REGISTRY_HOST", "`GANTRY_REGISTRY_HOST`", "Default: Docker Hub."),
    general(
        "REGISTRIES_FILE",
        "`GANTRY_REGISTRY_CONFIGS_FILE`",
        "The same four columns. The label `shepherd.auth.config` is `gantry.auth.config`.",
    ),
    telling(
        "APPRISE_SIDECAR_URL",
        "`GANTRY_NOTIFICATION_APPRISE_URL`",
        "A whole URL, of an Apprise API server: `http://apprise:8000/notify/KEY`.",
    ),
    telling(
        "IMAGE_AUTOCLEAN_LIMIT",
        "`GANTRY_CLEANUP_IMAGES`",
        "On by default: replaced images are removed on every node.",
    ),
    general("VERBOSE", "`GANTRY_LOG_LEVEL=DEBUG`", "The default `INFO` says what was changed."),
];

const fn telling(name: &'static str, ours: &'static str, doc: &'static str) -> ShepherdVariable {
    ShepherdVariable { name, ours, doc, is_telling: true }
}

const fn general(name: &'static str, ours: &'static str, doc: &'static str) -> ShepherdVariable {
    ShepherdVariable { name, ours, doc, is_telling: false }
}

/// One line for all variables of Shepherd among `set`, the names of the environment's variables that are not
/// empty; `None` unless one of them hardly belongs to another program.
pub(super) fn hint<'a>(set: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let set: Vec<&str> = set.into_iter().collect();
    let found: Vec<&ShepherdVariable> =
        VARIABLES.iter().filter(|theirs| set.contains(&theirs.name)).collect();
    if !found.iter().any(|theirs| theirs.is_telling) {
        return None;
    }
    let ours =
        |theirs: &&ShepherdVariable| format!("{} (here: {})", theirs.name, theirs.ours.replace('`', ""));
    let found: Vec<String> = found.iter().map(ours).collect();
    Some(format!("variables of Shepherd have no effect: {}", found.join(", ")))
}

/// The table in `docs/migrating.md`.
pub fn markdown_shepherd() -> String {
    let mut text = "\n| Shepherd | Gantry | |\n|---|---|---|\n".to_owned();
    for ShepherdVariable { name, ours, doc, .. } in VARIABLES {
        _ = writeln!(text, "| `{name}` | {ours} | {doc} |");
    }
    text.push_str("| `HOSTNAME` | `GANTRY_NODE_NAME` | Default: the host name of the manager. |\n");
    text.push_str("| `TZ` | `TZ` | The same. |\n");
    text
}

#[cfg(test)]
mod tests {
    use super::super::VARIABLES as OURS;
    use super::*;

    #[test]
    fn those_that_are_set_are_named_with_ours_in_one_line() {
        let hint = hint(["PATH", "VERBOSE", "TZ", "HOSTNAME", "FILTER_SERVICES", "SLEEP_TIME"]);
        assert_eq!(
            hint.as_deref(),
            Some(
                "variables of Shepherd have no effect: SLEEP_TIME (here: GANTRY_SLEEP_SECONDS), \
                 FILTER_SERVICES (here: GANTRY_SERVICES_FILTERS), VERBOSE (here: GANTRY_LOG_LEVEL=DEBUG)"
            )
        );
    }

    #[test]
    fn names_that_may_be_anybody_s_are_no_alarm() {
        assert_eq!(
            hint(["TIMEOUT", "VERBOSE", "REGISTRY_HOST", "REGISTRY_USER", "GANTRY_SLEEP_SECONDS"]),
            None
        );
    }

    #[test]
    fn what_stands_for_them_exists() {
        for ShepherdVariable { name, ours, .. } in VARIABLES {
            let ours = ours.trim_matches('`').split('=').next().unwrap();
            assert!(ours == "nothing" || OURS.iter().any(|variable| variable.name == ours), "{name}: {ours}");
        }
    }
}
