//! Each hostile or odd guest of `tests/guest-programs` against the real sandbox: what it may not do does not happen, and
//! what its author is told says why.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod boundary;

use std::time::{Duration, Instant};

use boundary::{Boundary, Outside};
use orchestrator_host::model::{Failure, Json, Reaction};
use orchestrator_host::sandbox::{Phase, Reply};
use serde_json::json;

/// Runs a guest and expects a failure.
async fn fails(boundary: &Boundary, guest: &str) -> Failure {
    boundary.run(guest, json!(null)).await.expect_err("this guest fails")
}

async fn check_fault(guest: &str, expected: Reaction, detail: &str) {
    let failure = fails(&Boundary::new().await, guest).await;
    assert_eq!(failure.reaction, expected, "{failure:?}");
    assert!(failure.problem.detail.contains(detail), "{failure:?}");
    assert!(failure.problem.kind.ends_with("/runtime") && failure.problem.status == 500, "{failure:?}");
}

#[tokio::test]
async fn answers() {
    let boundary = Boundary::new().await;
    let input = json!({"a": [1, null, "ä"]});
    assert_eq!(boundary.output("answers", input.clone()).await, input);
}

#[tokio::test]
async fn spins_is_stopped_at_its_deadline() {
    let failure = fails(&Boundary::new().await.timeout(Duration::from_millis(300)), "spins").await;
    assert_eq!(failure.reaction, Reaction::Transient { retry_after_ms: None });
    assert_eq!((failure.problem.status, failure.problem.title.as_str()), (408, "timeout"));
}

/// One thread serves both guests: the second would never be served if the first did not give it back.
#[tokio::test(flavor = "current_thread")]
async fn spins_leaves_the_thread_to_others() {
    let boundary = Boundary::new().await.timeout(Duration::from_secs(3600));
    let others = async {
        tokio::task::yield_now().await; // The spinning guest goes first.
        boundary.output("answers", json!(1)).await
    };
    tokio::select! {
        biased;
        ended = boundary.run("spins", json!(null)) => panic!("{ended:?}"),
        output = others => assert_eq!(output, json!(1)),
    }
}

#[tokio::test]
async fn spins_ends_when_its_future_is_dropped() {
    let boundary = Boundary::new().await.timeout(Duration::from_secs(3600));
    let guest = tokio::spawn(async move { boundary.run("spins", json!(null)).await });
    tokio::time::sleep(Duration::from_millis(50)).await; // Lets the guest start; nothing depends on how far it came.
    let start = Instant::now();
    guest.abort();
    assert!(guest.await.unwrap_err().is_cancelled());
    assert!(start.elapsed() < Duration::from_secs(1), "a cancelled guest stops within one second");
}

#[tokio::test]
async fn sleeps_is_stopped_at_its_deadline() {
    let boundary = Boundary::new().await.timeout(Duration::from_millis(100));
    assert_eq!(fails(&boundary, "sleeps").await.problem.status, 408);
}

#[tokio::test]
async fn eats_memory() {
    check_fault("eats-memory", Reaction::Permanent, "out of memory").await;
}

#[tokio::test]
async fn recurses() {
    check_fault("recurses", Reaction::Permanent, "recursion").await;
}

#[tokio::test]
async fn answers_no_json() {
    check_fault("answers-no-json", Reaction::Permanent, "not JSON").await;
}

#[tokio::test]
async fn answers_too_much() {
    check_fault("answers-too-much", Reaction::Permanent, "4194304").await;
}

#[tokio::test]
async fn answers_another_phase() {
    check_fault("answers-another-phase", Reaction::Permanent, "another phase").await;
}

#[tokio::test]
async fn traps() {
    check_fault("traps", Reaction::Permanent, "panicked or aborted").await;
}

#[tokio::test]
async fn exits() {
    check_fault("exits", Reaction::Permanent, "exited").await;
}

#[tokio::test]
async fn panics_and_its_message_is_in_the_log() {
    let boundary = Boundary::new().await;
    let failure = fails(&boundary, "panics").await;
    assert_eq!(failure.reaction, Reaction::Permanent);
    assert!(boundary.observer.text().contains("the guest's own message"), "{}", boundary.observer.text());
    assert!(boundary.observer.text().contains("6guests6panics3run"), "functions by name: {}", boundary.observer.text());
}

#[tokio::test]
async fn fails_for_now() {
    let failure = Boundary::new().await.run("fails-for-now", json!("later")).await.unwrap_err();
    assert_eq!(failure.reaction, Reaction::Transient { retry_after_ms: Some(1500) });
    assert_eq!((failure.problem.kind.as_str(), failure.problem.status), ("https://example.com/busy", 503));
    assert_eq!(failure.problem.detail, "\"later\"");
}

