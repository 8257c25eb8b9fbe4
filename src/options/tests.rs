//! Options from their text to the edited specification. What each makes of a real service is held against the
//! docker CLI by the live tests.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn options(text: &str) -> Options {
    Options::parse(ServiceCommand::Update, text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What options make of a specification.
fn applied(text: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    let ids = Ids::from([
        (Name::Network("front".to_owned()), "n1".to_owned()),
        (Name::Secret("key".to_owned()), "s1".to_owned()),
        (Name::Config("conf".to_owned()), "c1".to_owned()),
    ]);
    options(text).apply(&mut spec, &ids).unwrap_or_else(|error| panic!("{text}: {error}"));
    spec
}

fn container(spec: &Value) -> &Value {
    &spec["TaskTemplate"]["ContainerSpec"]
}

#[test]
fn options_may_be_written_in_every_way_that_the_cli_has() {
    let user = |text: &str| container(&applied(text, &json!({})))["User"].clone();
    for text in ["--user root", "--user=root", "-u root", "-u=root", "-uroot", "-tuq --user root"] {
        assert_eq!(user(text), "root", "{text}");
    }
    assert_eq!(user("--user a --user b"), "b", "the last one counts");
    assert_eq!(user("--user --tty"), "--tty", "a value is the next word, whatever it looks like");
    for (text, tty) in
        [("--tty", true), ("-t", true), ("--tty=false", false), ("-t=0", false), ("-dqt", true)]
    {
        assert_eq!(container(&applied(text, &json!({})))["TTY"], tty, "{text}");
    }
    assert_eq!(applied("--", &json!({ "x": 1 })), json!({ "x": 1 }));
}

#[test]
fn a_mistake_names_the_option_and_what_was_expected_and_shows_nothing_secret() {
    for (text, expected) in [
        (
            "--lable-add a=b",
            "--lable-add: expected an option of docker service update; did you mean --label-add?",
        ),
        ("--label a=b", "--label: expected an option of docker service update; did you mean --label-rm?"),
        ("--colour red", "--colour: expected an option of docker service update"),
        ("-z", "-z: expected an option of docker service update"),
        ("--limit-memory 12x", "--limit-memory 12x: expected a size such as 512m"),
        ("--limit-memory", "--limit-memory: expected a size such as 512m"),
        ("--tty=yes", "--tty yes: expected true or false"),
        ("--update-order x", "--update-order x: expected start-first or stop-first"),
        ("--env-add TOKEN", "--env-add ***: expected NAME=VALUE (Gantry's own environment is not passed on)"),
        ("--env-add A=one secret", "word 3: expected an option, or quotes around a value with white space"),
        ("--env-add 'A=secret", "...: expected a closing ' for every '"),
        (
            "--mount-add type=volume,target=/x,volume-opt=password=a,secret",
            "--mount-add ***: expected KEY=VALUE fields; one with a comma in its value stands in double quotes",
        ),
        (
            "--mount-add type=volume,target=/x,volume-opt=password=a,secret=1",
            "--mount-add ***: expected only fields that a mount has, such as type, source, target, readonly, volume-opt or \
             bind-propagation; one with a comma in its value stands in double quotes",
        ),
        ("--image x:1", "--image: expected an update without it: the image is what Gantry decides on"),
        ("--no-healthcheck --health-cmd x", "--no-healthcheck --health-cmd: expected one of them"),
    ] {
        let error = Options::parse(ServiceCommand::Update, text).unwrap_err().to_string();
        assert_eq!(error, expected);
        assert!(!error.contains("secret"), "{error}");
    }
    assert_eq!(format!("{:?}", options("--env-add A=secret --tty")), r#"["env-add", "tty"]"#);
}

#[test]
fn each_command_has_its_own_options() {
    let parse = |command, text| Options::parse(command, text).map_err(|error| error.option);
    assert!(parse(ServiceCommand::Create, "-e A=B -l x=y -p 80 --mount type=tmpfs,target=/t").is_ok());
    assert_eq!(parse(ServiceCommand::Update, "-e A=B").unwrap_err(), "-e");
    for text in ["--mode global", "--name x", "--replicas 3", "--entrypoint sh", "--env-file x"] {
        assert!(parse(ServiceCommand::Create, text).is_err(), "{text}");
    }
    assert_eq!(parse(ServiceCommand::Update, "--rollback").unwrap_err(), "--rollback");
    assert!(
        parse(ServiceCommand::Rollback, "--rollback --detach")
            .is_ok_and(|options| !options.change_anything())
    );
    assert!(parse(ServiceCommand::Rollback, "--env-add A=B").is_ok_and(|options| options.change_anything()));
    for known in OPTIONS {
        let same = |other: &&OptionInfo| {
            other.name == known.name
                && [ServiceCommand::Update, ServiceCommand::Create]
                    .iter()
                    .any(|command| command.has(other) && command.has(known))
        };
        assert_eq!(OPTIONS.iter().filter(same).count(), 1, "--{} is twice in the table", known.name);
    }
}

#[test]
fn options_that_are_in_effect_already_change_nothing() {
    let text = "--env-add A=1 --label-add a=b --constraint-add node.role==worker --group-add x --host-add a:10.0.0.1 \
                --mount-add type=tmpfs,target=/t --publish-rm 81 --publish-add 8081:81 --network-add front \
                --secret-add key --config-add conf --generic-resource-add gpu=1 --generic-resource-rm ssd \
                --ulimit-add core=0 --sysctl-add a=b --placement-pref-add spread=node.id --dns-add 10.0.0.1 \
                --cap-add chown --cap-drop kill --health-cmd true --limit-cpu 1 --update-parallelism 2 \
                --log-driver local --log-opt a=b --credential-spec config://conf --restart-condition any";
    let once = applied(text, &json!({}));
    assert_eq!(applied(text, &once), once);
}

#[test]
fn what_an_older_engine_does_not_know_is_written_where_newer_ones_read_it() {
    let spec = applied(
        "--memory-swap 1g --memory-swappiness 60 --oom-score-adj -500 --health-start-interval 2s",
        &json!({}),
    );
    let expected = json!({
        "TaskTemplate": {
            "Resources": { "SwapBytes": 1_u64 << 30, "MemorySwappiness": 60 },
            "ContainerSpec": {
                "OomScoreAdj": -500,
                "Healthcheck": { "StartInterval": 2_000_000_000_u64 },
            },
        },
    });
    assert_eq!(spec, expected);
    assert_eq!(applied("--memory-swap -1", &json!({}))["TaskTemplate"]["Resources"]["SwapBytes"], -1);
}

#[test]
fn a_lone_field_of_an_update_configuration_brings_the_defaults_but_no_order() {
    let config = applied("--update-delay 1s", &json!({}))["UpdateConfig"].clone();
    assert_eq!((&config["Parallelism"], &config["Monitor"]), (&json!(1), &json!(5_000_000_000_u64)));
    assert_eq!(config.get("Order"), None, "that is GANTRY_UPDATE_ORDER's to say");
}

#[test]
fn networks_of_an_old_client_move_to_where_they_belong() {
    let spec = json!({ "Networks": [{ "Target": "n0" }] });
    let spec = applied("--network-add front", &spec);
    assert_eq!(spec, json!({ "TaskTemplate": { "Networks": [{ "Target": "n0" }, { "Target": "n1" }] } }));
}

#[test]
fn what_is_not_there_or_does_not_fit_is_an_error_of_the_service() {
    let error =
        |text: &str| options(text).apply(&mut json!({ "Mode": { "Global": {} } }), &Ids::new()).unwrap_err();
    assert_eq!(error("--network-add x").to_string(), "a network \"x\": expected one that exists");
    assert_eq!(error("--secret-add x").to_string(), "a secret \"x\": expected one that exists");
    assert_eq!(error("--replicas 2").option, "--replicas");
    let names = options(
        "--network-rm a --network-add name=b --secret-add c --config-add d --credential-spec config://e",
    );
    assert_eq!(names.names().len(), 5);
}

/// Puts a field that nobody knows into every object of a value.
fn with_strangers(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(with_strangers);
            object.insert("Stranger".to_owned(), json!([{ "n": 1.5 }, null]));
        }
        Value::Array(list) => list.iter_mut().for_each(with_strangers),
        _ => {}
    }
}

