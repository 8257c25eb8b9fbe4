use serde_json::{Value, json};

use super::*;
use crate::swarm::{Spec, TaskState, Traits};

const START: Option<UpdateOrder> = Some(UpdateOrder::StartFirst);
const STOP: Option<UpdateOrder> = Some(UpdateOrder::StopFirst);

/// A specification with these changes.
fn facts(edit: impl FnOnce(&mut Value)) -> Facts {
    let mut spec = json!({ "Name": "db", "TaskTemplate": { "ContainerSpec": { "Image": "db:1" } } });
    edit(&mut spec);
    Spec::from_json(&spec.to_string()).unwrap().facts().clone()
}

fn mounted(mount: Value) -> Facts {
    facts(|spec| spec["TaskTemplate"]["ContainerSpec"]["Mounts"] = Value::Array(vec![mount]))
}

fn reserving(reservations: Value) -> Facts {
    facts(|spec| spec["TaskTemplate"]["Resources"]["Reservations"] = reservations)
}

fn host_port(mode: &Value) -> Facts {
    facts(|spec| {
        spec["Mode"] = mode.clone();
        spec["EndpointSpec"]["Ports"] = json!([{ "PublishMode": "host", "PublishedPort": 80 }]);
    })
}

fn limited(limit: u64) -> Facts {
    facts(|spec| spec["TaskTemplate"]["Placement"]["MaxReplicas"] = limit.into())
}

const GLOBAL: fn() -> Value = || json!({ "Global": {} });
const ONE: fn() -> Value = || json!({ "Replicated": { "Replicas": 1 } });

/// Each row is an obstacle, or something that looks like one.
#[test]
fn every_mount_is_a_row() {
    let driver = |options: Value| json!({ "DriverConfig": { "Name": "local", "Options": options } });
    let writes = |target: &str| Some(Obstacle::WritableMount(target.to_owned()));
    let device = |source: &str| Some(Obstacle::Device(source.to_owned()));
    for (what, facts, expected) in [
        ("nothing", facts(|_| ()), None),
        ("volume", mounted(json!({ "Type": "volume", "Source": "data", "Target": "/d" })), writes("/d")),
        (
            "read-only volume",
            mounted(json!({ "Type": "volume", "Source": "data", "Target": "/d", "ReadOnly": true })),
            None,
        ),
        ("anonymous volume", mounted(json!({ "Type": "volume", "Target": "/d" })), None),
        (
            "anonymous volume that is a folder of a server",
            mounted(
                json!({ "Type": "volume", "Target": "/d", "VolumeOptions": driver(json!({ "device": ":/x" })) }),
            ),
            writes("/d"),
        ),
        (
            "volume of the slot",
            mounted(json!({ "Type": "volume", "Source": "d-{{.Task.Slot}}", "Target": "/d" })),
            writes("/d"),
        ),
        (
            "volume of the task",
            mounted(json!({ "Type": "volume", "Source": "d-{{ .Task.ID }}", "Target": "/d" })),
            None,
        ),
        ("bind", mounted(json!({ "Type": "bind", "Source": "/srv", "Target": "/d" })), writes("/d")),
        (
            "read-only bind",
            mounted(json!({ "Type": "bind", "Source": "/srv", "Target": "/d", "ReadOnly": true })),
            None,
        ),
        (
            "socket",
            mounted(json!({ "Type": "bind", "Source": "/var/run/docker.sock", "Target": "/s" })),
            writes("/s"),
        ),
        (
            "cluster volume",
            mounted(json!({ "Type": "cluster", "Source": "csi", "Target": "/d" })),
            writes("/d"),
        ),
        (
            "read-only cluster volume",
            mounted(json!({ "Type": "cluster", "Source": "csi", "Target": "/d", "ReadOnly": true })),
            None,
        ),
        (
            "named pipe",
            mounted(json!({ "Type": "npipe", "Source": r"\\.\pipe\x", "Target": "p" })),
            writes("p"),
        ),
        ("unknown mount", mounted(json!({ "Type": "future", "Target": "/d" })), writes("/d")),
        ("memory", mounted(json!({ "Type": "tmpfs", "Target": "/d" })), None),
        ("image", mounted(json!({ "Type": "image", "Source": "data:1", "Target": "/d" })), None),
        (
            "device",
            mounted(json!({ "Type": "bind", "Source": "/dev/ttyUSB0", "Target": "/dev/x" })),
            device("/dev/ttyUSB0"),
        ),
        (
            "read-only device",
            mounted(json!({ "Type": "bind", "Source": "/dev/dri", "Target": "/dev/dri", "ReadOnly": true })),
            device("/dev/dri"),
        ),
    ] {
        assert_eq!(obstacle(&facts, &HostNetwork::Known(None)), expected, "{what}");
    }
}

