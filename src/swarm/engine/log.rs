//! The engine's log format: frames of an eight-byte header and a piece of output, or, for a task with a
//! terminal, the plain output.

/// The lines in an answer of the engine's, oldest first. Total: a truncated frame ends the list.
pub(super) fn lines(answer: &[u8]) -> Vec<String> {
    let output = if is_framed(answer) { unframed(answer) } else { answer.to_vec() };
    String::from_utf8_lossy(&output).lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

/// A frame starts with the stream's number (0 to 3) and three zero bytes.
fn is_framed(answer: &[u8]) -> bool {
    matches!(answer, [0..=3, 0, 0, 0, ..])
}

fn unframed(mut rest: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(rest.len());
    while let Some((header, body)) = rest.split_first_chunk::<8>() {
        let [_, _, _, _, size @ ..] = *header;
        let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX).min(body.len());
        let (piece, next) = body.split_at(size);
        output.extend_from_slice(piece);
        rest = next;
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend(text.as_bytes());
        frame
    }

    #[test]
    fn frames_of_both_streams_become_lines() {
        let answer = [frame(1, "one\ntw"), frame(2, "o\r\n"), frame(1, "three")].concat();
        assert_eq!(lines(&answer), ["one", "two", "three"]);
    }

    #[test]
    fn the_output_of_a_terminal_is_taken_as_it_is() {
        assert_eq!(lines(b"one\r\ntwo\n"), ["one", "two"]);
        assert_eq!(lines(b""), Vec::<String>::new());
    }

    #[test]
    fn a_truncated_or_lying_frame_ends_the_list() {
        let mut answer = [frame(1, "one\n"), frame(1, "two\n")].concat();
        answer.truncate(answer.len() - 2);
        assert_eq!(lines(&answer), ["one", "tw"]);
        assert_eq!(lines(&[1, 0, 0, 0, 255, 255, 255, 255, b'x']), ["x"]);
        assert_eq!(lines(&[1, 0, 0, 0, 0]), Vec::<String>::new());
    }
}
