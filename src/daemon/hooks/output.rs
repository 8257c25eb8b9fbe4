//! The output of a hook as lines for the log: of limited length and number, without control sequences for terminals.
//! Pure.

use std::mem;

use crate::words;

/// How much of one line is kept, in bytes.
const LINE_BYTES: usize = 4096;

/// How many lines of one pipe are kept.
const LINES: usize = 1000;

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    /// Bytes of this line that were not kept.
    left_out: usize,
    /// Lines so far.
    count: usize,
}

impl Lines {
    /// Takes what was read and returns the completed lines. A line without visible characters does not count.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let kept = text.len().min(LINE_BYTES.saturating_sub(self.line.len()));
            self.line.extend_from_slice(&text[..kept]);
            self.left_out += text.len() - kept;
            if text.len() < part.len() {
                lines.extend(self.complete());
            }
        }
        lines
    }

    /// The last line, where it does not end with a line feed.
    pub(super) fn rest(mut self) -> Option<String> {
        self.complete()
    }

    fn complete(&mut self) -> Option<String> {
        let (line, left_out) = (mem::take(&mut self.line), mem::take(&mut self.left_out));
        let mut text = printable(&line);
        if left_out > 0 {
            text.push_str(" ...");
        }
        if text.is_empty() || self.count > LINES {
            return None;
        }
        self.count += 1;
        Some(if self.count > LINES {
            "what follows is too much for a log and left out".to_owned()
        } else {
            text
        })
    }
}

/// The text of a line as a terminal would leave it: without colours and other sequences, without control
/// characters, and of a line that overwrote itself only the end.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    let last = words::visible(text.rsplit('\r').next().unwrap_or_default());
    let plain: String = last.map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect();
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut all: Vec<String> = chunks.iter().flat_map(|chunk| lines.take(chunk)).collect();
        all.extend(lines.rest());
        all
    }

    #[test]
    fn lines_are_complete_whatever_the_pieces_in_which_they_come() {
        assert_eq!(lines(&[b"one\ntw", b"o\n", b"", b"\n\nthr", b"ee"]), ["one", "two", "three"]);
        assert_eq!(lines(&[b"gr\xc3", b"\xbc\xc3\x9fe\n"]), ["grüße"]);
        assert_eq!(lines(&[b"not \xff UTF-8\n"]), ["not \u{fffd} UTF-8"]);
    }

    #[test]
    fn what_only_a_terminal_understands_is_left_out() {
        for (printed, shown) in [
            ("\u{1b}[1;31mred\u{1b}[0m and plain", "red and plain"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("10 %\r50 %\r100 %\r", "100 %"),
            ("windows\r", "windows"),
            ("a\tb\u{0}c\u{8}\u{9b}d", "a bc"),
            ("end\u{1b}", "end"),
            ("end\u{1b}[12", "end"),
            ("  indented  ", "  indented"),
        ] {
            assert_eq!(printable(printed.as_bytes()), shown, "{printed:?}");
        }
        assert_eq!(lines(&["\u{1b}[0m\n \t\n".as_bytes()]), [""; 0], "nothing to read is no line");
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let mut long = vec![b'x'; 3 * LINE_BYTES];
        long.extend(b"\nnext\n");
        let lines = lines(&[&long[..5000], &long[5000..]]);
        assert_eq!(lines, [format!("{} ...", "x".repeat(LINE_BYTES)), "next".to_owned()]);
    }

    #[test]
    fn output_without_end_is_cut_and_that_is_said_once() {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for _ in 0..5 * LINES {
            all.extend(lines.take(b"again\n"));
        }
        assert_eq!(all.len(), LINES + 1);
        assert_eq!(all[LINES], "what follows is too much for a log and left out");
    }

    proptest! {
        #[test]
        fn no_output_is_kept_in_full_that_has_no_end(chunks in prop::collection::vec(any::<Vec<u8>>(), 0..40)) {
            let mut lines = Lines::default();
            for chunk in &chunks {
                for line in lines.take(chunk) {
                    prop_assert!(!line.contains(char::is_control), "{line:?}");
                }
                prop_assert!(lines.line.len() <= LINE_BYTES);
            }
        }
    }
}
