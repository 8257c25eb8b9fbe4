//! The docker client's own configuration: `DOCKER_CONFIG`, the home folder, and the folder of a label.

use serde_json::json;

use super::super::support::{JUERGEN, PULLER, PrivateRegistry, Stage};
use super::{fails_with, folder, logged_in, on_all_nodes, reached_all_nodes, without_tasks};

#[test]
fn an_account_of_docker_config_is_used_and_sent_along_to_the_nodes() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let service = on_all_nodes(&stage, "app", &old, &PULLER, None);
    let new = private.push(&stage, "app", "2");
    let wrong = json!({ "auths": { &private.host: { "username": "puller", "password": "wrong-password" } } });
    let wrong = folder(&stage, "wrong", &wrong);
    // Set but empty means unset.
    for (config, cause) in [("", "without credentials"), (&wrong, "with credentials of puller from /")] {
        let run = stage.gantry().set("DOCKER_CONFIG", config).run();
        fails_with(&run, &service, &["refuses access", cause]);
        assert_eq!(service.image(), old.name);
    }
    let right = folder(&stage, "right", &logged_in(&private.host, &PULLER));
    let run = stage.gantry().set("DOCKER_CONFIG", &right).run();
    reached_all_nodes(&run, &service, &new);
}

#[test]
fn the_home_folder_comes_last_and_may_be_read_only_as_a_whole() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let service = on_all_nodes(&stage, "app", &old, &JUERGEN, None);
    let new = private.push(&stage, "app", "2");
    let home = folder(&stage, ".docker", &logged_in(&format!("https://{}/v1/", private.host), &JUERGEN));
    let text = || std::fs::read_to_string(stage.folder.path().join(".docker/config.json")).unwrap();
    let before = text();
    // The stage sets `HOME`. As a volume that is mounted with `:ro`; what is written there would fail the cycle.
    let mounts = format!("mount --bind {home} {home}\nmount -o remount,bind,ro {home}");
    let run = stage.gantry().with_mounts(&mounts).run();
    reached_all_nodes(&run, &service, &new);
    assert_eq!(text(), before);
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);

    // What comes before it wins.
    let wrong = json!({ "auths": { &private.host: { "username": "puller", "password": "wrong-password" } } });
    let run = stage.gantry().set("DOCKER_CONFIG", &folder(&stage, "wrong", &wrong)).run();
    fails_with(&run, &service, &["refuses access", "with credentials of puller"]);
}

#[test]
fn a_label_may_name_a_folder_which_is_then_the_only_source() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let right = folder(&stage, "right", &logged_in(&private.host, &JUERGEN));
    let elsewhere = folder(&stage, "elsewhere", &logged_in("registry.example.com", &JUERGEN));
    let broken = stage.write("broken/config.json", "{\"auths\": \"wrong-password\"}");
    let broken = broken.parent().unwrap().display().to_string();
    let own = on_all_nodes(&stage, "own", &old, &JUERGEN, Some(&right));
    let other = without_tasks(&stage, "other", &old.name, Some(&elsewhere));
    let bad = without_tasks(&stage, "bad", &old.name, Some(&broken));
    let unlabeled = without_tasks(&stage, "unlabeled", &old.name, None);
    let new = private.push(&stage, "app", "2");

    let docker_config = folder(&stage, "docker-config", &logged_in(&private.host, &PULLER));
    let run = stage.gantry().set("DOCKER_CONFIG", &docker_config).run();

    reached_all_nodes(&run, &own, &new);
    fails_with(&run, &other, &["refuses access", "without credentials"]);
    fails_with(&run, &bad, &["broken/config.json cannot be read", "line 1"]);
    assert_eq!(unlabeled.image(), new.pinned());
}

#[test]
fn a_config_json_that_cannot_be_read_is_a_reason_only_where_an_account_is_wanted() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let closed = without_tasks(&stage, "closed", &private.push(&stage, "app", "1").name, None);
    let old = stage.image("web", "1", &[]);
    let service = without_tasks(&stage, "web", &old.name, None);
    let new = stage.image("web", "2", &[]);
    let broken = stage.write("broken/config.json", "{\"auths\": {\"r\": {\"auth\": wrong-password}}}");
    let broken = broken.parent().unwrap().display().to_string();
    let run = stage.gantry().set("DOCKER_CONFIG", &broken).run();
    let cause = "broken/config.json cannot be read: not valid JSON at line 1";
    assert!(run.says(&[cause, "none of its accounts is used"]), "{run}");
    fails_with(&run, &closed, &["refuses access", "without credentials", cause]);
    assert_eq!(service.image(), new.pinned(), "{run}");
}
