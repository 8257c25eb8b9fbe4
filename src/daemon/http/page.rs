//! The status page: three files that are part of the program.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const HTML: &str = include_str!("page/index.html");
const CSS: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The place in the page for readers without JavaScript.
const PLACE: &str = "<!--STATE-->";

/// What the browser may do with the page: nothing but run its own script and ask its own server.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' \
                                 data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The page. `state` is what a reader without JavaScript sees; `None`: that reader would need a token.
pub(super) fn index(state: Option<&Value>, headers: &HeaderMap) -> Response {
    let text = state
        .map_or_else(|| "<p>Reading needs a token, and a browser with JavaScript.</p>".to_owned(), plain);
    file("text/html; charset=utf-8", HTML.replacen(PLACE, &text, 1), headers)
}

/// The style sheet.
pub(super) fn style(headers: &HeaderMap) -> Response {
    file("text/css; charset=utf-8", CSS.to_owned(), headers)
}

/// The script.
pub(super) fn script(headers: &HeaderMap) -> Response {
    file("text/javascript; charset=utf-8", SCRIPT.to_owned(), headers)
}

fn file(kind: &'static str, text: String, headers: &HeaderMap) -> Response {
    let hash = Sha256::digest(text.as_bytes());
    let tag = hash[..8].iter().fold(String::new(), |mut tag, byte| {
        let _ = write!(tag, "{byte:02x}");
        tag
    });
    let tag = format!("\"{tag}\"");
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { text.into_response() };
    let own = response.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        own.insert(header::ETAG, tag);
    }
    response
}

/// The state as plain HTML: verdict, what needs attention, services by image.
fn plain(state: &Value) -> String {
    let mut html = String::new();
    let _ = write!(html, "<p><strong>{}</strong></p>", escaped(text(&state["verdict"], "words")));
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let attention = rows(&state["attention"]);
    if !attention.is_empty() {
        html.push_str("<table><caption>Needs attention</caption><tr><th scope=\"col\">Service</th><th scope=\"col\">Image</th><th scope=\"col\">Why</th></tr>");
        for row in &attention {
            let cells = ["service", "image", "why"].map(|key| escaped(text(row, key)));
            let _ = write!(html, "<tr><td>{}</td><td>{}</td><td>{}</td></tr>", cells[0], cells[1], cells[2]);
        }
        html.push_str("</table>");
    }
    html.push_str("<table><caption>Services by image</caption><tr><th scope=\"col\">Image</th><th scope=\"col\">Services</th></tr>");
    for row in rows(&state["images"]) {
        let names: Vec<String> =
            rows(&row["services"]).iter().map(|name| escaped(name.as_str().unwrap_or_default())).collect();
        let _ =
            write!(html, "<tr><td>{}</td><td>{}</td></tr>", escaped(text(&row, "image")), names.join(", "));
    }
    html.push_str("</table>");
    html
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Foreign text as HTML: it stays text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_is_small_and_has_its_place_for_plain_text() {
        assert!(HTML.len() + CSS.len() + SCRIPT.len() <= 60_000);
        assert_eq!(HTML.matches(PLACE).count(), 1);
    }

    #[test]
    fn foreign_text_stays_text_without_javascript() {
        let hostile = "<img src=x onerror=\"alert('1')\">&";
        let html = plain(&json!({
            "verdict": { "words": hostile },
            "attention": [{ "service": hostile, "image": hostile, "why": hostile }],
            "images": [{ "image": hostile, "services": [hostile] }],
        }));
        assert!(!html.contains("<img"), "{html}");
        assert_eq!(html.matches("&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;").count(), 6);
    }
}
