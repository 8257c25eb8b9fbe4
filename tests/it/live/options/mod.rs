//! Options of `docker service update` and `create`: what they make of a service is what the docker CLI makes of
//! its twin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use gantry::options::{Ids, Name, OPTIONS, Options, ServiceCommand};
use serde_json::{Value, json};

use self::cases::{CREATE, MALFORMED, RICH, UPDATE, UPDATE_BARE};
use super::support::{Image, Service, Stage, wait};

mod applied;
mod cases;
mod newer;

/// The label whose value are the options.
const LABEL: &str = "gantry.update.options";

/// Options that are not tried on twins, and why.
const WITHOUT_TWIN: &[(&str, &str)] = &[
    ("image", "refused: it is ours to decide"),
    ("rollback", "refused: a rollback of its own is no update"),
    ("mode", "refused on the image remover"),
    ("name", "refused on the image remover"),
    ("replicas", "refused on the image remover; an update has it in its cases"),
    ("replicas-max-per-node", "refused on the image remover; an update has it in its cases"),
    ("max-concurrent", "refused on the image remover; an update has it in its cases"),
    ("entrypoint", "refused on the image remover; an update has it in its cases"),
    ("env-file", "refused on the image remover"),
    ("help", "no option of a service"),
    ("health-start-interval", "the CLI knows it for updates and forgets it there"),
    ("oom-score-adj", "only newer engines know it; see the tables of the pure tests"),
    ("memory-swap", "only newer engines know it; see the tables of the pure tests"),
    ("memory-swappiness", "only newer engines know it; see the tables of the pure tests"),
];

/// Networks, secrets and configs that the cases name.
fn furnish(stage: &Stage) {
    let lab = stage.lab;
    for network in ["one", "two"] {
        lab.docker(&["network", "create", "--driver", "overlay", &stage.name(network)]);
    }
    let file = stage.write("content", "x");
    let file = file.display().to_string();
    for n in 1..=3 {
        lab.docker(&["secret", "create", &stage.name(&format!("s{n}")), &file]);
        lab.docker(&["config", "create", &stage.name(&format!("c{n}")), &file]);
    }
}

/// Runs `docker service ...` through a shell, which then splits the options.
fn docker_service(stage: &Stage, words: &str) -> Result<String, String> {
    let docker = std::env::var("GANTRY_LAB_DOCKER").unwrap();
    let line = format!("exec {docker} service {}", words.replace("{p}", &stage.prefix));
    let mut shell = std::process::Command::new("sh");
    shell.env_clear().env("DOCKER_HOST", stage.lab.docker_host(1)).env("HOME", stage.folder.path());
    let output = shell.args(["-c", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(said)
    }
}

/// Does something with each case, a few at a time: the CLI takes its time.
fn each<T: Send>(cases: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, (sender, receiver)) = (AtomicUsize::new(0), channel());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (sender, work, next) = (sender.clone(), &work, &next);
            scope.spawn(move || {
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    if case >= cases {
                        break;
                    }
                    sender.send((case, work(case))).unwrap();
                }
            });
        }
    });
    drop(sender);
    receiver.into_iter().collect::<BTreeMap<_, _>>().into_values().collect()
}

/// A specification without what tells twins apart, and with what has no order of its own in one.
fn normal(mut spec: Value) -> Value {
    fn tidy(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.values_mut().for_each(tidy);
                object.retain(|_, value| {
                    !value.is_null() && *value != json!({}) && *value != json!([]) && *value != ""
                });
                object.sort_keys();
            }
            Value::Array(list) => list.iter_mut().for_each(tidy),
            _ => {}
        }
    }
    let object = spec.as_object_mut().unwrap();
    object.remove("Name");
    if let Some(labels) = spec["Labels"].as_object_mut() {
        labels.retain(|name, _| name != LABEL && name != super::support::LABEL);
    }
    // The client writes these in the order of a map of Go, which is none.
    for path in ["Env", "Secrets", "Configs"] {
        let path = format!("/TaskTemplate/ContainerSpec/{path}");
        sort(spec.pointer_mut(&path));
    }
    sort(spec.pointer_mut("/TaskTemplate/Resources/Reservations/GenericResources"));
    tidy(&mut spec);
    spec
}

fn sort(list: Option<&mut Value>) {
    if let Some(list) = list.and_then(Value::as_array_mut) {
        list.sort_by_key(ToString::to_string);
    }
}

fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                let of =
                    |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                differences(&format!("{path}/{key}"), &of(a), &of(b), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: Gantry {a}, the CLI {b}")),
    }
}

