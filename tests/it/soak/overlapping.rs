//! One daemon for hours, with pushes while rollouts are under way: good images, slow ones and broken ones, of two tags.

use std::time::Duration;

use gantry::daemon::End;
use tokio::time::{Instant, sleep};

use super::chance::Chance;
use super::{LONG, MORE_MEMORY, number_from, resident};
use crate::cycle::{APP, Scene, daemon};
use crate::fake::{pinned, secs};

const OTHER: &str = "registry.test/other:1";

/// From one look to the next.
const INTERVAL: u64 = 10;

/// How long after a push a look has seen it and is over.
const SEEN: Duration = Duration::from_secs(INTERVAL + 3);

const WORKERS: usize = 4;

/// After so many pushes all come to rest, and every service must have the newest image.
const EPISODE: usize = 10;

/// How long that takes at most.
const REST: Duration = Duration::from_secs(900);

struct Play {
    scene: Scene,
    chance: Chance,
    begun: Instant,
    /// When which tag moved to which digest, since the last rest.
    pushes: Vec<(Duration, &'static str, String)>,
    number: usize,
}

fn services() -> impl Iterator<Item = (String, &'static str)> {
    let web = (0..12).map(|index| (format!("web-{index:02}"), APP));
    web.chain((0..4).map(|index| (format!("other-{index}"), OTHER)))
}

impl Play {
    fn new(chance: Chance) -> Self {
        let scene =
            Scene::new().with("GANTRY_SLEEP_SECONDS", INTERVAL).with("GANTRY_UPDATE_NUM_WORKERS", WORKERS);
        scene.registry.release(OTHER, "old");
        for (name, tag) in services() {
            let service = scene.swarm.new_service(&name).image(&pinned(tag, "old")).replicas(1);
            service.label("gantry.enable", "true").order("start-first").create();
        }
        Self { scene, chance, begun: Instant::now(), pushes: Vec::new(), number: 0 }
    }

    fn push(&mut self, tag: &'static str, is_good: bool) {
        self.number += 1;
        let name = format!("push-{}", self.number);
        let image = self.scene.swarm.image(&pinned(tag, &name));
        match if is_good { 9 } else { self.chance.below(4) } {
            0 => _ = image.crashes_after(secs(1), 3),
            1 | 2 => _ = image.starts_after(secs(5) + self.chance.seconds(40)),
            _ => {}
        }
        self.scene.registry.release(tag, &name);
        self.pushes.push((self.begun.elapsed(), tag, name));
    }

    /// No service got a digest that a finished look had seen replaced, and never more at once than there are workers.
    fn check(&self, when: &str) {
        for asked in self.scene.swarm.update_log().iter().filter(|asked| !asked.is_rollback) {
            let of_tag =
                self.pushes.iter().filter(|(_, tag, _)| asked.image().starts_with(&format!("{tag}@")));
            let before: Vec<_> = of_tag.filter(|(at, ..)| *at <= asked.at).collect();
            let old = before.iter().filter(|(at, ..)| *at + SEEN < asked.at).count();
            let mut allowed = before[old.saturating_sub(1)..].iter().map(|(_, tag, name)| pinned(tag, name));
            let (service, at) = (&asked.service, asked.at);
            assert!(allowed.any(|image| image == asked.image()), "{when}: {service} at {at:?}");
        }
        let most = self.scene.swarm.most_updating();
        assert!(most <= WORKERS, "{when}: {most} at once");
    }

    /// Pushes a while, and lets all come to rest on a good image.
    async fn episode(&mut self, when: &str) {
        for _ in 0..EPISODE {
            let tag = if self.chance.below(3) == 0 { OTHER } else { APP };
            self.push(tag, false);
            sleep(secs(1) + self.chance.seconds(60)).await;
        }
        let names = [APP, OTHER].map(|tag| {
            self.push(tag, true);
            (tag, format!("push-{}", self.number))
        });
        sleep(REST).await;
        self.check(when);
        for (service, tag) in services() {
            let newest = names.iter().find(|(of, _)| *of == tag).map(|(_, name)| pinned(tag, name)).unwrap();
            assert_eq!(self.scene.swarm.running_images(&service), [newest], "{when}: {service}");
        }
        self.pushes.clear();
        self.scene.swarm.clear_log();
        self.scene.registry.clear_log();
    }
}

#[tokio::test(start_paused = true)]
async fn pushes_during_rollouts_leave_every_service_on_the_newest_good_image() {
    let seed = number_from("GANTRY_SOAK_SEED", 20_261_125);
    let cycles = usize::try_from(number_from("GANTRY_SOAK_CYCLES", 20)).unwrap();
    let mut play = Play::new(Chance::new(seed));
    let scene = play.scene.again();
    let daemon = daemon(&scene);
    let episodes = cycles.div_ceil(EPISODE);
    let work = async {
        let mut memory = 0;
        for number in 0..episodes {
            play.episode(&format!("seed {seed}, episode {number}")).await;
            if number == episodes / 5 {
                memory = resident();
            }
        }
        scene.stop.cancel();
        resident().saturating_sub(memory)
    };
    let (end, growth) = tokio::join!(daemon.run(|_| {}), work);
    assert_eq!(end, End::Good);
    println!("{} pushes; {growth} bytes more at the end", play.number);
    assert!(cycles < LONG || growth < MORE_MEMORY, "memory grows: {growth} bytes more");
}
