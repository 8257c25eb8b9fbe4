//! What there is to know of a variable, and of a label. Pure.

/// What there is to know of a variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The heading that it stands under.
    pub group: &'static str,
    /// The value that it has when it is not set, as it would be written.
    pub default: Option<&'static str>,
    /// The same in words, where it is no fixed text.
    pub default_words: Option<&'static str>,
    /// What a value looks like, in words that follow "expected".
    pub expected: &'static str,
    /// Whether its value must never be shown.
    pub is_secret: bool,
    /// What it means, in Markdown.
    pub doc: &'static str,
    /// The label that overrides it for one service.
    pub label: Option<&'static str>,
}

/// What there is to know of a label.
#[derive(Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// The variable that it overrides.
    pub variable: Option<&'static str>,
    /// What a value looks like, in words that follow "expected".
    pub expected: &'static str,
    /// What it means, in Markdown.
    pub doc: &'static str,
}
