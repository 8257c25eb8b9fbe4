//! How a sender proves that it knows the token of the webhooks. Pure.
//!
//! Where a sender signs and has signed, the signature decides. Else the token itself is looked for: in the headers that
//! senders have for it, then in the URL. Of a signature that is empty (Gitea's without a secret) there is none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::hint::Delivery;
use super::sender::Signature;
use crate::secret::Secret;

/// A token of the webhooks, with the name under which its events are told.
#[derive(Clone, Debug)]
pub struct HookToken {
    /// The name.
    pub name: String,
    /// The token.
    pub secret: Secret,
}

/// Headers that hold the bare token, of all kinds of senders.
const TOKEN_HEADERS: [&str; 3] = ["x-webhook-secret", "x-gitlab-token", "x-api-key"];

/// The signature of a delivery, where its sender signs and has signed.
fn signature_of<'a>(signature: Signature, delivery: &Delivery<'a>) -> Option<&'a str> {
    let (Signature::Sha256(names) | Signature::Sha1(names) | Signature::Sha256OrToken(names)) = signature
    else {
        return None;
    };
    names.iter().map(|name| delivery.header(name)).find(|signature| !signature.is_empty())
}

/// Whether the proof of a delivery depends on its body.
pub fn is_signed(signature: Signature, delivery: &Delivery<'_>) -> bool {
    signature_of(signature, delivery).is_some()
}

/// The name of the token that a delivery proves to know; `None`: the proof is missing or wrong.
pub fn prover<'a>(tokens: &'a [HookToken], signature: Signature, delivery: &Delivery<'_>) -> Option<&'a str> {
    let Some(given) = signature_of(signature, delivery) else {
        return owner(tokens, &bare_tokens(delivery));
    };
    let algorithm = match signature {
        Signature::Sha1(_) => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        _ => hmac::HMAC_SHA256,
    };
    let by = signer(tokens, algorithm, given, delivery.body);
    match signature {
        Signature::Sha256OrToken(_) => by.or_else(|| owner(tokens, &[given.to_owned()])),
        _ => by,
    }
}

/// The name of the token with which the body is signed.
fn signer<'a>(
    tokens: &'a [HookToken],
    algorithm: hmac::Algorithm,
    signature: &str,
    body: &[u8],
) -> Option<&'a str> {
    let digits = signature.split_once('=').map_or(signature, |(_, digits)| digits);
    let signature = unhex(digits)?;
    let mut found = None;
    // All are tried, so that the time tells nothing of which one it was.
    for token in tokens {
        let key = hmac::Key::new(algorithm, token.secret.reveal().as_bytes());
        if hmac::verify(&key, body, &signature).is_ok() {
            found = Some(&*token.name);
        }
    }
    found
}

/// The name of the token that is one of these texts.
fn owner<'a>(tokens: &'a [HookToken], given: &[String]) -> Option<&'a str> {
    let hash = |text: &str| -> [u8; 32] { Sha256::digest(text.as_bytes()).into() };
    let mut found = None;
    for given in given {
        let given = hash(given);
        for token in tokens {
            if bool::from(hash(token.secret.reveal()).ct_eq(&given)) {
                found = Some(&*token.name);
            }
        }
    }
    found
}

