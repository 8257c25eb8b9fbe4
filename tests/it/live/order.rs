//! Order, groups and stacks: which updates begin after which.

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;

use jiff::Timestamp;
use serde_json::Value;

use super::support::{Image, Line, Run, Service, Stage, wait};

/// The engine's events about services, from this moment on. It remembers 256 of all kinds only, and other tests make some.
struct ServiceEvents {
    reader: Child,
    file: PathBuf,
}

impl ServiceEvents {
    fn record(stage: &Stage) -> Self {
        let file = stage.folder.path().join("events");
        let since = Timestamp::now().as_second().to_string();
        let options = ["events", "--since", &since, "--filter", "type=service", "--format", "{{json .}}"];
        let output = File::create(&file).unwrap();
        let reader = stage.lab.docker_command(1).args(options).stdout(output).spawn().unwrap();
        Self { reader, file }
    }

    /// The services that were sent an image, one after the other.
    fn sent(&self, image: &Image) -> Vec<String> {
        let events = std::fs::read_to_string(&self.file).unwrap();
        // The last line may not be written to its end yet.
        let events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_image =
            events.filter(|event| event["Actor"]["Attributes"]["image.new"] == image.pinned().as_str());
        of_image.map(|event| event["Actor"]["Attributes"]["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for ServiceEvents {
    fn drop(&mut self) {
        let _ = self.reader.kill();
        let _ = self.reader.wait();
    }
}

/// The most of these services that were under way at once, by the log.
fn most_under_way(run: &Run, services: &[&Service<'_>]) -> usize {
    let is_own = |line: &&Line| services.iter().any(|service| line.is_about(service));
    let (mut under_way, mut most) = (0_usize, 0);
    for line in run.lines.iter().filter(is_own) {
        if line.message() == "updating" {
            under_way += 1;
            most = most.max(under_way);
        } else if line.text("event") == "update_ended" {
            under_way -= 1;
        }
    }
    assert_eq!(under_way, 0, "{run}");
    most
}

/// Options as the stage takes them.
fn texts(of: &[String]) -> Vec<&str> {
    of.iter().map(String::as_str).collect()
}

#[test]
fn an_app_waits_for_its_database_and_keeps_its_image_when_that_breaks() {
    let stage = Stage::new();
    let (data, old) = (stage.image("data", "1", &[]), stage.image("app", "1", &[]));
    let stack = ["--label", "com.docker.stack.namespace=shop"];
    let after = |name: &str| ["--label".to_owned(), format!("gantry.update.after={}", stage.name(name))];
    let with = |after: &[String; 2]| -> Vec<String> {
        stack.iter().map(|it| (*it).to_owned()).chain(after.iter().cloned()).collect()
    };
    let (app, web) = (with(&after("db")), with(&after("app")));
    let db = stage.service("db", &data, &stack);
    let app = stage.service("app", &old, &texts(&app));
    let web = stage.service("web", &old, &texts(&web));
    let bad = stage.crashing_image("data", "2");
    let new = stage.image("app", "2", &[]);

    let run = stage.gantry().run();
    assert!(run.outcome(&db).contains("rolled back"), "{run}");
    let words = format!("it comes after {}, which was rolled back", db.name);
    assert!(run.says(&["held back: ", &app.name, &words]), "{run}");
    assert!(
        run.says(&["held back: ", &web.name, &format!("it comes after {}, which is held back", app.name)]),
        "{run}"
    );
    assert_eq!((app.image(), web.image(), run.code), (old.pinned(), old.pinned(), Some(1)), "{run}");
    // The broken digest stays in quarantine, and the others stay behind it.
    let run = stage.gantry().run();
    assert!(run.says(&["held: ", &app.name, "whose newest image is in quarantine"]), "{run}");
    assert_eq!((app.image(), db.image()), (old.pinned(), data.pinned()), "{run}: {bad:?}");

    let good = stage.slow_image("data", "3", 3);
    let events = ServiceEvents::record(&stage);
    let run = stage.gantry().run();
    assert_eq!(run.code, Some(0), "{run}");
    wait("the events of all three", 10, || (events.sent(&new).len() >= 2).then_some(()));
    assert_eq!(events.sent(&good), std::slice::from_ref(&db.name));
    assert_eq!(events.sent(&new), [app.name.clone(), web.name.clone()], "{run}");
    assert_eq!(most_under_way(&run, &[&db, &app, &web]), 1, "{run}");
}

#[test]
fn members_of_a_group_are_never_under_way_together() {
    let stage = Stage::new();
    let old = stage.image("galera", "1", &[]);
    let group = ["--label", "gantry.update.group=galera"];
    let galera: Vec<_> =
        (1..=3).map(|index| stage.service(&format!("galera{index}"), &old, &group)).collect();
    let stack = ["--label", "com.docker.stack.namespace=blog"];
    let blog: Vec<_> = (1..=4).map(|index| stage.service(&format!("blog{index}"), &old, &stack)).collect();
    let gantry = stage.gantry().set("GANTRY_UPDATE_MAX_PER_STACK", "2");
    let new = stage.slow_image("galera", "2", 3);
    let run = gantry.run();
    assert_eq!((run.summary(), run.code), ("7 services: 7 updated", Some(0)), "{run}");
    assert_eq!(most_under_way(&run, &galera.iter().collect::<Vec<_>>()), 1, "{run}");
    assert_eq!(most_under_way(&run, &blog.iter().collect::<Vec<_>>()), 2, "{run}");
    for service in &galera {
        service.runs(&new, 1);
    }

    // With two at once, two are.
    stage.slow_image("galera", "3", 3);
    let run = gantry.set("GANTRY_UPDATE_GROUP_WORKERS", "2").set("GANTRY_UPDATE_MAX_PER_STACK", "1").run();
    assert_eq!(most_under_way(&run, &galera.iter().collect::<Vec<_>>()), 2, "{run}");
    assert_eq!(most_under_way(&run, &blog.iter().collect::<Vec<_>>()), 1, "{run}");

    // One fails: the others of its group keep their image.
    let kept = galera[1].image();
    stage.crashing_image("galera", "4");
    let run = stage.gantry().set("GANTRY_ROLLOUT_MIN_FAILURES", "9").run();
    let words = format!("its group galera is stopped by {}, which was rolled back", galera[0].name);
    assert!(run.says(&["held back: ", &galera[1].name, &galera[2].name, &words]), "{run}");
    assert_eq!((galera[1].image(), galera[2].image()), (kept.clone(), kept), "{run}");
}

#[test]
fn a_circle_and_an_unknown_name_are_errors_of_their_services() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let after = |name: &str| ["--label".to_owned(), format!("gantry.update.after={name}")];
    let service = |name: &str, label: &[String; 2]| stage.service(name, &old, &[&label[0], &label[1]]);
    let (a, b) = (service("a", &after(&stage.name("b"))), service("b", &after(&stage.name("a"))));
    let lost = service("lost", &after("nowhere"));
    let free = stage.service("free", &old, &[]);
    let new = stage.image("web", "2", &[]);
    let run = stage.gantry().run();
    assert_eq!(run.code, Some(1), "{run}");
    let circle =
        format!("expected no circle; these wait for one another: {} -> {} -> {}", a.name, b.name, a.name);
    assert!(run.says(&["error: ", &a.name, &circle]) && run.says(&["error: ", &b.name, &circle]), "{run}");
    assert!(run.says(&["error: ", &lost.name, "there is no service nowhere"]), "{run}");
    free.runs(&new, 1);
    assert_eq!([a.image(), b.image(), lost.image()], [(); 3].map(|()| old.pinned()));
}
