//! From an environment and labels to what is in effect.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::suggest::nearest;

mod names;

fn load(environment: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    Config::load(environment.iter().map(|(name, value)| (name.into(), value.into())))
}

pub(super) fn config(environment: &[(&str, &str)]) -> Config {
    load(environment).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

fn warnings(environment: &[(&str, &str)]) -> Vec<String> {
    load(environment).unwrap_or_else(|mistakes| panic!("{mistakes}")).warnings
}

pub(super) fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn an_empty_environment_gives_the_defaults() {
    let Loaded { config, warnings } = load(&[]).unwrap();
    insta::assert_debug_snapshot!(config);
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn an_empty_variable_has_its_default_without_exception() {
    let default = format!("{:?}", config(&[]));
    for empty in ["", " ", " \n"] {
        let all: Vec<_> = VARIABLES.iter().map(|variable| (variable.name, empty)).collect();
        let each = VARIABLES.iter().map(|variable| vec![(variable.name, empty)]);
        for environment in each.chain([all]) {
            let Loaded { config, warnings } =
                load(&environment).unwrap_or_else(|mistakes| panic!("{environment:?}: {mistakes}"));
            assert_eq!(format!("{config:?}"), default, "{environment:?}");
            assert_eq!(warnings, [""; 0], "{environment:?}");
        }
        // What a pre-run command empties has its default in that cycle, too.
        let process = [("GANTRY_SERVICES_EXCLUDED_FILTERS", "none"), ("GANTRY_UPDATE_NUM_WORKERS", "7")];
        let pairs = |variables: &[(&str, &str)]| -> Environment {
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
        };
        let emptied: Vec<_> = process.iter().map(|(name, _)| (*name, empty)).collect();
        let loaded = Config::of_cycle(&pairs(&process), pairs(&emptied)).unwrap();
        assert_eq!(format!("{:?}", loaded.config), default);
    }
}

#[test]
fn an_empty_label_is_no_label_without_exception() {
    let config = config(&[
        ("GANTRY_UPDATE_TIMEOUT_SECONDS", "60"),
        ("GANTRY_UPDATE_ORDER", "keep"),
        ("GANTRY_UPDATE_OPTIONS", "--force"),
        ("GANTRY_MANIFEST_OPTIONS", "--insecure"),
    ]);
    let unlabelled = ServicePolicy::of(&config, &labels(&[])).unwrap();
    let others = ["gantry.enable", "gantry.unknown", "swarm.cronjob.enable"];
    let names: Vec<&str> = LABELS.iter().map(|label| label.name).chain(others).collect();
    for empty in ["", " ", "\t\n"] {
        let all = names.iter().map(|name| (*name, empty)).collect();
        for set in names.iter().map(|name| vec![(*name, empty)]).chain([all]) {
            assert_eq!(ServicePolicy::of(&config, &labels(&set)).as_ref(), Ok(&unlabelled), "{set:?}");
        }
    }
}

#[test]
fn the_provider_s_configuration_is_read_as_it_stands() {
    let config = config(&[
        ("PATH", "/bin"),
        ("GANTRY_UPDATE_NUM_WORKERS", "50"),
        ("GANTRY_SLEEP_SECONDS", "300"),
        ("GANTRY_SERVICES_FILTERS", "label=gantry.enable=true"),
        ("GANTRY_SERVICES_EXCLUDED", "db  cache\nmail"),
        ("GANTRY_ROLLBACK_ON_FAILURE", "TRUE"),
        ("GANTRY_UPDATE_TIMEOUT_SECONDS", "600"),
        ("GANTRY_LOG_FORMAT", "JSON"),
        ("GANTRY_LOG_LEVEL", "debug"),
        ("TZ", "Europe/Berlin"),
        ("GANTRY_NOTIFICATION_PROGRESS", "1800"),
    ]);
    assert_eq!(config.updates.workers, 50);
    assert_eq!(config.interval, Some(Duration::from_secs(300)));
    assert_eq!(Filter::to_json(&config.services.filters), r#"{"label":["gantry.enable=true"]}"#);
    assert_eq!(config.services.excluded, ["cache", "db", "mail"].map(str::to_owned).into());
    assert!(config.rollback.on_failure);
    assert_eq!(config.updates.timeout, Some(Duration::from_secs(600)));
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, LogLevel::Debug));
    assert_eq!(config.log.time_zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(config.notification.progress, Some(Duration::from_secs(1800)));
}

#[test]
fn every_mistake_is_told_at_once_with_variable_value_and_what_was_expected() {
    let long = "x".repeat(200);
    let mistakes = load(&[
        ("GANTRY_UPDATE_NUM_WORKERS", "0"),
        ("GANTRY_LOG_LEVEL", "LOUD"),
        ("GANTRY_SLEEP_SECONDS", "5m"),
        ("TZ", "Europe/Atlantis"),
        ("GANTRY_SERVICES_FILTERS", "label=a=b gantry.enable"),
        ("GANTRY_ROLLBACK_ON_FAILURE", "yes\n2026-11-23T11:20:00Z INFO forged"),
        ("GANTRY_ROLLOUT_MAX_FAILURE_RATIO", "10%"),
        ("GANTRY_MANIFEST_CMD", &long),
        ("GANTRY_UPDATE_ORDER", "first"),
        ("GANTRY_NOTIFICATION_APPRISE_URL", "user:password@apprise"),
        ("GANTRY_NOTIFICATION_URL", "https://hooks.test/x pushover://password@host"),
        ("GANTRY_NOTIFICATION_CONDITION", "never"),
        ("GANTRY_LOG_FORMAT", "xml"),
        ("DOCKER_HOST", "ssh://manager"),
    ])
    .unwrap_err();
    insta::assert_snapshot!(mistakes, @r#"
    the configuration has 14 mistakes:
      GANTRY_LOG_FORMAT="xml": expected text or json
      GANTRY_LOG_LEVEL="LOUD": expected NONE, ERROR, WARN, INFO or DEBUG
      TZ="Europe/Atlantis": expected the name of a time zone, such as UTC or Europe/Berlin
      GANTRY_SLEEP_SECONDS="5m": expected a whole number of seconds from 0 to 999999999
      DOCKER_HOST="ssh://manager": expected unix:// or tcp:// (ssh:// is not supported; forward the remote socket with ssh -L /run/gantry.sock:/var/run/docker.sock and use unix:///run/gantry.sock)
      GANTRY_SERVICES_FILTERS="label=a=b gantry.enable": expected filters of the form key=value, separated by white space
      GANTRY_MANIFEST_CMD="xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...": expected buildx, manifest or none
      GANTRY_UPDATE_NUM_WORKERS="0": expected a whole number from 1 to 10000
      GANTRY_UPDATE_ORDER="first": expected auto, start-first, stop-first or keep
      GANTRY_ROLLBACK_ON_FAILURE="yes\n2026-11-23T11:20:00Z INFO forged": expected true or false
      GANTRY_ROLLOUT_MAX_FAILURE_RATIO="10%": expected a number from 0 to 1
      GANTRY_NOTIFICATION_APPRISE_URL=***: expected a URL that begins with http:// or https://
      GANTRY_NOTIFICATION_URL=***: expected addresses that begin with https://, http://, slack+https://, discord+https://, teams+https://, ntfy+https://, gotify+https://, smtp:// or smtps://, separated by white space; address 2: expected one of these beginnings before ://, with ntfy+http:// and gotify+http:// for plain HTTP
      GANTRY_NOTIFICATION_CONDITION="never": expected all or on-change
    "#);
}

#[test]
fn mistakes_are_told_in_the_log_format_and_level_that_were_asked_for() {
    let log = |environment: &[(&str, &str)]| load(environment).unwrap_err().log;
    let bad = ("GANTRY_UPDATE_JOBS", "perhaps");
    let asked = log(&[bad, ("GANTRY_LOG_FORMAT", "json"), ("GANTRY_LOG_LEVEL", "NONE"), ("TZ", "EST5")]);
    assert_eq!((asked.format, asked.level), (LogFormat::Json, LogLevel::None));
    assert_ne!(asked.time_zone, jiff::tz::TimeZone::UTC);
    let wrong = log(&[
        ("GANTRY_LOG_FORMAT", "xml"),
        ("GANTRY_LOG_LEVEL", "LOUD"),
        ("TZ", "x"),
        ("GANTRY_NODE_NAME", "n"),
    ]);
    assert_eq!((wrong.format, wrong.level), (LogFormat::Text, LogLevel::Info));
    assert_eq!(wrong.time_zone, jiff::tz::TimeZone::UTC);
    assert_eq!(wrong.node_name.as_deref(), Some("n"));
}

#[test]
fn a_value_that_is_no_text_is_a_mistake_only_where_it_is_ours() {
    let bytes = || OsStr::from_bytes(b"a\xffb").to_owned();
    let foreign = [("PATH".into(), bytes()), (bytes(), bytes())];
    assert!(Config::load(foreign).is_ok());

    let ours = ["GANTRY_SLEEP_SECONDS", "GANTRY_REGISTRY_PASSWORD"].map(|name| (name.into(), bytes()));
    let mistakes = Config::load(ours).unwrap_err().to_string();
    insta::assert_snapshot!(mistakes, @r#"
    the configuration has 2 mistakes:
      GANTRY_SLEEP_SECONDS="a�b": expected a whole number of seconds from 0 to 999999999, in UTF-8
      GANTRY_REGISTRY_PASSWORD=***: expected a text, in UTF-8
    "#);
}

#[test]
fn unknown_variables_and_those_without_a_meaning_are_warned_of() {
    insta::assert_snapshot!(warnings(&[
        ("GANTRY_UPDATE_WORKERS", "5"),
        ("GANTRY_COLOUR", "blue"),
        ("GANTRYSOMETHING", "else"),
        ("GANTRY_PRE_RUN_CMD", "echo"),
        ("GANTRY_MANIFEST_OPTIONS", "--insecure --verbose"),
        ("GANTRY_REGISTRY_USER", "anna"),
        ("GANTRY_REGISTRY_USER_FILE", "/run/secrets/user"),
        ("GANTRY_REGISTRY_PASSWORD_FILE", "/run/secrets/password"),
    ]).join("\n"), @r#"
    GANTRY_UPDATE_WORKERS is not a variable of Gantry; did you mean GANTRY_UPDATE_NUM_WORKERS?
    GANTRY_COLOUR is not a variable of Gantry; gantry --help lists them all
    GANTRY_REGISTRY_USER_FILE is ignored, as GANTRY_REGISTRY_USER is set
    GANTRY_MANIFEST_OPTIONS: "--verbose" has no meaning; only --insecure has one
    "#);
}

#[test]
fn proxies_are_read_in_both_cases_of_letters_capitals_first() {
    let of = |environment: &[(&str, &str)], url: &str| {
        let proxies = config(environment).proxies;
        proxies.of(&reqwest::Url::parse(url).unwrap()).map(|proxy| proxy.shown().to_owned())
    };
    let (plain, tls) = ("http://r.test/", "https://r.test/");
    for (environment, url, expected) in [
        (&[("HTTP_PROXY", "p:1")][..], plain, Some("http://p:1")),
        (&[("HTTP_PROXY", "p:1")], tls, None),
        (&[("https_proxy", "p:1")], tls, Some("http://p:1")),
        (&[("https_proxy", "p:1"), ("HTTPS_PROXY", "q:1")], tls, Some("http://q:1")),
        (&[("HTTPS_PROXY", "q:1"), ("https_proxy", "p:1")], tls, Some("http://q:1")),
        (&[("HTTPS_PROXY", ""), ("https_proxy", "p:1")], tls, Some("http://p:1")),
        (&[("HTTPS_PROXY", "q:1"), ("no_proxy", "r.test")], tls, None),
        (&[("HTTPS_PROXY", "q:1"), ("no_proxy", "r.test"), ("NO_PROXY", "s.test")], tls, Some("http://q:1")),
        // Go knows no such variable, and so the engine does not.
        (&[("ALL_PROXY", "p:1")], tls, None),
    ] {
        assert_eq!(of(environment, url).as_deref(), expected, "{environment:?} {url}");
    }
    let told = warnings(&[("HTTPS_PROXY", "ftp://me:hunter2@p:1")]);
    let expected =
        "HTTPS_PROXY is ignored: expected http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT";
    assert_eq!(told, [expected]);
}

#[test]
fn certificates_are_looked_for_where_the_docker_cli_looks() {
    let tls = ("DOCKER_TLS_VERIFY", "1");
    let host = ("DOCKER_HOST", "tcp://manager:2376");
    for (environment, folder) in [
        (vec![("DOCKER_CERT_PATH", "/certs"), ("DOCKER_CONFIG", "/config"), ("HOME", "/root")], "/certs"),
        (vec![("DOCKER_CONFIG", "/config"), ("HOME", "/root")], "/config"),
        (vec![("HOME", "/root")], "/root/.docker"),
    ] {
        let expected = EngineAddress::Tcp { host: "manager:2376".to_owned(), tls: Some(folder.into()) };
        assert_eq!(config(&[environment, vec![tls, host]].concat()).engine, expected);
    }
    let mistakes = load(&[tls, host]).unwrap_err().to_string();
    assert!(mistakes.contains("DOCKER_CERT_PATH is not set: expected the folder"), "{mistakes}");
}

#[test]
fn a_login_needs_both_a_user_and_a_password() {
    let user = ("GANTRY_REGISTRY_USER", "anna");
    let password = ("GANTRY_REGISTRY_PASSWORD_FILE", "/run/secrets/password");
    let login = config(&[user, password]).logins.single.unwrap();
    assert!(matches!(login.user, Source::Value(user) if user.reveal() == "anna"));
    assert_eq!(login.password, Source::File("/run/secrets/password".into()));
    let alone = warnings(&[("GANTRY_REGISTRY_HOST", "ghcr.io"), ("GANTRY_REGISTRY_CONFIG_FILE", "/x")]);
    assert_eq!(
        alone,
        ["HOST", "CONFIG"]
            .map(|it| format!("GANTRY_REGISTRY_{it} has no effect without GANTRY_REGISTRY_USER"))
    );
    for (alone, missing) in [(user, "GANTRY_REGISTRY_PASSWORD is"), (password, "GANTRY_REGISTRY_USER is")] {
        let mistakes = load(&[alone]).unwrap_err().to_string();
        assert!(mistakes.contains(missing), "{mistakes}");
    }
}

#[test]
fn a_password_is_kept_to_the_last_character_and_never_shown() {
    let password = " ~?>/+ü\"'\\ ";
    let config = config(&[("GANTRY_REGISTRY_USER", "anna"), ("GANTRY_REGISTRY_PASSWORD", password)]);
    assert!(!format!("{config:?}").contains(password.trim()));
    let login = config.logins.single.unwrap();
    assert!(matches!(login.password, Source::Value(secret) if secret.reveal() == password));
}

#[test]
fn a_label_is_told_from_the_variable_where_both_say_insecure() {
    use crate::config::Insecure::{self, ByLabel, ByVariable, No};
    let insecure = |variable: &str, label: &str| -> Insecure {
        let config = config(&[("GANTRY_MANIFEST_OPTIONS", variable)]);
        ServicePolicy::of(&config, &labels(&[("gantry.manifest.options", label)])).unwrap().insecure
    };
    for (variable, label, expected) in [
        ("", "", No),
        ("", "--insecure", ByLabel),
        ("--insecure=false", "--insecure", ByLabel),
        ("--insecure", "", ByVariable),
        ("--insecure", "--insecure", ByVariable),
        ("--insecure", "--insecure=false", No),
        ("--insecure", "--other", No),
    ] {
        assert_eq!(insecure(variable, label), expected, "{variable:?} {label:?}");
    }
}

#[test]
fn the_label_that_excludes_has_no_meaning_once_its_filter_was_replaced() {
    let labels = labels(&[("gantry.services.excluded", "true")]);
    for (filters, excluded) in [
        ("label=gantry.services.excluded=true", true),
        ("", true),
        ("none", false),
        ("label=x", false),
        ("label=gantry.services.excluded=true label=tier=db", false),
        ("label=gantry.services.excluded=false", false),
    ] {
        let config = config(&[("GANTRY_SERVICES_EXCLUDED_FILTERS", filters)]);
        assert_eq!(ServicePolicy::of(&config, &labels).unwrap().excluded, excluded, "{filters:?}");
    }
}

#[test]
fn a_label_that_a_filter_asks_for_is_nobody_s_slip() {
    let labels = labels(&[("gantry.site", "true"), ("gantry.enable", "true"), ("gantry.sites", "true")]);
    let config = config(&[("GANTRY_SERVICES_FILTERS", "label=gantry.site")]);
    let warnings = ServicePolicy::of(&config, &labels).unwrap().warnings;
    assert_eq!(warnings, ["gantry.sites is not a label of Gantry; gantry --help lists them all"]);
}

#[test]
fn every_label_that_cannot_be_parsed_is_named() {
    let labels = labels(&[
        ("gantry.update.timeout_seconds", "soon"),
        ("gantry.rollback.on_failure", "1"),
        ("gantry.services.excluded", "yes"),
    ]);
    let mistakes = ServicePolicy::of(&config(&[]), &labels).unwrap_err();
    insta::assert_snapshot!(mistakes, @r#"label gantry.update.timeout_seconds="soon": expected a whole number of seconds from 0 to 999999999; label gantry.rollback.on_failure="1": expected true or false; label gantry.services.excluded="yes": expected true or false"#);
}

#[test]
fn the_table_is_in_order() {
    for (i, variable) in VARIABLES.iter().enumerate() {
        let Variable { name, default, default_words, expected, doc, label, .. } = variable;
        assert!(!expected.is_empty() && doc.trim().ends_with(['.', '…']), "{name}: {doc}");
        assert!(default.is_none() || default_words.is_none(), "{name}");
        assert!(VARIABLES[..i].iter().all(|earlier| earlier.name != *name), "{name} is there twice");
        if let Some(label) = label {
            let named = LABELS.iter().find(|l| l.name == *label).unwrap();
            assert_eq!((named.variable, named.expected), (Some(*name), *expected));
        }
        // A field of the raw struct under another name would never be read.
        let value = if *name == "HOME" { "/" } else { "\u{fffd}=" };
        let seen = load(&[(name, value)]).map_or(true, |loaded| {
            format!("{:?}", loaded.config) != format!("{:?}", config(&[])) || !loaded.warnings.is_empty()
        });
        // These two have a meaning only together with others; other tests show it.
        assert!(seen || matches!(*name, "DOCKER_TLS_VERIFY" | "DOCKER_CERT_PATH"), "{name} is not read");
    }
}

/// Any bytes, but often something that a parser accepts.
fn any_value() -> impl Strategy<Value = OsString> {
    prop_oneof![
        prop::collection::vec(any::<u8>().prop_filter("no NUL in an environment", |b| *b != 0), 0..40)
            .prop_map(|bytes| OsStr::from_bytes(&bytes).to_owned()),
        "[0-9]{1,4}|true|false|0?\\.[0-9]{1,3}|tcp://[a-z]{1,5}(:[0-9]{1,5})?|label=[a-z.=]{0,9}| *"
            .prop_map(OsString::from),
    ]
}

proptest! {
    #[test]
    fn no_environment_makes_the_parser_panic(
        ours in prop::collection::vec((0..VARIABLES.len(), any_value()), 0..60),
        others in prop::collection::vec(("(GANTRY_)?\\PC{0,30}", any_value()), 0..5),
    ) {
        let ours = ours.into_iter().map(|(i, value)| (VARIABLES[i].name.into(), value));
        let others = others.into_iter().map(|(name, value)| (name.into(), value));
        if let Err(mistakes) = Config::load(ours.chain(others)) {
            prop_assert!(!mistakes.list.is_empty());
            prop_assert_eq!(mistakes.to_string().lines().count(), mistakes.lines().count() + 1);
        }
    }

    #[test]
    fn no_label_makes_the_parser_panic(
        ours in prop::collection::vec((0..LABELS.len(), "\\PC{0,20}|[0-9]{1,12}|true"), 0..20),
        others in prop::collection::vec(("(gantry\\.)?\\PC{0,30}", "\\PC{0,20}"), 0..5),
    ) {
        let ours = ours.into_iter().map(|(i, value)| (LABELS[i].name.to_owned(), value));
        let _ = ServicePolicy::of(&config(&[]), &ours.chain(others).collect());
    }
}

#[test]
fn a_label_of_more_than_16_kib_is_an_error_and_not_shown() {
    let names = LABELS.iter().map(|label| label.name).chain(["gantry.enable", "gantry.unknown"]);
    for name in names {
        let with = |bytes: usize| ServicePolicy::of(&config(&[]), &labels(&[(name, &"x".repeat(bytes))]));
        let error = with((16 << 10) + 1).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("label {name}=(16385 bytes): expected at most 16384 bytes; shorten the label")
        );
        let fits = with(16 << 10).map_or_else(|error| error.to_string(), |policy| policy.warnings.join(" "));
        assert!(!fits.contains("bytes; shorten") && fits.len() < 300, "{fits}");
    }
    let long: Vec<(String, String)> =
        (0..500).map(|n| (format!("gantry.{n}{}", "y".repeat(9000)), "x".repeat(20_000))).collect();
    let error = ServicePolicy::of(&config(&[]), &long.into_iter().collect()).unwrap_err().to_string();
    assert!(error.len() < 3000, "{error}");
    let others = labels(&[("com.example", &"x".repeat(1 << 20))]);
    assert!(ServicePolicy::of(&config(&[]), &others).is_ok(), "other labels are not Gantry's");
}

#[test]
fn warnings_of_unknown_names_are_few_and_short() {
    let names: Vec<String> = (0..500).map(|n| format!("gantry.{n}.{}", "x".repeat(9000))).collect();
    let unknown: BTreeMap<String, String> = names.iter().map(|name| (name.clone(), "x".to_owned())).collect();
    let warned = ServicePolicy::of(&config(&[]), &unknown).unwrap().warnings;
    assert_eq!(warned.len(), 11);
    assert_eq!(warned[10], "490 more names are no labels of Gantry; gantry --help lists them all");
    assert!(warned.iter().all(|warning| warning.len() < 200), "{warned:#?}");
    let options: Vec<String> = (0..500).map(|n| format!("--{n}{}", "x".repeat(25))).collect();
    let options = labels(&[("gantry.manifest.options", &options.join(" "))]);
    assert_eq!(ServicePolicy::of(&config(&[]), &options).unwrap().warnings.len(), 10);
    let on_containers = OnContainers::of(&config(&[]), &labels(&[]), &unknown).unwrap();
    assert!(on_containers.warning.len() < 3000 && on_containers.warning.contains("and 480 more"));
    let variables: Vec<(String, &str)> =
        (0..500).map(|n| (format!("GANTRY_{n}_{}", "X".repeat(9000)), "x")).collect();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let warned = warnings(&variables);
    assert_eq!(warned.len(), 11);
    assert!(warned.iter().all(|warning| warning.len() < 200), "{warned:#?}");
}

#[test]
fn only_labels_that_are_allowed_count_and_the_others_are_told() {
    let set = labels(&[
        ("gantry.update.options", "--mount-add type=bind,source=/,target=/host"),
        ("gantry.update.order", "stop-first"),
        ("gantry.services.excluded", "true"),
        ("gantry.manifest.cmd", "nonsense"),
    ]);
    let of = |value: &str| ServicePolicy::of(&config(&[("GANTRY_LABELS_ALLOWED", value)]), &set);
    assert!(of("all").is_err(), "a label that counts and is wrong");
    for value in
        ["update.order", "gantry.update.order", "update.order,rollback.on_failure", "\n update.order "]
    {
        let policy = of(value).unwrap();
        assert_eq!(policy.update_options, config(&[]).updates.options, "{value:?}");
        assert_eq!((policy.order, policy.excluded), (OrderPolicy::StopFirst, false), "{value:?}");
        let told = "label gantry.update.options is ignored: GANTRY_LABELS_ALLOWED does not name it";
        assert!(policy.warnings.iter().any(|warning| warning == told), "{:?}", policy.warnings);
        assert_eq!(policy.warnings.len(), 3);
    }
    let none = of("None").unwrap();
    assert_eq!((none.order, none.warnings.len()), (OrderPolicy::Auto, 4));
    // A service is not excluded by a label that does not count, whatever form that has.
    let excluded = |value: &str| config(&[("GANTRY_LABELS_ALLOWED", value)]).services.excluded_filters.len();
    assert_eq!([excluded("all"), excluded("services.excluded"), excluded("update.order")], [1, 1, 0]);
}

#[test]
fn the_labels_that_the_stack_allows_are_the_harmless_ones() {
    let stack = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/stack.yml")).unwrap();
    let line = stack.lines().find_map(|line| line.trim().strip_prefix("GANTRY_LABELS_ALLOWED: ")).unwrap();
    let allowed = config(&[("GANTRY_LABELS_ALLOWED", line.trim_matches('"'))]).services.labels;
    for name in ["update.options", "rollback.options", "auth.config", "manifest.options"] {
        assert!(!allowed.allows(&format!("gantry.{name}")), "{name}");
    }
    for name in [
        "services.excluded",
        "update.order",
        "update.timeout_seconds",
        "update.jobs",
        "rollback.on_failure",
        "rollout.canary",
        "manifest.cmd",
    ] {
        assert!(allowed.allows(&format!("gantry.{name}")), "{name}");
    }
}
