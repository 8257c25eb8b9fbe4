use proptest::prelude::*;

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::ledger::lease::Claim;

fn digest(name: u8) -> Digest {
    format!("sha256:{}", format!("{name:02x}").repeat(32)).parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn entry(subject: Subject, verdict: DigestVerdict, name: u8) -> Entry {
    Entry {
        service_id: match &subject {
            Subject::Service(name) => format!("id-{name}"),
            Subject::Image(_) | Subject::Tag(_) => String::new(),
        },
        subject,
        verdict,
        image: "app:1".to_owned(),
        digest: digest(name),
        at: at(0),
        node: "node1".to_owned(),
        before: Vec::new(),
        had: Vec::new(),
        stopped: Vec::new(),
        flips: 0,
        cause: String::new(),
    }
}

fn service(name: &str, verdict: DigestVerdict, digest: u8) -> Entry {
    entry(Subject::Service(name.to_owned()), verdict, digest)
}

fn image(verdict: DigestVerdict, digest: u8) -> Entry {
    entry(Subject::Image("app:1".to_owned()), verdict, digest)
}

fn labels(changes: &[LedgerChange]) -> Labels {
    change(&Labels::new(), changes)
}

#[test]
fn a_service_that_was_made_anew_is_another_one() {
    let book = Book::read(&labels(&[LedgerChange::Put(service("web", DigestVerdict::Quarantined, 1))]));
    assert!(book.service("web", "id-web").is_some());
    assert!(book.service("web", "id-of-another").is_none());
}

#[test]
fn what_is_in_quarantine_runs_out_and_what_a_person_did_does_not() {
    let hour = Some(Duration::from_secs(3_600));
    for (verdict, duration, seconds, holds_back) in [
        (DigestVerdict::Quarantined, None, 999_999, true),
        (DigestVerdict::Quarantined, hour, 3_599, true),
        (DigestVerdict::Quarantined, hour, 3_600, false),
        (DigestVerdict::LeftByHand, hour, 999_999, true),
        (DigestVerdict::Released, None, 0, false),
        (DigestVerdict::Offered, None, 0, false),
    ] {
        let entry = service("web", verdict, 1);
        assert_eq!(entry.holds_back(&digest(1), at(seconds), duration), holds_back, "{verdict:?} {seconds}");
        assert!(!entry.holds_back(&digest(2), at(seconds), duration), "another digest");
    }
}

#[test]
fn an_image_in_quarantine_stays_there_when_its_digest_is_offered_and_leaves_with_another_digest() {
    let stopped = LedgerChange::Put(image(DigestVerdict::Quarantined, 1));
    let offered = |name| LedgerChange::Put(image(DigestVerdict::Offered, name));
    let verdicts = |changes: &[LedgerChange]| {
        let book = Book::read(&labels(changes));
        let entry = book.image("app:1").unwrap();
        (entry.verdict, entry.digest.clone(), entry.has_gone_back())
    };
    assert_eq!(verdicts(&[stopped.clone(), offered(1)]), (DigestVerdict::Quarantined, digest(1), false));
    assert_eq!(verdicts(&[stopped.clone(), offered(2)]), (DigestVerdict::Offered, digest(2), false));
    assert_eq!(verdicts(&[offered(1), offered(2), offered(1)]), (DigestVerdict::Offered, digest(1), true));
    let released = LedgerChange::Put(image(DigestVerdict::Released, 1));
    assert_eq!(verdicts(&[stopped, released, offered(1)]), (DigestVerdict::Offered, digest(1), false));
}

#[test]
fn entries_have_their_time() {
    let all = [
        service("moved", DigestVerdict::Quarantined, 1),
        service("stays", DigestVerdict::Quarantined, 2),
        service("gone", DigestVerdict::Quarantined, 2),
        service("has-it", DigestVerdict::Released, 2),
        service("waits", DigestVerdict::Released, 2),
        image(DigestVerdict::Offered, 1),
    ];
    let book = Book::read(&labels(&all.clone().map(LedgerChange::Put)));
    let present = Present {
        tags: [("app:1".to_owned(), digest(2))].into(),
        services: [("id-has-it".to_owned(), Some(digest(2))), ("id-waits".to_owned(), Some(digest(1)))]
            .into(),
        gone: ["id-gone".to_owned()].into(),
    };
    let names = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.service_id).collect::<Vec<_>>();
    assert_eq!(names(book.outdated(&present)), ["id-gone", "id-has-it", "id-moved"]);
    // Whatever has run out is remembered on: what the services show speaks against the digest as before.
    assert!(book.outdated(&Present::default()).is_empty());
}

