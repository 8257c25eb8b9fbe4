//! The table: what is done to the image `app:1`, and what comes of it.

use serde_json::json;

use super::logged_in;
use super::site::{ACCOUNT, LIST, MANIFEST, OCI_INDEX, OCI_MANIFEST, Site, Who, basic, on_to};
use super::tls::Tls;
use crate::support::http::{Answer, Request};

/// What the engine and the program make of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// Both get the image, with the same digest.
    Same,
    /// The engine refuses it; the program finds it all the same.
    GantryOnly,
    /// The engine gets it, and the program refuses it on purpose, in these words.
    EngineOnly(&'static str),
    /// Neither gets it, and the program says these words.
    Neither(&'static str),
}

type Serve = Box<dyn Fn(Who, &Request, &Site) -> Answer + Send + Sync>;

/// One row.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) expected: Expected,
    pub(super) serve: Serve,
    pub(super) tls: Option<Tls>,
    /// The text of `config.json`, for this host.
    pub(super) config: fn(&str) -> String,
    pub(super) media_type: &'static str,
    pub(super) index: Option<&'static str>,
}

fn row(
    name: &'static str,
    expected: Expected,
    serve: impl Fn(Who, &Request, &Site) -> Answer + Send + Sync + 'static,
) -> Row {
    let serve = Box::new(serve);
    Row { name, expected, serve, tls: None, config: |_| "{}".to_owned(), media_type: MANIFEST, index: None }
}

impl Row {
    fn with_account(self) -> Self {
        Self { config: logged_in, ..self }
    }

    fn with_config(self, config: fn(&str) -> String) -> Self {
        Self { config, ..self }
    }

    fn of_type(self, media_type: &'static str, index: Option<&'static str>) -> Self {
        Self { media_type, index, ..self }
    }
}

use Expected::{EngineOnly, GantryOnly, Neither, Same};

pub(super) fn rows() -> Vec<Row> {
    [heads(), contents(), redirects(), accounts(), tokens(), files(), certificates()]
        .into_iter()
        .flatten()
        .collect()
}

/// A good registry, but for `HEAD`.
fn head(request: &Request, site: &Site, answer: impl Fn(Answer) -> Answer) -> Answer {
    let good = site.good(request);
    if request.method == "HEAD" { answer(good) } else { good }
}

fn heads() -> Vec<Row> {
    let codes = [
        ("HEAD 400", 400),
        ("HEAD 401 that asks for nothing", 401),
        ("HEAD 403", 403),
        ("HEAD 404", 404),
        ("HEAD 405", 405),
        ("HEAD 500", 500),
        ("HEAD 501", 501),
        ("HEAD 503", 503),
    ];
    let codes = codes.map(|(name, status)| {
        row(name, Same, move |_, request, site| head(request, site, |_| Answer::new(status, "")))
    });
    let others = [
        row("HEAD cut", GantryOnly, |_, request, site| head(request, site, |_| Answer::Cut)),
        row("HEAD of a web page", Same, |_, request, site| {
            head(request, site, |_| Answer::new(200, "").with("content-type", "text/html"))
        }),
        row("HEAD without a digest", Same, |_, request, site| {
            head(request, site, |_| Answer::new(200, "").with("content-type", MANIFEST))
        }),
        row("HEAD without a type", GantryOnly, |_, request, site| {
            head(request, site, |_| {
                Answer::new(200, "").with("docker-content-digest", &site.content.digest())
            })
        }),
        row("HEAD with a digest that lies", Neither("is not known to"), |_, request, site| {
            let lie = format!("sha256:{}", "1".repeat(64));
            head(request, site, |_| {
                Answer::new(200, "").with("content-type", MANIFEST).with("docker-content-digest", &lie)
            })
        }),
        row("HEAD with a digest that is none", Neither("is not a digest"), |_, request, site| {
            head(request, site, |_| {
                Answer::new(200, "").with("content-type", MANIFEST).with("docker-content-digest", "sha256:1")
            })
        }),
        row("a limit of requests", Neither("limits the rate"), |_, _, _| {
            Answer::new(429, "").with("retry-after", "3600")
        }),
    ];
    codes.into_iter().chain(others).collect()
}

/// The good answer without the digest's header.
fn without_digest(request: &Request, site: &Site) -> Answer {
    if !request.path.contains("/manifests/") {
        return site.good(request);
    }
    let (body, media_type) = site.content.tagged();
    Answer::new(200, body.to_owned()).with("content-type", media_type)
}

