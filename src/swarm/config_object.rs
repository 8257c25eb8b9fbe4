//! A config of the swarm (`docker config`), of which only the labels can be changed. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

/// A config of the swarm at one version. Not to be taken for [`crate::config`], which is what Gantry was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigObject {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version: what an update of its labels must name to be accepted.
    pub version: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its content in base64, as the engine passes it.
    pub data: String,
}

impl ConfigObject {
    /// The specification of a config, as the engine wants it.
    pub fn spec(name: &str, labels: &BTreeMap<String, String>, data: &str) -> String {
        json!({ "Name": name, "Labels": labels, "Data": data }).to_string()
    }
}

/// A config in an answer of the engine.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConfigJson {
    #[serde(rename = "ID")]
    id: String,
    version: VersionJson,
    spec: SpecJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionJson {
    index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SpecJson {
    name: String,
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    data: String,
}

impl From<ConfigJson> for ConfigObject {
    fn from(json: ConfigJson) -> Self {
        let SpecJson { name, labels, data } = json.spec;
        Self { id: json.id, name, version: json.version.index, labels, data }
    }
}
