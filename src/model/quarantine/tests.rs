use std::ffi::OsString;
use std::sync::Arc;

use super::*;
use crate::config::{Config, ServicePolicy};
use crate::ledger::book::{Labels, change};
use crate::model::rank::Rank;
use crate::model::task_lifecycle::TaskLifecycle;
use crate::swarm::{Mode, Task, TaskState};

const APP: &str = "r.test/app:1";

fn digest(name: char) -> Digest {
    format!("sha256:{}", name.to_string().repeat(64)).parse().unwrap()
}

fn app(name: char) -> ImageRef {
    APP.parse::<ImageRef>().unwrap().pinned(&digest(name))
}

/// A service at `a`.
fn web(history: History) -> Candidate {
    let config = Config::load(Vec::<(OsString, OsString)>::new()).unwrap().config;
    Candidate {
        id: "id-web".to_owned(),
        name: "web".to_owned(),
        image: Some(Ok(app('a'))),
        mode: Mode::Replicated(1),
        lifecycle: TaskLifecycle::RunsOn,
        version: 7,
        is_excluded: false,
        is_itself: false,
        history,
        rank: Rank::Single,
        policy: ServicePolicy::of(&config, &BTreeMap::default()).map(Arc::new),
        tasks: None,
        unfinished: None,
        order: None,
        may_collide: false,
    }
}

fn quarantine(entries: &[(&str, DigestVerdict, char, &str)]) -> Quarantine {
    let empty = Quarantine {
        is_on: true,
        seen: Arc::default(),
        book: Book::default().into(),
        now: Timestamp::from_second(1_800_000_000).unwrap(),
        duration: None,
        node: "node1".to_owned(),
    };
    let put = |(about, verdict, name, cause): &(&str, DigestVerdict, char, &str)| {
        LedgerChange::Put(match *about {
            "image" => empty.entry_of_image(&app(*name), *verdict, cause).unwrap(),
            service => {
                let id = format!("id-{service}");
                empty.entry(service, &id, APP.to_owned(), &digest(*name), *verdict, cause)
            }
        })
    };
    let labels = change(&Labels::new(), &entries.iter().map(put).collect::<Vec<_>>());
    Quarantine { book: Book::read(&labels).into(), ..empty }
}

/// Why the digest `b` is not offered to a service at `a`.
fn why(quarantine: &Quarantine, history: &History) -> Option<Why> {
    quarantine.holds_back(&web(history.clone()), &app('a'), &digest('b')).map(|held| held.why)
}

fn left(name: char, rollback: Option<RolledBack>) -> History {
    History { previous: Some(app(name)), rollback, ..History::default() }
}

#[test]
fn the_ledger_is_asked_first_for_the_service_and_then_for_its_image() {
    let none = History::default();
    for (entries, expected) in [
        (&[][..], None),
        (&[("web", DigestVerdict::Quarantined, 'b', "it crashed")], Some(Why::BrokeService)),
        (&[("web", DigestVerdict::Quarantined, 'c', "it crashed")], None),
        (&[("shop", DigestVerdict::Quarantined, 'b', "it crashed")], None),
        (&[("web", DigestVerdict::LeftByHand, 'b', "")], Some(Why::LeftByHand)),
        (&[("image", DigestVerdict::Quarantined, 'b', "2 of 12")], Some(Why::RolloutStopped)),
        (&[("image", DigestVerdict::Quarantined, 'c', "2 of 12")], None),
        (&[("image", DigestVerdict::Offered, 'b', "")], None),
        (
            &[
                ("image", DigestVerdict::Quarantined, 'b', "2 of 12"),
                ("web", DigestVerdict::Released, 'b', ""),
            ],
            None,
        ),
        (
            &[
                ("image", DigestVerdict::Quarantined, 'b', "2 of 12"),
                ("web", DigestVerdict::Excused, 'b', "a node went down"),
            ],
            Some(Why::RolloutStopped),
        ),
    ] {
        assert_eq!(why(&quarantine(entries), &none), expected, "{entries:?}");
        assert_eq!(why(&Quarantine { is_on: false, ..quarantine(entries) }, &none), None, "switched off");
    }
}

