//! How long it takes to choose among 10,000 tags.

use std::hint::black_box;
use std::time::{Duration, Instant};

use gantry::gate::tags::{TagRules, choose};

/// As a repository of a busy project has them: versions, flavours, commits, dates, signatures.
fn tags() -> Vec<String> {
    let of = |n: usize| {
        let (major, minor, patch) = (n / 2500, n / 50 % 50, n % 50);
        match n % 5 {
            0 => format!("{major}.{minor}.{patch}"),
            1 => format!("{major}.{minor}.{patch}-alpine3.{}", n % 23),
            2 => format!("v{major}.{minor}.{patch}-rc.{}", n % 7),
            3 => format!("4.0.{minor}.{n}-ls{patch}"),
            _ => format!("sha256-{n:064x}.sig"),
        }
    };
    (0..10_000).map(of).collect()
}

/// Prints the shortest time of ten.
pub(crate) fn run() {
    println!("tags: choose among 10,000 tags (the aim is 20 ms)");
    let tags = tags();
    for (own, policy) in [
        ("1.2.5", "patch"),
        ("1.2.5", "major"),
        ("1.2.6-alpine3.4", "minor"),
        ("4.0.19.298-ls48", r"/(\d+)\.(\d+)\.(\d+)\.(\d+)-ls(\d+)/"),
    ] {
        let rules = TagRules { policy: policy.parse().unwrap(), prereleases: true };
        let mut least = Duration::MAX;
        for _ in 0..10 {
            let begun = Instant::now();
            black_box(choose(own, &rules, tags.iter().map(String::as_str))).unwrap();
            least = least.min(begun.elapsed());
        }
        println!("  {policy} from {own}: {:.2} ms", least.as_secs_f64() * 1000.0);
    }
}
