//! Paths, queries and filters of requests.

use gantry::swarm::SwarmError;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A request's target, taken apart.
pub(super) struct Target {
    /// Decoded pieces between slashes, without a version prefix.
    pub path: Vec<String>,
    parameters: Vec<(String, String)>,
}

impl Target {
    pub fn parse(path_and_query: &str) -> Self {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let mut path: Vec<String> = path.split('/').filter(|piece| !piece.is_empty()).map(decoded).collect();
        if path.first().is_some_and(|first| first.starts_with("v1.")) {
            path.remove(0);
        }
        let parameters = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(&value.replace('+', " ")))
        });
        Self { path, parameters: parameters.collect() }
    }

    /// A parameter; empty when it is not there.
    pub fn get(&self, key: &str) -> &str {
        self.parameters.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    pub fn is_set(&self, key: &str) -> bool {
        matches!(self.get(key), "1" | "true" | "True")
    }

    /// The filters, in both forms that engines accept: a list, or a map of `true`.
    pub fn filters(&self) -> Result<Vec<(String, String)>, SwarmError> {
        let text = self.get("filters");
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let refused = || SwarmError::Refused("invalid filter".to_owned());
        let Ok(Value::Object(filters)) = serde_json::from_str(text) else { return Err(refused()) };
        let mut pairs = Vec::new();
        for (key, values) in filters {
            let values: Vec<String> = match values {
                Value::Array(list) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
                Value::Object(map) => map.into_iter().map(|(value, _)| value).collect(),
                _ => return Err(refused()),
            };
            pairs.extend(values.into_iter().map(|value| (key.clone(), value)));
        }
        Ok(pairs)
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
