//! Runs and checks of whole texts, with the real evaluator. Its machine code is kept below `target`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::actions::{DeskActions, Folders};
use super::tools::Tools;
use super::*;
use crate::coordinator::perform::{Attempt, Finding, Observe};
use crate::definition::{Severity, Source};
use crate::journal::memory::MemoryJournal;
use crate::model::{Failure, Problem, Reaction, Success};
use crate::sandbox::expression::Expressions;
use crate::sandbox::{Sandbox, SandboxConfig};

pub(super) fn evaluator() -> Arc<dyn Evaluate> {
    static EVALUATOR: OnceLock<Arc<Expressions>> = OnceLock::new();
    let made = EVALUATOR.get_or_init(|| {
        let cache_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/expression-cache").into();
        let (cache_key, memory_bytes_max) = ([7; 32], SandboxConfig::MEMORY_BYTES_MAX);
        let config = SandboxConfig { cache_dir, cache_key, memory_bytes_max, attempts_max: 4 };
        Expressions::new(&Sandbox::new(config).unwrap()).unwrap()
    });
    made.clone()
}

/// Answers calls by the action's name; notes them.
#[derive(Default)]
struct Script {
    answers: BTreeMap<String, Vec<Result<Json, u16>>>,
    calls: Mutex<Vec<String>>,
}

impl Perform for Script {
    fn run(&self, attempt: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        let name = attempt.call.callee.action().unwrap().action.to_string();
        let mut calls = self.calls.lock().unwrap();
        let before = calls.iter().filter(|call| **call == name).count();
        calls.push(name.clone());
        let answers = self.answers.get(&name).cloned().unwrap_or_default();
        let answer = answers.get(before).or(answers.last()).cloned().unwrap_or(Ok(attempt.call.arguments));
        let problem = |status| Problem { kind: String::new(), status, title: "no".to_owned(), detail: String::new() };
        async move {
            tokio::task::yield_now().await;
            let failed = |status| Failure { reaction: Reaction::Permanent, problem: problem(status) };
            answer.map(|output| Success { output, ..Success::default() }).map_err(failed)
        }
        .boxed()
    }

    fn probe(&self, _: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        std::future::ready(Ok(Finding::Unknown)).boxed()
    }
}

const HEADER: &str = "document: { dsl: '1.0.3', namespace: n, name: flow, version: '1.0.0' }\n";

pub(super) fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn plan(body: &str, input: Json, script: Script) -> Plan {
    let actions: SharedActions = Arc::new(DeskActions::new(Arc::new(Folders::default().actions), None, true));
    Plan {
        path: "flow.yaml".to_owned(),
        text: format!("{HEADER}{body}"),
        input,
        events: Vec::new(),
        time: Time::Skip(start()),
        perform: Arc::new(script),
        journal: Arc::new(MemoryJournal::new()),
        evaluator: evaluator(),
        siblings: Vec::new(),
        actions,
    }
}

async fn ran(body: &str, input: Json) -> Outcome {
    run(plan(body, input, Script::default())).await.unwrap_or_else(|found| panic!("{found:?}"))
}

#[tokio::test]
async fn a_run_gives_its_output_and_its_tasks_in_order_of_start() {
    let body = "do:
  - first: { set: { total: '${ .a + .b }' } }
  - each: { for: { in: '[1, 2]' }, do: [ { add: { set: { total: '${ .total + $item }' } } } ] }
output: { as: .total }
";
    let outcome = ran(body, json!({ "a": 1, "b": 2 })).await;
    assert_eq!((outcome.status, outcome.output), (Status::Completed, Some(json!(6))));
    let tasks: Vec<_> = outcome.tasks.iter().map(|task| (task.name.as_str(), task.iteration)).collect();
    assert_eq!(tasks, [("first", None), ("each", None), ("add", Some(0)), ("add", Some(1))]);
    assert_eq!(outcome.tasks[2].reference, "/do/1/each/do/0/add");
    assert!(outcome.tasks.iter().all(|task| task.status == Status::Completed && task.ended.is_some()));
    assert_eq!((outcome.stopped, outcome.error), (None, None));
}

