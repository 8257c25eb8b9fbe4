//! The rules of the code map (`src/lib.rs`) that a machine can check.

use std::fs;
use std::path::{Path, PathBuf};

/// What a module may know of the others. Arrows point down only.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("secret", &[]),
    ("hosts", &["image"]),
    ("image", &[]),
    ("heartbeat", &[]),
    ("tls", &[]),
    ("suggest", &[]),
    ("options", &["suggest"]),
    ("config", &["options", "secret", "suggest"]),
    ("telemetry", &["config"]),
    ("swarm", &["config", "hosts", "options", "secret"]),
    ("registry", &["config", "hosts", "image", "secret", "tls"]),
    ("ledger", &["image", "suggest", "swarm"]),
    ("cycle", &["config", "heartbeat", "hosts", "image", "ledger", "options", "registry", "secret", "swarm"]),
    ("daemon", &["config", "cycle", "heartbeat", "hosts", "image", "ledger", "registry", "swarm", "tls"]),
];

/// Files that decide: no I/O, no clock, no environment, no logging.
const PURE: &[&str] = &[
    "cycle/course.rs",
    "cycle/plan.rs",
    "cycle/quarantine.rs",
    "cycle/rank.rs",
    "cycle/report.rs",
    "cycle/resume.rs",
    "cycle/rollout/cause.rs",
    "cycle/rollout/convergence.rs",
    "cycle/rollout/guard.rs",
    "cycle/rollout/machine.rs",
    "cycle/rollout/outcome.rs",
    "cycle/rollout/pace.rs",
    "cycle/rollout/plain.rs",
    "cycle/rollout/progress.rs",
    "daemon/hooks/output.rs",
    "daemon/notification/message.rs",
    "hosts.rs",
    "image.rs",
    "ledger/book.rs",
    "ledger/codec.rs",
    "ledger/entry.rs",
    "ledger/lease.rs",
    "ledger/release.rs",
    "options/apply.rs",
    "options/edits.rs",
    "options/mod.rs",
    "options/number.rs",
    "options/syntax.rs",
    "options/table.rs",
    "options/value.rs",
    "options/words.rs",
    "registry/challenge.rs",
    "registry/endpoints.rs",
    "registry/manifest.rs",
    "registry/rate.rs",
    "registry/retry.rs",
    "secret.rs",
    "swarm/config_object.rs",
    "suggest.rs",
    "swarm/service.rs",
    "swarm/spec.rs",
    "swarm/task.rs",
];

const IMPURE: &[&str] =
    &["async ", ".await", "Instant::now", "SystemTime", "Timestamp::now", "std::env", "std::fs", "tracing::"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files below `src`, by their path there.
fn files() -> Vec<(String, String)> {
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
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
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
fn what_decides_has_no_clock_no_environment_no_log_and_does_not_wait() {
    for name in PURE {
        let text = code(&fs::read_to_string(source().join(name)).unwrap());
        for word in IMPURE {
            assert!(!text.contains(word), "{name} is meant to be pure and says {word:?}");
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
fn only_the_engine_talks_to_docker_and_only_main_ends_the_process() {
    for (name, text) in files().iter().filter(|(name, _)| !name.ends_with("tests.rs")) {
        let code = code(text);
        assert!(!code.contains("bollard::") || name.starts_with("swarm/engine/"), "{name} uses bollard");
        assert!(!code.contains("process::exit") || *name == "main.rs", "{name} ends the process");
    }
}
