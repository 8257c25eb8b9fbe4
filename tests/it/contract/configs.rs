//! Configs: named once, and changed only by whoever has read them last.

use std::collections::BTreeMap;

use gantry::swarm::{ConfigObject, Swarm, SwarmError};

use super::{Stage, rules};

rules! {
    a_config_is_found_by_its_whole_name_with_what_was_put_into_it,
    the_name_of_a_config_can_be_taken_only_once,
    the_labels_of_a_config_change_only_for_who_has_read_them_last,
    a_config_that_is_gone_is_gone_for_its_reader,
    names_that_differ_in_capital_letters_are_taken_and_not_found,
    a_config_holds_as_many_and_as_long_labels_as_the_ledger_has_at_most,
}

fn labels(value: &str) -> BTreeMap<String, String> {
    [("gantry.image.r.test:5000/app:1".to_owned(), value.to_owned())].into()
}

/// `text` in base64.
const DATA: &str = "dGV4dA==";

async fn made<S: Stage>(stage: &S, name: &str) -> ConfigObject {
    stage.swarm().create_config_object(name, &labels("one=1 cause=\"ü\" {}"), DATA).await.unwrap();
    stage.swarm().config_object(name).await.unwrap().expect("it was made")
}

async fn a_config_is_found_by_its_whole_name_with_what_was_put_into_it<S: Stage>(stage: &S) {
    let name = stage.name("ledger");
    assert_eq!(stage.swarm().config_object(&name).await.unwrap(), None);
    made(stage, &format!("{name}-2")).await;
    assert_eq!(stage.swarm().config_object(&name).await.unwrap(), None, "another one begins like it");
    let object = made(stage, &name).await;
    assert_eq!((object.name, object.data.as_str()), (name, DATA));
    assert_eq!(object.labels, labels("one=1 cause=\"ü\" {}"));
}

async fn the_name_of_a_config_can_be_taken_only_once<S: Stage>(stage: &S) {
    let name = stage.name("ledger");
    let object = made(stage, &name).await;
    let twice = stage.swarm().create_config_object(&name, &BTreeMap::new(), DATA).await;
    let Err(SwarmError::NameTaken(words)) = twice else { panic!("{twice:?}") };
    assert!(words.ends_with(&format!("config {name} already exists")), "{words}");
    assert_eq!(stage.swarm().config_object(&name).await.unwrap(), Some(object));
}

async fn the_labels_of_a_config_change_only_for_who_has_read_them_last<S: Stage>(stage: &S) {
    let (swarm, name) = (stage.swarm(), stage.name("ledger"));
    let first = made(stage, &name).await;
    swarm.update_config_object(&first, &labels("two")).await.unwrap();
    let second = swarm.config_object(&name).await.unwrap().unwrap();
    assert!(second.version > first.version);
    assert_eq!((&second.labels, &second.data, &second.id), (&labels("two"), &first.data, &first.id));
    assert_eq!(swarm.update_config_object(&first, &labels("late")).await, Err(SwarmError::Conflict));
    assert_eq!(swarm.config_object(&name).await.unwrap(), Some(second.clone()));
    swarm.update_config_object(&second, &BTreeMap::new()).await.unwrap();
    assert!(swarm.config_object(&name).await.unwrap().unwrap().labels.is_empty());
}

async fn a_config_that_is_gone_is_gone_for_its_reader<S: Stage>(stage: &S) {
    let (swarm, name) = (stage.swarm(), stage.name("ledger"));
    let object = made(stage, &name).await;
    swarm.remove_config_object(&object.id).await.unwrap();
    swarm.remove_config_object(&object.id).await.unwrap();
    assert_eq!(swarm.config_object(&name).await.unwrap(), None);
    let late = swarm.update_config_object(&object, &labels("late")).await;
    assert!(matches!(late, Err(SwarmError::NotFound(_))), "{late:?}");
}

async fn names_that_differ_in_capital_letters_are_taken_and_not_found<S: Stage>(stage: &S) {
    let (swarm, name) = (stage.swarm(), stage.name("ledger"));
    let object = made(stage, &name).await;
    let capitals = name.to_uppercase();
    assert_eq!(swarm.config_object(&capitals).await.unwrap(), None);
    let twice = swarm.create_config_object(&capitals, &BTreeMap::new(), DATA).await;
    let Err(SwarmError::NameTaken(words)) = twice else { panic!("{twice:?}") };
    assert!(words.ends_with(&format!("config {capitals} already exists")), "{words}");
    swarm.remove_config_object(&object.id).await.unwrap();
    swarm.create_config_object(&capitals, &BTreeMap::new(), DATA).await.unwrap();
    assert_eq!(swarm.config_object(&name).await.unwrap(), None);
    assert_eq!(swarm.config_object(&capitals).await.unwrap().unwrap().name, capitals);
}

async fn a_config_holds_as_many_and_as_long_labels_as_the_ledger_has_at_most<S: Stage>(stage: &S) {
    // `MAX_ENTRIES` and `MAX_BYTES` of the ledger's book, and the lease with its claim beside them.
    const ENTRIES: usize = 128 + 2;
    const BYTES: usize = 34 << 10;
    let (swarm, name) = (stage.swarm(), stage.name("ledger"));
    let value = "ü\"=% ".repeat(BYTES / ENTRIES / 7);
    let labels = |first: usize| -> BTreeMap<String, String> {
        let key = |number: usize| format!("gantry.image.registry.test:5000/team/a-long-name-{number}:1");
        (first..first + ENTRIES).map(|number| (key(number), value.clone())).collect()
    };
    let bytes: usize = labels(0).iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes > BYTES, "{bytes}");
    swarm.create_config_object(&name, &labels(0), DATA).await.unwrap();
    let object = swarm.config_object(&name).await.unwrap().unwrap();
    assert_eq!(object.labels, labels(0));
    swarm.update_config_object(&object, &labels(1000)).await.unwrap();
    assert_eq!(swarm.config_object(&name).await.unwrap().unwrap().labels, labels(1000));
}
