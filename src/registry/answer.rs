//! The answer to one request, and the part of it that may be shown.

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};

use super::failure::{Failure, Reached};
use super::reach::{Network, Origin};
use super::retry;
use crate::proxy::Proxy;
use crate::secret::Secret;

/// A status, and for `GET` a body within bounds.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the answer")]
#[derive(Clone, Debug)]
pub(super) struct RegistryAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether it came from the server that was asked and not from one that it redirected to.
    pub is_first_hand: bool,
    /// What was sent as `Authorization`, without its scheme.
    pub sent: Option<Secret>,
    /// Whether that was a name and a password.
    pub sent_password: bool,
    /// Whether it is the answer to a `HEAD`.
    pub is_to_head: bool,
    /// The address that answered.
    pub url: Url,
    /// Whether that is another host than the registry. Users never see the words of such a server.
    pub is_foreign: bool,
    /// The connection on which it came; it decides which servers the answer may name.
    pub origin: Origin,
    /// The network of the server that has named [`Self::url`]; `None`: it is the registry's own address.
    pub named_by: Option<Network>,
    /// The proxy that it came through.
    pub proxy: Option<Proxy>,
}

impl RegistryAnswer {
    /// An answer of a registry to an account with this password.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn to_account(status: u16, body: &[u8], password: &str) -> Option<Self> {
        Some(Self {
            status: StatusCode::from_u16(status).ok()?,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body),
            is_first_hand: true,
            sent: Some(Secret::new(password)),
            sent_password: true,
            is_to_head: false,
            url: Url::parse("https://registry.test/v2/").ok()?,
            is_foreign: false,
            origin: Origin::default(),
            named_by: None,
            proxy: None,
        })
    }

    /// A header's value, where there is one and it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
    }

    pub(super) fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE.as_str())
    }

    /// Whether this is a web page: a login form, a proxy's error, a captive portal.
    pub(super) fn is_html(&self) -> bool {
        self.content_type()
            .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
    }

    /// The status and the server's own words. A server on another host than the registry is not quoted: a registry may
    /// have sent Gantry to a server that is not for the registry's users.
    pub(super) fn explained(&self) -> String {
        if self.is_foreign {
            return self.status.to_string();
        }
        let said =
            said(&self.body).map_or_else(String::new, |said| format!(": {}", self.without_sent(&said)));
        format!("{}{said}", self.status)
    }

    /// A text of the server without the token or password that the request carried.
    pub(super) fn without_sent(&self, text: &str) -> String {
        match &self.sent {
            Some(sent) if !sent.reveal().is_empty() => text.replace(sent.reveal(), "***"),
            _ => text.to_owned(),
        }
    }

    /// The answer, unless the server says that it cannot answer now.
    pub(super) fn unless_busy(self) -> Result<Self, Failure> {
        let retry_after = || {
            let header = self.header(RETRY_AFTER.as_str())?;
            retry::retry_after(header, Timestamp::now())
        };
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => Err(Failure::RateLimited { retry_after: retry_after() }),
            StatusCode::NOT_IMPLEMENTED => Ok(self),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(Failure::Unreachable {
                cause: format!("the proxy answers {}", self.explained()),
                reached: Reached::Nothing,
                retry_after: None,
                proxy: self.proxy,
            }),
            status
                if status.is_server_error()
                    || status == StatusCode::REQUEST_TIMEOUT
                    || status == StatusCode::TOO_EARLY =>
            {
                let (mut cause, retry_after) = (self.explained(), retry_after());
                // Without TLS the proxy itself may have answered.
                if let Some(proxy) = self.proxy.as_ref().filter(|_| self.url.scheme() == "http") {
                    cause = format!("{cause} ({proxy})");
                }
                Err(Failure::Unreachable { cause, reached: Reached::Server, retry_after, proxy: self.proxy })
            }
            _ => Ok(self),
        }
    }
}

/// What an error's body says, in the forms that registries and token servers use.
fn said(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = body.get("errors").and_then(|errors| errors.get(0));
    let texts = [
        first.and_then(|error| error.get("message")),
        first.and_then(|error| error.get("code")),
        body.get("error_description"),
        body.get("details"),
        body.get("message"),
        body.get("error"),
    ];
    let text = texts.into_iter().flatten().find_map(|text| text.as_str().filter(|text| !text.is_empty()))?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> RegistryAnswer {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<reqwest::header::HeaderName>().unwrap(), HeaderValue::from_static(value))
        });
        RegistryAnswer {
            headers: headers.collect(),
            ..RegistryAnswer::to_account(status, body.as_bytes(), "secret").unwrap()
        }
    }

    #[test]
    fn an_error_is_told_in_the_servers_own_words() {
        for (body, said) in [
            (r#"{"errors":[{"code":"DENIED","message":"no pull for you"}]}"#, ": no pull for you"),
            (r#"{"errors":[{"code":"DENIED"}]}"#, ": DENIED"),
            (r#"{"details":"incorrect username or password"}"#, ": incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"it expired"}"#, ": it expired"),
            (r#"{"errors":[]}"#, ""),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(answer(403, &[], body).explained(), format!("403 Forbidden{said}"), "{body}");
        }
    }

    #[test]
    fn a_server_that_is_busy_is_told_from_one_that_answers() {
        for (status, busy) in
            [(200, false), (404, false), (405, false), (501, false), (500, true), (503, true), (408, true)]
        {
            assert_eq!(answer(status, &[], "").unless_busy().is_err(), busy, "{status}");
        }
        let limited = answer(429, &[("retry-after", "7")], "").unless_busy().unwrap_err();
        assert_eq!(limited, Failure::RateLimited { retry_after: Some(std::time::Duration::from_secs(7)) });
        let unavailable = answer(503, &[("retry-after", "7")], "").unless_busy().unwrap_err();
        assert_eq!(unavailable.retry_after(), Some(std::time::Duration::from_secs(7)));
    }
}
