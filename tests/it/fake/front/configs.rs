//! The engine's routes about configs.

use std::collections::BTreeMap;

use gantry::swarm::{ConfigObject, SwarmError};
use http::Method;
use serde_json::{Value, json};

use super::query::Target;
use crate::fake::handle::FakeSwarm;
use crate::fake::script::Call;

pub(super) async fn answer(
    swarm: &FakeSwarm,
    method: &Method,
    path: &[&str],
    target: &Target,
    body: &[u8],
) -> Result<String, SwarmError> {
    match (method, path) {
        (&Method::GET, []) => {
            let names: Vec<String> = target.filters()?.into_iter().map(|(_, value)| value).collect();
            let listed = |object: &&ConfigObject| names.iter().any(|name| object.name.starts_with(name));
            let list = |configs: &BTreeMap<String, ConfigObject>| {
                Value::Array(configs.values().filter(listed).map(render).collect()).to_string()
            };
            swarm.request(Call::Config, None, |world| Ok(list(&world.configs))).await
        }
        (&Method::POST, ["create"]) => {
            let (name, labels, data) = read(body)?;
            let deed = |world: &mut crate::fake::World| world.create_config(&name, &labels, &data);
            let id = swarm.request(Call::CreateConfig, None, deed).await?;
            Ok(json!({ "ID": id }).to_string())
        }
        (&Method::POST, [id, "update"]) => {
            let (_, labels, _) = read(body)?;
            let version = target.get("version").parse().unwrap_or_default();
            let deed = |world: &mut crate::fake::World| world.update_config(id, version, &labels);
            swarm.request(Call::UpdateConfig, None, deed).await?;
            Ok(String::new())
        }
        (&Method::DELETE, [id]) => {
            swarm.request(Call::RemoveConfig, None, |world| world.remove_config(id)).await?;
            Ok(String::new())
        }
        _ => Err(SwarmError::NotFound("page not found".to_owned())),
    }
}

fn render(object: &ConfigObject) -> Value {
    json!({
        "ID": object.id,
        "Version": {"Index": object.version},
        "CreatedAt": "2026-01-01T00:00:00Z",
        "UpdatedAt": "2026-01-01T00:00:00Z",
        "Spec": {"Name": object.name, "Labels": object.labels, "Data": object.data},
    })
}

fn read(body: &[u8]) -> Result<(String, BTreeMap<String, String>, String), SwarmError> {
    let spec: Value = serde_json::from_slice(body).map_err(|error| SwarmError::Refused(error.to_string()))?;
    let text = |key: &str| spec[key].as_str().unwrap_or_default().to_owned();
    let labels = serde_json::from_value(spec["Labels"].clone()).unwrap_or_default();
    Ok((text("Name"), labels, text("Data")))
}
