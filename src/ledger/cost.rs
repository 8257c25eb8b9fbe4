//! What the labels of the ledger cost, which other programs can write: see [`crate::cost`].

use std::hint::black_box;

use super::book::{self, Book, Labels, LedgerChange};
use super::codec;
use super::entry::Subject;
use super::orders::Orders;
use super::release::{ReleaseTarget, release};
use crate::cost::{assert_in_proportion, many};

const ENTRY: &str = "digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef \
                     service=x at=2026-01-02T03:04:05Z";

/// Labels of services in quarantine: one for each line, which names the service.
fn labels(text: &str) -> Labels {
    let entry = |name: &str| {
        let subject = Subject::Service(name.to_owned());
        (codec::key(&subject), format!("quarantined image=r.test/app:1 {ENTRY}"))
    };
    text.lines().map(entry).collect()
}

fn read(text: &str) {
    black_box(codec::read(&Subject::Image("a:1".to_owned()), text));
    black_box(codec::read_party(text));
    black_box(codec::read_claim(text));
    black_box(codec::read_left(text));
    black_box(Orders::read(text));
}

#[test]
fn the_ledgers_labels_cost_in_proportion() {
    assert_in_proportion(&[
        ("words", |n| format!("offered {}", many(n, " ", |i| format!("k{i}=v"))), read),
        ("before", |n| format!("offered {ENTRY} before={}", many(n, ",", |i| i.to_string())), read),
        ("cause", |n| format!("offered {ENTRY} cause={}", "x ".repeat(n)), read),
        ("names", |n| many(n, " ", |i| format!("service{i}")), read),
        ("notes", |n| many(n, " ", |i| format!("id{i}:none>start")), read),
        (
            "entries",
            |n| many(n, "\n", |i| format!("s{i}")),
            |text| {
                let labels = labels(text);
                let surplus = Book::read(&labels).surplus();
                black_box(book::change(
                    &labels,
                    &surplus.into_iter().map(LedgerChange::Forget).collect::<Vec<_>>(),
                ));
            },
        ),
        (
            "a release",
            |n| many(n, "\n", |i| format!("s{i}")),
            |text| {
                let book = Book::read(&labels(text));
                let now = "2026-01-02T03:04:06Z".parse().unwrap();
                black_box(release(&ReleaseTarget::All, &book, &[], &[], now).to_string());
                black_box(
                    release(&ReleaseTarget::Named("other".to_owned()), &book, &[], &[], now).to_string(),
                );
            },
        ),
    ]);
}
