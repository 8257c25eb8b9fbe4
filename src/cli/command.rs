//! What a command line asks for. Pure.

use std::ffi::OsString;
use std::time::Duration;

use clap::ArgMatches;
use clap::error::ErrorKind;

use super::definition::definition;
use super::usage::UsageError;

/// What a process is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The daemon, one cycle, or the remover of images, as the configuration says.
    Daemon,
    /// Print [`crate::config::help()`].
    Help,
    /// Print the help of one command.
    HelpOf(String),
    /// Print [`crate::config::version()`].
    Version,
    /// Send a test message to all addresses of notifications.
    Notify,
    /// Tell whether the daemon in this container is alive.
    Healthcheck,
    /// Show how things stand.
    Status {
        /// As JSON.
        json: bool,
    },
    /// Show progress until the user ends it.
    Watch,
    /// Show what a run would do.
    Plan {
        /// What it looks at.
        scope: Narrowed,
        /// As JSON.
        json: bool,
    },
    /// Show why a service is updated or not.
    Explain {
        /// The service.
        service: String,
        /// As JSON.
        json: bool,
    },
    /// Start a run.
    Run {
        /// What it looks at.
        scope: Narrowed,
        /// Whether its updates wait neither for windows nor for minimum ages.
        now: bool,
        /// Whether to wait for its end.
        wait: RunWait,
        /// As JSON.
        json: bool,
    },
    /// List the runs with news, or show one.
    History {
        /// The number of the one.
        id: Option<u64>,
        /// As JSON.
        json: bool,
    },
    /// List what is not offered again.
    Quarantine {
        /// As JSON.
        json: bool,
    },
    /// Offer again what a service, or an image, was kept from; `None`: everything.
    Release(Option<String>),
    /// Let no update begin.
    Pause {
        /// For how long, as the user wrote it.
        lasts: Option<String>,
        /// Why; empty: no reason is given.
        why: String,
    },
    /// Let updates begin again.
    Resume,
    /// Let a digest be rolled out that waits for a user's word.
    Approve {
        /// An image with its tag, or a service.
        name: String,
        /// The digest, or its beginning; `None`: list what waits.
        digest: Option<String>,
        /// Who approves.
        by: Option<String>,
        /// Why; empty: no reason is given.
        why: String,
    },
    /// Take the approvals of an image with its tag, or of a service, back.
    Revoke(String),
    /// Print completions for this shell.
    Completions(String),
    /// Print the manual page.
    Man,
}

/// What a run or a plan is narrowed to; empty: nothing is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowed {
    /// Images with their tag.
    pub images: Vec<String>,
    /// Names of services.
    pub services: Vec<String>,
    /// Filters, as in `GANTRY_SERVICES_FILTERS`.
    pub filters: Vec<String>,
}

/// Whether a command waits for the end of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunWait {
    /// It does not.
    No,
    /// It does, however long that takes.
    ForEnd,
    /// It does, for so long.
    AtMost(Duration),
}

