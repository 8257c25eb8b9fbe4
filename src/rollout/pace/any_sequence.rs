//! What holds whatever becomes of the updates, in whatever order they end.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const BAD: Effect = Effect::Failure { blames_image: true };

/// What a rollout of all images came to.
struct Rolled {
    pace: Pace,
    /// In the order in which they began.
    begun: Vec<usize>,
    rounds: usize,
}

/// An update that is to be rolled out, and what becomes of it.
#[derive(Clone, Copy, Debug)]
struct Fate {
    image: usize,
    evidence: Evidence,
    effect: Effect,
}

fn limits() -> impl Strategy<Value = Limits> {
    let ratio = prop_oneof![Just(0.0), Just(0.1), Just(0.5), Just(1.0), 0.0..=1.0];
    (1..60_usize, 1..60_usize, 1..10_usize, ratio).prop_map(|(workers, initial, min_failures, ratio)| {
        Limits { workers, initial, min_failures, max_failure_ratio: ratio }
    })
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![
        6 => Just(Effect::Success),
        2 => any::<bool>().prop_map(|blames_image| Effect::Failure { blames_image }),
        1 => Just(Effect::Setback),
        1 => Just(Effect::Sent),
        1 => Just(Effect::Nothing),
    ]
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let evidence = prop_oneof![
        7 => Just(Evidence::Tasks),
        1 => Just(Evidence::AilingTasks),
        1 => Just(Evidence::Nothing),
        1 => Just(Evidence::NothingYet),
    ];
    vec(
        (0..5_usize, evidence, effect()).prop_map(|(image, evidence, effect)| Fate {
            image,
            evidence,
            effect,
        }),
        0..200,
    )
}

fn pace(limits: Limits, fates: &[Fate]) -> Pace {
    tests::paced(limits, fates.iter().map(|fate| (fate.image.to_string(), fate.evidence)))
}

/// Rolls out, ending what is under way in the order that `picks` say, and checks what must hold all along.
fn roll_out(limits: Limits, fates: &[Fate], picks: &[Index]) -> Rolled {
    let mut pace = pace(limits, fates);
    let mut under_way: Vec<usize> = Vec::new();
    let mut begun = Vec::new();
    let mut picks = picks.iter().cycle();
    loop {
        loop {
            let with_room = pace.images.values().filter(|image| image.has_room(&limits));
            let fewest = with_room.map(|image| image.in_flight).min();
            let Some(number) = pace.begin(|_| true) else { break };
            let image = &pace.images[&pace.places[&number].0];
            assert_eq!(Some(image.in_flight - 1), fewest, "another image had fewer under way");
            assert!(!begun.contains(&number), "{number} began twice");
            assert!(!pace.is_stopped(number), "{number} began after the stop");
            begun.push(number);
            under_way.push(number);
            assert!(under_way.len() <= limits.workers);
        }
        if under_way.is_empty() {
            return Rolled { pace, begun, rounds: 0 };
        }
        let number = under_way.swap_remove(picks.next().map_or(0, |pick| pick.index(under_way.len())));
        pace.end(number, fates[number].effect);
    }
}

/// Rolls out in rounds, as if all updates took the same time.
fn roll_out_in_rounds(limits: Limits, fates: &[Fate]) -> Rolled {
    let mut pace = pace(limits, fates);
    let mut begun = Vec::new();
    for rounds in 0.. {
        let round: Vec<usize> = std::iter::from_fn(|| pace.begin(|_| true)).collect();
        if round.is_empty() {
            return Rolled { pace, begun, rounds };
        }
        for number in &round {
            pace.end(*number, fates[*number].effect);
        }
        begun.extend(round);
    }
    unreachable!()
}

fn all_of(image: usize, services: usize, effect: Effect) -> impl Iterator<Item = Fate> {
    std::iter::repeat_n(Fate { image, evidence: Evidence::Tasks, effect }, services)
}

fn ceil_log2(number: usize) -> usize {
    number.next_power_of_two().trailing_zeros() as usize
}

