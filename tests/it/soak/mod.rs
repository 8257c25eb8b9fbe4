//! Hundreds of cycles in a swarm where something always goes wrong: images are pushed, good and broken ones; the
//! engine, registries and nodes fail; people change, add and remove services. After each cycle, all that must always
//! hold is looked at.
//!
//! `make soak` runs 500 cycles; the tests run a few of them. Chance is made from a seed, which is printed:
//! `GANTRY_SOAK_SEED` and `GANTRY_SOAK_CYCLES` give others.

mod chance;
mod overlapping;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry::cycle::{self, Report};
use gantry::ledger::book::{self, Book};
use gantry::ledger::entry::DigestVerdict;
use gantry::model::outcome::Outcome;
use tokio::time::{Instant, sleep};

use self::chance::Chance;
use self::world::{MIN_FAILURES, Soak, WORKERS};
use crate::fake::secs;

/// Longest time for one cycle: every update may run out of time, and some be rolled back.
const CYCLE_TIME: Duration = Duration::from_secs(4 * 3600);

/// Most labels of the ledger: its entries, the lease, a claim, and what is left behind.
const MAX_LABELS: usize = 128 + 3;

/// Most bytes of its labels.
const MAX_BYTES: usize = (32 << 10) + 1024;

/// How much more memory the process may have at the end than after a fifth of the cycles, bytes. It is what the
/// allocator keeps, the fake swarm's part included.
const MORE_MEMORY: u64 = 8 << 20;

/// Cycles of a run of which memory is judged.
const LONG: usize = 200;

fn number_from(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect(variable))
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_for_many_cycles_nothing_is_lost_and_nothing_broken_spreads() {
    let seed = number_from("GANTRY_SOAK_SEED", 20_261_125);
    let cycles = usize::try_from(number_from("GANTRY_SOAK_CYCLES", 20)).unwrap();
    println!("GANTRY_SOAK_SEED={seed} GANTRY_SOAK_CYCLES={cycles}");
    let mut soak = Soak::new(Chance::new(seed));
    let mut memory = 0;
    for number in 0..cycles {
        soak.push();
        soak.meet_people();
        soak.break_things();
        one_cycle(&mut soak, &format!("seed {seed}, cycle {number}")).await;
        soak.heal();
        // Nobody's hand that was to come during the cycle comes during the next one.
        sleep(secs(100)).await;
        soak.forget();
        if number == cycles / 5 {
            memory = resident();
        }
    }
    let growth = resident().saturating_sub(memory);
    println!("{}; memory: {memory} bytes after a fifth, {growth} bytes more at the end", soak.told());
    // Where little happens, nothing is proved. It is three to four times as much, as a rule.
    for (what, least) in [("good cycles", cycles / 2), ("updated", cycles * 2), ("rolled back", cycles / 2)] {
        assert!(soak.times(what) >= least, "only {} {what} in {cycles} cycles", soak.times(what));
    }
    assert!(cycles < LONG || growth < MORE_MEMORY, "memory grows: {growth} bytes more than {memory}");

    // Calm at last: whatever was left over is put right, and only broken images are not rolled out.
    sleep(secs(600)).await;
    for number in 0..3 {
        one_cycle(&mut soak, &format!("seed {seed}, calm cycle {number}")).await;
        soak.forget();
        sleep(secs(60)).await;
    }
    soak.is_in_order(&format!("seed {seed}, at the end"));
}

async fn one_cycle(soak: &mut Soak, when: &str) {
    let begun = Instant::now();
    let report = tokio::time::timeout(CYCLE_TIME, cycle::run(&soak.context)).await;
    let report = report.unwrap_or_else(|_| panic!("{when}: no end after {CYCLE_TIME:?}"));
    soak.take_account(&report);

    every_service_is_named_or_right(soak, &report, when);
    nothing_broken_spreads(soak, &report, when);
    the_ledger_is_bounded_and_blames_only_what_is_broken(soak, when);
    let updating = soak.swarm().most_updating();
    // People change services as well, which the swarm then updates.
    let most = WORKERS + soak.changed_by_hand();
    assert!(updating <= most, "{when}: {updating} services were updated at once, of {most}");
    let log = soak.swarm().call_log();
    let bound = 200 + 8 * usize::try_from(begun.elapsed().as_secs()).unwrap();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (_, call) in &log {
        *kinds.entry(format!("{call:?}")).or_default() += 1;
    }
    assert!(
        log.len() <= bound,
        "{when}: {} requests in {:?}: {kinds:?}: {}\n{}",
        log.len(),
        begun.elapsed(),
        report.summary(),
        lines(&report)
    );
}

fn every_service_is_named_or_right(soak: &Soak, report: &Report, when: &str) {
    if report.error.is_some() {
        return;
    }
    let mut ended: Vec<&str> = report.finished().map(|finished| finished.service.as_str()).collect();
    ended.extend(report.held().map(|row| row.service.as_str()));
    let once: BTreeSet<&str> = ended.iter().copied().collect();
    assert_eq!(once.len(), ended.len(), "{when}: somebody is named twice: {report:?}");
    // Everybody whom the report's lines name, or whose turn did not come.
    let lines = lines(report);
    let words = lines.split_whitespace().map(|word| word.trim_end_matches(':'));
    let named: BTreeSet<&str> = words.chain(once).collect();
    for finished in report.finished().filter(|finished| finished.outcome == Outcome::Updated) {
        assert!(!soak.is_broken(&finished.to.to_string()), "{when}: called updated: {finished:?}");
    }
    for (name, image) in soak.services_with_their_image() {
        let is_right = soak.swarm().see(&name).is_none_or(|service| {
            let has = service.spec.facts().image.as_deref() == Some(&image);
            has || soak.is_by_hand(&name)
        });
        assert!(
            is_right || named.contains(name.as_str()),
            "{when}: {name} has not {image}, but {:?}: {}\n{}",
            soak.swarm().see(&name),
            report.summary(),
            lines
        );
    }
}

fn nothing_broken_spreads(soak: &Soak, report: &Report, when: &str) {
    for (image, services) in soak.offers_of_broken() {
        let names: Vec<_> = services.keys().collect();
        assert!(names.len() <= MIN_FAILURES, "{when}: {image} was sent to {names:?}");
        for (name, times) in services {
            assert!(*times <= 1, "{when}: {name} was sent {image} {times} times\n{}", lines(report));
        }
    }
}

fn the_ledger_is_bounded_and_blames_only_what_is_broken(soak: &Soak, when: &str) {
    let Some(object) = soak.swarm().config("gantry") else { return };
    let bytes: usize = object.labels.iter().map(|(key, text)| key.len() + text.len()).sum();
    let count = object.labels.len();
    assert!(count <= MAX_LABELS && bytes <= MAX_BYTES, "{when}: {count} labels, {bytes} bytes");
    for entry in Book::read(&object.labels).entries() {
        let is_blamed = entry.verdict == DigestVerdict::Quarantined;
        let image = format!("{}@{}", entry.image, entry.digest);
        assert!(!is_blamed || soak.is_broken(&image), "{when}: blamed without a reason: {entry:?}");
    }
    // It is given back, or could not be, because the engine was away: the next cycle takes it up.
    let is_held = book::lease(&object.labels).is_some();
    assert!(!is_held || soak.has_trouble(), "{when}: the lease is still held: {:?}", object.labels);
}

fn lines(report: &Report) -> String {
    report.lines().into_iter().map(|(_, line)| line + "\n").collect()
}

/// What the process holds in memory, bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
