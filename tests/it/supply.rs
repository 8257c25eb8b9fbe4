//! What comes from others: where it is from, under which licences, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences under which code may be part of the program: none asks for the source of what it is linked with.
const LICENCES: [&str; 10] = [
    "0BSD",
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
const TWICE: [&str; 5] = ["base64", "getrandom", "nom", "syn", "synstructure"];

/// What the image's file of Debian packages looks like (Dockerfile).
const DEBIAN: &str = "\
busybox-static 1:1.35.0-4+deb12u1+b1 busybox 1:1.35.0-4+deb12u1 GPL-2.0-only
ca-certificates 20230311+deb12u1 ca-certificates 20230311+deb12u1 MPL-2.0
tzdata 2025b-0+deb12u2 tzdata 2025b-0+deb12u2 public-domain
";

fn metadata() -> Value {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline"];
    let here = ["--filter-platform", "x86_64-unknown-linux-gnu", "--manifest-path"];
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(env!("CARGO")).args(arguments).args(here).arg(manifest).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages() -> Vec<Value> {
    metadata()["packages"].as_array().unwrap().clone()
}

/// The ids of the crates that Gantry needs, its tests aside.
fn needed(metadata: &Value) -> BTreeSet<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let mut found = BTreeSet::new();
    let mut rest = vec![metadata["resolve"]["root"].as_str().unwrap()];
    while let Some(id) = rest.pop() {
        if found.insert(id) {
            let node = nodes.iter().find(|node| node["id"] == id).unwrap();
            let dependencies = node["deps"].as_array().unwrap().iter();
            let is_needed =
                |of: &&Value| of["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev");
            rest.extend(dependencies.filter(is_needed).map(|of| of["pkg"].as_str().unwrap()));
        }
    }
    found
}

/// What `.ci/sbom` prints for these Debian packages, without network.
fn bill_of_materials() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packages");
    std::fs::write(&file, DEBIAN).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/sbom");
    let output = Command::new(script).arg(&file).env("CARGO_NET_OFFLINE", "true").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Whether one of the alternatives consists of licences that may be used. `A OR B`, `A AND B` and `A/B` are what crates write.
fn is_allowed(licence: &str) -> bool {
    let plain = licence.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| LICENCES.contains(&one.trim())))
}

#[test]
fn the_fuzzers_lock_file_has_each_crate_of_the_program() {
    let lock =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/Cargo.lock")).unwrap();
    let metadata = metadata();
    let needed = needed(&metadata);
    for package in metadata["packages"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap();
        let entry = format!("name = \"{}\"\nversion = \"{}\"\n", text("name"), text("version"));
        let remedy = "run `cargo metadata` in tests/fuzz, so that `make fuzz` can build";
        assert!(!needed.contains(text("id")) || lock.contains(&entry), "{entry} is missing: {remedy}");
    }
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

#[test]
fn the_bill_of_materials_names_every_crate_once() {
    let bill: Value = serde_json::from_slice(&bill_of_materials()).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let gantry = &bill["metadata"]["component"];
    let (crates, debian): (Vec<&Value>, Vec<&Value>) = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .chain([gantry])
        .partition(|component| component["purl"].as_str().unwrap().starts_with("pkg:cargo/"));
    let row = |name: &Value, version: &Value, licence: &str| {
        let licence = licence.replace('/', " OR ").split_whitespace().collect::<Vec<_>>().join(" ");
        (name.as_str().unwrap().to_owned(), version.as_str().unwrap().to_owned(), licence)
    };
    let mut listed = BTreeSet::new();
    for one in crates {
        let licence = one["licenses"][0]["expression"].as_str().unwrap();
        assert!(listed.insert(row(&one["name"], &one["version"], licence)), "twice: {one}");
        assert!(
            one["name"] == "gantry" || one["hashes"][0]["content"].as_str().unwrap().len() == 64,
            "{one}"
        );
    }
    let metadata = metadata();
    let needed = needed(&metadata);
    let expected: BTreeSet<_> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| needed.contains(package["id"].as_str().unwrap()))
        .map(|package| row(&package["name"], &package["version"], package["license"].as_str().unwrap()))
        .collect();
    let different: Vec<_> = listed.symmetric_difference(&expected).collect();
    assert!(different.is_empty(), "listed or needed, but not both: {different:?}");

    let names: Vec<&str> = debian.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["busybox-static", "ca-certificates", "tzdata"]);
    assert_eq!(debian[0]["version"], "1:1.35.0-4+deb12u1+b1");
    assert_eq!(debian[0]["licenses"][0]["expression"], "GPL-2.0-only");
}

/// `scope` is `excluded` for crates that only build others.
#[test]
fn the_bill_of_materials_tells_the_binary_from_the_build() {
    let bill: Value = serde_json::from_slice(&bill_of_materials()).unwrap();
    for (name, scope) in [("tokio", "required"), ("serde_derive", "excluded"), ("cc", "excluded")] {
        let one = bill["components"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(one["scope"], scope, "{name}");
    }
}

#[test]
fn the_bill_of_materials_is_reproducible() {
    assert!(bill_of_materials() == bill_of_materials());
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
