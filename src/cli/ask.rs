//! Each command that asks a daemon: one request, and its answer as text with an exit code.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::client::{ApiAnswer, ApiClient};
use super::command::{Command, Narrowed, RunWait};
use super::target::{DaemonAddress, FAILED, Trouble};
use super::{follow, show};

/// How long a plan may take: it asks the registries.
const PLAN_LIMIT: Duration = Duration::from_secs(600);

/// How long a change of the ledger may take.
const CHANGE_LIMIT: Duration = Duration::from_secs(120);

/// How long the number of a run may take: the daemon says within a minute that the run has not begun.
const BEGIN_LIMIT: Duration = Duration::from_secs(120);

/// The daemon's words where another run has to end first.
const NOT_BEGUN: &str = "the run has not begun yet";

/// Why a service may be none of those that Gantry updates.
const UNSELECTED: &str = "GANTRY_SERVICES_FILTERS selects the services";

/// What a command has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The text for standard output; empty: nothing is left to say.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

impl Done {
    fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 0 }
    }
}

/// Asks the daemon what the command asks for. Times are shown in this zone.
///
/// # Errors
/// The daemon cannot be asked, or refuses.
pub async fn ask(command: &Command, target: &DaemonAddress, zone: TimeZone) -> Result<Done, Trouble> {
    let client = ApiClient::new(target)?;
    match command {
        Command::Status { json } => {
            let state = client.get("state").await?.good()?;
            follow::tell_version(state["version"].as_str());
            let (text, needs_attention) = show::status(&state, &zone);
            Ok(Done { text: as_asked(*json, &state, || text), code: u8::from(needs_attention) })
        }
        Command::Watch => follow::watch(&client, zone).await.map(|()| Done::good("")),
        Command::Plan { scope, json } => {
            let answer = client.query("plan", &parameters(scope), PLAN_LIMIT).await?.good()?;
            let (text, code) = show::plan(&answer);
            Ok(Done { text: as_asked(*json, &answer, || text), code })
        }
        Command::Explain { service, json } => {
            let answer = client.get_segment("services", service).await?.good()?;
            Ok(Done::good(as_asked(*json, &answer, || show::explain(&answer, &zone))))
        }
        Command::Run { scope: Narrowed { images, services, filters }, now, wait, json } => {
            let body = json!({ "images": images, "services": services, "filters": filters, "now": now });
            run(&client, &body, *wait, *json, &zone).await
        }
        Command::History { id: None, json } => {
            let answer = client.get("runs").await?.good()?;
            Ok(Done::good(as_asked(*json, &answer, || show::history(&answer, &zone))))
        }
        Command::History { id: Some(id), json } => {
            let answer = client.get(&format!("runs/{id}")).await?.good()?;
            Ok(Done::good(as_asked(*json, &answer, || show::run(&answer, &zone))))
        }
        Command::Quarantine { json } => {
            let answer = client.get("quarantine").await?.good()?;
            Ok(Done::good(as_asked(*json, &answer, || show::quarantine(&answer))))
        }
        Command::Release(name) => release(&client, name.as_deref()).await,
        Command::Pause { lasts, why } => {
            let mut body = json!({ "why": why });
            if let Some(lasts) = lasts {
                body["for"] = lasts.clone().into();
            }
            let answer = client.post("pause", &body, CHANGE_LIMIT).await?.good()?;
            Ok(Done::good(show::paused(&answer, &zone)))
        }
        Command::Resume => {
            let answer = client.post("resume", &json!({}), CHANGE_LIMIT).await?;
            nothing_or(answer, |_| "updates begin again".to_owned())
        }
        Command::Approve { name, digest, by, why } => {
            let body = digest.as_ref().map(|digest| json!({ "digest": digest, "why": why, "by": by }));
            approve(&client, name, body, &zone).await
        }
        Command::Revoke(name) => {
            let answer = client.post("revoke", &named(name), CHANGE_LIMIT).await?;
            nothing_or(answer, |_| format!("{name} waits for approval again"))
        }
        _ => Err(Trouble::new("this command asks no daemon")),
    }
}

/// What `gantry plan` and `gantry explain` say where no daemon runs, of what `GET api/v1/plan` or `GET api/v1/services/NAME` would
/// answer. Nothing is known of a service where that is null.
///
/// # Errors
/// No service matches.
pub fn without_daemon(command: &Command, answer: &Value, zone: &TimeZone) -> Result<Done, Trouble> {
    match command {
        Command::Explain { service, .. } if answer.is_null() => {
            Err(Trouble::new(format!("Gantry knows no service {service:?}; {UNSELECTED}")))
        }
        Command::Explain { json, .. } => {
            Ok(Done::good(as_asked(*json, answer, || show::explain(answer, zone))))
        }
        Command::Plan { scope, json } => {
            let is_empty = answer["services"].as_array().is_none_or(Vec::is_empty);
            if is_empty && *scope != Narrowed::default() {
                return Err(Trouble::new(format!("no service that Gantry updates matches; {UNSELECTED}")));
            }
            let (text, code) = show::plan(answer);
            Ok(Done { text: as_asked(*json, answer, || text), code })
        }
        _ => Err(Trouble::new("this command needs a daemon")),
    }
}

