//! The one table of options: name and short form, kind of value, edit. Pure.
//!
//! Edits are made in the order of the table, as in the docker CLI, and not in the order of the command line. So the order
//! of two lines decides whether `-rm` removes before `-add` adds.

use super::apply::Edit;
use super::edits;
use super::value::ValueKind;
use Edit::{
    AddEach, AddSorted, Do, Nothing, PutNamed, PutPairs, Refused, RemoveEach, RemoveKeys, RemoveNamed, Set,
    SetWith,
};
use ValueKind::{
    Address, Bytes, Choice, Command, Config, Cpus, CredentialSpec, Domain, Duration, Flag, Host, Integer,
    Key, Label, Mount, Network, NetworkName, Pair, Ports, Preference, Ratio, Resource, Secret, Swap, Text,
    Ulimit, Unsigned, Variable,
};

/// The commands that have an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum In {
    /// `docker service update`.
    Update,
    /// `docker service create`.
    Create,
    /// Both.
    Both,
}

/// One option.
#[derive(Debug)]
pub struct OptionInfo {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// Its short form.
    pub short: Option<char>,
    /// The commands that have it.
    pub commands: In,
    /// The kind of its value.
    pub kind: ValueKind,
    pub(super) edit: Edit,
}

impl OptionInfo {
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// The remedy for an option that is not accepted.
    pub fn refusal(&self) -> Option<&'static str> {
        match self.edit {
            Refused(remedy) => Some(remedy),
            _ => None,
        }
    }
}

const fn both(name: &'static str, kind: ValueKind, edit: Edit) -> OptionInfo {
    OptionInfo { name, short: None, commands: In::Both, kind, edit }
}

const fn update(name: &'static str, kind: ValueKind, edit: Edit) -> OptionInfo {
    OptionInfo { name, short: None, commands: In::Update, kind, edit }
}

const fn create(name: &'static str, kind: ValueKind, edit: Edit) -> OptionInfo {
    OptionInfo { name, short: None, commands: In::Create, kind, edit }
}

const fn of_update(name: &'static str, kind: ValueKind, field: &'static str) -> OptionInfo {
    both(name, kind, SetWith("/UpdateConfig", field, edits::update_defaults))
}

const fn of_rollback(name: &'static str, kind: ValueKind, field: &'static str) -> OptionInfo {
    both(name, kind, SetWith("/RollbackConfig", field, edits::update_defaults))
}

const fn of_restart(name: &'static str, kind: ValueKind, field: &'static str) -> OptionInfo {
    both(name, kind, SetWith("/TaskTemplate/RestartPolicy", field, edits::restart_defaults))
}

const RESOURCES: &str = "/TaskTemplate/Resources/Reservations/GenericResources";
const KIND_OF_RESOURCE: &str = "/DiscreteResourceSpec/Kind";
const NAMESERVERS: &str = "/TaskTemplate/ContainerSpec/DNSConfig/Nameservers";
const SEARCH: &str = "/TaskTemplate/ContainerSpec/DNSConfig/Search";
const DNS_OPTIONS: &str = "/TaskTemplate/ContainerSpec/DNSConfig/Options";
const PREFERENCES: &str = "/TaskTemplate/Placement/Preferences";
const CONSTRAINTS: &str = "/TaskTemplate/Placement/Constraints";
const CONTAINER_LABELS: &str = "/TaskTemplate/ContainerSpec/Labels";
const GROUPS: &str = "/TaskTemplate/ContainerSpec/Groups";
const ORDERS: ValueKind = Choice(&["start-first", "stop-first"]);
const ON_REMOVER: &str = "without it: the image remover runs once on every node";

