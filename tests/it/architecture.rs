//! The rules of the code map (`src/lib.rs`) that a machine can check.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a module may know of the others. Arrows point down only.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("secret", &[]),
    ("process_group", &[]),
    ("words", &[]),
    ("proxy", &["secret"]),
    ("hosts", &["image", "proxy"]),
    ("image", &[]),
    ("heartbeat", &[]),
    ("gate", &["cost", "image", "words"]),
    ("meters", &[]),
    ("tls", &[]),
    ("local_socket", &[]),
    ("descriptors", &[]),
    // The parsers of foreign text, for `make fuzz`.
    (
        "fuzz",
        &["config", "daemon", "gate", "image", "ledger", "options", "proxy", "registry", "swarm", "words"],
    ),
    ("suggest", &["words"]),
    // The test that text costs in proportion to its length.
    ("cost", &["image", "proxy", "words"]),
    ("options", &["cost", "suggest", "words"]),
    ("config", &["cost", "gate", "image", "options", "proxy", "secret", "suggest", "words"]),
    ("telemetry", &["config", "words"]),
    (
        "swarm",
        &["config", "descriptors", "heartbeat", "hosts", "meters", "options", "proxy", "secret", "words"],
    ),
    (
        "registry",
        &[
            "back_off",
            "config",
            "cost",
            "descriptors",
            "hosts",
            "image",
            "meters",
            "process_group",
            "proxy",
            "secret",
            "tls",
            "words",
        ],
    ),
    ("ledger", &["cost", "gate", "image", "suggest", "swarm", "words"]),
    ("back_off", &[]),
    ("model", &["config", "gate", "image", "ledger", "options", "registry", "swarm", "words"]),
    ("context", &["config", "gate", "heartbeat", "image", "ledger", "model", "registry", "swarm"]),
    (
        "rollout",
        &[
            "back_off", "config", "context", "gate", "image", "ledger", "model", "options", "registry",
            "swarm", "words",
        ],
    ),
    (
        "cycle",
        &[
            "back_off",
            "config",
            "context",
            "gate",
            "heartbeat",
            "hosts",
            "image",
            "ledger",
            "model",
            "options",
            "process_group",
            "registry",
            "rollout",
            "secret",
            "swarm",
            "words",
        ],
    ),
    (
        "daemon",
        &[
            "config",
            "context",
            "cycle",
            "descriptors",
            "gate",
            "heartbeat",
            "hosts",
            "image",
            "ledger",
            "local_socket",
            "meters",
            "model",
            "process_group",
            "proxy",
            "registry",
            "rollout",
            "secret",
            "swarm",
            "tls",
            "words",
        ],
    ),
    // A process of its own beside the daemon's: it knows the daemon by its API alone.
    ("cli", &["config", "local_socket", "secret", "suggest", "tls", "words"]),
];

/// What a file that decides has nothing of: no I/O, no clock, no logging. Its first lines say that it is one: "Pure."
/// What no file may call stands in `.clippy.toml`.
const IMPURE: &[&str] = &["async ", ".await", "Instant::now", "Timestamp::now", "std::fs", "tracing::"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files below `src`, by their path there.
pub(crate) fn files() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&source(), &mut found);
    let name = |path: &Path| path.strip_prefix(source()).unwrap().to_string_lossy().into_owned();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The code of a file without its tests and comments.
pub(crate) fn code(text: &str) -> String {
    const TEST: &str = "#[cfg(test)]";
    let mut code = String::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if line.trim() != TEST {
            code.push_str(line);
            code.push('\n');
            continue;
        }
        // What follows is a line that names another file, or something in braces, of the same indentation.
        let indentation = &line[..line.len() - TEST.len()];
        let mut item = lines.by_ref().skip_while(|line| line.trim_start().starts_with("#["));
        if item.next().is_some_and(|line| !line.ends_with(';')) {
            let end = format!("{indentation}}}");
            lines.by_ref().find(|line| *line == end).expect("an item of the tests that ends");
        }
    }
    code
}

/// Whether the first lines of a file say that it is pure.
fn is_pure(text: &str) -> bool {
    let header = text.lines().take_while(|line| line.starts_with("//!"));
    header.flat_map(str::split_whitespace).any(|word| matches!(word, "Pure." | "Pure:"))
}

#[test]
fn the_code_of_a_file_is_all_but_its_tests_and_comments() {
    let text = "//! Pure.\nmod a;\n#[cfg(test)]\nmod samples;\nmod b;\n    #[cfg(test)]\n    fn of_test() {\n        c();\n    }\n\
                d(); // e\n/// f\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    g();\n}\nh();\n";
    assert_eq!(code(text), "mod a;\nmod b;\nd(); // e\nh();\n");
    assert!(is_pure(text) && !is_pure("//! Impure.\n") && !is_pure("fn f() {} // Pure.\n"));
}

