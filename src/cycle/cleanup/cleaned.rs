//! What a cleaning did.

use std::collections::BTreeMap;
use std::fmt;

use crate::context::Events;
use crate::cycle::remover::{self, Removal};
use crate::model::event::Event;

/// What a cleaning did.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// The images to remove.
    pub images: Vec<String>,
    /// What was done, by node.
    pub nodes: BTreeMap<String, Removal>,
    /// Ready nodes that did not report in time.
    pub silent: Vec<String>,
    /// Why it could not be done at all, or not everywhere.
    pub problem: Option<String>,
    /// Where the remover was to find each node's engine.
    pub socket: String,
}

impl Cleaned {
    /// The images that may be gone soon, and are not everywhere.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &String> {
        let is_left = |image: &String| self.nodes.values().any(|removal| removal.is_worth_another_try(image));
        let is_unknown = !self.silent.is_empty() || self.nodes.is_empty();
        self.images.iter().filter(move |image| is_unknown || is_left(image))
    }

    /// The nodes on which the remover itself failed, by cause.
    fn failed_nodes(&self) -> BTreeMap<String, Vec<&str>> {
        let mut nodes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (node, removal) in &self.nodes {
            if let Some(why) = removal.own_failure() {
                nodes.entry(remover::plain_words(why, &self.socket)).or_default().push(node);
            }
        }
        nodes
    }

    pub(super) fn announce(&self, events: &Events) {
        for (node, removal) in &self.nodes {
            for image in &removal.removed {
                events.emit(&Event::ImageRemoved { node: node.clone(), image: image.clone() });
            }
            for (image, why) in &removal.kept {
                let (node, image, why) = (node.clone(), image.clone(), why.clone());
                events.emit(&Event::ImageKept { node, image, why });
            }
            if removal.own_failure().is_none() {
                for (image, why) in &removal.failed {
                    let (node, image, why) = (node.clone(), image.clone(), why.clone());
                    events.emit(&Event::ImageNotRemoved { node, image, why });
                }
            }
        }
        for (why, nodes) in self.failed_nodes() {
            events.notice(&[], "", format_args!("cannot clean up on {}: {why}", nodes.join(", ")));
        }
        if let Some(problem) = &self.problem {
            events.trouble("cannot clean up images", "", problem);
        }
    }
}

impl fmt::Display for Cleaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed: usize = self.nodes.values().map(|removal| removal.removed.len()).sum();
        write!(f, "removed {removed} images on {} nodes", self.nodes.len())
    }
}
