//! Every request of a cycle, broken in every way, over the fake swarm in paused time.

use std::sync::Arc;

use gantry::swarm::SwarmError;

use super::{FaultRun, Images, burdens, complaints, run_cycles, scene, some};
use crate::cycle::{APP, Scene};
use crate::fake::{Fault, pinned, secs};

const OTHER: &str = "registry.test/other:1";
const FINE: &str = "registry.test/fine:1";

fn prepared() -> (Images, Scene) {
    let images = Images {
        good: [pinned(APP, "old"), pinned(APP, "new")],
        broken: [pinned(OTHER, "old"), pinned(OTHER, "broken")],
        fine: pinned(FINE, "old"),
    };
    let scene = scene(&images);
    scene.registry.release(APP, "new");
    scene.registry.release(OTHER, "broken");
    scene.registry.release(FINE, "old");
    (images, scene)
}

async fn run(scene: &Scene) -> FaultRun {
    let requests = || (scene.swarm.call_log().len(), scene.registry.lookups().len());
    run_cycles(scene, Arc::new(scene.swarm.clone()), Arc::new(scene.registry.clone()), requests).await
}

#[tokio::test(start_paused = true)]
async fn any_request_to_the_engine_may_go_wrong_in_any_way() {
    let (images, calm) = prepared();
    let undisturbed = run(&calm).await;
    assert_eq!(complaints(&calm, &images, &undisturbed), Vec::<String>::new());
    let log = calm.swarm.call_log();

    let error = |text: &str| Fault::Error(SwarmError::Unavailable(text.to_owned()));
    let faults = [
        error("status 500"),
        Fault::Error(SwarmError::Unreadable("EOF while parsing".to_owned())),
        Fault::CutAfterwards,
        Fault::Hangs,
        Fault::Takes(secs(50)),
        Fault::Away(secs(60)),
    ];
    let mut found = Vec::new();
    let of_each = some(faults.len(), 2);
    for number in 0..undisturbed.requests.0 {
        for offset in 0..of_each {
            let fault = &faults[(number * of_each + offset) % faults.len()];
            let (images, scene) = prepared();
            scene.swarm.fail_at(number, fault.clone());
            let fault_run = run(&scene).await;
            let mut all = complaints(&scene, &images, &fault_run);
            all.extend(burdens(&fault_run, &undisturbed));
            if !all.is_empty() {
                found.push(format!(
                    "{fault:?} at request {number} ({:?}): {}",
                    log[number].1,
                    all.join("; ")
                ));
            }
        }
    }
    assert!(undisturbed.requests.0 > 30, "only {} requests prove nothing", undisturbed.requests.0);
    assert!(found.is_empty(), "{} courses:\n{}", found.len(), found.join("\n"));
}
