//! The edits of single options that are more than a value at a path. Pure.

#![allow(
    clippy::unnecessary_wraps,
    reason = "every edit in the table has the same type, those that cannot fail too"
)]

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use super::apply::{EditResult, Editing, is_on, put_keyed, text, texts};
use super::value::key;
use super::{Name, OptionError};

/// Where a service's tasks are attached to networks; `/Networks` is where old clients wrote it.
const NETWORKS: &str = "/TaskTemplate/Networks";
const CONTAINER: &str = "/TaskTemplate/ContainerSpec";

/// The engine's own defaults for updates: a single field without them would set all other fields to zero. The order is
/// left out: `GANTRY_UPDATE_ORDER` decides it.
pub(super) fn update_defaults() -> Value {
    json!({
        "Parallelism": 1,
        "Delay": 0,
        "FailureAction": "pause",
        "Monitor": 5_000_000_000_u64,
        "MaxFailureRatio": 0,
    })
}

/// The same for restarts.
pub(super) fn restart_defaults() -> Value {
    json!({ "Condition": "any", "Delay": 5_000_000_000_u64, "MaxAttempts": 0 })
}

pub(super) fn force(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    if is_on(values) {
        let counter = editing.at("/TaskTemplate/ForceUpdate");
        *counter = json!(counter.as_u64().unwrap_or_default().saturating_add(1));
    }
    Ok(())
}

pub(super) fn replicas(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    if editing.spec.pointer("/Mode/Replicated").is_none_or(Value::is_null) {
        return Err(OptionError::new("--replicas", "a replicated service, which this one is not"));
    }
    editing.set("/Mode/Replicated/Replicas", values);
    Ok(())
}

/// Ports that are published together: several may stand in one value.
fn ports(values: &[Value]) -> Vec<&Value> {
    values.iter().filter_map(Value::as_array).flatten().collect()
}

/// Protocol, container's port and mode of a port; and the published one.
fn port_key(port: &Value) -> (String, u64, String, u64) {
    let word = |key: &str, default: &str| match text(port, key) {
        "" => default.to_owned(),
        word => word.to_owned(),
    };
    let number = |key: &str| port.get(key).and_then(Value::as_u64).unwrap_or_default();
    (word("/Protocol", "tcp"), number("TargetPort"), word("/PublishMode", "ingress"), number("PublishedPort"))
}

pub(super) fn unpublish(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let key = |port: &Value| {
        let (protocol, target, mode, _) = port_key(port);
        (protocol, target, mode)
    };
    let gone: HashSet<_> = ports(values).into_iter().map(key).collect();
    // The CLI gives a service without any an endpoint here too.
    editing.list("/EndpointSpec/Ports").retain(|port| !gone.contains(&key(port)));
    Ok(())
}

pub(super) fn publish(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    publish_as_written(editing, values)?;
    editing.list("/EndpointSpec/Ports").sort_by_cached_key(|port| {
        let (protocol, target, mode, published) = port_key(port);
        format!("{published}:{target}/{protocol}/{mode}")
    });
    Ok(())
}

/// The CLI sorts the ports of an update, and leaves those of a new service as they were written.
pub(super) fn publish_as_written(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let list = editing.list("/EndpointSpec/Ports");
    let mut present: HashSet<_> = list.iter().map(port_key).collect();
    list.extend(ports(values).into_iter().filter(|port| present.insert(port_key(port))).cloned());
    Ok(())
}

/// Moves attachments from the old place in the specification to the current one.
fn move_networks(editing: &mut Editing<'_>) {
    let Some(old) = editing.spec.as_object_mut().and_then(|spec| spec.shift_remove("Networks")) else {
        return;
    };
    let list = editing.list(NETWORKS);
    if list.is_empty()
        && let Value::Array(old) = old
    {
        *list = old;
    }
}

pub(super) fn detach(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    move_networks(editing);
    let gone = texts(values)
        .map(|name| editing.id(&Name::Network(name.to_owned())).map(Value::from))
        .collect::<Result<Vec<_>, _>>()?;
    editing.remove_named(NETWORKS, "/Target", &gone);
    Ok(())
}

pub(super) fn attach(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    move_networks(editing);
    let networks = editing.with_ids(values, "/Target", "Target", Name::Network)?;
    editing.put_named(NETWORKS, "/Target", &networks);
    editing.list(NETWORKS).sort_by(|a, b| text(a, "/Target").cmp(text(b, "/Target")));
    Ok(())
}

