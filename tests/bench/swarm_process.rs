//! The process of the fake swarm, as the process that measures sees it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::fake_swarm::{COUNT, PUSH};

/// A fake swarm with its registry, in a process of its own. Killed when dropped.
pub(crate) struct SwarmProcess {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Host and port of the registry.
    pub(crate) registry: String,
}

impl SwarmProcess {
    /// So many services on so many images, with the engine's API at this socket.
    pub(crate) fn start(socket: &Path, services: usize, images: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([super::FAKE_SWARM, socket.to_str().unwrap(), &services.to_string(), &images.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut registry = String::new();
        output.read_line(&mut registry).unwrap();
        Self { process, input, output, registry: registry.trim().to_owned() }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer
    }

    /// Gives one of the images a new digest. Returns the image's name with its tag.
    pub(crate) fn push(&mut self) -> String {
        let number = self.ask(PUSH);
        format!("{}/image-{}:stable", self.registry, number.trim())
    }

    /// What the swarm was asked, and how its services stand: JSON.
    pub(crate) fn count(&mut self) -> String {
        self.ask(COUNT)
    }
}

impl Drop for SwarmProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