fn contents() -> Vec<Row> {
    vec![
        row("a good registry", Same, |_, request, site| site.good(request)),
        row("no digest at all", Same, |_, request, site| without_digest(request, site)),
        row("a type with a character set", Same, |_, request, site| {
            if !request.path.contains("/manifests/") {
                return site.good(request);
            }
            let (body, media_type) = site.content.tagged();
            Answer::new(200, body.to_owned())
                .with("content-type", &format!("{media_type}; charset=utf-8"))
                .with("docker-content-digest", &site.content.digest())
        }),
        row("a manifest of the OCI", Same, |_, request, site| site.good(request)).of_type(OCI_MANIFEST, None),
        row("an index of the OCI with an attestation", Same, |_, request, site| site.good(request))
            .of_type(OCI_MANIFEST, Some(OCI_INDEX)),
        row("a list of manifests", Same, |_, request, site| site.good(request)).of_type(MANIFEST, Some(LIST)),
        row("an index without a digest", Same, |_, request, site| {
            if request.path.ends_with("/manifests/1") {
                without_digest(request, site)
            } else {
                site.good(request)
            }
        })
        .of_type(OCI_MANIFEST, Some(OCI_INDEX)),
        row("compressed for those who do not mind", Same, |_, request, site| {
            let accepts = request.header("accept-encoding");
            let is_asked = accepts.is_empty() || accepts.contains("gzip");
            if request.path.contains("/blobs/") || request.method == "HEAD" || !is_asked {
                return site.good(request);
            }
            let (body, media_type) = site.content.tagged();
            Answer::new(200, gzip(body.as_bytes()))
                .with("content-type", media_type)
                .with("content-encoding", "gzip")
                .with("docker-content-digest", &site.content.digest())
        }),
        row("an unknown image", Neither("is not known to"), |_, request, site| match request.path.as_str() {
            "/v2/" => site.good(request),
            _ => Answer::json(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        }),
        row("a web page for everything", Neither("web page"), |_, _, _| {
            Answer::new(200, "<html>log in</html>").with("content-type", "text/html")
        }),
        row("the base of the protocol is unknown", Same, |_, request, site| match request.path.as_str() {
            "/v2/" => Answer::new(404, "<html>").with("content-type", "text/html"),
            _ => site.good(request),
        }),
        row("the base of the protocol is without its slash", Same, |_, request, site| {
            match request.path.as_str() {
                "/v2/" => Answer::new(301, "").with("location", "/v2"),
                "/v2" => Answer::json(200, "{}"),
                _ => site.good(request),
            }
        }),
    ]
}

/// RFC 1952, with the text as it is.
fn gzip(text: &[u8]) -> Vec<u8> {
    let crc = text.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    let length = u16::try_from(text.len()).unwrap();
    let mut all = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    all.extend(length.to_le_bytes());
    all.extend((!length).to_le_bytes());
    all.extend(text);
    all.extend((!crc).to_le_bytes());
    all.extend(u32::from(length).to_le_bytes());
    all
}

fn redirects() -> Vec<Row> {
    let codes = [301, 302, 303, 307, 308].map(|status| {
        let name: &'static str = format!("sent on by {status}").leak();
        row(name, Same, move |who, request, site| match (who, request.path.as_str()) {
            (Who::Registry, path) if path != "/v2/" => on_to(status, &site.other, request),
            _ => site.good(request),
        })
    });
    let others = [
        row("sent on within the registry", Same, |_, request, site| {
            match request.path.strip_prefix("/v2/app/") {
                Some(rest) => Answer::new(302, "").with("location", &format!("../../../v2/moved/{rest}")),
                None => site.good(request),
            }
        }),
        row("sent on with an account", Same, |who, request, site| match who {
            Who::Registry if request.path != "/v2/" && request.header("authorization") == basic() => {
                on_to(307, &site.other, request)
            }
            Who::Registry => site.to(&basic(), request, &["Basic realm=\"lab\""]),
            _ if request.header("authorization").is_empty() => site.good(request),
            // Object stores refuse an account that is not theirs.
            _ => Answer::new(400, ""),
        })
        .with_account(),
        row("sent on to a server with a token server of its own", Same, |who, request, site| match who {
            Who::Registry => on_to(307, &site.other, request),
            Who::Other => site.to("Bearer own", request, &[&site.bearer()]),
            Who::Tokens => Answer::json(200, r#"{"token":"own"}"#),
        }),
        row("images sent on to a server with a token server of its own", GantryOnly, |who, request, site| {
            match who {
                Who::Registry if request.path == "/v2/" => site.good(request),
                Who::Registry => on_to(307, &site.other, request),
                Who::Other => site.to("Bearer own", request, &[&site.bearer()]),
                Who::Tokens => Answer::json(200, r#"{"token":"own"}"#),
            }
        }),
        row("sent on nine times", Same, |_, request, site| {
            let Some(rest) = request.path.strip_prefix("/v2/app") else { return site.good(request) };
            let (count, rest) = rest.split_once('/').unwrap();
            match count.len() {
                8 => site.good(request),
                _ => Answer::new(307, "").with("location", &format!("/v2/app{count}x/{rest}")),
            }
        }),
        row("sent on for ever", Neither("redirects more than 10 times"), |_, request, site| {
            match request.path.as_str() {
                "/v2/" => site.good(request),
                path => Answer::new(307, "").with("location", path),
            }
        }),
    ];
    codes.into_iter().chain(others).collect()
}

fn accounts() -> Vec<Row> {
    vec![
        row("a password", Same, |_, request, site| site.to(&basic(), request, &["Basic realm=\"lab\""]))
            .with_account(),
        row("a password, asked for in small letters", Same, |_, request, site| {
            site.to(&basic(), request, &["basic REALM=lab"])
        })
        .with_account(),
        row("a wrong password", Neither("refuses access"), |_, request, site| {
            site.to("Basic other", request, &["Basic realm=\"lab\""])
        })
        .with_account(),
        row("a password that nobody has", Neither("without credentials"), |_, request, site| {
            site.to(&basic(), request, &["Basic realm=\"lab\""])
        }),
        row("an account that is forbidden", Neither("403 Forbidden"), |_, request, site| {
            match request.header("authorization") {
                "" => site.to(&basic(), request, &["Basic realm=\"lab\""]),
                _ => Answer::json(403, r#"{"errors":[{"code":"DENIED","message":"no"}]}"#),
            }
        })
        .with_account(),
        row("a scheme that nobody knows", Neither("401 Unauthorized"), |_, request, site| {
            site.to(&basic(), request, &["Negotiate"])
        })
        .with_account(),
        row("a password or a token", Same, |who, request, site| match who {
            Who::Tokens => Answer::json(200, r#"{"token":"t"}"#),
            _ => site.to(&basic(), request, &[&site.bearer(), "Basic realm=\"lab\""]),
        })
        .with_account(),
    ]
}

/// A registry that takes the token `t`, and what its token server answers.
fn with_tokens(who: Who, request: &Request, site: &Site, answer: impl Fn() -> Answer) -> Answer {
    match who {
        Who::Tokens => answer(),
        _ => site.to("Bearer t", request, &[&site.bearer()]),
    }
}

fn tokens() -> Vec<Row> {
    let good = || Answer::json(200, r#"{"token":"t"}"#);
    vec![
        row("a token for everybody", Same, move |who, request, site| with_tokens(who, request, site, good)),
        row("a token for an account", Same, move |who, request, site| match who {
            Who::Tokens if request.header("authorization") != basic() => Answer::json(401, "{}"),
            _ => with_tokens(who, request, site, good),
        })
        .with_account(),
        row("a token by its newer name", Same, |who, request, site| {
            with_tokens(who, request, site, || Answer::json(200, r#"{"access_token":"t","expires_in":1}"#))
        }),
        row("a token by both names", Same, |who, request, site| {
            with_tokens(who, request, site, || Answer::json(200, r#"{"token":"other","access_token":"t"}"#))
        }),
        row("a token without a name", Neither("holds no token"), |who, request, site| {
            with_tokens(who, request, site, || Answer::json(200, "{}"))
        }),
        row("a challenge in another order and in small letters", Same, move |who, request, site| {
            if who == Who::Tokens {
                return good();
            }
            let challenge = format!("bearer SERVICE=\"a, b\" , Realm=\"{}/token\"", site.tokens);
            site.to("Bearer t", request, &[&challenge])
        }),
        row("a challenge with a realm alone", Same, move |who, request, site| {
            if who == Who::Tokens {
                return good();
            }
            site.to("Bearer t", request, &[&format!("Bearer realm=\"{}/token\"", site.tokens)])
        }),
        row("a realm without a host", Neither("no web address"), |_, request, site| {
            site.to("Bearer t", request, &["Bearer realm=\"/token\",service=\"lab\""])
        }),
        row("a token server that sends on", Same, move |who, request, site| {
            match (who, request.path.as_str()) {
                (Who::Tokens, "/token") => {
                    Answer::new(307, "").with("location", &format!("/moved?{}", request.query))
                }
                _ => with_tokens(who, request, site, good),
            }
        }),
        row("a token server that is broken", Neither("its token server"), |who, request, site| {
            with_tokens(who, request, site, || Answer::new(500, "<html>").with("content-type", "text/html"))
        }),
        row("an identity token", Same, |who, request, site| match who {
            Who::Tokens if request.method == "POST" => Answer::json(200, r#"{"access_token":"t"}"#),
            _ => with_tokens(who, request, site, || Answer::json(401, "{}")),
        })
        .with_config(|host| {
            json!({ "auths": { host: { "auth": "PHRva2VuPjo=", "identitytoken": "refresh" } } }).to_string()
        }),
    ]
}

fn files() -> Vec<Row> {
    let open = |_: Who, request: &Request, site: &Site| site.good(request);
    let closed =
        |_: Who, request: &Request, site: &Site| site.to(&basic(), request, &["Basic realm=\"lab\""]);
    let missing = |_: &str| r#"{"credsStore":"desktop"}"#.to_owned();
    vec![
        row("a store without its helper", Same, open).with_config(missing),
        row(
            "a store without its helper, and a password",
            Neither("docker-credential-desktop is not installed"),
            closed,
        )
        .with_config(missing),
        row("a helper of one host that is missing", Same, open)
            .with_config(|host| json!({ "credHelpers": { host: "gone" } }).to_string()),
        row("a file with comments", Same, open).with_config(|_| "{ /* mine */ }".to_owned()),
        row("a file with a mark at its beginning", Same, open).with_config(|_| "\u{feff}{}".to_owned()),
        row("an empty file", Same, open).with_config(|_| String::new()),
        row("a file with words after its end", Same, closed)
            .with_config(|host| logged_in(host) + "\n// mine"),
        row("an entry without a colon", Same, open)
            .with_config(|host| json!({ "auths": { host: { "auth": "c2VjcmV0" } } }).to_string()),
        row("a key with a scheme and a path", Same, closed)
            .with_config(|host| logged_in(&format!("http://{host}/v2/"))),
        row("a name and a password in clear text", Same, closed).with_config(|host| {
            let (username, password) = ACCOUNT.split_once(':').unwrap();
            json!({ "auths": { host: { "username": username, "password": password } }, "mine": 1 })
                .to_string()
        }),
    ]
}

fn certificates() -> Vec<Row> {
    let row = |name, expected, tls| {
        let good = row(name, expected, |_, request, site| site.good(request));
        Row { tls: Some(tls), ..good }
    };
    vec![
        row("a certificate of a private authority", Same, Tls::Authority),
        row("a certificate that is its own authority", Same, Tls::OwnAuthority),
        row("a certificate of its own that is no authority", Same, Tls::Own),
        row("a certificate beside files that are none", Same, Tls::BesideBroken),
        row("a certificate of nobody", Neither("ca.crt (in Gantry's container"), Tls::Unknown),
        row("a certificate for another name", Neither("not valid for name"), Tls::OtherName),
        row("a certificate with a common name alone", Neither("not valid for"), Tls::CommonName),
        row("a certificate that has expired", Neither("expired"), Tls::Expired),
        row("a certificate of ours that is wanted", Same, Tls::Client),
        row("a certificate of ours without its key", Neither("needs its key"), Tls::ClientWithoutKey),
        // The engine asks a token server without TLS also for a registry with TLS. Gantry does not: whoever is on the way
        // would read the token, and the registry would choose whom inside Gantry asks.
        Row {
            serve: Box::new(|who, request, site| {
                with_tokens(who, request, site, || Answer::json(200, r#"{"token":"t"}"#))
            }),
            ..row(
                "a realm without TLS of a registry with TLS",
                EngineOnly("speaks plain HTTP"),
                Tls::Authority,
            )
        },
    ]
}
