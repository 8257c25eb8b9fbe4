//! Labels of Gantry without effect: they are on the containers of a service, or a variable disables them.

use std::collections::BTreeMap;

use super::policy::{EXCLUDED, is_exclusion_by_label};
use super::variables::PREFIX;
use super::{Config, Filter};
use crate::words::{piece, some_of};

/// Where labels belong.
const REMEDY: &str = "labels for Gantry belong on the service: below deploy.labels in a stack file, or docker service \
                      update --label-add";

/// Labels of Gantry on the containers of a service. Gantry obeys only the label that excludes the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnContainers {
    /// The service is excluded by such a label: its owner does not want it to be updated.
    pub excludes: bool,
    /// The names of the labels, and where they belong.
    pub warning: String,
}

impl OnContainers {
    /// Looks for labels of Gantry among those of the containers that the service itself does not have.
    pub fn of(
        config: &Config,
        labels: &BTreeMap<String, String>,
        on_containers: &BTreeMap<String, String>,
    ) -> Option<Self> {
        let is_set = |labels: &BTreeMap<String, String>, name: &str| {
            labels.get(name).is_some_and(|value| !value.trim().is_empty())
        };
        let found: Vec<&str> = on_containers
            .keys()
            .map(String::as_str)
            .filter(|name| name.starts_with(PREFIX) && is_set(on_containers, name) && !is_set(labels, name))
            .collect();
        if found.is_empty() {
            return None;
        }
        let excludes = found.contains(&EXCLUDED) && says_true(on_containers) && is_exclusion_by_label(config);
        let obeyed = if excludes { format!(" ({EXCLUDED} is obeyed all the same)") } else { String::new() };
        let names: Vec<String> = found.into_iter().map(piece).collect();
        let names = some_of(&names, ", ");
        let warning = format!("labels on the containers are not read: {names}{obeyed}; {REMEDY}");
        Some(Self { excludes, warning })
    }
}

fn says_true(labels: &BTreeMap<String, String>) -> bool {
    labels.get(EXCLUDED).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

impl Config {
    /// The filters that ask for a label of Gantry's, such as the one by which services opt in.
    pub fn opt_in_filters(&self) -> impl Iterator<Item = &Filter> {
        self.services
            .filters
            .iter()
            .filter(|filter| filter.label().is_some_and(|name| name.starts_with(PREFIX)))
    }

    /// Whether a service with these labels asks to be excluded, and `GANTRY_SERVICES_EXCLUDED_FILTERS` takes that
    /// label's meaning away.
    pub fn ignores_exclusion(&self, labels: &BTreeMap<String, String>) -> bool {
        let filters = &self.services.excluded_filters;
        let is_by_filters =
            !filters.is_empty() && filters.iter().all(|filter| filter.passes(labels) == Some(true));
        let counts = self.services.labels.allows(EXCLUDED);
        says_true(labels) && counts && !is_exclusion_by_label(self) && !is_by_filters
    }

    /// Says that these services lose their exclusion by label.
    pub fn ignored_exclusions(&self, services: &[&str]) -> String {
        let (number, plural) = (services.len(), if services.len() == 1 { "" } else { "s" });
        let value = match &self.services.excluded_filters[..] {
            [] => "none".to_owned(),
            filters => filters.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        let names = some_of(services, " ");
        format!(
            "GANTRY_SERVICES_EXCLUDED_FILTERS={value}: the label {EXCLUDED}=true of {number} service{plural} has no \
             effect: {names}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Config::load(variables).unwrap().config
    }

    fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_on_containers_are_named_unless_the_service_has_them_too() {
        let named = |service: &[(&str, &str)], containers: &[(&str, &str)]| {
            let found = OnContainers::of(&config(&[]), &labels(service), &labels(containers));
            found.map(|found| found.warning)
        };
        let order = ("gantry.update.order", "keep");
        assert_eq!(
            named(&[], &[order, ("gantry.colour", "blue"), ("team", "a")]).as_deref(),
            Some(
                "labels on the containers are not read: gantry.colour, gantry.update.order; labels for Gantry belong on \
                 the service: below deploy.labels in a stack file, or docker service update --label-add"
            )
        );
        assert_eq!(named(&[order], &[order]), None, "a copy does no harm");
        assert_eq!(named(&[], &[("gantry.update.order", " "), ("gantry", "x"), ("a.gantry.b", "x")]), None);
        assert!(named(&[("gantry.update.order", "")], &[order]).is_some(), "an empty label is none");
    }

    #[test]
    fn the_label_that_excludes_is_obeyed_on_containers_as_it_is_on_services() {
        let excludes = |variables: &[(&str, &str)], service: &[(&str, &str)], value: &str| {
            let containers = labels(&[("gantry.services.excluded", value)]);
            OnContainers::of(&config(variables), &labels(service), &containers)
                .is_some_and(|found| found.excludes)
        };
        let filters = "GANTRY_SERVICES_EXCLUDED_FILTERS";
        assert!(excludes(&[], &[], "true") && excludes(&[], &[], " True "));
        assert!(excludes(&[(filters, "")], &[], "true"), "empty is the default");
        assert!(!excludes(&[], &[], "false") && !excludes(&[], &[], "yes"));
        assert!(!excludes(&[(filters, "none")], &[], "true"));
        assert!(
            !excludes(&[], &[("gantry.services.excluded", "false")], "true"),
            "the service's own word counts"
        );
    }

    #[test]
    fn an_exclusion_without_effect_is_told_apart_from_one_by_filters() {
        let excluded = labels(&[("gantry.services.excluded", "true"), ("tier", "db")]);
        let ignores = |filters: &str, labels| {
            config(&[("GANTRY_SERVICES_EXCLUDED_FILTERS", filters)]).ignores_exclusion(labels)
        };
        assert!(ignores("none", &excluded) && ignores("label=tier=web", &excluded));
        assert!(!ignores("", &excluded) && !ignores("label=tier=db", &excluded));
        assert!(!ignores("none", &labels(&[("gantry.services.excluded", "false")])));
        let none = config(&[("GANTRY_SERVICES_EXCLUDED_FILTERS", "NONE")]);
        assert_eq!(
            none.ignored_exclusions(&["db"]),
            "GANTRY_SERVICES_EXCLUDED_FILTERS=none: the label gantry.services.excluded=true of 1 service has no effect: db"
        );
        let many = none.ignored_exclusions(&["x"; 25]);
        assert!(many.contains("of 25 services") && many.ends_with("x x and 5 more"), "{many}");
    }
}
