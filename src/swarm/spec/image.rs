//! The image of a specification, read without the rest. Pure.

use std::borrow::Cow;

use serde::Deserialize;

use super::Spec;

/// A specification of which only the image is read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageJson<'a> {
    #[serde(borrow, deserialize_with = "crate::hosts::null_is_default")]
    task_template: ImageTemplateJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageTemplateJson<'a> {
    #[serde(borrow)]
    container_spec: Option<ImageContainerJson<'a>>,
    force_update: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageContainerJson<'a> {
    #[serde(borrow)]
    image: Cow<'a, str>,
}

impl Spec {
    /// The image and the forced-update counter, without reading the rest: of most previous specifications nothing else is
    /// asked.
    pub fn image_and_force(&self) -> (Option<Cow<'_, str>>, u64) {
        if let Some(facts) = self.facts.get() {
            return (facts.image.as_deref().map(Cow::Borrowed), facts.force_update);
        }
        let ImageJson { task_template } = serde_json::from_slice(&self.json).unwrap_or_default();
        (task_template.container_spec.map(|container| container.image), task_template.force_update)
    }
}