impl Command {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// An argument that is not known, one too many, or one too few.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let arguments: Vec<String> =
            arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
        let Some(first) = arguments.first() else { return Ok(Self::Daemon) };
        let mut whole = definition();
        match first.as_str() {
            "-h" | "--help" => return Ok(Self::Help),
            "-V" | "--version" => {
                return match arguments.get(1).map(String::as_str) {
                    None => Ok(Self::Version),
                    Some("-h" | "--help") => Ok(Self::Help),
                    Some(more) => {
                        let remedy = format!("{first} stands alone");
                        Err(UsageError::Unexpected { unexpected: more.to_owned(), remedy })
                    }
                };
            }
            _ => {}
        }
        let Some(command) = whole.find_subcommand(first).cloned() else {
            return Err(UsageError::of_first(first, &whole));
        };
        match whole
            .try_get_matches_from_mut(["gantry"].into_iter().chain(arguments.iter().map(String::as_str)))
        {
            Ok(matches) => match matches.subcommand() {
                Some((name, matches)) => Self::of(name, matches),
                None => Ok(Self::Help),
            },
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {
                Ok(Self::HelpOf(error.to_string().trim_end().to_owned()))
            }
            Err(error) => Err(UsageError::of_clap(&command, &error)),
        }
    }

    fn of(name: &str, matches: &ArgMatches) -> Result<Self, UsageError> {
        let is = |name: &str| matches.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or_default();
        let one = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
        let json = is("json");
        Ok(match name {
            "status" => Self::Status { json },
            "watch" => Self::Watch,
            "plan" => Self::Plan { scope: Narrowed::of(matches), json },
            "explain" => Self::Explain { service: one("service").unwrap_or_default(), json },
            "run" => {
                let mut scope = Narrowed::of(matches);
                scope.services.extend(matches.get_many("now").into_iter().flatten().cloned());
                Self::Run { scope, now: matches.contains_id("now"), wait: RunWait::of(matches), json }
            }
            "history" => Self::History { id: matches.get_one("id").copied(), json },
            "quarantine" => Self::Quarantine { json },
            "release" => match one("name") {
                _ if is("all") => Self::Release(None),
                Some(name) if !name.trim().is_empty() => Self::Release(Some(name)),
                _ => return Err(UsageError::NothingToRelease),
            },
            "pause" => {
                let why: Vec<&str> =
                    matches.get_many::<String>("why").into_iter().flatten().map(String::as_str).collect();
                Self::Pause { lasts: one("for"), why: why.join(" ") }
            }
            "resume" => Self::Resume,
            "approve" => Self::Approve {
                name: one("name").unwrap_or_default(),
                digest: one("digest"),
                by: one("by"),
                why: one("why").unwrap_or_default(),
            },
            "revoke" => Self::Revoke(one("name").unwrap_or_default()),
            "notify" if !is("test") => return Err(UsageError::NothingToNotify),
            "notify" => Self::Notify,
            "healthcheck" => Self::Healthcheck,
            "completions" => Self::Completions(one("shell").unwrap_or_default()),
            "man" => Self::Man,
            "version" => Self::Version,
            _ => {
                let topic = matches.get_many::<String>("command").into_iter().flatten().next();
                topic.and_then(|topic| help_of(topic)).map_or(Self::Help, Self::HelpOf)
            }
        })
    }
}

/// The help of one command; `None`: there is no such command.
fn help_of(name: &str) -> Option<String> {
    let mut command = definition().find_subcommand(name)?.clone().bin_name(format!("gantry {name}"));
    Some(command.render_help().to_string().trim_end().to_owned())
}

impl Narrowed {
    fn of(matches: &ArgMatches) -> Self {
        let all = |name: &str| matches.get_many(name).into_iter().flatten().cloned().collect();
        Self { images: all("image"), services: all("service"), filters: all("filter") }
    }
}

impl RunWait {
    fn of(matches: &ArgMatches) -> Self {
        match matches.get_one("wait").copied() {
            None => Self::No,
            Some(0) => Self::ForEnd,
            Some(seconds) => Self::AtMost(Duration::from_secs(seconds)),
        }
    }

