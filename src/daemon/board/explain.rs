//! Why a service is, or is not, updated: each rule in its order, with what it says. Pure.

use serde_json::{Value, json};

use super::render::Around;
use super::rule::Rule;
use super::{Board, ServiceState, ShownService};
use crate::gate::{Gate, Refusal};

/// What a rule says that lets a service pass.
fn passed(rule: Rule, shown: &ShownService) -> &'static str {
    match rule {
        Rule::Selection => "GANTRY_SERVICES_FILTERS selects it, and nothing excludes it",
        Rule::Labels => "its labels can be read",
        Rule::Image => "its image has a tag that may move",
        Rule::Tasks => "its tasks run on, so that they can be replaced",
        Rule::Registry if shown.newest.is_none() => "its registry need not be asked",
        Rule::Registry if shown.newest == shown.digest => "its registry has the digest that it has",
        Rule::Registry => "its registry has another digest",
        Rule::OtherChanges => "no change by a user or another program is under way",
        Rule::Quarantine => "this digest is not in quarantine",
        Rule::Tag => "its tag has not gone back to an older digest",
        Rule::Gate(_) => "it lets the image pass",
        Rule::Pause => "no user has paused updates",
        Rule::Rollout => "no other service has to come first",
        Rule::Outcome => "its tasks are fine",
    }
}

/// What a gate says that holds the image.
fn held(gate: &str, refusal: &Refusal) -> Value {
    let mut held = json!({ "gate": gate, "verdict": "hold", "why": refusal.why });
    if let Some(until) = refusal.until {
        held["until"] = json!(format!("{until:.0}"));
    }
    held
}

impl Board {
    /// One service, with each rule that had a say; `None`: it is not known.
    pub fn explained(&self, name: &str, around: &Around) -> Option<Value> {
        let shown = self.services.get(name)?;
        let mut service = self.service(name)?;
        let decided = shown.rule;
        let mut gates = Vec::new();
        for rule in Rule::ALL {
            let gate =
                |verdict: &str, why: &str| json!({ "gate": rule.name(), "verdict": verdict, "why": why });
            match (rule, &around.pause) {
                // A pause may have come after the look, and speaks for all services.
                (Rule::Pause, Some(pause)) => {
                    let why =
                        format!("{} has paused updates until {:.0}: {}", pause.by, pause.until, pause.why);
                    gates.push(gate("hold", why.trim_end_matches(": ")));
                }
                _ if Some(rule) == decided => {
                    let is_error = matches!(shown.state, ServiceState::Error);
                    gates.push(gate(if is_error { "error" } else { "hold" }, &shown.why));
                }
                (Rule::Gate(gate), _) if shown.refusals.iter().any(|refusal| refusal.gate == gate) => {
                    for refusal in shown.refusals.iter().filter(|refusal| refusal.gate == gate) {
                        gates.push(held(rule.name(), refusal));
                    }
                }
                (Rule::Gate(Gate::Tags), _) if shown.tags.is_some() => {
                    gates.push(gate("pass", shown.tags.as_deref().unwrap_or_default()));
                }
                // Gates that the service does not have are not worth a line.
                (Rule::Gate(_), _) => {}
                _ if decided.is_none_or(|decided| rule < decided) => {
                    gates.push(gate("pass", passed(rule, shown)));
                }
                // It was not asked.
                _ => {}
            }
        }
        for pause in &self.paused {
            gates.push(json!({ "gate": "guard", "verdict": "hold", "why": pause.why }));
        }
        service["gates"] = gates.into();
        Some(service)
    }
}
