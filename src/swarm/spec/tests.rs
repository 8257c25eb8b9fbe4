use proptest::prelude::*;

use super::*;

/// A specification with fields that no engine has, and numbers that no double can hold.
const RICH: &str = r#"{
    "Name": "web", "Labels": {"gantry.enable": "true"},
    "Zukunft": {"a": [1, {"b": null}], "big": 123456789012345678901234567890, "tiny": 0.10000000000000000001},
    "TaskTemplate": {
        "ContainerSpec": {"Image": "web:1@sha256:old", "Healthcheck": {"Test": ["CMD", "true"], "Neu": 1}, "Isolation": "default"},
        "Placement": {"Platforms": [{"Architecture": "amd64", "OS": "linux"}], "MaxReplicas": 2},
        "RestartPolicy": {"Condition": "any", "Delay": 1000000000},
        "Resources": {"Limits": {"MemoryBytes": 67108864}},
        "ForceUpdate": 3, "Runtime": "container"
    },
    "Mode": {"Replicated": {"Replicas": 4}},
    "UpdateConfig": {"Parallelism": 2, "FailureAction": "rollback", "Monitor": 7000000000, "MaxFailureRatio": 0.1, "Order": "stop-first"},
    "RollbackConfig": {"Monitor": 3000000000},
    "EndpointSpec": {"Mode": "vip", "Ports": [{"PublishMode": "host", "TargetPort": 80}]}
}"#;

fn value(spec: &Spec) -> Value {
    serde_json::from_str(spec.json()).unwrap()
}

fn edited(json: &str, edits: &Edits) -> Value {
    value(&Spec::from_json(json).unwrap().edited(edits).unwrap())
}

#[test]
fn the_facts_are_read_from_a_rich_specification() {
    let spec = Spec::from_json(RICH).unwrap();
    let facts = spec.facts();
    assert_eq!(facts.name, "web");
    assert_eq!(facts.labels["gantry.enable"], "true");
    assert_eq!(facts.image.as_deref(), Some("web:1@sha256:old"));
    assert_eq!(facts.force_update, 3);
    assert_eq!(facts.mode, Mode::Replicated(4));
    assert_eq!(facts.monitor(), Duration::from_secs(7));
    assert_eq!(facts.rollback_monitor, Some(Duration::from_secs(3)));
    assert_eq!(facts.update.unwrap().order, Some(UpdateOrder::StopFirst));
    assert_eq!(facts.update.unwrap().failure_action, FailureAction::Rollback);
    assert!(facts.has_platforms);
    assert_eq!((facts.claims.max_per_node, facts.memory_limit), (2, 64 << 20));
    assert_eq!(facts.restart_delay, Duration::from_secs(1));
}