#[tokio::test]
async fn looks_around_and_finds_nothing() {
    assert_eq!(Boundary::new().await.output("looks-around", json!(null)).await, json!([]));
}

#[tokio::test]
async fn floods_log() {
    let boundary = Boundary::new().await;
    boundary.output("floods-log", json!(null)).await;
    check_flooded(&boundary);
}

#[tokio::test]
async fn floods_stdout() {
    let boundary = Boundary::new().await;
    boundary.output("floods-stdout", json!(null)).await;
    check_flooded(&boundary);
    assert!(boundary.observer.text().contains("an error line\n"));
}

fn check_flooded(boundary: &Boundary) {
    let log = boundary.observer.text();
    assert!(log.len() <= 1 << 20, "{}", log.len());
    assert!(log.lines().last().unwrap().contains("were dropped"));
}

#[tokio::test]
async fn checkpoints() {
    let boundary = Boundary::new().await;
    let results = boundary.output("checkpoints", json!({"at": 7})).await;
    assert_eq!(results[0], "stored");
    assert!(results[1].as_str().unwrap().starts_with("invalid"), "{results}");
    assert!(results[2].as_str().unwrap().contains("262144"), "{results}");
    assert_eq!(*boundary.observer.checkpoints.lock().unwrap(), [json!({"at": 7})]);
}

#[tokio::test]
async fn reveals_secrets_only_where_granted_and_recorded() {
    let boundary =
        Boundary::new().await.secret("mine", "stored", Some("hunter2hunter2")).await.secret("gone", "gone", None).await;
    let results = boundary.output("reveals-secrets", json!(["other", "mine", "gone", "../mine"])).await;
    let text = |at: usize| results[at].as_str().unwrap().to_owned();
    assert!(
        text(0).starts_with("denied") && text(0).contains("orchctl pack grant guests --secret other="),
        "{results}"
    );
    assert_eq!(text(1), "revealed: hunter2hunter2");
    assert!(text(2).starts_with("missing") && text(2).contains("orchctl secret set gone"), "{results}");
    assert!(text(3).starts_with("denied"), "{results}");
    assert_eq!(*boundary.observer.revealed.lock().unwrap(), ["stored"]);
    assert!(!boundary.observer.text().contains("hunter2"), "a revealed secret is hidden in the log");
}

#[tokio::test]
async fn sends_only_what_is_granted() {
    let outside = Outside::start().await;
    let boundary = Boundary::new().await.connection("outside", outside.declaration()).await;
    let port = outside.port();
    let results = boundary
        .output(
            "sends",
            json!([
                ["other", "GET", "/"],
                ["", "GET", "https://api.example/x"],
                ["", "GET", format!("http://127.0.0.1:{port}/")],
                ["outside", "GET", "/../admin"],
                ["outside", "GET", "/%2e%2e/admin"],
                ["outside", "GET", "//evil.example/"],
                ["outside", "GET", format!("http://127.0.0.1:{port}/")],
                ["outside", "CONNECT", "/"],
                ["outside", "GET", "/", {"Authorization": "Bearer mine"}],
                ["outside", "GET", "/", {"Host": "evil.example"}],
                ["outside", "GET", "/", {"x": "a\r\nb: c"}],
            ]),
        )
        .await;
    let kinds: Vec<_> = results.as_array().unwrap().iter().map(|result| result[0].as_str().unwrap_or("sent")).collect();
    let invalid = "invalid-request";
    let expected =
        ["denied", "denied", "denied", invalid, invalid, invalid, invalid, invalid, invalid, invalid, invalid];
    assert_eq!(kinds, expected, "{results}");
    assert!(results[0][1].as_str().unwrap().contains("uses: { connections: [other] }"), "{results}");
    assert!(results[0][1].as_str().unwrap().contains("orchctl pack grant guests other="), "{results}");
    assert!(results[1][1].as_str().unwrap().contains("--host api.example"), "{results}");
    assert_eq!(outside.requests().len(), 0);
}

