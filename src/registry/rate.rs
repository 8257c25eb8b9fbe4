//! The number of pulls that Docker Hub still allows, read from headers. Pure.
//!
//! `ratelimit-limit: 100;w=21600` allows a hundred pulls in any six hours, `ratelimit-remaining: 76;w=21600`
//! leaves 76 of them. Accounts without a limit get no such headers. See
//! <https://docs.docker.com/docker-hub/usage/pulls/>.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderMap;

/// How many pulls Docker Hub still allows an account, or an address without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubRate {
    /// How many are left.
    pub remaining: u64,
    /// How many there are within the window.
    pub limit: Option<u64>,
    /// The window's length.
    pub window: Option<Duration>,
}

impl HubRate {
    /// Reads the headers; `None`: they name no rate.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).and_then(quantity);
        let (remaining, window) = get("ratelimit-remaining")?;
        let limit = get("ratelimit-limit");
        let window = window.or(limit.and_then(|(_, window)| window));
        Some(Self { remaining, limit: limit.map(|(limit, _)| limit), window })
    }
}

impl fmt::Display for HubRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.remaining)?;
        if let Some(limit) = self.limit {
            write!(f, " of {limit}")?;
        }
        f.write_str(" pulls left")?;
        match self.window.map(|window| window.as_secs()) {
            None => Ok(()),
            Some(seconds) if seconds % 3600 == 0 => write!(f, " in {} h", seconds / 3600),
            Some(seconds) => write!(f, " in {seconds} s"),
        }
    }
}

/// `100;w=21600`: a number and the seconds it is for.
fn quantity(header: &str) -> Option<(u64, Option<Duration>)> {
    let mut parts = header.split(';').map(str::trim);
    let number = parts.next()?.parse().ok()?;
    let seconds = parts.find_map(|part| part.strip_prefix("w=")).and_then(|seconds| seconds.parse().ok());
    Some((number, seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_rate_is_read_from_whatever_headers_there_are() {
        for (remaining, limit, expected) in [
            ("76;w=21600", "100;w=21600", "76 of 100 pulls left in 6 h"),
            ("0;w=21600", "100;w=21600", "0 of 100 pulls left in 6 h"),
            ("76", "100;w=60", "76 of 100 pulls left in 60 s"),
            (" 76 ; w=3600", "", "76 pulls left in 1 h"),
            ("76;w=0", "many", "76 pulls left"),
            ("76;w=soon", "", "76 pulls left"),
            ("", "100;w=21600", "nothing"),
            ("-1", "100", "nothing"),
            ("99999999999999999999", "100", "nothing"),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("ratelimit-remaining", remaining), ("ratelimit-limit", limit)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let read = HubRate::read(&headers).map_or_else(|| "nothing".to_owned(), |rate| rate.to_string());
            assert_eq!(read, expected, "{remaining} {limit}");
        }
    }
}