/// What may be the token in a delivery: at most a handful of texts.
fn bare_tokens(delivery: &Delivery<'_>) -> Vec<String> {
    let authorization = delivery.header("authorization");
    // Harbor sends what its administrator has typed, without a scheme of its own.
    let mut given = vec![authorization.to_owned()];
    if let Some((scheme, rest)) = authorization.split_once(' ') {
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            given.push(rest.to_owned());
        } else if scheme.eq_ignore_ascii_case("basic")
            && let Ok(decoded) = STANDARD.decode(rest)
            && let Ok(decoded) = String::from_utf8(decoded)
            && let Some((_, password)) = decoded.split_once(':')
        {
            given.push(password.to_owned());
        }
    }
    given.extend(TOKEN_HEADERS.iter().map(|name| delivery.header(name).to_owned()));
    given.push(delivery.query("token").to_owned());
    given.retain(|text| !text.is_empty());
    given
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.trim().as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > 128 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::daemon::webhook::sender::SenderKind;

    const TOKEN: &str = "a-token-for-registries";
    const OTHER: &str = "a-token-for-the-ci-job";

    fn tokens() -> Vec<HookToken> {
        let token = |name: &str, token: &str| HookToken { name: name.to_owned(), secret: Secret::new(token) };
        vec![token("registry", TOKEN), token("ci", OTHER)]
    }

    /// Who proves to be the sender of a body to this kind of route.
    fn proof(
        kind: &str,
        headers: &[(&'static str, &str)],
        query: &[(&str, &str)],
        body: &[u8],
    ) -> Option<String> {
        let parsed = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let headers: HeaderMap = parsed.collect();
        let query: Vec<(String, String)> =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let delivery = Delivery { headers: &headers, query: &query, body };
        prover(&tokens(), SenderKind::named(kind).unwrap().signature, &delivery).map(str::to_owned)
    }

    fn signature(algorithm: hmac::Algorithm, token: &str, body: &[u8]) -> String {
        let signature = hmac::sign(&hmac::Key::new(algorithm, token.as_bytes()), body);
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
        signature.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    #[test]
    fn signatures_are_those_of_the_published_examples() {
        // GitHub's own example: docs.github.com, "Validating webhook deliveries".
        let token =
            HookToken { name: "github".to_owned(), secret: Secret::new("It's a Secret to Everybody") };
        let mut headers = HeaderMap::new();
        let signed = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        headers.insert("x-hub-signature-256", HeaderValue::from_static(signed));
        let delivery = Delivery { headers: &headers, query: &[], body: b"Hello, World!" };
        let signature = SenderKind::named("github").unwrap().signature;
        assert_eq!(prover(&[token], signature, &delivery), Some("github"));
        // RFC 2202, the second case of HMAC-SHA1.
        let token = HookToken { name: "nexus".to_owned(), secret: Secret::new("Jefe") };
        let mut headers = HeaderMap::new();
        let signed = HeaderValue::from_static("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        headers.insert("x-nexus-webhook-signature", signed);
        let delivery = Delivery { headers: &headers, query: &[], body: b"what do ya want for nothing?" };
        let signature = SenderKind::named("nexus").unwrap().signature;
        assert_eq!(prover(&[token], signature, &delivery), Some("nexus"));
    }

    #[test]
    fn a_signature_proves_and_a_wrong_one_refuses() {
        let body = br#"{"a":1}"#;
        for (kind, header, prefix, algorithm) in [
            ("github", "x-hub-signature-256", "sha256=", hmac::HMAC_SHA256),
            ("gitea", "x-gitea-signature", "", hmac::HMAC_SHA256),
            ("gitea", "x-hub-signature-256", "sha256=", hmac::HMAC_SHA256),
            ("jfrog", "x-jfrog-event-auth", "", hmac::HMAC_SHA256),
            ("nexus", "x-nexus-webhook-signature", "", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        ] {
            let good = format!("{prefix}{}", signature(algorithm, TOKEN, body));
            assert_eq!(proof(kind, &[(header, &good)], &[], body).as_deref(), Some("registry"), "{kind}");
            let others = format!("{prefix}{}", signature(algorithm, OTHER, body));
            assert_eq!(proof(kind, &[(header, &others)], &[], body).as_deref(), Some("ci"), "{kind}");
            let upper = format!("{prefix}{}", signature(algorithm, TOKEN, body).to_uppercase());
            assert_eq!(proof(kind, &[(header, &upper)], &[], body).as_deref(), Some("registry"), "{kind}");
            // Another body, another key, other digits, half of them, none, and text.
            assert_eq!(proof(kind, &[(header, &good)], &[], b"{}"), None, "{kind}");
            let stranger = format!("{prefix}{}", signature(algorithm, "a-token-of-a-stranger", body));
            for wrong in
                [&*stranger, &good[..good.len() - 2], &good[..good.len() - 1], prefix, "zz", "sha256=é"]
            {
                let query: &[(&str, &str)] = &[("token", "wrong")];
                assert_eq!(proof(kind, &[(header, wrong)], query, body), None, "{kind} {wrong}");
            }
            let query: &[(&str, &str)] = &[("token", TOKEN)];
            assert_eq!(
                proof(kind, &[(header, &stranger)], query, body),
                None,
                "{kind}: the signature decides"
            );
            // An empty signature is that of a sender without a secret.
            assert_eq!(proof(kind, &[(header, "")], &[], body), None, "{kind}");
            assert_eq!(proof(kind, &[(header, "")], query, body).as_deref(), Some("registry"), "{kind}");
        }
        assert_eq!(proof("jfrog", &[("x-jfrog-event-auth", TOKEN)], &[], body).as_deref(), Some("registry"));
        assert_eq!(proof("github", &[("x-hub-signature-256", TOKEN)], &[], body), None, "no bare secret");
        let good = signature(hmac::HMAC_SHA256, TOKEN, body);
        assert_eq!(proof("quay", &[("x-hub-signature-256", &good)], &[], body), None, "quay does not sign");
    }

    #[test]
    fn the_token_comes_in_a_header_or_in_the_url() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for header in [
            ("authorization", format!("Bearer {TOKEN}")),
            ("authorization", format!("bearer  {TOKEN}")),
            ("authorization", TOKEN.to_owned()),
            ("authorization", basic(&format!("gantry:{TOKEN}"))),
            ("authorization", basic(&format!(":{TOKEN}"))),
            ("x-webhook-secret", TOKEN.to_owned()),
            ("x-gitlab-token", TOKEN.to_owned()),
            ("x-api-key", TOKEN.to_owned()),
        ] {
            let proved = proof("distribution", &[(header.0, &header.1)], &[], b"");
            assert_eq!(proved.as_deref(), Some("registry"), "{header:?}");
        }
        assert_eq!(proof("quay", &[], &[("host", "r.test"), ("token", OTHER)], b"").as_deref(), Some("ci"));
        for header in [
            ("authorization", String::new()),
            ("authorization", "Bearer ".to_owned()),
            ("authorization", format!("Bearer {}", &TOKEN[1..])),
            ("authorization", format!("Bearer {TOKEN}x")),
            ("authorization", format!("Digest {TOKEN}")),
            ("authorization", basic(TOKEN)),
            ("authorization", basic(&format!("{TOKEN}:"))),
            ("authorization", "Basic ***".to_owned()),
            ("x-jfrog-event-auth", TOKEN.to_owned()),
            ("cookie", TOKEN.to_owned()),
        ] {
            assert_eq!(proof("distribution", &[(header.0, &header.1)], &[], b""), None, "{header:?}");
        }
        for query in [("token", ""), ("Token", TOKEN), ("secret", TOKEN)] {
            assert_eq!(proof("quay", &[], &[query], b""), None, "{query:?}");
        }
    }
}
