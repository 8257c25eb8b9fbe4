//! Progress as it comes: `gantry watch`, and a run that is waited for.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::termios::tcgetwinsize;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::client::ApiClient;
use super::command::RunWait;
use super::show::{News, Progressed};
use super::sse::EventReader;
use super::target::Trouble;

/// The exit code of a run that is still under way.
pub(super) const UNDER_WAY: u8 = 4;

/// The first pause before a lost connection is tried again. Each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// From one look at a run to the next.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// How long a daemon that does not answer is asked about a run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where progress is shown: a screen that is drawn anew, or plain lines.
struct ProgressOutput {
    is_terminal: bool,
    /// Lines of the screen that are drawn.
    drawn: usize,
    zone: TimeZone,
}

impl ProgressOutput {
    fn new(zone: TimeZone) -> Self {
        Self { is_terminal: io::stdout().is_terminal(), drawn: 0, zone }
    }

    /// Shows what is new, and how it stands.
    fn show(&mut self, news: &[News], known: &Progressed, trouble: Option<&str>) -> io::Result<()> {
        let mut text = String::new();
        if self.is_terminal && self.drawn > 0 {
            // Up to the first line of the screen, and away with all from there.
            _ = write!(text, "\r\u{1b}[{}A\u{1b}[J", self.drawn);
        }
        for one in news.iter().filter(|one| !self.is_terminal || !one.is_on_screen) {
            text.push_str(&stamped(&one.words, &self.zone));
        }
        if self.is_terminal {
            let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
            let (columns, rows) = size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
            let lines = known.screen(columns, rows, trouble);
            self.drawn = lines.len();
            text.extend(lines.iter().flat_map(|line| [line.as_str(), "\n"]));
        } else if let Some(trouble) = trouble {
            text.push_str(&stamped(trouble, &self.zone));
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}

/// A line with the time of day.
fn stamped(words: &str, zone: &TimeZone) -> String {
    format!("{} {words}\n", Timestamp::now().to_zoned(zone.clone()).strftime("%H:%M:%S"))
}

/// Writes a line to standard error, where it does not mix with the answer.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Says on standard error that the daemon is of another version.
pub(super) fn tell_version(theirs: Option<&str>) {
    let own = env!("CARGO_PKG_VERSION");
    if let Some(theirs) = theirs.filter(|theirs| *theirs != own) {
        let theirs = crate::words::printable(theirs);
        tell(&format!(
            "gantry: the daemon is of version {theirs}, this command of {own}; what it shows may miss something"
        ));
    }
}

/// Waits until the user, or the system, asks the command to end.
async fn asked_to_end() {
    let stream = |kind| signal(kind).ok();
    let (mut interrupt, mut terminate) = (stream(SignalKind::interrupt()), stream(SignalKind::terminate()));
    let next = async |stream: &mut Option<tokio::signal::unix::Signal>| match stream {
        Some(stream) => _ = stream.recv().await,
        None => std::future::pending().await,
    };
    tokio::select! {
        () = next(&mut interrupt) => {}
        () = next(&mut terminate) => {}
    }
}

/// Shows progress until the user ends it, or nothing reads it any more. A connection that was good is tried again for ever.
pub(super) async fn watch(client: &ApiClient, zone: TimeZone) -> Result<(), Trouble> {
    tokio::select! {
        done = watch_on(client, zone) => done,
        () = asked_to_end() => Ok(()),
    }
}

async fn watch_on(client: &ApiClient, zone: TimeZone) -> Result<(), Trouble> {
    let (mut shown, mut known) = (ProgressOutput::new(zone.clone()), Progressed::new(zone));
    let mut last: Option<String> = None;
    let mut pause = FIRST_PAUSE;
    let mut is_told = false;
    loop {
        let trouble = match client.events(last.as_deref()).await {
            Ok(mut events) => {
                let mut reader = EventReader::default();
                loop {
                    let chunk = match events.next().await {
                        Some(Ok(chunk)) => chunk,
                        Some(Err(trouble)) => break trouble,
                        None => break Trouble::passing("the daemon has ended the stream"),
                    };
                    let Some(events) = reader.push(&chunk) else {
                        return Err(Trouble::new("the daemon sends an event without end"));
                    };
                    for event in events {
                        let Ok(data) = serde_json::from_str(&event.data) else {
                            return Err(Trouble::new("the daemon sends an event that is no JSON"));
                        };
                        let news = known.apply(&event.kind, data);
                        if last.is_none() {
                            tell_version(Some(known.version()));
                        }
                        last = Some(event.id);
                        (pause, is_told) = (FIRST_PAUSE, false);
                        if shown.show(&news, &known, None).is_err() {
                            return Ok(());
                        }
                    }
                }
            }
            Err(trouble) => trouble,
        };
        if last.is_none() || !trouble.is_passing {
            return Err(trouble);
        }
        if !std::mem::replace(&mut is_told, true) {
            let words = format!("{trouble}; trying again");
            if shown.show(&[], &known, Some(&words)).is_err() {
                return Ok(());
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits for the end of a run, and tells progress on standard error. The inner error is a run that is still under way, as far
/// as is known, and why it is not waited for any longer.
pub(super) async fn end_of(
    client: &ApiClient,
    begun: Value,
    wait: RunWait,
    zone: &TimeZone,
) -> Result<Result<Value, (String, Value)>, Trouble> {
    let id = begun["id"].as_u64().unwrap_or_default();
    let limit = async {
        match wait {
            RunWait::AtMost(limit) => sleep(limit).await,
            RunWait::No | RunWait::ForEnd => std::future::pending().await,
        }
    };
    let known = begun.clone();
    tokio::select! {
        end = until_end(client, begun, zone) => end,
        () = limit => Ok(Err((format!("run {id} is still under way"), known))),
        () = asked_to_end() => Ok(Err((format!("run {id} goes on"), known))),
    }
}

async fn until_end(
    client: &ApiClient,
    mut run: Value,
    zone: &TimeZone,
) -> Result<Result<Value, (String, Value)>, Trouble> {
    let (id, began) = (run["id"].as_u64().unwrap_or_default(), run["began"].clone());
    let mut known = Progressed::new(zone.clone());
    let mut is_first = true;
    let mut silent: Option<Instant> = None;
    while run["state"] != "done" {
        sleep(LOOK).await;
        let looked = async {
            let answer = client.get(&format!("runs/{id}")).await?;
            Ok((answer, client.get("state").await?.good()?))
        };
        match looked.await {
            Ok((answer, state)) => {
                silent = None;
                // Another process counts its runs anew.
                if answer.status == 404 || answer.body["began"] != began {
                    return Ok(Err((format!("run {id} was cut off: the daemon was started again"), run)));
                }
                run = answer.good()?;
                let news = known.apply("state", state);
                // What was so before the run is no progress.
                for one in news.iter().filter(|_| !is_first) {
                    tell(stamped(&one.words, zone).trim_end());
                }
                is_first = false;
            }
            Err(Trouble { is_passing: true, words, .. }) => {
                if silent.is_none() {
                    tell(&format!("gantry: {words}; trying again"));
                }
                if silent.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                    return Ok(Err((
                        format!("run {id} may still be under way, but the daemon does not answer"),
                        run,
                    )));
                }
            }
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(Ok(run))
}
