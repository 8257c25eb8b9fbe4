//! What a task claims of the node that it runs on: what a second task of its place may not get as well. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::hosts::null_is_default;

/// What each task of a service claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// What is mounted into its container.
    pub mounts: Vec<Mount>,
    /// The ids of its networks.
    pub networks: Vec<String>,
    /// The ports that are published on the nodes themselves (`mode=host`) under a number of the service's choice.
    pub host_ports: Vec<u64>,
    /// At most so many tasks on one node; 0: no limit.
    pub max_per_node: u64,
    /// What the scheduler sets aside for it.
    pub reserved: Resources,
    /// Which nodes it may be put on, in the swarm's words.
    pub constraints: Vec<String>,
    /// The platforms of its image, as (operating system, architecture). Without any, all will do.
    pub platforms: Vec<(String, String)>,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// `volume`, `bind`, `tmpfs`, `npipe`, `cluster`, `image`.
    pub kind: String,
    /// What is mounted; empty for a volume that is made anew for each container.
    pub source: String,
    /// Where the container sees it.
    pub target: String,
    /// Whether the container can only read it.
    pub is_read_only: bool,
    /// Whether the volume's driver is told what the volume is, such as a folder of a file server.
    pub has_driver_options: bool,
}

/// What a node has, or a task reserves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Billionths of a processor.
    pub nano_cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Numbers of other things, by kind: graphics processors, for example.
    pub generic: BTreeMap<String, u64>,
}

impl Resources {
    /// Whether there is anything.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }

    /// Takes as much as is there.
    pub fn take(&mut self, other: &Self) {
        self.nano_cpus = self.nano_cpus.saturating_sub(other.nano_cpus);
        self.memory = self.memory.saturating_sub(other.memory);
        for (kind, count) in &other.generic {
            if let Some(left) = self.generic.get_mut(kind) {
                *left = left.saturating_sub(*count);
            }
        }
    }

    /// What is wanted and not here, in words.
    pub fn lacks(&self, wanted: &Self) -> Option<String> {
        if wanted.memory > self.memory {
            return Some("memory".to_owned());
        }
        if wanted.nano_cpus > self.nano_cpus {
            return Some("CPU".to_owned());
        }
        let has_less =
            |kind: &String, count: &u64| self.generic.get(kind).copied().unwrap_or_default() < *count;
        wanted.generic.iter().find(|(kind, count)| has_less(kind, count)).map(|(kind, _)| kind.clone())
    }
}

/// The part of a specification that says what a task claims.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EndpointSpecJson {
    #[serde(deserialize_with = "null_is_default")]
    ports: Vec<PortJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PortJson {
    publish_mode: String,
    published_port: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PlacementJson {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) platforms: Vec<PlatformJson>,
    #[serde(deserialize_with = "null_is_default")]
    constraints: Vec<String>,
    max_replicas: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PlatformJson {
    #[serde(rename = "OS")]
    pub(super) os: String,
    #[serde(rename = "Architecture")]
    pub(super) architecture: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ResourcesJson {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) limits: AmountsJson,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) reservations: AmountsJson,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AmountsJson {
    #[serde(rename = "NanoCPUs")]
    nano_cpus: u64,
    pub(super) memory_bytes: u64,
    #[serde(deserialize_with = "null_is_default")]
    generic_resources: Vec<GenericJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GenericJson {
    discrete_resource_spec: Option<DiscreteJson>,
    named_resource_spec: Option<NamedJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DiscreteJson {
    kind: String,
    value: u64,
}

/// One of several, with a name of its own.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NamedJson {
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NetworkJson {
    target: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MountJson {
    #[serde(rename = "Type")]
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    #[serde(deserialize_with = "null_is_default")]
    volume_options: VolumeOptionsJson,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VolumeOptionsJson {
    #[serde(deserialize_with = "null_is_default")]
    driver_config: DriverConfigJson,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DriverConfigJson {
    name: String,
    #[serde(deserialize_with = "null_is_default")]
    options: BTreeMap<String, String>,
}

impl From<AmountsJson> for Resources {
    fn from(json: AmountsJson) -> Self {
        let mut generic: BTreeMap<String, u64> = BTreeMap::new();
        for one in json.generic_resources {
            let of_kind = one.discrete_resource_spec.map(|DiscreteJson { kind, value }| (kind, value));
            if let Some((kind, count)) = of_kind.or(one.named_resource_spec.map(|named| (named.kind, 1))) {
                *generic.entry(kind).or_default() += count;
            }
        }
        Self { nano_cpus: json.nano_cpus, memory: json.memory_bytes, generic }
    }
}

impl From<MountJson> for Mount {
    fn from(json: MountJson) -> Self {
        let driver = json.volume_options.driver_config;
        Self {
            kind: json.kind,
            source: json.source,
            target: json.target,
            is_read_only: json.read_only,
            has_driver_options: !driver.options.is_empty() || !matches!(driver.name.as_str(), "" | "local"),
        }
    }
}

/// The pieces of a specification that [`Claims`] are read from.
pub(super) struct Pieces {
    pub(super) mounts: Vec<MountJson>,
    pub(super) networks: Vec<NetworkJson>,
    pub(super) endpoint: EndpointSpecJson,
    pub(super) placement: PlacementJson,
    pub(super) reserved: AmountsJson,
}

impl From<Pieces> for Claims {
    fn from(pieces: Pieces) -> Self {
        // Without a number the engine chooses a free port for each task.
        let is_fixed = |port: &PortJson| port.publish_mode == "host" && port.published_port > 0;
        let ports = pieces.endpoint.ports.iter();
        Self {
            mounts: pieces.mounts.into_iter().map(Mount::from).collect(),
            networks: pieces.networks.into_iter().map(|network| network.target).collect(),
            host_ports: ports.filter(|port| is_fixed(port)).map(|port| port.published_port).collect(),
            max_per_node: pieces.placement.max_replicas,
            reserved: pieces.reserved.into(),
            constraints: pieces.placement.constraints,
            platforms: pieces
                .placement
                .platforms
                .into_iter()
                .map(|platform| (platform.os, platform.architecture))
                .collect(),
        }
    }
}
