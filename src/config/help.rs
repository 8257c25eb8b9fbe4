//! What users read of the table of variables: `gantry --help` and the tables of the pages in `docs/`.

use std::fmt::Write as _;

use super::variables::{LABELS, Label, VARIABLES, Variable};

/// What a terminal is wide enough for, in characters.
const WIDTH: usize = 100;

const USAGE: &str = "\
Usage: gantry            Keep the services on the newest image of their tag
       gantry COMMAND    See and steer a daemon; gantry COMMAND --help shows the command's options

Commands:
  status               Show how things stand, in one screen
  watch                Show rollouts and failures as they come
  plan                 Show what a run would do now; it changes nothing
  explain SERVICE      Show why a service is updated or not
  run                  Start a run
  history [ID]         List the runs with news, or show one of them
  quarantine           List the images that are not offered again, and why
  release NAME|--all   Offer an image again
  pause [WHY]          Let no update begin for some time
  resume               Let updates begin again
  approve NAME DIGEST  Let an image be rolled out that waits for your word
  revoke NAME          Take an approval back that was not used yet
  notify --test        Send a test message to all addresses of notifications
  healthcheck          Tell a live daemon from a dead one
  completions SHELL    Print completions for a shell
  man                  Print the manual page
  help [COMMAND]       Show all commands, variables and labels, or one command's help
  version              Show the version

In Gantry's container (docker exec CONTAINER gantry status), commands reach the daemon by its
socket. Elsewhere, these variables name the daemon:
  GANTRY_URL           The address of its page and API
  GANTRY_TOKEN         A token for reading, or for steering
  GANTRY_TOKEN_FILE    A file with that token
The pages in docs/ explain all of it: command-line.md, api.md, status-page.md, how-it-works.md,
configuration.md, troubleshooting.md.

Exit codes of a single run (GANTRY_SLEEP_SECONDS=0):
  0  Nothing failed, and each service has what it should have. What the quarantine or a rule keeps
     from an update is no exception.
  1  Something failed, or the run was interrupted.
  2  The configuration or the command line is wrong. Nothing was touched.
  3  Nothing failed, but something that should have been updated is left behind: postponed,
     unproved, without a node, or not begun. The last line of the log says what.
A daemon ends with 0 when it is told to stop. Commands end with 0, with 2 where the command line is
wrong, and with 1 where the daemon cannot be asked. More of them:
  status       1 something needs attention
  plan         3 updates are pending, 1 errors
  explain      1 the service is not known
  run --wait   1 something failed, 4 the run is still under way
  history ID   1 there is no such run
  release      1 nothing matches
  resume       1 nothing was paused
  approve      1 nothing was approved
  revoke       1 there was no approval
  notify       1 one address did not take the message, 2 there is no address
  healthcheck  1 unhealthy
";

/// The text of `gantry --version`, without a line feed at its end.
pub fn version() -> String {
    format!("gantry {}", env!("CARGO_PKG_VERSION"))
}

/// The text of `gantry --help`, without a line feed at its end.
pub fn help() -> String {
    let mut text = format!("{}\n{}.\n\n{USAGE}\n", version(), env!("CARGO_PKG_DESCRIPTION"));
    let intro = "Gantry is configured by environment variables. Empty means unset. Lists are separated by white \
                 space. A label on a service overrides its variable for that service.";
    wrap(&mut text, "", intro);
    let mut group = "";
    for variable in VARIABLES {
        if variable.group != group {
            group = variable.group;
            _ = writeln!(text, "\n{group}:");
        }
        _ = writeln!(text, "  {}{}", variable.name, default_in_help(variable));
        wrap(&mut text, "      ", &plain(variable.doc));
        let expected = expected(variable.expected).map(|expected| format!("Expected: {expected}."));
        let label = variable.label.map(|label| format!("Label: {label}."));
        let more: Vec<String> = expected.into_iter().chain(label).collect();
        wrap(&mut text, "      ", &more.join(" "));
    }
    text.push_str("\nLabels of services:\n");
    for label in LABELS {
        _ = writeln!(text, "  {}", label.name);
        wrap(&mut text, "      ", &plain(label.doc));
        let expected = expected(label.expected).map(|expected| format!("Expected: {expected}."));
        wrap(&mut text, "      ", &expected.unwrap_or_default());
    }
    text.truncate(text.trim_end().len());
    text
}

