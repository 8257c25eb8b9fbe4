//! What a command of the user's says of digests (`GANTRY_ACCEPT_CMD`). Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::image::Digest;

/// How long an answer holds.
pub const ANSWER_HOLDS: SignedDuration = SignedDuration::from_hours(1);

/// The exit code that says: not yet.
const NOT_YET: i32 = 75;

/// What the command said of a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandAnswer {
    /// It may be rolled out.
    Accepted,
    /// Not yet; the last line of the command's output.
    NotYet(String),
    /// It gave no answer; why.
    Failed(String),
}

impl CommandAnswer {
    /// What an exit code says, after this last line of output.
    pub fn of_exit(code: Option<i32>, last_line: String) -> Self {
        let said = if last_line.is_empty() { String::new() } else { format!(": {last_line}") };
        match code {
            Some(0) => Self::Accepted,
            Some(NOT_YET) => Self::NotYet(last_line),
            Some(code) => Self::Failed(format!("it ended with exit code {code}{said}")),
            None => Self::Failed(format!("it was ended by a signal{said}")),
        }
    }
}

/// The answers that this process has, by image and digest. After a restart, the command is asked again.
#[derive(Debug, Default)]
pub struct CommandMemory(BTreeMap<(String, Digest), (Timestamp, CommandAnswer)>);

impl CommandMemory {
    /// The answer that holds at this time, and when it was given.
    pub fn get(&self, image: &str, digest: &Digest, now: Timestamp) -> Option<(Timestamp, CommandAnswer)> {
        let known = self.0.get(&(image.to_owned(), digest.clone()))?;
        (now.duration_since(known.0) < ANSWER_HOLDS).then(|| known.clone())
    }

    /// Remembers an answer, and forgets those that hold no longer.
    pub fn put(&mut self, image: &str, digest: &Digest, now: Timestamp, answer: CommandAnswer) {
        self.0.retain(|_, (at, _)| now.duration_since(*at) < ANSWER_HOLDS);
        self.0.insert((image.to_owned(), digest.clone()), (now, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_an_answer() {
        let said = || "no ticket".to_owned();
        assert_eq!(CommandAnswer::of_exit(Some(0), said()), CommandAnswer::Accepted);
        assert_eq!(CommandAnswer::of_exit(Some(75), said()), CommandAnswer::NotYet(said()));
        let failed = |words: &str| CommandAnswer::Failed(words.to_owned());
        assert_eq!(CommandAnswer::of_exit(Some(1), said()), failed("it ended with exit code 1: no ticket"));
        assert_eq!(CommandAnswer::of_exit(None, String::new()), failed("it was ended by a signal"));
    }

    #[test]
    fn an_answer_holds_for_an_hour() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let mut memory = CommandMemory::default();
        memory.put("app:1", &digest, at(0), CommandAnswer::Accepted);
        assert_eq!(memory.get("app:1", &digest, at(3_599)), Some((at(0), CommandAnswer::Accepted)));
        assert_eq!(memory.get("app:1", &digest, at(3_600)), None);
        assert_eq!(memory.get("app:2", &digest, at(5)), None);
        memory.put("app:2", &digest, at(4_000), CommandAnswer::Accepted);
        assert_eq!(memory.0.len(), 1, "what holds no longer is forgotten");
    }
}
