//! Events from anybody: whatever is posted is taken whole or refused with a reason, nothing of what is refused is stored, and
//! the server is never at fault.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::journal::{Scan, keys};

const PATH: &str = "/v1/events";

/// Where the attributes are, and what the body is said to be.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Structured,
    Batched,
    Binary,
    Nonsense,
}

/// A request.
#[derive(Debug, Clone)]
struct Posted {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn sound(id: u32) -> Json {
    json!({ "specversion": "1.0", "id": id.to_string(), "source": "/hostile", "type": "t", "time": "2026-01-01T00:00:00Z",
            "datacontenttype": "application/json", "data": { "n": [1, null, "x"] } })
}

/// What stands in the place of a member.
fn odd() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(json!(null)),
        Just(json!("")),
        Just(json!([])),
        Just(json!({})),
        Just(json!(true)),
        Just(json!(u64::MAX)),
        Just(json!(-1.5e300)),
        Just(json!("yesterday")),
        Just(json!("9999-99-99T99:99:99Z")),
        Just(json!("=not base64=")),
        Just(json!("text/plain; charset=\u{0}")),
        (0..20_000_usize).prop_map(|length| json!("x".repeat(length))),
        ".{0,20}".prop_map(Json::from),
    ]
}

/// The name of a member, standard or not.
fn name() -> impl Strategy<Value = String> {
    let known = [
        "id",
        "source",
        "type",
        "specversion",
        "time",
        "subject",
        "dataschema",
        "datacontenttype",
        "data",
        "data_base64",
    ];
    prop_oneof![8 => proptest::sample::select(known.map(str::to_owned).to_vec()), 1 => "[a-z0-9]{1,70}", 1 => ".{0,8}"]
}

/// The text of an event: sound, with odd members, with members given twice.
fn event() -> impl Strategy<Value = String> {
    let members = proptest::collection::vec((name(), odd(), any::<bool>()), 0..3);
    (any::<u32>(), members).prop_map(|(id, members)| {
        let mut event = sound(id);
        let mut twice = String::new();
        for (name, value, again) in members {
            match again {
                true => twice.push_str(&format!(",{}:{value}", Json::from(name))),
                false => drop(event.as_object_mut().unwrap().insert(name, value)),
            }
        }
        let text = event.to_string();
        format!("{}{twice}}}", &text[..text.len() - 1])
    })
}

fn nested(depth: usize) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"n\",\"source\":\"/\",\"type\":\"t\",\"data\":{}1{}}}",
        "[".repeat(depth),
        "]".repeat(depth)
    )
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => event().prop_map(String::into_bytes),
        2 => proptest::collection::vec(event(), 0..4).prop_map(|events| format!("[{}]", events.join(",")).into_bytes()),
        2 => (event(), any::<proptest::sample::Index>()).prop_map(|(text, at)| text.as_bytes()[..at.index(text.len())].to_vec()),
        2 => (event(), any::<proptest::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => (0..100_000_usize).prop_map(|depth| nested(depth).into_bytes()),
        1 => (0..2_000_usize).prop_map(|count| Json::from(vec![Json::Null; count]).to_string().into_bytes()),
    ]
}

fn posted() -> impl Strategy<Value = Posted> {
    let mode = proptest::sample::select(vec![Mode::Structured, Mode::Batched, Mode::Binary, Mode::Nonsense]);
    let kinds =
        vec!["application/json", "text/plain", "application/octet-stream", "a/b;;=", "", "application/cloudevents+xml"];
    let attributes = proptest::collection::vec(("[a-z0-9_-]{1,12}", "[ -~]{0,30}"), 0..4);
    (mode, proptest::sample::select(kinds), attributes, body(), any::<u32>()).prop_map(
        |(mode, kind, attributes, body, id)| {
            let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let mut headers = match mode {
                Mode::Structured => vec![own("content-type", "application/cloudevents+json")],
                Mode::Batched => vec![own("content-type", "application/cloudevents-batch+json; charset=utf-8")],
                Mode::Binary | Mode::Nonsense => vec![own("content-type", kind)],
            };
            if matches!(mode, Mode::Binary) {
                let id = id.to_string();
                let whole = [("specversion", "1.0"), ("id", id.as_str()), ("source", "/hostile"), ("type", "t")];
                headers.extend(whole.map(|(name, value)| own(&format!("ce-{name}"), value)));
            }
            headers.extend(attributes.into_iter().map(|(name, value)| (format!("ce-{name}"), value)));
            Posted { headers, body }
        },
    )
}

impl Server {
    fn inbox(&self) -> usize {
        let rows = [keys::events(), keys::event_ages(), b"d".to_vec()]
            .map(|prefix| self.journal.scan(Scan::prefix(prefix, usize::MAX)).unwrap().len());
        assert!(rows.iter().all(|count| *count == rows[0]), "an event has three rows: {rows:?}");
        rows[0]
    }
}

async fn judged(server: &Server, posted: &Posted) -> Result<(), TestCaseError> {
    let before = server.inbox();
    let headers: Vec<_> = posted.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = server.ask("POST", PATH, &headers, posted.body.clone()).await;
    let stored = server.inbox() - before;
    match answer.status {
        StatusCode::ACCEPTED => prop_assert_eq!(answer.json()["accepted"].as_u64(), Some(stored as u64)),
        status => {
            prop_assert!(status.is_client_error(), "{} {:?}", status, answer.body);
            prop_assert!(answer.body.len() < 200_000, "a large answer: {}", answer.body.len());
            prop_assert_eq!(stored, 0, "of what is refused nothing is stored");
            answer.problem();
        }
    }
    Ok(())
}

#[test]
fn whatever_is_posted_is_taken_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::new());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(600));
    runner.run(&posted(), |posted| runtime.block_on(judged(&server, &posted))).unwrap();
    assert!(server.inbox() > 0, "some are taken");
}

#[tokio::test]
async fn what_is_too_much_is_refused_whatever_it_is() {
    let server = Server::new().await;
    let batched = [("content-type", "application/cloudevents-batch+json")];
    let structured = [("content-type", "application/cloudevents+json")];
    let check = async |headers: &[(&str, &str)], body: String, kind: &str, text: &str| {
        let answer = server.ask("POST", PATH, headers, body).await;
        assert_eq!(answer.problem(), kind);
        assert!(answer.json().to_string().contains(text), "{text}: {:?}", answer.body);
        assert_eq!(server.inbox(), 0);
    };
    let many: Vec<_> = (0..10_001).map(sound).collect();
    check(&batched, Json::from(many).to_string(), "invalid-body", "these are 10001").await;
    check(&batched, format!("[{}0]", "{},".repeat(10_000)), "invalid-body", "these are 10001").await;
    check(&structured, nested(200), "malformed-json", "recursion limit").await;
    check(&structured, nested(400_000), "malformed-json", "recursion limit").await;
    let twice = r#"{"specversion":"1.0","id":"a","source":"/","type":"t","id":"b"}"#;
    check(&structured, twice.to_owned(), "invalid-body", "`id` once").await;
    check(&batched, format!("[{}, {twice}]", sound(1)), "invalid-body", "\"pointer\":\"/1\"").await;
}
