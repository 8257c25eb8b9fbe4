//! The kinds of value that options have: a parser and a description for each. Pure.
//!
//! A value is parsed into the JSON of the specification, or into a text that the edit takes apart.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::shell_words;
use super::{number, syntax};

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A switch: `--tty`, `--tty=false`.
    Flag,
    /// Any text.
    Text,
    /// The words of a command.
    Command,
    /// One of these words; empty: back to the engine's default.
    Choice(&'static [&'static str]),
    /// A whole number.
    Unsigned,
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// A part of a whole.
    Ratio,
    /// A length of time, in nanoseconds.
    Duration,
    /// A size in bytes.
    Bytes,
    /// A size in bytes, or -1 for no limit.
    Swap,
    /// CPUs, in billionths.
    Cpus,
    /// The name of something to remove.
    Key,
    /// `KEY` or `KEY=VALUE`, the key without white space.
    Label,
    /// `KEY` or `KEY=VALUE`.
    Pair,
    /// `NAME=VALUE` of an environment.
    Variable,
    /// An IP address.
    Address,
    /// A domain to search, or `.`.
    Domain,
    /// `HOST:IP`.
    Host,
    /// `NAME=NUMBER` of a resource.
    Resource,
    /// `spread=LABEL`.
    Preference,
    /// `NAME=SOFT[:HARD]`.
    Ulimit,
    /// A mount, in the long syntax.
    Mount,
    /// Published ports, in either syntax.
    Ports,
    /// A network to attach to, in either syntax.
    Network,
    /// The name or id of a network.
    NetworkName,
    /// A secret, in either syntax.
    Secret,
    /// A config, in either syntax.
    Config,
    /// `config://NAME`, `file://NAME` or `registry://NAME`.
    CredentialSpec,
}

/// The names of limits that Linux knows (go-units `ulimit.go`).
const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl ValueKind {
    /// What a value looks like, in words that follow "expected".
    pub fn expected(self) -> &'static str {
        match self {
            Self::Flag => "true or false",
            Self::Text | Self::Key => "a text",
            Self::Command => "the words of a command, quoted as in a shell",
            Self::Choice(_) => "one of the words that it knows",
            Self::Unsigned => "a whole number",
            Self::Integer(..) => "a whole number within its bounds",
            Self::Ratio => "a number from 0 to 1",
            Self::Duration => "a length of time such as 1m30s",
            Self::Bytes => "a size such as 512m",
            Self::Swap => "a size such as 512m, or -1",
            Self::Cpus => "a number of CPUs such as 0.5, with at most nine decimals",
            Self::Label => "KEY=VALUE, without white space in KEY",
            Self::Pair => "KEY=VALUE",
            Self::Variable => "NAME=VALUE (Gantry's own environment is not passed on)",
            Self::Address => "an IP address",
            Self::Domain => "a domain name",
            Self::Host => "HOST:IP",
            Self::Resource => "NAME=NUMBER",
            Self::Preference => "spread=LABEL, such as spread=node.labels.zone",
            Self::Ulimit => "NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024:2048",
            Self::Mount => "a mount such as type=volume,source=data,target=/data",
            Self::Ports => syntax::PORTS,
            Self::Network => "a network such as NAME or name=NAME,alias=ALIAS",
            Self::NetworkName => "the name of a network",
            Self::Secret => "a secret such as NAME or source=NAME,target=FILE,mode=0400",
            Self::Config => "a config such as NAME or source=NAME,target=FILE,mode=0444",
            Self::CredentialSpec => "config://NAME, file://NAME or registry://NAME",
        }
    }

    /// Whether a value may be shown in an error: none in which people put passwords.
    pub(super) fn may_be_shown(self) -> bool {
        !matches!(self, Self::Text | Self::Command | Self::Label | Self::Pair | Self::Variable | Self::Mount)
    }

    /// Reads a value, or says what was expected, in words that follow "expected".
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        let parsed = match self {
            Self::Flag => number::go_bool(text).map(Value::from),
            Self::Text => Some(json!(text)),
            Self::Key | Self::NetworkName => (!text.is_empty()).then(|| json!(text)),
            Self::Command => return command(text),
            Self::Choice(words) => return choice(words, text),
            Self::Unsigned => number::go_unsigned(text).map(Value::from),
            Self::Integer(least, most) => return integer(least, most, text),
            Self::Ratio => ratio(text),
            Self::Duration => number::nanoseconds(text).map(Value::from),
            Self::Swap if text == "-1" => Some(json!(-1)),
            Self::Bytes | Self::Swap => number::bytes(text).map(Value::from),
            Self::Cpus => number::nano_cpus(text).map(Value::from),
            Self::Label => {
                let key = key(text).trim_start_matches([' ', '\t']);
                (!key.is_empty() && !key.contains([' ', '\t'])).then(|| json!(text))
            }
            Self::Pair => (!key(text).is_empty()).then(|| json!(text)),
            Self::Variable => (!key(text).is_empty() && text.contains('=')).then(|| json!(text)),
            Self::Address => address(text).map(Value::from),
            Self::Domain => domain(text).map(Value::from),
            Self::Host => host(text).map(Value::from),
            Self::Resource => resource(text),
            Self::Preference => {
                text.strip_prefix("spread=").map(|label| json!({ "Spread": { "SpreadDescriptor": label } }))
            }
            Self::Ulimit => ulimit(text),
            Self::Mount => return syntax::mount(text),
            Self::Ports => return syntax::ports(text),
            Self::Network => return syntax::network(text),
            Self::Secret => return syntax::file_reference(text, "SecretName"),
            Self::Config => return syntax::file_reference(text, "ConfigName"),
            Self::CredentialSpec => credential_spec(text),
        };
        parsed.ok_or_else(|| self.expected().to_owned())
    }
}

