//! What the program says about a later cycle: each sentence has a test which shows that the later cycle does it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::proofs::{place, test};

/// Words that make a sentence a promise.
const WORDS: [&str; 7] = [
    "next cycle",
    "next look",
    "offered again",
    "looks again",
    "looked at again",
    "asks again",
    "until the tag",
];

/// A part of each sentence, and the test that shows it.
const PROMISES: [(&str, &str); 18] = [
    // The commands.
    (
        "released, and offered again by the next cycle if its tag",
        "cycle::releasing::what_is_released_is_offered_again",
    ),
    (
        "not updated by the next cycle:",
        "cycle::releasing::what_cannot_be_offered_yet_is_named_with_its_reason",
    ),
    ("not offered again:", "cycle::releasing::what_is_listed_is_not_offered"),
    ("List the images that are not offered again", "cycle::releasing::what_is_listed_is_not_offered"),
    ("gantry release lets it be offered again", "cycle::releasing::what_is_released_is_offered_again"),
    // Decisions and outcomes.
    (
        "is gone from the registry; the next look chooses again",
        "cycle::aging::a_digest_that_is_gone_from_the_registry_is_struck_out_and_named",
    ),
    (
        "; left alone until the tag moves on, or until `gantry release",
        "cycle::remembering::a_digest_that_broke_a_service_is_not_offered_to_it_again_until_the_tag_moves",
    ),
    (
        "it is being rolled back; the next cycle looks at it again",
        "cycle::other_hands::a_rollback_that_hangs_is_a_failure_with_its_reason",
    ),
    (
        "the engine did not list its tasks; the next cycle asks again",
        "cycle::other_hands::without_a_list_of_tasks_what_is_under_way_waits_for_the_next_look",
    ),
    (
        "it is looked at again when it has ended",
        "live::jobs::services_of_swarm_cronjob_get_the_image_between_their_runs_and_are_not_started",
    ),
    (
        "postponed: {hand}; the next cycle looks again",
        "cycle::other_hands::an_update_that_a_person_begins_before_its_turn_is_not_overrun",
    ),
    (
        "{hand}; the next cycle looks again",
        "cycle::other_hands::a_persons_update_under_way_ends_before_gantry_begins",
    ),
    (
        "took another service of this image back; the next cycle looks again",
        "cycle::other_hands::a_canary_that_a_person_takes_back_holds_its_rollout",
    ),
    (
        "the image remover may be left on all nodes; the next cycle removes it",
        "cycle::cleaning::a_remover_that_a_killed_gantry_has_left_goes_when_the_next_one_starts",
    ),
    (
        "the next cycle tries again",
        "cycle::guarding::a_node_that_stays_away_postpones_the_rest_and_the_next_cycle_goes_on_without_it",
    ),
    // What the daemon and the ledger do.
    (
        "waiting for the next cycle",
        "cycle::daemon::the_interval_is_from_start_to_start_and_a_late_cycle_runs_at_once",
    ),
    (
        "it is sent with the next cycle's",
        "live::notification::a_server_that_is_broken_or_away_is_a_warning_without_its_password_and_the_next_cycle_comes",
    ),
    (
        "what is left is written with the next cycle",
        "cycle::remembering::what_could_not_be_written_by_the_end_of_a_cycle_is_written_by_the_next_one",
    ),
];

pub(crate) fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !["tests.rs", "any_sequence.rs", "any_story.rs", "over_time.rs", "rules.rs"]
                .iter()
                .any(|name| path.ends_with(name))
        {
            into.push(path);
        }
    }
}

/// The texts in quotation marks, as the program prints them: without comments, and a line that goes on is one.
pub(crate) fn texts(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: String = code.lines().filter(is_code).flat_map(|line| [line, "\n"]).collect();
    let (mut texts, mut rest) = (Vec::new(), code.as_str());
    while let Some((_, after)) = rest.split_once('"') {
        let mut text = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, '\n')) => {
                        let spaces = chars.as_str().len() - chars.as_str().trim_start().len();
                        (0..spaces).for_each(|_| _ = chars.next());
                    }
                    Some((_, c)) => text.push(c),
                    None => {}
                },
                c => text.push(c),
            }
        }
        texts.push(text);
        rest = &after[end.min(after.len())..];
    }
    texts
}

fn promises() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let of = |path: PathBuf| {
        let source = fs::read_to_string(&path).unwrap();
        let promises = texts(&source).into_iter().filter(|text| WORDS.iter().any(|word| text.contains(word)));
        promises.map(|text| (path.clone(), text)).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(of).collect()
}

#[test]
fn every_promise_about_a_later_cycle_has_a_proof() {
    let unproved: Vec<(PathBuf, String)> = promises()
        .into_iter()
        .filter(|(_, text)| PROMISES.iter().all(|(part, _)| !text.contains(part)))
        .collect();
    assert!(unproved.is_empty(), "say in PROMISES which test shows it: {unproved:#?}");
}

#[test]
fn every_proof_of_a_promise_is_a_test_and_its_sentence_is_printed() {
    let printed = promises();
    for (part, proof) in PROMISES {
        let is_test = place(proof).is_some_and(|(text, name)| test(&text, name).is_some());
        assert!(is_test, "{proof} is no test");
        assert!(printed.iter().any(|(_, text)| text.contains(part)), "nothing says {part:?}");
    }
}

#[test]
fn a_promise_without_a_proof_would_be_found() {
    let source = "// \"no text\"\nfn a() {\n    f(\"one \\\"x\\\", then \\\n       the next cycle\");\n}\n";
    assert_eq!(texts(source), ["one \"x\", then the next cycle"]);
}