#[tokio::test]
async fn a_task_is_told_whatever_is_woven_around_it_or_stands_in_a_function() {
    let body = "use:
  functions: { twice: { set: { n: '${ .n * 2 }' } } }
  extensions: [ { audit: { extend: all, before: [ { note: { set: { x: 1 } } } ], after: [ { last: { set: { x: 2 } } } ] } } ]
do:
  - one: { set: { n: 1 } }
  - two: { call: twice, with: { n: '${ .n }' } }
";
    let outcome = ran(body, Json::Null).await;
    assert_eq!(outcome.output, Some(json!({ "n": 2 })));
    let tasks: Vec<_> = outcome.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(tasks, ["one", "two"]);
}

#[tokio::test]
async fn waits_are_skipped_and_the_clock_tells_so() {
    let body = "do:
  - long: { wait: { days: 30 } }
  - longer: { wait: PT1H }
";
    let outcome = ran(body, Json::Null).await;
    assert_eq!(outcome.status, Status::Completed);
    let hour = |hours| start().checked_add(jiff::SignedDuration::from_hours(hours)).unwrap();
    let ended: Vec<_> = outcome.tasks.iter().map(|task| task.ended.unwrap()).collect();
    assert_eq!(ended, [hour(720), hour(721)]);
}

#[tokio::test]
async fn a_call_under_way_is_waited_for_before_the_clock_jumps() {
    // Were the clock to jump while the call is under way, its timeout would come first.
    let body = "do: [ { ask: { call: ask, with: { x: 1 }, timeout: { after: PT5S } } } ]\n";
    let outcome = ran(body, Json::Null).await;
    assert_eq!((outcome.status, outcome.output), (Status::Completed, Some(json!({ "x": 1 }))));
    assert_eq!((outcome.tasks[0].attempts, outcome.tasks[0].ended), (1, Some(start())));
}

#[tokio::test]
async fn a_retried_call_comes_through_and_every_try_is_told() {
    let body = "do:
  - safe:
      try: [ { ask: { call: ask } } ]
      catch: { retry: { delay: PT10M, limit: { attempt: { count: 3 } } } }
";
    let answers = [("ask".to_owned(), vec![Err(503), Err(503), Ok(json!("at last"))])].into();
    let outcome = run(plan(body, Json::Null, Script { answers, ..Script::default() })).await.unwrap();
    assert_eq!((outcome.status, outcome.output), (Status::Completed, Some(json!("at last"))));
    let asked: Vec<_> = outcome.tasks.iter().filter(|task| task.name == "ask").map(|task| task.status).collect();
    assert_eq!(asked, [Status::Faulted, Status::Faulted, Status::Completed]);
}

#[tokio::test]
async fn an_error_faults_the_run_with_its_place() {
    let body = "do: [ { stop: { raise: { error: { type: 'urn:x', status: 418 } } } } ]\n";
    let outcome = ran(body, Json::Null).await;
    let error = outcome.error.unwrap();
    assert_eq!((outcome.status, error.status, error.instance.as_deref()), (Status::Faulted, 418, Some("/do/0/stop")));
}

#[tokio::test]
async fn an_input_that_does_not_fit_faults_the_run() {
    let body = "input: { schema: { document: { required: [size] } } }\ndo: [ { a: { set: {} } } ]\n";
    let outcome = ran(body, json!({})).await;
    let error = outcome.error.unwrap();
    assert_eq!((outcome.status, error.status), (Status::Faulted, 400));
    assert!(error.kind.ends_with("/validation") && error.detail.unwrap().contains("size"));
}

#[tokio::test]
async fn a_text_that_does_not_compile_is_told_with_its_places() {
    let found = run(plan("do: [ { a: { sett: {} } } ]\n", Json::Null, Script::default())).await.unwrap_err();
    assert_eq!((found[0].code, found[0].line), ("unknown-key", 2));
}

#[tokio::test]
async fn two_runs_with_skipped_waits_are_the_same() {
    let body = "do: [ { a: { wait: PT1H } }, { b: { set: { now: '${ now }' } } } ]\n";
    assert_eq!(ran(body, Json::Null).await, ran(body, Json::Null).await);
}

