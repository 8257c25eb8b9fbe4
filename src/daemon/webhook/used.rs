//! The repositories that services use, and those of them that a hint may mean. Pure.
//!
//! What Gantry asks a registry for comes from here: no payload makes Gantry ask for an image that no service has.

use std::collections::{BTreeMap, BTreeSet};

use super::hint::Hint;
use crate::daemon::board::repository_of;
use crate::image::{DOCKER_HUB, ImageRef};

/// The repositories that services use, each with the images of services: `registry/repository` with `name:tag`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used(BTreeMap<String, (ImageRef, BTreeSet<String>)>);

impl Used {
    /// Those of these images, as services have them. What is pinned by its digest alone has no news.
    pub fn by<'a>(images: impl IntoIterator<Item = &'a str>) -> Self {
        let mut used: BTreeMap<String, (ImageRef, BTreeSet<String>)> = BTreeMap::new();
        let images: BTreeSet<&str> = images.into_iter().collect();
        for written in images {
            if let Ok(image) = written.parse::<ImageRef>()
                && image.tag().is_some()
            {
                let key = repository_of(&image);
                used.entry(key).or_insert_with(|| (image, BTreeSet::new())).1.insert(written.to_owned());
            }
        }
        Self(used)
    }

    /// The images of a repository.
    pub fn images_of(&self, repository: &str) -> impl Iterator<Item = &str> {
        self.0.get(repository).into_iter().flat_map(|(_, images)| images.iter().map(String::as_str))
    }

    /// The images of all repositories.
    pub fn all_images(&self) -> Vec<&str> {
        self.0.values().flat_map(|(_, images)| images.iter().map(String::as_str)).collect()
    }

    /// The repositories that one of these hints may mean.
    pub fn meant_by(&self, hints: &BTreeSet<Hint>) -> BTreeSet<String> {
        let meant = self.0.iter().filter(|(_, (image, _))| hints.iter().any(|hint| means(hint, image)));
        meant.map(|(key, _)| key.clone()).collect()
    }
}

fn means(hint: &Hint, image: &ImageRef) -> bool {
    let has_path = hint.repository == image.repository()
        // Without a host, it is not said that the name is one of Docker Hub's.
        || hint.host.is_none()
            && image.registry() == DOCKER_HUB
            && image.repository().strip_prefix("library/") == Some(&hint.repository);
    has_path && hint.host.as_ref().is_none_or(|host| host.eq_ignore_ascii_case(image.registry()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_means_every_tag_of_a_repository_that_services_use() {
        let used = Used::by([
            "r.test:5000/team/app:1",
            "r.test:5000/team/app:2",
            "R.test:5000/team/app:3",
            "other.test/team/app:1",
            "nginx:1",
            "docker.io/library/nginx:2",
            "r.test/pinned@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "",
            "not an image",
        ]);
        let meant = |host: &str, repository: &str| -> Vec<String> {
            let hints = BTreeSet::from([Hint::new(host, repository).unwrap()]);
            used.meant_by(&hints).iter().flat_map(|key| used.images_of(key)).map(str::to_owned).collect()
        };
        let all = ["R.test:5000/team/app:3", "r.test:5000/team/app:1", "r.test:5000/team/app:2"];
        assert_eq!(meant("r.test:5000", "team/app"), all);
        assert_eq!(meant("R.TEST:5000", "team/app"), all);
        assert_eq!(meant("", "team/app").len(), 4, "any host");
        assert_eq!(meant("registry-1.docker.io", "nginx"), ["docker.io/library/nginx:2", "nginx:1"]);
        assert_eq!(meant("", "nginx").len(), 2);
        for (host, repository) in
            [("r.test", "team/app"), ("r.test:5000", "team/ap"), ("r.test:5000", "app"), ("r.test", "pinned")]
        {
            assert!(meant(host, repository).is_empty(), "{host}/{repository}");
        }
    }
}