proptest! {
    /// Everything is begun, unless its own image was stopped, or was not proved where nothing would be seen of it; nothing
    /// twice, never more than the workers.
    #[test]
    fn nothing_starves(limits in limits(), fates in fates(), picks in vec(any::<Index>(), 1..50)) {
        let rolled = roll_out(limits, &fates, &picks);
        for number in 0..fates.len() {
            let (image, evidence) = rolled.pace.places[&number];
            let is_unproved = !evidence.has_tasks() && rolled.pace.images[&image].succeeded == 0;
            let is_only_of_such = evidence == Evidence::Nothing && rolled.pace.images[&image].watchable == 0;
            prop_assert!(
                rolled.begun.contains(&number)
                    || rolled.pace.is_stopped(number)
                    || (is_unproved && !is_only_of_such),
                "{number} was forgotten"
            );
        }
    }

    /// At full width, each round is shared evenly by the images that have enough left for it.
    #[test]
    fn images_share_the_workers_evenly(workers in 1..60_usize, services in vec(1..150_usize, 2..6)) {
        let limits = Limits { workers, initial: workers, min_failures: 2, max_failure_ratio: 0.1 };
        let of = |image: usize, n: usize| all_of(image, n, Effect::Success);
        let fates: Vec<Fate> = services.iter().enumerate().flat_map(|(image, n)| of(image, *n)).collect();
        let mut pace = pace(limits, &fates);
        let mut left = services;
        while left.iter().any(|left| *left > 0) {
            let round: Vec<usize> = std::iter::from_fn(|| pace.begin(|_| true)).collect();
            let mut shares = vec![0; left.len()];
            for number in &round {
                shares[fates[*number].image] += 1;
                pace.end(*number, Effect::Success);
            }
            prop_assert_eq!(round.len(), workers.min(left.iter().sum()), "workers stand idle");
            let most = shares.iter().copied().max().unwrap_or_default();
            for (share, left) in shares.iter().zip(&mut left) {
                prop_assert!(share + 1 >= most || share == left, "{share} of {most}");
                *left -= share;
            }
        }
    }

    #[test]
    fn a_stop_has_its_reason_and_counts_right(
        limits in limits(), fates in fates(), picks in vec(any::<Index>(), 1..50)
    ) {
        let rolled = roll_out(limits, &fates, &picks);
        for stop in tests::stopped(&rolled.pace) {
            let image: usize = stop.image.parse().unwrap();
            let of_image = |number: &&usize| fates[**number].image == image;
            let touched: Vec<_> = rolled.begun.iter().filter(of_image).collect();
            let failed = touched.iter().filter(|n| matches!(fates[***n].effect, Effect::Failure { .. }));
            let (ailing, others): (Vec<usize>, Vec<usize>) =
                failed.map(|n| **n).partition(|n| fates[*n].evidence == Evidence::AilingTasks);
            prop_assert_eq!(stop.touched, touched.len());
            prop_assert!((others.len()..=others.len() + ailing.len()).contains(&stop.failed));
            prop_assert!(stop.failed >= limits.min_failures);
            prop_assert_eq!(stop.total, fates.iter().filter(|fate| fate.image == image).count());
        }
    }

    /// Whatever the other images do.
    #[test]
    fn a_totally_broken_image_gets_the_least_that_was_asked_for(
        limits in limits(),
        services in 1..300_usize,
        others in fates(),
        picks in vec(any::<Index>(), 1..50),
    ) {
        let mut fates = others;
        fates.extend(all_of(9, services, BAD));
        let rolled = roll_out(limits, &fates, &picks);
        let touched = rolled.begun.iter().filter(|number| fates[**number].image == 9).count();
        prop_assert!(touched <= limits.min_failures.max(limits.initial), "{touched}");
        prop_assert_eq!(touched.min(limits.min_failures), services.min(limits.min_failures));
        let is_stopped = tests::stopped(&rolled.pace).any(|stop| stop.image == "9" && stop.blames_image);
        prop_assert_eq!(is_stopped, services >= limits.min_failures);
    }

    /// Services whose outcome shows nothing do not widen the way for a broken image.
    #[test]
    fn a_broken_image_is_not_helped_by_services_that_show_nothing(
        limits in limits(),
        is_broken in vec(any::<bool>(), 1..200),
        neutral in prop_oneof![Just(Effect::Sent), Just(Effect::Nothing), Just(Effect::Setback)],
        picks in vec(any::<Index>(), 1..50),
    ) {
        let fates: Vec<Fate> = is_broken
            .iter()
            .map(|broken| {
                let (evidence, effect) = if *broken { (Evidence::Tasks, BAD) } else { (Evidence::Nothing, neutral) };
                Fate { image: 0, evidence, effect }
            })
            .collect();
        let rolled = roll_out(limits, &fates, &picks);
        let broken = rolled.begun.iter().filter(|number| fates[**number].evidence.has_tasks()).count();
        prop_assert!(broken <= limits.min_failures.max(limits.initial), "{broken}");
    }

    /// Under the ratio at every moment: each failure comes after enough successes.
    #[test]
    fn a_rollout_under_the_ratio_goes_on_to_its_end(
        workers in 1..60_usize, initial in 1..60_usize, per_failure in 2..20_usize, services in 1..300_usize,
    ) {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let max_failure_ratio = 1.0 / per_failure as f64;
        let limits = Limits { workers, initial, min_failures: 2, max_failure_ratio };
        // One of `per_failure + 1` fails, the last of each; the rounds end in their order.
        let fates: Vec<Fate> = (0..services)
            .map(|number| if number % (per_failure + 1) == per_failure { BAD } else { Effect::Success })
            .map(|effect| Fate { image: 0, evidence: Evidence::Tasks, effect })
            .collect();
        prop_assert_eq!(roll_out_in_rounds(limits, &fates).begun.len(), services);
    }

    /// However many of them fail.
    #[test]
    fn a_rollout_under_the_minimum_goes_on_to_its_end(
        limits in limits(), services in 1..200_usize, picks in vec(any::<Index>(), 1..50)
    ) {
        let bad = limits.min_failures - 1;
        let fates: Vec<Fate> =
            all_of(0, bad, BAD).chain(all_of(0, services, Effect::Success)).collect();
        prop_assert_eq!(roll_out(limits, &fates, &picks).begun.len(), fates.len());
    }

    /// Good at first, then not: at the stop no more have failed than the ratio asks for, but for what was
    /// under way when the first of them failed.
    #[test]
    fn an_image_that_turns_bad_late_stops_at_the_ratio(good in 1..700_usize, picks in vec(any::<Index>(), 1..50)) {
        let limits = Limits { workers: 50, initial: 1, min_failures: 2, max_failure_ratio: 0.1 };
        let fates: Vec<Fate> = all_of(0, good, Effect::Success).chain(all_of(0, 1200, BAD)).collect();
        let rolled = roll_out(limits, &fates, &picks);
        let stop = tests::stopped(&rolled.pace).next().unwrap();
        // failed / (failed + good) = 1/10 is failed = good / 9.
        let asked_for = good.div_ceil(9).max(limits.min_failures);
        prop_assert!(stop.failed <= asked_for + limits.workers, "{stop:?}");
    }

    /// Against full width from the start.
    #[test]
    fn with_no_failures_the_slow_start_costs_log2_of_the_workers_in_rounds(
        workers in 1..200_usize, services in vec(1..400_usize, 1..6)
    ) {
        let limits = Limits { workers, initial: 1, min_failures: 2, max_failure_ratio: 0.1 };
        let fates: Vec<Fate> =
            services.iter().enumerate().flat_map(|(image, n)| all_of(image, *n, Effect::Success)).collect();
        let rolled = roll_out_in_rounds(limits, &fates);
        prop_assert_eq!(rolled.begun.len(), fates.len());
        let ideal = fates.len().div_ceil(workers);
        prop_assert!(rolled.rounds <= ideal + ceil_log2(workers), "{} rounds", rolled.rounds);
        let wide = roll_out_in_rounds(Limits { initial: workers, ..limits }, &fates);
        prop_assert_eq!(wide.rounds, ideal);
    }

    /// What it did in earlier cycles counts as well.
    #[test]
    fn a_totally_broken_image_gets_no_more_in_several_cycles_than_in_one(
        limits in limits(), services in 1..200_usize, earlier in 0..20_usize, picks in vec(any::<Index>(), 1..50),
    ) {
        let fates: Vec<Fate> = all_of(0, services, BAD).collect();
        let mut pace = pace(limits, &fates);
        let is_stopped = pace.found_history(0, earlier, 0).is_some();
        prop_assert_eq!(is_stopped, earlier >= limits.min_failures);
        let mut under_way: Vec<usize> = Vec::new();
        let (mut picks, mut touched) = (picks.iter().cycle(), earlier);
        loop {
            let begun: Vec<usize> = std::iter::from_fn(|| pace.begin(|_| true)).collect();
            touched += begun.len();
            under_way.extend(begun);
            if under_way.is_empty() {
                break;
            }
            pace.end(under_way.swap_remove(picks.next().map_or(0, |pick| pick.index(under_way.len()))), BAD);
        }
        prop_assert!(touched <= earlier.max(limits.min_failures).max(limits.initial), "{touched}");
    }

    /// What an earlier run left under way counts like what this one began: a broken image gets no more services
    /// than were exposed to it already, or than it would have got anyway.
    #[test]
    fn what_was_begun_before_counts(
        limits in limits(),
        services in 1..200_usize,
        found in vec(any::<Index>(), 0..60),
        picks in vec(any::<Index>(), 1..50),
    ) {
        let fates: Vec<Fate> = all_of(0, services, BAD).collect();
        let mut pace = pace(limits, &fates);
        let found: std::collections::BTreeSet<usize> = found.iter().map(|index| index.index(services)).collect();
        for number in &found {
            pace.found_begun(*number);
        }
        let mut under_way: Vec<usize> = found.iter().copied().collect();
        let mut picks = picks.iter().cycle();
        let mut begun = found.len();
        loop {
            while let Some(number) = pace.begin(|_| true) {
                prop_assert!(!under_way.contains(&number) && !found.contains(&number), "{} began twice", number);
                under_way.push(number);
                begun += 1;
                prop_assert!(under_way.len() <= limits.workers);
            }
            if under_way.is_empty() {
                break;
            }
            let number = under_way.swap_remove(picks.next().map_or(0, |pick| pick.index(under_way.len())));
            pace.end(number, BAD);
        }
        prop_assert!(begun <= found.len().max(limits.min_failures.max(limits.initial)), "{begun}");
        prop_assert_eq!(begun.min(limits.min_failures), services.min(limits.min_failures));
    }
}
