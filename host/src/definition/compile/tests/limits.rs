//! Sizes, times and texts that nobody would write: no panic, no hang.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{HEADER, check, program, run};
use crate::definition::Severity;
use crate::definition::yaml::to_yaml;
use crate::model::Json;

const VOLUME: &str = include_str!("../../../../tests/definitions/provision-volume.yaml");
const ESCALATION: &str = include_str!("../../../../tests/definitions/jira-escalation.yaml");
const BUCKET: &str = include_str!("../../../../tests/definitions/migrate-bucket.yaml");

/// Uses everything that the other documents do not.
const REST: &str = "\
document: { dsl: '1.0.3', namespace: test, name: rest, version: '1.0.0' }
evaluate: { mode: loose }
schedule: { cron: '0 6 * * mon-fri' }
use:
  secrets: [ jira ]
  authentications: { a: { bearer: { token: '${ $secrets.jira }' } } }
  functions: { f: { call: http, with: { method: get, endpoint: { uri: 'https://a.example/{id}', authentication: { use: a } } } } }
  extensions: [ { e: { extend: all, when: $context.x, before: [ { b: { set: {} } } ], after: [ { c: { wait: PT1S } } ] } } ]
do:
  - one: { call: f, with: { id: '${ .id }' } }
  - two: { run: { workflow: { namespace: a, name: b, version: '1.0.0' }, await: false } }
  - three: { for: { in: [ { x: 1 } ] }, metadata: { parallel: 2 }, do: [ { d: { set: { y: '${ $item }' } } } ] }
  - four: { listen: { to: { any: [], until: { one: { with: { type: a } } } } }, foreach: { do: [ { g: { set: {} } } ] } }
  - five: { switch: [ { again: { when: .x, then: one } }, { other: { then: end } } ] }
";

/// Far more than a text of a few kilobytes needs, unoptimised and beside other tests; a hang takes for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whatever the text is: an answer in time, and a refusal that says why.
fn survives(text: &str) {
    let start = Instant::now();
    if let Err(found) = run(text) {
        assert!(found.iter().any(|found| found.severity == Severity::Error), "refused without a reason:\n{text}");
    }
    assert!(start.elapsed() < PATIENCE, "took {:?}:\n{text}", start.elapsed());
}

#[test]
fn the_document_that_uses_the_rest_compiles() {
    assert!(run(REST).is_ok(), "{:?}", run(REST).err());
}

fn chain(tasks: usize) -> String {
    let task = |number| format!("  - t{number}: {{ call: noop, with: {{ a: '${{ .a }}' }} }}\n");
    format!("do:\n{}", (0..tasks).map(task).collect::<String>())
}

#[test]
fn ten_thousand_tasks_compile() {
    let start = Instant::now();
    assert_eq!(program(&chain(10_000)).nodes.len(), 10_000);
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
    let tasks: String = (0..20_001).map(|number| format!("  - t{number}: {{ wait: PT1S }}\n")).collect();
    let over = run(&format!("{HEADER}do:\n{tasks}"));
    let found = over.expect_err("too many");
    assert!(found.iter().any(|found| found.code == "too-many-tasks"), "{:?}", found.last());
}

#[test]
fn ten_thousand_tasks_in_one_round_are_one_finding() {
    let mut body = chain(10_000);
    body.push_str("  - back: { set: {}, then: t0 }\n");
    check(&body, &["2:5 loop-without-wait-or-timeout"]);
}

#[test]
fn functions_that_multiply_are_stopped() {
    let function = |number: usize| {
        let calls: String = (0..10).map(|call| format!("{{ c{call}: {{ call: f{} }} }}, ", number + 1)).collect();
        format!("    f{number}: {{ do: [ {calls} ] }}\n")
    };
    let functions: String = (0..8).map(function).collect();
    let body = format!("use:\n  functions:\n{functions}    f8: {{ set: {{}} }}\ndo: [ {{ a: {{ call: f0 }} }} ]\n");
    let found = run(&format!("{HEADER}{body}")).expect_err("too many");
    assert!(found.iter().any(|found| found.code == "too-many-tasks"), "{found:?}");
}

