//! What comes from others: where it is from, under which licences, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences under which code may be part of the program: none asks for the source of what it is linked with.
const LICENCES: [&str; 9] = [
    "Apache-2.0",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "Apache-2.0 WITH LLVM-exception",
];

/// Crates of which there are two versions, as two of our dependencies do not agree.
const TWICE: [&str; 4] = ["base64", "getrandom", "syn", "synstructure"];

fn packages() -> Vec<Value> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline"];
    let here = ["--filter-platform", "x86_64-unknown-linux-gnu", "--manifest-path"];
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(env!("CARGO")).args(arguments).args(here).arg(manifest).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether one of the alternatives consists of licences that may be used. `A OR B`, `A AND B` and `A/B` are what crates write.
fn is_allowed(licence: &str) -> bool {
    let plain = licence.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| LICENCES.contains(&one.trim())))
}

#[test]
fn all_crates_are_from_the_registry_under_a_licence_that_fits_and_once() {
    let packages = packages();
    assert!(packages.len() > 100, "{}", packages.len());
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &packages {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        let (name, licence, source) = (text("name"), text("license"), text("source"));
        assert!(name == "gantry" || source.starts_with("registry+"), "{name} comes from {source:?}");
        assert!(is_allowed(licence), "{name} has the licence {licence:?}");
        versions.entry(name).or_default().insert(text("version"));
    }
    let twice: Vec<&str> = versions.iter().filter(|(_, of)| of.len() > 1).map(|(name, _)| *name).collect();
    assert_eq!(twice, TWICE);
}

/// The image's label, its licence texts and its list of packages belong together.
#[test]
fn the_image_carries_the_licences_that_its_label_names() {
    let dockerfile = include_str!("../../Dockerfile");
    let (_, rest) = dockerfile.split_once("image.licenses=\"").unwrap();
    let label = rest.split('"').next().unwrap();
    assert_eq!(label, "Apache-2.0 AND GPL-2.0-only AND LGPL-2.1-or-later AND MPL-2.0");
    let (_, rest) = dockerfile.split_once("for text in ").unwrap();
    let texts: Vec<&str> = rest.split(';').next().unwrap().split(' ').collect();
    let licences: Vec<&str> = label.split(" AND ").collect();
    for (licence, text) in licences.iter().zip(&texts) {
        assert!(licence.starts_with(text), "{licence} {text}");
    }
    assert_eq!(licences.len(), texts.len());
    let page = include_str!("../../docs/security.md");
    for licence in licences {
        assert!(page.contains(licence), "docs/security.md does not name {licence}");
    }
}

#[test]
fn a_licence_that_does_not_fit_is_told() {
    for (licence, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("MIT OR LGPL-2.1-or-later", true),
        ("GPL-3.0-only", false),
        ("MIT AND AGPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(licence), expected, "{licence}");
    }
}
