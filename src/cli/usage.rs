//! Mistakes in a command line, in words that name the remedy. Pure.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command as Definition, Error};

use crate::config::VARIABLES;
use crate::suggest::nearest;
use crate::words::printable;

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
    /// `gantry release` alone.
    #[error("what is to be released? {RELEASE}")]
    NothingToRelease,
    /// `gantry notify` alone.
    #[error("what is to be sent? {NOTIFY}")]
    NothingToNotify,
    /// An argument is missing, or its value cannot be used.
    #[error("{0}")]
    Wrong(String),
}

impl UsageError {
    /// The first argument is no command.
    pub(super) fn of_first(argument: &str, whole: &Definition) -> Self {
        if let Some(error) = of_variable(argument) {
            return error;
        }
        let options: &[&str] = if argument.starts_with('-') { &["--help", "--version"] } else { &[] };
        let commands = whole.get_subcommands().map(Definition::get_name);
        let commands = commands.filter(|name| options.is_empty() || !matches!(*name, "help" | "version"));
        let remedy = match nearest(argument, "--", options.iter().copied().chain(commands)) {
            Some(known) => format!("did you mean gantry {known}?"),
            None => "settings are environment variables, and gantry --help lists them".to_owned(),
        };
        Self::Unexpected { unexpected: argument.to_owned(), remedy }
    }

    /// An argument that a command does not take.
    pub(super) fn unexpected(command: &Definition, argument: &str) -> Self {
        of_variable(argument).unwrap_or_else(|| Self::Unexpected {
            unexpected: argument.to_owned(),
            remedy: remedy(command, argument),
        })
    }

    /// What clap says of a command's arguments.
    pub(super) fn of_clap(command: &Definition, error: &Error) -> Self {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.clone(),
            Some(ContextValue::Strings(texts)) => texts.join(" "),
            _ => String::new(),
        };
        let (argument, name) = (context(ContextKind::InvalidArg), command.get_name());
        let help = format!("gantry {name} --help shows what it takes");
        match error.kind() {
            ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => Self::unexpected(command, &argument),
            ErrorKind::ArgumentConflict if name == "release" => Self::unexpected(command, "--all"),
            ErrorKind::MissingRequiredArgument => Self::Wrong(format!("{argument} is missing; {help}")),
            ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::NoEquals => {
                let value = context(ContextKind::InvalidValue);
                let valid = context(ContextKind::ValidValue).replace(' ', ", ");
                let remedy = if valid.is_empty() { help } else { format!("expected one of {valid}") };
                Self::Wrong(if value.is_empty() {
                    format!("{argument} needs a value; {remedy}")
                } else {
                    format!("{argument} cannot be {value:?}; {remedy}")
                })
            }
            _ => {
                let words = error.to_string();
                let words = words.lines().next().unwrap_or_default().trim_start_matches("error: ");
                Self::Wrong(printable(&format!("{words}; {help}")))
            }
        }
    }
}

/// A setting that is passed as an option comes from the manual of another program.
fn of_variable(argument: &str) -> Option<UsageError> {
    let variable = argument.split_once('=').map_or(argument, |(name, _)| name);
    VARIABLES.iter().any(|known| known.name == variable).then(|| {
        // Its value may be a password.
        let unexpected = format!("{variable}=...");
        let remedy = format!("{variable} is an environment variable: env {unexpected} gantry");
        UsageError::Unexpected { unexpected, remedy }
    })
}

/// What a command would take instead of this argument.
fn remedy(command: &Definition, argument: &str) -> String {
    let name = command.get_name();
    match name {
        "release" => return RELEASE.to_owned(),
        "notify" => return NOTIFY.to_owned(),
        _ => {}
    }
    let options: Vec<String> =
        command.get_arguments().filter_map(|it| it.get_long().map(|long| format!("--{long}"))).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).filter(|long| *long != "--help").collect();
    if argument.starts_with('-')
        && let Some(known) = nearest(argument, "--", options.iter().copied())
    {
        return format!("did you mean {known}?");
    }
    let is_number = argument.bytes().all(|byte| byte.is_ascii_digit());
    if options.contains(&"--service") && !argument.starts_with('-') && !is_number {
        return format!("did you mean --service {}?", printable(argument));
    }
    match (command.get_positionals().next(), &options[..]) {
        (Some(_), _) => format!("gantry {name} --help shows what it takes"),
        (None, []) => format!("{name} stands alone"),
        (None, options) => format!("{name} stands alone, or with {}", options.join(", ")),
    }
}