/// The answer as JSON or as text.
fn as_asked(json: bool, answer: &Value, text: impl FnOnce() -> String) -> String {
    if json { format!("{answer:#}") } else { text() }
}

fn parameters(scope: &Narrowed) -> Vec<(&str, &str)> {
    let mut parameters = Vec::new();
    for (name, values) in [("image", &scope.images), ("service", &scope.services), ("filter", &scope.filters)]
    {
        parameters.extend(values.iter().map(|value| (name, value.as_str())));
    }
    parameters
}

async fn run(
    client: &ApiClient,
    body: &Value,
    wait: RunWait,
    json: bool,
    zone: &TimeZone,
) -> Result<Done, Trouble> {
    let asked = Instant::now();
    let Some(begun) = begin(client, body, wait).await? else {
        let text = format!("{NOT_BEGUN}; it begins after the run under way, and gantry history shows it");
        let known = json!({ "error": NOT_BEGUN });
        return Ok(Done { text: as_asked(json, &known, || text), code: follow::UNDER_WAY });
    };
    let wait = wait.less(asked.elapsed());
    let id = begun["id"].as_u64().unwrap_or_default();
    if wait == RunWait::No && begun["state"] != "done" {
        let text = format!("run {id} is under way; gantry history {id} shows what it does");
        return Ok(Done::good(as_asked(json, &begun, || text)));
    }
    match follow::end_of(client, begun, wait, zone).await? {
        Ok(run) => {
            let code = if run["failed"].as_bool() == Some(true) { FAILED } else { 0 };
            Ok(Done { text: as_asked(json, &run, || show::run(&run, zone)), code })
        }
        Err((why, run)) => {
            let text = format!("{why}; gantry history {id} shows what it has come to");
            Ok(Done { text: as_asked(json, &run, || text), code: follow::UNDER_WAY })
        }
    }
}

/// An image has a tag; a service's name has none.
fn named(name: &str) -> Value {
    if name.contains([':', '/']) { json!({ "image": name }) } else { json!({ "service": name }) }
}

/// Approves a digest, or lists what waits.
async fn approve(
    client: &ApiClient,
    name: &str,
    body: Option<Value>,
    zone: &TimeZone,
) -> Result<Done, Trouble> {
    let Some(mut body) = body else {
        let answer = client.get("services").await?.good()?;
        return Ok(Done { text: show::waiting(&answer, name, zone), code: FAILED });
    };
    body.as_object_mut()
        .into_iter()
        .for_each(|body| body.extend(named(name).as_object().cloned().unwrap_or_default()));
    let answer = client.post("approve", &body, CHANGE_LIMIT).await?;
    nothing_or(answer, |body| show::approved(body, zone))
}

/// Starts a run. `None`: it has to wait for another one longer than the user does.
async fn begin(client: &ApiClient, body: &Value, wait: RunWait) -> Result<Option<Value>, Trouble> {
    let mut is_told = false;
    let begun = async {
        loop {
            let answer = client.post("run", body, BEGIN_LIMIT).await?;
            match answer.status {
                409 => return Ok(Some(answer.body)),
                503 if answer.body["error"] == NOT_BEGUN && wait == RunWait::No => return Ok(None),
                503 if answer.body["error"] == NOT_BEGUN => {
                    if !std::mem::replace(&mut is_told, true) {
                        follow::tell(&format!("{NOT_BEGUN}: it begins after the run under way"));
                    }
                    sleep(follow::LOOK).await;
                }
                _ => return answer.good().map(Some),
            }
        }
    };
    match wait {
        RunWait::AtMost(limit) => timeout(limit, begun).await.unwrap_or(Ok(None)),
        RunWait::No | RunWait::ForEnd => begun.await,
    }
}

async fn release(client: &ApiClient, name: Option<&str>) -> Result<Done, Trouble> {
    let body = match name {
        None => json!({ "all": true }),
        Some(name) => named(name),
    };
    let answer = client.post("release", &body, CHANGE_LIMIT).await?;
    nothing_or(answer, |body| body["words"].as_str().unwrap_or("released").to_owned())
}

/// The text of a good answer. That nothing matched is an answer, too, with the exit code 1.
fn nothing_or(answer: ApiAnswer, text: impl FnOnce(&Value) -> String) -> Result<Done, Trouble> {
    if answer.status == 404 {
        let words = answer.body["error"].as_str().unwrap_or("nothing matched").to_owned();
        return Ok(Done { text: words, code: FAILED });
    }
    answer.good().map(|body| Done::good(text(&body)))
}
