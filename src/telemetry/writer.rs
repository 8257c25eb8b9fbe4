//! The thread that writes the log. A slow reader holds up only the log.
//!
//! Lines wait in a queue. When the queue is full, new lines are counted instead of kept. In their place the log later says
//! how many there were.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most lines that wait.
const LINES: usize = 1000;

/// Most bytes that wait. A line that is larger by itself waits alone.
const BYTES: usize = 256 * 1024;

/// How long a full queue is waited for. A reader that reads at all has made room by then.
const PATIENCE: Duration = Duration::from_millis(100);

/// The same at the end of the program, where all lines are waited for.
const PATIENCE_AT_END: Duration = Duration::from_secs(1);

/// The same where the reader is known not to keep up.
const PATIENCE_AT_END_WHEN_SLOW: Duration = Duration::from_millis(200);

/// From one try to the next where the output takes nothing at the moment and does not block.
const RETRY: Duration = Duration::from_millis(20);

/// Makes the line that says how many lines were dropped.
pub(super) type Notice = Box<dyn Fn(u64) -> String + Send>;

/// The lines that the thread has not written yet.
#[derive(Debug, Default)]
pub(super) struct LogQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    entries: VecDeque<LogEntry>,
    /// The bytes of the lines that wait.
    bytes: usize,
    /// Whether an entry is being written.
    is_writing: bool,
    /// Whether a wait for room was in vain. There is no further wait until half of the queue is written.
    is_slow: bool,
}

#[derive(Debug)]
enum LogEntry {
    Line(String),
    /// In the place of so many lines.
    Dropped(u64),
}

impl QueueState {
    fn has_room(&self, line: &str) -> bool {
        self.entries.is_empty() || (self.entries.len() < LINES && self.bytes + line.len() <= BYTES)
    }
}

impl LogQueue {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(super) fn start(sink: impl Write + Send + 'static, notice: Notice) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self::default());
        let writer = Arc::clone(&queue);
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(sink, &notice))?;
        Ok(queue)
    }

    /// Takes a line with its line feed, or counts it.
    pub(super) fn push(&self, line: &str) {
        let mut state = self.lock();
        if !state.has_room(line) && !state.is_slow {
            let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| !state.has_room(line));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.is_slow = !state.has_room(line);
        }
        if state.has_room(line) {
            state.bytes += line.len();
            state.entries.push_back(LogEntry::Line(line.to_owned()));
        } else if let Some(LogEntry::Dropped(number)) = state.entries.back_mut() {
            *number += 1;
        } else {
            state.entries.push_back(LogEntry::Dropped(1));
        }
        self.changed.notify_all();
    }

    /// Waits until all is written, as long as the end of the program may take.
    pub(super) fn flush(&self) {
        let state = self.lock();
        let patience = if state.is_slow { PATIENCE_AT_END_WHEN_SLOW } else { PATIENCE_AT_END };
        let is_at_work = |state: &mut QueueState| state.is_writing || !state.entries.is_empty();
        drop(self.changed.wait_timeout_while(state, patience, is_at_work));
    }

    fn write_to(&self, mut sink: impl Write, notice: &Notice) {
        // Lines that the output refused, and whether it took a part of the last one.
        let (mut lost, mut is_cut) = (0, false);
        loop {
            let entry = self.next();
            let (text, number) = match entry {
                LogEntry::Line(line) => (line, 1),
                LogEntry::Dropped(number) => (notice(number), number),
            };
            let mut whole = if lost > 0 { notice(lost) } else { String::new() };
            if is_cut {
                whole.insert(0, '\n');
            }
            whole.push_str(&text);
            match write_all(&mut sink, whole.as_bytes()) {
                Ok(()) => (lost, is_cut) = (0, false),
                Err(written) => (lost, is_cut) = (lost + number, is_cut || written > 0),
            }
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> LogEntry {
        let mut state = self.lock();
        loop {
            if let Some(entry) = state.entries.pop_front() {
                if let LogEntry::Line(line) = &entry {
                    state.bytes -= line.len();
                }
                state.is_slow &= state.entries.len() > LINES / 2 || state.bytes > BYTES / 2;
                state.is_writing = true;
                self.changed.notify_all();
                return entry;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all, also where the output does not block and is full for a while. The error is the number of bytes written
/// until the output refused one: the reader is gone, or the disk is full.
#[expect(clippy::disallowed_methods, reason = "the thread of the log is the only one that waits here")]
fn write_all(sink: &mut impl Write, bytes: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < bytes.len() {
        match sink.write(&bytes[written..]) {
            Ok(0) => return Err(written),
            Ok(number) => written += number,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => thread::sleep(RETRY),
                _ => return Err(written),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    /// An output that takes a line whenever the test lets it, and refuses where the test says so.
    struct Sink {
        permits: mpsc::Receiver<bool>,
        taken: Arc<Mutex<String>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once the test is done, everything is taken.
            if !self.permits.recv().unwrap_or(true) {
                return Err(ErrorKind::BrokenPipe.into());
            }
            self.taken.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (Arc<LogQueue>, mpsc::Sender<bool>, Arc<Mutex<String>>) {
        let (permit, permits) = mpsc::channel();
        let taken = Arc::new(Mutex::new(String::new()));
        let sink = Sink { permits, taken: taken.clone() };
        let queue = LogQueue::start(sink, Box::new(|number| format!("{number} dropped\n"))).unwrap();
        (queue, permit, taken)
    }

    #[test]
    fn a_reader_that_reads_gets_every_line_in_order() {
        let (queue, permit, taken) = queue();
        drop(permit);
        let lines: Vec<String> = (0..10 * LINES).map(|n| format!("line {n}\n")).collect();
        for line in &lines {
            queue.push(line);
        }
        queue.flush();
        assert!(*taken.lock().unwrap() == lines.concat(), "a line is missing or out of place");
    }

    #[test]
    fn lines_that_do_not_fit_are_counted_in_their_place() {
        let (queue, permit, taken) = queue();
        let begun = Instant::now();
        for n in 0..3 * LINES {
            queue.push(&format!("line {n}\n"));
        }
        queue.flush();
        assert!(begun.elapsed() < Duration::from_secs(5), "nothing waits long for a dead reader");
        assert!(queue.lock().entries.len() <= LINES + 1);
        drop(permit);
        queue.flush();
        queue.push("after\n");
        queue.flush();
        let taken = taken.lock().unwrap().clone();
        let kept = taken.lines().filter(|line| line.starts_with("line ")).count();
        let end = format!("line {}\n{} dropped\nafter\n", kept - 1, 3 * LINES - kept);
        assert!(kept >= LINES && taken.ends_with(&end), "{kept} kept: {taken}");
    }

    #[test]
    fn many_bytes_are_too_much_as_many_lines_are() {
        let (queue, permit, taken) = queue();
        let large = "x".repeat(BYTES) + "\n";
        for _ in 0..5 {
            queue.push(&large);
        }
        assert!(queue.lock().bytes <= 2 * large.len());
        drop(permit);
        queue.flush();
        assert!(taken.lock().unwrap().ends_with(" dropped\n"));
    }

    #[test]
    fn an_output_that_refuses_is_tried_again_and_its_lines_are_counted() {
        let (queue, permit, taken) = queue();
        for (line, is_taken) in [("one\n", false), ("two\n", false), ("three\n", true)] {
            queue.push(line);
            permit.send(is_taken).unwrap();
        }
        queue.flush();
        assert_eq!(*taken.lock().unwrap(), "2 dropped\nthree\n");
    }
}
