//! The platforms that a placement lists. Pure.

use serde_json::Value;

use super::Spec;

impl Spec {
    /// The platforms of its placement, as (operating system, architecture).
    pub fn platforms(&self) -> Vec<(String, String)> {
        let json: Value = serde_json::from_slice(&self.json).unwrap_or_default();
        let listed = json.pointer("/TaskTemplate/Placement/Platforms").and_then(Value::as_array);
        let text = |platform: &Value, key: &str| {
            platform.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        listed
            .into_iter()
            .flatten()
            .map(|platform| (text(platform, "OS"), text(platform, "Architecture")))
            .collect()
    }
}
