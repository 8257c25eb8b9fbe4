//! The log: text for people or JSON for machines, one line per event, to standard error. What a command prints goes to
//! standard output, so that it can be piped.
//!
//! An event is always one line. Task errors, hooks and registries can print anything, and none of it becomes a second
//! line, a colour or a field of ours.
//!
//! A thread of its own writes the lines of a running Gantry. A slow reader of the log stops only the log.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::config::{LogFormat, LogLevel, LogSettings, Mistakes};

mod line;
#[cfg(test)]
mod tests;
mod writer;

use line::{EventFields, LogLine};
use writer::LogQueue;

/// The queue that [`init`] has started.
static QUEUE: OnceLock<Arc<LogQueue>> = OnceLock::new();

/// The node's name in the log. It may become known long after the first line.
#[derive(Clone, Debug, Default)]
pub struct NodeName(Arc<OnceLock<String>>);

impl NodeName {
    /// Names the node, unless it has a name already: what `GANTRY_NODE_NAME` says stays.
    pub fn set(&self, name: impl Into<String>) {
        let _ = self.0.set(name.into());
    }

    fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// The output of lines, and its clock.
pub struct Output {
    /// Takes one line with its line feed. It must not panic, and it cannot report a failure.
    pub write: Box<dyn Fn(&str) + Send + Sync>,
    /// The time of a line.
    pub now: fn() -> Timestamp,
}

impl Output {
    /// Standard output, for answers, by the system's clock. A closed pipe is no reason to stop.
    pub fn stdout() -> Self {
        let write = |line: &str| {
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
        };
        Self { write: Box::new(write), now: Timestamp::now }
    }

    /// Standard error, for the log and for errors, by the system's clock. A closed pipe is no reason to stop.
    pub fn stderr() -> Self {
        let write = |line: &str| _ = std::io::stderr().lock().write_all(line.as_bytes());
        Self { write: Box::new(write), now: Timestamp::now }
    }

    /// Writes an answer, which is not a log line and does not depend on the level.
    pub fn line(&self, text: &str) {
        (self.write)(&format!("{text}\n"));
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// Logs all events of this process to standard error from now on, panics among them. The first call counts.
///
/// The settings name the node; without a name there, [`NodeName::set`] does. A thread writes the lines; [`EndOfLog`] waits
/// for them.
pub fn init(settings: &LogSettings) -> NodeName {
    let form = LineFormat::of(settings);
    let output = queued(form.clone()).unwrap_or_else(|_| Output::stderr());
    let node = form.node.clone();
    let _ = tracing::subscriber::set_global_default(layered(form, settings.level, output));
    std::panic::set_hook(Box::new(log_panic));
    node
}

/// Standard error, written to by a thread.
fn queued(form: LineFormat) -> io::Result<Output> {
    // Without the lock of `std::io::stderr`, which the thread would hold while nothing is read.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let notice = move |number: u64| {
        let lines = if number == 1 { "line of the log was" } else { "lines of the log were" };
        let fields =
            EventFields::of_message(format!("{number} {lines} dropped: the reader of the log is too slow"));
        form.line(Timestamp::now(), Level::WARN, &fields)
    };
    let queue = LogQueue::start(stderr, Box::new(notice))?;
    let _ = QUEUE.set(Arc::clone(&queue));
    Ok(Output { write: Box::new(move |line| queue.push(line)), now: Timestamp::now })
}

/// Waits, when it is dropped, until the log is written: a second at most.
#[derive(Debug)]
pub struct EndOfLog;

impl Drop for EndOfLog {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            queue.flush();
        }
    }
}

/// Logs a panic as an error instead of printing it outside the log.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
    let location = panic.location().map(ToString::to_string);
    tracing::error!(location, "a fault of Gantry itself: {text}");
}

/// Logs the mistakes of a configuration to `output`, in the format and at the level of that configuration.
pub fn log_mistakes(mistakes: &Mistakes, output: Output) {
    let (subscriber, _) = subscriber(&mistakes.log, output);
    tracing::subscriber::with_default(subscriber, || tell_mistakes(mistakes));
}

/// Logs the mistakes of a configuration.
pub fn tell_mistakes(mistakes: &Mistakes) {
    let number = mistakes.list.len();
    match mistakes.log.format {
        // Machines count messages, so they get one; people get one line for each mistake.
        LogFormat::Json => tracing::error!("{mistakes}"),
        LogFormat::Text => {
            tracing::error!("nothing was started: mistakes in the configuration: {number}");
            mistakes.lines().for_each(|line| tracing::error!("{line}"));
        }
    }
}

/// The subscriber that writes events as lines to `output`.
pub fn subscriber(
    settings: &LogSettings,
    output: Output,
) -> (impl Subscriber + Send + Sync + use<>, NodeName) {
    let form = LineFormat::of(settings);
    let node = form.node.clone();
    (layered(form, settings.level, output), node)
}

fn layered(form: LineFormat, level: LogLevel, output: Output) -> impl Subscriber + Send + Sync {
    Registry::default().with(Log { form, output }.with_filter(levels(level)))
}

/// Which events are logged at a level.
fn levels(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::None => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // Bollard logs whole bodies, environment variables and all, at DEBUG. Users of Gantry
    // do not need what the other libraries log below a warning.
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("bollard", level.min(LevelFilter::INFO))
        .with_target(OURS, level)
}

/// The target of our own events, and what their targets begin with.
const OURS: &str = "gantry";

/// How a line looks.
#[derive(Clone)]
struct LineFormat {
    format: LogFormat,
    time_zone: TimeZone,
    node: NodeName,
}

impl LineFormat {
    fn of(settings: &LogSettings) -> Self {
        let node = NodeName::default();
        if let Some(name) = &settings.node_name {
            node.set(name.as_str());
        }
        Self { format: settings.format, time_zone: settings.time_zone.clone(), node }
    }

    /// One event, with the line feed.
    fn line(&self, now: Timestamp, level: Level, fields: &EventFields) -> String {
        let time = now.to_zoned(self.time_zone.clone());
        let line = LogLine { time, level, node: self.node.get(), fields };
        let mut text = match self.format {
            LogFormat::Text => line.to_text(),
            LogFormat::Json => line.to_json(),
        };
        text.push('\n');
        text
    }
}

/// The layer that writes a line per event.
struct Log {
    form: LineFormat,
    output: Output,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    /// Keeps the fields of a span (the number of a run), which each of its lines has.
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = EventFields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(shared) = span.extensions().get::<EventFields>() {
                fields.add_all(shared);
            }
        }
        let target = event.metadata().target();
        if !target.starts_with(OURS) {
            fields.add("target", target.into());
        }
        (self.output.write)(&self.form.line((self.output.now)(), *event.metadata().level(), &fields));
    }
}
