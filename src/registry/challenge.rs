//! The header `WWW-Authenticate`, by which a registry asks for a login. Pure.

/// The longest address of a token server with the registry's name, in bytes. Both are remembered for each repository.
const MAX_ADDRESS: usize = 4 << 10;

use super::reach::Origin;

/// The kind of login that a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from a token server.
    Bearer(Bearer),
}

/// The parameters of a `Bearer` challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bearer {
    /// The token server's URL.
    pub realm: String,
    /// The registry's name, as its token server knows it.
    pub service: String,
    /// The connection on which the token server was named.
    pub origin: Origin,
}

/// All challenges of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenges {
    /// The challenge to use; `None`: Gantry knows none of them.
    pub best: Option<Challenge>,
    /// Whether name and password with every request are an alternative to [`Self::best`].
    pub has_basic: bool,
    /// `error` and `error_description`, where the registry gave them.
    pub words: Option<String>,
}

/// Reads all `WWW-Authenticate` headers of an answer that came on the connection `origin`. `Bearer` wins over `Basic`: it does not send the
/// password to the registry.
pub(super) fn parse<'a>(headers: impl Iterator<Item = &'a str>, origin: Origin) -> Challenges {
    let mut found = Challenges::default();
    for (scheme, parameters) in headers.flat_map(challenges) {
        let get = |name: &str| {
            parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            let service = get("service").unwrap_or_default();
            if let Some(realm) = get("realm").filter(|realm| !realm.is_empty())
                && realm.len() + service.len() <= MAX_ADDRESS
                && !matches!(found.best, Some(Challenge::Bearer(_)))
            {
                let (realm, service) = (realm.to_owned(), service.to_owned());
                found.best = Some(Challenge::Bearer(Bearer { realm, service, origin }));
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            found.has_basic = true;
            found.best.get_or_insert(Challenge::Basic);
        }
        if let Some(words) = get("error_description").or_else(|| get("error")).filter(|w| !w.is_empty()) {
            found.words.get_or_insert_with(|| words.to_owned());
        }
    }
    found
}

type Parameters = Vec<(String, String)>;

/// Splits one header into its challenges: `Scheme key=value, key="quoted, value", Scheme2 ...`.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            Some(value) => {
                let (value, remaining) = parameter_value(value.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_owned(), value));
                }
                rest = remaining;
            }
            None if word.is_empty() => return found,
            None => {
                found.push((word.to_owned(), Parameters::new()));
                rest = after;
            }
        }
    }
}

/// A token or a quoted string, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    // The quotation is not closed: the value goes to the end.
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(header: &str) -> Option<Challenge> {
        parse(std::iter::once(header), Origin::default()).best
    }

    fn bearer(realm: &str, service: &str) -> Challenge {
        Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: service.to_owned(),
            origin: Origin::default(),
        })
    }

    #[test]
    fn what_registries_really_send_is_understood() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#,
                bearer("https://auth.docker.io/token", "registry.docker.io"),
            ),
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull",error="insufficient_scope""#,
                bearer("https://auth.docker.io/token", "registry.docker.io"),
            ),
            (
                r#"bearer REALM="https://t/x?a=1,b=2" , service = plain"#,
                bearer("https://t/x?a=1,b=2", "plain"),
            ),
            (r#"Bearer realm="https://t/""#, bearer("https://t/", "")),
            (r#"Basic realm="Registry Realm""#, Challenge::Basic),
            ("Basic", Challenge::Basic),
            (r#"Basic realm="x", Bearer realm="https://t/",service="s""#, bearer("https://t/", "s")),
            (r#"Negotiate, Basic realm="x""#, Challenge::Basic),
            (r#"Bearer realm="https://t/a\"b",service="s""#, bearer("https://t/a\"b", "s")),
            (r#"Bearer realm="https://t/"#, bearer("https://t/", "")),
        ] {
            assert_eq!(one(header), Some(expected), "{header}");
        }
    }

    #[test]
    fn without_a_scheme_that_we_know_there_is_no_challenge() {
        for header in [
            "",
            ",",
            "=",
            &format!("Bearer realm=\"https://t/{}\"", "x".repeat(4096)),
            "Digest realm=\"x\"",
            "Bearer service=\"s\"",
            "Bearer realm=\"\"",
            "realm=\"x\"",
        ] {
            assert_eq!(one(header), None, "{header}");
        }
        assert_eq!(parse(std::iter::empty(), Origin::default()), Challenges::default());
    }

    #[test]
    fn several_headers_count_together_and_the_registrys_words_are_kept() {
        let found = parse(
            [
                r#"Basic realm="x""#,
                r#"Bearer realm="https://t/",error="invalid_token",error_description="it expired""#,
            ]
            .into_iter(),
            Origin::default(),
        );
        assert_eq!(found.best, Some(bearer("https://t/", "")));
        assert_eq!(found.words.as_deref(), Some("it expired"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_always_ends(header in "\\PC{0,200}", tricky in "[ ,=\"\\\\a-z]{0,60}") {
            one(&header);
            one(&tricky);
        }
    }
}
