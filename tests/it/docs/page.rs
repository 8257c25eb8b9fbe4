//! One page in Markdown, as far as the tests of the pages need to understand it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The line before a block that a live test runs.
pub(crate) const RUN: &str = "<!-- run in the lab -->";

/// The beginning of the line before a block that no test runs; the reason follows.
pub(crate) const NOT_RUN: &str = "<!-- not run in the lab: ";

/// A page.
pub(crate) struct Page {
    /// Relative to the repository.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A block of code.
pub(crate) struct Block {
    /// The word after the fence.
    pub(crate) language: String,
    /// Without the fence's indentation.
    pub(crate) text: String,
    /// The number of the fence's line.
    pub(crate) line: usize,
    /// The line before the fence.
    before: String,
}

impl Block {
    pub(crate) fn runs_in_the_lab(&self) -> bool {
        self.before == RUN
    }

    pub(crate) fn says_why_not(&self) -> bool {
        self.before.strip_prefix(NOT_RUN).is_some_and(|reason| reason.len() > " -->".len())
    }
}

impl Page {
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path: path.strip_prefix(root).unwrap().to_owned(), text }
    }

    /// A path that a link of this page names, relative to the repository.
    pub(crate) fn beside(&self, file: &str) -> PathBuf {
        let mut path = PathBuf::new();
        for component in self.path.with_file_name(file).components() {
            match component {
                Component::ParentDir => _ = path.pop(),
                component => path.push(component),
            }
        }
        path
    }

    /// The blocks of code between fences.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut is_inside, mut indent, mut before) = (false, 0, "");
        for (index, line) in self.text.lines().enumerate() {
            let trimmed = line.trim_start();
            if let Some(language) = trimmed.strip_prefix("```") {
                is_inside = !is_inside;
                if is_inside {
                    indent = line.len() - trimmed.len();
                    let (language, before) = (language.trim().to_owned(), before.trim().to_owned());
                    blocks.push(Block { language, text: String::new(), line: index + 1, before });
                }
            } else if is_inside && let Some(block) = blocks.last_mut() {
                block.text.push_str(line.get(indent..).unwrap_or_default());
                block.text.push('\n');
            }
            before = line;
        }
        assert!(!is_inside, "{}: a fence without an end", self.path.display());
        blocks
    }

    /// The lines outside of code, comments and generated tables, with their numbers and without code spans.
    pub(crate) fn prose(&self) -> Vec<(usize, String)> {
        let (mut is_code, mut is_generated) = (false, false);
        let mut lines = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if line.starts_with("<!-- ") {
                is_generated =
                    (is_generated || line.contains(": written by ")) && !line.starts_with("<!-- end of ");
            } else if !is_code && !is_generated {
                let without_code = line.split('`').step_by(2).collect::<Vec<_>>().join("CODE");
                lines.push((index + 1, without_code));
            }
        }
        lines
    }

    /// What links and pictures outside of code lead to. Tables that the program generates count, too.
    pub(crate) fn links(&self) -> Vec<String> {
        let mut is_code = false;
        let mut links = Vec::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                let text = line.split('`').step_by(2).collect::<Vec<_>>().join("CODE");
                let after = text.split("](").skip(1);
                links.extend(after.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link.to_owned()));
            }
        }
        links
    }

    /// The anchors of its headings, by GitHub's rules.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let mut is_code = false;
        let mut anchors: BTreeSet<String> = BTreeSet::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            let heading = line.trim_start_matches('#');
            if is_code || heading.len() == line.len() || !heading.starts_with(' ') {
                continue;
            }
            let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let anchor =
                heading.trim().to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-");
            let twice = (1..).map(|number| format!("{anchor}-{number}"));
            let free = std::iter::once(anchor.clone()).chain(twice).find(|anchor| !anchors.contains(anchor));
            anchors.extend(free);
        }
        anchors
    }
}
