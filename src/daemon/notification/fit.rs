//! Texts that are cut to what a service takes. Pure.

/// What stands at the end of a text that was cut.
pub(super) const MARK: &str = "\n... (cut; the log has all of it)";

/// What stands at the end of a title that was cut.
pub(super) const TITLE_MARK: &str = "...";

/// A text of at most `limit`, with the mark at its end where it is cut. It is never cut within a character, nor within what `write`
/// makes of a character. `size` says how much of the limit a text takes.
pub(super) fn fitted(
    text: &str,
    limit: usize,
    mark: &str,
    write: impl Fn(char, &mut String),
    size: impl Fn(&str) -> usize,
) -> String {
    let room = limit.saturating_sub(size(mark));
    let (mut whole, mut piece, mut used, mut cut_at) = (String::new(), String::new(), 0, None);
    for c in text.chars() {
        piece.clear();
        write(c, &mut piece);
        used += size(&piece);
        if used > room {
            cut_at.get_or_insert(whole.len());
        }
        if used > limit {
            whole.truncate(cut_at.unwrap_or_default());
            whole.push_str(mark);
            return whole;
        }
        whole.push_str(&piece);
    }
    whole
}

/// A text as it is.
pub(super) fn plain(c: char, text: &mut String) {
    text.push(c);
}

/// The size of a text in bytes.
pub(super) fn bytes(text: &str) -> usize {
    text.len()
}

/// The size of a text as JavaScript counts it: never less than its characters.
pub(super) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_and_says_so() {
        let cut = |text: &str, limit| fitted(text, limit, "..", plain, bytes);
        for (text, limit, expected) in [
            ("", 4, ""),
            ("abcd", 4, "abcd"),
            ("abcde", 4, "ab.."),
            // Two bytes each, four the last.
            ("\u{e4}\u{f6}", 4, "\u{e4}\u{f6}"),
            ("\u{e4}\u{f6}\u{fc}", 5, "\u{e4}.."),
            ("a\u{1f600}b", 5, "a.."),
            ("a\u{1f600}b", 6, "a\u{1f600}b"),
        ] {
            assert_eq!(cut(text, limit), expected, "{text:?} {limit}");
        }
        let twice = |c: char, text: &mut String| text.extend([c, c]);
        assert_eq!(fitted("abcd", 7, "..", twice, bytes), "aabb..", "not within an escape");
        assert_eq!(fitted("\u{1f600}\u{1f600}", 3, "", plain, units), "\u{1f600}");
    }
}
