//! `call: http`: what goes out, what comes back, and what is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::double::{broken, json as answer, status};
use super::*;
use crate::connection::declaration::Connection;

fn get(url: String) -> Json {
    json!({ "method": "get", "endpoint": url })
}

fn with(mut arguments: Json, more: Json) -> Json {
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    arguments
}

#[tokio::test]
async fn each_body_goes_out_as_its_content_type_says() {
    let double = Double::start(echo).await;
    let bench = Bench::new(&[&double]).await;
    let check = async |headers: Json, body: Json, kind: &str, text: &str| {
        let arguments = json!({ "method": "POST", "endpoint": double.url("/x"), "headers": headers, "body": body });
        let output = bench.http(arguments).await.unwrap();
        assert_eq!((&output["type"], &output["body"]), (&json!(kind), &json!(text)));
    };
    let form = "application/x-www-form-urlencoded";
    check(json!({}), json!({ "a": [1, null] }), "application/json", r#"{"a":[1,null]}"#).await;
    check(json!({}), json!("a"), "application/json", "\"a\"").await;
    check(json!({ "content-type": "text/plain" }), json!("a b"), "text/plain", "a b").await;
    check(
        json!({ "Content-Type": "application/merge-patch+json" }),
        json!("a"),
        "application/merge-patch+json",
        "\"a\"",
    )
    .await;
    check(json!({ "content-type": form }), json!({ "a": ["x y", 2], "b": "&" }), form, "a=x+y&a=2&b=%26").await;
    check(json!({ "content-type": form }), json!("a=b"), form, "a=b").await;
    let asked = double.requests();
    assert!(asked.iter().all(|asked| asked.field("idempotency-key") == "the-key"));
}

#[tokio::test]
async fn a_query_repeats_what_is_a_list_and_adds_to_the_endpoint_s_own() {
    let double = Double::start(echo).await;
    let bench = Bench::new(&[&double]).await;
    let query = json!({ "tag": ["a", "b c"], "limit": 5, "none": null, "key": sealed("key") });
    let output = bench.http(with(get(double.url("/x?y=1")), json!({ "query": query }))).await.unwrap();
    assert_eq!(output["target"], "/x?y=1&tag=a&tag=b+c&limit=5&key=***");
    assert!(double.requests()[0].target.ends_with("key=s3cr3t%2Fval%C3%BCe"));
    assert_eq!(double.requests()[0].field("idempotency-key"), "", "a GET has none");
}

#[tokio::test]
async fn content_is_what_the_content_type_says() {
    let double = Double::start(|asked| match asked.target.as_str() {
        "/json" => answer(json!({ "a": 1 })),
        "/problem" => status(200).with("content-type", "application/problem+json; charset=utf-8").body("[1]"),
        "/text" => status(200).with("content-type", "text/plain").body("[1]"),
        "/wrong" => status(200).with("content-type", "application/json").body("{"),
        "/bytes" => status(200).with("content-type", "application/json").body([0xff, 0xfe]),
        "/secret" => answer(json!({ SECRET: [format!("a {SECRET} b")] })),
        _ => status(204),
    })
    .await;
    let bench = Bench::new(&[&double]).await;
    let check = async |target: &str, output: &str, expected: Json| {
        let more = json!({ "output": output, "headers": { "x-key": sealed("key") } });
        assert_eq!(bench.http(with(get(double.url(target)), more)).await.unwrap(), expected, "{target}");
    };
    check("/json", "content", json!({ "a": 1 })).await;
    check("/problem", "content", json!([1])).await;
    check("/text", "content", json!("[1]")).await;
    check("/wrong", "content", json!("{")).await;
    check("/bytes", "content", json!("//4=")).await;
    check("/empty", "content", Json::Null).await;
    check("/text", "raw", json!(STANDARD.encode("[1]"))).await;
    check("/secret", "content", json!({ "***": ["a *** b"] })).await;
    check("/secret", "raw", json!(STANDARD.encode(r#"{"***":["a *** b"]}"#))).await;
}

#[tokio::test]
async fn a_whole_response_shows_what_was_sent_but_no_secret() {
    let double = Double::start(|_| answer(json!({ "a": 1 })).with("x-b", "c").with("set-cookie", "session=1")).await;
    let bench = Bench::new(&[&double]).await;
    let more = json!({ "output": "response", "query": { "k": sealed("key") },
        "headers": { "X-Plain": "p", "X-Key": sealed("key"), "Authorization": "Custom abc" } });
    let output = bench.http(with(get(double.url("/x")), more)).await.unwrap();
    assert_eq!(output["request"]["method"], "GET");
    assert_eq!(output["request"]["uri"], double.url("/x?k=***"));
    assert_eq!(output["request"]["headers"], json!({ "x-plain": "p", "x-key": "***", "authorization": "***" }));
    assert_eq!((&output["statusCode"], &output["content"]), (&json!(200), &json!({ "a": 1 })));
    assert_eq!((&output["headers"]["x-b"], &output["headers"]["set-cookie"]), (&json!("c"), &Json::Null));
    assert_eq!(double.requests()[0].field("authorization"), "Custom abc");
}

#[tokio::test]
async fn each_status_of_refusal_is_an_error_with_its_reaction() {
    let double = Double::start(|asked| {
        let code = asked.target.trim_start_matches('/').split('?').next().unwrap().parse().unwrap();
        if matches!(code, 204 | 304) {
            return status(code); // They have no body, whatever their length says.
        }
        status(code).with("retry-after", "7").with("content-type", "text/plain").body(format!("no, {SECRET}"))
    })
    .await;
    let bench = Bench::new(&[&double]).await;
    let again = Reaction::Transient { retry_after_ms: Some(7000) };
    for (code, expected) in [
        (300, Reaction::Permanent),
        (304, Reaction::Permanent),
        (400, Reaction::Permanent),
        (401, Reaction::Permanent),
        (404, Reaction::Permanent),
        (408, again),
        (425, again),
        (429, again),
        (500, again),
        (503, again),
    ] {
        let query = json!({ "query": { "key": sealed("key") } });
        let (kind, status, detail, reaction) =
            bench.fails(Kind::Http, with(get(double.url(&format!("/{code}"))), query)).await;
        assert_eq!((kind.as_str(), status, reaction), ("communication", code, expected), "{detail}");
        let place = format!("GET {} was answered {code}", double.url(&format!("/{code}")));
        assert!(detail.starts_with(&place) && !detail.contains('?'), "{detail}");
        assert!(code == 304 || detail.ends_with(": no, ***"), "{detail}");
    }
    let redirect = json!({ "redirect": true, "query": { "key": sealed("key") } });
    for code in [200, 204, 304, 399] {
        let arguments = with(get(double.url(&format!("/{code}"))), redirect.clone());
        assert!(bench.http(arguments).await.is_ok(), "{code}");
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_open_where_it_matters() {
    let double = Double::start(|_| broken()).await;
    let bench = Bench::new(&[&double]).await;
    for method in ["get", "put", "delete", "post", "patch"] {
        let (kind, status, detail, reaction) =
            bench.fails(Kind::Http, json!({ "method": method, "endpoint": double.url("/x") })).await;
        let open = matches!(method, "post" | "patch");
        let expected = if open { Reaction::Unknown } else { Reaction::Transient { retry_after_ms: None } };
        assert_eq!((kind.as_str(), status, reaction), ("communication", 500, expected), "{method}: {detail}");
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let allowed = Allowed { hosts: Arc::new(|url| Some(url.clone())), ..bench.allowed.clone() };
    let bench = Bench { allowed, ..bench };
    let arguments = json!({ "method": "post", "endpoint": format!("http://{address}/x") });
    let (kind, status, _, reaction) = bench.fails(Kind::Http, arguments).await;
    let expected = Reaction::Transient { retry_after_ms: None };
    assert_eq!((kind.as_str(), status, reaction), ("communication", 500, expected), "nothing was sent");
}

#[tokio::test]
async fn a_call_ends_with_its_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/x", listener.local_addr().unwrap());
    let bench = Bench::new(&[]).await;
    let allowed = Allowed { hosts: Arc::new(|url| Some(url.clone())), ..bench.allowed.clone() };
    for (method, expected) in [("get", Reaction::Transient { retry_after_ms: None }), ("post", Reaction::Unknown)] {
        let arguments = json!({ "method": method, "endpoint": endpoint });
        let limit = Duration::from_millis(30);
        let failure = bench.caller.call(Kind::Http, &arguments, &allowed, "k", limit).await.unwrap_err();
        assert_eq!((failure.problem.status, failure.reaction), (408, expected));
        assert!(failure.problem.kind.ends_with("/timeout"));
    }
}

#[tokio::test]
async fn a_redirect_is_followed_as_its_status_says_and_never_with_authentication_elsewhere() {
    let other = Double::start(echo).await;
    let there = other.url("/there");
    let double = Double::start(move |asked| match asked.target.split('/').nth(1).unwrap() {
        "end" => echo(asked),
        "away" => status(asked.target[6..].parse().unwrap()).with("location", there.clone()),
        "loop" => status(302).with("location", "/loop"),
        "nowhere" => status(302).with("location", "ftp://x/"),
        code => status(code.parse().unwrap()).with("location", "end"),
    })
    .await;
    let bench = Bench::new(&[&double, &other]).await;
    let post = |target: &str| {
        let headers = json!({ "x-key": sealed("key"), "x-plain": "p" });
        json!({ "method": "post", "endpoint": double.url(target), "body": 1, "redirect": true, "headers": headers,
                "authentication": { "bearer": { "token": sealed("key") } } })
    };
    for (code, method, body) in
        [(301, "GET", ""), (302, "GET", ""), (303, "GET", ""), (307, "POST", "1"), (308, "POST", "1")]
    {
        let output = bench.http(post(&format!("/{code}"))).await.unwrap();
        assert_eq!((&output["method"], &output["body"]), (&json!(method), &json!(body)), "{code}");
        assert_eq!(output["authorization"], "Bearer ***");
        let output = bench.http(post(&format!("/away/{code}"))).await.unwrap();
        assert_eq!((&output["method"], &output["authorization"]), (&json!(method), &json!("")), "{code}");
    }
    assert!(other.requests().iter().all(|asked| asked.field("x-key").is_empty() && asked.field("x-plain") == "p"));
    let told = with(post("/away/307"), json!({ "body": { "k": sealed("key") } }));
    assert!(bench.fails(Kind::Http, told).await.2.contains("the body has a secret in it"));
    let (kind, status, detail, _) = bench.fails(Kind::Http, post("/loop")).await;
    assert_eq!((kind.as_str(), status, detail.contains("more than 10")), ("communication", 302, true), "{detail}");
    assert!(bench.fails(Kind::Http, post("/nowhere")).await.2.contains("no http URL"));
    let only_here = Bench { allowed: Bench::new(&[&double]).await.allowed, ..bench };
    assert_eq!(only_here.fails(Kind::Http, post("/away/302")).await.1, 403, "each hop is asked for its grant");
}

#[tokio::test]
async fn what_is_not_granted_is_denied_with_the_line_and_the_command() {
    let bench = Bench::new(&[]).await;
    let check = async |arguments: Json, line: &str, command: &str| {
        let (kind, status, detail, reaction) = bench.fails(Kind::Http, arguments).await;
        assert_eq!((kind.as_str(), status, reaction), ("authorization", 403, Reaction::Permanent), "{detail}");
        assert!(detail.contains(line) && detail.contains(command), "{detail}");
    };
    let url = "https://api.example:8443/x";
    check(
        get(url.to_owned()),
        "`uses: { hosts: [\"api.example:8443\"] }`",
        "`orchctl pack grant demo --host api.example:8443`",
    )
    .await;
    check(get("http://127.0.0.1/x".to_owned()), "[\"http://127.0.0.1\"]", "--host http://127.0.0.1`").await;
    check(get("connection://store/x".to_owned()), "connections: [store]", "grant demo store=<connection>`").await;
    let secret = |name: &str| with(get(url.to_owned()), json!({ "headers": { "x": sealed(name) } }));
    check(secret("other"), "`uses: { secrets: [other] }`", "grant demo --secret other=<secret>`").await;
    check(secret("gone"), "secret `stored-gone` is not stored", "`orchctl secret set stored-gone`").await;
    let used = json!({ "authentication": { "basic": { "use": "other" } } });
    let open = Allowed { hosts: Arc::new(|url| Some(url.clone())), secrets: nothing(), ..bench.allowed.clone() };
    let failure =
        bench.caller.call(Kind::Http, &with(get(url.to_owned()), used), &open, "k", Duration::from_secs(1)).await;
    assert_eq!(failure.unwrap_err().problem.status, 403);
}

#[tokio::test]
async fn arguments_that_are_none_are_told() {
    let double = Double::start(echo).await;
    let bench = Bench::new(&[&double]).await;
    let cases = [
        (json!({ "method": "trace" }), "`get`"),
        (json!({ "endpoint": "/x" }), "absolute"),
        (json!({ "endpoint": null }), "absolute URI"),
        (json!({ "headers": { "host": "x" } }), "the host sets it"),
        (json!({ "headers": { "a b": "x" } }), "as HTTP allows it"),
        (json!({ "headers": { "a": "x\ny" } }), "in one line"),
        (json!({ "query": [] }), "`query`"),
        (json!({ "output": "all" }), "`content`"),
        (json!({ "authentication": { "ntlm": {} } }), "known are basic"),
        (json!({ "headers": { "content-type": "multipart/form-data" }, "body": 1 }), "multipart"),
    ];
    for (wrong, expected) in cases {
        let (kind, status, detail, _) = bench.fails(Kind::Http, with(get(double.url("/x")), wrong)).await;
        assert_eq!((kind.as_str(), status), ("configuration", 400), "{detail}");
        assert!(detail.contains(expected), "{detail}");
    }
    assert!(double.requests().is_empty());
}

#[tokio::test]
async fn an_endpoint_at_a_connection_has_its_address_and_credentials() {
    let double = Double::start(|asked| match asked.target.as_str() {
        "/base/old" => status(302).with("location", "/base/new?x=1"),
        target => answer(json!(target)),
    })
    .await;
    let bench = Bench::new(&[]).await;
    let declaration = json!({ "baseUrl": double.url("/base"), "authentication": { "scheme": "bearer", "token": "stored-key" },
        "idempotencyHeader": "X-Once" });
    let declaration: Connection = serde_json::from_value(declaration).unwrap();
    let (name, own) = (ConnectionName::parse("production").unwrap(), ConnectionName::parse("store").unwrap());
    bench.connections.put(&bench.allowed.tenant, &name, declaration).await.unwrap();
    let connections = BTreeMap::from([(own, bench.connections.client(&bench.allowed.tenant, &name).unwrap())]);
    let bench = Bench { allowed: Allowed { connections, ..bench.allowed.clone() }, ..bench };
    let arguments =
        json!({ "method": "post", "endpoint": "connection://store/volumes", "query": { "a": 1 }, "body": {} });
    let output = bench.http(with(arguments, json!({ "output": "response" }))).await.unwrap();
    assert_eq!(output["content"], "/base/volumes?a=1");
    assert_eq!(output["request"]["uri"], "connection://store/volumes?a=1");
    let asked = double.requests().remove(0);
    assert_eq!(
        (asked.field("x-once"), asked.field("authorization").starts_with("Bearer s3")),
        ("the-key".to_owned(), true)
    );
    let redirected = json!({ "method": "get", "endpoint": "connection://store/old", "redirect": true });
    assert_eq!(bench.http(redirected).await.unwrap(), "/base/new?x=1");
    let both = json!({ "method": "get", "endpoint": "connection://store/x", "authentication": { "bearer": { "token": "t" } } });
    assert!(bench.fails(Kind::Http, both).await.2.contains("connection `store` has its own"));
}
