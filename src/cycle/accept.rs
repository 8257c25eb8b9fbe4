//! Asks the user's command (`GANTRY_ACCEPT_CMD`) whether a digest may be rolled out: once for each digest and hour.

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::config::{VARIABLES, is_withheld};
use crate::context::Context;
use crate::gate::command::{ANSWER_HOLDS, CommandAnswer};
use crate::gate::{Gate, Refusal};
use crate::image::{Digest, ImageRef};
use crate::process_group::ProcessGroup;
use crate::words::line;

/// How much of the command's output is read, in bytes, and told, in characters.
const MAX_OUTPUT: u64 = 64 << 10;
const MAX_CHARS: usize = 200;

/// How long the rest of the output may take once the command has ended.
const REST_OF_OUTPUT: Duration = Duration::from_millis(200);

/// What the command is asked.
#[derive(Clone, Debug)]
pub(super) struct AcceptQuestion<'a> {
    /// The ledger's name of the image.
    pub name: &'a str,
    /// The image, without a digest.
    pub image: ImageRef,
    /// The digest.
    pub digest: &'a Digest,
    /// The services that it is for, with the digests that they have.
    pub services: Vec<(&'a str, Option<&'a Digest>)>,
}

/// Asks the command, unless it answered within the last hour. `Ok(None)`: it accepts the digest.
///
/// # Errors
/// It gave no answer; why, in words.
pub(super) async fn ask<S, R>(
    context: &Context<S, R>,
    command: &str,
    question: &AcceptQuestion<'_>,
) -> Result<Option<Refusal>, String> {
    let (name, digest, now) = (question.name, question.digest, context.ledger.now());
    let known = context.ledger.answers().get(name, digest, now);
    let (at, answer) = if let Some(known) = known {
        known
    } else {
        let answer = context.beating(run(context, command, question)).await;
        context.ledger.answers().put(name, digest, now, answer.clone());
        (now, answer)
    };
    let short = digest.short();
    match answer {
        CommandAnswer::Accepted => Ok(None),
        CommandAnswer::NotYet(said) => {
            let until = at.checked_add(ANSWER_HOLDS).ok();
            let said = if said.is_empty() { said } else { format!(": {said}") };
            let why =
                format!("GANTRY_ACCEPT_CMD does not accept {short} of {} yet{said}", question.image.tagged());
            Ok(Some(Refusal { gate: Gate::Command, why, until }))
        }
        CommandAnswer::Failed(why) => {
            Err(format!("GANTRY_ACCEPT_CMD cannot say whether {short} is accepted: {why}"))
        }
    }
}

async fn run<S, R>(context: &Context<S, R>, command: &str, question: &AcceptQuestion<'_>) -> CommandAnswer {
    let limit = context.config.hooks.timeout;
    tracing::debug!(image = question.name, digest = question.digest.short(), "asking GANTRY_ACCEPT_CMD");
    let mut child = match start(command) {
        Ok(child) => child,
        Err(error) => return CommandAnswer::Failed(format!("it cannot be run: {error}")),
    };
    let group = ProcessGroup::led_by(&child);
    let too_long = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
        format!("it took longer than {} s (GANTRY_HOOK_TIMEOUT_SECONDS)", limit.unwrap_or_default().as_secs())
    };
    let talked = tokio::select! {
        talked = talk(&mut child, question) => Ok(talked),
        why = too_long => Err(why),
        () = context.stop.cancelled() => Err("Gantry was told to stop".to_owned()),
    };
    match talked {
        Ok(Ok((code, last_line))) => {
            group.clear().await;
            CommandAnswer::of_exit(code, last_line)
        }
        Ok(Err(error)) => {
            group.terminate(&mut child).await;
            CommandAnswer::Failed(error.to_string())
        }
        Err(why) => {
            group.terminate(&mut child).await;
            CommandAnswer::Failed(why)
        }
    }
}

/// Starts the command as hooks are started: by a shell, in a process group of its own, without Gantry's secrets.
fn start(command: &str) -> io::Result<Child> {
    let mut shell = Command::new("sh");
    let names: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    for name in names.into_iter().filter(|name| is_withheld(name.as_ref())) {
        shell.env_remove(name);
    }
    shell
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Tells the command what it is asked, and returns its exit code and the last line of its output.
async fn talk(child: &mut Child, question: &AcceptQuestion<'_>) -> io::Result<(Option<i32>, String)> {
    let services: Vec<_> = question
        .services
        .iter()
        .map(|(name, has)| json!({ "service": name, "digest": has.map(Digest::as_str) }))
        .collect();
    let asked = json!({
        "image": question.image.tagged(),
        "digest": question.digest.as_str(),
        "reference": question.image.pinned(question.digest).to_string(),
        "services": services,
    });
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let tell = async {
        if let Some(mut stdin) = stdin {
            // A command that reads nothing closes its end.
            let _ = stdin.write_all(format!("{asked}\n").as_bytes()).await;
        }
    };
    let mut output = Vec::new();
    let read = async {
        if let Some(stdout) = stdout {
            let _ = stdout.take(MAX_OUTPUT).read_to_end(&mut output).await;
        }
    };
    let status = {
        let mut reading = std::pin::pin!(async { tokio::join!(tell, read) });
        tokio::select! {
            status = child.wait() => {
                // What the command has left behind may hold its output open.
                let _ = timeout(REST_OF_OUTPUT, &mut reading).await;
                status?
            }
            _ = &mut reading => child.wait().await?,
        }
    };
    let text = String::from_utf8_lossy(&output).into_owned();
    let last = text.lines().rev().find(|text| !text.trim().is_empty()).unwrap_or_default();
    Ok((status.code(), line(last, MAX_CHARS)))
}
