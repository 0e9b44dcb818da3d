//! Each scheme against a server that asks for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use md5::Md5;
use md5::digest::Digest as _;

use super::double::{json as answer, status};
use super::*;

fn arguments(double: &Double, authentication: Json) -> Json {
    json!({ "method": "get", "endpoint": double.url("/x?y=1"), "authentication": authentication })
}

#[tokio::test]
async fn basic_and_bearer_write_their_field_from_members_or_from_a_secret() {
    let double = Double::start(|_| status(204)).await;
    let bench = Bench::new(&[&double]).await;
    let basic = format!("Basic {}", STANDARD.encode(format!("ann:{SECRET}")));
    let bearer = format!("Bearer {SECRET}");
    for (authentication, expected) in [
        (json!({ "basic": { "username": "ann", "password": sealed("key") } }), &basic),
        (json!({ "basic": { "use": "login" } }), &basic),
        (json!({ "bearer": { "token": sealed("key") } }), &bearer),
        (json!({ "bearer": { "use": "login" } }), &bearer),
    ] {
        bench.http(arguments(&double, authentication)).await.unwrap();
        assert_eq!(double.requests().last().unwrap().field("authorization"), *expected);
    }
    let fails = async |authentication| bench.fails(Kind::Http, arguments(&double, authentication)).await;
    let (kind, status, detail, _) = fails(json!({ "basic": { "username": "ann" } })).await;
    assert_eq!((kind.as_str(), status, detail.contains("no `password`")), ("authentication", 401, true), "{detail}");
    let (kind, status, detail, _) = fails(json!({ "basic": { "use": "key" } })).await;
    assert_eq!((kind.as_str(), status, detail.contains("JSON object")), ("authorization", 403, true), "{detail}");
}

#[tokio::test]
async fn a_refused_login_is_an_authentication_error() {
    let double = Double::start(|_| status(401).with("www-authenticate", "Basic realm=x")).await;
    let bench = Bench::new(&[&double]).await;
    for authentication in [json!({ "basic": { "use": "login" } }), json!({ "digest": { "use": "login" } })] {
        let (kind, status, detail, reaction) = bench.fails(Kind::Http, arguments(&double, authentication)).await;
        assert_eq!((kind.as_str(), status, reaction), ("authentication", 401, Reaction::Permanent), "{detail}");
    }
}

/// Checks a digest as a server does, with a nonce of its own.
fn digest(asked: &Asked, algorithm: &str, qop: &str) -> Answer {
    let hash = |text: String| match algorithm {
        "SHA-256" => hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes())),
        _ => hex::encode(Md5::digest(text)),
    };
    let field = asked.field("authorization");
    let value = |name: &str| {
        let rest = field.split_once(&format!("{name}=")).map(|(_, rest)| rest).unwrap_or_default();
        rest.trim_start_matches('"').split(['"', ',']).next().unwrap().to_owned()
    };
    let (who, what) = (hash(format!("ann:a, realm:{SECRET}")), hash(format!("{}:{}", asked.method, asked.target)));
    let expected = match qop {
        "" => hash(format!("{who}:n0nce:{what}")),
        _ => hash(format!("{who}:n0nce:{}:{}:{}:{what}", value("nc"), value(" cnonce"), value("qop"))),
    };
    if field.starts_with("Digest ") && value("response") == expected && value("uri") == asked.target {
        return answer(json!({ "body": asked.body }));
    }
    let qop = if qop.is_empty() { String::new() } else { format!(", qop=\"{qop}\"") };
    let text = format!("Digest realm=\"a, realm\", nonce=\"n0nce\", algorithm={algorithm}{qop}, opaque=\"o\"");
    status(401).with("www-authenticate", text)
}

#[tokio::test]
async fn a_digest_challenge_is_answered_once() {
    for (algorithm, qop) in [("MD5", "auth"), ("SHA-256", "auth,auth-int"), ("MD5", "")] {
        let double = Double::start(move |asked| digest(asked, algorithm, qop)).await;
        let bench = Bench::new(&[&double]).await;
        let call = json!({ "method": "post", "endpoint": double.url("/dir?a=b"), "body": [1],
                           "authentication": { "digest": { "username": "ann", "password": sealed("key") } } });
        assert_eq!(bench.http(call).await.unwrap(), json!({ "body": "[1]" }), "{algorithm} {qop}");
        assert_eq!(double.requests().len(), 2);
        let wrong = json!({ "digest": { "username": "bob", "password": sealed("key") } });
        assert_eq!(bench.fails(Kind::Http, arguments(&double, wrong)).await.1, 401);
        assert_eq!(double.requests().len(), 4, "one round, and no more");
    }
}

