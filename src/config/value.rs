//! The kinds of value that variables and labels have: one parser and one description for each.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::{Filter, LogFormat, LogLevel, LookupMethod, Mistake, NotificationCondition, OrderPolicy};
use crate::options::{OptionError, Options, ServiceCommand};
use crate::secret::Secret;
use crate::words::quoted;

/// A kind of value.
pub(super) trait Value: Sized {
    /// What is expected, in words that follow "expected".
    const EXPECTED: &'static str;

    /// Whether a value must never be shown.
    const IS_SECRET: bool = false;

    /// Reads a value. The error is what was expected: [`Value::EXPECTED`], or words that help more with this text.
    fn parse(text: &str) -> Result<Self, &'static str>;

    /// Reads the value of a variable or label, or says what is wrong with it.
    fn read(name: &str, text: &str) -> Result<Self, Mistake> {
        Self::parse(text).map_err(|expected| {
            if Self::IS_SECRET { Mistake::secret(name, expected) } else { Mistake::new(name, text, expected) }
        })
    }
}

/// Kinds of value that are one of several words, in any case.
macro_rules! choices {
    ($($type:ident: $expected:literal { $($word:literal => $value:expr),+ $(,)? })+) => {$(
        impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, &'static str> {
                match text.trim().to_ascii_lowercase().as_str() {
                    $($word => Ok($value),)+
                    _ => Err($expected),
                }
            }
        }
    )+};
}

choices! {
    bool: "true or false" {
        "true" => true,
        "false" => false,
    }
    LogFormat: "text or json" {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
    }
    LogLevel: "NONE, ERROR, WARN, INFO or DEBUG" {
        "none" => LogLevel::None,
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
    }
    LookupMethod: "buildx, manifest or none" {
        "buildx" => LookupMethod::Registry,
        "manifest" => LookupMethod::Registry,
        "none" => LookupMethod::None,
    }
    OrderPolicy: "auto, start-first, stop-first or keep" {
        "auto" => OrderPolicy::Auto,
        "start-first" => OrderPolicy::StartFirst,
        "stop-first" => OrderPolicy::StopFirst,
        "keep" => OrderPolicy::Keep,
    }
    NotificationCondition: "all or on-change" {
        "all" => NotificationCondition::All,
        "on-change" => NotificationCondition::OnChange,
    }
}

/// A whole number without sign, point or unit, within bounds.
pub(super) fn whole_number(text: &str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().filter(|number| bounds.contains(number))
}

/// A length of time; 0 stands for none.
pub(super) struct Seconds(pub(super) Option<Duration>);

impl Value for Seconds {
    /// The bound is some thirty years: far from every overflow of the clocks that it is added to.
    const EXPECTED: &'static str = "a whole number of seconds from 0 to 999999999";

    fn parse(text: &str) -> Result<Self, &'static str> {
        let seconds = whole_number(text, 0..=999_999_999).ok_or(Self::EXPECTED)?;
        Ok(Self((seconds > 0).then(|| Duration::from_secs(seconds))))
    }
}

/// How many of something there are, at least one: workers, failures.
pub(super) struct Count(pub(super) usize);

impl Value for Count {
    const EXPECTED: &'static str = "a whole number from 1 to 10000";

    fn parse(text: &str) -> Result<Self, &'static str> {
        let number = whole_number(text, 1..=10_000).and_then(|number| usize::try_from(number).ok());
        number.map(Self).ok_or(Self::EXPECTED)
    }
}

/// How many of something there may be; 0 stands for no limit.
pub(super) struct Limit(pub(super) Option<usize>);

impl Value for Limit {
    const EXPECTED: &'static str = "a whole number from 0 to 10000";

    fn parse(text: &str) -> Result<Self, &'static str> {
        let number = whole_number(text, 0..=10_000).and_then(|number| usize::try_from(number).ok());
        number.map(|number| Self((number > 0).then_some(number))).ok_or(Self::EXPECTED)
    }
}

/// A part of a whole.
pub(super) struct Ratio(pub(super) f64);

