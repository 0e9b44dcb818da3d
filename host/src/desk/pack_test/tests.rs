//! Whole packs under test: what a test file may say, what fails a case, and what a crash must not change. The actions
//! are answered by the files, except in the packs that are tested end to end.

use std::path::Path;
use std::sync::Arc;

use super::{BenchError, Options, PackTest, Report, Verdict};
use crate::definition::Diagnostic;
use crate::desk::tools::Tools;

const MANIFEST: &str = "format: 1
name: shop
version: 1.0.0
world: orchestrator:pack/action@0.1
connections: { backend: { description: a shop } }
uses: { connections: [backend], hosts: [api.example] }
components: { shop: actions/shop.wasm }
actions:
  buy: { component: shop, effect: once, output: buy.json }
  look: { component: shop, effect: idempotent }
workflows: [flow.yaml]
";
const OUTPUT: &str = r#"{"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}"#;
const HEADER: &str = "document: { dsl: '1.0.3', namespace: shop, name: flow, version: '1.0.0' }\n";

fn tools() -> Arc<Tools> {
    let cache = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/desk-cache");
    Arc::new(Tools::open(Some(Path::new(cache))).unwrap())
}

/// A pack with one workflow and one test file.
struct Shop(tempfile::TempDir);

impl Shop {
    fn new(flow: &str, cases: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tests")).unwrap();
        let flow = format!("{HEADER}{flow}");
        let cases = format!("workflow: flow\ncases:\n{cases}");
        let files = [("pack.yaml", MANIFEST), ("buy.json", OUTPUT), ("flow.yaml", &flow), ("tests/flow.yaml", &cases)];
        for (path, text) in files {
            std::fs::write(folder.path().join(path), text).unwrap();
        }
        Self(folder)
    }

    async fn open(&self) -> Result<PackTest, BenchError> {
        PackTest::open(self.0.path(), &[], tools()).await
    }

    async fn run(&self, crash: bool) -> (Report, Vec<Verdict>) {
        let mut verdicts = Vec::new();
        let mut test = self.open().await.map_err(shown).unwrap();
        let report = test.run(&Options { case: None, crash }, &mut |verdict| verdicts.push(verdict)).await;
        (report, verdicts)
    }

    /// What is wrong with the one case there is.
    async fn faults(&self) -> Vec<String> {
        let (_, verdicts) = self.run(false).await;
        let fault = |fault: &super::Fault| {
            let parts = [Some(&fault.what), fault.expected.as_ref(), fault.got.as_ref(), fault.cure.as_ref()];
            parts.into_iter().flatten().cloned().collect::<Vec<_>>().join(" | ")
        };
        verdicts[0].faults.iter().map(fault).collect()
    }
}

fn shown(error: BenchError) -> String {
    match error {
        BenchError::Findings(findings) => findings.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"),
        BenchError::Failed(text) => text,
    }
}

const ASK: &str = "do:
  - ask: { call: http, with: { method: get, endpoint: 'connection://backend/items/1?full=yes' } }
";

#[tokio::test]
async fn a_request_takes_the_first_entry_that_fits_and_is_not_used_up() {
    let cases = "  - name: asked
    outside:
      - { request: GET /items/1, query: { full: 'no' }, reply: { json: { is: other } }, times: always }
      - { request: 'GET /items/1?full=yes', reply: { json: { is: this, instance: '${instance}' } } }
    expect: { status: completed, output: { is: this, instance: '${instance}' }, tasks: { ask: 1 } }
";
    let (report, verdicts) = Shop::new(ASK, cases).run(true).await;
    assert_eq!((report.passed, report.failed), (1, 0), "{verdicts:?}");
    assert!(verdicts[0].crashes > 0);
    assert_eq!(report.coverage[0].percent(), 100);
}