/// Every option of `docker service update` and `docker service create`, up to Docker 29.
pub const OPTIONS: &[OptionInfo] = &[
    // How the command itself works. We always watch, always forward credentials, and decide on the image.
    both("detach", Flag, Nothing).short('d'),
    both("quiet", Flag, Nothing).short('q'),
    both("with-registry-auth", Flag, Nothing),
    both("no-resolve-image", Flag, Nothing),
    update("image", Text, Refused("an update without it: the image is what Gantry decides on")),
    update(
        "rollback",
        Flag,
        Refused("an update without it: GANTRY_ROLLBACK_ON_FAILURE decides on rollbacks"),
    ),
    update("force", Flag, Do(edits::force)),
    create("mode", Text, Refused(ON_REMOVER)),
    create("name", Text, Refused("without it: the image remover's name is fixed")),
    create("replicas", Unsigned, Refused(ON_REMOVER)),
    create("replicas-max-per-node", Unsigned, Refused(ON_REMOVER)),
    create("max-concurrent", Unsigned, Refused(ON_REMOVER)),
    create("env-file", Text, Refused("--env NAME=VALUE instead: no file is read")),
    create("entrypoint", Command, Refused("without it: the image remover is a program of Gantry's own")),
    // The service.
    update("label-rm", Key, RemoveKeys("/Labels")),
    update("label-add", Label, PutPairs("/Labels")),
    create("label", Label, PutPairs("/Labels")).short('l'),
    update("replicas", Unsigned, Do(edits::replicas)),
    update("replicas-max-per-node", Unsigned, Set("/TaskTemplate/Placement/MaxReplicas")),
    // The CLI has it for both commands and heeds it when it creates a job.
    update("max-concurrent", Unsigned, Nothing),
    both("endpoint-mode", Choice(&["vip", "dnsrr"]), Set("/EndpointSpec/Mode")),
    update("publish-rm", Ports, Do(edits::unpublish)),
    update("publish-add", Ports, Do(edits::publish)),
    create("publish", Ports, Do(edits::publish_as_written)).short('p'),
    update("network-rm", NetworkName, Do(edits::detach)),
    update("network-add", Network, Do(edits::attach)),
    create("network", Network, Do(edits::attach)),
    // Its updates and rollbacks.
    of_update("update-parallelism", Unsigned, "Parallelism"),
    of_update("update-delay", Duration, "Delay"),
    of_update("update-monitor", Duration, "Monitor"),
    of_update("update-failure-action", Choice(&["pause", "continue", "rollback"]), "FailureAction"),
    of_update("update-max-failure-ratio", Ratio, "MaxFailureRatio"),
    of_update("update-order", ORDERS, "Order"),
    of_rollback("rollback-parallelism", Unsigned, "Parallelism"),
    of_rollback("rollback-delay", Duration, "Delay"),
    of_rollback("rollback-monitor", Duration, "Monitor"),
    of_rollback("rollback-failure-action", Choice(&["pause", "continue"]), "FailureAction"),
    of_rollback("rollback-max-failure-ratio", Ratio, "MaxFailureRatio"),
    of_rollback("rollback-order", ORDERS, "Order"),
    // Where and how its tasks run.
    update("constraint-add", Text, AddSorted(CONSTRAINTS)),
    update("constraint-rm", Key, RemoveEach(CONSTRAINTS)),
    create("constraint", Text, AddSorted(CONSTRAINTS)),
    update("placement-pref-rm", Preference, RemoveEach(PREFERENCES)),
    update("placement-pref-add", Preference, AddEach(PREFERENCES)),
    create("placement-pref", Preference, AddEach(PREFERENCES)),
    both("limit-cpu", Cpus, Set("/TaskTemplate/Resources/Limits/NanoCPUs")),
    both("limit-memory", Bytes, Set("/TaskTemplate/Resources/Limits/MemoryBytes")),
    both("limit-pids", Integer(0, i64::MAX), Set("/TaskTemplate/Resources/Limits/Pids")),
    both("reserve-cpu", Cpus, Set("/TaskTemplate/Resources/Reservations/NanoCPUs")),
    both("reserve-memory", Bytes, Set("/TaskTemplate/Resources/Reservations/MemoryBytes")),
    both("memory-swap", Swap, Set("/TaskTemplate/Resources/SwapBytes")),
    both("memory-swappiness", Integer(-1, 100), Set("/TaskTemplate/Resources/MemorySwappiness")),
    update("generic-resource-add", Resource, PutNamed(RESOURCES, KIND_OF_RESOURCE)),
    update("generic-resource-rm", Key, RemoveNamed(RESOURCES, KIND_OF_RESOURCE)),
    create("generic-resource", Resource, PutNamed(RESOURCES, KIND_OF_RESOURCE)),
    of_restart("restart-condition", Choice(&["none", "on-failure", "any"]), "Condition"),
    of_restart("restart-delay", Duration, "Delay"),
    of_restart("restart-max-attempts", Unsigned, "MaxAttempts"),
    of_restart("restart-window", Duration, "Window"),
    both("log-driver", Text, Do(edits::log_driver)),
    // Its edit is the driver's: as in the CLI, options mean something beside a driver only.
    both("log-opt", Pair, Nothing),
    // Their containers.
    update("args", Command, Set("/TaskTemplate/ContainerSpec/Args")),
    update("entrypoint", Command, Set("/TaskTemplate/ContainerSpec/Command")),
    update("env-rm", Key, Do(edits::remove_variables)),
    update("env-add", Variable, Do(edits::add_variables)),
    create("env", Variable, Do(edits::add_variables)).short('e'),
    update("container-label-rm", Key, RemoveKeys(CONTAINER_LABELS)),
    update("container-label-add", Label, PutPairs(CONTAINER_LABELS)),
    create("container-label", Label, PutPairs(CONTAINER_LABELS)),
    both("workdir", Text, Set("/TaskTemplate/ContainerSpec/Dir")).short('w'),
    both("user", Text, Set("/TaskTemplate/ContainerSpec/User")).short('u'),
    both("hostname", Text, Set("/TaskTemplate/ContainerSpec/Hostname")),
    both("init", Flag, Set("/TaskTemplate/ContainerSpec/Init")),
    both(
        "isolation",
        Choice(&["default", "process", "hyperv"]),
        Set("/TaskTemplate/ContainerSpec/Isolation"),
    ),
    both("tty", Flag, Set("/TaskTemplate/ContainerSpec/TTY")).short('t'),
    both("read-only", Flag, Set("/TaskTemplate/ContainerSpec/ReadOnly")),
    both("stop-signal", Text, Set("/TaskTemplate/ContainerSpec/StopSignal")),
    both("stop-grace-period", Duration, Set("/TaskTemplate/ContainerSpec/StopGracePeriod")),
    both("oom-score-adj", Integer(-1000, 1000), Set("/TaskTemplate/ContainerSpec/OomScoreAdj")),
    update("group-add", Text, AddSorted(GROUPS)),
    update("group-rm", Key, RemoveEach(GROUPS)),
    create("group", Text, AddSorted(GROUPS)),
    update("mount-add", Mount, Do(edits::add_mounts)),
    update("mount-rm", Key, RemoveNamed("/TaskTemplate/ContainerSpec/Mounts", "/Target")),
    create("mount", Mount, Do(edits::add_mounts)),
    update("secret-rm", Key, RemoveNamed("/TaskTemplate/ContainerSpec/Secrets", "/SecretName")),
    update("secret-add", Secret, Do(edits::add_secrets)),
    create("secret", Secret, Do(edits::add_secrets)),
    update("config-rm", Key, Do(edits::remove_configs)),
    update("config-add", Config, Do(edits::add_configs)),
    create("config", Config, Do(edits::add_configs)),
    both("credential-spec", CredentialSpec, Do(edits::credential_spec)),
    update("dns-add", Address, AddSorted(NAMESERVERS)),
    update("dns-rm", Key, RemoveEach(NAMESERVERS)),
    create("dns", Address, AddEach(NAMESERVERS)),
    update("dns-search-add", Domain, AddSorted(SEARCH)),
    update("dns-search-rm", Key, RemoveEach(SEARCH)),
    create("dns-search", Domain, AddEach(SEARCH)),
    update("dns-option-add", Text, AddSorted(DNS_OPTIONS)),
    update("dns-option-rm", Key, RemoveEach(DNS_OPTIONS)),
    create("dns-option", Text, AddEach(DNS_OPTIONS)),
    update("host-rm", Key, Do(edits::remove_hosts)),
    update("host-add", Host, AddEach("/TaskTemplate/ContainerSpec/Hosts")),
    create("host", Host, AddEach("/TaskTemplate/ContainerSpec/Hosts")),
    update("sysctl-rm", Key, RemoveKeys("/TaskTemplate/ContainerSpec/Sysctls")),
    update("sysctl-add", Pair, PutPairs("/TaskTemplate/ContainerSpec/Sysctls")),
    create("sysctl", Pair, PutPairs("/TaskTemplate/ContainerSpec/Sysctls")),
    update("ulimit-rm", Key, RemoveNamed("/TaskTemplate/ContainerSpec/Ulimits", "/Name")),
    update("ulimit-add", Ulimit, Do(edits::add_ulimits)),
    create("ulimit", Ulimit, Do(edits::add_ulimits)),
    both("cap-drop", Text, Do(edits::drop_capabilities)),
    both("cap-add", Text, Do(edits::add_capabilities)),
    both("no-healthcheck", Flag, Do(edits::no_health_check)),
    both("health-cmd", Text, Do(edits::health_command)),
    both("health-interval", Duration, Do(|e, v| edits::health(e, "Interval", v))),
    both("health-timeout", Duration, Do(|e, v| edits::health(e, "Timeout", v))),
    both("health-start-period", Duration, Do(|e, v| edits::health(e, "StartPeriod", v))),
    // The CLI of Docker 28 knows it for updates and forgets it there.
    both("health-start-interval", Duration, Do(|e, v| edits::health(e, "StartInterval", v))),
    both("health-retries", Integer(0, i64::MAX), Do(|e, v| edits::health(e, "Retries", v))),
];
