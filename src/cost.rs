//! What foreign text costs: time in proportion to its length. A text that costs a minute of the only thread stops every update.
//!
//! This is the measure, with the parsers that all modules share. Each module measures its own parsers.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often the two costs are compared at most.
const TRIES: usize = 20;

/// A difference that says nothing: a cache that is cold, or a page that the system has to find.
const NOISE: Duration = Duration::from_millis(2);

/// Time of this thread's processor, which other work on the machine does not lengthen.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

fn cost(work: impl FnOnce()) -> Duration {
    let begun = processor_time();
    work();
    processor_time().checked_sub(begun).unwrap()
}

/// Whether eight times the values cost more than twelve times as much. Compares the shortest of several times: other work on the
/// machine makes single ones longer, never shorter.
pub(crate) fn is_slow(name: &str, few: impl Fn(), many: impl Fn()) -> Option<String> {
    let (mut least_few, mut least_many) = (Duration::MAX, Duration::MAX);
    for _ in 0..TRIES {
        least_few = least_few.min(cost(&few)).min(cost(&few));
        least_many = least_many.min(cost(&many));
        if least_many <= least_few * 12 + NOISE {
            return None;
        }
    }
    Some(format!("{name}: {least_few:?}, eight times as many {least_many:?}"))
}

/// A parser: its name, a text with this many values, and what reads the text.
pub(crate) type Parser = (&'static str, fn(usize) -> String, fn(&str));

/// Checks that each parser takes at most twelve times as long for eight times the values. The number of values is so large
/// that the shorter time can be measured.
pub(crate) fn assert_in_proportion(parsers: &[Parser]) {
    const FEWEST: usize = 250;
    const MOST: usize = 16_000;
    const MEASURABLE: Duration = Duration::from_millis(1);
    let slow = parsers.iter().filter_map(|(name, text, read)| {
        let mut few = FEWEST;
        while few < MOST && cost(|| read(&text(few))) < MEASURABLE {
            few *= 2;
        }
        let (few, many) = (text(few), text(8 * few));
        is_slow(name, || read(&few), || read(&many))
    });
    let slow: Vec<String> = slow.collect();
    assert!(slow.is_empty(), "{slow:#?}");
}

/// This many texts, separated.
pub(crate) fn many(count: usize, separator: &str, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect::<Vec<_>>().join(separator)
}

#[test]
fn a_parser_that_compares_each_with_all_is_found() {
    let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    let quadratic = |text: &str| {
        let mut seen: Vec<String> = Vec::new();
        for word in words(text) {
            if !seen.contains(&word) {
                seen.push(word);
            }
        }
        black_box(seen);
    };
    let (few, more) = (many(1000, " ", |n| format!("word{n}")), many(8000, " ", |n| format!("word{n}")));
    assert_eq!(is_slow("linear", || drop(words(&few)), || drop(words(&more))), None);
    assert!(is_slow("quadratic", || quadratic(&few), || quadratic(&more)).is_some());
}

#[test]
fn names_proxies_and_words_cost_in_proportion() {
    use crate::image::{Digest, ImageRef};
    use crate::proxy::Proxies;
    use crate::words;
    assert_in_proportion(&[
        (
            "image with parts",
            |n| many(n, "/", |i| format!("part{i}")),
            |text| {
                let _ = black_box(text.parse::<ImageRef>());
            },
        ),
        (
            "image with separators",
            |n| format!("a{}b", "-".repeat(n)),
            |text| {
                let _ = black_box(text.parse::<ImageRef>());
            },
        ),
        (
            "registry with labels",
            |n| format!("{}/a", many(n, ".", |i| format!("host{i}"))),
            |text| {
                let _ = black_box(text.parse::<ImageRef>());
            },
        ),
        (
            "digest",
            |n| format!("sha256:{}", "0".repeat(n)),
            |text| {
                let _ = black_box(text.parse::<Digest>());
            },
        ),
        (
            "NO_PROXY",
            |n| many(n, ",", |i| format!("host{i}.test:80,10.{}.0.0/16", i % 256)),
            |text| {
                let proxies = Proxies::new(None, None, text);
                black_box(proxies.of(&reqwest::Url::parse("https://other.test/").unwrap()));
            },
        ),
        ("words", |n| "a\n\u{1b} ".repeat(n), |text| _ = black_box(words::one_line(text))),
        (
            "web page",
            |n| format!("x <html>{}", "<title><h1>".repeat(n)),
            |text| {
                black_box(words::foreign(text));
            },
        ),
    ]);
}
