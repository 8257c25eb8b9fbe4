//! The address of notifications, which others must not read: it has a password or a key in it. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;

/// What is escaped in addresses: by the cautious, and by most.
const ESCAPED: [&AsciiSet; 2] =
    [NON_ALPHANUMERIC, &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~')];

/// A part that is shorter is only taken out where it stands alone: else it would be taken out of other words.
const SHORT: usize = 4;

/// A text without the parts of this address: host, user, password, the segments of the path, the query. Each is found as
/// it is written, without its escapes and with more of them, in capitals or not.
pub(super) fn without(text: &str, url: &str) -> String {
    let mut parts = parts(url);
    // The longest first: a part may be a part of another.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.iter().fold(text.to_owned(), |text, part| without_part(&text, part))
}

fn parts(url: &str) -> Vec<String> {
    let Ok(parsed) = Url::parse(url) else { return vec![url.to_owned()] };
    let mut written: Vec<&str> = vec![url, parsed.as_str(), parsed.username()];
    written.extend(parsed.host_str());
    written.extend(parsed.password());
    written.extend(parsed.path_segments().into_iter().flatten());
    let values = parsed.query().into_iter().flat_map(|query| query.split('&'));
    written.extend(values.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value)));
    written.extend(parsed.fragment());
    // Those of the addresses in the documentation say nothing.
    written.retain(|part| !["", "apprise", "notify"].contains(part));
    let plain = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let (user, password) = (plain(parsed.username()), plain(parsed.password().unwrap_or_default()));
    // What a web server was sent for an account, and a mail server (AUTH PLAIN, AUTH LOGIN).
    let mut parts = vec![
        STANDARD.encode(format!("{user}:{password}")),
        STANDARD.encode(format!("\0{user}\0{password}")),
        STANDARD.encode(&user),
        STANDARD.encode(&password),
    ];
    parts.retain(|part| !part.is_empty());
    for part in written {
        let plain = plain(part);
        parts.extend(ESCAPED.map(|set| utf8_percent_encode(&plain, set).to_string()));
        parts.extend([part.replace('+', " "), plain.replace(' ', "+"), plain, part.to_owned()]);
    }
    parts
}

fn without_part(text: &str, part: &str) -> String {
    let (small, wanted) = (text.to_ascii_lowercase(), part.to_ascii_lowercase());
    let is_of_word = |c: char| c.is_alphanumeric();
    let (mut left, mut end) = (String::new(), 0);
    for (at, found) in small.match_indices(&wanted) {
        let after = at + found.len();
        let is_alone = !text[..at].ends_with(is_of_word) && !text[after..].starts_with(is_of_word);
        if part.len() >= SHORT || is_alone {
            left.push_str(&text[end..at]);
            left.push_str("***");
            end = after;
        }
    }
    left + &text[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_the_address_is_left_in_what_a_server_says() {
        const URL: &str =
            "https://ops:p%40ss%2Fw0rd@apprise.test:8443/notify/k%C3%A9y-123/x?token=t0k%20en&a=b#frag";
        for (said, left) in [
            ("no such key: k\u{e9}y-123", "no such key: ***"),
            ("no such key: k%c3%a9y-123", "no such key: ***"),
            ("no such key: k%C3%A9y%2D123", "no such key: ***"),
            ("POST /notify/k%C3%A9y-123/x failed", "POST /notify/***/*** failed"),
            ("bad p@ss/w0rd for ops at APPRISE.test:8443", "bad *** for *** at ***:8443"),
            ("Basic b3BzOnBAc3MvdzByZA==", "Basic ***"),
            ("AUTH PLAIN AG9wcwBwQHNzL3cwcmQ=, b3Bz, cEBzcy93MHJk", "AUTH PLAIN ***, ***, ***"),
            ("a token: t0k+en, t0k en, t0k%20en", "a token: ***, ***, ***"),
            ("exact x-ray, expected x", "exact ***-ray, expected ***"),
            ("the disk is full", "the disk is full"),
        ] {
            assert_eq!(without(said, URL), left);
        }
        assert_eq!(without(&format!("no route to {URL}"), URL), "no route to ***");
    }

    #[test]
    fn capitals_and_foreign_letters_do_not_shift_what_is_taken_out() {
        assert_eq!(
            without("\u{130}\u{df} SECRET \u{130}", "http://h.test/secret"),
            "\u{130}\u{df} *** \u{130}"
        );
    }
}
