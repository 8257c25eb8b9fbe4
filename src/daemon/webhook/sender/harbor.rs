//! Harbor: its own format and that of `CloudEvents`, with one object in both. Pure.
//!
//! An event names the first tag of an artifact only, or the digest where there is no tag: it is about the repository.

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{json, list, text};

/// Reads an event of Harbor.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let event = match json(delivery) {
        Ok(event) => event,
        Err(malformed) => return malformed,
    };
    if !matches!(text(&event, "/type"), "PUSH_ARTIFACT" | "pushImage" | "harbor.artifact.pushed") {
        return Reading::Ignored("it is not the push of an artifact");
    }
    let data = ["/event_data", "/data/event_data", "/data"].iter().find_map(|place| event.pointer(place));
    let Some(data) = data else { return Reading::Ignored(NO_IMAGE) };
    let name = text(data, "/repository/repo_full_name");
    let named = Hint::new("", name);
    let resources = list(data, "/resources").iter();
    let hints = resources.filter_map(|resource| {
        let url = text(resource, "/resource_url");
        let host = url.split_once('/').map_or("", |(host, _)| host);
        match &named {
            Some(named) => named.at(host).or_else(|| Some(named.clone())),
            None => Hint::of_reference(url).filter(|_| host.contains(['.', ':'])),
        }
    });
    let hints: Vec<Hint> = hints.collect();
    if hints.is_empty() { Reading::of(named, NO_IMAGE) } else { Reading::of(hints, NO_IMAGE) }
}