/// What is expected, unless that goes without saying.
fn expected(words: &str) -> Option<&str> {
    (!matches!(words, "a text" | "a path")).then_some(words)
}

fn default_in_help(variable: &Variable) -> String {
    match (variable.default, variable.default_words) {
        (Some(default), _) => format!("={default}"),
        (None, Some(words)) => format!("  (default: {})", plain(words)),
        (None, None) => String::new(),
    }
}

/// Markdown as it is read on a terminal: a link is its text and its target.
fn plain(markdown: &str) -> String {
    markdown.replace(['`', '['], "").replace("](", " (")
}

/// Writes words in lines that are not longer than [`WIDTH`], unless one word alone is.
fn wrap(text: &mut String, indent: &str, words: &str) {
    let mut column = 0;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.push_str(indent);
            column = indent.len();
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    if column > 0 {
        text.push('\n');
    }
}

/// The tables of variables in `docs/configuration.md`, one for each group.
pub fn markdown_variables() -> String {
    let mut text = String::new();
    let mut group = "";
    for variable in VARIABLES {
        if variable.group != group {
            group = variable.group;
            _ = write!(text, "\n### {group}\n\n| variable | default | meaning |\n|---|---|---|\n");
        }
        let Variable { name, default, default_words, expected, doc, label, .. } = variable;
        let default = match (default, default_words) {
            (Some(default), _) => format!("`{default}`"),
            (None, words) => words.unwrap_or_default().to_owned(),
        };
        let label = label.map_or_else(String::new, |label| format!(" Label: `{label}`."));
        let doc = doc.trim();
        let value = markdown_value(expected);
        _ = writeln!(text, "| `{name}` | {default} | {doc}{value}{label} |");
    }
    text
}

/// The table of labels in `docs/configuration.md`.
pub fn markdown_labels() -> String {
    let mut text = "\n| label | meaning |\n|---|---|\n".to_owned();
    for Label { name, doc, expected, .. } in LABELS {
        let doc = doc.trim();
        let value = markdown_value(expected);
        _ = writeln!(text, "| `{name}` | {doc}{value} |");
    }
    text
}

fn markdown_value(words: &str) -> String {
    expected(words).map_or_else(String::new, |words| format!(" *Value: {words}.*"))
}

#[cfg(test)]
mod tests {
    use super::super::markdown_shepherd;
    use super::*;

    #[test]
    fn the_help_explains_every_variable_and_label_within_100_columns() {
        let help = help();
        insta::assert_snapshot!(help);
        for line in help.lines() {
            assert!(line.chars().count() <= WIDTH && !line.ends_with(' '), "{line:?}");
        }
    }

    /// `UPDATE_DOCS=1 cargo test docs` writes the tables anew.
    #[test]
    fn the_docs_have_the_tables_as_they_are() {
        let tables = [
            ("docs/configuration.md", "variables", markdown_variables()),
            ("docs/configuration.md", "labels", markdown_labels()),
            ("docs/migrating.md", "shepherd", markdown_shepherd()),
        ];
        for (page, name, table) in tables {
            let path = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).unwrap();
            let begin = format!("<!-- {name}: written by UPDATE_DOCS=1 cargo test docs -->\n");
            let end = format!("<!-- end of {name} -->");
            let start = text.find(&begin).unwrap_or_else(|| panic!("{page} has no {begin}")) + begin.len();
            let stop = text.find(&end).unwrap_or_else(|| panic!("{page} has no {end}"));
            let mut expected = text.clone();
            expected.replace_range(start..stop, &format!("{table}\n"));
            if std::env::var_os("UPDATE_DOCS").is_some() {
                std::fs::write(path, expected).unwrap();
            } else {
                assert!(text == expected, "{page} is old; run UPDATE_DOCS=1 cargo test docs");
            }
        }
    }

    #[test]
    fn a_word_longer_than_a_line_stands_alone() {
        let mut text = String::new();
        wrap(&mut text, "  ", &format!("a {} b", "x".repeat(200)));
        assert_eq!(text, format!("  a\n  {}\n  b\n", "x".repeat(200)));
    }
}
