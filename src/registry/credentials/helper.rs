//! Credential helpers: `docker-credential-NAME get`, the server on its standard input, JSON on its output.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::config_file::HelperQuestion;
use super::{Account, Credentials, CredentialsError, TOKEN_USERNAME, server_of_host};
use crate::config::is_ours;
use crate::descriptors::explained;
use crate::process_group::ProcessGroup;
use crate::secret::Secret;
use crate::words::{foreign, piece};

/// What a helper may print, in bytes. A token is a few thousand.
const OUTPUT_LIMIT: u64 = 1024 * 1024;

/// How Docker's helpers begin when they have nothing for a server.
const NOT_FOUND: &str = "credentials not found";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The helper programs of this machine.
#[derive(Debug)]
pub(super) struct Helpers {
    /// Where they are looked for; `None`: in `PATH`.
    pub path: Option<OsString>,
    /// The longest that one may take; then it is killed.
    pub limit: Duration,
}

impl Helpers {
    /// Asks a helper for the account at `host`; `None`: it has none. An error shows the helper's own words, without the
    /// secrets that `redact` knows.
    pub(super) async fn ask(
        &self,
        question: &HelperQuestion,
        host: &str,
        redact: impl Fn(&str) -> String,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let name = &question.helper;
        let failed =
            |cause: String| CredentialsError::Helper { helper: piece(name), host: host.to_owned(), cause };
        if name.contains('/') {
            return Err(failed("a helper's name has no slash in it".to_owned()));
        }
        let output = tokio::time::timeout(self.limit, self.run(name, &question.server))
            .await
            .map_err(|_| failed(format!("no answer within {} s", self.limit.as_secs_f32())))?
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    failed(format!("docker-credential-{} is not installed", piece(name)))
                }
                _ => failed(error.to_string()),
            })?;

        if !output.success {
            let line = output.first_line(redact);
            if line.to_ascii_lowercase().starts_with(NOT_FOUND) {
                return Ok(None);
            }
            // JSON may be an answer with a secret in it, whatever the exit code says.
            let shown =
                if line.is_empty() || line.starts_with('{') { "it failed without a word" } else { &line };
            return Err(failed(shown.to_owned()));
        }
        let answer: HelperAnswer = serde_json::from_slice(&output.stdout)
            .map_err(|_| failed("its output is not the JSON that a helper prints".to_owned()))?;
        // Docker sends neither without the other.
        if answer.username.is_empty() || answer.secret.is_empty() {
            return Ok(None);
        }
        let secret = Secret::new(answer.secret);
        let account = if answer.username == TOKEN_USERNAME {
            Account::IdentityToken { username: answer.username, token: secret }
        } else {
            Account::Password { username: answer.username, password: secret }
        };
        Ok(Some(Credentials {
            source: format!("credential helper {}", piece(name)),
            server: server_of_host(host).to_owned(),
            account,
        }))
    }

    #[expect(clippy::disallowed_methods, reason = "it reads which variables the helper must not inherit")]
    async fn run(&self, name: &str, server: &str) -> std::io::Result<HelperOutput> {
        let mut command = Command::new(format!("docker-credential-{name}"));
        // Some of Gantry's own variables hold passwords. No helper inherits them.
        for (variable, _) in std::env::vars_os() {
            if is_ours(&variable) {
                command.env_remove(variable);
            }
        }
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let mut child = command
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: many helpers are scripts, and what they have started ends with them.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(explained)?;
        let group = ProcessGroup::led_by(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A helper that does not read its input closes it; what it prints still counts.
                let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
            }
        };
        let ((), stdout, stderr) = tokio::join!(write, read(stdout), read(stderr));
        let status = child.wait().await?;
        group.release();
        Ok(HelperOutput { success: status.success(), stdout: stdout?, stderr: stderr? })
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(OUTPUT_LIMIT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

struct HelperOutput {
    success: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl HelperOutput {
    /// What the helper says went wrong: helpers print it to either.
    fn first_line(&self, redact: impl Fn(&str) -> String) -> String {
        let line = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            // Redacted before it is cut: a half of a secret would not be recognized any more.
            foreign(&redact(text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()))
        };
        let out = line(&self.stdout);
        if out.is_empty() { line(&self.stderr) } else { out }
    }
}