/// The part before the first `=`.
pub(super) fn key(text: &str) -> &str {
    text.split_once('=').map_or(text, |(key, _)| key)
}

fn command(text: &str) -> Result<Value, String> {
    shell_words::command(text).map(Value::from).map_err(|unbalanced| unbalanced.to_string())
}

fn choice(words: &[&str], text: &str) -> Result<Value, String> {
    if text.is_empty() || words.contains(&text) { Ok(json!(text)) } else { Err(one_of(words)) }
}

/// `a`, `a or b`, `a, b or c`.
fn one_of(words: &[&str]) -> String {
    match words {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        words => words.concat(),
    }
}

fn integer(least: i64, most: i64, text: &str) -> Result<Value, String> {
    let number = number::go_integer(text).filter(|number| (least..=most).contains(number));
    let unbounded = format!("a whole number from {least}");
    number.map(Value::from).ok_or_else(|| match most {
        i64::MAX => format!("{unbounded} on"),
        most => format!("{unbounded} to {most}"),
    })
}

fn ratio(text: &str) -> Option<Value> {
    let ratio: f64 = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))?;
    Some(json!(ratio))
}

/// An address in its usual form; an IPv4 address that is mapped into IPv6 becomes IPv4.
fn address(text: &str) -> Option<String> {
    text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string())
}

fn domain(text: &str) -> Option<String> {
    let text = text.trim();
    if text == "." {
        return Some(text.to_owned());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !label.is_empty() && is_plain && !label.starts_with('-') && !label.ends_with('-')
    };
    let has_a_letter = name.bytes().any(|b| b.is_ascii_alphabetic());
    (has_a_letter && name.len() < 255 && name.split('.').all(is_label)).then(|| name.to_owned())
}

/// `HOST:IP`, `HOST=IP` or with the address in brackets, as `IP HOST`: the form of the engine.
fn host(text: &str) -> Option<String> {
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':'))?;
    let inner = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let address = inner.unwrap_or(address);
    let is_address = address == "host-gateway" || self::address(address).is_some();
    let is_name = !name.is_empty() && !name.contains(':');
    (is_address && is_name).then(|| format!("{address} {name}"))
}

fn resource(text: &str) -> Option<Value> {
    let (name, number) = text.split_once('=')?;
    let (name, number) = (name.trim(), number.trim().parse::<i64>().ok().filter(|number| *number >= 0)?);
    (!name.is_empty()).then(|| json!({ "DiscreteResourceSpec": { "Kind": name, "Value": number } }))
}

fn ulimit(text: &str) -> Option<Value> {
    let (name, limits) = text.split_once('=').filter(|(name, _)| ULIMITS.contains(name))?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard): (i64, i64) = (soft.parse().ok()?, hard.parse().ok()?);
    let is_in_order = hard == -1 || (soft != -1 && soft <= hard);
    is_in_order.then(|| json!({ "Name": name, "Hard": hard, "Soft": soft }))
}

/// Empty: none.
fn credential_spec(text: &str) -> Option<Value> {
    if text.is_empty() {
        return Some(Value::Null);
    }
    let kinds = [("config://", "Config"), ("file://", "File"), ("registry://", "Registry")];
    let parsed = |(prefix, key): &(&str, &str)| Some(json!({ *key: text.strip_prefix(prefix)? }));
    kinds.iter().find_map(parsed)
}
