//! The program itself as a process of its own.

use std::process::Stdio;
use std::time::Duration;

use gantry::config::EngineAddress;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a stop may take, as docs/how-it-works.md says.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Far more than anything here takes, on whatever machine, and less than the program waits for an engine's answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The program with this engine, these variables and no others.
fn command(engine: &EngineAddress, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        // Where the socket is, which a killed program leaves behind.
        .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"))
        .env("DOCKER_HOST", engine.to_string())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A command of the program: its exit code, what it answers, and what it says on standard error.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
    pub(crate) errors: String,
}

/// What the program says with this engine, these variables and these arguments.
pub(crate) async fn tell(engine: &EngineAddress, variables: &[(&str, &str)], arguments: &[&str]) -> Told {
    let output = timeout(PATIENCE * 3, command(engine, variables).args(arguments).output()).await;
    let output = output.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Told { code: output.status.code(), text: text(output.stdout), errors: text(output.stderr) }
}

/// What `gantry healthcheck` says of the program with this engine.
pub(crate) async fn healthcheck(engine: &EngineAddress) -> Result<String, String> {
    let output = command(engine, &[]).arg("healthcheck").output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

type OutputLines = Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>;

fn lines_of(output: impl AsyncRead + Send + Unpin + 'static) -> OutputLines {
    let output: Box<dyn AsyncRead + Send + Unpin> = Box::new(output);
    BufReader::new(output).lines()
}

/// The program while it runs. Killed when dropped.
pub(crate) struct Gantry {
    child: Child,
    lines: OutputLines,
    pub(crate) log: String,
}

impl Gantry {
    pub(crate) fn start(engine: &EngineAddress, variables: &[(&str, &str)]) -> Self {
        let mut child = command(engine, variables).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stderr.take().unwrap());
        Self { child, lines, log: String::new() }
    }

    /// The program with arguments, whose answer is read instead of its log.
    pub(crate) fn answering(engine: &EngineAddress, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut child = command(engine, variables).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        Self { child, lines, log: String::new() }
    }

    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id().expect("it runs")).unwrap()
    }

    pub(crate) async fn read(&mut self) -> bool {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("it says nothing more after\n{}", self.log)).unwrap();
        line.is_some_and(|line| {
            self.log += &line;
            self.log.push('\n');
            true
        })
    }

    /// Closes its output.
    pub(crate) fn read_no_more(self) -> Child {
        self.child
    }

    /// Waits until it has said these words.
    pub(crate) async fn says(&mut self, words: &str) {
        while !self.log.contains(words) {
            assert!(self.read().await, "it has ended without {words:?}:\n{}", self.log);
        }
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id()).unwrap(), signal).unwrap();
    }

    /// Waits for its end: the exit code and all that it has said.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        while self.read().await {}
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends when its output does");
        (status.unwrap().code(), self.log)
    }
}