#[test]
fn what_has_run_out_is_offered_again_though_the_service_still_shows_it() {
    let entries = [("web", DigestVerdict::Quarantined, 'b', "it crashed")];
    let hour = Some(Duration::from_secs(3_600));
    let fresh = Quarantine { duration: hour, ..quarantine(&entries) };
    let later = fresh.now.checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
    let history = left('b', Some(RolledBack::OnRequest));
    assert_eq!(why(&fresh, &history), Some(Why::BrokeService));
    assert_eq!(why(&Quarantine { now: later, ..fresh }, &history), None);
}

#[test]
fn a_rollback_on_request_from_what_the_tag_stands_at_is_a_persons_word() {
    let asked = Some(RolledBack::OnRequest);
    let nothing = quarantine(&[]);
    assert_eq!(why(&nothing, &left('b', asked)), Some(Why::LeftByHand));
    let failed = |name| BTreeMap::from([(digest(name), Some("task: non-zero exit (3)".to_owned()))]);
    let broken = History { failed: failed('b'), ..left('b', asked) };
    assert_eq!(why(&nothing, &broken), Some(Why::BrokeService), "it was for a failure, whoever asked");
    let not_the_images_fault = History { failed: BTreeMap::from([(digest('b'), None)]), ..left('b', asked) };
    assert_eq!(why(&nothing, &not_the_images_fault), None, "neither a person's word nor the image's fault");
    let another = History { failed: failed('c'), ..left('b', asked) };
    assert_eq!(why(&nothing, &another), Some(Why::LeftByHand), "what failed is something else");
    assert_eq!(why(&nothing, &left('c', asked)), None, "the tag has moved on since");
    let excused = quarantine(&[("web", DigestVerdict::Excused, 'b', "a node went down")]);
    assert_eq!(why(&excused, &left('b', asked)), None, "it was us, and not for the image's sake");
    let other = History { previous: "r.test/app:2".parse::<ImageRef>().ok(), ..left('b', asked) };
    assert_eq!(why(&nothing, &other), None, "it had another tag before");
    // The tag stood somewhere else when it was last offered: it has gone back to what the service had before.
    assert_eq!(why(&quarantine(&[("image", DigestVerdict::Offered, 'c', "")]), &left('b', asked)), None);
}

#[test]
fn what_went_wrong_before_it_went_well_is_no_reason_to_go_back() {
    let task = |created: i64, state, error: &str, exit_code| Task {
        id: String::new(),
        service_id: "id-web".to_owned(),
        slot: 1,
        node_id: "n1".to_owned(),
        image: app('b').to_string(),
        force_update: 0,
        desired: TaskState::Shutdown,
        state,
        since: None,
        message: String::new(),
        error: error.to_owned(),
        exit_code,
        created_at: Timestamp::from_second(created).ok(),
        reserved: crate::swarm::claims::Resources::default(),
    };
    let away = |created| task(created, TaskState::Rejected, "No such image: app:1", None);
    let crashed = |created| task(created, TaskState::Failed, "task: non-zero exit (3)", Some(3));
    let ran = |created| task(created, TaskState::Shutdown, "", Some(143));
    let not_started = |created| task(created, TaskState::Shutdown, "", None);
    for (tasks, expected) in [
        (vec![away(1)], None),
        (vec![away(1), not_started(2)], None),
        (vec![ran(1), away(2)], None),
        (vec![away(1), ran(2)], Some(Why::LeftByHand)),
        (vec![away(1), crashed(2)], Some(Why::BrokeService)),
        (vec![crashed(1), ran(2)], Some(Why::BrokeService)),
    ] {
        let mut history = left('b', Some(RolledBack::OnRequest));
        history.take_tasks(&app('a'), &tasks, false);
        assert_eq!(why(&quarantine(&[]), &history), expected, "{tasks:?}");
    }
}