impl Value for Ratio {
    const EXPECTED: &'static str = "a number from 0 to 1";

    fn parse(text: &str) -> Result<Self, &'static str> {
        // `parse` alone would also take "inf", "nan", "1e-3" and "+0.1".
        let text = text.trim();
        let is_decimal = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let ratio = is_decimal.then(|| text.parse().ok()).flatten();
        ratio.filter(|ratio| (0.0..=1.0).contains(ratio)).map(Self).ok_or(Self::EXPECTED)
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(text.trim().to_owned())
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(Self::from(text.trim()))
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "a text";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(Self::new(text))
    }
}

/// The name of a Docker config.
pub(super) struct ObjectName(pub(super) String);

impl Value for ObjectName {
    const EXPECTED: &'static str = "up to 64 letters, digits, - _ or ., with a letter or digit at both ends";

    /// The rule of swarmkit (`validateConfigOrSecretAnnotations`).
    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let is_plain = |c: char| c.is_ascii_alphanumeric();
        let is_name = text.len() <= 64
            && text.starts_with(is_plain)
            && text.ends_with(is_plain)
            && text.chars().all(|c| is_plain(c) || matches!(c, '-' | '_' | '.'));
        if is_name { Ok(Self(text.to_owned())) } else { Err(Self::EXPECTED) }
    }
}

/// A web address, which may carry a password.
pub(super) struct Url(pub(super) Secret);

impl Value for Url {
    const EXPECTED: &'static str = "a URL that begins with http:// or https://";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let url = reqwest::Url::parse(text).map_err(|_| Self::EXPECTED)?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        if is_web { Ok(Self(Secret::new(text))) } else { Err(Self::EXPECTED) }
    }
}

/// A list of words.
pub(super) struct WordList(pub(super) Vec<String>);

impl Value for WordList {
    const EXPECTED: &'static str = "names separated by white space";

    fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(Self(text.split_whitespace().map(str::to_owned).collect()))
    }
}

/// A list of filters.
pub(super) struct Filters(pub(super) Vec<Filter>);

impl Value for Filters {
    const EXPECTED: &'static str = "filters of the form key=value, separated by white space";

    fn parse(text: &str) -> Result<Self, &'static str> {
        let filters: Option<Vec<Filter>> = text.split_whitespace().map(Filter::parse).collect();
        let filters = filters.ok_or(Self::EXPECTED)?;
        // `name=${NAME:-}`: the engine would take that for all services, or for none.
        if filters.iter().any(|filter| filter.value.is_empty()) {
            return Err(Self::NO_VALUE);
        }
        Ok(Self(filters))
    }
}

impl Filters {
    const NO_VALUE: &str = "filters of the form key=value, each with a value";
}

/// A list of filters that has a default. The word `none` stands for an empty list.
pub(super) struct FiltersOrNone(pub(super) Vec<Filter>);

impl Value for FiltersOrNone {
    const EXPECTED: &'static str = "filters of the form key=value, separated by white space, or none";

    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self(Vec::new()));
        }
        let filters = Filters::parse(text);
        let with_none = |expected| if expected == Filters::EXPECTED { Self::EXPECTED } else { expected };
        filters.map(|filters| Self(filters.0)).map_err(with_none)
    }
}

/// Options for the commands that once looked images up.
pub(super) struct ManifestOptions {
    /// `--insecure` is among them.
    pub(super) insecure: bool,
    /// The first ten without a meaning here, as messages show them.
    pub(super) unknown: Vec<String>,
}

impl ManifestOptions {
    const MOST_UNKNOWN: usize = 10;
}

impl Value for ManifestOptions {
    const EXPECTED: &'static str = "--insecure";

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut options = Self { insecure: false, unknown: Vec::new() };
        for option in text.split_whitespace() {
            match option {
                "--insecure" | "--insecure=true" => options.insecure = true,
                "--insecure=false" => options.insecure = false,
                _ if options.unknown.len() < Self::MOST_UNKNOWN => options.unknown.push(quoted(option)),
                _ => {}
            }
        }
        Ok(options)
    }
}

