//! The words of other programs, made fit for one line of a log, an error or a message. Pure.

use std::error::Error;
use std::path::Path;

/// The longest text of another program that is repeated, in characters.
const LONGEST: usize = 300;

/// The longest piece of a name or value that is quoted, in characters.
const LONGEST_PIECE: usize = 100;

/// The longest piece of a path that is quoted, in characters.
const LONGEST_PATH: usize = 300;

/// How many of several names are listed.
const MOST_NAMES: usize = 20;

/// The beginning of a text, with `...` where the text is longer than `most` characters.
pub fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first 100 characters of a foreign name, without the escapes of [`piece`].
pub fn cut(text: &str) -> String {
    beginning(text, LONGEST_PIECE)
}

/// A foreign name as a message shows it: escaped, and at most its first 100 characters.
pub fn piece(text: &str) -> String {
    beginning(text, LONGEST_PIECE).escape_debug().to_string()
}

/// A foreign value as a message shows it: in quotation marks, escaped, and at most its first 100 characters.
pub fn quoted(text: &str) -> String {
    format!("{:?}", beginning(text, LONGEST_PIECE))
}

/// Writes a text with escapes for what is not printable.
pub fn push_printable(line: &mut String, text: &str) {
    for c in text.chars() {
        if is_printable(c) {
            line.push(c);
        } else {
            line.extend(c.escape_default());
        }
    }
}

/// A foreign text as a line shows it: with escapes for what is not printable.
pub fn printable(text: &str) -> String {
    let mut line = String::new();
    push_printable(&mut line, text);
    line
}

/// A path that a label or a file names, as a message shows it: at most its first 300 characters.
pub fn shown_path(path: &Path) -> String {
    beginning(&path.display().to_string(), LONGEST_PATH)
}

/// The first 20 of several names, and how many more there are.
pub fn some_of<T: AsRef<str>>(names: &[T], separator: &str) -> String {
    let first: Vec<&str> = names.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => first.join(separator),
        more => format!("{} and {more} more", first.join(separator)),
    }
}

/// Whether a text is as a pattern says, in which `*` stands for any characters, also for none.
///
/// Takes at most the product of both lengths.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // The last star, and how much of the text is taken by it.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, read));
            at += 1;
        } else if pattern.get(at) == Some(&text[read]) {
            (at, read) = (at + 1, read + 1);
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            (at, read) = (star_at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// A text in one line of at most 300 characters. Secrets have to be taken out before: a half of a secret would not be
/// recognized any more.
pub fn one_line(text: &str) -> String {
    let spaced = visible(text).map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c });
    // Nothing begins with a space, and several become one.
    let mut last = ' ';
    let clean = spaced.filter(|&c| {
        let is_more = c == ' ' && last == ' ';
        last = c;
        !is_more
    });
    clean.take(LONGEST).collect::<String>().trim_end().to_owned()
}

/// A text in one line of at most so many characters, with `...` where it is cut. Spaces within it stay; a run of control
/// characters becomes one.
pub fn line(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    let mut chars = 0;
    // Whether the last space stands for control characters.
    let mut is_made = false;
    for next in visible(text) {
        let shown = if next.is_control() { ' ' } else { next };
        // Nothing begins with a space, and control characters make one together.
        if shown == ' ' && (line.is_empty() || (line.ends_with(' ') && (is_made || next.is_control()))) {
            continue;
        }
        is_made = next.is_control();
        if chars == max_chars {
            return format!("{}...", line.trim_end());
        }
        line.push(shown);
        chars += 1;
    }
    line.truncate(line.trim_end().len());
    line
}

/// The characters of a text without the control sequences that terminals obey (colours, titles, links) and without
/// invisible characters. Other control characters stay.
pub fn visible(text: &str) -> impl Iterator<Item = char> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            if let Some(after) = after_escape(rest) {
                rest = after;
                continue;
            }
            let next = rest.chars().next()?;
            rest = &rest[next.len_utf8()..];
            if !is_invisible(next) {
                return Some(next);
            }
        }
    })
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

