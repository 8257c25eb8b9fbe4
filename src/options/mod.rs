//! Options of `docker service update` and `docker service create`: from a text to edits of a specification. Pure.
//!
//! ```text
//! text --shell_words--> words --table, value--> Options --apply, edits--> the specification's JSON
//! ```
//!
//! The semantics are those of the docker CLI (docker/cli `cli/command/service`). The same options are applied again and
//! again, so an option that is in effect already changes nothing. The ids of networks, secrets and configs come in as
//! [`Ids`].

use std::collections::HashSet;
use std::fmt;

use serde_json::Value;

mod apply;
#[cfg(test)]
mod cost;
mod edits;
mod number;
mod shell_words;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod value;

pub use apply::{Ids, Name, OptionError};
pub use table::{In, OPTIONS, OptionInfo};
pub use value::ValueKind;

use crate::suggest;
use crate::words::piece;

/// The command that options are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceCommand {
    /// `docker service update`.
    Update,
    /// `docker service update --rollback`. The CLI combines that with hardly any option; here all are edits
    /// of the specification that is restored.
    Rollback,
    /// `docker service create`, for the image remover.
    Create,
}

/// Limits of one text of options. Options come from labels, which any user of the swarm may write, and every cycle reads
/// them.
#[derive(Clone, Copy, Debug)]
struct OptionLimits {
    /// Bytes of text.
    bytes: usize,
    /// Values of all options together.
    values: usize,
    /// Ports. A range counts with all its ports: telephony needs 10,000.
    ports: usize,
}

const LIMITS: OptionLimits = OptionLimits { bytes: 16 << 10, values: 1000, ports: 20_000 };

/// Options that were understood.
#[derive(Clone, Default, PartialEq)]
pub struct Options {
    /// In the order of the table.
    given: Vec<GivenOption>,
}

/// One option and all its values, in the order in which they were written.
#[derive(Clone)]
struct GivenOption {
    known: &'static OptionInfo,
    values: Vec<Value>,
}

impl PartialEq for GivenOption {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.known, other.known) && self.values == other.values
    }
}

impl Eq for Options {}

impl ServiceCommand {
    /// Whether the command has this option.
    pub fn has(self, known: &OptionInfo) -> bool {
        match known.commands {
            In::Both => true,
            In::Update => self != Self::Create,
            In::Create => self == Self::Create,
        }
    }

    fn find(self, name: &str) -> Result<&'static OptionInfo, OptionError> {
        let mut options = OPTIONS.iter().filter(|known| self.has(known));
        options.clone().find(|known| known.name == name).ok_or_else(|| {
            let expected = match suggest::nearest(name, "", options.by_ref().map(|known| known.name)) {
                Some(known) => format!("an option of {self}; did you mean --{known}?"),
                None => format!("an option of {self}"),
            };
            OptionError::new(format!("--{}", piece(name)), expected)
        })
    }

    fn find_short(self, short: char) -> Result<&'static OptionInfo, OptionError> {
        let known = OPTIONS.iter().find(|known| known.short == Some(short) && self.has(known));
        let shown = short.escape_debug();
        known.ok_or_else(|| OptionError::new(format!("-{shown}"), format!("an option of {self}")))
    }
}

impl fmt::Display for ServiceCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Update | Self::Rollback => "docker service update",
            Self::Create => "docker service create",
        })
    }
}

impl Options {
    /// Reads options as they are written on a command line: `--name value`, `--name=value`, `--flag`,
    /// `--flag=false`, `-s value`, quoted as in a shell.
    ///
    /// # Errors
    /// The first option that is unknown, malformed, not accepted or not to be combined with another; or more text, values or
    /// ports than any service needs.
    pub fn parse(command: ServiceCommand, text: &str) -> Result<Self, OptionError> {
        Self::read(command, text, LIMITS)
    }

    fn read(command: ServiceCommand, text: &str, limits: OptionLimits) -> Result<Self, OptionError> {
        within(limits.bytes, "bytes of options", text.len())?;
        let words =
            shell_words::split(text).map_err(|unbalanced| OptionError::new("...", unbalanced.to_string()))?;
        let words = words.into_iter().enumerate();
        let mut reading = OptionReader { command, words, options: Self::default(), values: 0, ports: 0 };
        while let Some((at, word)) = reading.words.next() {
            match word.strip_prefix('-') {
                Some("-") => {
                    if let Some((at, _)) = reading.words.next() {
                        return Err(belongs_to_no_option(at));
                    }
                }
                Some(rest) if rest.starts_with('-') => reading.long(&rest[1..])?,
                Some(rest) if !rest.is_empty() => reading.short(rest)?,
                _ => return Err(belongs_to_no_option(at)),
            }
        }
        let OptionReader { mut options, values, ports, .. } = reading;
        within(limits.values, "values", values)?;
        within(limits.ports, "ports", ports)?;
        options.given.sort_by_key(|given| place(given.known));
        options.check()?;
        Ok(options)
    }