#[test]
fn arrows_point_down_only() {
    let mut wrong = Vec::new();
    for (name, text) in files().iter().filter(|(name, _)| !name.ends_with("tests.rs")) {
        let module = name.split(['/', '.']).next().unwrap();
        if ["main", "lib"].contains(&module) {
            continue;
        }
        let (_, may_know) = MAY_KNOW
            .iter()
            .find(|(known, _)| *known == module)
            .unwrap_or_else(|| panic!("{module} is not in the table: say what it may know"));
        for part in code(text).split("crate::").skip(1) {
            let used: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if used != module && !may_know.contains(&used.as_str()) {
                wrong.push(format!("{name} knows {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_decides_has_no_clock_no_log_and_does_not_wait() {
    let files = files();
    let pure: Vec<_> = files.iter().filter(|(_, text)| is_pure(text)).collect();
    assert!(pure.len() > 45, "only {} files say that they are pure", pure.len());
    for (name, text) in pure {
        let code = code(text);
        for word in IMPURE {
            assert!(!code.contains(word), "{name} is meant to be pure and says {word:?}");
        }
    }
}

#[test]
fn what_a_run_does_is_told_as_events() {
    // The image remover is a program of its own, whose log is its answer.
    let tellers =
        |name: &str| ["cycle/", "rollout/", "context/", "model/"].iter().any(|room| name.starts_with(room));
    for (name, text) in files().iter().filter(|(name, _)| tellers(name) && name != "cycle/remover.rs") {
        for level in ["info", "warn", "error"] {
            assert!(
                !code(text).contains(&format!("tracing::{level}!")),
                "{name} logs; emit an event instead"
            );
        }
    }
}

#[test]
fn the_pipeline_is_one_page_and_no_file_is_a_book() {
    for (name, text) in files() {
        let lines = text.lines().count();
        // Tables of scenes may be longer than what they test.
        let is_test = ["tests.rs", "over_time.rs"].iter().any(|end| name.ends_with(end));
        let limit = match name.as_str() {
            "cycle/mod.rs" => 100,
            _ if is_test => 600,
            _ => 500,
        };
        assert!(lines <= limit, "{name} has {lines} lines, more than {limit}");
    }
}

#[test]
fn only_the_engine_talks_to_docker() {
    for (name, text) in files().iter().filter(|(name, _)| !name.ends_with("tests.rs")) {
        let code = code(text);
        assert!(!code.contains("bollard::") || name.starts_with("swarm/engine/"), "{name} uses bollard");
    }
}

/// The modules that only tests have, by their path below `src` without an extension.
fn test_modules(files: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in files {
        let path = name.trim_end_matches(".rs");
        let parent = path.strip_suffix("/mod").unwrap_or(path);
        let parent = if ["lib", "main"].contains(&parent) { "" } else { parent };
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line == "#[cfg(test)]"
                && let Some(item) = lines.by_ref().find(|line| !line.starts_with("#["))
                && let Some(module) = item.strip_suffix(';').and_then(|item| item.split("mod ").nth(1))
            {
                found.push(format!("{parent}/{module}").trim_start_matches('/').to_owned());
            }
        }
    }
    found
}

/// The type that a line defines. Types of `impl` blocks are not looked at: their names are those of a trait.
fn defined_type(line: &str) -> Option<&str> {
    let line = Some(line).filter(|line| !line.starts_with(' '))?;
    let visible = line.strip_prefix("pub").unwrap_or(line);
    let visible = match visible.strip_prefix('(') {
        Some(scope) => scope.split_once(')')?.1,
        None => visible,
    };
    let (kind, rest) = visible.trim_start().split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    ["struct", "enum", "trait", "type"].contains(&kind).then_some(name)
}

#[test]
fn a_definition_of_a_type_is_found_in_its_line() {
    for (line, name) in [
        ("struct Plain;", Some("Plain")),
        ("pub enum Public<'a> {", Some("Public")),
        ("pub(in crate::rollout) trait Scoped: Send {", Some("Scoped")),
        ("pub(super) type Alias = u64;", Some("Alias")),
        ("    type Err = String;", None),
        ("impl Plain {", None),
        ("structure!(Plain);", None),
    ] {
        assert_eq!(defined_type(line), name, "{line}");
    }
}

#[test]
fn each_type_has_a_name_of_its_own() {
    let files = files();
    let test_modules = test_modules(&files);
    let is_of_tests = |name: &str| {
        let path = name.trim_end_matches(".rs");
        test_modules.iter().any(|module| {
            path.strip_prefix(module.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    assert!(is_of_tests("model/order/tests.rs") && is_of_tests("rollout/every_interleaving/world.rs"));
    let mut types: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, text) in files.iter().filter(|(name, _)| !is_of_tests(name)) {
        // The engine's JSON is read in several places, each with the part that it needs under the API's name.
        let code = code(text);
        let defined = code.lines().filter_map(defined_type).filter(|defined| !defined.ends_with("Json"));
        defined.for_each(|defined| types.entry(defined.to_owned()).or_default().push(name));
    }
    assert!(types.len() > 250, "only {} types were found", types.len());
    let shared: Vec<_> = types.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(shared.is_empty(), "several types share a name: {shared:#?}");
}
