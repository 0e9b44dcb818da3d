//! No secret, no token and no base URL is in any guest's memory, in an instance's history or in the log: every component of
//! every pack, with each kind of authentication it is used with, is held in the middle of a request while its memory is
//! read from outside of the server.

#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::Rest;
use orchestrator_tests::guest_memory::{self, Silence};
use orchestrator_tests::server::Server;
use reqwest::Method;
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(300);

/// Stands in every base URL, and in nothing else.
const BASE: &str = "/base-path-of-the-outside";

/// Every stored secret has this in it.
const SECRET: &str = "s3cret-of-the-outside";

/// What the token endpoint gives.
const TOKEN: &str = "t0ken-of-the-endpoint";

/// The user of a password; not a secret, and still nothing for a guest.
const USER: &str = "us3r-of-the-outside";

/// Stands in the input, and so in the memory of the guest that is looked for.
const MARK: &str = "a-word-to-look-for";

/// A component in use.
struct Case {
    story: &'static str,
    pack: &'static str,
    /// A service or a workflow of the pack.
    order: Value,
    /// The names that the pack gives its connections, and how each proves itself.
    connections: Value,
    /// What the outside heard, as a proof that the credential was in use.
    heard: String,
}

fn cases(token_url: &str) -> Vec<Case> {
    let case = |story, pack, order, connections, heard: &str| Case {
        story,
        pack,
        order,
        connections,
        heard: heard.to_owned(),
    };
    let header = json!({"scheme": "header", "name": "X-Auth-Token", "value": "secret"});
    let bearer = json!({"scheme": "bearer", "token": "secret"});
    let basic = json!({"scheme": "basic", "username": USER, "password": "secret"});
    let oauth2 = json!({"scheme": "oauth2", "tokenUrl": token_url, "clientId": "me", "clientSecret": "secret"});
    let signed =
        json!({"scheme": "aws-sig-v4", "region": "us-east-1", "accessKeyId": USER, "secretAccessKey": "secret"});
    let path = json!({"scheme": "path", "value": "secret"});
    let hmac = json!({"scheme": "hmac", "key": "secret"});
    let (is_bearer, is_token) = (format!("Bearer {SECRET}"), format!("Bearer {TOKEN}"));
    let list = json!({"service": "storage list", "input": {"what": "volumes", "name": MARK}});
    let move_by_plan = json!({"service": "migration bucket by plan", "input": {"name": MARK, "sourceBucket": MARK,
        "destinationBucket": "bucket-two", "destinationBackend": "east"}});
    let buckets =
        json!({"service": "migration bucket", "input": {"sourceBucket": MARK, "destinationBucket": "bucket-two"}});
    let both = json!({"source": signed, "destination": signed});
    let clouds = json!({"multicloud": header, "multicloud-s3": signed});
    let ticket = |api: &str| {
        let input = json!({"namespace": "team-a", "project": "OPS", "summary": MARK, "api": api});
        json!({"service": "ticket escalation", "input": input})
    };
    let namespace = |kind: &str| {
        let input = json!({"instance": "i-1", "input": {"namespace": MARK, "kind": kind}});
        json!({"pack": "jira-escalation", "workflow": "remove-namespace", "input": input})
    };
    let repository = format!("https://git.example/{MARK}");
    let analysis = json!({"service": "application analysis", "input": {"repositoryUrl": repository}});
    let transform = json!({"service": "move to containers", "input": {"repositoryUrl": repository, "sourceBranch": "main",
        "targetBranch": "containers", "workspaceId": "w", "projectId": "p"}});
    let tell = |channel: &str| {
        let input = json!({"title": MARK, "recipients": {"type": "broadcast"}, "channels": [channel]});
        json!({"service": "send notification", "input": input})
    };
    vec![
        case("storage, a header", "storage", list, json!({"backend": header}), SECRET),
        case("S3 to S3, signatures", "bucket-migration", buckets, both, "AWS4-HMAC-SHA256"),
        case("plans, a header", "bucket-migration", move_by_plan, clouds, SECRET),
        case(
            "Jira Cloud, a password",
            "jira-escalation",
            ticket("cloud"),
            json!({"jira": basic, "cluster": bearer}),
            "Basic ",
        ),
        case(
            "Jira Server, a token",
            "jira-escalation",
            ticket("server"),
            json!({"jira": bearer, "cluster": bearer}),
            &is_bearer,
        ),
        case(
            "a namespace",
            "jira-escalation",
            namespace("namespace"),
            json!({"jira": basic, "cluster": bearer}),
            &is_bearer,
        ),
        case(
            "a project",
            "jira-escalation",
            namespace("project"),
            json!({"jira": basic, "cluster": bearer}),
            &is_bearer,
        ),
        case("MTA, a token", "mta-analysis", analysis.clone(), json!({"hub": bearer}), &is_bearer),
        case("MTA, tokens of an endpoint", "mta-analysis", analysis, json!({"hub": oauth2}), &is_token),
        case("Move2Kube, a header", "move2kube", transform, json!({"move2kube": header}), SECRET),
        case("Backstage", "notification", tell("backstage"), json!({"backstage": bearer}), &is_bearer),
        case("Slack, by its path", "notification", tell("slack"), json!({"slack": path}), SECRET),
        case("a signed webhook", "notification", tell("webhook"), json!({"webhook": hmac}), "x-signature"),
        case("mail", "notification", tell("mail"), json!({"mail": basic}), "EHLO"),
    ]
}

