//! Which services and images a login is for. Pure.

use super::value::Value;
use crate::words::matches_pattern;

/// The longest text of a scope, in bytes.
const MAX_BYTES: usize = 16 << 10;

/// The longest pattern, in bytes. No name of an image is longer.
const MAX_PATTERN: usize = 512;

/// How many patterns a scope has at most.
const MAX_PATTERNS: usize = 100;

/// The services and images that a login is for: patterns, separated by commas, in which `*` stands for any characters.
///
/// A pattern with a slash is of images, without tag: `registry.example.com/team-a/*`, or `team-a/*` as the login is for
/// one registry anyway. Any other pattern is of services: `team-a_*`. One pattern that fits is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginScope(Vec<String>);

impl LoginScope {
    /// What a scope looks like, in words that follow "expected".
    pub const EXPECTED: &'static str =
        "up to 100 names of services or images, separated by commas, with * for any characters";

    /// Reads a scope; `None` for what is none, as a login that is for nothing is a slip.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let patterns: Vec<String> =
            text.split(',').map(|pattern| pattern.trim().to_ascii_lowercase()).collect();
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_-.:/*[]".contains(c);
        let is_pattern =
            |pattern: &String| (1..=MAX_PATTERN).contains(&pattern.len()) && pattern.chars().all(is_of_name);
        (patterns.len() <= MAX_PATTERNS && patterns.iter().all(is_pattern)).then_some(Self(patterns))
    }

    /// Whether a service may use the login for an image of `repository` at `registry`.
    pub fn permits(&self, service: &str, registry: &str, repository: &str) -> bool {
        let service = service.to_ascii_lowercase();
        let repository = repository.to_ascii_lowercase();
        let image = format!("{}/{repository}", registry.to_ascii_lowercase());
        let (of_images, of_services): (Vec<&String>, Vec<&String>) =
            self.0.iter().partition(|pattern| pattern.contains('/'));
        let has =
            |pattern: &&String| matches_pattern(pattern, &image) || matches_pattern(pattern, &repository);
        of_images.iter().any(has) || of_services.iter().any(|pattern| matches_pattern(pattern, &service))
    }
}

/// The text of a [`LoginScope`].
pub(super) struct Scope(pub(super) String);

impl Value for Scope {
    const EXPECTED: &'static str = LoginScope::EXPECTED;

    fn parse(text: &str) -> Result<Self, &'static str> {
        LoginScope::parse(text).map(|_| Self(text.to_owned())).ok_or(Self::EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_of_services_or_with_a_slash_of_images() {
        for (scope, service, repository, expected) in [
            ("team-a_*", "team-a_web", "team-b/app", true),
            ("team-a_*", "team-b_web", "team-a_x/app", false),
            ("web", "web", "app", true),
            ("web", "web2", "web", false),
            ("Web", "web", "app", true),
            ("team-a/*", "any", "team-a/app", true),
            ("team-a/*", "team-a", "team-ab/app", false),
            ("reg.test:5000/app", "any", "app", true),
            ("reg.test:5000/team-a/*", "any", "team-a/x/y", true),
            ("other.test/*", "any", "app", false),
            ("x, team-b/*,web", "web", "app", true),
            ("x, team-b/*,web", "any", "team-b/app", true),
            ("*", "any", "app", true),
        ] {
            let permits = LoginScope::parse(scope).unwrap().permits(service, "reg.test:5000", repository);
            assert_eq!(permits, expected, "{scope} {service} {repository}");
        }
    }

    #[test]
    fn what_names_nothing_is_no_scope() {
        let many = vec!["a"; 101].join(",");
        for text in
            ["", ",", "a,,b", "a b", "#", "a!", "ü", "a,", &many, &"a".repeat(20_000), &"a".repeat(513)]
        {
            assert_eq!(LoginScope::parse(text), None, "{}", &text[..text.len().min(20)]);
        }
    }
}
