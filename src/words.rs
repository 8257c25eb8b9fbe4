//! What other programs say, made fit for one line of a log or an error. Pure.

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
fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A foreign name that a message shows in another way than [`piece`]: at most its first 100 characters.
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

/// Whether a character shows as itself and leaves its line as it is: neither a control character nor a separator of lines
/// nor one that is invisible or turns the direction of the text around it.
pub fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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

/// A text in one line, without control characters and not endless. What is secret in it has to be gone by now: a half
/// of a secret would not be recognized any more.
pub fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(LONGEST).collect()
}

/// What a stranger says of an error: one line, and no web page.
pub fn foreign(text: &str) -> String {
    one_line(&without_markup(text))
}

/// An error's text without the web page in it, of which only its title is of use: `not allowed: 403 Forbidden`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_line_without_control_characters() {
        assert_eq!(one_line("a\nb\u{1b}[31m  c\t"), "a b [31m c");
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
}
