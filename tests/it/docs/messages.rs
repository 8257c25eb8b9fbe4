//! The messages of `docs/troubleshooting.md`: whether the program has their words, and whether a test sees them.
//!
//! A message stands in a code span in the first column of a table. `...`, numbers, names of labels and words in capitals stand for what
//! differs. When a message changes in the code, change it in the page; the failure of the test shows the nearest text of the code.

use std::fs;
use std::path::{Path, PathBuf};

use gantry::config::LABELS;

use super::root;
use crate::promises::{sources, texts};

/// Words in capitals that stand for what differs.
const STAND_INS: [&str; 12] =
    ["NAME", "IMAGE", "REGISTRY", "NODE", "DIGEST", "PATH", "PROXY", "PORT", "HOST", "SERVICE", "N", "M"];

/// What stands for a part that differs, in messages and in texts of the code.
const GAP: char = '\0';

/// Messages whose words stand in the code alone: tests look at other words of them, or at none. Shorten this list, in the order
/// of the alphabet.
const ONLY_IN_SOURCE: [&str; 11] = [
    "UTC (this machine has no database of time zones ...)",
    "a node cannot get the old image with the account that came back with it",
    "another Gantry has taken over, as this one did not answer",
    "cannot watch PATH: ...; it is looked at every 2 s instead",
    "found a rollback that an earlier run began",
    "its certificate is of an authority that is not known here: ...",
    "the engine goes through the proxy PROXY here and Gantry does not",
    "the label gantry.manifest.options=--insecure does not count here ...",
    "the pre-run command has set what cannot be used: ...",
    "there is more than one login for this registry",
    "what the pre-run command has set is not known ...",
];

/// The messages of the page.
fn messages() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let spans = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    spans.map(str::to_owned).collect()
}

/// The clauses of a message: what stands between `: `, `; `, `, `, brackets and quotation marks. What differs is a [`GAP`].
fn clauses(message: &str) -> Vec<String> {
    let mut text = message.replace("...", "\0");
    for word in LABELS.iter().map(|label| label.name).chain(STAND_INS) {
        let mut from = 0;
        while let Some(at) = text[from..].find(word).map(|at| at + from) {
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = at + word.len();
            if text[..at].ends_with(is_of_name) || text[end..].starts_with(is_of_name) {
                from = end;
            } else {
                text.replace_range(at..end, "\0");
                from = at + 1;
            }
        }
    }
    split(&text)
}

/// The clauses of a text of the code, with a [`GAP`] for each `{...}`.
fn clauses_of_code(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                plain.push(GAP);
            }
            c if depth <= 0 => plain.push(c),
            _ => {}
        }
    }
    split(&plain)
}

fn split(text: &str) -> Vec<String> {
    let text =
        [": ", "; ", ", "].iter().fold(text.to_owned(), |text, separator| text.replace(separator, "\n"));
    let clauses = text
        .split(['\n', '(', ')', '"', '`'])
        .map(|clause| clause.trim_matches([' ', ':', ',', ';', '/', '=']));
    clauses.filter(|clause| letters(clause) > 2).map(str::to_owned).collect()
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphabetic()).count()
}

/// Whether a text has the form of a pattern with gaps.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split(GAP);
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap()) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The parts of a clause that do not differ.
fn fixed(clause: &str) -> impl Iterator<Item = &str> {
    let parts = clause.split(|c: char| c == GAP || c.is_ascii_digit());
    parts.map(|part| part.trim_matches([' ', ':', ',', ';', '/', '='])).filter(|part| letters(part) > 2)
}

/// The texts of one file, and their clauses.
struct Source {
    texts: Vec<String>,
    clauses: Vec<String>,
}

impl Source {
    fn of(texts: Vec<String>) -> Self {
        let clauses = texts.iter().flat_map(|text| clauses_of_code(text)).collect();
        Self { texts, clauses }
    }

    fn has_text(&self, part: &str) -> bool {
        self.texts.iter().any(|text| text.contains(part))
    }

