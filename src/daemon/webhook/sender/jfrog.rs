//! `JFrog` Artifactory: `pushed` events of the domain `docker`. Pure.
//!
//! By what name Docker calls a repository depends on how Artifactory is set up: by path (`host/key/image`), by port
//! (`host/image`), by subdomain (`key.host/image`) or by a virtual repository, which no event names (`?repository=`).

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{host_of, json, text};

/// Reads an event of Artifactory.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let event = match json(delivery) {
        Ok(event) => event,
        Err(malformed) => return malformed,
    };
    if text(&event, "/domain") != "docker" || text(&event, "/event_type") != "pushed" {
        return Reading::Ignored("it is not the push of an image");
    }
    let (host, key) = (host_of(text(&event, "/jpd_origin")), text(&event, "/data/repo_key"));
    let image = ["/data/image_name", "/data/image"].map(|place| text(&event, place));
    let image = image.into_iter().find(|image| !image.is_empty()).unwrap_or_default();
    if image.is_empty() {
        return Reading::Ignored(NO_IMAGE);
    }
    let by_path = |key: &str| Hint::new(host, &format!("{key}/{image}")).filter(|_| !key.is_empty());
    let subdomain = || Hint::new(&format!("{key}.{host}"), image).filter(|_| !host.is_empty());
    let hints = match delivery.query("repository") {
        "" => vec![by_path(key), Hint::new(host, image), subdomain()],
        named => vec![by_path(named)],
    };
    Reading::of(hints.into_iter().flatten(), NO_IMAGE)
}