/// Sets the driver with exactly the options that are given.
pub(super) fn log_driver(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let Some(name) = texts(values).last().filter(|name| !name.is_empty()) else { return Ok(()) };
    let options = (editing.values_of)("log-opt");
    *editing.at("/TaskTemplate/LogDriver") = json!({ "Name": name });
    if !options.is_empty() {
        editing.put_pairs("/TaskTemplate/LogDriver/Options", options);
    }
    Ok(())
}

pub(super) fn remove_variables(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let gone: HashSet<&str> = texts(values).collect();
    if let Some(list) = editing.present_list("/TaskTemplate/ContainerSpec/Env") {
        list.retain(|variable| variable.as_str().is_none_or(|variable| !gone.contains(key(variable))));
    }
    Ok(())
}

pub(super) fn add_variables(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let list = editing.list("/TaskTemplate/ContainerSpec/Env");
    put_keyed(list, values, |variable| variable.as_str().map(|variable| key(variable).to_owned()));
    Ok(())
}

pub(super) fn add_mounts(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let path = format!("{CONTAINER}/Mounts");
    editing.put_named(&path, "/Target", values);
    let place = |mount: &Value| (text(mount, "/Source").to_owned(), text(mount, "/Target").to_owned());
    editing.list(&path).sort_by_cached_key(place);
    Ok(())
}

pub(super) fn add_ulimits(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let path = format!("{CONTAINER}/Ulimits");
    editing.put_named(&path, "/Name", values);
    editing.list(&path).sort_by(|a, b| text(a, "/Name").cmp(text(b, "/Name")));
    Ok(())
}

pub(super) fn add_secrets(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let secrets = editing.with_ids(values, "/SecretName", "SecretID", Name::Secret)?;
    editing.put_named(&format!("{CONTAINER}/Secrets"), "/File/Name", &secrets);
    Ok(())
}

pub(super) fn add_configs(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let configs = editing.with_ids(values, "/ConfigName", "ConfigID", Name::Config)?;
    editing.put_named(&format!("{CONTAINER}/Configs"), "/File/Name", &configs);
    Ok(())
}

/// Removes configs that are files. Other configs belong to a credential specification.
pub(super) fn remove_configs(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let gone: HashSet<&Value> = values.iter().collect();
    if let Some(list) = editing.present_list("/TaskTemplate/ContainerSpec/Configs") {
        let is_gone = |config: &Value| {
            config.get("Runtime").is_none_or(Value::is_null)
                && config.get("ConfigName").is_some_and(|name| gone.contains(name))
        };
        list.retain(|config| !is_gone(config));
    }
    Ok(())
}

/// A credential specification in a config also needs this config among the service's configs, for the engine and not as a
/// file.
pub(super) fn credential_spec(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let Some(mut spec) = values.last().cloned() else { return Ok(()) };
    let configs = format!("{CONTAINER}/Configs");
    let is_for_engine = |config: &Value| config.get("Runtime").is_some_and(|runtime| !runtime.is_null());
    if let Some(list) = editing.present_list(&configs) {
        list.retain(|config| !is_for_engine(config));
    }
    if spec.is_null() {
        if let Some(privileges) = editing.spec.pointer_mut("/TaskTemplate/ContainerSpec/Privileges")
            && let Some(privileges) = privileges.as_object_mut()
        {
            privileges.shift_remove("CredentialSpec");
        }
        return Ok(());
    }
    if let Some(name) = spec.get("Config").and_then(Value::as_str).map(str::to_owned) {
        let id = editing.id(&Name::Config(name.clone()))?;
        let config = json!({ "Runtime": {}, "ConfigID": id, "ConfigName": name });
        editing.add_each(&configs, &[config]);
        spec["Config"] = json!(id);
    }
    *editing.at("/TaskTemplate/ContainerSpec/Privileges/CredentialSpec") = spec;
    Ok(())
}

/// `HOST` is removed everywhere, `HOST:IP` from that address; an address without a name goes with it.
pub(super) fn remove_hosts(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let mut gone: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (host, address) in texts(values).map(|host| host.split_once(':').unwrap_or((host, ""))) {
        gone.entry(host).or_default().insert(address);
    }
    let Some(list) = editing.present_list("/TaskTemplate/ContainerSpec/Hosts") else { return Ok(()) };
    list.retain_mut(|entry| {
        let Some(line) = entry.as_str() else { return true };
        let mut words = line.split_whitespace();
        let Some(ip) = words.next() else { return true };
        let is_gone = |name: &str| gone.get(name).is_some_and(|at| at.contains("") || at.contains(ip));
        let (out, left): (Vec<&str>, Vec<&str>) = words.partition(|name| is_gone(name));
        if out.is_empty() {
            return true;
        }
        let has_names = !left.is_empty();
        *entry = json!(format!("{ip} {}", left.join(" ")));
        has_names
    });
    Ok(())
}

