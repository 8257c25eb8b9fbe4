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

fn entry(subject: Subject, verdict: DigestVerdict) -> Entry {
    let service_id = match &subject {
        Subject::Service(name) => format!("id-{name}"),
        Subject::Image(_) | Subject::Tag(_) => String::new(),
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
        had: Vec::new(),
        stopped: Vec::new(),
        flips: 0,
        cause: "it crashed".to_owned(),
    }
}

/// What a service shows that a person rolled back.
fn shown() -> Vec<Entry> {
    let entry = entry(Subject::Service("shop".to_owned()), DigestVerdict::LeftByHand);
    vec![Entry { cause: String::new(), ..entry }]
}

fn scene() -> (Book, Vec<Service>) {
    let entries = [
        entry(Subject::Service("web".to_owned()), DigestVerdict::Quarantined),
        entry(Subject::Service("gone".to_owned()), DigestVerdict::Quarantined),
        entry(Subject::Image("r.test/app:1".to_owned()), DigestVerdict::Quarantined),
    ];
    let labels = change(&Labels::new(), &entries.map(LedgerChange::Put));
    let services = vec![
        service("web", None, ""),
        service("shop", Some('b'), "rollback_completed"),
        service("plain", Some('c'), "completed"),
    ];
    (Book::read(&labels), services)
}

fn released(name: &str) -> (Vec<String>, Vec<LedgerChange>) {
    let (book, services) = scene();
    let target = if name == "--all" { ReleaseTarget::All } else { ReleaseTarget::Named(name.to_owned()) };
    let release = release(&target, &book, &services, &shown(), Timestamp::UNIX_EPOCH);
    (release.released.into_iter().map(|held| held.service).collect(), release.changes)
}

#[test]
fn all_that_is_held_back_is_listed_with_the_reason() {
    let (book, _) = scene();
    let list: Vec<String> =
        held(&book, &shown(), Timestamp::UNIX_EPOCH, None).iter().map(ToString::to_string).collect();
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
    let [LedgerChange::Put(entry)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((entry.verdict, &entry.digest), (DigestVerdict::Released, &digest('b')));
    let (_, changes) = released("gone");
    assert!(matches!(changes.as_slice(), [LedgerChange::Forget(_)]), "{changes:?}");
}

fn said(name: &str) -> String {
    let (book, services) = scene();
    let target = if name == "--all" { ReleaseTarget::All } else { ReleaseTarget::Named(name.to_owned()) };
    release(&target, &book, &services, &shown(), Timestamp::UNIX_EPOCH).to_string()
}

#[test]
fn a_release_says_what_it_did_and_what_is_left() {
    insta::assert_snapshot!(said("web"), @r"
    released, and offered again by the next cycle if its tag still has this digest:
      web: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
    still not offered:
      all services: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
      gone: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
      shop: r.test/app:1 at bbbbbbbbbbbb (rolled back by hand)
    ");
    insta::assert_snapshot!(said("--all"), @r"
    released, and offered again by the next cycle if its tag still has this digest:
      all services: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
      gone: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
      shop: r.test/app:1 at bbbbbbbbbbbb (rolled back by hand)
      web: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
    nothing is left in quarantine
    ");
}

#[test]
fn no_foreign_word_steers_the_terminal_of_who_asks() {
    let hostile = "\u{1b}[2J\r\n\u{202e}";
    let held = QuarantinedImage {
        service: format!("web{hostile}"),
        image: format!("r.test/app:1{hostile}"),
        digest: "b".to_owned(),
        why: format!("quarantined: it says {hostile}"),
    };
    let listed = QuarantineList {
        held: vec![held.clone()],
        damaged: vec![hostile.to_owned()],
        missing: Some(hostile.to_owned()),
    };
    let waiting = vec![(hostile.to_owned(), hostile.to_owned())];
    let released = Release { released: vec![held.clone()], waiting, left: vec![held], ..Release::default() };
    let missed = |miss| Release { miss: Some(miss), ..Release::default() }.to_string();
    for said in [
        listed.to_string(),
        released.to_string(),
        missed(Miss::NotHeld(hostile.to_owned())),
        missed(Miss::Unknown { name: hostile.to_owned(), nearest: Some(hostile.to_owned()) }),
    ] {
        let is_plain = |c: char| c == '\n' || crate::words::is_printable(c);
        assert!(said.chars().all(is_plain) && said.contains("\\u{1b}[2J"), "{said:?}");
        assert!(said.lines().count() <= 6, "{said}");
    }
}

#[test]
fn a_release_that_finds_nothing_says_why_and_what_may_have_been_meant() {
    let (_, services) = scene();
    for name in ["nobody", "we", "app", "app:1", "r.test/app:2", "Shop"] {
        assert!(said(name).starts_with("nothing was released: "), "{name}");
    }
    let first = |name: &str| said(name).lines().next().unwrap_or_default().to_owned();
    let all = ["nobody", "weeb", "app", "app:1", "r.test/app:2", "Shop", "\u{1b}[31m"].map(first).join("\n");
    insta::assert_snapshot!(all, @r#"
    nothing was released: there is no service and no image "nobody" in this swarm
    nothing was released: there is no service and no image "weeb" in this swarm; did you mean web?
    nothing was released: there is no service and no image "app" in this swarm; did you mean r.test/app:1?
    nothing was released: there is no service and no image "app:1" in this swarm; did you mean r.test/app:1?
    nothing was released: there is no service and no image "r.test/app:2" in this swarm; did you mean r.test/app:1?
    nothing was released: there is no service and no image "Shop" in this swarm; did you mean shop?
    nothing was released: there is no service and no image "\u{1b}[31m" in this swarm
    "#);
    let empty = |target: ReleaseTarget| {
        release(&target, &Book::default(), &services[..1], &[], Timestamp::UNIX_EPOCH).to_string()
    };
    insta::assert_snapshot!(empty(ReleaseTarget::All), @"nothing was released: nothing is in quarantine");
    insta::assert_snapshot!(empty(ReleaseTarget::Named("web".to_owned())), @r"
    nothing was released: web is not in quarantine
    nothing is in quarantine
    ");
    insta::assert_snapshot!(empty(ReleaseTarget::Named("r.test/app:1".to_owned())), @r"
    nothing was released: r.test/app:1 is not in quarantine
    nothing is in quarantine
    ");
}

#[test]
fn the_list_names_what_it_cannot_read_and_a_ledger_that_is_not_there() {
    let (book, _) = scene();
    let held = held(&book, &shown(), Timestamp::UNIX_EPOCH, None);
    let damaged = vec!["gantry.service.ghost".to_owned()];
    insta::assert_snapshot!(QuarantineList { held, damaged, missing: None }, @r"
    not offered again:
      all services: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
      gone: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
      shop: r.test/app:1 at bbbbbbbbbbbb (rolled back by hand)
      web: r.test/app:1 at bbbbbbbbbbbb (quarantined: it crashed)
    not understood, and ignored: the label gantry.service.ghost
    ");
    insta::assert_snapshot!(QuarantineList::default(), @"nothing is in quarantine");
    insta::assert_snapshot!(QuarantineList { missing: Some("gantry".to_owned()), ..QuarantineList::default() }, @r"
    nothing is in quarantine
    (Gantry has not made its config gantry yet, or has another name for it: GANTRY_LEDGER_NAME)
    ");
}