#[tokio::test]
async fn sends_with_the_hosts_authentication_and_never_sees_it() {
    let outside = Outside::start().await;
    let mut declaration = outside.declaration();
    declaration["authentication"] = json!({"scheme": "bearer", "token": "token"});
    declaration["idempotencyHeader"] = json!("Idempotency-Key");
    let boundary = Boundary::new().await.stored("token", "s3cr3t-token").await.connection("outside", declaration).await;
    let results = boundary
        .output(
            "sends",
            json!([["outside", "POST", "/echo?a=b", {"x-mine": "1"}, "body"], ["outside", "GET", "/moved"]]),
        )
        .await;
    let seen = outside.requests();
    assert_eq!(seen[0].target, "/base/echo?a=b");
    assert_eq!(seen[0].field("authorization"), "Bearer s3cr3t-token");
    assert_eq!(seen[0].field("idempotency-key"), "key-1");
    assert_eq!((seen[0].field("x-mine"), seen[0].body.as_slice()), ("1".to_owned(), &b"body"[..]));
    assert_eq!(seen[1].field("idempotency-key"), "");
    assert_eq!(results[0]["status"], 200);
    assert!(
        results[0]["headers"].get("set-cookie").is_none() && results[0]["headers"].get("www-authenticate").is_none()
    );
    // A redirect is given, not followed, and its address below the base URL is shown as a target.
    assert_eq!((&results[1]["status"], &results[1]["headers"]["location"]), (&json!(302), &json!("/elsewhere?x=1")));
    assert_eq!(seen.len(), 2);
    let all = results.to_string() + &boundary.observer.text();
    assert!(!all.contains("s3cr3t") && !all.contains("127.0.0.1"), "{all}");
}

#[tokio::test]
async fn sends_to_a_granted_host_without_authentication() {
    let outside = Outside::start().await;
    let port = outside.port();
    let boundary =
        Boundary::new().await.host(&format!("http://127.0.0.1:{port}")).host(&format!("http://localhost:{port}"));
    let asked = json!([
        ["", "GET", format!("http://127.0.0.1:{port}/base/echo")],
        ["", "GET", format!("http://localhost:{port}/base/echo")],
    ]);
    let results = boundary.output("sends", asked).await;
    assert_eq!(results[0]["status"], 200);
    // A name that leads into the server's own network is refused; the literal address above was granted as such.
    assert_eq!(results[1][0], "unavailable", "{results}");
    assert_eq!(outside.requests().len(), 1);
}

#[tokio::test]
async fn sends_and_is_told_what_went_wrong() {
    let outside = Outside::start().await;
    let mut small = outside.declaration();
    small["responseBytesMax"] = json!(1000);
    let boundary = Boundary::new().await.connection("outside", outside.declaration()).await;
    let nowhere = json!({"baseUrl": "http://127.0.0.1:1/"});
    let boundary = boundary.connection("small", small).await.connection("nowhere", nowhere).await;
    let asked = json!([
        ["nowhere", "GET", "/"],
        ["small", "GET", "/bytes/1001"],
        ["small", "GET", "/bytes/1000"],
        ["outside", "GET", "/cut/1000"],
        ["outside", "GET", "/never", {}, null, 100],
    ]);
    let results = boundary.output("sends", asked).await;
    let kinds: Vec<_> = results.as_array().unwrap().iter().map(|result| result[0].as_str().unwrap_or("sent")).collect();
    assert_eq!(kinds, ["unavailable", "too-large", "sent", "interrupted", "timeout"], "{results}");
    assert!(!results.to_string().contains("127.0.0.1"), "{results}");
}

#[tokio::test]
async fn sends_then_traps_is_of_unknown_outcome_where_it_may_have_had_an_effect() {
    let outside = Outside::start().await;
    let boundary = Boundary::new().await.connection("outside", outside.declaration()).await;
    let check = async |method: &str, expected: Reaction| {
        let failure = boundary.run("sends-then-traps", json!(method)).await.unwrap_err();
        assert_eq!(failure.reaction, expected, "{method}");
    };
    check("GET", Reaction::Permanent).await;
    check("POST", Reaction::Unknown).await;
}

#[tokio::test]
async fn sends_then_spins_is_of_unknown_outcome_where_it_may_have_had_an_effect() {
    let outside = Outside::start().await;
    let boundary = Boundary::new().await.connection("outside", outside.declaration()).await;
    let boundary = boundary.timeout(Duration::from_millis(1000));
    let failure = boundary.run("sends-then-spins", json!("PUT")).await.unwrap_err();
    assert_eq!((failure.reaction, failure.problem.status), (Reaction::Unknown, 408));
}

#[tokio::test]
async fn starts_many_exchanges() {
    let outside = Outside::start().await;
    let boundary = Boundary::new().await.connection("outside", outside.declaration()).await;
    let result = boundary.output("starts-many-exchanges", json!(18)).await;
    assert_eq!((&result["started"], &result["ended"]), (&json!(16), &json!(true)), "{result}");
    assert_eq!((&result["refused"][0][0], &result["refused"][1][0]), (&json!("exhausted"), &json!("exhausted")));
    assert_eq!((&result["first"], &result["another"]), (&json!(true), &json!(true)), "{result}");
    assert_eq!(result["again"][0], "invalid-request");
}

