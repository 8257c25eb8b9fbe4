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
