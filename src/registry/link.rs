//! The header `Link`, by which a list says where its next page is (RFC 8288). Pure.
//!
//! The header comes from the registry, and the next request carries a token. So the next page is only taken from the server that
//! was asked, by the same scheme and port.

use reqwest::Url;

/// The most links of one answer that are read.
const MOST_LINKS: usize = 20;

/// The address of the next page as the headers have it; `None`: there is none.
pub(super) fn target<'a>(headers: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    headers.flat_map(Links).take(MOST_LINKS).find(|link| link.is_next).map(|link| link.target)
}

/// What a link `target` in the answer to `asked` leads to, below `base`: path and query, as the registry wrote them.
///
/// # Errors
/// In words, why the link is not followed: it leads to another server, or out of `base`.
pub(super) fn below(base: &Url, asked: &Url, target: &str) -> Result<String, String> {
    let Ok(next) = asked.join(target) else {
        return Err("its Link to the next page is no address".to_owned());
    };
    if next.origin() != base.origin() {
        let (from, to) = (base.origin().ascii_serialization(), next.origin().ascii_serialization());
        return Err(format!("its Link to the next page leads from {from} to {to}, and no account follows"));
    }
    let Some(path) = next.path().strip_prefix(base.path()) else {
        return Err(format!("its Link to the next page leads out of {}", base.path()));
    };
    Ok(next.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")))
}

/// One link of a header.
struct Link<'a> {
    target: &'a str,
    /// Whether it leads to the next page.
    is_next: bool,
}

/// The links of a header.
struct Links<'a>(&'a str);

impl<'a> Iterator for Links<'a> {
    type Item = Link<'a>;

    fn next(&mut self) -> Option<Link<'a>> {
        let (_, rest) = self.0.split_once('<')?;
        let (target, rest) = rest.split_once('>')?;
        let (parameters, rest) = rest.split_at(end_of(rest, b','));
        self.0 = rest;
        Some(Link { target: target.trim(), is_next: has_next(parameters) })
    }
}

/// Where the first of these separators stands that is not in quotes.
fn end_of(text: &str, separator: u8) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_end = |byte: u8| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => return byte == separator && !is_quoted,
        }
        false
    };
    text.bytes().position(is_end).unwrap_or(text.len())
}

/// Whether `next` is among the relations that a link's parameters name.
fn has_next(mut parameters: &str) -> bool {
    while !parameters.is_empty() {
        let (parameter, rest) = parameters.split_at(end_of(parameters, b';'));
        parameters = rest.get(1..).unwrap_or_default();
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("rel") {
            let mut relations = value.trim().trim_matches('"').split_whitespace();
            return relations.any(|relation| relation.eq_ignore_ascii_case("next"));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_every_form_of_the_header() {
        for (headers, expected) in [
            (&[r#"</v2/a/tags/list?last=b&n=2>; rel="next""#][..], Some("/v2/a/tags/list?last=b&n=2")),
            (&["<x>;rel=next"], Some("x")),
            (&["<x> ; REL = \"NEXT\""], Some("x")),
            (&["<x>; title=\"a, <y>; rel=next\"; rel=\"last next\""], Some("x")),
            (&["<x>; title=\"\\\", \"; rel=next"], Some("x")),
            (&["<x>; rel=prev, <y>; rel=next, <z>; rel=last"], Some("y")),
            (&["<x>; rel=prev", "<y>; rel=next"], Some("y")),
            (&["<a,b;c>; rel=next"], Some("a,b;c")),
            (&["<x>; rel=prev; rel=next"], None),
            (&["<x>; title=next"], None),
            (&["<x>"], None),
            (&["x; rel=next"], None),
            (&["<x; rel=next"], None),
            (&["<>; rel=next"], Some("")),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(target(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_link_is_followed_on_the_same_server_only_and_as_it_is_written() {
        let base = Url::parse("https://r.test:5000/v2/").unwrap();
        let asked = Url::parse("https://r.test:5000/v2/a/tags/list?n=1000").unwrap();
        for (target, expected) in [
            ("/v2/a/tags/list?last=b%2Fc%3D&n=2", Ok("a/tags/list?last=b%2Fc%3D&n=2")),
            ("?last=b", Ok("a/tags/list?last=b")),
            ("list?last=b", Ok("a/tags/list?last=b")),
            ("https://r.test:5000/v2/a/tags/list?next_page=gAAA=", Ok("a/tags/list?next_page=gAAA=")),
            ("//r.test:5000/v2/a?x", Ok("a?x")),
            ("https://me:pw@r.test:5000/v2/a", Ok("a")),
            ("#x", Ok("a/tags/list?n=1000")),
            ("http://r.test:5000/v2/a", Err("from https://r.test:5000 to http://r.test:5000")),
            ("https://r.test/v2/a", Err("from https://r.test:5000 to https://r.test")),
            ("https://evil.test:5000/v2/a", Err("to https://evil.test:5000")),
            ("//evil.test/v2/a", Err("to https://evil.test")),
            ("\\\\evil.test\\v2", Err("to https://evil.test")),
            ("https://r.test.evil.test:5000/v2/a", Err("to https://r.test.evil.test:5000")),
            ("file:///etc/passwd", Err("to null")),
            ("/v3/a", Err("leads out of /v2/")),
            ("../../../admin", Err("leads out of /v2/")),
            ("https://", Err("is no address")),
        ] {
            let found = below(&base, &asked, target);
            match expected {
                Ok(path) => assert_eq!(found.as_deref(), Ok(path), "{target}"),
                Err(words) => {
                    assert!(found.as_ref().is_err_and(|told| told.contains(words)), "{target}: {found:?}");
                }
            }
        }
        let elsewhere = Url::parse("https://other.test/v2/a/tags/list").unwrap();
        assert!(below(&base, &elsewhere, "?last=b").is_err(), "the page itself came from another server");
    }
}