/// Kinds of value that are options of a docker command. They may hold passwords: of one that is wrong, only the
/// option is shown.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $type:ident: $command:expr, $expected:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Default)]
        pub(super) struct $type(pub(super) Options);

        impl Value for $type {
            const EXPECTED: &'static str = $expected;
            const IS_SECRET: bool = true;

            fn parse(text: &str) -> Result<Self, &'static str> {
                Options::parse($command, text).map(Self).map_err(|_| $expected)
            }

            fn read(name: &str, text: &str) -> Result<Self, Mistake> {
                let mistake = |OptionError { option, expected }| Mistake::new(name, &option, expected);
                Options::parse($command, text).map(Self).map_err(mistake)
            }
        }
    )+};
}

options! {
    /// Options of an update.
    UpdateOptions: ServiceCommand::Update, "options of docker service update";
    /// Options of a rollback.
    RollbackOptions: ServiceCommand::Rollback, "options of docker service update";
    /// Options of a new service.
    CreateOptions: ServiceCommand::Create, "options of docker service create";
}

/// A time zone.
pub(super) struct Zone(pub(super) TimeZone);

impl Value for Zone {
    const EXPECTED: &'static str = "the name of a time zone, such as UTC or Europe/Berlin";

    fn parse(text: &str) -> Result<Self, &'static str> {
        // As in the C library: a colon means that a file is meant, and the files have the zones' names.
        let text = text.trim();
        let text = text.strip_prefix(':').unwrap_or(text);
        let name = text.split_once("/zoneinfo/").map_or(text, |(_, name)| name);
        if ["UTC", "UTC0", "Etc/UTC", "GMT", "Z"].iter().any(|utc| utc.eq_ignore_ascii_case(name)) {
            return Ok(Self(TimeZone::UTC));
        }
        // A bare name such as `CEST` would be taken by nothing but a database; with an offset, `EST5EDT`,
        // it also says what it means.
        if let Ok(zone) = TimeZone::get(name).or_else(|_| TimeZone::posix(name)) {
            return Ok(Self(zone));
        }
        if jiff::tz::db().is_definitively_empty() {
            return Err("UTC (this machine has no database of time zones, /usr/share/zoneinfo)");
        }
        Err(Self::EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn booleans_are_true_and_false_in_any_case_and_nothing_else() {
        for (text, expected) in [
            ("true", Ok(true)),
            ("True", Ok(true)),
            (" FALSE ", Ok(false)),
            ("1", Err("true or false")),
            ("yes", Err("true or false")),
            ("", Err("true or false")),
        ] {
            assert_eq!(bool::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_whole_and_within_their_bounds() {
        for (text, seconds, count, limit) in [
            ("0", Some(None), None, Some(None)),
            ("1", Some(Some(1)), Some(1), Some(Some(1))),
            (" 50 ", Some(Some(50)), Some(50), Some(Some(50))),
            ("10000", Some(Some(10_000)), Some(10_000), Some(Some(10_000))),
            ("10001", Some(Some(10_001)), None, None),
            ("999999999", Some(Some(999_999_999)), None, None),
            ("1000000000", None, None, None),
            ("99999999999999999999999", None, None, None),
            ("-1", None, None, None),
            ("+1", None, None, None),
            ("1.5", None, None, None),
            ("5m", None, None, None),
            ("٣", None, None, None),
            ("", None, None, None),
        ] {
            let parsed = Seconds::parse(text).ok().map(|s| s.0.map(|d| d.as_secs()));
            assert_eq!(parsed, seconds, "seconds {text:?}");
            assert_eq!(Count::parse(text).ok().map(|c| c.0), count, "count {text:?}");
            assert_eq!(Limit::parse(text).ok().map(|l| l.0), limit, "limit {text:?}");
        }
    }

    #[test]
    fn a_ratio_is_a_plain_number_from_0_to_1() {
        let ratio = |text| Ratio::parse(text).ok().map(|ratio| (ratio.0 * 1000.0).round());
        for (text, thousandths) in
            [("0", 0.0), ("0.1", 100.0), (".25", 250.0), ("1", 1000.0), ("1.0", 1000.0)]
        {
            assert_eq!(ratio(text), Some(thousandths), "{text:?}");
        }
        for text in ["1.01", "-0.1", "10%", "nan", "inf", "1e-1", "0,1", ".", ""] {
            assert_eq!(ratio(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_list_of_filters_with_one_that_is_none_is_refused() {
        let filters = |text| Filters::parse(text).map(|filters| Filter::to_json(&filters.0)).ok();
        let expected = r#"{"label":["a=b"],"mode":["global"]}"#;
        assert_eq!(filters("label=a=b\n\t mode=global ").as_deref(), Some(expected));
        assert_eq!(filters("label=a=b global"), None);
        assert_eq!(filters("none"), None);
        for without_a_value in ["name=", "label=a=b label=", "mode=\t"] {
            assert_eq!(Filters::parse(without_a_value).err(), Some(Filters::NO_VALUE), "{without_a_value:?}");
        }
        assert_eq!(filters("label=a=").as_deref(), Some(r#"{"label":["a="]}"#), "a label may be empty");
    }

    #[test]
    fn no_filters_at_all_are_a_word_of_their_own() {
        let parse = |text| FiltersOrNone::parse(text).map(|filters| Filter::to_json(&filters.0));
        for none in ["none", "None", " NONE\n"] {
            assert_eq!(parse(none), Ok("{}".to_owned()), "{none:?}");
        }
        assert_eq!(parse("label=a=none"), Ok(r#"{"label":["a=none"]}"#.to_owned()));
        assert_eq!(parse("label=a none"), Err(FiltersOrNone::EXPECTED));
        assert_eq!(parse("label="), Err(Filters::NO_VALUE));
    }

    #[test]
    fn time_zones_are_names_or_say_what_they_mean() {
        for (text, offset_hours) in [
            ("UTC", 0),
            ("utc", 0),
            (":UTC", 0),
            ("Europe/Berlin", 1),
            ("europe/berlin", 1),
            (":/usr/share/zoneinfo/Europe/Berlin", 1),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1),
            ("EST5", -5),
        ] {
            let zone = Zone::parse(text).unwrap_or_else(|e| panic!("{text:?}: expected {e}")).0;
            let winter = jiff::Timestamp::from_second(1_795_000_000).unwrap();
            assert_eq!(zone.to_offset(winter), jiff::tz::offset(offset_hours), "{text:?}");
        }
        for text in ["Europe/Atlantis", "Berlin", "/etc/localtime", "../../etc/passwd", "+01:00", "a\0b"] {
            assert!(Zone::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn of_the_options_for_looking_up_only_insecure_has_a_meaning() {
        let options = ManifestOptions::parse("--insecure --verbose -x=1").unwrap();
        assert!(options.insecure);
        assert_eq!(options.unknown, ["\"--verbose\"", "\"-x=1\""]);
        assert!(!ManifestOptions::parse("--insecure=false").unwrap().insecure);
    }

    #[test]
    fn a_url_is_one_of_the_web_with_a_host() {
        for text in ["http://apprise:8000/notify/x", " https://user:pass@host/notify?tag=a "] {
            assert!(Url::parse(text).is_ok(), "{text}");
        }
        for text in ["apprise:8000/notify", "http://", "ftp://host/x", "host", "mailto:a@b"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,40}|[0-9.]{0,30}|[A-Z]{3}[-+]?[0-9:,M./J]{0,20}") {
            let _ = Seconds::parse(&text);
            let _ = Count::parse(&text);
            let _ = Limit::parse(&text);
            let _ = Ratio::parse(&text);
            let _ = Zone::parse(&text);
            let _ = Url::parse(&text);
            let _ = Filters::parse(&text);
            let _ = ManifestOptions::parse(&text);
        }
    }
}