fn strangers(value: &Value) -> usize {
    match value {
        Value::Object(object) => {
            usize::from(object.contains_key("Stranger")) + object.values().map(strangers).sum::<usize>()
        }
        Value::Array(list) => list.iter().map(strangers).sum(),
        _ => 0,
    }
}

fn known_keys(object: &Map<String, Value>) -> Vec<&String> {
    object.keys().collect()
}

#[test]
fn fields_that_nobody_knows_survive_every_option_in_their_place() {
    let mut spec = json!({
        "Name": "web",
        "Labels": { "a": "b" },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "x:1", "Env": ["A=1"], "User": "x", "DNSConfig": { "Nameservers": ["10.0.0.9"] },
                "Privileges": { "SELinuxContext": {} },
                "Healthcheck": { "Test": ["NONE"] },
            },
            "Resources": { "Limits": { "NanoCPUs": 1 }, "Reservations": { "MemoryBytes": 1 } },
            "RestartPolicy": { "Condition": "any" },
            "Placement": { "Constraints": ["a==b"] },
            "ForceUpdate": 3,
        },
        "Mode": { "Replicated": { "Replicas": 1 } },
        "UpdateConfig": { "Parallelism": 1 },
        "RollbackConfig": { "Parallelism": 1 },
        "EndpointSpec": { "Mode": "vip" },
    });
    with_strangers(&mut spec);
    for known in OPTIONS.iter().filter(|known| ServiceCommand::Update.has(known) && known.refusal().is_none())
    {
        // Two options replace a whole object, as in the CLI.
        if ["no-healthcheck", "log-driver"].contains(&known.name) {
            continue;
        }
        let text = format!("--{}={}", known.name, sample(known.kind));
        let changed = applied(&text, &spec);
        assert!(strangers(&changed) >= strangers(&spec), "{text}");
        let (before, after) = (spec.as_object().unwrap(), changed.as_object().unwrap());
        assert_eq!(known_keys(before), known_keys(after), "{text}");
    }
}

