//! How requests are answered.

use futures_util::StreamExt;
use gantry::config::Filter;
use gantry::swarm::spec::Edits;
use gantry::swarm::{Listing, Role, Service, ServiceChange, Spec, Swarm, SwarmError, TaskState};
use serde_json::json;
use tokio::time::timeout;

use super::updates::edited;
use super::{Kind, Stage, Subject, plain, rules};
use crate::fake::secs;

rules! {
    an_update_of_an_older_version_is_a_conflict,
    writes_of_the_orchestrator_raise_the_version_too,
    filters_are_prefixes_of_names_and_all_of_the_labels,
    the_beginning_of_an_id_finds_its_service,
    a_specification_is_kept_as_it_was_sent,
    a_specification_that_makes_no_sense_is_refused_in_words,
    changes_wake,
    the_engine_says_who_it_is,
    an_image_is_found_by_its_digest_once_a_task_has_pulled_it,
}

async fn an_update_of_an_older_version_is_a_conflict<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web")).await;
    let before = web.see().await;
    web.post(|spec| edited(spec, |json| json["Labels"]["a"] = json!("b"))).await;
    let image = Some(stage.image(Kind::Good(2)));
    let spec = before.spec.edited(&Edits { image, ..Edits::default() }).unwrap();
    let answer = stage.swarm().update_service(&web.id, before.version, ServiceChange::To(&spec), None).await;
    assert_eq!(answer, Err(SwarmError::Conflict));
    let service = web.see().await;
    assert!(service.version > before.version);
    assert_eq!(
        (web.images(&service).as_str(), service.spec.facts().labels.len()),
        ("Good(1) after Good(1)", 1)
    );
}

async fn writes_of_the_orchestrator_raise_the_version_too<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web")).await;
    let service = web.see().await;
    let image = Some(stage.image(Kind::Good(2)));
    let spec = service.spec.edited(&Edits { image, ..Edits::default() }).unwrap();
    stage.swarm().update_service(&web.id, service.version, ServiceChange::To(&spec), None).await.unwrap();
    let mut versions = vec![service.version, web.see().await.version];
    web.history(gantry::swarm::UpdateState::Updating).await;
    versions.push(web.see().await.version);
    web.history(gantry::swarm::UpdateState::Completed).await;
    versions.push(web.see().await.version);
    assert!(versions.is_sorted() && versions[0] < versions[1] && versions[2] < versions[3], "{versions:?}");
}

async fn the_beginning_of_an_id_finds_its_service<S: Stage>(stage: &S) {
    let web = Subject::new(stage, plain(stage, "web").replicas(0)).await;
    let found = async |id: &str| stage.swarm().services(Listing::Ids(&[id.to_owned()])).await.unwrap();
    let most = &web.id[..8];
    assert!(found(most).await.iter().any(|service| service.id == web.id));
    assert!(found(&format!("{most}-")).await.is_empty());
}

async fn filters_are_prefixes_of_names_and_all_of_the_labels<S: Stage>(stage: &S) {
    let swarm = stage.swarm();
    let own = stage.name("");
    Subject::new(stage, plain(stage, "web").label("a", "1").label("b", "2").replicas(0)).await;
    Subject::new(stage, plain(stage, "web-2").label("a", "1").replicas(0)).await;
    Subject::new(stage, plain(stage, "other").label("a", "1").label("b", "3").global()).await;
    let list = async |filters: &[&str]| -> Result<Vec<String>, SwarmError> {
        let filters: Vec<Filter> =
            filters.iter().map(|text| Filter::parse(&text.replace("OWN-", &own)).unwrap()).collect();
        let found = swarm.services(Listing::Filters(&filters)).await?;
        let mut names: Vec<String> = found
            .iter()
            .map(Service::name)
            .filter_map(|name| name.strip_prefix(&own))
            .map(str::to_owned)
            .collect();
        names.sort();
        Ok(names)
    };
    for (filters, expected) in [
        (&["name=OWN-web"][..], &["web", "web-2"][..]),
        (&["name=OWN-web-2", "name=OWN-other"], &["other", "web-2"]),
        (&["name=OWN-", "label=a=1"], &["other", "web", "web-2"]),
        (&["name=OWN-", "label=a=1", "label=b"], &["other", "web"]),
        (&["name=OWN-", "label=a=1", "label=b=2"], &["web"]),
        (&["name=OWN-", "label=c"], &[]),
        (&["name=OWN-", "mode=global"], &["other"]),
        (&["name=OWN-", "mode=strange"], &[]),
        (&["name=OWN-web", "id=nosuchid"], &[]),
    ] {
        assert_eq!(list(filters).await.unwrap(), expected, "{filters:?}");
    }
    let Err(SwarmError::Refused(words)) = list(&["colour=red"]).await else { panic!("it is refused") };
    assert_eq!(words.to_lowercase(), "invalid filter 'colour'");
}