/// Updates twins of a service, one by the CLI and one by Gantry, and says where they differ.
fn compare(stage: &Stage, template: &Value, kind: &str, old: &Image, cases: &[&str]) -> Vec<String> {
    let twin = |who: &str, case: usize| format!("{kind}{case}-{who}");
    let post = |name: &str, options: Option<&str>| {
        let mut spec = template.clone();
        spec["TaskTemplate"]["ContainerSpec"]["Image"] = old.pinned().into();
        if let Some(options) = options {
            spec["Labels"][LABEL] = options.replace("{p}", &stage.prefix).into();
        }
        stage.post(name, spec)
    };
    // The CLI's twins come first and are gone before ours appear: no two services may publish the same port.
    let theirs = each(cases.len(), |case| {
        let service = post(&twin("cli", case), None);
        let line = format!("update --detach --image {} {} {}", old.name, cases[case], service.name);
        // The orchestrator writes to a new service as well, and the CLI does not try again.
        let done = wait("answer but \"out of sequence\"", 60, || {
            let done = docker_service(stage, &line);
            let is_overtaken = done.as_ref().is_err_and(|said| said.contains("update out of sequence"));
            (!is_overtaken).then_some(done)
        });
        let done = done.map(|_| service.spec());
        service.remove();
        done
    });
    let ours = each(cases.len(), |case| post(&twin("we", case), Some(cases[case])));
    let run = stage.gantry().set("GANTRY_UPDATE_ORDER", "keep").run();

    let mut wrong = Vec::new();
    for ((case, theirs), ours) in cases.iter().zip(theirs).zip(&ours) {
        let outcome = run.outcome(ours).to_owned();
        let tidy = |mut spec: Value| {
            // The CLI also limits a service to its image's platforms that never was; Gantry only keeps such a limit.
            let placement = spec.pointer_mut("/TaskTemplate/Placement").and_then(Value::as_object_mut);
            if kind == "bare"
                && let Some(placement) = placement
            {
                placement.remove("Platforms");
            }
            normal(spec)
        };
        let spec = tidy(ours.spec());
        match theirs {
            Ok(theirs) => {
                let mut found = Vec::new();
                differences("", &spec, &tidy(theirs), &mut found);
                if !outcome.starts_with("started") {
                    let about =
                        run.lines.iter().filter(|line| line.is_about(ours)).map(|line| line.0.to_string());
                    found.push(format!("outcome {outcome:?}: {}", about.collect::<String>()));
                }
                wrong.extend(found.into_iter().map(|difference| format!("{kind} {case}: {difference}")));
            }
            Err(said) => wrong.push(format!("{kind} {case}: the CLI refuses: {said}")),
        }
    }
    wrong
}

