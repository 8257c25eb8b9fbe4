//! What labels and variables cost: see [`crate::cost`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hint::black_box;

use super::value::{Filters, ManifestOptions, ObjectName, Seconds, Url, Value, WordList, Zone};
use super::{Config, Environment, Filter, OnContainers, ServicePolicy};
use crate::cost::{Parser, assert_in_proportion, many};

/// Labels: one on a line.
fn labels(text: &str) -> BTreeMap<String, String> {
    text.lines().map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

fn environment(text: &str) -> Environment {
    let pairs = text.lines().map(|line| line.split_once('=').unwrap());
    pairs.map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn config() -> Config {
    Config::load(Vec::new()).unwrap().config
}

fn read_labels(text: &str) {
    let labels = labels(text);
    let _ = black_box(ServicePolicy::of(&config(), &labels));
    black_box(OnContainers::of(&config(), &BTreeMap::new(), &labels));
}

fn load(text: &str) {
    let _ = black_box(Config::load(environment(text)));
}

#[test]
fn labels_cost_in_proportion() {
    assert_in_proportion(&[
        ("unknown labels", |n| many(n, "\n", |i| format!("gantry.update.ordr{i}=x")), read_labels),
        ("other labels", |n| many(n, "\n", |i| format!("com.example.l{i}=x")), read_labels),
        ("login", |n| format!("gantry.auth.config={}", "x".repeat(n)), read_labels),
        (
            "look-up",
            |n| format!("gantry.manifest.options={}", many(n, " ", |i| format!("--x{i}"))),
            read_labels,
        ),
        (
            "options",
            |n| format!("gantry.update.options={}", many(n, " ", |i| format!("--env-add A{i}=1"))),
            read_labels,
        ),
        ("seconds", |n| format!("gantry.update.timeout_seconds={}", "1".repeat(n)), read_labels),
        ("unknown", |n| format!("gantry.{}=x", "x".repeat(n)), read_labels),
    ]);
}

#[test]
fn variables_cost_in_proportion() {
    assert_in_proportion(&[
        ("unknown variables", |n| many(n, "\n", |i| format!("GANTRY_UPDATE_ORDR{i}=x")), load),
        ("other variables", |n| many(n, "\n", |i| format!("OTHER{i}=x")), load),
        (
            "a hook's variables",
            |n| many(n, "\n", |i| format!("GANTRY_HOOK{i}=x")),
            |text| {
                let environment = environment(text);
                let _ = black_box(Config::of_cycle(&environment, environment.clone()));
            },
        ),
        ("excluded", |n| format!("GANTRY_SERVICES_EXCLUDED={}", many(n, " ", |i| format!("s{i}"))), load),
    ]);
}

#[test]
fn values_cost_in_proportion() {
    fn read<T: Value>(text: &str) {
        let _ = black_box(T::read("NAME", text));
    }
    let parsers: [Parser; 7] = [
        (
            "filters",
            |n| many(n, " ", |i| format!("label=l{i}=x")),
            |text| {
                let Ok(filters) = Filters::parse(text) else { unreachable!() };
                black_box(Filter::to_json(&filters.0));
            },
        ),
        ("words", |n| many(n, " ", |i| format!("word{i}")), read::<WordList>),
        ("look-up options", |n| many(n, " ", |i| format!("--o{i}")), read::<ManifestOptions>),
        ("name", |n| "a".repeat(n), read::<ObjectName>),
        ("seconds", |n| "1".repeat(n), read::<Seconds>),
        ("address", |n| format!("http://host/{}", "a/".repeat(n)), read::<Url>),
        ("zone", |n| format!("A{}", "/B".repeat(n)), read::<Zone>),
    ];
    assert_in_proportion(&parsers);
}
