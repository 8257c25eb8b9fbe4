//! The command line.

use crate::suggest::nearest;
use std::ffi::OsString;

/// What a process is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The daemon, one cycle, or the remover of images, as the configuration says.
    Run,
    /// Print [`super::help()`].
    Help,
    /// Print [`super::version()`].
    Version,
    /// Tell whether the daemon in this container is alive.
    Healthcheck,
    /// List what is not offered again.
    Quarantine,
    /// Send a test message to all addresses of notifications.
    Notify,
    /// Offer again what a service, or an image, was kept from; `None`: everything.
    Release(Option<String>),
}

/// What `gantry release` wants.
const RELEASE: &str = "gantry release takes one service, one image with its tag, or --all; gantry quarantine lists what \
                       there is to release";

/// What `gantry notify` wants.
const NOTIFY: &str = "gantry notify --test sends a test message to all addresses of notifications";

/// A command line that means nothing. The process ends with exit code 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// An argument that is not known, or one too many.
    #[error("{unexpected:?} is not expected here; {remedy}")]
    Unexpected {
        /// The argument.
        unexpected: String,
        /// What would be.
        remedy: String,
    },
    /// `gantry notify` alone.
    #[error("what is to be sent? {NOTIFY}")]
    NothingToNotify,
    /// `gantry release` alone.
    #[error("what is to be released? {RELEASE}")]
    NothingToRelease,
}

impl Command {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// An argument that is not known, or one too many.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
        let Some(first) = arguments.next() else { return Ok(Self::Run) };
        let command = match first.as_str() {
            help if is_help(help) || help == "help" => Self::Help,
            "-V" | "--version" | "version" => Self::Version,
            "healthcheck" => Self::Healthcheck,
            "quarantine" => Self::Quarantine,
            "notify" => match arguments.next() {
                Some(help) if is_help(&help) => Self::Help,
                Some(test) if test == "--test" => Self::Notify,
                Some(unexpected) => {
                    return Err(UsageError::Unexpected { unexpected, remedy: NOTIFY.to_owned() });
                }
                None => return Err(UsageError::NothingToNotify),
            },
            "release" => match arguments.next() {
                Some(help) if is_help(&help) => Self::Help,
                Some(all) if all == "--all" => Self::Release(None),
                Some(unexpected) if unexpected.starts_with('-') => {
                    return Err(UsageError::Unexpected { unexpected, remedy: RELEASE.to_owned() });
                }
                Some(name) if !name.trim().is_empty() => Self::Release(Some(name)),
                _ => return Err(UsageError::NothingToRelease),
            },
            _ => return Err(unknown(first)),
        };
        match arguments.next() {
            None => Ok(command),
            Some(_) if command == Self::Help => Ok(command),
            Some(help) if is_help(&help) => Ok(Self::Help),
            Some(unexpected) if command == Self::Notify => {
                Err(UsageError::Unexpected { unexpected, remedy: NOTIFY.to_owned() })
            }
            Some(unexpected) if matches!(command, Self::Release(_)) => {
                Err(UsageError::Unexpected { unexpected, remedy: RELEASE.to_owned() })
            }
            Some(unexpected) => {
                Err(UsageError::Unexpected { unexpected, remedy: format!("{first} stands alone") })
            }
        }
    }
}

fn unknown(argument: String) -> UsageError {
    // A setting that is passed as an option comes from the manual of another program.
    let variable = argument.split_once('=').map_or(argument.as_str(), |(name, _)| name);
    let remedy = if super::VARIABLES.iter().any(|v| v.name == variable) {
        // Its value may be a password.
        let unexpected = format!("{variable}=...");
        let remedy = format!("{variable} is an environment variable: env {unexpected} gantry");
        return UsageError::Unexpected { unexpected, remedy };
    } else if let Some(known) = nearest(
        &argument,
        "--",
        ["--help", "--version", "healthcheck", "quarantine", "release", "notify"].into_iter(),
    ) {
        format!("did you mean gantry {known}?")
    } else {
        "settings are environment variables, and gantry --help lists them".to_owned()
    };
    UsageError::Unexpected { unexpected: argument, remedy }
}

fn is_help(argument: &str) -> bool {
    matches!(argument, "-h" | "--help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, String> {
        Command::parse(arguments.iter().map(Into::into)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_nothing_or_one_request() {
        for (arguments, command) in [
            (&[][..], Command::Run),
            (&["--help"], Command::Help),
            (&["-h"], Command::Help),
            (&["help", "variables"], Command::Help),
            (&["--version"], Command::Version),
            (&["-V"], Command::Version),
            (&["healthcheck"], Command::Healthcheck),
            (&["quarantine"], Command::Quarantine),
            (&["quarantine", "--help"], Command::Help),
            (&["release", "-h"], Command::Help),
            (&["release", "web", "--help"], Command::Help),
            (&["notify", "--test"], Command::Notify),
            (&["notify", "--help"], Command::Help),
            (&["release", "web"], Command::Release(Some("web".to_owned()))),
            (&["release", "--all"], Command::Release(None)),
        ] {
            assert_eq!(parse(arguments), Ok(command), "{arguments:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_answered_with_a_hint() {
        let errors = [
            &["--hlep"][..],
            &["health-check"],
            &["--interval", "5"],
            &["GANTRY_REGISTRY_PASSWORD=hunter2"],
            &["healthcheck", "now"],
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
        ];
        let errors = errors.map(|arguments| parse(arguments).unwrap_err()).join("\n");
        insta::assert_snapshot!(errors, @r#"
        "--hlep" is not expected here; did you mean gantry --help?
        "health-check" is not expected here; did you mean gantry healthcheck?
        "--interval" is not expected here; settings are environment variables, and gantry --help lists them
        "GANTRY_REGISTRY_PASSWORD=..." is not expected here; GANTRY_REGISTRY_PASSWORD is an environment variable: env GANTRY_REGISTRY_PASSWORD=... gantry
        "now" is not expected here; healthcheck stands alone
        "\u{1b}[31m" is not expected here; settings are environment variables, and gantry --help lists them
        "web" is not expected here; quarantine stands alone
        what is to be released? gantry release takes one service, one image with its tag, or --all; gantry quarantine lists what there is to release
        what is to be released? gantry release takes one service, one image with its tag, or --all; gantry quarantine lists what there is to release
        "--everything" is not expected here; gantry release takes one service, one image with its tag, or --all; gantry quarantine lists what there is to release
        "web" is not expected here; gantry release takes one service, one image with its tag, or --all; gantry quarantine lists what there is to release
        "shop" is not expected here; gantry release takes one service, one image with its tag, or --all; gantry quarantine lists what there is to release
        what is to be sent? gantry notify --test sends a test message to all addresses of notifications
        "me" is not expected here; gantry notify --test sends a test message to all addresses of notifications
        "me" is not expected here; gantry notify --test sends a test message to all addresses of notifications
        "#);
    }
}
