use serde_json::json;

use super::*;
use crate::image::Digest;
use crate::ledger::book::{Labels, change};

fn digest(name: char) -> Digest {
    format!("sha256:{}", name.to_string().repeat(64)).parse().unwrap()
}

fn pinned(name: char) -> String {
    format!("r.test/app:1@{}", digest(name))
}

fn service(name: &str, previous: Option<char>, state: &str) -> Service {
    let spec = |image: &str| json!({"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": image}}});
    let service = json!({
        "ID": format!("id-{name}"),
        "Version": {"Index": 1},
        "Spec": spec(&pinned('a')),
        "PreviousSpec": previous.map(|previous| spec(&pinned(previous))),
        "UpdateStatus": {"State": state, "Message": ""},
    });
    Service::from_json(&service.to_string()).unwrap()
}

fn entry(subject: Subject, verdict: Verdict) -> Entry {
    let service_id = match &subject {
        Subject::Service(name) => format!("id-{name}"),
        Subject::Image(_) => String::new(),
    };
    Entry {
        subject,
        verdict,
        image: "r.test/app:1".to_owned(),
        digest: digest('b'),
        service_id,
        at: Timestamp::UNIX_EPOCH,
        node: String::new(),
        before: Vec::new(),
        cause: "it crashed".to_owned(),
    }
}

fn scene() -> (Book, Vec<Service>) {
    let entries = [
        entry(Subject::Service("web".to_owned()), Verdict::Quarantined),
        entry(Subject::Service("gone".to_owned()), Verdict::Quarantined),
        entry(Subject::Image("r.test/app:1".to_owned()), Verdict::Quarantined),
    ];
    let labels = change(&Labels::new(), &entries.map(Change::Put));
    let services = vec![
        service("web", None, ""),
        service("shop", Some('b'), "rollback_completed"),
        service("plain", Some('c'), "completed"),
    ];
    (Book::read(&labels), services)
}

fn released(name: &str) -> (Vec<String>, Vec<Change>) {
    let (book, services) = scene();
    let target = if name == "--all" { Target::All } else { Target::Named(name.to_owned()) };
    let release = release(&target, &book, &services, Timestamp::UNIX_EPOCH);
    (release.released.into_iter().map(|held| held.service).collect(), release.changes)
}

#[test]
fn all_that_is_held_back_is_listed_with_the_reason() {
    let (book, services) = scene();
    let list: Vec<String> = held(&book, &services).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(list.join("\n"), @r"
    all services: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
    gone: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
    shop: r.test/app:1 at bbbbbbbbbbbb (rolled back by hand)
    web: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
    ");
}

#[test]
fn a_service_an_image_or_all_are_released() {
    for (name, services) in [
        ("web", &["web"][..]),
        ("id-web", &["web"]),
        ("shop", &["shop"]),
        // In quarantine only together with all others: released for itself.
        ("plain", &["plain"]),
        ("r.test/app:1", &["", "gone", "shop", "web"]),
        ("--all", &["", "gone", "shop", "web"]),
        ("r.test/app:2", &[]),
        ("nobody", &[]),
    ] {
        assert_eq!(released(name).0, services, "{name}");
    }
}

#[test]
fn the_release_of_a_service_is_remembered_as_the_service_still_shows_what_it_left() {
    let (_, changes) = released("shop");
    let [Change::Put(entry)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((entry.verdict, &entry.digest), (Verdict::Released, &digest('b')));
    let (_, changes) = released("gone");
    assert!(matches!(changes.as_slice(), [Change::Forget(_)]), "{changes:?}");
}
