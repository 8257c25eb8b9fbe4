//! What a sender's event tells: a repository that may have news. Pure.

use std::borrow::Cow;
use std::collections::BTreeSet;

use http::HeaderMap;

use crate::image::{DOCKER_HUB, ImageRef};

/// The longest name of a repository that counts, in bytes. No name of an image is longer.
const MAX_NAME: usize = 255;

/// What a sender has sent.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The headers of its request.
    pub headers: &'a HeaderMap,
    /// The query of its request, decoded: names and values.
    pub query: &'a [(String, String)],
    /// The body, as it came.
    pub body: &'a [u8],
}

impl<'a> Delivery<'a> {
    /// The text of a header; empty: it is missing, or no text.
    pub fn header(&self, name: &str) -> &'a str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
    }

    /// A value of the query; empty: it is missing.
    pub fn query(&self, name: &str) -> &'a str {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.trim())
    }
}

/// A repository that may have news. Its parts are those of an image's name that Docker accepts, so that nothing else of a
/// payload gets any further.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hint {
    /// The registry's host, with its port, in lower case; `None`: the payload does not tell it.
    pub host: Option<String>,
    /// The repository within it, as [`ImageRef::repository`] has it.
    pub repository: String,
}

impl Hint {
    /// A hint of these texts, where they can be parts of an image's name. An empty host is none.
    pub fn new(host: &str, repository: &str) -> Option<Self> {
        /// Stands for a host that is not known.
        const UNKNOWN: &str = "host.invalid";
        let (host, repository) = (host.trim().to_ascii_lowercase(), repository.trim_matches('/'));
        if host.len() + repository.len() > MAX_NAME {
            return None;
        }
        let known = match &*host {
            "" => UNKNOWN,
            "docker.io" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
                DOCKER_HUB
            }
            // Without a dot or a port, Docker takes a host for a part of the repository.
            host if !host.contains(['.', ':']) && host != "localhost" => return None,
            host => host,
        };
        let image: ImageRef = format!("{known}/{repository}:x").parse().ok()?;
        // `a:1` is no repository, and would have been read as one with a tag.
        if image.registry() != known || repository.contains([':', '@']) {
            return None;
        }
        let host = (known != UNKNOWN).then(|| known.to_owned());
        Some(Self { host, repository: image.repository().to_owned() })
    }

    /// A hint of a whole reference: `host/repository:tag`, `host/repository@digest` or `host/repository:`.
    pub fn of_reference(reference: &str) -> Option<Self> {
        let reference = reference.trim();
        let name = reference.split_once('@').map_or(reference, |(name, _)| name);
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let name = name[last..].find(':').map_or(name, |colon| &name[..last + colon]);
        match name.split_once('/') {
            Some((host, repository)) if host.contains(['.', ':']) || host == "localhost" => {
                Self::new(host, repository)
            }
            _ => Self::new(DOCKER_HUB, name),
        }
    }

    /// The same repository at this host.
    pub fn at(&self, host: &str) -> Option<Self> {
        Self::new(host, &self.repository)
    }

    /// Its name for people.
    pub fn name(&self) -> Cow<'_, str> {
        match &self.host {
            Some(host) => format!("{host}/{}", self.repository).into(),
            None => (&*self.repository).into(),
        }
    }
}

/// What an event means for Gantry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// These repositories may have news.
    Hints(BTreeSet<Hint>),
    /// It is about something else.
    Ignored(&'static str),
    /// It cannot be read.
    Malformed {
        /// What is wrong with it.
        error: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl Reading {
    /// These hints, or why there are none.
    pub fn of(hints: impl IntoIterator<Item = Hint>, otherwise: &'static str) -> Self {
        let hints: BTreeSet<Hint> = hints.into_iter().collect();
        if hints.is_empty() { Self::Ignored(otherwise) } else { Self::Hints(hints) }
    }
}

/// An event that names no image that Docker could pull.
pub const NO_IMAGE: &str = "it names no image";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_a_part_of_an_images_name_or_nothing() {
        let name = |host: &str, repository: &str| {
            Hint::new(host, repository).map(|hint| (hint.host.unwrap_or_default(), hint.repository))
        };
        let some = |host: &str, repository: &str| Some((host.to_owned(), repository.to_owned()));
        assert_eq!(name("Registry.Test:5000", "/team/app/"), some("registry.test:5000", "team/app"));
        assert_eq!(name("", "team/app"), some("", "team/app"));
        assert_eq!(name("registry-1.docker.io", "nginx"), some("docker.io", "library/nginx"));
        assert_eq!(name("", "nginx"), some("", "nginx"), "not on Docker Hub for sure");
        for (host, repository) in [
            ("", ""),
            ("r.test", ""),
            ("r.test", "a b"),
            ("r.test", "a:1"),
            ("r.test", "a@sha256"),
            ("r.test", "../etc"),
            ("r.test", "A"),
            ("r.test", "a\u{1b}[31m"),
            ("r test", "a"),
            ("registry", "a"),
            ("https://r.test", "a"),
            ("r.test/x", "a\n"),
            ("user@r.test", "a"),
        ] {
            assert_eq!(name(host, repository), None, "{host} {repository}");
        }
        assert_eq!(Hint::new("r.test", &"a".repeat(300)), None);
    }

    #[test]
    fn a_reference_tells_host_and_repository() {
        let of = |text: &str| Hint::of_reference(text).map(|hint| hint.name().into_owned());
        for (text, expected) in [
            ("ghcr.io/owner/name:", Some("ghcr.io/owner/name")),
            ("ghcr.io/owner/name:1", Some("ghcr.io/owner/name")),
            ("r.test:5000/a@sha256:00", Some("r.test:5000/a")),
            ("localhost/a:1", Some("localhost/a")),
            ("nginx", Some("docker.io/library/nginx")),
            ("team/app:1", Some("docker.io/team/app")),
            ("", None),
            ("a b", None),
        ] {
            assert_eq!(of(text).as_deref(), expected, "{text}");
        }
    }
}
