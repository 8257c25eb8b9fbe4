//! What another client changed in a specification. Pure.

use serde_json::Value;

use crate::swarm::Spec;

/// What may differ without making other tasks: labels, the number of replicas, how updates go, and the counter of forced
/// updates.
const HARMLESS: [&str; 5] =
    ["Labels", "Mode.Replicated.Replicas", "UpdateConfig", "RollbackConfig", "TaskTemplate.ForceUpdate"];

/// Most fields that are named.
const MAX_NAMED: usize = 5;

/// Deepest level that is named: `TaskTemplate.ContainerSpec.Env`. Below that there may be secrets.
const MAX_DEPTH: usize = 3;

/// The fields in which `is` differs from `was`, where that makes other tasks; `None`: it does not. Values are not named:
/// they may be secrets.
pub(crate) fn change(was: &Spec, is: &Spec) -> Option<String> {
    if was.json() == is.json() {
        return None;
    }
    let read = |spec: &Spec| serde_json::from_str::<Value>(spec.json()).unwrap_or_default();
    let mut fields = Vec::new();
    compare(&read(was), &read(is), "", 0, &mut fields);
    let more = fields.len().saturating_sub(MAX_NAMED);
    fields.truncate(MAX_NAMED);
    match (fields.is_empty(), more) {
        (true, _) => None,
        (_, 0) => Some(fields.join(", ")),
        (_, more) => Some(format!("{} and {more} more fields", fields.join(", "))),
    }
}

fn compare(was: &Value, is: &Value, path: &str, depth: usize, fields: &mut Vec<String>) {
    if is_same(was, is) || HARMLESS.contains(&path) {
        return;
    }
    let (was, is) = match (was, is) {
        (Value::Object(_) | Value::Null, Value::Object(_) | Value::Null) if depth < MAX_DEPTH => {
            (was.as_object(), is.as_object())
        }
        _ => return fields.push(path.to_owned()),
    };
    let keys = was.into_iter().chain(is).flat_map(serde_json::Map::keys);
    let keys: std::collections::BTreeSet<&String> = keys.collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let value = |map: Option<&serde_json::Map<String, Value>>| {
            map.and_then(|map| map.get(key)).cloned().unwrap_or_default()
        };
        compare(&value(was), &value(is), &path, depth + 1, fields);
    }
}

/// Whether both mean the same: the engine leaves out what is empty, in lists as well.
fn is_same(was: &Value, is: &Value) -> bool {
    match (was, is) {
        (Value::Array(was), Value::Array(is)) => {
            was.len() == is.len() && was.iter().zip(is).all(|(was, is)| is_same(was, is))
        }
        (Value::Object(was), Value::Object(is)) => {
            let is_in = |key: &String, map: &serde_json::Map<String, Value>, value: &Value| {
                map.get(key).map_or(is_empty(value), |other| is_same(value, other))
            };
            was.iter().all(|(key, value)| is_in(key, is, value))
                && is.iter().all(|(key, value)| is_in(key, was, value))
        }
        _ => was == is || (is_empty(was) && is_empty(is)),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        Value::Bool(is_set) => !is_set,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: &Value) -> Spec {
        Spec::from_json(&value.to_string()).unwrap()
    }

    fn sent() -> Value {
        json!({
            "Name": "web",
            "Labels": {},
            "TaskTemplate": {
                "ContainerSpec": { "Image": "app:1@sha256:new", "Env": ["A=1"] },
                "Placement": {},
                "ForceUpdate": 0,
            },
            "Mode": { "Replicated": { "Replicas": 2 } },
        })
    }

    #[test]
    fn what_makes_other_tasks_is_named_without_its_value() {
        for (path, value, named) in [
            ("/Labels", json!({ "a": "b" }), None),
            ("/Mode/Replicated/Replicas", json!(5), None),
            ("/TaskTemplate/ForceUpdate", json!(3), None),
            ("/TaskTemplate/Placement", json!({ "Constraints": [] }), None),
            ("/TaskTemplate/ContainerSpec/Env", json!(["A=secret"]), Some("TaskTemplate.ContainerSpec.Env")),
            (
                "/TaskTemplate/Placement",
                json!({ "Constraints": ["node.role==manager"] }),
                Some("TaskTemplate.Placement.Constraints"),
            ),
            ("/TaskTemplate/ContainerSpec/Image", json!("app:2"), Some("TaskTemplate.ContainerSpec.Image")),
        ] {
            let mut is = sent();
            *is.pointer_mut(path).unwrap() = value;
            assert_eq!(change(&spec(&sent()), &spec(&is)).as_deref(), named, "{path}");
        }
    }

    #[test]
    fn a_field_that_was_not_there_is_named_and_an_update_configuration_is_not() {
        let mut is = sent();
        is["UpdateConfig"] = json!({ "Parallelism": 3 });
        assert_eq!(change(&spec(&sent()), &spec(&is)), None);
        is["EndpointSpec"] = json!({ "Ports": [{ "TargetPort": 80 }] });
        is["TaskTemplate"]["ContainerSpec"]["Secrets"] = json!([{ "SecretID": "x" }]);
        let named = "EndpointSpec.Ports, TaskTemplate.ContainerSpec.Secrets";
        assert_eq!(change(&spec(&sent()), &spec(&is)).as_deref(), Some(named));
    }

    #[test]
    fn of_many_fields_some_are_named() {
        let mut is = sent();
        for field in ["Args", "Command", "Dir", "Env", "Hosts", "User", "Groups"] {
            is["TaskTemplate"]["ContainerSpec"][field] = json!("x");
        }
        let named = change(&spec(&sent()), &spec(&is)).unwrap();
        assert!(named.ends_with(" and 2 more fields"), "{named}");
    }
}
