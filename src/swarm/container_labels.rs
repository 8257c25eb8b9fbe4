//! The labels of a service's containers, which are not those of the service. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Spec;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SpecJson {
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    task_template: TaskTemplateJson,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskTemplateJson {
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    container_spec: ContainerSpecJson,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerSpecJson {
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    labels: BTreeMap<String, String>,
}

impl Spec {
    /// The labels that it gives to containers, if any of their names may begin so. The whole text is read only where it has
    /// more such words than the service has labels: a look does this with every service.
    pub fn container_labels_like(&self, prefix: &str) -> BTreeMap<String, String> {
        let (json, labels) = (self.json(), &self.facts().labels);
        let own = labels.keys().filter(|name| name.starts_with(prefix)).count();
        let words = json.matches(&format!("\"{prefix}")).count();
        // Letters may be written as numbers.
        if words > own || json.contains("\\u") { self.container_labels() } else { BTreeMap::new() }
    }

    /// The labels that it gives to containers (`labels:` beside `image:` in a stack file); none where they cannot be read.
    pub fn container_labels(&self) -> BTreeMap<String, String> {
        let json: SpecJson = serde_json::from_str(self.json()).unwrap_or_default();
        json.task_template.container_spec.labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_containers_are_not_those_of_the_service() {
        let labels = |json: &str| Spec::from_json(json).unwrap().container_labels();
        let both =
            r#"{"Labels":{"a":"service"},"TaskTemplate":{"ContainerSpec":{"Labels":{"b":"container"}}}}"#;
        assert_eq!(labels(both), BTreeMap::from([("b".to_owned(), "container".to_owned())]));
        let none = [
            "{}",
            r#"{"TaskTemplate":null}"#,
            r#"{"TaskTemplate":{"ContainerSpec":null}}"#,
            r#"{"TaskTemplate":{"ContainerSpec":{"Labels":null}}}"#,
            r#"{"TaskTemplate":{"PluginSpec":{"Name":"x"}}}"#,
        ];
        assert!(none.iter().all(|json| labels(json).is_empty()));
    }

    #[test]
    fn labels_with_a_prefix_are_found_however_they_are_written() {
        let found = |own: &str, container: &str| {
            let json = format!(
                r#"{{"Labels":{{{own}}},"TaskTemplate":{{"ContainerSpec":{{"Labels":{{{container}}}}}}}}}"#
            );
            !Spec::from_json(&json).unwrap().container_labels_like("gantry.").is_empty()
        };
        let label = r#""gantry.enable":"true""#;
        assert!(found("", label) && found(label, label));
        assert!(found(label, r#""\u0067antry.enable":"true""#));
        assert!(!found(label, r#""team":"a""#) && !found("", ""));
    }
}
