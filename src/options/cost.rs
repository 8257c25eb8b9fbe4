//! What options cost: time in proportion to their text, and never more than the limits allow. Options come from labels, and a
//! label that costs a minute of the only thread stops every update.

use serde_json::json;

use super::*;
use crate::cost::is_slow;

const NO_LIMITS: OptionLimits = OptionLimits { bytes: usize::MAX, values: usize::MAX, ports: usize::MAX };

/// The `i`th value of a kind: each another one where the kind has so many.
fn value(kind: ValueKind, i: usize) -> String {
    match kind {
        ValueKind::Flag => "true".to_owned(),
        ValueKind::Text
        | ValueKind::Command
        | ValueKind::Key
        | ValueKind::NetworkName
        | ValueKind::Network
        | ValueKind::Secret
        | ValueKind::Config => format!("word{i}"),
        ValueKind::Choice(words) => words[i % words.len()].to_owned(),
        ValueKind::Unsigned => i.to_string(),
        ValueKind::Integer(least, most) => {
            (least + i64::try_from(i).unwrap() % (most.min(1000) - least)).to_string()
        }
        ValueKind::Ratio | ValueKind::Cpus => "0.5".to_owned(),
        ValueKind::Duration => format!("{i}s"),
        ValueKind::Bytes | ValueKind::Swap => format!("{i}m"),
        ValueKind::Label | ValueKind::Pair | ValueKind::Variable => format!("name{i}=value"),
        ValueKind::Address => format!("10.{}.{}.1", i / 256, i % 256),
        ValueKind::Domain => format!("d{i}.test"),
        ValueKind::Host => format!("h{i}:10.{}.{}.1", i / 256, i % 256),
        ValueKind::Resource => format!("kind{i}=1"),
        ValueKind::Preference => format!("spread=node.labels.l{i}"),
        ValueKind::Ulimit => format!("nofile={}:{}", i + 1, i + 1),
        ValueKind::Mount => format!("type=tmpfs,target=/t{i}"),
        ValueKind::Ports => format!("{}:{}", i + 1, i + 1),
        ValueKind::CredentialSpec => format!("file://word{i}"),
    }
}

/// Options, and a specification in which they are in effect already.
struct Case {
    command: ServiceCommand,
    text: String,
    ids: Ids,
    spec: Value,
}

impl Case {
    fn new(command: ServiceCommand, text: String) -> Self {
        let options = Options::read(command, &text, NO_LIMITS).unwrap_or_else(|error| panic!("{error}"));
        let ids: Ids =
            options.names().into_iter().map(|name| (name.clone(), format!("id of {name}"))).collect();
        let mut spec = json!({ "Mode": { "Replicated": { "Replicas": 1 } } });
        options.apply(&mut spec, &ids).unwrap();
        Self { command, text, ids, spec }
    }

    /// Reads the options and applies them.
    fn run(&self) {
        let mut spec = self.spec.clone();
        Options::read(self.command, &self.text, NO_LIMITS).unwrap().apply(&mut spec, &self.ids).unwrap();
    }

    /// Whether `many`, which has eight times the values, costs out of proportion.
    fn is_slow(&self, many: &Self) -> Option<String> {
        is_slow(&self.text[..30], || self.run(), || many.run())
    }
}

#[test]
fn eight_times_the_values_cost_at_most_twelve_times_as_much() {
    const FEW: usize = 250;
    let accepted = OPTIONS.iter().filter(|known| known.refusal().is_none());
    let slow = accepted.filter_map(|known| {
        let command =
            if ServiceCommand::Update.has(known) { ServiceCommand::Update } else { ServiceCommand::Create };
        let case = |values: usize| {
            let values = (0..values).map(|i| format!(" --{}={}", known.name, value(known.kind, i)));
            Case::new(command, values.collect())
        };
        case(FEW).is_slow(&case(8 * FEW))
    });
    let slow: Vec<String> = slow.collect();
    assert!(slow.is_empty(), "{slow:#?}");
}

#[test]
fn a_range_of_ports_costs_in_proportion_to_its_length() {
    let range = |ports: usize| {
        Case::new(ServiceCommand::Update, format!("--publish-add 10000-{0}:10000-{0}/udp", 9999 + ports))
    };
    assert_eq!(range(1000).is_slow(&range(8000)), None);
}

#[test]
fn more_than_any_service_needs_is_refused_in_a_short_line() {
    let many = |option: &str, count: usize| format!(" {option}").repeat(count);
    for (text, expected) in [
        (format!("--env-add A={}", "x".repeat(16 << 10)), "at most 16384 bytes of options, found 16396"),
        (many("-t", 1001), "at most 1000 values, found 1001"),
        ("--publish-add 1-65535:1-65535".to_owned(), "at most 20000 ports, found 65535"),
    ] {
        let error = Options::parse(ServiceCommand::Update, &text).unwrap_err();
        assert_eq!(error.expected, expected);
    }
    for text in [format!("--{}", "x".repeat(9000)), format!("--limit-memory {}", "x".repeat(9000))] {
        let error = Options::parse(ServiceCommand::Update, &text).unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
    }
    Options::parse(ServiceCommand::Update, "--publish-add 10000-20000:10000-20000/udp").unwrap();
    Options::parse(ServiceCommand::Update, &many("-t", 1000)).unwrap();
}
