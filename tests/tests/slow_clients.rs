//! Clients that are slow, broken or hostile: each gets its refusal or nothing, and nobody else waits because of them.

use std::time::{Duration, Instant};

use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::Rest;
use orchestrator_tests::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far more than an answer takes, in a build without optimisation on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

struct Tested {
    server: Server,
    _directory: tempfile::TempDir,
}

impl Tested {
    async fn start() -> Self {
        let binaries = Binaries::built().expect("the programs can be built");
        let directory = tempfile::tempdir().expect("a directory can be made");
        let server = Server::start(&binaries, directory.path()).await.expect("the server starts");
        Self { server, _directory: directory }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.url.trim_start_matches("http://")).await.expect("the server listens")
    }

    /// What comes back for these bytes until the server closes the connection.
    async fn said(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may refuse before it has read everything.
        let _ = stream.write_all(bytes).await;
        all(&mut stream).await
    }
}

async fn all(stream: &mut TcpStream) -> String {
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    let reading = async {
        while let Ok(count) = stream.read(&mut part).await
            && count > 0
        {
            answer.extend_from_slice(&part[..count]);
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, reading).await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn broken_requests_get_their_refusal_and_others_their_answer() {
    let tested = Tested::start().await;
    let head = |line: &str, more: &str| format!("{line}\r\nHost: localhost\r\n{more}\r\n");
    let close = "Connection: close\r\n";
    let huge = head("GET /v1/health HTTP/1.1", &format!("X-Large: {}\r\n", "x".repeat(1 << 20)));
    let many = head("GET /v1/health HTTP/1.1", &"X-A: b\r\n".repeat(10_000));
    let announced = |path: &str, kind: &str| {
        head(&format!("POST {path} HTTP/1.1"), &format!("Content-Type: {kind}\r\nContent-Length: 1073741824\r\n"))
    };
    let cases = [
        ("an HTTP/1.0 client", head("GET /v1/health HTTP/1.0", ""), "200"),
        ("no HTTP at all", "\0\u{1}\u{2} hello\r\n\r\n".to_owned(), "400"),
        ("a head of a mebibyte", huge, "431"),
        ("ten thousand headers", many, "431"),
        ("a gigabyte for an instance", announced("/v1/instances", "application/json"), "413"),
        ("a gigabyte for a pack", announced("/v1/packs", "application/zstd"), "413"),
        ("a gigabyte of events", announced("/v1/events", "application/cloudevents+json"), "413"),
        ("two lengths", head("POST /v1/events HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2\r\n"), "400"),
        ("a method nobody knows", head("BREW /v1/health HTTP/1.1", close), "405"),
        ("a host of somebody else", format!("GET /v1/health HTTP/1.1\r\nHost: evil.example\r\n{close}\r\n"), "421"),
        ("no host", format!("GET /v1/health HTTP/1.1\r\n{close}\r\n"), "421"),
    ];
    for (who, bytes, expected) in cases {
        let answer = tested.said(bytes.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{who}: {}", &answer[..answer.len().min(400)]);
        let rest = Rest::new(&tested.server.url);
        assert_eq!(rest.get("/v1/health").await.unwrap()["status"], "ok", "{who}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off_at_its_limit() {
    let tested = Tested::start().await;
    let mut stream = tested.connect().await;
    let head = "POST /v1/instances HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "[".repeat(0x10000));
    for _ in 0..1_000 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = all(&mut stream).await;
    // The refusal may be lost where the server closes while we still send.
    assert!(answer.is_empty() || status(&answer) == "413", "{answer}");
    assert_eq!(Rest::new(&tested.server.url).get("/v1/health").await.unwrap()["status"], "ok");
}

#[tokio::test]
async fn requests_that_follow_each_other_at_once_are_answered_in_their_order() {
    let tested = Tested::start().await;
    let one = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {}\r\n{more}\r\n", path.len())
    };
    let paths = ["/v1/health", "/v1/version", "/v1/nothing-of-the-kind"];
    let last = paths.len() - 1;
    let bytes: String = paths
        .iter()
        .enumerate()
        .map(|(at, path)| one(path, if at == last { "Connection: close\r\n" } else { "" }))
        .collect();
    let answer = tested.said(bytes.as_bytes()).await;
    let ids: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
    assert_eq!(ids, paths.map(|path| path.len().to_string()));
}

#[tokio::test]
async fn hundreds_of_slow_clients_make_nobody_else_wait() {
    let tested = Tested::start().await;
    let mut slow = Vec::new();
    for number in 0..600 {
        let mut stream = tested.connect().await;
        let part = match number % 3 {
            0 => "GET /v1/health HTTP/1.1\r\nHost: local",
            1 => {
                "POST /v1/instances HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            }
            _ => {
                "PUT /v1/connections/slow HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIf-None-Match: *\r\nContent-Length: 100\r\n\r\n{"
            }
        };
        stream.write_all(part.as_bytes()).await.unwrap();
        if number % 5 == 0 {
            stream.shutdown().await.unwrap();
        }
        slow.push(stream);
    }
    let rest = Rest::new(&tested.server.url);
    let connection = serde_json::json!({ "baseUrl": "https://storage.example" });
    let started = Instant::now();
    for number in 0..20 {
        assert_eq!(rest.get("/v1/health").await.unwrap()["status"], "ok");
        let path = format!("/v1/connections/fast-{number}");
        let headers = [("if-none-match", "*")];
        let made = rest.send(reqwest::Method::PUT, &path, &headers, Some(&connection)).await.unwrap();
        assert_eq!(made.status, 201, "{}", made.body);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "40 requests took {:?}", started.elapsed());
    drop(slow);
}

#[tokio::test]
async fn a_request_under_a_key_is_answered_again_after_a_crash() {
    let mut tested = Tested::start().await;
    let key = [("idempotency-key", "mark-1")];
    let path = "/v1/notifications/mark?user=user:default/ann";
    let body = serde_json::json!({ "ids": [], "read": true });
    let ask = async |url: &str| {
        orchestrator_tests::tls_ready();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{url}{path}")).header(key[0].0, key[0].1).json(&body);
        let answer = request.send().await.unwrap();
        let replayed = answer.headers().get("idempotency-replayed").is_some();
        (answer.status().as_u16(), replayed, answer.text().await.unwrap())
    };
    let first = ask(&tested.server.url).await;
    assert_eq!((first.0, first.1), (200, false), "{}", first.2);
    tested.server.kill();
    tested.server.start_again().await.unwrap();
    let again = ask(&tested.server.url).await;
    assert_eq!(again, (200, true, first.2));
}

#[tokio::test]
async fn who_ends_her_writing_after_a_whole_request_gets_her_answer() {
    let tested = Tested::start().await;
    let head = |line: &str, more: &str| format!("{line}\r\nHost: localhost\r\n{more}\r\n");
    let rest = Rest::new(&tested.server.url);
    let connection = r#"{"baseUrl":"https://storage.example"}"#;
    let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", connection.len());
    let cases = [
        ("a look", head("GET /v1/health HTTP/1.1", ""), "200"),
        ("a change", head("PUT /v1/connections/half HTTP/1.1", &length) + connection, "201"),
        ("a large answer", head("GET /v1/openapi.json HTTP/1.1", ""), "200"),
    ];
    for (what, bytes, expected) in cases {
        let mut stream = tested.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = all(&mut stream).await;
        assert_eq!(status(&answer), expected, "{what}: {}", &answer[..answer.len().min(400)]);
    }
    assert_eq!(rest.get("/v1/connections/half").await.unwrap()["name"], "half");
    // A body that ends early is no whole request: its client is refused or cut, and nothing is done.
    let short = head("PUT /v1/connections/short HTTP/1.1", &length) + "{";
    let mut stream = tested.connect().await;
    stream.write_all(short.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = all(&mut stream).await;
    assert!(answer.is_empty() || status(&answer) == "400", "{answer}");
    assert!(rest.get("/v1/connections/short").await.is_err());
}

#[tokio::test]
async fn who_ends_her_writing_gets_an_answer_that_takes_its_time() {
    let tested = Tested::start().await;
    let mut waiting = tested.connect().await;
    let request = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    waiting.write_all(request.as_bytes()).await.unwrap();
    waiting.shutdown().await.unwrap();
    let mut head = [0; 12];
    tokio::time::timeout(ANSWER_WITHIN, waiting.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let mut tested = tested;
    assert!(tested.server.stop().await);
    let rest = all(&mut waiting).await;
    assert!(rest.contains("text/event-stream"), "{rest}");
}