    /// What is left of it after so long.
    pub(super) fn less(self, past: Duration) -> Self {
        match self {
            Self::AtMost(limit) => Self::AtMost(limit.saturating_sub(past)),
            Self::No | Self::ForEnd => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, UsageError> {
        Command::parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn each_command_has_its_meaning() {
        let scope = Narrowed {
            images: vec!["web:1".to_owned(), "shop:2".to_owned()],
            services: vec!["web".to_owned()],
            filters: vec!["label=a=b".to_owned()],
        };
        let narrowed = ["--image", "web:1", "--image=shop:2", "--service", "web", "--filter", "label=a=b"];
        let run = |wait| Command::Run { scope: Narrowed::default(), now: false, wait, json: false };
        let cases: &[(&[&str], Command)] = &[
            (&[], Command::Daemon),
            (&["--help"], Command::Help),
            (&["-h", "whatever"], Command::Help),
            (&["help"], Command::Help),
            (&["help", "nonsense"], Command::Help),
            (&["--version"], Command::Version),
            (&["-V"], Command::Version),
            (&["version"], Command::Version),
            (&["healthcheck"], Command::Healthcheck),
            (&["status"], Command::Status { json: false }),
            (&["status", "--json"], Command::Status { json: true }),
            (&["watch"], Command::Watch),
            (&[&["plan"][..], &narrowed].concat(), Command::Plan { scope: scope.clone(), json: false }),
            (&["explain", "web", "--json"], Command::Explain { service: "web".to_owned(), json: true }),
            (&["run"], run(RunWait::No)),
            (&["run", "--wait"], run(RunWait::ForEnd)),
            (&["run", "--wait=90"], run(RunWait::AtMost(Duration::from_secs(90)))),
            (
                &[&["run", "--wait", "--json"][..], &narrowed].concat(),
                Command::Run { scope, now: false, wait: RunWait::ForEnd, json: true },
            ),
            (
                &["run", "--now", "--wait"],
                Command::Run { scope: Narrowed::default(), now: true, wait: RunWait::ForEnd, json: false },
            ),
            (
                &["run", "--now", "web", "shop"],
                Command::Run {
                    scope: Narrowed {
                        services: vec!["web".to_owned(), "shop".to_owned()],
                        ..Narrowed::default()
                    },
                    now: true,
                    wait: RunWait::No,
                    json: false,
                },
            ),
            (&["history"], Command::History { id: None, json: false }),
            (&["history", "17", "--json"], Command::History { id: Some(17), json: true }),
            (&["quarantine"], Command::Quarantine { json: false }),
            (&["release", "web"], Command::Release(Some("web".to_owned()))),
            (&["release", "--all"], Command::Release(None)),
            (&["pause"], Command::Pause { lasts: None, why: String::new() }),
            (
                &["pause", "--for", "2h", "new", "switch"],
                Command::Pause { lasts: Some("2h".to_owned()), why: "new switch".to_owned() },
            ),
            (&["resume"], Command::Resume),
            (
                &["approve", "shop:live", "0123456789ab", "--by", "anna", "--why", "tested"],
                Command::Approve {
                    name: "shop:live".to_owned(),
                    digest: Some("0123456789ab".to_owned()),
                    by: Some("anna".to_owned()),
                    why: "tested".to_owned(),
                },
            ),
            (
                &["approve", "shop"],
                Command::Approve { name: "shop".to_owned(), digest: None, by: None, why: String::new() },
            ),
            (&["revoke", "shop"], Command::Revoke("shop".to_owned())),
            (&["completions", "zsh"], Command::Completions("zsh".to_owned())),
            (&["man"], Command::Man),
            (&["notify", "--test"], Command::Notify),
        ];
        for (arguments, command) in cases {
            assert_eq!(parse(arguments).as_ref(), Ok(command), "{arguments:?}");
        }
    }

    #[test]
    fn each_command_has_a_help_of_its_own() {
        let (asked, told) = (parse(&["run", "--help"]).unwrap(), parse(&["help", "run"]).unwrap());
        assert_eq!(asked, told);
        let Command::HelpOf(help) = asked else { panic!("{asked:?}") };
        insta::assert_snapshot!(help);
        for command in definition().get_subcommands() {
            let name = command.get_name();
            assert!(
                matches!(parse(&[name, "--help"]), Ok(Command::HelpOf(help)) if help.contains(name)),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_answered_with_a_hint() {
        let errors = [
            &["--hlep"][..],
            &["health-check"],
            &["statsu"],
            &["--interval", "5"],
            &["GANTRY_REGISTRY_PASSWORD=hunter2"],
            &["run", "GANTRY_REGISTRY_PASSWORD=hunter2"],
            &["healthcheck", "now"],
            &["--version", "now"],
            &["\u{1b}[31m"],
            &["quarantine", "web"],
            &["release"],
            &["release", " "],
            &["release", "--everything"],
            &["release", "--all", "web"],
            &["release", "web", "shop"],
            &["notify"],
            &["notify", "me"],
            &["notify", "--test", "me"],
            &["status", "--jsno"],
            &["run", "web"],
            &["run", "--image"],
            &["run", "--wait=soon"],
            &["run", "--wait", "90"],
            &["explain"],
            &["history", "latest"],
            &["completions", "tcsh"],
            &["completions"],
            &["status", "--json=yes"],
            &["status", "--json", "--json"],
        ];
        let errors = errors.map(|arguments| parse(arguments).unwrap_err().to_string()).join("\n");
        assert!(!errors.contains("hunter2"), "{errors}");
        insta::assert_snapshot!(errors);
    }
}
