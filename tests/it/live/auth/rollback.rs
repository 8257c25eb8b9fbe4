//! A rollback on a node that has to pull the old image again.

use serde_json::json;

use super::super::support::{Line, PULLER, PrivateRegistry, Service, Stage, wait};
use super::{folder, is_discreet, logged_in, spec};

/// Becomes unhealthy, and takes a while for it.
const UNHEALTHY: [&str; 6] = ["--health", "false", "--health-interval", "3s", "--health-retries", "5"];

#[test]
fn an_old_image_that_is_gone_from_its_node_is_pulled_with_the_account_of_today() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let config = folder(&stage, "config", &logged_in(&private.host, &PULLER));
    // The swarm knows no account for the old image, or one whose password was changed since.
    let service = |name: &str, options: Option<&str>| {
        let old = private.push(&stage, name, &format!("1-{name}"));
        stage.lab.docker(&["--config", &config, "pull", "--quiet", &old.name]);
        let mut spec = spec(&old.pinned(), json!({ "Replicated": { "Replicas": 1 } }));
        spec["TaskTemplate"]["Placement"]["Constraints"] = json!(["node.role==manager"]);
        if let Some(options) = options {
            spec["Labels"]["gantry.rollback.options"] = options.into();
        }
        let service = stage.post(name, spec).running();
        private.push_with(&stage, name, "2", &UNHEALTHY);
        (service, old)
    };
    let (swapped, sent) = (service("swapped", None), service("sent", Some("--env-add ROLLED_BACK=1")));

    let daemon = stage.gantry().set("DOCKER_CONFIG", &config).start();
    wait("both tasks", 60, || {
        let is_starting =
            |service: &Service<'_>| service.tasks().iter().any(|task| task["Status"]["State"] == "starting");
        (is_starting(&swapped.0) && is_starting(&sent.0)).then_some(())
    });
    for (_, old) in [&swapped, &sent] {
        let id = stage.lab.docker(&["image", "inspect", "--format", "{{.Id}}", &old.pinned()]);
        stage.lab.docker(&["image", "rm", "--force", &id]);
    }
    let run = daemon.end(120);

    for (service, old) in [&swapped, &sent] {
        assert!(run.outcome(service).starts_with("rolled back: "), "{run}");
        service.runs(old, 1);
    }
    // What is sent along with a rollback by the swarm does not count: it takes a second request.
    let is_renewed = |line: &&Line| line.message().contains("gives the service the account of the update");
    let renewed: Vec<&Line> = run.lines.iter().filter(is_renewed).collect();
    assert!(renewed.len() == 1 && renewed[0].is_about(&swapped.0), "{run}");
    is_discreet(&run);
}