/// Each row is an obstacle, or something that looks like one.
#[test]
fn every_obstacle_but_mounts_is_a_row() {
    let host = HostNetwork::Known(Some("h1".to_owned()));
    let network = |id: &str| facts(|spec| spec["TaskTemplate"]["Networks"] = json!([{ "Target": id }]));
    let named = json!([{ "NamedResourceSpec": { "Kind": "gpu", "Value": "uuid" } }]);
    let discrete = json!([{ "DiscreteResourceSpec": { "Kind": "ssd", "Value": 1 } }]);
    for (what, facts, expected) in [
        ("network of the host", network("h1"), Some(Obstacle::HostNetwork)),
        ("other network", network("n1"), None),
        (
            "network of an old client",
            super::tests::facts(|spec| spec["Networks"] = json!([{ "Target": "h1" }])),
            Some(Obstacle::HostNetwork),
        ),
        ("port of the host", host_port(&ONE()), Some(Obstacle::HostPort(80))),
        (
            "port of the host that the engine chooses",
            super::tests::facts(|spec| {
                spec["EndpointSpec"]["Ports"] = json!([{ "PublishMode": "host", "TargetPort": 80 }]);
            }),
            None,
        ),
        (
            "port of the routing mesh",
            super::tests::facts(|spec| {
                spec["EndpointSpec"]["Ports"] = json!([{ "PublishMode": "ingress", "PublishedPort": 80 }]);
            }),
            None,
        ),
        (
            "named thing of the node",
            reserving(json!({ "GenericResources": named })),
            Some(Obstacle::Generic("gpu".to_owned())),
        ),
        (
            "number of things",
            reserving(json!({ "GenericResources": discrete })),
            Some(Obstacle::Generic("ssd".to_owned())),
        ),
        (
            "hostname",
            super::tests::facts(|spec| spec["TaskTemplate"]["ContainerSpec"]["Hostname"] = "a".into()),
            None,
        ),
    ] {
        assert_eq!(obstacle(&facts, &host), expected, "{what}");
    }
    assert_eq!(obstacle(&network("n1"), &HostNetwork::Unknown), Some(Obstacle::HostNetwork));
    assert_eq!(obstacle(&network("n1"), &HostNetwork::Known(None)), None);
    assert_eq!(obstacle(&facts(|_| ()), &HostNetwork::Unknown), None);
}

/// Nodes `n1`, `n2`, ... with 4 processors, 8 GB and a graphics processor.
fn nodes(count: usize) -> Nodes {
    let capacity =
        Resources { nano_cpus: 4_000_000_000, memory: 8 << 30, generic: [("gpu".to_owned(), 1)].into() };
    let traits = Traits { os: "linux".to_owned(), capacity: Some(capacity), ..Traits::default() };
    let node = |number| Node {
        id: format!("n{number}"),
        name: format!("node{number}"),
        is_ready: true,
        is_active: true,
        traits: traits.clone(),
        ..Node::default()
    };
    (1..=count).map(node).collect()
}

/// A task of this service that runs on a node and has reserved what it wants.
fn placed(service: &str, node: &str, facts: &Facts) -> Task {
    Task {
        id: format!("{service} {node}"),
        service_id: service.to_owned(),
        slot: 1,
        node_id: node.to_owned(),
        image: "db:1".to_owned(),
        force_update: 0,
        desired: TaskState::Running,
        state: TaskState::Running,
        since: None,
        message: String::new(),
        error: String::new(),
        exit_code: None,
        created_at: None,
        reserved: facts.claims.reserved.clone(),
    }
}

fn ground<'a>(nodes: &'a Nodes, tasks: &'a TasksByNode) -> Ground<'a> {
    Ground { nodes, tasks, is_after_updates: false }
}