#[test]
fn every_option_of_an_update_makes_of_a_service_what_the_cli_makes_of_its_twin() {
    let stage = Stage::new();
    furnish(&stage);
    let old = stage.image("app", "1", &[]);
    let rich = format!("create --quiet --detach --name {{p}}-rich {} {}", RICH.join(" "), old.name);
    docker_service(&stage, &rich).unwrap();
    let model = Service { stage: &stage, name: stage.name("rich"), id: stage.name("rich") };
    let rich = model.spec();
    model.remove();
    let bare = json!({
        "TaskTemplate": { "ContainerSpec": { "Image": "" } },
        "Mode": { "Replicated": { "Replicas": 0 } },
    });
    stage.image("app", "2", &[]);

    let mut wrong = compare(&stage, &rich, "rich", &old, UPDATE);
    wrong.extend(compare(&stage, &bare, "bare", &old, UPDATE_BARE));
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_option_of_a_new_service_makes_of_it_what_the_cli_makes_of_its_twin() {
    let stage = Stage::new();
    furnish(&stage);
    let image = stage.image("app", "1", &[]);
    let ids: Ids = ["one", "two"]
        .map(|name| (Name::Network(stage.name(name)), "networks"))
        .into_iter()
        .chain(["s1", "s2"].map(|name| (Name::Secret(stage.name(name)), "secrets")))
        .chain(["c1", "c2"].map(|name| (Name::Config(stage.name(name)), "configs")))
        .map(|(name, kind)| {
            let (Name::Network(text) | Name::Secret(text) | Name::Config(text)) = &name;
            let found = stage.lab.get_json(&format!("/{kind}/{text}"));
            let id = found["ID"].as_str().or(found["Id"].as_str()).unwrap().to_owned();
            (name, id)
        })
        .collect();
    let differ = each(CREATE.len(), |case| {
        let text = CREATE[case].replace("{p}", &stage.prefix);
        let name = format!("new{case}");
        let fixed = "create --detach --quiet --replicas 0 --no-resolve-image --name";
        docker_service(&stage, &format!("{fixed} {{p}}-{name} {} {}", CREATE[case], image.name)).unwrap();
        let theirs = Service { stage: &stage, name: stage.name(&name), id: stage.name(&name) };
        let their_spec = normal(theirs.spec());
        theirs.remove();

        let mut spec = json!({
            "TaskTemplate": {
                "ContainerSpec": { "Image": image.name, "Init": false, "Isolation": "default" },
                "Placement": {},
                "Resources": { "Limits": {}, "Reservations": {} },
            },
            "Mode": { "Replicated": { "Replicas": 0 } },
            "EndpointSpec": { "Mode": "vip" },
        });
        Options::parse(ServiceCommand::Create, &text).unwrap().apply(&mut spec, &ids).unwrap();
        let ours = stage.post(&format!("our{case}"), spec);
        let mut found = Vec::new();
        differences("", &normal(ours.spec()), &their_spec, &mut found);
        found.into_iter().map(|difference| format!("{text}: {difference}")).collect::<Vec<_>>()
    });
    let differ = differ.concat();
    assert!(differ.is_empty(), "{} differences:\n{}", differ.len(), differ.join("\n"));
}

#[test]
fn no_option_of_the_cli_is_unknown_and_none_goes_without_a_twin() {
    let stage = Stage::new();
    for (command, name, cases) in [
        (ServiceCommand::Update, "update", [UPDATE, UPDATE_BARE].concat().join(" ")),
        (ServiceCommand::Create, "create", CREATE.join(" ")),
    ] {
        let help = docker_service(&stage, &format!("{name} --help")).unwrap();
        let options: Vec<&str> = help
            .lines()
            .filter_map(|line| line.trim_start().split_once("--").filter(|(before, _)| before.len() <= 4))
            .filter_map(|(_, rest)| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next())
            .collect();
        assert!(options.len() > 70, "is this the help of docker service {name}?\n{help}");
        for option in options {
            let known = OPTIONS.iter().find(|known| known.name == option && command.has(known));
            let is_tried = cases.split([' ', '=']).any(|word| word == format!("--{option}"));
            let has_reason = WITHOUT_TWIN.iter().any(|(name, _)| *name == option);
            assert!(
                known.is_some() || option == "help",
                "docker service {name} --{option} is not in the table"
            );
            assert!(is_tried || has_reason, "docker service {name} --{option} is in no case");
        }
    }
}

#[test]
fn what_the_cli_refuses_is_refused_before_anything_is_sent() {
    let stage = Stage::new();
    furnish(&stage);
    let old = stage.image("app", "1", &[]);
    let bare = |name: &str, options: &str| {
        let spec = json!({
            "Labels": { LABEL: options.replace("{p}", &stage.prefix) },
            "TaskTemplate": { "ContainerSpec": { "Image": old.pinned() } },
            "Mode": { "Replicated": { "Replicas": 0 } },
        });
        stage.post(name, spec)
    };
    let by_cli = bare("cli", "");
    let accepted = each(MALFORMED.len(), |case| {
        docker_service(&stage, &format!("update --detach {} {}", MALFORMED[case], by_cli.name)).is_ok()
    });
    let accepted: Vec<&str> = MALFORMED
        .iter()
        .zip(accepted)
        .filter_map(|(case, is_accepted)| is_accepted.then_some(*case))
        .collect();
    assert!(accepted.is_empty(), "the CLI accepts {accepted:#?}");
    by_cli.remove();

    let ours = each(MALFORMED.len(), |case| bare(&format!("bad{case}"), MALFORMED[case]));
    let good = bare("good", "--env-add A=B");
    let new = stage.image("app", "2", &[]);
    let run = stage.cycle();
    let mut wrong = Vec::new();
    for (case, service) in MALFORMED.iter().zip(&ours) {
        // Services with the same error share its line.
        let is_refused = |message: &str| {
            let names = message.strip_prefix("error: ").and_then(|rest| rest.split(" (").next());
            names.is_some_and(|names| names.split(' ').any(|name| name == service.name))
        };
        let is_named = |line: &super::support::Line| {
            line.level() == "ERROR" && (line.is_about(service) || is_refused(line.message()))
        };
        if service.image() != old.pinned() || !run.lines.iter().any(is_named) {
            wrong.push(format!("{case}: {:?}", run.outcome(service)));
        }
    }
    assert!(wrong.is_empty(), "accepted: {wrong:#?}\n{run}");
    assert_eq!((good.image(), run.code), (new.pinned(), Some(1)), "{run}");
}
