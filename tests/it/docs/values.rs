//! Messages of `docs/troubleshooting.md` that no other test reads as a whole.

use gantry::config::VARIABLES;
use gantry::cycle::Report;
use gantry::model::attention::{Attention, OtherHand};
use gantry::model::cause::Cause;
use gantry::model::finished::{NotBegun, NotBegunReason};
use gantry::model::row::{Row, State};
use gantry::registry::RegistryError;
use gantry::swarm::SwarmError;

#[test]
fn errors_and_reasons_read_as_troubleshooting_says() {
    let (registry, image) = ("registry.test".to_owned(), "registry.test/app:1".to_owned());
    let (who, cause) = ("without credentials".to_owned(), "denied".to_owned());
    let refused = RegistryError::Refused { image, registry: registry.clone(), who, cause };
    let limited = RegistryError::RateLimited { registry: registry.clone(), retry_after: None };
    let nonsense = RegistryError::Nonsense { registry, cause: "HTML".to_owned() };
    let messages = [
        (
            refused.to_string(),
            "registry.test refuses access to registry.test/app:1 without credentials: denied",
        ),
        (limited.to_string(), "registry.test limits the rate of requests"),
        (nonsense.to_string(), "registry.test answers nonsense: HTML"),
        (
            SwarmError::NotManager("a worker".to_owned()).to_string(),
            "this engine is not a swarm manager; run Gantry on a manager node (the engine says: a worker)",
        ),
        (
            Cause::Unfit { message: "--replicas".to_owned() }.to_string(),
            "an option does not fit the service: --replicas",
        ),
        (
            Attention::RollbackHangs { running: 1, desired: 2 }.to_string(),
            "its rollback does not end, look at it: 1 of 2 tasks run",
        ),
        (
            Attention::Failing { cause: "a task failed".to_owned() }.to_string(),
            "Gantry updated it in the last 24 hours, and its tasks fail: a task failed",
        ),
        (OtherHand::Updating.to_string(), "an update by a person or another program is under way"),
    ];
    for (message, expected) in messages {
        assert_eq!(message, expected);
    }
}

#[test]
fn the_report_names_what_another_hand_holds_back() {
    let image: gantry::image::ImageRef = "registry.test/app:1".parse().unwrap();
    let not_begun = NotBegun { from: image.clone(), to: image, why: NotBegunReason::TakenBack };
    let row = Row::new("web".to_owned(), String::new(), State::Held(Box::new(not_begun)));
    let report = Report { rows: vec![row], ..Report::default() };
    let lines: Vec<String> = report.lines().into_iter().map(|(_, line)| line).collect();
    let words = "held back: web: a person or another program took another service of this image back; the next cycle looks again";
    assert_eq!(lines, [words]);
}

#[test]
fn readme_shows_the_defaults_of_its_variables() {
    let readme = std::fs::read_to_string(super::root().join("README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `GANTRY_"));
    let mut checked = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let variable = VARIABLES.iter().find(|variable| variable.name == cells[1]).unwrap();
        let default = variable.default.or(variable.default_words).unwrap_or_default();
        assert_eq!(cells[2], default, "{}", variable.name);
        checked += 1;
    }
    assert_eq!(checked, 10, "README has the ten variables that people set");
}

#[test]
fn the_page_of_the_log_has_all_events_and_outcomes() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/log.md")).unwrap();
    for name in gantry::model::event::NAMES {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
