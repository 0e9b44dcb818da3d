//! The server's end, asked for and not: what is under way is answered, nobody new is let in, followers are told the end,
//! and who comes back after a crash misses nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::Rest;
use orchestrator_tests::server::{Launch, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far more than anything here takes on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

struct Scene {
    server: Server,
    rest: Rest,
    _directory: tempfile::TempDir,
}

impl Scene {
    /// A server that lets requests end for so long, with a pack: `count` goes step by step, `rest` takes an hour.
    async fn start(drain: &str) -> Self {
        let binaries = Binaries::built().expect("the programs build");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let launch = Launch::with(&["--listen", "127.0.0.1:0", "--drain", drain]);
        let server = Server::launch(&binaries, directory.path(), launch).await.expect("the server starts");
        let pack = directory.path().join("steps");
        write_pack(&pack);
        let rest = Rest::new(&server.url);
        rest.install(&binaries, &pack).expect("the pack installs");
        Self { server, rest, _directory: directory }
    }

    async fn order(&self, workflow: &str) -> String {
        let body = json!({ "pack": "steps", "workflow": workflow });
        let answer = self.rest.send(reqwest::Method::POST, "/v1/instances", &[], Some(&body)).await.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["id"].as_str().expect("an identifier").to_owned()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.url.trim_start_matches("http://")).await.expect("the server listens")
    }
}

fn write_pack(folder: &Path) {
    std::fs::create_dir_all(folder).expect("made");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    write(
        "pack.yaml",
        "format: 1\nname: steps\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\n\
         workflows: [count.yaml, rest.yaml]\n",
    );
    let flow = |name: &str, tasks: &str| {
        let head = format!("document: {{ dsl: '1.0.0', namespace: steps, name: {name}, version: '1.0.0' }}");
        write(&format!("{name}.yaml"), &format!("{head}\ndo:\n{tasks}"));
    };
    let steps: Vec<u32> = (0..60).collect();
    flow(
        "count",
        &format!(
            "  - each:\n      for: {{ in: '${{ {steps:?} }}' }}\n      do:\n        - pause: {{ wait: {{ milliseconds: 40 }} }}\n"
        ),
    );
    flow("rest", "  - pause: { wait: { hours: 1 } }\n");
}

/// What is said until the other side closes.
async fn all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is cut ends the answer as well.
    let _ =
        tokio::time::timeout(WITHIN, stream.read_to_end(&mut answer)).await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until this was said.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    let reading = async {
        while !String::from_utf8_lossy(&said).contains(text) {
            let count = stream.read(&mut part).await.expect("the server speaks");
            assert!(count > 0, "the server closed: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&part[..count]);
        }
    };
    tokio::time::timeout(WITHIN, reading).await.expect("the server answers");
    String::from_utf8_lossy(&said).into_owned()
}

/// A change whose body is not whole, and the rest of it.
fn halves(name: &str) -> (String, &'static str) {
    let body = r#"{"baseUrl":"https://storage.example"}"#;
    let (first, second) = body.split_at(12);
    let head = format!(
        "PUT /v1/connections/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + first, second)
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_answers_what_is_under_way_and_takes_nothing_new() {
    let mut scene = Scene::start("20s").await;
    let id = scene.order("rest").await;
    let mut under_way = scene.connect().await;
    let (first, second) = halves("late");
    under_way.write_all(first.as_bytes()).await.unwrap();
    let mut idle = scene.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    until(&mut idle, "200 OK").await;
    let mut follower = scene.connect().await;
    let follow = format!("GET /v1/instances/{id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    follower.write_all(follow.as_bytes()).await.unwrap();
    until(&mut follower, "event: record").await;
    let mut waiting = scene.connect().await;
    let wait = format!("GET /v1/instances/{id}?wait=300 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    waiting.write_all(wait.as_bytes()).await.unwrap();

    let begun = Instant::now();
    scene.server.signal("TERM").unwrap();
    let told = all(&mut follower).await;
    assert!(told.ends_with("0\r\n\r\n"), "the follower is told the end and not cut: {told:?}");
    let waited = all(&mut waiting).await;
    assert!(waited.starts_with("HTTP/1.1 200") && waited.contains("\"waiting\""), "{waited}");
    assert_eq!(all(&mut idle).await, "", "an idle connection is closed");
    let address = scene.server.url.trim_start_matches("http://").to_owned();
    assert!(TcpStream::connect(&address).await.is_err(), "nobody new is let in");
    assert!(scene.server.is_running(), "it waits for the request under way");
    under_way.write_all(second.as_bytes()).await.unwrap();
    let answer = all(&mut under_way).await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("connection: close"), "{answer}");
    assert_eq!(scene.server.exit_code().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "it does not wait for longer than it has to");
    scene.server.start_again().await.unwrap();
    let rest = Rest::new(&scene.server.url);
    assert_eq!(rest.get("/v1/connections/late").await.unwrap()["name"], "late", "what was answered is durable");
    assert_eq!(rest.get(&format!("/v1/instances/{id}")).await.unwrap()["status"], "waiting", "it goes on");
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_when_the_time_is_over() {
    let mut scene = Scene::start("1s").await;
    let mut slow = scene.connect().await;
    slow.write_all(halves("never").0.as_bytes()).await.unwrap();
    let begun = Instant::now();
    scene.server.signal("TERM").unwrap();
    assert_eq!(scene.server.exit_code().await, Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(1), "it was given its time");
    assert_eq!(all(&mut slow).await, "");
    scene.server.start_again().await.unwrap();
    assert!(Rest::new(&scene.server.url).get("/v1/connections/never").await.is_err());
}

#[tokio::test]
async fn a_follower_that_comes_back_after_crashes_misses_nothing_and_gets_nothing_twice() {
    let mut scene = Scene::start("3s").await;
    let id = scene.order("count").await;
    let (mut seen, mut lives) = (Vec::new(), 0);
    let is_over = |events: &[Value]| events.last().is_some_and(|last| last["record"] == "ended");
    while !is_over(&seen) {
        let rest = Rest::new(&scene.server.url);
        let after = seen.last().map(|last: &Value| last["seq"].as_u64().expect("a number"));
        let mut events = rest.events(&id, after).await.expect("the stream opens");
        let most = seen.len() + 25;
        let following = async {
            while let Some(Ok(event)) = events.next().await {
                if event["event"] == "record" {
                    seen.push(event);
                }
                if lives < 3 && seen.len() >= most {
                    return;
                }
            }
        };
        tokio::time::timeout(WITHIN, following).await.expect("the instance goes on");
        if !is_over(&seen) {
            lives += 1;
            scene.server.kill();
            scene.server.start_again().await.expect("the server starts again");
        }
    }
    let numbers: Vec<u64> = seen.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!((lives, &seen[seen.len() - 1]["status"]), (3, &json!("completed")));
}
