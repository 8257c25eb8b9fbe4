//! What the tags of repositories cost: see [`crate::cost`].

use std::hint::black_box;

use super::tags::{TagRules, choose};
use crate::cost::{assert_in_proportion, many};

fn choose_by(policy: &str, own: &str, text: &str) {
    let rules = TagRules { policy: policy.parse().unwrap(), prereleases: true };
    let _ = black_box(choose(own, &rules, text.lines()));
}

#[test]
fn lists_of_tags_cost_in_proportion() {
    assert_in_proportion(&[
        ("newer tags", |n| many(n, "\n", |i| format!("1.2.{i}")), |text| choose_by("patch", "1.2.0", text)),
        ("other lines", |n| many(n, "\n", |i| format!("1.{i}.0")), |text| choose_by("patch", "1.2.0", text)),
        (
            "other families",
            |n| many(n, "\n", |i| format!("v{i}-alpine")),
            |text| choose_by("major", "1.2.0", text),
        ),
        (
            "pre-releases",
            |n| many(n, "\n", |i| format!("1.2.3-rc.{i}.{i}.{i}")),
            |text| choose_by("major", "1.2.0", text),
        ),
        (
            "matches of a pattern",
            |n| many(n, "\n", |i| format!("1.2.{i}-ls{i}")),
            |text| choose_by(r"/(\d+)\.(\d+)\.(\d+)-ls(\d+)/", "1.2.0-ls1", text),
        ),
        ("numbers of one tag", |n| many(n, ".", |i| i.to_string()), |text| choose_by("major", "1.2", text)),
        ("words of one tag", |n| format!("1.2{}", "-r".repeat(n)), |text| choose_by("major", "1.2", text)),
        ("digits of one tag", |n| format!("x{}", "9".repeat(n)), |text| choose_by(r"/x(\d+)/", "x1", text)),
        (
            "numbers of one pre-release",
            |n| format!("1.2-rc{}", many(n, ".", |i| i.to_string())),
            |text| choose_by("major", "1.2-rc1", text),
        ),
    ]);
}