/// Answers whoever asks for a token.
async fn token_endpoint() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let answer = || async { axum::Json(json!({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})) };
    let app = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/token")
}

/// The connections that a case is granted, all to the same silent outside.
async fn connect(rest: &Rest, case: &Case, address: &str) {
    let mut granted = json!({});
    for (name, authentication) in case.connections.as_object().expect("an object") {
        let mut connection = json!({"authentication": authentication, "timeoutMs": 600_000});
        connection["baseUrl"] = json!(format!("http://{address}{BASE}"));
        if name == "mail" {
            connection["baseUrl"] = json!(format!("smtp://{address}"));
            connection["mail"] = json!({"from": "sender-of-the-outside@example.org", "tls": "none",
                "recipients": {"broadcast": ["reader-of-the-outside@example.org"]}});
        }
        rest.put(&format!("/v1/connections/{name}"), connection).await.expect("the connection is stored");
        granted[name] = json!(name);
    }
    let grants = json!({"connections": granted});
    rest.put(&format!("/v1/packs/{}/grants", case.pack), grants).await.expect("granted");
}

/// All that the server says of an instance, and its log.
async fn told(server: &Server, rest: &Rest, id: &str) -> String {
    let mut told = std::fs::read_to_string(server.log()).expect("the server logs");
    for part in ["", "/tasks", "/history", "/logs"] {
        told += &rest.get(&format!("/v1/instances/{id}{part}")).await.expect("it is told").to_string();
    }
    told
}

async fn check(server: &Server, case: &Case) {
    let rest = Rest::new(&server.url);
    // Words before a request would break the exchange of an HTTP client.
    let greeting = if case.heard == "EHLO" { "220 outside ESMTP\r\n" } else { "" };
    let silence = Silence::start(greeting).await;
    connect(&rest, case, &silence.address).await;
    let ordered = rest.send(Method::POST, "/v1/instances", &[], Some(&case.order)).await.expect("answered");
    assert_eq!(ordered.status, 201, "{}: {ordered:?}", case.story);
    let id = ordered.body["id"].as_str().expect("an id").to_owned();
    let start = Instant::now();
    while !silence.heard().contains(&case.heard) {
        if start.elapsed() > WITHIN {
            panic!("{}: the outside heard only {}\n{}", case.story, silence.heard(), told(server, &rest, &id).await);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let memory = guest_memory::of(server.id());
    // Before anything is looked for: the search takes a while, and the guest's time runs.
    let cancelled = rest.send(Method::POST, &format!("/v1/instances/{id}/cancel"), &[], None).await.expect("answered");
    assert_eq!(cancelled.status, 202, "{}: {cancelled:?}", case.story);
    assert!(guest_memory::holds(&memory, MARK), "{}: it is the guest's memory: its input stands in it", case.story);
    let told = told(server, &rest, &id).await;
    for secret in [SECRET, TOKEN, USER, BASE, &silence.address, "-of-the-outside@example.org"] {
        assert!(!guest_memory::holds(&memory, secret), "{}: `{secret}` is in the guest's memory", case.story);
        assert!(!told.contains(secret), "{}: `{secret}` is told", case.story);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_guest_ever_holds_a_secret_or_an_address() {
    let binaries = Binaries::built().expect("the programs build");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&binaries, directory.path()).await.expect("the server starts");
    let rest = Rest::new(&server.url);
    for pack in ["notification", "storage", "bucket-migration", "jira-escalation", "mta-analysis", "move2kube"] {
        rest.install(&binaries, &binaries.pack(pack).expect("the pack builds")).expect("the pack installs");
    }
    rest.put_secret("secret", SECRET).await.expect("the secret is stored");
    for case in cases(&token_endpoint().await) {
        check(&server, &case).await;
    }
}
