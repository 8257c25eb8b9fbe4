//! Whether the pages for users hold what they promise: links, names, words, and commands that a test runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gantry::config::{LABELS, VARIABLES};

mod messages;
pub(crate) mod page;
mod values;

use page::{Block, Page};

/// The most lines that README may have: a newcomer decides in two minutes.
const README_LINES: usize = 250;

/// Words that hide who does what. CONTRIBUTING.md says, under "Words", what to write instead.
const BANNED: [&str; 9] = [
    "somebody",
    "nobody",
    "anybody",
    "everybody",
    "whoever",
    "whom",
    "those of which",
    "the one that",
    "the ones that",
];

/// Names in the pages that look like variables of Gantry and are not in its table.
const OTHER_NAMES: [&str; 8] = [
    // Read by commands alone.
    "GANTRY_URL",
    "GANTRY_TOKEN",
    "GANTRY_TOKEN_FILE",
    // Set by Gantry for the command after a cycle.
    "GANTRY_CYCLE_FAILED",
    "GANTRY_CYCLE_SUMMARY",
    // Read by `stack.yml`.
    "GANTRY_IMAGE",
    // `GANTRY_*` and the like stand for several.
    "GANTRY_",
    "GANTRY_REGISTRY_..._FILE",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page of the repository that people read.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths = Vec::new();
    for folder in [
        "",
        "docs",
        "docs/decisions",
        ".github",
        ".github/ISSUE_TEMPLATE",
        "tests",
        "tests/lab",
        "tests/fuzz",
    ] {
        let Ok(entries) = fs::read_dir(root().join(folder)) else { continue };
        let files = entries.map(|entry| entry.unwrap().path());
        paths.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    paths.sort();
    paths.iter().map(|path| Page::read(root(), path)).collect()
}

/// README and the pages below `docs/`, without the decisions.
fn pages_of_users() -> Vec<Page> {
    let is_of_users =
        |page: &Page| page.path == Path::new("README.md") || page.path.parent() == Some(Path::new("docs"));
    pages().into_iter().filter(is_of_users).collect()
}

/// The `sh` blocks that a live test runs as they are written, in the order of the pages.
#[cfg(feature = "live")]
pub(crate) fn blocks_for_the_lab(path: &str) -> Vec<String> {
    let page = Page::read(root(), &root().join(path));
    page.blocks().into_iter().filter(Block::runs_in_the_lab).map(|block| block.text).collect()
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let pages = pages();
    let mut wrong = Vec::new();
    for page in &pages {
        for link in page.links().iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.path.clone() } else { page.beside(file) };
            if !root().join(&target).exists() {
                wrong.push(format!("{}: {link}: there is no such file", page.path.display()));
            } else if !anchor.is_empty() {
                let is_there =
                    pages.iter().any(|page| page.path == target && page.anchors().contains(anchor));
                let words = format!("{}: {link}: there is no such heading", page.path.display());
                wrong.extend((!is_there).then_some(words));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn readme_is_short_and_leads_to_every_page() {
    let readme = Page::read(root(), &root().join("README.md"));
    let lines = readme.text.lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines; move something to docs/");
    let targets: BTreeSet<PathBuf> =
        readme.links().iter().map(|link| link.split('#').next().unwrap().into()).collect();
    let missing: Vec<PathBuf> = pages_of_users()
        .into_iter()
        .map(|page| page.path)
        .filter(|path| path != Path::new("README.md") && !targets.contains(path))
        .collect();
    assert!(missing.is_empty(), "README.md does not link to {missing:?}");
}

#[test]
fn every_page_begins_with_what_its_reader_can_do() {
    for page in pages_of_users().iter().filter(|page| page.path != Path::new("README.md")) {
        let first = page.text.lines().skip(1).find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(
            page.text.starts_with("# ") && first.starts_with("After reading this page you "),
            "{}: a title, then \"After reading this page you ...\"",
            page.path.display()
        );
    }
}

#[test]
fn pages_say_who_does_what() {
    let mut wrong = Vec::new();
    for page in pages().iter().filter(|page| page.path != Path::new("tests/PROOFS.md")) {
        for (number, line) in page.prose() {
            let line = line.to_lowercase();
            let words: Vec<&str> =
                line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
            let plain = format!(" {} ", words.join(" "));
            let found = BANNED.iter().find(|banned| plain.contains(&format!(" {banned} ")));
            wrong.extend(found.map(|banned| format!("{}:{number}: {banned}", page.path.display())));
        }
    }
    assert!(wrong.is_empty(), "name the person, the program or the thing: {wrong:#?}");
}

#[test]
fn pages_name_only_variables_and_labels_that_exist() {
    let mut wrong = Vec::new();
    for page in pages_of_users() {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        for name in page.text.split(|c: char| !is_of_name(c)).map(|name| name.trim_matches('.')) {
            let is_known = if name.starts_with("GANTRY_") && !name.starts_with("GANTRY_LAB_") {
                OTHER_NAMES.contains(&name) || VARIABLES.iter().any(|variable| variable.name == name)
            } else if name.starts_with("gantry.") {
                // `gantry.enable` is the example of a user's own label.
                name == "gantry.enable" || LABELS.iter().any(|label| label.name == name)
            } else {
                true
            };
            if !is_known {
                wrong.push(format!("{}: {name}", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_command_is_run_by_a_test_or_says_why_not() {
    let mut wrong = Vec::new();
    let mut runs = 0;
    for page in pages_of_users() {
        for block in page.blocks().iter().filter(|block| block.language == "sh") {
            runs += usize::from(block.runs_in_the_lab());
            if !block.runs_in_the_lab() && !block.says_why_not() {
                wrong.push(format!("{}:{}", page.path.display(), block.line));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "put `{}` or `{} REASON -->` in the line before each of these blocks: {wrong:#?}",
        page::RUN,
        page::NOT_RUN
    );
    assert!(runs >= 3, "{runs} blocks run in the lab");
}

#[test]
fn a_broken_page_would_be_found() {
    let text = "# A page\n\nSee [the list](b.md#what-it-is), `[code](x)`, ![a picture](p.png).\n\n```sh\n[no](link)\n# no heading\n```\n\n\
                ## What's in `config.json`?\n\n### Twice\n\n### Twice\n\n<!-- run in the lab -->\n   ```sh\n   echo one\n\n   echo two\n   ```\n";
    let page = Page { path: "docs/a.md".into(), text: text.to_owned() };
    assert_eq!(page.links(), ["b.md#what-it-is", "p.png"]);
    let anchors = BTreeSet::from(["a-page", "whats-in-configjson", "twice", "twice-1"].map(str::to_owned));
    assert_eq!(page.anchors(), anchors);
    assert_eq!(page.beside("../README.md"), Path::new("README.md"));
    let blocks = page.blocks();
    assert_eq!((blocks.len(), blocks[0].runs_in_the_lab(), blocks[1].runs_in_the_lab()), (2, false, true));
    assert_eq!(blocks[1].text, "echo one\n\necho two\n");
    assert!(!blocks[0].says_why_not());
    assert!(page.prose().iter().all(|(_, line)| !line.contains("echo") && !line.contains("code")));
}