#[test]
fn when_there_is_no_room_those_that_say_least_go_first_and_then_the_oldest() {
    let mut changes: Vec<LedgerChange> = (0..200)
        .map(|number| {
            let one = service(&format!("site-{number:03}"), DigestVerdict::Quarantined, 1);
            LedgerChange::Put(Entry { at: at(number), cause: "x".repeat(120), ..one })
        })
        .collect();
    changes.push(LedgerChange::Put(Entry { at: at(500), ..image(DigestVerdict::Offered, 1) }));
    let stopped = entry(Subject::Image("other:1".to_owned()), DigestVerdict::Quarantined, 1);
    changes.push(LedgerChange::Put(Entry { at: at(-500), ..stopped }));
    let all = labels(&changes);
    let surplus = Book::read(&all).surplus();
    assert!(matches!(surplus[0].verdict, DigestVerdict::Offered), "{:?}", surplus[0]);
    assert_eq!(surplus[1].service_id, "id-site-000");
    let kept = change(&all, &surplus.into_iter().map(LedgerChange::Forget).collect::<Vec<_>>());
    let bytes: usize = kept.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(kept.len() <= MAX_ENTRIES && bytes <= MAX_BYTES, "{} {bytes}", kept.len());
    assert!(kept.contains_key("gantry.service.site-199") && kept.contains_key("gantry.image.other:1"));
    assert!(Book::read(&kept).surplus().is_empty());
}

#[test]
fn a_damaged_entry_is_told_and_kept_as_it_is_until_there_is_a_new_one() {
    let before: Labels = [
        ("gantry.service.web".to_owned(), "quarantined, I think".to_owned()),
        ("gantry.image.app:1".to_owned(), String::new()),
        ("com.example.owner".to_owned(), "ops".to_owned()),
    ]
    .into();
    let book = Book::read(&before);
    assert_eq!(book.damaged, ["gantry.image.app:1", "gantry.service.web"]);
    assert_eq!(book.entries().count(), 0);
    let other = change(&before, &[LedgerChange::Put(service("shop", DigestVerdict::Quarantined, 1))]);
    assert!(before.iter().all(|(key, value)| other[key] == *value), "{other:?}");
    let new = change(&before, &[LedgerChange::Put(service("web", DigestVerdict::Quarantined, 1))]);
    assert!(Book::read(&new).service("web", "id-web").is_some());
}

#[test]
fn the_lease_is_two_labels_beside_the_entries() {
    let entries = labels(&[LedgerChange::Put(service("web", DigestVerdict::Quarantined, 1))]);
    let party = Party { id: "ab12".to_owned(), who: "gantry".to_owned(), ..Party::default() };
    assert_eq!(lease(&entries), None);
    let mut taken = with_lease(entries.clone(), Some(&party));
    assert_eq!(lease(&taken), Some(Lease { holder: party.clone(), claim: None }));
    let claim = Claim { by: "cd34".to_owned(), number: 7 };
    taken.insert(codec::CLAIM.to_owned(), codec::write_claim(&claim));
    assert_eq!(lease(&taken), Some(Lease { holder: party.clone(), claim: Some(claim) }));
    assert_eq!(lease(&with_lease(taken.clone(), Some(&party))).unwrap().claim, None);
    assert_eq!(with_lease(taken, None), entries);
    let odd = Labels::from([(codec::LEASE.to_owned(), "me".to_owned())]);
    assert_eq!(lease(&odd).unwrap().holder.id, "me", "whatever is there, somebody holds it");
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let verdict = prop_oneof![
        Just(DigestVerdict::Quarantined),
        Just(DigestVerdict::LeftByHand),
        Just(DigestVerdict::Released),
        Just(DigestVerdict::Offered)
    ];
    (prop::option::of(0..6_u8), verdict, 0..4_u8, 0..100_i64).prop_map(|(name, verdict, digest, seconds)| {
        let made = match name {
            Some(name) => service(&format!("web-{name}"), verdict, digest),
            None => image(verdict, digest),
        };
        Entry { at: at(seconds), ..made }
    })
}