#[test]
fn an_older_digest_set_by_hand_is_told_from_a_tag_that_has_gone_back_by_what_was_offered_last() {
    let set = left('b', None);
    assert_eq!(why(&quarantine(&[]), &set), None, "nobody knows who made this change");
    assert_eq!(why(&quarantine(&[("image", DigestVerdict::Offered, 'b', "")]), &set), Some(Why::LeftByHand));
    assert_eq!(
        why(&quarantine(&[("image", DigestVerdict::Offered, 'a', "")]), &set),
        None,
        "the tag has gone back"
    );
    let went_back = [
        ("image", DigestVerdict::Offered, 'b', ""),
        ("image", DigestVerdict::Offered, 'a', ""),
        ("image", DigestVerdict::Offered, 'b', ""),
    ];
    assert_eq!(why(&quarantine(&went_back), &set), None, "not every service has followed the tag yet");
}

#[test]
fn what_swarm_rolled_back_from_is_known_from_the_task_that_failed() {
    let mut by_swarm = History { rollback: Some(RolledBack::BySwarm), ..History::default() };
    let nothing = quarantine(&[]);
    assert_eq!(why(&nothing, &by_swarm), None);
    by_swarm.failed.insert(digest('b'), Some("task: non-zero exit (1)".to_owned()));
    let held = nothing.holds_back(&web(by_swarm.clone()), &app('a'), &digest('b')).unwrap();
    insta::assert_snapshot!(held, @"bbbbbbbbbbbb is in quarantine here (Swarm rolled it back: task: non-zero exit (1)); left alone until the tag moves on, or until `gantry release web`");
    let news = held.news.unwrap();
    assert_eq!(
        (news.verdict, news.digest, news.service_id.as_str()),
        (DigestVerdict::Quarantined, digest('b'), "id-web")
    );
    let other = nothing.holds_back(&web(by_swarm), &app('a'), &digest('c'));
    assert_eq!(other, None, "the tag has moved on");
}

#[test]
fn each_reason_says_what_releases_it() {
    let held = |entries: &[(&str, DigestVerdict, char, &str)], history: History| {
        quarantine(entries).holds_back(&web(history), &app('a'), &digest('b')).unwrap().to_string()
    };
    insta::assert_snapshot!(
        held(&[("web", DigestVerdict::Quarantined, 'b', "a task was unhealthy on node2")], History::default()),
        @"bbbbbbbbbbbb is in quarantine here (a task was unhealthy on node2); left alone until the tag moves on, or until `gantry release web`"
    );
    insta::assert_snapshot!(
        held(&[("image", DigestVerdict::Quarantined, 'b', "stopped after 2 of 1,200")], History::default()),
        @"bbbbbbbbbbbb is in quarantine for all services (stopped after 2 of 1,200); left alone until the tag moves on, or until `gantry release r.test/app:1`"
    );
    insta::assert_snapshot!(
        held(&[], left('b', Some(RolledBack::OnRequest))),
        @"rolled back by hand from bbbbbbbbbbbb; left alone until the tag moves on, or until `gantry release web`"
    );
}

#[test]
fn an_offer_is_written_once_for_each_image_and_digest() {
    let changes =
        |quarantine: &Quarantine| quarantine.entry_of_image(&app('b'), DigestVerdict::Offered, "").unwrap();
    let known = quarantine(&[("image", DigestVerdict::Offered, 'b', "")]);
    assert_eq!(known.book.image(APP), Some(&changes(&known)));
    let unseen = quarantine(&[
        ("web", DigestVerdict::Quarantined, 'b', ""),
        ("shop", DigestVerdict::Quarantined, 'b', ""),
    ]);
    let present = Present { services: [("id-web".to_owned(), None)].into(), ..Present::default() };
    assert_eq!(unseen.unseen(&present), ["id-shop"]);
}
