//! What a test has scripted of the engine's failures, and what it is told of the requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry::swarm::{Spec, SwarmError};
use tokio::sync::Notify;

use super::world::{At, World};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    Engine,
    Services,
    Service,
    Tasks,
    Nodes,
    Update,
    Create,
    Named,
    Remove,
    Log,
    Changes,
    Container,
    Containers,
    Image,
    RemoveContainer,
    RemoveImage,
    Config,
    CreateConfig,
    UpdateConfig,
    RemoveConfig,
}

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is not done, and says so.
    Error(SwarmError),
    /// It is done, but the answer is lost.
    CutAfterwards,
    /// There is never an answer; the caller's own limit ends it.
    Hangs,
    /// It takes longer.
    Takes(Duration),
    /// It is done at once, and the answer takes longer.
    AnswersLate(Duration),
    /// It is not done, and from now on nothing is, for so long.
    Away(Duration),
}

/// One request for an update, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: At,
    /// The service's name.
    pub service: String,
    pub version: u64,
    pub is_rollback: bool,
    pub spec: Spec,
    /// `X-Registry-Auth`, as it came.
    pub auth: Option<String>,
    pub answer: Result<(), SwarmError>,
}

impl Asked {
    /// The image that the service was sent.
    pub fn image(&self) -> &str {
        self.spec.facts().image.as_deref().unwrap_or_default()
    }
}

/// Where its caller dies: at the request of this number, the first being 1.
#[derive(Clone, Debug)]
pub struct Death {
    pub request: usize,
    /// Whether the request is still done, though nobody reads the answer.
    pub is_done: bool,
    /// Told when it is so far.
    pub reached: Arc<Notify>,
    /// It does not die, but is told to end.
    pub is_told: bool,
}

impl Death {
    pub fn new(request: usize, is_done: bool) -> Self {
        Self { request, is_done, reached: Arc::default(), is_told: false }
    }

    /// What is to happen instead when it is told to end.
    pub fn told(request: usize) -> Self {
        Self { is_told: true, ..Self::new(request, true) }
    }

    /// It dies here, or is told to end.
    pub async fn reach(&self) {
        self.reached.notify_one();
        if !self.is_told {
            std::future::pending::<()>().await;
        }
    }
}

struct Rule {
    call: Call,
    service: Option<String>,
    left: usize,
    fault: Fault,
}

type Action = Box<dyn FnOnce(&mut World) + Send>;

/// The script, and the record of requests.
#[derive(Default)]
pub struct Script {
    rules: Vec<Rule>,
    /// By the request's number, the first being 0.
    numbered: HashMap<usize, Fault>,
    before: Vec<(Call, Option<String>, Action)>,
    outages: Vec<(At, At)>,
    latencies: HashMap<Call, Duration>,
    latency: Duration,
    pub death: Option<Death>,
    /// The largest number of services that one listing named and found.
    pub most_named: usize,
    /// The largest number of services that were being updated at once.
    pub most_updating: usize,
    pub calls: Vec<(At, Call)>,
    pub asked: Vec<Asked>,
}

impl Script {
    pub fn fail(&mut self, call: Call, service: Option<&str>, times: usize, fault: Fault) {
        self.rules.push(Rule { call, service: service.map(str::to_owned), left: times, fault });
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.rules.clear();
    }

    pub fn before(&mut self, call: Call, service: Option<&str>, action: Action) {
        self.before.push((call, service.map(str::to_owned), action));
    }

    pub fn be_away(&mut self, from: At, until: At) {
        self.outages.push((from, until));
    }

    pub fn is_away(&self, now: At) -> bool {
        self.outages.iter().any(|(from, until)| (*from..*until).contains(&now))
    }

    /// When the engine next goes away.
    pub fn next_outage(&self, now: At) -> Option<At> {
        self.outages.iter().map(|(from, _)| *from).filter(|from| *from > now).min()
    }

    pub fn set_latency(&mut self, call: Option<Call>, latency: Duration) {
        match call {
            Some(call) => _ = self.latencies.insert(call, latency),
            None => self.latency = latency,
        }
    }

    pub fn latency(&self, call: Call) -> Duration {
        self.latencies.get(&call).copied().unwrap_or(self.latency)
    }

    /// Whether the caller dies at the request that came last.
    pub fn death(&mut self) -> Option<Death> {
        let last = self.calls.len();
        self.death.take_if(|death| death.request <= last)
    }

    pub fn forget(&mut self) {
        self.calls.clear();
        self.asked.clear();
        self.numbered.clear();
        self.outages.clear();
        self.most_named = 0;
        self.most_updating = 0;
    }

    pub fn fail_at(&mut self, number: usize, fault: Fault) {
        self.numbered.insert(number, fault);
    }

    /// The fault that the latest request meets. `target` is the service's name.
    pub fn fault(&mut self, call: Call, target: Option<&str>) -> Option<Fault> {
        if let Some(fault) = self.numbered.remove(&(self.calls.len() - 1)) {
            return Some(fault);
        }
        let rule = self.rules.iter_mut().find(|rule| {
            rule.call == call
                && rule.left > 0
                && (rule.service.is_none() || rule.service.as_deref() == target)
        })?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }

    /// What somebody else does right before this request is done.
    pub fn action(&mut self, call: Call, target: Option<&str>) -> Option<Action> {
        let fits = |entry: &(Call, Option<String>, Action)| {
            entry.0 == call && (entry.1.is_none() || entry.1.as_deref() == target)
        };
        let found = self.before.iter().position(fits)?;
        Some(self.before.remove(found).2)
    }
}
