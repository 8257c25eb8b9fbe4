//! The engine's filters, as written on the command line of `docker service ls`.

use std::collections::BTreeMap;
use std::fmt;

/// One `key=value` expression of `docker service ls --filter`.
///
/// Only its form is checked here. Whether the engine knows the key is the engine's business: its refusal
/// comes when the services are listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter {
    /// `label`, `name`, `mode`, ..., in lower case as the docker CLI sends it.
    pub key: String,
    /// Everything after the first `=`: `gantry.enable=true`.
    pub value: String,
}

impl Filter {
    /// Reads `key=value`; `None` without a `=` or without a key.
    pub fn parse(expression: &str) -> Option<Self> {
        let (key, value) = expression.split_once('=')?;
        let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
        (!key.is_empty()).then_some(Self { key, value })
    }

    /// The name of the label that this filter asks for: `gantry.enable` of `label=gantry.enable=true`.
    pub fn label(&self) -> Option<&str> {
        (self.key == "label")
            .then(|| self.value.split_once('=').map_or(self.value.as_str(), |(name, _)| name))
    }

    /// Whether a service with these labels passes, as the engine sees it; `None` for filters that are not
    /// about labels.
    pub fn passes(&self, labels: &BTreeMap<String, String>) -> Option<bool> {
        if self.key != "label" {
            return None;
        }
        Some(match self.value.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|present| present == value),
            None => labels.contains_key(&self.value),
        })
    }

    /// The value of the engine's `filters` parameter: `{"label":["a=b","c=d"],"mode":["replicated"]}`.
    ///
    /// The engine demands all labels at once, and any one of several names or modes.
    pub fn to_json(filters: &[Self]) -> String {
        let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for filter in filters {
            by_key.entry(&filter.key).or_default().push(&filter.value);
        }
        let by_key = by_key.into_iter().map(|(key, values)| (key.to_owned(), values.into()));
        serde_json::Value::Object(by_key.collect()).to_string()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_split_at_its_first_equals_sign() {
        for (written, expected) in [
            ("label=gantry.enable=true", Some(("label", "gantry.enable=true"))),
            ("label=gantry.enable", Some(("label", "gantry.enable"))),
            ("LABEL=Key=Value", Some(("label", "Key=Value"))),
            ("name=", Some(("name", ""))),
            ("name", None),
            ("=name", None),
            ("", None),
        ] {
            let filter = Filter::parse(written);
            let parts = filter.as_ref().map(|f| (f.key.as_str(), f.value.as_str()));
            assert_eq!(parts, expected, "{written}");
        }
    }

    #[test]
    fn filters_are_sent_to_the_engine_grouped_by_key() {
        let filters = ["label=a=b", "mode=global", "label=c"].map(|text| Filter::parse(text).unwrap());
        assert_eq!(Filter::to_json(&filters), r#"{"label":["a=b","c"],"mode":["global"]}"#);
        assert_eq!(Filter::to_json(&[]), "{}");
    }

    #[test]
    fn a_filter_tells_which_label_it_asks_for() {
        let label = |text| Filter::parse(text).unwrap().label().map(str::to_owned);
        assert_eq!(label("label=gantry.enable=true").as_deref(), Some("gantry.enable"));
        assert_eq!(label("label=gantry.enable").as_deref(), Some("gantry.enable"));
        assert_eq!(label("name=gantry.enable"), None);
    }
}