#[test]
fn declarations_that_are_used_very_often_are_stopped() {
    let members: String = (0..2_000).map(|number| format!("m{number}: {number}, ")).collect();
    let tasks: String = (0..5_000).map(|number| format!("  - t{number}: {{ call: f }}\n")).collect();
    let text = format!("{HEADER}use: {{ functions: {{ f: {{ set: {{ {members} }} }} }} }}\ndo:\n{tasks}");
    survives(&text);
    assert!(run(&text).expect_err("too large").iter().all(|found| found.code == "too-large"));
    let text = format!(
        "{HEADER}use: {{ retries: {{ r: {{ {members} }} }} }}\ndo:\n{}",
        tasks.replace("call: f", "try: [ { a: { wait: PT1S } } ], catch: { retry: r }")
    );
    survives(&text);
    survives(&format!("{HEADER}do:\n{}", tasks.replace("call: f", "wait: PT1S, timeout: missing")));
}

#[test]
fn functions_that_nest_are_stopped() {
    let function = |number: usize| format!("    f{number}: {{ do: [ {{ c: {{ call: f{} }} }} ] }}\n", number + 1);
    let functions: String = (0..60).map(function).collect();
    let body = format!("use:\n  functions:\n{functions}    f60: {{ set: {{}} }}\ndo: [ {{ a: {{ call: f0 }} }} ]\n");
    let found = run(&format!("{HEADER}{body}")).expect_err("too deep");
    assert!(found.iter().all(|found| found.code == "too-deep"), "{found:?}");
}

#[test]
fn very_many_findings_are_counted() {
    let tasks: String = (0..2_000).map(|number| format!("  - t{number}: {{ sett: {{}} }}\n")).collect();
    let found = run(&format!("{HEADER}do:\n{tasks}")).expect_err("refused");
    assert_eq!((found.len(), found[0].code), (501, "too-many-findings"), "{}", found[0]);
}

/// Data whose keys and texts are words of the language.
fn words() -> impl Strategy<Value = Json> {
    let key = prop::sample::select(vec![
        "document",
        "use",
        "do",
        "for",
        "in",
        "each",
        "while",
        "try",
        "catch",
        "retry",
        "errors",
        "with",
        "fork",
        "branches",
        "listen",
        "to",
        "one",
        "any",
        "all",
        "until",
        "foreach",
        "emit",
        "event",
        "run",
        "workflow",
        "call",
        "set",
        "switch",
        "when",
        "then",
        "wait",
        "raise",
        "error",
        "extensions",
        "extend",
        "before",
        "after",
        "functions",
        "authentications",
        "secrets",
        "schedule",
        "cron",
        "on",
        "input",
        "from",
        "output",
        "as",
        "schema",
        "export",
        "timeout",
        "metadata",
        "parallel",
        "type",
        "status",
        "a",
        "b",
        "f",
    ]);
    let text = prop::sample::select(vec![
        "a",
        "b",
        "f",
        "http",
        "noop",
        "${ .a }",
        "${ $secrets.a }",
        ".a",
        "PT1S",
        "exit",
        "end",
        "all",
        "get",
        "https://a.example/{id}",
        "* * * * *",
        "${",
        "",
        "1.0.0",
        "latest",
    ]);
    let leaf = prop_oneof![
        text.prop_map(Json::from),
        any::<bool>().prop_map(Json::from),
        (-2i64..1_030).prop_map(Json::from),
        Just(Json::Null),
    ];
    leaf.prop_recursive(8, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|members| {
                Json::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_broken_document_is_refused_and_never_panics(
        document in 0usize..4, cut in 0usize..5_000, length in 0usize..40, put in r#"[a-z:\-\[\]{},&*'"$ \n]{0,12}"#,
    ) {
        let text = [VOLUME, ESCALATION, BUCKET, REST][document];
        let edge = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (from, to) = (edge(cut), edge(cut + length));
        survives(&format!("{}{put}{}", &text[..from], &text[to..]));
    }

    #[test]
    fn a_document_with_swapped_lines_never_panics(document in 0usize..4, from in 0usize..100, to in 0usize..100) {
        let mut lines: Vec<&str> = [VOLUME, ESCALATION, BUCKET, REST][document].lines().collect();
        let count = lines.len();
        lines.swap(from % count, to % count);
        survives(&lines.join("\n"));
    }

    #[test]
    fn random_data_in_the_languages_own_words_never_panics(uses in words(), tasks in words(), more in words()) {
        let uses = to_yaml(&serde_json::json!({"use": uses})).unwrap();
        let tasks = to_yaml(&serde_json::json!({"do": [{"a": tasks}, {"b": more}]})).unwrap();
        survives(&format!("{HEADER}{uses}{tasks}"));
    }

    #[test]
    fn random_text_never_panics(text in r#"[a-z\-:\[\]{},&*!|>'"%@#~$. \n0-9é]{0,120}"#) {
        survives(&text);
    }
}
