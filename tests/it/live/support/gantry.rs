//! The program under test: run to its end, or as a daemon that is watched.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Service;

/// Longest run of a single cycle.
const CYCLE_SECONDS: u64 = 120;

/// The program with its environment, and nothing else of the environment of the test.
#[derive(Clone)]
pub(crate) struct Gantry {
    variables: BTreeMap<String, String>,
    mounts: Option<String>,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Line(pub(crate) Value);

/// The program while it runs. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<Line>>>,
    answers: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    begun: Instant,
}

/// The program when it has ended.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<Line>,
    pub(crate) took: Duration,
}

impl Gantry {
    pub(crate) fn new() -> Self {
        Self { variables: BTreeMap::new(), mounts: None }
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same in a mount namespace of its own, in which this shell script has made its mounts before.
    pub(crate) fn with_mounts(mut self, script: &str) -> Self {
        self.mounts = Some(script.to_owned());
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(&self) -> Run {
        self.start().end(CYCLE_SECONDS)
    }

    /// Runs it to its end, and returns what it wrote, byte by byte.
    pub(crate) fn output(&self) -> Output {
        self.command().output().unwrap()
    }

    fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_gantry");
        let mut command = match &self.mounts {
            None => Command::new(program),
            Some(script) => {
                let mut command = Command::new("/usr/bin/unshare");
                let script = format!("{script}\nexec \"$0\"");
                command.args(["--mount", "--propagation", "private", "/bin/sh", "-euc", &script, program]);
                command
            }
        };
        command.env_clear().envs(&self.variables).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Daemon {
        let mut command = self.command();
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (child.stdout.take().unwrap(), BufReader::new(child.stderr.take().unwrap()));
        let (into, is_json) =
            (lines.clone(), self.variables.get("GANTRY_LOG_FORMAT").is_some_and(|it| it == "json"));
        let reader = std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let line = if is_json { Line::from_json(&line) } else { Line(line.into()) };
                into.lock().unwrap().push(line);
            }
        });
        let answers = Arc::new(Mutex::new(Vec::new()));
        let into = answers.clone();
        std::thread::spawn(move || {
            let lines = BufReader::new(answer).lines().map_while(Result::ok);
            lines.for_each(|line| into.lock().unwrap().push(line));
        });
        Daemon { child, lines, answers, reader: Some(reader), begun: Instant::now() }
    }
}

impl Daemon {
    /// Waits for a line that has these words.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str, seconds: u64) -> Line {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(line) = self.lines().into_iter().find(|line| line.message().contains(words)) {
                return line;
            }
            let log = Log(&self.lines()).to_string();
            assert!(Instant::now() < deadline, "after {seconds} s it has not said {words:?}:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has said so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }

    /// What it has written to standard output so far, which is not for its log.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.answers.lock().unwrap().clone()
    }

    /// Forgets what it has said so far.
    pub(crate) fn forget(&self) {
        self.lines.lock().unwrap().clear();
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Does something again and again until it has ended.
    #[track_caller]
    pub(crate) fn until_its_end(mut self, seconds: u64, mut work: impl FnMut()) -> Run {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while self.is_alive() && Instant::now() < deadline {
            work();
            std::thread::sleep(Duration::from_millis(20));
        }
        self.end(1)
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn end(mut self, seconds: u64) -> Run {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            let log = Log(&self.lines()).to_string();
            assert!(Instant::now() < deadline, "it has not ended after {seconds} s:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        };
        let took = self.begun.elapsed();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        Run { code: status.code(), lines: self.lines(), took }
    }

    /// Tells it to stop, and waits until it has. It has three seconds.
    #[track_caller]
    pub(crate) fn stop(self) -> Run {
        let told = Instant::now();
        self.signal("TERM");
        let run = self.end(10);
        assert!(told.elapsed() < Duration::from_millis(3500), "stopping took {:?}", told.elapsed());
        run
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Line {
    fn from_json(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["time", "level", "message"] {
            assert!(value[key].is_string(), "no {key}: {line}");
        }
        Self(value)
    }

    pub(crate) fn message(&self) -> &str {
        self.0["message"].as_str().or(self.0.as_str()).unwrap_or_default()
    }

    pub(crate) fn level(&self) -> &str {
        self.0["level"].as_str().unwrap_or_default()
    }

    /// A field; empty where the line has none of that name.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// Whether it is about this service.
    pub(crate) fn is_about(&self, service: &Service<'_>) -> bool {
        self.0["service"] == service.name.as_str()
    }
}

impl Run {
    /// All messages, in order.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.lines.iter().map(Line::message).collect()
    }

    /// Whether a line has all these words.
    pub(crate) fn says(&self, words: &[&str]) -> bool {
        self.messages().iter().any(|message| words.iter().all(|words| message.contains(words)))
    }

    /// How a service's update ended, in the program's words; empty when there was none.
    pub(crate) fn outcome(&self, service: &Service<'_>) -> &str {
        let ended = |line: &&Line| line.is_about(service) && line.0.get("seconds").is_some();
        self.lines.iter().find(ended).map_or("", Line::message)
    }

    /// The last line: the cycle in one sentence.
    pub(crate) fn summary(&self) -> &str {
        self.lines.last().map_or("", Line::message)
    }
}

struct Log<'a>(&'a [Line]);

impl fmt::Display for Log<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "  {}", line.0))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it ended with {:?} after {:?} and said:\n{}", self.code, self.took, Log(&self.lines))
    }
}