async fn a_specification_is_kept_as_it_was_sent<S: Stage>(stage: &S) {
    let web = plain(stage, "web").replicas(0).label("a", "1").edit(|spec| {
        let container = &mut spec["TaskTemplate"]["ContainerSpec"];
        container["Env"] = json!(["A=b"]);
        container["Healthcheck"] = json!({"Test": ["CMD-SHELL", "true"], "Interval": 10_000_000_000_u64, "Retries": 3});
        container["Mounts"] = json!([{"Type": "volume", "Source": "v", "Target": "/v"}]);
        spec["TaskTemplate"]["Placement"] =
            json!({"Constraints": ["node.role==manager"], "Platforms": [{"Architecture": "amd64", "OS": "linux"}]});
        spec["TaskTemplate"]["Resources"] = json!({"Limits": {"MemoryBytes": 64 << 20}, "Reservations": {}});
        spec["TaskTemplate"]["LogDriver"] = json!({"Name": "json-file", "Options": {"max-size": "1m"}});
    });
    let sent = web.spec();
    let web = Subject::new(stage, web).await;
    // What the engine gives back may say more, but the same when it is sent back.
    let given = web.see().await.spec;
    let pointers = [
        "/Name",
        "/Labels",
        "/TaskTemplate/ContainerSpec/Env",
        "/TaskTemplate/ContainerSpec/Healthcheck/Test",
        "/TaskTemplate/ContainerSpec/Mounts/0/Target",
        "/TaskTemplate/Placement/Constraints",
        "/TaskTemplate/Placement/Platforms",
        "/TaskTemplate/Resources/Limits/MemoryBytes",
        "/TaskTemplate/LogDriver",
        "/UpdateConfig/Monitor",
        "/Mode",
    ];
    let json = |spec: &Spec| serde_json::from_str::<serde_json::Value>(spec.json()).unwrap();
    for pointer in pointers {
        assert_eq!(json(&given).pointer(pointer), json(&sent).pointer(pointer), "{pointer}");
    }
    web.post(Clone::clone).await;
    let service = web.see().await;
    assert!(service.spec.is_same_as(&given), "{} {}", service.spec.json(), given.json());
    assert!(service.previous.unwrap().is_same_as(&given));
}

async fn a_specification_that_makes_no_sense_is_refused_in_words<S: Stage>(stage: &S) {
    let web = Subject::new(stage, plain(stage, "web").replicas(0)).await;
    let service = web.see().await;
    let answer = async |edit: &dyn Fn(&mut serde_json::Value)| {
        let spec = edited(&service.spec, edit);
        match stage.swarm().update_service(&web.id, service.version, ServiceChange::To(&spec), None).await {
            Err(SwarmError::Refused(words)) => words,
            other => panic!("{other:?}"),
        }
    };
    for (words, expected) in [
        (answer(&|json| json["Name"] = json!("other")).await, "renaming services is not supported"),
        (answer(&|json| json["Mode"] = json!({"Global": {}})).await, "service mode change is not allowed"),
        (
            answer(&|json| json["TaskTemplate"]["ContainerSpec"]["Image"] = json!("")).await,
            "ContainerSpec: image reference must be provided",
        ),
    ] {
        assert!(words.ends_with(expected), "{words}");
    }
    let twice = stage.swarm().create_service(&service.spec, None).await;
    let Err(SwarmError::NameTaken(words)) = twice else { panic!("{twice:?}") };
    let name = service.name();
    let expected = format!("name conflicts with an existing object: service {name} already exists");
    assert!(words.ends_with(&expected), "{words}");
}

async fn changes_wake<S: Stage>(stage: &S) {
    let web = Subject::running(stage, plain(stage, "web")).await;
    let mut changes = std::pin::pin!(stage.swarm().changes());
    // The stream opens when it is first asked; on a real swarm, other tests make changes of their own.
    let first = timeout(secs(1), changes.next()).await;
    assert!(matches!(first, Err(_) | Ok(Some(Ok(())))), "{first:?}");
    web.send(Kind::Good(2)).await;
    assert_eq!(timeout(secs(5), changes.next()).await.unwrap(), Some(Ok(())));
}

async fn the_engine_says_who_it_is<S: Stage>(stage: &S) {
    let view = stage.swarm().engine().await.unwrap();
    let nodes = stage.swarm().nodes().await.unwrap();
    assert_eq!(view.role, Role::Manager);
    assert!(view.time.is_some());
    let own = nodes.iter().find(|node| node.id == view.node_id).unwrap();
    assert_eq!(own.name, view.host_name);
    assert!(nodes.iter().all(|node| node.is_ready && node.is_active));
    assert!(view.registries.insecure_cidrs.contains(&"127.0.0.0/8".to_owned()));
}

async fn an_image_is_found_by_its_digest_once_a_task_has_pulled_it<S: Stage>(stage: &S) {
    let swarm = stage.swarm();
    let web = Subject::running(stage, plain(stage, "web").global()).await;
    let node = swarm.engine().await.unwrap().node_id;
    web.until("a task here", async |web| {
        web.tasks().await.iter().any(|task| task.node_id == node && task.state == TaskState::Running)
    })
    .await;
    let image = stage.image(Kind::Good(1));
    let (name, digest) = image.split_once('@').unwrap();
    let repository = &name[..name.rfind(':').unwrap()];
    let found = swarm.local_image(&format!("{repository}@{digest}")).await.unwrap().unwrap();
    assert!(found.repo_digests.contains(&format!("{repository}@{digest}")), "{found:?}");
    assert_eq!(swarm.local_image(&found.id).await.unwrap(), Some(found.clone()));

    let containers = swarm.containers_of_service(&stage.name("web")).await.unwrap();
    assert_eq!(containers.len(), 1, "{containers:?}");
    assert!(containers[0].is_swarm_task() && containers[0].state == "running");
    assert_eq!(containers[0].image_id, found.id);
    let task = web.tasks().await.into_iter().find(|task| task.node_id == node).unwrap().id;
    assert_eq!(containers[0].task(), Some(task.as_str()));
    assert!(swarm.task_containers().await.unwrap().contains(&containers[0]));
    assert!(swarm.containers_of(&found.id).await.unwrap().contains(&containers[0]));
    assert!(matches!(swarm.remove_container(&containers[0].id).await, Err(SwarmError::Refused(_))));
    let refused = swarm.remove_image(&format!("{repository}@{digest}")).await;
    assert!(matches!(&refused, Err(SwarmError::Refused(words)) if words.contains("using")), "{refused:?}");
}