fn any_change() -> impl Strategy<Value = LedgerChange> {
    prop_oneof![any_entry().prop_map(LedgerChange::Put), any_entry().prop_map(LedgerChange::Forget)]
}

proptest! {
    #[test]
    fn changing_labels_and_changing_what_is_remembered_is_the_same(
        first in prop::collection::vec(any_change(), 0..20),
        second in prop::collection::vec(any_change(), 0..20),
    ) {
        let before = labels(&first);
        let mut book = Book::read(&before);
        for change in &second {
            book.apply(change);
        }
        prop_assert_eq!(Book::read(&change(&before, &second)), book);
    }

    #[test]
    fn of_two_that_write_at_once_about_different_subjects_nothing_is_lost(
        mine in prop::collection::vec(any_entry(), 0..20),
        theirs in prop::collection::vec(any_entry(), 0..20),
    ) {
        let theirs: Vec<Entry> =
            theirs.into_iter().filter(|entry| mine.iter().all(|own| own.subject != entry.subject)).collect();
        let put = |entries: &[Entry]| entries.iter().cloned().map(LedgerChange::Put).collect::<Vec<_>>();
        let one_way = change(&labels(&put(&mine)), &put(&theirs));
        prop_assert_eq!(change(&labels(&put(&theirs)), &put(&mine)), one_way);
    }

    #[test]
    fn no_labels_make_reading_panic(keys in prop::collection::btree_map("gantry\\.(service|image|lease)?\\PC{0,10}", "\\PC{0,40}", 0..10)) {
        let _ = (Book::read(&keys).surplus(), lease(&keys));
    }
}

#[test]
fn what_is_left_behind_can_be_read_again_and_is_forgotten_without_a_trace() {
    let labels = Labels::from([("owner".to_owned(), "alice".to_owned())]);
    let services = BTreeSet::from(["web.1".to_owned(), "shop_api-2".to_owned()]);
    for (since, written) in [(None, "shop_api-2 web.1"), (Some(7), "since=7 shop_api-2 web.1")] {
        let behind = LeftBehind { since, services: services.clone() };
        let with = with_left(labels.clone(), &behind);
        assert_eq!(left(&with), behind);
        assert_eq!(with[codec::LEFT], written);
        assert_eq!(Book::read(&with), Book::default(), "no entry, and no damaged one");
        assert_eq!(with_left(with, &LeftBehind::default()), labels);
    }
    assert_eq!(left(&labels), LeftBehind::default());
}

#[test]
fn actions_that_wait_are_no_more_than_the_ledger_keeps() {
    let action =
        |second: i64| LedgerChange::Steered(SteeringAction::new(at(second), "ci", "asked for a run"));
    let put = LedgerChange::Put(service("web", DigestVerdict::Quarantined, 1));
    let mut waiting = vec![put.clone()];
    for second in 0..10_000 {
        waiting.push(action(second));
        drop_old_actions(&mut waiting);
    }
    assert_eq!(waiting.len(), 1 + MAX_ACTIONS);
    assert_eq!((&waiting[0], waiting.last()), (&put, Some(&action(9_999))));
    // What is written is the same as if all had waited.
    let all: Vec<LedgerChange> = std::iter::once(put).chain((0..10_000).map(action)).collect();
    assert_eq!(change(&Labels::new(), &waiting), change(&Labels::new(), &all));
}