#[test]
fn there_is_room_where_a_node_surely_takes_one_task_more() {
    let global = |mut facts: Facts| {
        facts.mode = Mode::Global;
        facts
    };
    let on = |constraint: &str, mut facts: Facts| {
        facts.claims.constraints = vec![constraint.to_owned()];
        facts
    };
    let memory = |gigabytes: u64| reserving(json!({ "MemoryBytes": gigabytes << 30 }));
    let cpus = |cpus: u64| reserving(json!({ "NanoCPUs": cpus * 1_000_000_000 }));
    let limit = |gigabytes: u64| {
        facts(|spec| {
            spec["TaskTemplate"]["Resources"] = json!({ "Limits": { "MemoryBytes": gigabytes << 30 } });
        })
    };
    let gpu =
        reserving(json!({ "GenericResources": [{ "DiscreteResourceSpec": { "Kind": "gpu", "Value": 1 } }] }));
    let (sure, unsure, none) = ("sure", "unsure", "none");
    for (what, facts, own, expected) in [
        ("nothing is claimed", facts(|_| ()), 3, sure),
        ("a port on one of three", host_port(&ONE()), 1, sure),
        ("a port on all three", host_port(&ONE()), 3, none),
        ("a port of a global service", host_port(&GLOBAL()), 3, none),
        ("a port of a global service that a node lacks", host_port(&GLOBAL()), 2, none),
        ("one per node on two of three", limited(1), 2, sure),
        ("one per node on all three", limited(1), 3, none),
        ("two per node on all three", limited(2), 3, sure),
        ("one per node, and the other nodes are not for it", on("node.id==n1", limited(1)), 1, none),
        ("one per node, and it cannot be told which are", on("node.ip==10.1.1.1", limited(1)), 2, unsure),
        ("half of the memory", memory(4), 3, sure),
        ("more than half on all three", memory(5), 3, none),
        ("more than half on two of three", memory(5), 2, sure),
        ("more than half, and only there", on("node.hostname==node1", memory(5)), 1, none),
        ("more than half, and it cannot be told where", on("node.ip==10.1.1.1", memory(5)), 2, unsure),
        ("more than half, global", global(memory(5)), 3, none),
        ("half, global", global(memory(4)), 3, sure),
        ("more than half of the processors", cpus(3), 3, none),
        ("half of the processors", cpus(2), 3, sure),
        ("a limit of half of the memory", limit(4), 3, sure),
        ("a limit of more than half", limit(5), 3, unsure),
        ("the only graphics processor", gpu.clone(), 3, none),
        ("a graphics processor of another node", gpu, 2, sure),
        ("no node", on("node.id==n9", memory(1)), 0, unsure),
    ] {
        let nodes = nodes(3);
        let tasks: Vec<Task> = (1..=own).map(|number| placed("db", &format!("n{number}"), &facts)).collect();
        let found = match room("db", &facts, Some(ground(&nodes, &by_node(tasks)))) {
            Room::Sure => sure,
            Room::Unsure(_) => unsure,
            Room::None(_) => none,
        };
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn what_others_have_reserved_is_no_room_and_what_has_ended_is() {
    let facts = reserving(json!({ "MemoryBytes": 3_u64 << 30 }));
    let nodes = nodes(1);
    let mut tasks = vec![placed("db", "n1", &facts), placed("other", "n1", &facts)];
    let room_with = |tasks: &[Task]| room("db", &facts, Some(ground(&nodes, &by_node(tasks.to_vec()))));
    assert_eq!(room_with(&tasks), Room::None("not enough memory".to_owned()));
    tasks[1].state = TaskState::Shutdown;
    assert_eq!(room_with(&tasks), Room::Sure);
    assert!(matches!(room("db", &facts, None), Room::Unsure(_)));
    let blind: Nodes = nodes.iter().map(|node| Node { traits: Traits::default(), ..node.clone() }).collect();
    let tasks = by_node(tasks);
    let answer = room("db", &facts, Some(ground(&blind, &tasks)));
    assert!(matches!(answer, Room::Unsure(_)), "{answer:?}");
    let paused: Nodes = nodes.iter().map(|node| Node { is_active: false, ..node.clone() }).collect();
    let answer = room("db", &facts, Some(ground(&paused, &tasks)));
    assert!(matches!(answer, Room::Unsure(_)), "{answer:?}");
}

#[test]
fn the_order_follows_the_wish_the_service_and_what_is_known() {
    let free = OrderFacts { obstacle: None, room: Room::Sure, collision: None };
    let volume = OrderFacts { obstacle: Some(Obstacle::WritableMount("/d".to_owned())), ..free.clone() };
    let narrow = OrderFacts { room: Room::Unsure("memory".to_owned()), ..free.clone() };
    let full = OrderFacts { room: Room::None("memory".to_owned()), ..free.clone() };
    let collided = OrderFacts { collision: Some("boom".to_owned()), ..volume.clone() };
    let all = [&free, &volume, &narrow, &full, &collided];
    let fixed = |order: Option<UpdateOrder>| OrderWish::Fixed(order.unwrap());
    let refused = Err(());
    for (wish, own, expected) in [
        (OrderWish::Auto, None, [Ok(START), Ok(None), Ok(None), Ok(None), Ok(None)]),
        (OrderWish::Auto, START, [Ok(START), Ok(START), Ok(START), Ok(STOP), Ok(STOP)]),
        (OrderWish::Auto, STOP, [Ok(STOP); 5]),
        (OrderWish::Keep, None, [Ok(None); 5]),
        (OrderWish::Keep, START, [Ok(START), Ok(START), Ok(START), refused, refused]),
        (OrderWish::Keep, STOP, [Ok(STOP); 5]),
        (fixed(START), None, [Ok(START), Ok(START), Ok(START), refused, refused]),
        (fixed(START), STOP, [Ok(START), Ok(START), Ok(START), refused, refused]),
        (fixed(STOP), START, [Ok(STOP); 5]),
        (fixed(STOP), None, [Ok(STOP); 5]),
    ] {
        for (order_facts, expected) in all.iter().zip(expected) {
            let choice = choose(wish, own, order_facts);
            assert_eq!(
                choice.clone().map(|it| it.order).map_err(|_| ()),
                expected,
                "{wish:?}, own {own:?}, {order_facts:?}"
            );
            // What is overruled is said.
            let is_overruled = wish == OrderWish::Auto && own == START && expected == Ok(STOP);
            assert_eq!(
                choice.is_ok_and(|it| it.overruled.is_some()),
                is_overruled,
                "{wish:?} {own:?} {order_facts:?}"
            );
        }
    }
}

#[test]
fn a_change_leads_from_one_order_to_another() {
    assert_eq!(change(None, None), None);
    assert_eq!(change(START, START), None);
    assert_eq!(change(START, STOP), Some(OrderChange::To(UpdateOrder::StopFirst)));
    assert_eq!(change(None, START), Some(OrderChange::To(UpdateOrder::StartFirst)));
    assert_eq!(change(START, None), Some(OrderChange::ToDefault));
}

#[test]
fn a_task_had_company_while_the_old_one_of_its_place_was_there() {
    let at = |second: i64| jiff::Timestamp::from_second(second).ok();
    let none = Facts::default();
    let task = |image: &str, made, state, since| Task {
        image: image.to_owned(),
        created_at: at(made),
        state,
        since: at(since),
        ..placed("db", "n1", &none)
    };
    let tried = task("db:2", 100, TaskState::Failed, 103);
    let elsewhere = |old: Task| Task { slot: 2, ..old };
    let global = |task: Task, node: &str| Task { slot: 0, node_id: node.to_owned(), ..task };
    for (what, old, expected) in [
        ("it runs", task("db:1", 1, TaskState::Running, 2), true),
        ("it ended later", task("db:1", 1, TaskState::Shutdown, 101), true),
        ("it ended before", task("db:1", 1, TaskState::Shutdown, 99), false),
        ("it was made later", task("db:1", 105, TaskState::Running, 106), false),
        ("it is of the same update", task("db:2", 1, TaskState::Running, 2), false),
        ("it has another place", elsewhere(task("db:1", 1, TaskState::Running, 2)), false),
    ] {
        assert_eq!(overlaps(&tried, &[old, tried.clone()]), expected, "{what}");
    }
    let tried = global(tried, "n1");
    let old = task("db:1", 1, TaskState::Running, 2);
    assert!(overlaps(&tried, &[global(old.clone(), "n1")]));
    assert!(!overlaps(&tried, &[global(old, "n2")]));
}

#[test]
fn the_scheduler_speaks_of_room_or_of_something_else() {
    for reason in [
        "no suitable node (insufficient resources on 3 nodes)",
        "no suitable node (host-mode port already in use on 1 node)",
        "no suitable node (max replicas per node limit exceed; 1 node not available for new tasks)",
    ] {
        assert!(is_about_room(reason), "{reason}");
    }
    assert!(!is_about_room("no suitable node (scheduling constraints not satisfied on 3 nodes)"));
}
