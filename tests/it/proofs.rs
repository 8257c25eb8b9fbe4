//! Whether `tests/PROOFS.md` names a live test for all that users can set.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gantry::config::{LABELS, VARIABLES};
use gantry::options::{OPTIONS, ServiceCommand};

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
pub(crate) fn place(proof: &str) -> Option<(String, &str)> {
    let (module, name) = proof.rsplit_once("::")?;
    let path = tests().join("it").join(module.replace("::", "/"));
    let text =
        fs::read_to_string(path.with_extension("rs")).or_else(|_| fs::read_to_string(path.join("mod.rs")));
    Some((text.ok()?, name))
}

/// What stands in the test of that name, where a file has one that is not ignored.
pub(crate) fn test<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split("#[test]").skip(1).chain(text.split("#[tokio::test").skip(1)).find_map(|rest| {
        let attributes = rest.lines().map(str::trim_start).take_while(|line| !line.contains("fn "));
        let is_ignored = attributes.clone().any(|line| line.starts_with("#[ignore"));
        let line = rest.lines().map(str::trim_start).nth(attributes.count())?;
        let is_it = line.trim_start_matches("async ").starts_with(&format!("fn {name}("));
        (is_it && !is_ignored).then(|| rest.split_once("\n}").map_or(rest, |(body, _)| body))
    })
}

/// Whether a text has this name, and not only a longer one.
fn speaks_of(text: &str, name: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    text.match_indices(name).any(|(at, _)| {
        let rest = &text[at + name.len()..];
        !text[..at].ends_with(is_of_name) && !rest.starts_with(is_of_name)
    })
}

/// What is wrong with a chapter that must have these rows. A proof must speak of what it proves, itself or in a helper or
/// constant of its file that it names, unless `is_elsewhere`.
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
                Some((text, called)) => match test(&text, called) {
                    Some(body) => {
                        if !is_elsewhere && !speaks_of(body, &name) && !helper_speaks_of(&text, body, &name) {
                            wrong.push(format!("{proof}: it does not speak of {name}"));
                        }
                    }
                    None => wrong.push(format!("{proof} is no test")),
                },
                None => wrong.push(format!("{proof} is no test")),
            }
        }
    }
    wrong
}

/// Whether a helper or constant of the file that a test uses speaks of this name.
fn helper_speaks_of(text: &str, body: &str, name: &str) -> bool {
    let is_used = |item: &str, kind: &str| {
        item.match_indices(kind).any(|(at, _)| {
            let rest = &item[at + kind.len()..];
            let called = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
            called.is_some_and(|called| !called.is_empty() && speaks_of(body, called))
        })
    };
    text.split("\n}").any(|item| {
        speaks_of(item, name) && ["fn ", "const ", "impl "].iter().any(|kind| is_used(item, kind))
    })
}

fn variables() -> BTreeSet<String> {
    VARIABLES.iter().map(|variable| variable.name.to_owned()).collect()
}

fn labels() -> BTreeSet<String> {
    LABELS.iter().map(|label| label.name.to_owned()).collect()
}

/// The options that users may give to one of the two commands.
fn options(command: ServiceCommand) -> BTreeSet<String> {
    OPTIONS.iter().filter(|known| command.has(known)).map(|known| format!("--{}", known.name)).collect()
}

#[test]
fn every_variable_label_and_option_is_proved_by_a_test_that_exists() {
    let wrong = [
        wrong("Variables", &variables(), false),
        wrong("Labels", &labels(), false),
        wrong("Options of an update", &options(ServiceCommand::Update), true),
        wrong("Options of the image remover", &options(ServiceCommand::Create), true),
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
    let text = "const NAME: &str = \"GANTRY_A\";\n#[test]\nfn one() {\n GANTRY_A_FILE\n}\n#[test]\n#[cfg(unix)]\n\
                fn two() {\n helper()\n}\nfn helper() {\n GANTRY_B\n}\nfn three() {}\n#[test]\n#[ignore]\nfn four() {}";
    assert!(test(text, "one").is_some() && test(text, "two").is_some());
    assert!(["three", "on", "four"].iter().all(|name| test(text, name).is_none()));
    let (one, two) = (test(text, "one").unwrap(), test(text, "two").unwrap());
    assert!(speaks_of(one, "GANTRY_A_FILE") && !speaks_of(one, "GANTRY_A"));
    assert!(!speaks_of(two, "GANTRY_B") && helper_speaks_of(text, two, "GANTRY_B"));
    assert!(!helper_speaks_of(text, one, "GANTRY_B"));
    assert!(place("live::jobs::a_service").is_some() && place("live::nowhere::a_service").is_none());
    let known = BTreeSet::from(["GANTRY_NEW".to_owned()]);
    let found = wrong("Variables", &known, false);
    assert!(found.contains(&"GANTRY_NEW has no row".to_owned()), "{found:?}");
    assert!(found.iter().any(|words| words.starts_with("TZ has a row")), "{found:?}");
}