#[tokio::test]
async fn transfers_inside_the_host() {
    let outside = Outside::start().await;
    let boundary = Boundary::new().await.connection("outside", outside.declaration()).await;
    let transfer =
        async |from: &str, to: &str| boundary.output("transfers", json!([["outside", from], ["outside", to]])).await;
    let length = 3_000_001_u64;
    let moved = transfer(&format!("/bytes/{length}"), "/put").await;
    let put = outside.requests().pop().unwrap();
    assert_eq!((put.field("content-length"), put.body.len() as u64), (length.to_string(), length));
    let sha256 = orchestrator_host::model::Digest::of(&put.body).hex();
    assert_eq!(moved, json!({"status": 200, "transferred": {"sourceStatus": 200, "bytes": length, "sha256": sha256}}));
    let unannounced = transfer("/chunked/1000", "/put").await;
    assert_eq!(unannounced["transferred"]["bytes"], 1000);
    assert_eq!(outside.requests().pop().unwrap().field("content-length"), "1000");
}

#[tokio::test]
async fn transfers_that_break_are_never_a_success() {
    let outside = Outside::start().await;
    let boundary = Boundary::new().await.connection("outside", outside.declaration()).await;
    let transfer =
        async |from: &str, to: &str| boundary.output("transfers", json!([["outside", from], ["outside", to]])).await;
    assert_eq!(transfer("/cut/100000", "/put").await[0], "interrupted");
    let before = outside.requests().len();
    let missing = transfer("/missing", "/put").await;
    assert_eq!(missing, json!({"status": 404, "transferred": null}));
    assert_eq!(outside.requests().len(), before + 1, "the second request was never sent");
    assert_eq!(transfer("/bytes/10", "/refuse").await["status"], 403);
}

#[tokio::test]
async fn a_component_is_compiled_once_and_then_shared() {
    let boundary = Boundary::new().await;
    assert!(boundary.loaded_twice().await);
}

#[tokio::test]
async fn imports_are_read_without_compiling() {
    let imports = orchestrator_host::sandbox::imports(orchestrator_tests::guests::component()).unwrap();
    for expected in ["orchestrator:http/client@0.1.0", "orchestrator:secrets/store@0.1.0"] {
        assert!(imports.iter().any(|import| import == expected), "{imports:?}");
    }
    assert!(
        imports.iter().all(|import| import.starts_with("orchestrator:") || import.starts_with("wasi:")),
        "{imports:?}"
    );
}

#[tokio::test]
async fn an_unsupported_guest_is_the_guests_own_failure() {
    let failure = Boundary::new().await.run("no-such-guest", Json::Null).await.unwrap_err();
    assert_eq!((failure.reaction, failure.problem.status), (Reaction::Permanent, 400));
}

#[tokio::test]
async fn another_phase_reaches_the_guest() {
    let boundary = Boundary::new().await;
    let reply = boundary.phase("answers-another-phase", Phase::Undo(json!({}))).await;
    assert_eq!(reply, Ok(Reply::Undone));
}

/// A guest without a test would be a hole nobody looks into.
#[test]
fn every_guest_has_a_test() {
    let tests = include_str!("guest_boundary.rs");
    let guests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-programs/src/guests");
    for file in std::fs::read_dir(guests).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(name == "mod" || tests.contains(&format!("fn {name}")), "write a test for the guest `{name}`");
    }
}

#[tokio::test]
async fn sends_mail_only_where_it_is_granted() {
    let told = Boundary::new().await.output("sends-mail", json!("post")).await;
    assert_eq!(told[0], "denied", "{told}");
    for cure in ["connection `post` is not granted", "uses: { connections: [post] }", "orchctl pack grant"] {
        assert!(told[1].as_str().unwrap().contains(cure), "{told}");
    }
    let web = json!({"baseUrl": "https://api.example"});
    let told = Boundary::new().await.connection("post", web).await.output("sends-mail", json!("post")).await;
    assert_eq!(told[0], "denied", "{told}");
    assert!(told[1].as_str().unwrap().contains("grant one that was declared with `mail`"), "{told}");
}

#[tokio::test]
async fn posts_notifications_only_where_it_is_granted() {
    let told = Boundary::new().await.output("posts-notifications", json!(null)).await;
    for one in told.as_array().unwrap() {
        assert_eq!(one[0], "denied", "{told}");
        assert!(one[1].as_str().unwrap().contains("uses: { inbox: true }"), "{told}");
    }
    assert_eq!(told.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn sends_no_request_by_a_connection_for_mail() {
    let mail = json!({"baseUrl": "smtp://127.0.0.1:1", "mail": {"from": "a@mail.example"}});
    let boundary = Boundary::new().await.connection("post", mail).await;
    let told = boundary.output("sends", json!([["post", "GET", "/"]])).await[0].clone();
    assert!(matches!(told[0].as_str(), Some("denied" | "invalid-request")), "{told}");
}
