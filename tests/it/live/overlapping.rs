//! Runs that overlap on the real swarm: a trigger takes effect during rollouts, and the newest digest overtakes.

use std::time::{Duration, Instant};

use super::support::{Line, Service, Stage, wait};

/// To which digest Gantry has sent a service, in order.
fn sent(lines: &[Line], service: &Service<'_>) -> Vec<String> {
    let updating = lines.iter().filter(|line| line.message() == "updating" && line.is_about(service));
    updating.map(|line| line.text("to").to_owned()).collect()
}

#[test]
fn a_fix_and_another_image_overtake_a_slow_rollout_beside_a_service_that_hangs() {
    let stage = Stage::new();
    let monitor = ["--update-monitor", "1s", "--rollback-monitor", "1s"];
    let old = stage.image("web", "1", &[]);
    let webs: Vec<_> = (0..8).map(|index| stage.service(&format!("web{index}"), &old, &monitor)).collect();
    let hanging = stage.service("hanging", &stage.image("hang", "1", &[]), &monitor);
    let other = stage.service("other", &stage.image("other", "1", &[]), &monitor);
    let path = stage.write("trigger", "");
    let trigger = || _ = stage.write("trigger", "now");
    let gantry = stage.gantry().set("GANTRY_SLEEP_SECONDS", "3600").set("GANTRY_UPDATE_NUM_WORKERS", "6");
    let gantry = gantry.set("GANTRY_ROLLOUT_INITIAL_WORKERS", "2");
    let daemon = gantry.set("GANTRY_TRIGGER_PATH", path.to_str().unwrap()).start();
    daemon.wait_for("10 services: 10 up to date", 60);

    // One hangs, and the others get a slow image one after the other.
    stage.slow_image("hang", "2", 900);
    let slow = stage.slow_image("web", "2", 12);
    trigger();
    wait("two that hang or are slow", 60, || {
        (!sent(&daemon.lines(), &hanging).is_empty() && !sent(&daemon.lines(), &webs[0]).is_empty())
            .then_some(())
    });

    // Another image is not held up by either.
    let new = stage.image("other", "2", &[]);
    trigger();
    other.wait_for(&new, 60);
    assert!(!daemon.lines().iter().any(|line| line.message().contains("8 updated")), "it has waited");

    // And a fix is given to all that still wait, at once.
    let fix = stage.image("web", "3", &[]);
    trigger();
    let superseded = daemon.wait_for("the tag has moved on", 60);
    for web in &webs {
        web.wait_for(&fix, 120);
    }
    wait("the fix on all", 120, || {
        webs.iter().all(|web| web.running_images() == [fix.pinned()]).then_some(())
    });
    daemon.wait_for("under way", 60);

    let run = daemon.stop();
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.outcome(&hanging).starts_with("interrupted: "), "{run}");
    let short = |digest: &str| digest.trim_start_matches("sha256:")[..12].to_owned();
    let (slow, fix) = (short(&slow.digest), short(&fix.digest));
    let got_slow = webs.iter().filter(|web| sent(&run.lines, web).contains(&slow)).count();
    assert!((1..8).contains(&got_slow), "{got_slow} got the slow image: {run}");
    assert_eq!(superseded.0["touched"], got_slow, "{run}");
    assert!(run.says(&["was superseded by", &format!("after {got_slow} of 8")]), "{run}");
    for web in &webs {
        let images = sent(&run.lines, web);
        let is_known = images == [fix.clone()] || images == [slow.clone(), fix.clone()];
        assert!(is_known, "{}: {images:?}: {run}", web.name);
    }
    assert!(run.says(&[&format!("{} updated", 8 - got_slow)]), "the run of the fix is over: {run}");
}

/// From the wake-up to the first update of another image: two seconds are promised. Beside a rollout whose first step takes
/// 40 seconds, five are enough to tell a busy machine from a barrier.
#[test]
fn another_image_is_updated_soon_after_the_trigger_path_is_touched() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let webs: Vec<_> = (0..3).map(|index| stage.service(&format!("web{index}"), &old, &[])).collect();
    let other = stage.service("other", &stage.image("other", "1", &[]), &[]);
    let path = stage.write("trigger", "");
    let gantry = stage.gantry().set("GANTRY_SLEEP_SECONDS", "3600").set("GANTRY_UPDATE_NUM_WORKERS", "4");
    let daemon = gantry.set("GANTRY_TRIGGER_PATH", path.to_str().unwrap()).start();
    daemon.wait_for("4 services: 4 up to date", 60);
    stage.slow_image("web", "2", 40);
    stage.write("trigger", "slow");
    wait("the slow rollout", 60, || {
        webs.iter().any(|web| !sent(&daemon.lines(), web).is_empty()).then_some(())
    });

    let mut measured = Vec::new();
    for version in ["2", "3", "4"] {
        let new = stage.image("other", version, &[]);
        let (before, touched) = (sent(&daemon.lines(), &other).len(), Instant::now());
        stage.write("trigger", version);
        wait("its update", 30, || (sent(&daemon.lines(), &other).len() > before).then_some(()));
        measured.push(touched.elapsed());
        other.wait_for(&new, 60);
    }
    println!("from the trigger to the first update of another image: {measured:?}");
    let is_over = |line: &Line| line.message() == "updated" && webs.iter().any(|web| line.is_about(web));
    assert!(!daemon.lines().iter().any(is_over), "the slow rollout goes on all the while");
    assert!(measured.iter().all(|time| *time < Duration::from_secs(5)), "{measured:?}");
    daemon.stop();
}
