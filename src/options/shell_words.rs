//! From one text to words, as a shell would split it, and nothing else that a shell does: no variable, no
//! pattern and no command is replaced. Pure.

/// A quote or backslash that has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unbalanced {
    /// A `'` or `"`.
    #[error("a closing {0} for every {0}")]
    Quote(char),
    /// A `\` with nothing behind it.
    #[error("a character after the last \\")]
    Backslash,
}

/// Splits at white space. Within single quotes every character is itself; within double quotes `\` stands
/// before `"`, `\`, `$`, `` ` `` and the end of a line; elsewhere before any character.
pub(super) fn split(text: &str) -> Result<Vec<String>, Unbalanced> {
    let is_escaped = |c: char| matches!(c, '"' | '\\' | '$' | '`' | '\n');
    read(text, |word, c| if is_escaped(c) { word.push(c) } else { word.extend(['\\', c]) }, false)
}

/// Splits the words of a command (`--args`, `--entrypoint`) as the docker CLI does with google/shlex: within
/// double quotes `\` stands before any character, and a `#` at the beginning of a word begins a comment.
pub(super) fn command(text: &str) -> Result<Vec<String>, Unbalanced> {
    read(text, String::push, true)
}

fn read(
    text: &str,
    escaped_in_quotes: impl Fn(&mut String, char),
    has_comments: bool,
) -> Result<Vec<String>, Unbalanced> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if has_comments && word.is_none() => _ = rest.by_ref().find(|&c| c == '\n'),
            '\\' => match rest.next().ok_or(Unbalanced::Backslash)? {
                // The end of a line is not part of the word.
                '\n' if !has_comments => {}
                c => word.get_or_insert_default().push(c),
            },
            '\'' => loop {
                let word = word.get_or_insert_default();
                match rest.next().ok_or(Unbalanced::Quote('\''))? {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '"' => loop {
                let word = word.get_or_insert_default();
                match rest.next().ok_or(Unbalanced::Quote('"'))? {
                    '"' => break,
                    '\\' => match rest.next().ok_or(Unbalanced::Quote('"'))? {
                        '\n' if !has_comments => {}
                        c => escaped_in_quotes(word, c),
                    },
                    c => word.push(c),
                }
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_a_shell_splits_them() {
        for (text, words) in [
            ("", vec![]),
            (" \t\n ", vec![]),
            ("--env-add A=B  --force", vec!["--env-add", "A=B", "--force"]),
            ("--env-add 'A=B C'", vec!["--env-add", "A=B C"]),
            ("--env-add A='B \"C\"'\\ D", vec!["--env-add", "A=B \"C\" D"]),
            (r#""a\"b\\c\$d\`e\xf""#, vec![r#"a"b\c$d`e\xf"#]),
            (r"'a\b'", vec![r"a\b"]),
            (r"a\b\'\ ", vec!["ab' "]),
            ("''", vec![""]),
            ("--user \"\"", vec!["--user", ""]),
            ("a\\\nb \"c\\\nd\"", vec!["ab", "cd"]),
            ("a#b #c", vec!["a#b", "#c"]),
            ("$HOME `x` * ~", vec!["$HOME", "`x`", "*", "~"]),
            ("grün 'ß ü'", vec!["grün", "ß ü"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text:?}");
        }
        for (text, error) in [
            ("'a", Unbalanced::Quote('\'')),
            ("a \"b c", Unbalanced::Quote('"')),
            ("\"a\\\"", Unbalanced::Quote('"')),
            ("a \\", Unbalanced::Backslash),
        ] {
            assert_eq!(split(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_words_of_a_command_are_split_as_the_cli_splits_them() {
        for (text, words) in [
            ("sleep 5", vec!["sleep", "5"]),
            ("sh -c 'a b'", vec!["sh", "-c", "a b"]),
            (r#""a\nb" c\d"#, vec!["anb", "cd"]),
            ("a # b\nc#d", vec!["a", "c#d"]),
            ("", vec![]),
        ] {
            assert_eq!(command(text).unwrap(), words, "{text:?}");
        }
        assert!(command("a 'b").is_err());
    }
}
