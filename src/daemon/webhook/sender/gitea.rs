//! Gitea and Forgejo: `package` events. Pure.
//!
//! The action is `created` also where a tag is overwritten. The host is only in the link to the package's page.

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{host_of, json, text};

/// Reads an event of Gitea or Forgejo.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let event = match json(delivery) {
        Ok(event) => event,
        Err(malformed) => return malformed,
    };
    let kinds = ["x-gitea-event", "x-forgejo-event"].map(|name| delivery.header(name));
    if !kinds.contains(&"package") {
        return Reading::Ignored("it is no package event");
    }
    if text(&event, "/action") != "created" || text(&event, "/package/type") != "container" {
        return Reading::Ignored("it is not the push of a container image");
    }
    let (owner, name) = (text(&event, "/package/owner/login"), text(&event, "/package/name"));
    let repository = format!("{owner}/{name}").to_lowercase();
    let host = host_of(text(&event, "/package/html_url"));
    Reading::of(Hint::new(host, &repository).filter(|_| !owner.is_empty() && !name.is_empty()), NO_IMAGE)
}