    /// Whether no option is given.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Whether this option is given.
    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|given| given.known.name == name)
    }

    /// Whether a specification may be another one once they are applied. `--force` alone does not count where
    /// tasks are replaced anyway.
    pub fn change_anything(&self) -> bool {
        self.given.iter().any(|given| !matches!(given.known.edit, apply::Edit::Nothing))
    }

    /// The same options without one.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let others = self.given.iter().filter(|given| given.known.name != name);
        Self { given: others.cloned().collect() }
    }

    /// The names whose ids have to be looked up before the options can be applied.
    pub fn names(&self) -> Vec<Name> {
        let name = |kind: ValueKind, value: &Value| {
            let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            match kind {
                ValueKind::Network => text("/Target").map(Name::Network),
                ValueKind::NetworkName => text("").map(Name::Network),
                ValueKind::Secret => text("/SecretName").map(Name::Secret),
                ValueKind::Config => text("/ConfigName").map(Name::Config),
                ValueKind::CredentialSpec => text("/Config").map(Name::Config),
                _ => None,
            }
        };
        let values =
            self.given.iter().flat_map(|given| given.values.iter().map(|value| (given.known.kind, value)));
        values.filter_map(|(kind, value)| name(kind, value)).collect()
    }

    /// Applies them to a specification. Nothing else in it changes.
    ///
    /// # Errors
    /// An option that does not fit this specification, or that names something without an id. The
    /// specification may then be changed in part.
    pub fn apply(&self, spec: &mut Value, ids: &Ids) -> Result<(), OptionError> {
        let mut editing = apply::Editing { spec, values_of: &|name| self.values(name), ids };
        self.given.iter().try_for_each(|given| editing.make(&given.known.edit, &given.values))
    }

    /// The names of the options that are given, in the order in which they are applied.
    pub fn given_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.given.iter().map(|given| given.known.name)
    }

    fn values(&self, name: &str) -> &[Value] {
        self.given.iter().find(|given| given.known.name == name).map_or(&[], |given| &given.values)
    }

    /// Refuses options that exclude each other.
    fn check(&self) -> Result<(), OptionError> {
        let is_off = self.values("no-healthcheck").last().is_some_and(|value| value == true);
        let other = self.given.iter().find(|given| given.known.name.starts_with("health-"));
        if let Some(other) = other.filter(|_| is_off) {
            let option = format!("--no-healthcheck --{}", other.known.name);
            return Err(OptionError::new(option, "one of them"));
        }
        for (option, pointer) in
            [("mount", "/Target"), ("secret", "/File/Name"), ("config", "/File/Name"), ("network", "/Target")]
        {
            for option in [option.to_owned(), format!("{option}-add")] {
                let mut targets = HashSet::new();
                if !self.values(&option).iter().all(|value| targets.insert(value.pointer(pointer))) {
                    return Err(OptionError::new(format!("--{option}"), "each target once"));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Options {
    /// Shows names only: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.given_names()).finish()
    }
}

fn place(known: &'static OptionInfo) -> usize {
    OPTIONS.iter().position(|other| std::ptr::eq(other, known)).unwrap_or_default()
}

fn belongs_to_no_option(at: usize) -> OptionError {
    // The word itself may be the second half of a password that should have been quoted.
    OptionError::new(format!("word {}", at + 1), "an option, or quotes around a value with white space")
}

fn within(most: usize, what: &str, found: usize) -> Result<(), OptionError> {
    if found <= most {
        return Ok(());
    }
    Err(OptionError::new("...", format!("at most {most} {what}, found {found}")))
}

/// A command line while it is read.
struct OptionReader<W> {
    command: ServiceCommand,
    words: W,
    options: Options,
    /// How many values there are so far, and how many ports in them.
    values: usize,
    ports: usize,
}

impl<W: Iterator<Item = (usize, String)>> OptionReader<W> {
    /// `name`, `name=value`.
    fn long(&mut self, rest: &str) -> Result<(), OptionError> {
        let (name, value) = match rest.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (rest, None),
        };
        let known = self.command.find(name)?;
        self.take(known, value)
    }

    /// `t`, `tq` (two flags), `uroot`, `u=root`, `u`.
    fn short(&mut self, rest: &str) -> Result<(), OptionError> {
        let mut rest = rest.chars();
        while let Some(short) = rest.next() {
            let known = self.command.find_short(short)?;
            let behind = rest.as_str();
            match behind.strip_prefix('=') {
                Some(value) => return self.take(known, Some(value.to_owned())),
                None if known.kind == ValueKind::Flag => self.take(known, None)?,
                None if behind.is_empty() => return self.take(known, None),
                None => return self.take(known, Some(behind.to_owned())),
            }
        }
        Ok(())
    }

    /// Takes an option, and the next word where its value is missing.
    fn take(&mut self, known: &'static OptionInfo, value: Option<String>) -> Result<(), OptionError> {
        let name = known.name;
        if let Some(remedy) = known.refusal() {
            if name == "rollback" && self.command == ServiceCommand::Rollback && value.is_none() {
                return Ok(());
            }
            return Err(OptionError::new(format!("--{name}"), remedy));
        }
        let value = match value {
            None if known.kind == ValueKind::Flag => "true".to_owned(),
            None => match self.words.next() {
                Some((_, word)) => word,
                None => return Err(OptionError::new(format!("--{name}"), known.kind.expected())),
            },
            Some(value) => value,
        };
        let parsed = known.kind.parse(&value).map_err(|expected| {
            let value = if known.kind.may_be_shown() { piece(&value) } else { "***".to_owned() };
            OptionError::new(format!("--{name} {value}"), expected)
        })?;
        self.values += 1;
        self.ports += parsed.as_array().filter(|_| known.kind == ValueKind::Ports).map_or(0, Vec::len);
        match self.options.given.iter_mut().find(|given| std::ptr::eq(given.known, known)) {
            Some(given) => given.values.push(parsed),
            None => self.options.given.push(GivenOption { known, values: vec![parsed] }),
        }
        Ok(())
    }
}
