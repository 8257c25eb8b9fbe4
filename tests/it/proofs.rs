//! Whether `tests/PROOFS.md` names a live test for all that users can set.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gantry::config::{LABELS, VARIABLES};
use gantry::options::{Command, OPTIONS};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The rows of one chapter: what is proved, and the tests that do it.
fn rows(chapter: &str) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(tests().join("PROOFS.md")).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {chapter}\n")).unwrap_or_else(|| panic!("no {chapter}"));
    let rows = rest.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    let mut found = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let proofs = cells[1].split('`').filter(|part| part.starts_with("live::")).map(str::to_owned);
        let name = cells[0].trim_matches('`').to_owned();
        assert!(found.insert(name, proofs.collect()).is_none(), "twice: {row}");
    }
    found
}

/// The file with a test of that path, and the test's name.
fn place(proof: &str) -> Option<(String, &str)> {
    let (module, name) = proof.rsplit_once("::")?;
    let path = tests().join("it").join(module.replace("::", "/"));
    let text =
        fs::read_to_string(path.with_extension("rs")).or_else(|_| fs::read_to_string(path.join("mod.rs")));
    Some((text.ok()?, name))
}

/// Whether a file has a test of that name.
fn has_test(text: &str, name: &str) -> bool {
    text.split("#[test]").skip(1).chain(text.split("#[tokio::test").skip(1)).any(|rest| {
        rest.lines()
            .map(str::trim_start)
            .find(|line| line.starts_with("fn ") || line.starts_with("async fn "))
            .is_some_and(|line| line.trim_start_matches("async ").starts_with(&format!("fn {name}(")))
    })
}

/// What is wrong with a chapter that must have these rows. A proof's file must speak of what it proves, unless
/// `is_elsewhere`.
fn wrong(chapter: &str, known: &BTreeSet<String>, is_elsewhere: bool) -> Vec<String> {
    let rows = rows(chapter);
    let mut wrong: Vec<String> = known
        .iter()
        .filter(|name| !rows.contains_key(*name))
        .map(|name| format!("{name} has no row"))
        .collect();
    for (name, proofs) in rows {
        if !known.contains(&name) {
            wrong.push(format!("{name} has a row, and the code does not know it"));
        }
        for proof in proofs {
            match place(&proof) {
                Some((text, called)) if has_test(&text, called) => {
                    if !is_elsewhere && !text.contains(&name) {
                        wrong.push(format!("{proof}: its file does not speak of {name}"));
                    }
                }
                _ => wrong.push(format!("{proof} is no test")),
            }
        }
    }
    wrong
}

fn variables() -> BTreeSet<String> {
    VARIABLES.iter().map(|variable| variable.name.to_owned()).collect()
}

fn labels() -> BTreeSet<String> {
    LABELS.iter().map(|label| label.name.to_owned()).collect()
}

/// The options that users may give to one of the two commands.
fn options(command: Command) -> BTreeSet<String> {
    OPTIONS.iter().filter(|known| command.has(known)).map(|known| format!("--{}", known.name)).collect()
}

#[test]
fn every_variable_label_and_option_is_proved_by_a_test_that_exists() {
    let wrong = [
        wrong("Variables", &variables(), false),
        wrong("Labels", &labels(), false),
        wrong("Options of an update", &options(Command::Update), true),
        wrong("Options of the image remover", &options(Command::Create), true),
    ];
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "tests/PROOFS.md: {wrong:#?}");
}

#[test]
fn nothing_is_without_a_proof() {
    let chapters = ["Variables", "Labels", "Options of an update", "Options of the image remover"];
    let missing: Vec<String> = chapters
        .iter()
        .flat_map(|chapter| rows(chapter))
        .filter_map(|(name, proofs)| proofs.is_empty().then_some(name))
        .collect();
    assert!(missing.is_empty(), "{} without a proof: {missing:#?}", missing.len());
}

#[test]
fn a_row_without_a_test_or_with_a_wrong_one_would_be_found() {
    let text = "#[test]\nfn one() {}\n#[test]\n#[cfg(unix)]\nfn two() {}\nfn three() {}";
    assert!(has_test(text, "one") && has_test(text, "two"));
    assert!(!has_test(text, "three") && !has_test(text, "on"));
    assert!(place("live::jobs::a_service").is_some() && place("live::nowhere::a_service").is_none());
    let known = BTreeSet::from(["GANTRY_NEW".to_owned()]);
    let found = wrong("Variables", &known, false);
    assert!(found.contains(&"GANTRY_NEW has no row".to_owned()), "{found:?}");
    assert!(found.iter().any(|words| words.starts_with("TZ has a row")), "{found:?}");
}