#[tokio::test]
async fn real_time_passes_by_itself() {
    let body = "do: [ { a: { wait: { milliseconds: 20 } } } ]\n";
    let plan = Plan { time: Time::Real, ..plan(body, Json::Null, Script::default()) };
    let outcome = run(plan).await.unwrap();
    assert_eq!((outcome.status, outcome.stopped), (Status::Completed, None));
}

/// Findings of a text without any pack at hand.
fn found(body: &str, own: Option<&str>, packs: SharedActions) -> Vec<(&'static str, Severity)> {
    let text = format!("{HEADER}{body}");
    let own = own.map(|name| crate::model::PackName::parse(name).unwrap());
    let findings = check::check(Source { path: "a.yaml", text: &text }, &packs, own.as_ref(), &*evaluator());
    findings.into_iter().map(|finding| (finding.code, finding.severity)).collect()
}

#[test]
fn an_action_of_a_pack_that_is_not_at_hand_is_a_warning() {
    let nothing = || -> SharedActions { Arc::new(Folders::default().actions) };
    let body = "do: [ { a: { call: create } }, { b: { call: 'x:1.0.0@other', sett: 1 } } ]\n";
    let expected = [
        (check::UNCHECKED, Severity::Warning),
        (check::UNCHECKED, Severity::Warning),
        ("unknown-key", Severity::Error),
    ];
    assert_eq!(found(body, None, nothing()), expected);
}

#[test]
fn an_action_that_a_pack_at_hand_does_not_have_is_an_error() {
    let storage = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/storage");
    let file = storage.join("workflows/provision-volume.yaml");
    assert!(actions::pack_above(&file).unwrap().ends_with("packs/storage"));
    let folders = Folders::read([storage.as_path()]).unwrap();
    assert_eq!((folders.names[0].as_str(), folders.workflows.len()), ("storage", 11));
    let packs: SharedActions = Arc::new(folders.actions);
    let body = "do: [ { a: { call: create-volum } }, { b: { call: get-volume, with: { volumeId: v } } } ]\n";
    assert_eq!(found(body, Some("storage"), packs.clone()), [("unknown-action", Severity::Error)]);
    let body = "do: [ { b: { call: get-volume, with: { volum: v } } } ]\n";
    assert!(found(body, Some("storage"), packs).contains(&("action-input", Severity::Error)));
}

#[test]
fn tools_keep_their_machine_code_for_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let stamp = || {
        drop(Tools::open(Some(&cache)).unwrap());
        let entry = std::fs::read_dir(cache.join("components")).unwrap().next().unwrap().unwrap();
        (entry.file_name(), entry.metadata().unwrap().modified().unwrap())
    };
    assert_eq!(stamp(), stamp());
}

#[tokio::test]
async fn events_come_one_by_one_whenever_everything_waits() {
    let body = "do:
  - two:
      listen: { to: { any: [ { with: { type: a } } ], until: '(. | length) == 2' } }
  - last: { listen: { to: { one: { with: { type: b } } } } }
output: { as: '${ { two: $context.two, last: . } }' }
";
    let body =
        body.replace("'(. | length) == 2' } }\n", "'(. | length) == 2' } }\n      export: { as: '{ two: . }' }\n");
    let event = |kind: &str, data: i32| json!({ "type": kind, "data": data });
    let events = vec![event("b", 9), event("a", 1), event("c", 0), event("a", 2)];
    let outcome = run(Plan { events, ..plan(&body, Json::Null, Script::default()) }).await.unwrap();
    assert_eq!((outcome.status, outcome.stopped), (Status::Completed, None), "{:?}", outcome.error);
    assert_eq!(outcome.output, Some(json!({ "two": [1, 2], "last": [9] })));
}

#[tokio::test]
async fn a_run_that_waits_for_an_event_that_never_comes_says_so() {
    let body = "do: [ { hear: { listen: { to: { one: { with: { type: a } } } } } } ]\n";
    for time in [Time::Skip(start()), Time::Real] {
        let events = vec![json!({ "type": "b" })];
        let outcome = run(Plan { time, events, ..plan(body, Json::Null, Script::default()) }).await.unwrap();
        let reason = outcome.stopped.unwrap();
        assert!(reason.contains("will never come") && reason.contains("--events"), "{reason}");
        assert_eq!((outcome.status, outcome.tasks[0].status), (Status::Waiting, Status::Waiting));
    }
}