    /// Whether a clause is one of this file's: as a whole with other values, or each of its fixed parts, of which a text may
    /// also have been put together from two.
    fn has(&self, clause: &str) -> bool {
        let fits_one = |known: &String| 2 * letters(known) >= letters(clause) && fits(known, clause);
        self.clauses.iter().any(fits_one)
            || fixed(clause).all(|part| self.has_text(part) || self.has_in_two(part))
    }

    fn has_in_two(&self, part: &str) -> bool {
        let spaces = part.match_indices(' ').map(|(at, _)| (&part[..at], &part[at + 1..]));
        let mut long = spaces.filter(|(one, two)| letters(one) > 5 && letters(two) > 5);
        long.any(|(one, two)| self.has_text(one) && self.has_text(two))
    }
}

fn program() -> Vec<Source> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    files.iter().map(|path| Source::of(texts(&fs::read_to_string(path).unwrap()))).collect()
}

/// The code of all tests and their snapshots, each as one text with single spaces.
fn tests() -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["src", "tests/it"] {
        every_file(&root().join(folder), &mut files);
    }
    let code = |path: PathBuf| {
        // This page of messages would be its own proof.
        let text = (!path.ends_with("docs/messages.rs")).then(|| fs::read_to_string(&path).unwrap())?;
        let is_source = path.strip_prefix(root().join("src")).is_ok();
        let is_test = ["tests.rs", "any_sequence.rs", "any_story.rs", "over_time.rs", "rules.rs"];
        let is_whole = !is_source
            || is_test.iter().any(|name| path.ends_with(name))
            || path.extension().is_some_and(|extension| extension == "snap");
        let text = if is_whole {
            Some(text.as_str())
        } else {
            text.split_once("#[cfg(test)]\nmod tests {").map(|(_, rest)| rest)
        };
        Some(text?.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" "))
    };
    files.into_iter().filter_map(code).collect()
}

fn every_file(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            every_file(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "snap") {
            into.push(path);
        }
    }
}

/// The text of the code that shares most words with a message.
fn nearest(program: &[Source], message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().filter(|word| letters(word) > 2).collect();
    let shared = |text: &&String| words.iter().filter(|word| text.contains(**word)).count();
    program.iter().flat_map(|source| &source.texts).max_by_key(shared).cloned().unwrap_or_default()
}

#[test]
fn the_program_has_the_words_of_every_message() {
    let program = program();
    let has =
        |message: &str| clauses(message).iter().all(|clause| program.iter().any(|source| source.has(clause)));
    let missing: Vec<String> = messages()
        .into_iter()
        .filter(|message| !has(message))
        .map(|message| format!("{message}  <- nearest in src: {}", nearest(&program, &message)))
        .collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md explains what nothing in src says: {missing:#?}");
    assert!(messages().len() > 80, "{}", messages().len());
}

#[test]
fn a_test_sees_every_message_but_those_named_here() {
    let tests = tests();
    let is_seen = |clause: &String| fixed(clause).all(|part| tests.iter().any(|text| text.contains(part)));
    let mut unseen: Vec<String> =
        messages().into_iter().filter(|message| !clauses(message).iter().all(is_seen)).collect();
    unseen.sort_unstable();
    unseen.dedup();
    assert_eq!(unseen, ONLY_IN_SOURCE, "write a test, or take the message off the list if there is one now");
}

#[test]
fn a_message_that_is_gone_would_be_found() {
    assert_eq!(clauses("label NAME=\"...\": expected ..."), ["label \0", "expected \0"]);
    assert_eq!(clauses("a task failed on NODE ..."), ["a task failed on \0 \0"]);
    assert_eq!(clauses_of_code("the {} command {failed:?}: {x}"), ["the \0 command \0"]);
    let source = Source::of(vec![
        "the {} command failed".to_owned(),
        "lines of the log were".to_owned(),
        "dropped".to_owned(),
    ]);
    assert!(source.has("the pre-run command failed") && source.has("lines of the log were dropped"));
    assert!(!source.has("the pre-run command ended") && !source.has("lines of the log are dropped"));
}