/// A value of each kind.
fn sample(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Flag => "true",
        ValueKind::Text | ValueKind::Key | ValueKind::Command => "x",
        ValueKind::Choice(words) => words[0],
        ValueKind::Unsigned | ValueKind::Integer(..) | ValueKind::Ratio | ValueKind::Cpus => "1",
        ValueKind::Duration => "1s",
        ValueKind::Bytes | ValueKind::Swap => "6m",
        ValueKind::Label | ValueKind::Pair | ValueKind::Variable => "k=v",
        ValueKind::Address => "10.0.0.1",
        ValueKind::Domain => "example.com",
        ValueKind::Host => "a:10.0.0.1",
        ValueKind::Resource => "gpu=1",
        ValueKind::Preference => "spread=node.id",
        ValueKind::Ulimit => "core=0",
        ValueKind::Mount => "type=tmpfs,target=/t",
        ValueKind::Ports => "8080:80",
        ValueKind::Network | ValueKind::NetworkName => "front",
        ValueKind::Secret => "key",
        ValueKind::Config => "conf",
        ValueKind::CredentialSpec => "config://conf",
    }
}

/// Words that look like options, right or wrong.
fn any_words() -> impl Strategy<Value = String> {
    let names: Vec<&str> = OPTIONS.iter().map(|known| known.name).collect();
    let kinds: Vec<ValueKind> = OPTIONS.iter().map(|known| known.kind).collect();
    let value = prop_oneof![
        proptest::sample::select(kinds).prop_map(|kind| sample(kind).to_owned()),
        "[-a-z0-9=,:./\"'\\\\ ]{0,12}",
        "\\PC{0,6}",
    ];
    let option =
        (proptest::sample::select(names), value).prop_map(|(name, value)| format!("--{name}={value}"));
    proptest::collection::vec(prop_oneof![option, "\\PC{0,10}"], 0..6).prop_map(|words| words.join(" "))
}

/// Some JSON where a specification should be.
fn any_spec() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[a-z=]{0,3}".prop_map(Value::from)
    ];
    let keys =
        vec!["TaskTemplate", "ContainerSpec", "Env", "Labels", "Mode", "Replicated", "Mounts", "Healthcheck"];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(keys.clone()), inner), 0..4)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_no_specification_the_edits(text in any_words(), mut spec in any_spec()) {
        for command in [ServiceCommand::Update, ServiceCommand::Rollback, ServiceCommand::Create] {
            if let Ok(options) = Options::parse(command, &text) {
                let ids = options.names().into_iter().map(|name| (name, "id".to_owned())).collect();
                let _ = options.apply(&mut spec, &ids);
            }
        }
    }

    #[test]
    fn any_text_at_all_is_parsed_or_refused(text in "\\PC{0,60}") {
        let _ = Options::parse(ServiceCommand::Update, &text);
    }
}
