//! The commands and their options, as clap has them: for the parser, each command's help, the shells and the manual. Pure.

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, Command as Definition, value_parser};

/// The shells for which there are completions.
const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// What commands without a daemon at hand need, for the end of each help.
const REACH: &str = "In Gantry's container (docker exec), the command reaches the daemon by its socket.\n\
                     Elsewhere, set GANTRY_URL, and GANTRY_TOKEN or GANTRY_TOKEN_FILE.\n\
                     docs/command-line.md has examples.";

/// The whole command line.
pub(super) fn definition() -> Definition {
    let asks = |command: Definition| command.after_help(REACH);
    let plain = |name: &'static str, about: &'static str| Definition::new(name).about(about);
    Definition::new("gantry")
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommands([
            asks(plain("status", "Show how things stand, in one screen").arg(json())),
            asks(plain("watch", "Show rollouts and failures as they come")),
            asks(scoped(plain("plan", "Show what a run would do now; it changes nothing")).arg(json())),
            asks(plain("explain", "Show why a service is updated or not").arg(service()).arg(json())),
            asks(scoped(plain("run", "Start a run")).arg(at_once()).arg(wait()).arg(json())),
            asks(plain("history", "List the runs with news, or show one of them").arg(id()).arg(json())),
            asks(plain("quarantine", "List the images that are not offered again, and why").arg(json())),
            asks(released(plain("release", "Offer an image again"))),
            asks(pause(plain("pause", "Let no update begin for some time"))),
            asks(plain("resume", "Let updates begin again")),
            asks(approved(plain("approve", "Let an image be rolled out that waits for your word"))),
            asks(target(plain("revoke", "Take an approval back that was not used yet"))),
            plain("notify", "Send a test message to all addresses of notifications").arg(test()),
            plain("healthcheck", "Tell a live daemon from a dead one"),
            plain("completions", "Print completions for a shell").arg(shell()),
            plain("man", "Print the manual page"),
            plain("help", "Show all commands, variables and labels, or one command's help").arg(topic()),
            plain("version", "Show the version"),
        ])
}

fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the daemon's answer as JSON")
}

/// The options that narrow a run.
fn scoped(command: Definition) -> Definition {
    let several = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
    };
    command.args([
        several("image", "IMAGE", "Only services with this image and tag, such as shop:2 (repeatable)"),
        several("service", "SERVICE", "Only this service (repeatable)"),
        several(
            "filter",
            "FILTER",
            "Only what this filter selects, as in GANTRY_SERVICES_FILTERS (repeatable)",
        ),
    ])
}

/// The option that passes gates.
fn at_once() -> Arg {
    let help =
        "Update (only SERVICE) now, whatever windows and minimum ages say; pauses and freezes still count";
    Arg::new("now").long("now").value_name("SERVICE").num_args(0..).help(help)
}

fn service() -> Arg {
    Arg::new("service").value_name("SERVICE").required(true).help("The name of the service")
}

fn wait() -> Arg {
    Arg::new("wait")
        .long("wait")
        .value_name("SECONDS")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("0")
        .value_parser(value_parser!(u64))
        .help("Wait for the end of the run (at most SECONDS), and show progress")
}

fn id() -> Arg {
    Arg::new("id").value_name("ID").value_parser(value_parser!(u64)).help("The number of the run")
}

fn released(command: Definition) -> Definition {
    let what = "One service, or one image with its tag";
    command.args([
        Arg::new("name").value_name("SERVICE|IMAGE").help(what),
        Arg::new("all").long("all").action(ArgAction::SetTrue).conflicts_with("name").help("Everything"),
    ])
}

fn target(command: Definition) -> Definition {
    let what = "One image with its tag, or one service";
    command.arg(Arg::new("name").value_name("IMAGE|SERVICE").required(true).help(what))
}

fn approved(command: Definition) -> Definition {
    let digest = "The digest, or its first 12 digits or more; without it, list what waits";
    target(command).args([
        Arg::new("digest").value_name("DIGEST").help(digest),
        Arg::new("by").long("by").value_name("NAME").help("Who approves, where no token says so"),
        Arg::new("why").long("why").value_name("TEXT").help("Why, for other users to read"),
    ])
}

