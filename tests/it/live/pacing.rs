//! How far an image spreads on the real swarm.

use super::support::{Service, Stage};

#[test]
fn a_broken_image_touches_the_canary_and_one_more_and_a_good_one_reaches_all() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let monitor = ["--update-monitor", "1s", "--rollback-monitor", "1s"];
    let chosen = ["--label", "gantry.rollout.canary=true"];
    let services: Vec<_> = (0..6)
        .map(|index| {
            let own = if index == 5 { &chosen[..] } else { &[] };
            stage.service(&format!("web{index}"), &old, &[&monitor[..], own].concat())
        })
        .collect();
    let gantry = stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1");
    stage.image("web", "2", &["--cmd", "echo no database; sleep 0.2; exit 3"]);
    let versions: Vec<_> = services.iter().map(Service::version).collect();

    let run = gantry.run();

    assert!(run.summary().contains("stopped after 2 of 6"), "{run}");
    assert!(run.summary().contains("2 rolled back") && run.summary().contains("4 held back"), "{run}");
    assert_eq!(run.code, Some(1), "{run}");
    let touched: Vec<usize> = (0..6).filter(|index| services[*index].version() != versions[*index]).collect();
    assert_eq!(touched, [0, 5], "the chosen canary, then the first by name: {run}");
    assert!(services.iter().all(|service| service.image() == old.pinned()), "{run}");

    let good = stage.image("web", "3", &[]);
    let run = gantry.run();
    assert_eq!((run.summary(), run.code), ("6 services: 6 updated", Some(0)), "{run}");
    assert!(services.iter().all(|service| service.image() == good.pinned()), "{run}");
}

/// Crashes where the service says so, and runs elsewhere.
const CHOOSY: [&str; 2] = [
    "--cmd",
    "[ -z \"$BROKEN\" ] || { sleep 0.2; exit 3; }; trap 'exit 0' TERM; while :; do sleep 1d & wait $!; done",
];

/// Services of which these break on the next image; they have their turns in this order.
fn choosy<'a>(stage: &'a Stage, old: &super::support::Image, broken: &[bool]) -> Vec<Service<'a>> {
    let own = |is_broken: bool| if is_broken { &["--env", "BROKEN=yes"][..] } else { &[] };
    let all = broken.iter().enumerate();
    all.map(|(index, is_broken)| stage.service(&format!("web{index}"), old, own(*is_broken))).collect()
}

#[test]
fn the_ratio_decides_how_many_failures_an_image_is_forgiven() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services = choosy(&stage, &old, &[false, true, true, false]);
    let gantry =
        stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1").set("GANTRY_UPDATE_NUM_WORKERS", "1");
    // Two of three have failed: enough for the default of a tenth, too few for nine tenths.
    stage.image("web", "2", &CHOOSY);
    let run = gantry.run();
    assert!(run.summary().contains("stopped after 3 of 4"), "{run}");
    let third = stage.image("web", "3", &CHOOSY);
    let run = gantry.set("GANTRY_ROLLOUT_MAX_FAILURE_RATIO", "0.9").run();
    assert_eq!(run.summary(), "4 services: 2 rolled back, 2 updated", "{run}");
    services[3].runs(&third, 1);
}

#[test]
fn the_minimum_decides_how_many_services_a_broken_image_reaches() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services = choosy(&stage, &old, &[true; 4]);
    let gantry = stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1");
    for (minimum, tag) in [("1", "2"), ("3", "3")] {
        stage.image("web", tag, &CHOOSY);
        let run = gantry.clone().set("GANTRY_ROLLOUT_MIN_FAILURES", minimum).run();
        assert!(run.summary().contains(&format!("stopped after {minimum} of 4")), "{run}");
        assert!(services.iter().all(|service| service.image() == old.pinned()), "{run}");
    }
}
