//! The real engine. The only part of the program that talks to Docker.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use self::transport::{Request, Transport};
use super::config_object::ConfigJson;
use super::node::NodeJson;
use super::task::TaskJson;
use super::{
    ConfigObject, Container, EngineView, Listing, LocalImage, Node, Role, Service, ServiceChange, Spec,
    Swarm, SwarmError, Task,
};
use crate::config::{EngineAddress, Filter};
use crate::heartbeat::Heartbeat;
use crate::hosts::EngineRegistries;
use crate::meters::EngineMeter;
use crate::options::Name;
use crate::proxy::Proxies;
use crate::secret::Secret;

mod elements;
mod log;
mod refusal;
mod transport;

/// Docker's engine behind a socket.
pub struct Engine {
    transport: Transport,
}

impl Engine {
    /// An engine at this address. Nothing is sent yet.
    pub fn new(address: EngineAddress) -> Self {
        Self { transport: Transport::new(address, None) }
    }

    /// The same, where each answer is a sign of life.
    pub fn beating(address: EngineAddress, heartbeat: Heartbeat) -> Self {
        Self { transport: Transport::new(address, Some(heartbeat)) }
    }

    /// How long its answers take.
    pub fn meter(&self) -> &EngineMeter {
        &self.transport.meter
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, SwarmError> {
        let answer = self.transport.call(Request::get(path)).await?;
        serde_json::from_slice(&answer).map_err(|error| unreadable(&error))
    }

    async fn containers(&self, key: &str, value: &str) -> Result<Vec<ListedContainerJson>, SwarmError> {
        let filters = any_of(key, &[value.to_owned()]);
        self.get(format!("/containers/json?all=true&filters={}", encode(&filters))).await
    }

    /// Like [`Self::get`], with `None` for what does not exist.
    async fn find<T: DeserializeOwned>(&self, path: String) -> Result<Option<T>, SwarmError> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(SwarmError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Swarm for Engine {
    async fn engine(&self) -> Result<EngineView, SwarmError> {
        let info: InfoJson = self.get("/info".to_owned()).await?;
        let role = match (info.swarm.local_node_state.as_str(), info.swarm.control_available) {
            (_, true) => Role::Manager,
            ("active", false) => Role::Worker,
            ("pending", false) => Role::Pending,
            ("locked", false) => Role::Locked,
            _ => Role::None,
        };
        let proxies = Proxies::of_engine(&info.http_proxy, &info.https_proxy, &info.no_proxy);
        Ok(EngineView {
            role,
            node_id: info.swarm.node_id,
            swarm_id: info.swarm.cluster.map(|cluster| cluster.id).unwrap_or_default(),
            host_name: info.name,
            version: info.server_version,
            time: info.system_time.and_then(|text| text.parse::<Timestamp>().ok()),
            registries: EngineRegistries { proxies, ..info.registry_config },
        })
    }

    async fn each_service(
        &self,
        listing: Listing<'_>,
        mut take: impl FnMut(Service) + Send,
    ) -> Result<(), SwarmError> {
        let filters = match listing {
            Listing::Filters(filters) => Filter::to_json(filters),
            Listing::Ids([]) => return Ok(()),
            Listing::Ids(ids) if ids.len() > MOST_IDS => Filter::to_json(&[]),
            Listing::Ids(ids) => any_of("id", ids),
        };
        let wanted: Option<HashSet<&String>> = match listing {
            Listing::Ids(ids) => Some(ids.iter().collect()),
            Listing::Filters(_) => None,
        };
        let path = format!("/services?status=true&filters={}", encode(&filters));
        let is_wanted = |service: &Service| {
            let begins = |id: &&String| id.len() < service.id.len() && service.id.starts_with(*id);
            wanted.as_ref().is_none_or(|ids| ids.contains(&service.id) || ids.iter().any(begins))
        };
        let found = |json: &[u8]| {
            match Service::read(&Bytes::copy_from_slice(json)) {
                Ok(service) if is_wanted(&service) => take(service),
                Ok(_) => {}
                // One service that cannot be read does not hide the others.
                Err(error) => tracing::error!(%error, "left out a service that cannot be read"),
            }
            Ok(())
        };
        self.transport.each(Request::get(path), found).await
    }

    async fn service(&self, id: &str) -> Result<Option<Service>, SwarmError> {
        let found: Option<Box<RawValue>> = self.find(format!("/services/{}", encode(id))).await?;
        found
            .map(|raw| Service::from_json(raw.get()))
            .transpose()
            .map_err(|error| SwarmError::Unreadable(error.to_string()))
    }

    async fn each_task(
        &self,
        services: &[String],
        mut take: impl FnMut(Task) + Send,
    ) -> Result<(), SwarmError> {
        let asked = if services.len() > MOST_IDS { &[] } else { services };
        let filters = any_of("service", asked);
        let wanted: HashSet<&String> = services.iter().collect();
        let found = |json: &[u8]| {
            let task: TaskJson = serde_json::from_slice(json).map_err(|error| error.to_string())?;
            if wanted.is_empty() || wanted.contains(task.service_id()) {
                take(task.into());
            }
            Ok(())
        };
        self.transport.each(Request::get(format!("/tasks?filters={}", encode(&filters))), found).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, SwarmError> {
        let nodes: Vec<NodeJson> = self.get("/nodes".to_owned()).await?;
        Ok(nodes.into_iter().map(Node::from).collect())
    }

    async fn update_service(
        &self,
        id: &str,
        version: u64,
        change: ServiceChange<'_>,
        auth: Option<&Secret>,
    ) -> Result<Vec<String>, SwarmError> {
        let (spec, extra) = match change {
            ServiceChange::To(spec) => (spec, ""),
            ServiceChange::Back(present) => (present, "&rollback=previous"),
        };
        let path = format!("/services/{}/update?version={version}{extra}", encode(id));
        let answer = self.transport.call(Request::post(path, spec.json()).with_auth(auth)).await?;
        // The change is made by now: an answer that cannot be read must not say otherwise.
        let warnings: WarningsJson = serde_json::from_slice(&answer).unwrap_or_default();
        Ok(warnings.warnings)
    }

    async fn create_service(&self, spec: &Spec, auth: Option<&Secret>) -> Result<String, SwarmError> {
        let request = Request::post("/services/create", spec.json()).with_auth(auth);
        let answer = self.transport.call(request).await?;
        let created: CreatedJson = serde_json::from_slice(&answer).map_err(|error| unreadable(&error))?;
        Ok(created.id)
    }

    async fn id_of(&self, name: &Name) -> Result<Option<String>, SwarmError> {
        let (kind, name) = match name {
            Name::Network(name) => {
                let path = format!("/networks/{}?scope=swarm", encode(name));
                let found: Option<NetworkJson> = self.find(path).await?;
                return Ok(found.map(|network| network.id));
            }
            Name::Secret(name) => ("secrets", name),
            Name::Config(name) => ("configs", name),
        };
        // The filter also finds longer names.
        let filters = any_of("name", std::slice::from_ref(name));
        let found: Vec<NamedJson> = self.get(format!("/{kind}?filters={}", encode(&filters))).await?;
        Ok(found.into_iter().find(|named| named.spec.name == *name).map(|named| named.id))
    }

    async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        gone_is_fine(self.transport.call(Request::delete(format!("/services/{}", encode(id)))).await)
    }

    async fn task_log(&self, task: &str, lines: usize) -> Result<Vec<String>, SwarmError> {
        let path = format!("/tasks/{}/logs?stdout=true&stderr=true&tail={lines}", encode(task));
        let answer = self.transport.call(Request::get(path)).await?;
        Ok(log::lines(&answer))
    }

    async fn health_output(&self, task: &str) -> Result<Option<String>, SwarmError> {
        let listed = self.containers("label", &format!("com.docker.swarm.task.id={task}")).await?;
        let Some(container) = listed.first() else { return Ok(None) };
        let path = format!("/containers/{}/json", encode(&container.id));
        let found: Option<ContainerJson> = self.find(path).await?;
        Ok(found.and_then(|json| json.state.health).and_then(HealthJson::last_words))
    }

    async fn config_object(&self, name: &str) -> Result<Option<ConfigObject>, SwarmError> {
        // Asked for by its name alone, the engine would also take the beginning of an id for one.
        let filters = any_of("name", &[name.to_owned()]);
        let listed: Vec<ConfigJson> = self.get(format!("/configs?filters={}", encode(&filters))).await?;
        Ok(listed.into_iter().map(ConfigObject::from).find(|found| found.name == name))
    }

    async fn create_config_object(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        data: &str,
    ) -> Result<String, SwarmError> {
        let request = Request::post("/configs/create", &ConfigObject::spec(name, labels, data));
        let answer = self.transport.call(request).await?;
        let created: CreatedJson = serde_json::from_slice(&answer).map_err(|error| unreadable(&error))?;
        Ok(created.id)
    }

    async fn update_config_object(
        &self,
        read: &ConfigObject,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), SwarmError> {
        let path = format!("/configs/{}/update?version={}", encode(&read.id), read.version);
        let spec = ConfigObject::spec(&read.name, labels, &read.data);
        self.transport.call(Request::post(path, &spec)).await.map(|_| ())
    }

    async fn remove_config_object(&self, id: &str) -> Result<(), SwarmError> {
        gone_is_fine(self.transport.call(Request::delete(format!("/configs/{}", encode(id)))).await)
    }

    fn changes(&self) -> impl Stream<Item = Result<(), SwarmError>> + Send {
        let filters = encode(r#"{"type":["service","node"]}"#);
        match self.transport.open(Request::get(format!("/events?filters={filters}"))) {
            // Whatever comes is at least a part of an event, which is all that matters here.
            Ok(chunks) => chunks.map(|chunk| chunk.map(|_| ())).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        }
    }

    async fn container(&self, id: &str) -> Result<Option<Container>, SwarmError> {
        let found: Option<ContainerJson> = self.find(format!("/containers/{}/json", encode(id))).await?;
        Ok(found.map(|json| Container {
            id: json.id,
            state: json.state.status,
            image_id: json.image,
            labels: json.config.labels,
        }))
    }

    async fn containers_of(&self, image_id: &str) -> Result<Vec<Container>, SwarmError> {
        let listed = self.containers("ancestor", image_id).await?;
        // An ancestor is also what an image was built on: only the image itself counts.
        Ok(listed.into_iter().filter(|json| json.image_id == image_id).map(Container::from).collect())
    }

    async fn containers_of_service(&self, name: &str) -> Result<Vec<Container>, SwarmError> {
        let listed = self.containers("label", &format!("com.docker.swarm.service.name={name}")).await?;
        Ok(listed.into_iter().map(Container::from).collect())
    }

    async fn task_containers(&self) -> Result<Vec<Container>, SwarmError> {
        let listed = self.containers("label", super::node::TASK_LABEL).await?;
        Ok(listed.into_iter().map(Container::from).collect())
    }

    async fn local_image(&self, name: &str) -> Result<Option<LocalImage>, SwarmError> {
        self.find(format!("/images/{}/json", encode_name(name))).await
    }

    async fn remove_container(&self, id: &str) -> Result<(), SwarmError> {
        gone_is_fine(self.transport.call(Request::delete(format!("/containers/{}", encode(id)))).await)
    }

    async fn remove_image(&self, name: &str) -> Result<(), SwarmError> {
        let path = format!("/images/{}", encode_name(name));
        gone_is_fine(self.transport.call(Request::delete(path)).await)
    }
}

fn gone_is_fine(answer: Result<bytes::Bytes, SwarmError>) -> Result<(), SwarmError> {
    match answer {
        Ok(_) | Err(SwarmError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn unreadable(error: &serde_json::Error) -> SwarmError {
    SwarmError::Unreadable(error.to_string())
}

/// Everything but letters and digits: filters are JSON with names that users choose.
fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// An image's name keeps its slashes and colons: the engine's router wants them plain.
fn encode_name(name: &str) -> String {
    const PLAIN: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b':').remove(b'@').remove(b'.').remove(b'-').remove(b'_');
    utf8_percent_encode(name, PLAIN).to_string()
}

/// So many ids are asked for one by one. More of them make an address that proxies refuse, and for tasks a look-up each in the
/// engine; all services and all tasks of a large swarm take it a tenth of a second.
const MOST_IDS: usize = 100;

/// A filter that any one of these values passes; no values, no filter.
fn any_of(key: &str, values: &[String]) -> String {
    let filters: Vec<Filter> =
        values.iter().map(|value| Filter { key: key.to_owned(), value: value.clone() }).collect();
    Filter::to_json(&filters)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InfoJson {
    #[serde(default)]
    name: String,
    #[serde(default)]
    server_version: String,
    #[serde(default)]
    system_time: Option<String>,
    #[serde(default)]
    swarm: SwarmJson,
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    registry_config: EngineRegistries,
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    http_proxy: String,
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    https_proxy: String,
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    no_proxy: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SwarmJson {
    #[serde(rename = "NodeID")]
    node_id: String,
    local_node_state: String,
    control_available: bool,
    /// On managers only.
    cluster: Option<ClusterJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ClusterJson {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WarningsJson {
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    warnings: Vec<String>,
}

/// A network's id is written `Id`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkJson {
    id: String,
}

/// A secret or config.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NamedJson {
    #[serde(rename = "ID")]
    id: String,
    spec: NamedSpecJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NamedSpecJson {
    name: String,
}

#[derive(Deserialize)]
struct CreatedJson {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerJson {
    id: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    state: ContainerStateJson,
    #[serde(default)]
    config: ContainerConfigJson,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerStateJson {
    status: String,
    health: Option<HealthJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HealthJson {
    /// The last five probes, the latest one last.
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    log: Vec<ProbeJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ProbeJson {
    exit_code: i64,
    output: String,
}

impl HealthJson {
    /// The output of the last probe that failed and said something: the one that the end of its container has cut short
    /// has none (tried on 20.10).
    fn last_words(self) -> Option<String> {
        let mut failed = self.log.into_iter().rev().filter(|probe| probe.exit_code != 0);
        failed.find(|probe| !probe.output.trim().is_empty()).map(|probe| probe.output)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerConfigJson {
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedContainerJson {
    id: String,
    #[serde(rename = "ImageID", default)]
    image_id: String,
    #[serde(default)]
    state: String,
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    labels: std::collections::BTreeMap<String, String>,
}

impl From<ListedContainerJson> for Container {
    fn from(json: ListedContainerJson) -> Self {
        Self { id: json.id, state: json.state, image_id: json.image_id, labels: json.labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_is_quoted_with_the_last_failure_that_said_something() {
        for (log, words) in [
            (r#"[{"ExitCode":0,"Output":"fine"},{"ExitCode":1,"Output":"sick\n"}]"#, Some("sick\n")),
            (r#"[{"ExitCode":1,"Output":"sick"},{"ExitCode":-1,"Output":""}]"#, Some("sick")),
            (r#"[{"ExitCode":1,"Output":"sick"},{"ExitCode":0,"Output":"fine"}]"#, Some("sick")),
            (r#"[{"ExitCode":0,"Output":"fine"},{"ExitCode":1,"Output":" "}]"#, None),
            ("[]", None),
            ("null", None),
        ] {
            let json = format!(r#"{{"Id":"c","State":{{"Status":"exited","Health":{{"Log":{log}}}}}}}"#);
            let container: ContainerJson = serde_json::from_str(&json).unwrap();
            let said = container.state.health.and_then(HealthJson::last_words);
            assert_eq!(said.as_deref(), words, "{log}");
        }
    }
}
