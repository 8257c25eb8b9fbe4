//! Other programs' words, made fit for a log and a telephone. Pure.

/// One line of it, at most so many characters long: without the control sequences that terminals obey (colours,
/// titles, links), without control characters (a run of them becomes a space), and without the invisible characters
/// that change the direction of what follows.
pub(crate) fn line(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    let mut chars = 0;
    // Whether the last space stands for control characters.
    let mut is_made = false;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = after_escape(rest) {
            rest = after;
            continue;
        }
        rest = &rest[next.len_utf8()..];
        if is_invisible(next) {
            continue;
        }
        let shown = if next.is_control() { ' ' } else { next };
        // Nothing begins with a space, and control characters make one together.
        if shown == ' ' && (line.is_empty() || (line.ends_with(' ') && (is_made || next.is_control()))) {
            continue;
        }
        is_made = next.is_control();
        if chars == max_chars {
            line.truncate(line.trim_end().len());
            line.push_str("...");
            return line;
        }
        line.push(shown);
        chars += 1;
    }
    line.truncate(line.trim_end().len());
    line
}

/// What follows the control sequence with which this text begins, if it does (ECMA-48: `ESC [ ... letter`,
/// `ESC ] ... BEL` and their kin, and the one-character forms of their beginnings).
fn after_escape(text: &str) -> Option<&str> {
    let (kind, rest) = match text.strip_prefix('\u{1b}') {
        Some(rest) => match rest.chars().next() {
            Some(kind) => (kind, &rest[kind.len_utf8()..]),
            None => return Some(rest),
        },
        None => (text.strip_prefix('\u{9b}').map(|_| '[')?, &text['\u{9b}'.len_utf8()..]),
    };
    match kind {
        '[' => {
            let end = rest.find(|c: char| !(' '..='?').contains(&c)).unwrap_or(rest.len());
            let is_complete = rest[end..].starts_with(|c: char| ('@'..='~').contains(&c));
            Some(&rest[end + usize::from(is_complete)..])
        }
        ']' | 'P' | 'X' | '^' | '_' => {
            // One without an end is no reason to lose the rest of the line.
            let end = rest.find(['\u{7}', '\u{9c}', '\u{1b}', '\n']);
            let Some(end) = end else { return Some(rest) };
            let after = &rest[end..];
            let known = ["\u{7}", "\u{9c}", "\u{1b}\\"].iter().find_map(|end| after.strip_prefix(end));
            Some(known.unwrap_or(after))
        }
        // Which character set, for example: one more character follows.
        ' '..='/' => {
            let mut chars = rest.chars();
            chars.next();
            Some(chars.as_str())
        }
        '0'..='~' => Some(rest),
        // No sequence after all: only the escape goes.
        _ => Some(&text['\u{1b}'.len_utf8()..]),
    }
}

/// Characters without a shape that turn text around, or hide in it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        for (text, plain) in [
            ("no database", "no database"),
            ("\u{1b}[31;1mred\u{1b}[0m and \u{9b}4mmore\u{9b}m", "red and more"),
            ("\u{1b}]0;a title\u{7}text \u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "text link"),
            ("\u{1b}(Bplain\u{1b}7 \u{1b}=", "plain"),
            ("\0NUL\0\0 in\0\u{1}the\tmiddle\r", "NUL in the middle"),
            ("10 %\r20 %\r\n", "10 % 20 %"),
            ("cut \u{1b}[31", "cut"),
            ("cut \u{1b}", "cut"),
            ("no end \u{1b}]0;title", "no end 0;title"),
            ("evil \u{202e}txt.exe\u{200b}", "evil txt.exe"),
            ("\u{fffd}\u{fffd} stays", "\u{fffd}\u{fffd} stays"),
            ("   indented  twice  ", "indented  twice"),
            ("\u{7f}\u{85}", ""),
        ] {
            assert_eq!(line(text, 100), plain, "{text:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_by_characters() {
        assert_eq!(line("äöüß", 4), "äöüß");
        assert_eq!(line("äöü ß", 4), "äöü...");
        assert_eq!(line("abc", 0), "...");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_short_line_without_control_characters(
            text in "(\\PC|[\\x00-\\x1f\\x7f-\\x9f]|\u{1b}\\[|\u{1b}\\]){0,80}", max in 0..60_usize
        ) {
            let plain = line(&text, max);
            prop_assert!(!plain.chars().any(|c| c.is_control() || is_invisible(c)), "{:?}", plain);
            prop_assert!(plain.chars().count() <= max + 3);
            // Doing it again changes nothing.
            prop_assert_eq!(line(&plain, max + 3), plain.clone());
        }
    }
}
