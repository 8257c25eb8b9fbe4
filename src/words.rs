//! What other programs say, made fit for one line of a log or an error. Pure.

/// The longest text of another program that is repeated, in characters.
const LONGEST: usize = 300;

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