#[tokio::test]
async fn what_is_not_as_expected_is_told_with_what_to_do() {
    let entry = "outside: [ { request: 'GET /items/1', reply: { json: { a: 1 } } } ]";
    #[rustfmt::skip]
    let cases: &[(&str, &str, &[&str])] = &[
        ("", "{}", &["a request has no entry: GET /items/1?full=yes", "add `- request: GET /items/1`"]),
        ("outside: [ { request: 'GET /items/1', body: { a: 1 }, reply: {} } ]", "{}",
            &["line 4 asks for another: body ``"]),
        ("outside: [ { request: 'GET /items/2', times: 2, reply: {} }, { request: GET /items/1, reply: {} } ]", "{}",
            &["an entry was not used up: GET /items/2", "used 0 of 2 times", "`times: always`"]),
        (entry, "{ output: { a: 2, b: null } }", &["output /a | 2 | 1", "output /b | null | nothing"]),
        (entry, "{ status: faulted }", &["the instance's end | faulted | completed with {\"a\":1}"]),
        (entry, "{ tasks: { ask: 2 } }", &["how often the task `ask` is entered | 2 | 1"]),
        ("outside: [ { request: 'GET /items/1', reply: { status: 404, text: gone } } ]", "{ error: { status: 410 } }",
            &["error /status | 410 | 404"]),
        ("outside: [ { request: 'GET /items/1', failure: timeout } ]", "{}", &["completed | faulted: "]),
    ];
    for (outside, expect, told) in cases {
        let shop = Shop::new(ASK, &format!("  - name: a\n    {outside}\n    expect: {expect}\n"));
        let faults = shop.faults().await.join("\n");
        for text in *told {
            assert!(faults.contains(text), "{outside}: `{text}` is not in\n{faults}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_wrong_is_told_whole_with_places_and_cures() {
    let cases = "  - name: a
    outside:
      - { request: GTE /x, reply: {} }
      - { request: GET /x, conection: backend, reply: { status: 99 } }
      - { request: GET /x, connection: backnd, reply: {} }
      - { request: GET /x }
    actions:
      - { action: bui, output: {} }
      - { action: buy, output: { id: 1 } }
    expect: { status: done, tasks: { bye: 1 } }
  - name: a
    expect: {}
";
    let flow = "do: [ { buy: { call: buy } } ]\n";
    let Err(BenchError::Findings(findings)) = Shop::new(flow, cases).open().await else { panic!("it has errors") };
    let found: Vec<_> = findings.iter().map(|one| (one.line, one.message.as_str(), one.cure.as_deref())).collect();
    let expected = [
        (5, "`GTE /x` is no request", Some("methods are")),
        (6, "an entry of `outside` has no key `conection`", Some("`connection`")),
        (6, "this is no status", Some("100 to 599")),
        (7, "the pack asks for no connection `backnd`", Some("`backend`")),
        (8, "an entry has one of `reply` and `failure`", Some("failure: timeout")),
        (10, "the workflow `flow` calls no action `bui`", Some("`buy`")),
        (11, "`buy` never gives this: `/id`: 1 is not of type \"string\"", Some("output schema")),
        (12, "no instance ends as `done`", Some("completed")),
        (13, "two cases are called `a`", Some("a name of its own")),
    ];
    for (line, message, cure) in expected {
        let told = found.iter().any(|(at, text, help)| {
            *at == line && *text == message && help.is_some_and(|help| cure.is_none_or(|cure| help.contains(cure)))
        });
        assert!(told, "{line}: {message} is not among {found:#?}");
    }
}

#[tokio::test]
async fn a_call_that_may_be_made_once_is_not_repeated_by_a_crash() {
    let flow = "do:
  - tried:
      try: [ { buy: { call: buy, with: { what: lamp } } } ]
      catch: { do: [ { tell: { set: { told: true } } } ] }
  - rest: { wait: P30D }
  - look: { call: look, with: { id: '${ .id }' } }
";
    let cases = "  - name: bought
    actions:
      - { action: buy, output: { id: i-1 } }
      - { action: look, output: { state: paid } }
    expect:
      status: completed
      output: { state: paid }
      arguments: { buy: { what: lamp }, look: { id: i-1 } }
";
    // Where the outcome is unknown, the workflow goes its own way, and `look` has no answer for that.
    let lenient = cases.replace(
        "{ action: look, output: { state: paid } }",
        "{ action: look, output: { state: paid }, times: always }",
    );
    let (report, verdicts) = Shop::new(flow, &lenient).run(true).await;
    assert_eq!((report.passed, report.failed), (1, 0), "{verdicts:#?}");
    assert!(verdicts[0].crashes >= 6, "{}", verdicts[0].crashes);
    let missed: Vec<_> = report.coverage[0].catches.missed.clone();
    assert_eq!(missed, ["tried: catches"]);
    assert_eq!(report.coverage[0].tasks.missed, ["tried > tell"]);
}

#[tokio::test]
async fn events_and_a_cancellation_come_from_the_file() {
    let flow = "do:
  - hear: { listen: { to: { one: { with: { type: paid } } } } }
  - rest: { wait: P1D }
";
    let heard = "  - name: heard
    events: [ { type: other }, { type: paid, data: { by: ann, of: '${instance}' } } ]
    expect: { status: completed, output: [ { by: ann, of: '${instance}' } ] }
  - name: cancelled
    events: [ { type: paid, data: {} } ]
    cancel: rest
    expect: { status: cancelled, tasks: { rest: 1 } }
  - name: left
    expect: { status: waiting }
";
    let (report, verdicts) = Shop::new(flow, heard).run(true).await;
    assert_eq!((report.passed, report.failed), (3, 0), "{verdicts:#?}");
}

#[tokio::test]
async fn an_action_of_another_pack_is_answered_by_the_file_alone() {
    let flow = "do: [ { tell: { call: 'notify:1.0.0@notification', with: { title: hi } } } ]\n";
    let answered = "  - name: told
    actions: [ { action: 'notify:1.0.0@notification', permanent: { type: 'urn:x', status: 410, detail: no } } ]
    expect:
      error: { type: 'urn:x', status: 410 }
      arguments: { 'notify:1.0.0@notification': { title: hi } }
";
    assert_eq!(Shop::new(flow, answered).faults().await, Vec::<String>::new());
    let faults = Shop::new(flow, "  - name: told\n    expect: {}\n").faults().await.join("\n");
    assert!(faults.contains("add `- action: notify:1.0.0@notification`"), "{faults}");
}

#[tokio::test]
async fn a_component_that_is_not_built_is_told() {
    let flow = "do: [ { look: { call: look } } ]\n";
    let faults = Shop::new(flow, "  - name: looked\n    expect: {}\n").faults().await.join("\n");
    assert!(faults.contains("is not built") && faults.contains("orchctl pack build"), "{faults}");
}

#[tokio::test]
async fn a_host_is_asked_by_its_url() {
    let flow = "do: [ { ask: { call: http, with: { method: get, endpoint: 'https://api.example/x' } } } ]\n";
    let cases = "  - name: asked
    outside: [ { request: 'GET https://api.example/x', reply: { json: [1] } } ]
    expect: { output: [1] }
";
    assert_eq!(Shop::new(flow, cases).faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn only_the_chosen_cases_are_run() {
    let cases = "  - name: one thing\n    expect: {}\n  - name: another\n    expect: {}\n";
    let shop = Shop::new("do: [ { a: { set: {} } } ]\n", cases);
    let mut test = shop.open().await.map_err(shown).unwrap();
    let mut names = Vec::new();
    let options = Options { case: Some("other".to_owned()), crash: false };
    let report = test.run(&options, &mut |verdict| names.push(verdict.name)).await;
    assert_eq!((report.passed, report.filtered, names), (1, 1, vec!["another".to_owned()]));
}

#[tokio::test]
async fn mail_needs_a_connection_for_it_and_ends_in_one_way() {
    let check = async |manifest: &str, entry: &str, expected: &[&str]| {
        let shop = Shop::new(ASK, &format!("  - name: a\n    outside: [ {entry} ]\n    expect: {{}}\n"));
        std::fs::write(shop.0.path().join("pack.yaml"), manifest).unwrap();
        let told = shop.open().await.err().map(shown).unwrap_or_default();
        for text in expected {
            assert!(told.contains(text), "{entry}: `{text}` is not in\n{told}");
        }
    };
    check(MANIFEST, "{ mail: { subject: s } }", &["the pack asks for no connection for mail (`kind: smtp`)"]).await;
    let manifest = MANIFEST.replace("{ backend: { description: a shop }", "{ post: { kind: smtp }, backend: {}");
    check(&manifest, "{ mail: { subject: s }, connection: backend }", &["known here: post"]).await;
    check(&manifest, "{ mail: { subject: s }, failure: timeout }", &["known here: refused, interrupted, unavailable"])
        .await;
    check(&manifest, "{ mail: { subject: s }, failure: refused, filtered: no }", &["remove one"]).await;
    check(&manifest, "{ mail: { subject: s }, reply: {} }", &["has no key `reply`"]).await;
}