#[test]
fn the_facts_of_sparse_and_strange_specifications_are_the_defaults() {
    for json in [
        "{}",
        r#"{"Name":"x","Labels":null,"TaskTemplate":null,"Mode":null,"EndpointSpec":null}"#,
        r#"{"TaskTemplate":{"Placement":null,"RestartPolicy":null,"Resources":{"Limits":null}},"Mode":{}}"#,
    ] {
        let facts = Spec::from_json(json).unwrap().facts().clone();
        assert_eq!(facts.mode, Mode::Replicated(1), "{json}");
        assert_eq!(facts.monitor(), DEFAULT_MONITOR, "{json}");
        assert_eq!(facts.image, None, "{json}");
    }
    let mode = |json: &str| Spec::from_json(json).unwrap().facts().mode;
    assert_eq!(mode(r#"{"Mode":{"Global":{}}}"#), Mode::Global);
    assert_eq!(mode(r#"{"Mode":{"GlobalJob":{}}}"#), Mode::Job);
    assert_eq!(mode(r#"{"Mode":{"ReplicatedJob":{"TotalCompletions":2}}}"#), Mode::Job);
    assert_eq!(mode(r#"{"Mode":{"Replicated":{}}}"#), Mode::Replicated(1));
}

#[test]
fn an_image_update_changes_the_image_and_the_platforms_and_nothing_else() {
    let edits = Edits {
        image: Some("web:1@sha256:new".into()),
        platforms: Some(vec![("linux".into(), "arm".into()), ("linux".into(), "arm64".into())]),
        ..Edits::default()
    };
    let mut expected: Value = serde_json::from_str(RICH).unwrap();
    expected["TaskTemplate"]["ContainerSpec"]["Image"] = json!("web:1@sha256:new");
    expected["TaskTemplate"]["Placement"]["Platforms"] =
        json!([{"OS": "linux"}, {"Architecture": "arm64", "OS": "linux"}]);
    let after = edited(RICH, &edits);
    assert_eq!(after, expected);
    let text = after.to_string();
    assert!(text.contains("123456789012345678901234567890"), "{text}");
    assert!(text.contains("0.10000000000000000001"), "{text}");
}

#[test]
fn platforms_are_not_added_where_there_were_none() {
    let edits = Edits {
        platforms: Some(vec![("linux".into(), "amd64".into())]),
        force_update: Some(1),
        ..Edits::default()
    };
    for json in [
        r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"}}}"#,
        r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"},"Placement":{}}}"#,
        r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"},"Placement":{"Platforms":[]}}}"#,
    ] {
        let mut expected: Value = serde_json::from_str(json).unwrap();
        expected["TaskTemplate"]["ForceUpdate"] = json!(1);
        assert_eq!(edited(json, &edits), expected);
    }
}

#[test]
fn variants_of_one_platform_are_listed_once() {
    let linux = |architecture: &str| ("linux".to_owned(), architecture.to_owned());
    assert_eq!(
        as_placement(&[linux("arm"), linux("amd64"), linux("arm"), linux("amd64")]),
        json!([{"OS": "linux"}, {"Architecture": "amd64", "OS": "linux"}])
    );
}

#[test]
fn an_order_brings_all_of_the_update_configuration_where_there_was_none() {
    let edits = Edits { order: Some(OrderChange::To(UpdateOrder::StartFirst)), ..Edits::default() };
    for json in ["{}", r#"{"UpdateConfig":null}"#] {
        assert_eq!(
            edited(json, &edits)["UpdateConfig"],
            json!({"Parallelism": 1, "FailureAction": "pause", "Monitor": 5_000_000_000_u64,
                   "MaxFailureRatio": 0, "Order": "start-first"})
        );
    }
    let mut expected: Value = serde_json::from_str(RICH).unwrap();
    expected["UpdateConfig"]["Order"] = json!("start-first");
    assert_eq!(edited(RICH, &edits), expected);
}

#[test]
fn an_order_is_taken_out_with_the_configuration_that_came_with_it() {
    let to = |order| Edits { order: Some(order), ..Edits::default() };
    let (start, default) = (to(OrderChange::To(UpdateOrder::StartFirst)), to(OrderChange::ToDefault));
    for json in ["{}", r#"{"Name":"web","RollbackConfig":{"Monitor":3}}"#] {
        let with_order = edited(json, &start).to_string();
        assert_eq!(edited(&with_order, &default), serde_json::from_str::<Value>(json).unwrap(), "{json}");
    }
    // What the user has changed of it since stays.
    let mut expected: Value = serde_json::from_str(RICH).unwrap();
    expected["UpdateConfig"]["Order"] = json!("stop-first");
    assert_eq!(edited(&edited(RICH, &start).to_string(), &default), expected);
    assert_eq!(edited("{}", &default), json!({}));
}

#[test]
fn the_claims_of_a_specification_are_read_as_the_engine_writes_them() {
    let spec = Spec::from_json(
        r#"{"TaskTemplate":{
            "ContainerSpec":{"Mounts":[{"Type":"volume","Target":"/a"},{"Type":"bind","Source":"/b","Target":"/b","ReadOnly":true},
                {"Type":"volume","Source":"c","Target":"/c","VolumeOptions":{"DriverConfig":{"Options":{"type":"nfs"}}}}]},
            "Networks":[{"Target":"n1"}],
            "Placement":{"Constraints":["node.id==x"],"MaxReplicas":2,"Platforms":[{"OS":"linux","Architecture":"amd64"}]},
            "Resources":{"Reservations":{"NanoCPUs":5,"MemoryBytes":7,"GenericResources":[
                {"DiscreteResourceSpec":{"Kind":"ssd","Value":2}},{"NamedResourceSpec":{"Kind":"gpu","Value":"u1"}},
                {"NamedResourceSpec":{"Kind":"gpu","Value":"u2"}}]}}},
          "EndpointSpec":{"Ports":[{"PublishMode":"host","TargetPort":80,"PublishedPort":8080},
            {"PublishMode":"host","TargetPort":81},{"PublishMode":"ingress","TargetPort":82,"PublishedPort":82}]}}"#,
    );
    let claims = spec.unwrap().facts().claims.clone();
    let mounts: Vec<_> =
        claims.mounts.iter().map(|it| (it.source.as_str(), it.is_read_only, it.has_driver_options)).collect();
    assert_eq!(mounts, [("", false, false), ("/b", true, false), ("c", false, true)]);
    assert_eq!((claims.networks, claims.constraints), (vec!["n1".to_owned()], vec!["node.id==x".to_owned()]));
    assert_eq!((claims.host_ports, claims.max_per_node), (vec![8080], 2));
    assert_eq!(claims.platforms, [("linux".to_owned(), "amd64".to_owned())]);
    let generic = [("gpu".to_owned(), 2), ("ssd".to_owned(), 2)].into();
    assert_eq!(claims.reserved, crate::swarm::claims::Resources { nano_cpus: 5, memory: 7, generic });
    for sparse in [r#"{"TaskTemplate":{"ContainerSpec":{"Mounts":null},"Networks":null}}"#, "{}"] {
        assert_eq!(Spec::from_json(sparse).unwrap().facts().claims, Claims::default());
    }
}

#[test]
fn debug_prints_no_environment() {
    let spec = Spec::from_json(r#"{"TaskTemplate":{"ContainerSpec":{"Env":["PASSWORD=hush"]}}}"#).unwrap();
    assert!(!format!("{spec:?}").contains("hush"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[A-Za-z]{1,10}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_else_a_specification_holds_survives_an_edit(
        top in any_json(), template in any_json(), container in any_json(),
    ) {
        let before = json!({
            "Name": "x", "Unknown": top,
            "TaskTemplate": {"Unknown": template, "ContainerSpec": {"Image": "a:1", "Unknown": container}},
        });
        let mut expected = before.clone();
        expected["TaskTemplate"]["ContainerSpec"]["Image"] = json!("a:2");
        let edits = Edits { image: Some("a:2".into()), ..Edits::default() };
        prop_assert_eq!(edited(&before.to_string(), &edits), expected);
    }

    #[test]
    fn reading_never_panics(text in "\\PC{0,200}") {
        let _ = Spec::from_json(&text);
    }
}

#[test]
fn replicas_are_set_in_a_replicated_service_and_nowhere_else() {
    let edits = Edits { replicas: Some(0), ..Edits::default() };
    for (mode, expected) in [
        (json!({ "Replicated": { "Replicas": 3 } }), json!({ "Replicated": { "Replicas": 0 } })),
        (json!({ "Global": {} }), json!({ "Global": {} })),
        (
            json!({ "ReplicatedJob": { "TotalCompletions": 2 } }),
            json!({ "ReplicatedJob": { "TotalCompletions": 2 } }),
        ),
    ] {
        assert_eq!(edited(&json!({ "Mode": mode }).to_string(), &edits), json!({ "Mode": expected }));
    }
}

#[test]
fn a_service_that_does_not_say_starts_all_its_tasks_again() {
    for (policy, expected) in [
        (Value::Null, RestartCondition::Any),
        (json!({}), RestartCondition::Any),
        (json!({ "Condition": "any" }), RestartCondition::Any),
        (json!({ "Condition": "on-failure" }), RestartCondition::OnFailure),
        (json!({ "Condition": "none" }), RestartCondition::None),
    ] {
        let spec = json!({ "TaskTemplate": { "RestartPolicy": policy } });
        assert_eq!(Spec::from_json(&spec.to_string()).unwrap().facts().restart_condition, expected);
    }
}

#[test]
fn a_specification_costs_in_proportion_to_its_length() {
    use crate::cost::{assert_in_proportion, many};
    let edit = |text: &str| {
        let Ok(spec) = Spec::from_json(text) else { panic!("{text}") };
        let edits = Edits { platforms: Some(spec.platforms()), force_update: Some(1), ..Edits::default() };
        let labels = spec.container_labels();
        std::hint::black_box((spec.edited(&edits).unwrap(), labels));
    };
    assert_in_proportion(&[
        ("labels", |n| format!(r#"{{"Labels":{{{}}}}}"#, many(n, ",", |i| format!(r#""l{i}":"x""#))), edit),
        (
            "platforms",
            |n| {
                let platform = |i| format!(r#"{{"OS":"linux","Architecture":"a{i}"}}"#);
                let platforms = many(n, ",", platform);
                format!(r#"{{"TaskTemplate":{{"Placement":{{"Platforms":[{platforms}]}}}}}}"#)
            },
            edit,
        ),
        (
            "container labels",
            |n| {
                let labels = many(n, ",", |i| format!(r#""gantry.l{i}":"x""#));
                format!(r#"{{"TaskTemplate":{{"ContainerSpec":{{"Labels":{{{labels}}}}}}}}}"#)
            },
            edit,
        ),
    ]);
}
