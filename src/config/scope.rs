//! The services and images that may use a login. Pure.

use super::Mistake;
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

    /// Reads a scope. A login that is for nothing is a slip.
    ///
    /// # Errors
    /// What is wrong, in words that follow "found" and show nothing of the text: it may be the end of a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_BYTES {
            return Err("more than 16 KiB");
        }
        let patterns: Vec<String> =
            text.split(',').map(|pattern| pattern.trim().to_ascii_lowercase()).collect();
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_-.:/*[]".contains(c);
        let fault = |pattern: &String| match pattern.as_str() {
            "" => Some("an empty name; remove the comma beside it"),
            name if name.len() > MAX_PATTERN => Some("a name of more than 512 characters"),
            name if !name.chars().all(is_of_name) => {
                Some("a name with other characters than letters, digits and _-.:/*[]")
            }
            _ => None,
        };
        match patterns.iter().find_map(fault) {
            Some(fault) => Err(fault),
            None if patterns.len() > MAX_PATTERNS => Err("more than 100 names"),
            None => Ok(Self(patterns)),
        }
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
        LoginScope::parse(text).map(|_| Self(text.to_owned()))
    }

    fn read(name: &str, text: &str) -> Result<Self, Mistake> {
        let mistake = |found| Mistake::new(name, text, format!("{}; found {found}", Self::EXPECTED));
        Self::parse(text).map_err(mistake)
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
        for (text, found) in [
            ("", "an empty name"),
            (",", "an empty name"),
            ("a,,b", "an empty name"),
            ("a,", "an empty name"),
            ("a b", "other characters"),
            ("#", "other characters"),
            ("a!", "other characters"),
            ("ü", "other characters"),
            (&many, "more than 100 names"),
            (&"a".repeat(20_000), "more than 16 KiB"),
            (&"a".repeat(513), "more than 512 characters"),
        ] {
            let words = LoginScope::parse(text).unwrap_err();
            assert!(words.contains(found), "{}: {words}", &text[..text.len().min(20)]);
        }
    }
}
