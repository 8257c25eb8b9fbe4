//! The parsers of foreign text, one function each, for `make fuzz`. The seeds and finds of `tests/fuzz` run as a test.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hint::black_box;

use crate::config::{Config, ServicePolicy};
use crate::daemon::{http, webhook};
use crate::gate::tags::{TagRules, choose};
use crate::image::{Digest, ImageRef};
use crate::ledger::book::{self, Book};
use crate::options::{Ids, Options, ServiceCommand};
use crate::proxy::Proxies;
use crate::registry;
use crate::swarm::{Service, Spec};
use crate::words;

/// A parser's name, and what gives it any bytes. It panics on what must never happen.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("api", http::fuzz::requests),
    ("challenge", |data| registry::fuzz::challenge(&text(data))),
    ("config-json", registry::fuzz::config_json),
    ("environment", environment),
    ("image", image),
    ("labels", labels),
    ("ledger", ledger),
    ("logins", |data| registry::fuzz::logins(&text(data))),
    ("manifest", registry::fuzz::manifest),
    ("options", options),
    ("proxies", proxies),
    ("registry-answer", registry::fuzz::answer),
    ("specification", specification),
    ("tag-list", registry::fuzz::tag_list),
    ("tags", tags),
    ("webhook", webhook::fuzz::events),
    ("words", words_of_others),
];

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// Lines of the form NAME=VALUE.
fn pairs(data: &[u8]) -> BTreeMap<String, String> {
    let text = text(data);
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.lines().filter_map(pair).collect()
}

fn loaded(pairs: BTreeMap<String, String>) -> Option<Config> {
    let pairs = pairs.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load(pairs).ok().map(|loaded| loaded.config)
}

fn environment(data: &[u8]) {
    let _ = black_box(loaded(pairs(data)));
}

fn labels(data: &[u8]) {
    let Some(config) = loaded(BTreeMap::new()) else { return };
    let _ = black_box(ServicePolicy::of(&config, &pairs(data)));
}

fn image(data: &[u8]) {
    let text = text(data);
    let _ = black_box(text.parse::<Digest>());
    if let Ok(image) = text.parse::<ImageRef>() {
        let again = image.to_string().parse::<ImageRef>();
        assert_eq!(again.ok(), Some(image), "an image's name is read as it is written");
    }
}

/// Options that are applied twice change nothing the second time.
fn options(data: &[u8]) {
    let Ok(options) = Options::parse(ServiceCommand::Update, &text(data)) else { return };
    let service = r#"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"app:1"}},"Mode":{"Replicated":{"Replicas":1}}}"#;
    let Ok(spec) = Spec::from_json(service) else { return };
    let options = options.without("force");
    let ids: Ids = options.names().into_iter().map(|name| (name, "id".to_owned())).collect();
    if let Ok(once) = spec.with_options(&options, &ids)
        && let Ok(twice) = once.with_options(&options, &ids)
    {
        assert!(once.is_same_as(&twice), "{} and then {}", once.json(), twice.json());
    }
}

fn ledger(data: &[u8]) {
    let labels = pairs(data);
    let book = Book::read(&labels);
    black_box((book.surplus(), book.room(), book::lease(&labels), book::left(&labels)));
    let changes: Vec<book::LedgerChange> = book.entries().cloned().map(book::LedgerChange::Put).collect();
    let again = Book::read(&book::change(&labels, &changes));
    assert_eq!(again, book, "the ledger is read as it is written");
}

fn proxies(data: &[u8]) {
    let proxies = Proxies::new(None, None, &text(data));
    if let Ok(url) = reqwest::Url::parse("https://registry.test:5000/v2/") {
        black_box(proxies.of(&url));
    }
}

fn specification(data: &[u8]) {
    let text = text(data);
    if let Ok(spec) = Spec::from_json(&text) {
        black_box(spec.facts());
    }
    let _ = black_box(Service::from_json(&text));
}

/// A policy, the service's tag, and the tags of its repository, one a line. What is chosen is newer, and nothing is newer
/// than that.
fn tags(data: &[u8]) {
    let text = text(data);
    let mut lines = text.lines();
    let (Some(policy), Some(own)) = (lines.next(), lines.next()) else { return };
    let (policy, prereleases) = policy.strip_suffix("+pre").map_or((policy, false), |policy| (policy, true));
    let Ok(policy) = policy.parse() else { return };
    let rules = TagRules { policy, prereleases };
    let Ok(choice) = choose(own, &rules, lines.clone()) else { return };
    let Some(newest) = choice.newest else { return };
    assert!(lines.clone().any(|tag| tag == newest), "{newest} is not in the list");
    let back = choose(&newest, &rules, [own]).map(|back| back.newest);
    assert_eq!(back, Ok(None), "{newest} is newer than {own}, and the other way round");
    assert_eq!(
        choose(&newest, &rules, lines).map(|again| again.newest),
        Ok(None),
        "from {own} to {newest} and on"
    );
}

fn words_of_others(data: &[u8]) {
    let text = text(data);
    let line = words::one_line(&text);
    assert!(!line.contains(['\n', '\r', '\u{1b}']), "{line:?}");
    black_box(words::foreign(&text));
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries =
            std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Each parser has seeds, and reads them, and whatever once made it panic.
    #[test]
    fn seeds_and_finds_are_read() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
        for (name, read) in TARGETS {
            let files = files(&seeds.join(name));
            assert!(!files.is_empty(), "{name} has no seeds");
            for file in files {
                read(&std::fs::read(file).unwrap());
            }
        }
    }

    /// Numbers that look random, the same in each run (xorshift64).
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
        }

        /// A seed with up to four mistakes: bytes that are wrong, missing, twice there, or of another seed.
        fn mistaken(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
            let mut data = seeds[self.below(seeds.len())].clone();
            for _ in 0..=self.below(4) {
                let (from, length) = (self.below(data.len()), self.below(24));
                let to = (from + length).min(data.len());
                match self.below(4) {
                    0 if from < data.len() => data[from] = u8::try_from(self.below(256)).unwrap(),
                    1 => drop(data.drain(from..to)),
                    2 => {
                        let again = data[from..to].to_vec();
                        drop(data.splice(from..from, again));
                    }
                    _ => {
                        let other = &seeds[self.below(seeds.len())];
                        let start = self.below(other.len());
                        let end = (start + self.below(24)).min(other.len());
                        drop(data.splice(from..to, other[start..end].iter().copied()));
                    }
                }
            }
            data
        }
    }

    /// `make soak` gives each of these parsers a million cases.
    #[test]
    fn strangers_requests_with_mistakes_are_read() {
        let cases = std::env::var("GANTRY_PARSER_CASES").map_or(2_000, |text| text.parse().unwrap());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
        for (name, read) in TARGETS.iter().filter(|(name, _)| ["api", "webhook"].contains(name)) {
            let mut files = files(&folder.join(name));
            files.sort();
            let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
            let mut random = Random(0x9e37_79b9_7f4a_7c15);
            for _ in 0..cases {
                read(&random.mistaken(&seeds));
            }
        }
    }
}