fn pause(command: Definition) -> Definition {
    command.args([
        Arg::new("for")
            .long("for")
            .value_name("TIME")
            .help("For how long, such as 30m or 2h; 24 hours without it"),
        Arg::new("why").value_name("WHY").num_args(0..).help("Why, for other users to read"),
    ])
}

fn test() -> Arg {
    Arg::new("test").long("test").action(ArgAction::SetTrue).help("Send it")
}

fn shell() -> Arg {
    let shells = PossibleValuesParser::new(SHELLS);
    Arg::new("shell")
        .value_name("SHELL")
        .required(true)
        .value_parser(ValueParser::new(shells))
        .help("The shell")
}

fn topic() -> Arg {
    Arg::new("command").value_name("COMMAND").num_args(0..).help("The command")
}

/// What makes a shell complete commands and options; `None`: the shell is not known.
pub fn completions(shell: &str) -> Option<&'static str> {
    Some(match shell {
        "bash" => include_str!("made/gantry.bash"),
        "elvish" => include_str!("made/gantry.elv"),
        "fish" => include_str!("made/gantry.fish"),
        "powershell" => include_str!("made/gantry.ps1"),
        "zsh" => include_str!("made/gantry.zsh"),
        _ => return None,
    })
}

/// The manual page, in roff.
pub fn manual() -> &'static str {
    include_str!("made/gantry.1")
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;
    use clap_mangen::Man;

    use super::*;

    #[test]
    fn clap_finds_no_fault_with_the_definition() {
        definition().debug_assert();
    }

    #[test]
    fn the_help_has_each_command_in_one_line() {
        let help = crate::config::help();
        for command in definition().get_subcommands() {
            let (name, about) = (command.get_name(), command.get_about().unwrap().to_string());
            let is_it = |line: &str| line.trim_start().starts_with(name) && line.ends_with(&about);
            assert!(help.lines().any(is_it), "{name}: {about}");
        }
    }

    /// The script of `clap_complete` for a shell.
    fn made_completions(shell: Shell) -> String {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut definition(), "gantry", &mut script);
        String::from_utf8(script).unwrap()
    }

    /// The page of `clap_mangen`, with the commands one after the other.
    fn made_manual() -> String {
        let (mut page, whole) = (Vec::new(), definition());
        let title = Man::new(whole.clone()).source("").date("");
        title.render(&mut page).unwrap();
        for command in whole.get_subcommands() {
            let name = command.get_name();
            page.extend_from_slice(format!(".SH \"GANTRY {}\"\n", name.to_uppercase()).as_bytes());
            let about = format!("{}.\n", command.get_about().unwrap());
            page.extend_from_slice(about.as_bytes());
            if command.get_arguments().next().is_some() {
                Man::new(command.clone()).render_options_section(&mut page).unwrap();
            }
        }
        String::from_utf8(page).unwrap()
    }

    /// `UPDATE_DOCS=1 cargo test docs` writes the files anew.
    #[test]
    fn the_docs_for_shells_and_man_are_as_the_definition() {
        let shells = [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh];
        let files = SHELLS.iter().zip(["bash", "elv", "fish", "ps1", "zsh"]).zip(shells);
        let files =
            files.map(|((name, end), shell)| (end, completions(name).unwrap(), made_completions(shell)));
        for (end, is, made) in files.chain([("1", manual(), made_manual())]) {
            for command in definition().get_subcommands() {
                let name = command.get_name();
                assert!(made.to_lowercase().contains(name), "{end} does not know {name}");
            }
            if std::env::var_os("UPDATE_DOCS").is_some() {
                let path = format!("{}/src/cli/made/gantry.{end}", env!("CARGO_MANIFEST_DIR"));
                std::fs::write(path, made).unwrap();
            } else {
                assert!(is == made, "src/cli/made/gantry.{end} is old; run UPDATE_DOCS=1 cargo test docs");
            }
        }
        assert_eq!(completions("tcsh"), None);
    }
}