/// Stands for the whole list that the service has.
const RESET: &str = "RESET";

/// Capabilities as the CLI writes them: `net_admin` is `CAP_NET_ADMIN`.
fn capabilities(values: &[Value]) -> BTreeSet<String> {
    let name = |value: &str| {
        let name = value.trim().to_uppercase();
        let is_whole = name == "ALL" || name == RESET || name.starts_with("CAP_");
        if is_whole { name } else { format!("CAP_{name}") }
    };
    texts(values).map(name).collect()
}

impl Editing<'_> {
    fn present_capabilities(&mut self, field: &str) -> BTreeSet<String> {
        let present = self.present_list(&format!("{CONTAINER}/{field}"));
        present.map_or_else(BTreeSet::new, |list| capabilities(list))
    }

    fn write_capabilities(&mut self, field: &str, names: BTreeSet<String>) {
        let path = format!("{CONTAINER}/{field}");
        if names.is_empty() && self.present_list(&path).is_none() {
            return;
        }
        let is_all = names.contains("ALL");
        let names = names.into_iter().filter(|name| !is_all || name == "ALL");
        *self.list(&path) = names.map(Value::from).collect();
    }

    /// Copies of values, each with the id of the object that it names at `name` in its field `id`.
    fn with_ids(
        &self,
        values: &[Value],
        name: &str,
        id: &str,
        kind: fn(String) -> Name,
    ) -> Result<Vec<Value>, OptionError> {
        let with_id = |value: &Value| {
            let mut value = value.clone();
            value[id] = json!(self.id(&kind(text(&value, name).to_owned()))?);
            Ok(value)
        };
        values.iter().map(with_id).collect()
    }
}

/// One that was added before is added no more; else it is dropped. What is also to be added is not dropped.
pub(super) fn drop_capabilities(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let (to_drop, to_add) = (capabilities(values), capabilities((editing.values_of)("cap-add")));
    let mut added = editing.present_capabilities("CapabilityAdd");
    let mut dropped = editing.present_capabilities("CapabilityDrop");
    if to_add.contains(RESET) {
        added.clear();
    }
    if to_drop.contains(RESET) {
        dropped.clear();
    }
    for name in to_drop.into_iter().filter(|name| name != RESET && !to_add.contains(name)) {
        if !added.remove(&name) {
            dropped.insert(name);
        }
    }
    editing.write_capabilities("CapabilityAdd", added);
    editing.write_capabilities("CapabilityDrop", dropped);
    Ok(())
}

/// One that was dropped before is dropped no more; else it is added.
pub(super) fn add_capabilities(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    let to_add = capabilities(values);
    let mut added = editing.present_capabilities("CapabilityAdd");
    let mut dropped = editing.present_capabilities("CapabilityDrop");
    if to_add.contains(RESET) {
        added.clear();
    }
    for name in to_add.into_iter().filter(|name| name != RESET) {
        if !dropped.remove(&name) {
            added.insert(name);
        }
    }
    editing.write_capabilities("CapabilityAdd", added);
    editing.write_capabilities("CapabilityDrop", dropped);
    Ok(())
}

const HEALTH: &str = "/TaskTemplate/ContainerSpec/Healthcheck";

/// A check that was switched off is on again as soon as something is said about it.
fn switch_health_check_on(editing: &mut Editing<'_>) {
    let check = editing.object(HEALTH);
    if check.get("Test").is_some_and(|test| test[0] == "NONE") {
        check.shift_remove("Test");
    }
}

pub(super) fn no_health_check(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    if is_on(values) {
        *editing.at(HEALTH) = json!({ "Test": ["NONE"] });
    } else {
        switch_health_check_on(editing);
    }
    Ok(())
}

pub(super) fn health_command(editing: &mut Editing<'_>, values: &[Value]) -> EditResult {
    switch_health_check_on(editing);
    let command = texts(values).last().unwrap_or_default();
    let check = editing.object(HEALTH);
    if command.is_empty() {
        check.shift_remove("Test");
    } else {
        check.insert("Test".to_owned(), json!(["CMD-SHELL", command]));
    }
    Ok(())
}

pub(super) fn health(editing: &mut Editing<'_>, field: &str, values: &[Value]) -> EditResult {
    switch_health_check_on(editing);
    editing.set(&format!("{HEALTH}/{field}"), values);
    Ok(())
}
