//! Service labels, which start no task when they change. Pure.

use serde_json::{Value, json};

use super::{Spec, SpecError};

impl Spec {
    /// The same specification with this service label, or without it.
    pub fn with_label(&self, label: &str, value: Option<&str>) -> Result<Self, SpecError> {
        let is_labelled = self.facts().labels.contains_key(label);
        if value.is_none() && !is_labelled {
            return Ok(self.clone());
        }
        let mut json: Value = serde_json::from_slice(&self.json)?;
        match (value, &mut json["Labels"]) {
            (Some(value), Value::Object(labels)) => _ = labels.insert(label.to_owned(), json!(value)),
            (Some(value), labels) => *labels = json!({ label: value }),
            (None, Value::Object(labels)) => _ = labels.remove(label),
            (None, _) => {}
        }
        Self::from_json(&json.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_comes_and_goes_and_nothing_else_changes() {
        for written in
            [r#"{"Name":"web"}"#, r#"{"Name":"web","Labels":{"a":"b"}}"#, r#"{"Name":"web","Labels":null}"#]
        {
            let spec = Spec::from_json(written).unwrap();
            let with = spec.with_label("x", Some("1")).unwrap();
            assert_eq!(with.facts().labels.get("x").map(String::as_str), Some("1"));
            let without = with.with_label("x", None).unwrap();
            assert_eq!(without.facts().labels, spec.facts().labels);
            assert!(spec.with_label("x", None).unwrap().is_same_as(&spec));
        }
    }
}
