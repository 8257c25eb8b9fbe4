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
}

impl RunScope {
    /// Whether the run looks at all services.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether name and image of a service are in it.
    pub fn has(&self, service: &Service) -> bool {
        let facts = service.spec.facts();
        let is_named = self.services.is_empty() || self.services.contains(&facts.name);
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
    /// ` of A, B` for a part of the services, nothing for all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters = self.filters.iter().map(ToString::to_string);
        let parts: Vec<String> = self.services.iter().chain(&self.images).cloned().chain(filters).collect();
        if parts.is_empty() { Ok(()) } else { write!(f, " of {}", parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