/// Whether a character separates lines, or has no shape and turns the direction of the text around it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether a character shows as itself and leaves its line as it is.
pub fn is_printable(c: char) -> bool {
    !c.is_control() && !is_invisible(c)
}

/// An error and its causes, the outermost first.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| error.source())
}

/// An error with all its causes: `cannot read: no such file`.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The innermost cause of an error.
pub fn deepest(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

/// What another program says of an error, in one line and without the web page in it.
pub fn foreign(text: &str) -> String {
    one_line(&without_markup(text))
}

/// An error's text with the title of a web page in place of the page: `not allowed: 403 Forbidden`.
pub fn without_markup(text: &str) -> String {
    let small = text.to_ascii_lowercase();
    let Some(start) =
        ["<!doctype", "<html", "<head", "<body", "<?xml"].iter().filter_map(|tag| small.find(tag)).min()
    else {
        return text.to_owned();
    };
    let before = text[..start].trim_end();
    let title = ["title", "h1"].iter().find_map(|tag| {
        let (_, rest) = text[start..].split_once(&format!("<{tag}>"))?;
        rest.split('<').next().map(str::trim).filter(|title| !title.is_empty())
    });
    match (before, title) {
        ("", Some(title)) => title.to_owned(),
        ("", None) => "a web page".to_owned(),
        (before, Some(title)) => format!("{before} {title}"),
        (before, None) => format!("{before} a web page"),
    }
}

/// A length of time as settings write it, in the largest unit that leaves no rest: `90s`, `36h`, `7d`.
pub fn timespan(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let units = [(604_800, "w"), (86_400, "d"), (3_600, "h"), (60, "m")];
    let fitting = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    fitting.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_becomes_one_line_without_control_characters() {
        assert_eq!(one_line("a\nb\u{1b}[31m  c\t"), "a b c");
        assert_eq!(one_line(&"x".repeat(1000)).len(), LONGEST);
        assert_eq!(foreign("500: <html>\n<title>Gone\n away</title>"), "500: Gone away");
    }

    #[test]
    fn a_quotation_is_escaped_and_bounded() {
        assert_eq!(piece("a\u{1b}\n"), "a\\u{1b}\\n");
        assert_eq!(quoted("a \"b\""), r#""a \"b\"""#);
        assert_eq!(piece(&"ß".repeat(100)), "ß".repeat(100));
        assert_eq!(piece(&"ß".repeat(101)), format!("{}...", "ß".repeat(100)));
        assert_eq!(quoted(&"x".repeat(1 << 20)).len(), LONGEST_PIECE + 5);
        assert_eq!(shown_path(Path::new(&"x".repeat(1 << 20))).len(), LONGEST_PATH + 3);
    }

    #[test]
    fn a_star_of_a_pattern_is_any_text() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("*a", "bca", true),
            ("*a", "ab", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("**", "a/b", true),
            ("*ß*", "aßb", true),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn of_many_names_the_first_twenty_are_listed() {
        assert_eq!(some_of(&["a"; 2], ", "), "a, a");
        assert!(some_of(&["a"; 25], " ").ends_with("a a and 5 more"));
    }

    #[test]
    fn of_a_web_page_only_its_title_is_repeated() {
        for (text, left) in [
            ("no such image", "no such image"),
            ("a < b", "a < b"),
            ("<html><body><h1>403 Forbidden</h1>\nRequest forbidden\n</body></html>\n", "403 Forbidden"),
            ("<!DOCTYPE html><title> Log in </title><p>secret", "Log in"),
            ("<HTML>", "a web page"),
            ("not allowed: <html><body><h1>403 Forbidden</h1></html>", "not allowed: 403 Forbidden"),
            ("not allowed: <html>", "not allowed: a web page"),
            ("<?xml version=\"1.0\"?><Error/>", "a web page"),
        ] {
            assert_eq!(without_markup(text), left, "{text}");
        }
    }

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
