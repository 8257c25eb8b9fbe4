//! The part of the services that one run looks at. Pure.

use std::fmt;

use crate::config::Filter;
use crate::image::ImageRef;
use crate::ledger::entry::image_name;
use crate::swarm::Service;

/// The part of the services that one run looks at. It narrows what the configuration selects, and never widens it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunScope {
    /// Their names; empty: all.
    pub services: Vec<String>,
    /// Their images with tag, without digest; empty: all.
    pub images: Vec<String>,
    /// Filters that they pass; empty: all do.
    pub filters: Vec<Filter>,
    /// Names of services that the run does not look at.
    pub excluded: Vec<String>,
    /// The run does not look at a service that passes all of these; empty: no service is excluded this way.
    pub excluded_filters: Vec<Filter>,
    /// Whether updates begin in spite of windows and ages, as a user wants them now. Freezes, pauses and quarantine hold them.
    pub now: bool,
}

impl RunScope {
    /// Whether the run looks at all services.
    pub fn is_everything(&self) -> bool {
        *self == Self { now: self.now, ..Self::default() }
    }

    /// What its updates need not wait for, in words that follow "a run".
    pub fn haste(&self) -> &'static str {
        if self.now { " now, whatever windows and minimum ages say" } else { "" }
    }

    /// Whether a run of this scope does all that one of the other scope does.
    pub fn does_as_much_as(&self, other: &Self) -> bool {
        self == other || (self.is_everything() && (self.now || !other.now))
    }

    /// Makes it look at these images as well. It must have no other bounds than images.
    pub fn widen(&mut self, images: Vec<String>) {
        let is_new = |image: &String| !self.images.contains(image);
        let new: Vec<String> = images.into_iter().filter(is_new).collect();
        self.images.extend(new);
    }

    /// Whether name and image of a service are in it.
    pub fn has(&self, service: &Service) -> bool {
        let facts = service.spec.facts();
        let is_named = self.services.is_empty() || self.services.contains(&facts.name);
        let is_named = is_named && !self.excluded.contains(&facts.name);
        is_named && (self.images.is_empty() || self.has_image(facts.image.as_deref().unwrap_or_default()))
    }

    /// Whether an image, however it is written, is one of its images.
    pub fn has_image(&self, written: &str) -> bool {
        let name = |text: &str| text.parse::<ImageRef>().ok().as_ref().and_then(image_name);
        let own = name(written);
        own.is_some() && self.images.iter().any(|image| name(image) == own)
    }
}

impl fmt::Display for RunScope {
    /// ` of A, B without C` for a part of the services, nothing for all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters = self.filters.iter().map(ToString::to_string);
        let parts: Vec<String> = self.services.iter().chain(&self.images).cloned().chain(filters).collect();
        let excluded = self.excluded_filters.iter().map(ToString::to_string);
        let excluded: Vec<String> = self.excluded.iter().cloned().chain(excluded).collect();
        for (word, names) in [("of", parts), ("without", excluded)] {
            if !names.is_empty() {
                write!(f, " {word} {}", names.join(", "))?;
            }
        }
        f.write_str(self.haste())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_says_what_is_looked_at() {
        let filter = |text| vec![Filter::parse(text).unwrap()];
        let scope = RunScope {
            services: vec!["web".to_owned()],
            filters: filter("label=tier=1"),
            excluded: vec!["shop".to_owned()],
            excluded_filters: filter("name=api"),
            ..RunScope::default()
        };
        assert_eq!(format!("a run{scope}"), "a run of web, label=tier=1 without shop, name=api");
        assert_eq!(RunScope::default().to_string(), "");
        let now = RunScope { now: true, ..RunScope::default() };
        assert!(now.is_everything());
        assert_eq!(format!("a run{now}"), "a run now, whatever windows and minimum ages say");
    }

    #[test]
    fn an_image_is_the_same_however_it_is_written() {
        let scope = RunScope { images: vec!["nginx:1".to_owned()], ..RunScope::default() };
        let digest = format!("sha256:{}", "0".repeat(64));
        for image in ["nginx:1", "docker.io/library/nginx:1", &format!("nginx:1@{digest}")] {
            assert!(scope.has_image(image), "{image}");
        }
        for image in ["nginx:2", "nginx", "other/nginx:1", "", &format!("nginx@{digest}")] {
            assert!(!scope.has_image(image), "{image}");
        }
    }
}