#[tokio::test]
async fn a_timeout_ends_the_waiting_for_an_event() {
    let body = "do: [ { hear: { timeout: { after: PT1H }, listen: { to: { one: { with: { type: a } } } } } } ]\n";
    let outcome = ran(body, Json::Null).await;
    assert_eq!((outcome.status, outcome.error.unwrap().status), (Status::Faulted, 408));
}

#[tokio::test]
async fn a_workflow_runs_another_one() {
    let body =
        "do: [ { child: { run: { workflow: { namespace: n, name: child, version: '1.0.0', input: { x: 2 } } } } } ]\n";
    let child = "do: [ { rest: { wait: PT1H } }, { twice: { set: { y: '${ $workflow.input.x * 2 }' } } } ]\n";
    let child = format!("{}{child}", HEADER.replace("flow", "child"));
    let siblings = vec![("child.yaml".to_owned(), child), ("broken.yaml".to_owned(), "a: 1\n".to_owned())];
    let outcome = run(Plan { siblings, ..plan(body, Json::Null, Script::default()) }).await.unwrap();
    assert_eq!((outcome.status, outcome.output), (Status::Completed, Some(json!({ "y": 4 }))), "{:?}", outcome.error);
    let outcome = ran(body, Json::Null).await;
    let detail = outcome.error.unwrap().detail.unwrap();
    assert!(detail.contains("there is no workflow `n/child` on the desk"), "{detail}");
}

#[tokio::test]
async fn tasks_that_nobody_wrote_are_not_told() {
    let body = "use:
  extensions: [ { mock: { extend: call, before: [ { instead: { set: { mocked: true }, then: exit } } ] } } ]
do: [ { ask: { call: ask } } ]
";
    let outcome = ran(body, Json::Null).await;
    assert_eq!((outcome.status, outcome.output), (Status::Completed, Some(json!({ "mocked": true }))));
    let names: Vec<_> = outcome.tasks.iter().map(|task| task.name.as_str()).collect();
    assert!(!names.contains(&"instead"), "{names:?}");
}

/// Answers requests with their path, and ends with the test.
async fn echo() -> url::Url {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let key = text.lines().find(|line| line.to_lowercase().starts_with("authorization")).unwrap_or_default();
            let body = json!({ "path": text.split(' ').nth(1), "authorization": key }).to_string();
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length";
            stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn a_request_goes_to_the_stand_in_of_its_host_and_nowhere_else() {
    use super::packs::{Given, Packs};
    let body = "use: { secrets: [token], authentications: { a: { bearer: { token: '${ $secrets.token }' } } } }
do:
  - ask:
      call: http
      with: { method: get, endpoint: { uri: 'https://jira.example/x?y=1', authentication: { use: a } } }
";
    let cache = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/desk-cache");
    let tools = Arc::new(Tools::open(Some(std::path::Path::new(cache))).unwrap());
    let mut given = Given::default();
    let asked = async |given: &Given| {
        let packs = Packs::open(given, tools.clone()).await.unwrap();
        let perform = Arc::new(packs.performer(given).unwrap());
        run(Plan { perform, ..plan(body, Json::Null, Script::default()) }).await.unwrap()
    };
    let error = asked(&given).await.error.unwrap();
    assert_eq!(error.status, 403);
    assert!(error.detail.unwrap().contains("`--allow-host jira.example`"));
    given.ways.mapped.push(("jira.example".to_owned(), echo().await));
    let error = asked(&given).await.error.unwrap();
    assert!(error.detail.as_deref().unwrap().contains("--secret NAME=VALUE"), "{error:?}");
    given.secrets.insert(crate::model::SecretName::parse("token").unwrap(), b"hush".to_vec());
    let outcome = asked(&given).await;
    let output = outcome.output.unwrap_or_else(|| panic!("{:?}", outcome.error));
    assert_eq!(output["path"], "/base/x?y=1");
    // What comes back shows no secret.
    assert!(output["authorization"].as_str().unwrap().starts_with("authorization: Bearer "));
}