/// A token service beside an interface that takes its newest token.
async fn service(refused: usize) -> Double {
    let (issued, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Double::start(move |asked| match asked.target.as_str() {
        "/realm/.well-known/openid-configuration" => answer(json!({ "issuer": "http://idp", "token_endpoint":
            format!("http://{}/realm/oauth2/token", asked.field("host")) })),
        "/realm/oauth2/token" | "/realm/other" => {
            let number = issued.fetch_add(1, Ordering::Relaxed) + 1;
            answer(json!({ "access_token": format!("token-{number}"), "token_type": "bearer", "expires_in": 300 }))
        }
        _ if calls.fetch_add(1, Ordering::Relaxed) + 1 == refused => status(401),
        _ => answer(json!(asked.field("authorization").replace("token", "t"))),
    })
    .await
}

fn settings(double: &Double, more: Json) -> Json {
    let mut settings = json!({ "authority": double.url("/realm/"), "grant": "client_credentials",
        "client": { "id": "me", "secret": sealed("key") }, "scopes": ["a", "b"] });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

fn asked_for_token(double: &Double) -> Vec<Asked> {
    double.requests().into_iter().filter(|asked| asked.method == "POST").collect()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_shortly_before_it_expires() {
    let double = service(0).await;
    let bench = Bench::new(&[&double]).await;
    let call = async |more: Json| {
        let output = bench.http(arguments(&double, json!({ "oauth2": settings(&double, more) }))).await;
        output.unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!(call(json!({})).await, "Bearer t-1");
    bench.clock.advance(SignedDuration::from_secs(269));
    assert_eq!(call(json!({})).await, "Bearer t-1");
    assert_eq!(call(json!({ "scopes": ["c"] })).await, "Bearer t-2", "other scopes are another token");
    assert_eq!(
        call(json!({ "client": { "id": "me", "secret": "guessed" } })).await,
        "Bearer t-3",
        "another secret too"
    );
    bench.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(call(json!({})).await, "Bearer t-4");
    let first = &asked_for_token(&double)[0];
    let expected = "grant_type=client_credentials&scope=a+b&client_id=me&client_secret=s3cr3t%2Fval%C3%BCe";
    assert_eq!((first.target.as_str(), first.body.as_str()), ("/realm/oauth2/token", expected));
}

#[tokio::test]
async fn calls_at_one_time_share_a_token() {
    let double = service(0).await;
    let bench = Bench::new(&[&double]).await;
    let calls = (0..8).map(|_| bench.http(arguments(&double, json!({ "oauth2": settings(&double, json!({})) }))));
    let outputs = futures_util::future::join_all(calls).await;
    assert!(outputs.into_iter().all(|output| output.unwrap() == "Bearer t-1"));
    assert_eq!(asked_for_token(&double).len(), 1);
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_replaced_once() {
    let double = service(2).await;
    let bench = Bench::new(&[&double]).await;
    let call = || bench.http(arguments(&double, json!({ "oauth2": settings(&double, json!({})) })));
    assert_eq!(call().await.unwrap(), "Bearer t-1");
    assert_eq!(call().await.unwrap(), "Bearer t-2");
    assert_eq!(call().await.unwrap(), "Bearer t-2");
}

#[tokio::test]
async fn each_grant_and_each_way_of_the_client_is_written() {
    let double = service(0).await;
    let bench = Bench::new(&[&double]).await;
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let check = async |more: Json, parts: &[&str]| {
        bench.http(arguments(&double, json!({ "oauth2": settings(&double, more.clone()) }))).await.unwrap();
        let asked = asked_for_token(&double).pop().unwrap();
        let shown =
            format!("{} {} {} {}", asked.target, asked.field("content-type"), asked.field("authorization"), asked.body);
        assert!(parts.iter().all(|part| shown.contains(part)), "{more}: {shown}");
        asked
    };
    check(
        json!({ "grant": "password", "username": "ann", "password": "p" }),
        &["grant_type=password&username=ann&password=p"],
    )
    .await;
    check(
        json!({ "grant": "refresh_token", "subject": { "token": "r" } }),
        &["grant_type=refresh_token&refresh_token=r"],
    )
    .await;
    let parties = json!({ "grant": exchange, "subject": { "token": "s", "type": "t" }, "actor": { "token": "a" }, "audiences": ["x"] });
    check(parties, &["subject_token=s&subject_token_type=t&actor_token=a", "audience=x"]).await;
    check(json!({ "endpoints": { "token": "/other" } }), &["/realm/other "]).await;
    check(json!({ "request": { "encoding": "application/json" } }), &["application/json", "\"scope\":\"a b\""]).await;
    let client = |name: &str| json!({ "client": { "id": "m:e", "secret": "s e", "authentication": name } });
    let basic = format!("Basic {}", STANDARD.encode("m%3Ae:s+e"));
    check(client("client_secret_basic"), &[&basic]).await;
    check(json!({ "client": { "id": "me", "authentication": "none" } }), &["client_id=me"]).await;
    let asserted = json!({ "client": { "id": "me", "assertion": "a.b.c", "authentication": "private_key_jwt" } });
    check(asserted, &["client_assertion=a.b.c", "jwt-bearer"]).await;
    let asked = check(client("client_secret_jwt"), &["client_assertion="]).await;
    let assertion = asked.body.split("client_assertion=").nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
    let claims: Json = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("m:e"), &json!(double.url("/realm/oauth2/token"))));
    for (more, expected) in [
        (client("private_key_jwt"), "`assertion`"),
        (client("tls"), "not known"),
        (json!({ "grant": "authorization_code" }), "needs a person"),
    ] {
        let (kind, status, detail, _) =
            bench.fails(Kind::Http, arguments(&double, json!({ "oauth2": settings(&double, more) }))).await;
        assert_eq!((kind.as_str(), status, detail.contains(expected)), ("configuration", 400, true), "{detail}");
    }
}

#[tokio::test]
async fn discovery_finds_the_token_endpoint_and_looks_at_the_issuer() {
    let double = service(0).await;
    let bench = Bench::new(&[&double]).await;
    let call = |more: Json| arguments(&double, json!({ "oidc": settings(&double, more) }));
    assert_eq!(bench.http(call(json!({ "issuers": ["http://idp"] }))).await.unwrap(), "Bearer t-1");
    let (kind, status, detail, _) = bench.fails(Kind::Http, call(json!({ "issuers": ["http://other"] }))).await;
    assert_eq!(
        (kind.as_str(), status, detail.contains("none of `issuers`")),
        ("authentication", 401, true),
        "{detail}"
    );
}

#[tokio::test]
async fn a_refusal_of_the_token_service_says_what_it_says_without_the_secret() {
    let double = Double::start(|asked| match asked.target.as_str() {
        "/busy/oauth2/token" => status(503).with("retry-after", "2"),
        "/odd/oauth2/token" => answer(json!({ "token_type": "mac", "access_token": "x" })),
        "/none/oauth2/token" => answer(json!({})),
        _ => answer(json!({ "error": "invalid_client", "error_description": format!("no {SECRET}") })).but(401),
    })
    .await;
    let bench = Bench::new(&[&double]).await;
    let check = async |realm: &str, kind: &str, status: u16, text: &str| {
        let settings = settings(&double, json!({ "authority": double.url(realm) }));
        let found = bench.fails(Kind::Http, arguments(&double, json!({ "oauth2": settings }))).await;
        assert_eq!((found.0.as_str(), found.1), (kind, status), "{}", found.2);
        assert!(found.2.contains(text), "{}", found.2);
    };
    check("/busy", "communication", 503, "answered 503").await;
    check("/odd", "authentication", 401, "type `mac`").await;
    check("/none", "authentication", 401, "no `access_token`").await;
    check("/wrong", "authentication", 401, "invalid_client: no ***").await;
    let bench = Bench::new(&[]).await;
    let settings = settings(&double, json!({}));
    let found = bench.fails(Kind::Http, arguments(&double, json!({ "oauth2": settings }))).await;
    assert_eq!(found.1, 403, "the token service has to be granted too");
}
