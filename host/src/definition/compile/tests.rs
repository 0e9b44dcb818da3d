//! What the language takes, refuses and warns of, as tables of texts. Programs of jq are judged by a stand-in here: the
//! real evaluator has tests of its own.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;

use crate::definition::evaluate::{Bindings, Evaluate, ExpressionError};
use crate::definition::graph::{ActionRef, Expression, Flow, NodeId, NodeKind, Program, Template};
use crate::definition::{ActionDeclaration, Actions, Compiled, Diagnostic, LookupError, Source, compile, expression};
use crate::model::{ActionName, Digest, Effect, Json, PackName, standard};

mod calls;
mod events;
mod limits;
mod uses;
mod weaving;

/// Packs that have every action, for whole documents.
const OTHER_PACKS: [&str; 4] = ["block-storage", "object-storage", "jira", "chat"];

/// Knows `create-volume` with a schema and `noop` without, in its own pack and in `storage` 1.2.0.
struct Pack;

impl Actions for Pack {
    fn action(
        &self,
        pack: Option<&PackName>,
        version: Option<&semver::Version>,
        name: &ActionName,
    ) -> Result<ActionDeclaration, LookupError> {
        let own = PackName::parse("storage").expect("a name");
        let pack = pack.unwrap_or(&own);
        if OTHER_PACKS.contains(&pack.as_str()) {
            let version = version.expect("of another pack").clone();
            return Ok(declaration(
                ActionRef { pack: pack.clone(), version, action: name.clone(), component: component() },
                None,
            ));
        }
        if *pack != own {
            return Err(LookupError::Pack { pack: pack.clone(), known: vec!["storage".to_owned()] });
        }
        let newest = semver::Version::new(1, 2, 0);
        let version = version.unwrap_or(&newest);
        if *version != newest {
            let (pack, version) = (pack.clone(), version.clone());
            return Err(LookupError::Version { pack, version, known: vec!["1.2.0".to_owned()] });
        }
        let input = match name.as_str() {
            "create-volume" => Some(Arc::new(json!({
                "type": "object", "required": ["size"], "additionalProperties": false,
                "properties": {"size": {"type": "integer", "minimum": 1}, "type": {"type": "string"}},
            }))),
            "noop" => None,
            _ => {
                let known = vec!["create-volume".to_owned(), "noop".to_owned()];
                return Err(LookupError::Action { pack: pack.clone(), action: name.clone(), known });
            }
        };
        let (pack, version, action) = (pack.clone(), version.clone(), name.clone());
        Ok(declaration(ActionRef { pack, version, action, component: component() }, input))
    }
}

fn component() -> Digest {
    Digest::of(b"component")
}

fn declaration(action: ActionRef, input: Option<Arc<Json>>) -> ActionDeclaration {
    ActionDeclaration {
        action,
        effect: Effect::Once,
        timeout: SignedDuration::from_secs(30),
        input,
        output: None,
        probe: false,
        undo: false,
    }
}

/// Takes for jq whatever has balanced brackets, no `${` and only bound variables.
struct Judge;

impl Evaluate for Judge {
    fn evaluate(&self, _: &Program, _: &Expression, _: &Bindings<'_>) -> Result<Json, ExpressionError> {
        unreachable!("compiling runs nothing")
    }

    fn check(&self, text: &str, variables: &[&str]) -> Result<(), String> {
        let count = |brackets: [char; 2]| brackets.map(|bracket| text.matches(bracket).count());
        let balanced = [['(', ')'], ['[', ']'], ['{', '}']].iter().all(|pair| {
            let [open, close] = count(*pair);
            open == close
        });
        match expression::variables(text).iter().find(|name| !variables.contains(name) && **name != "local") {
            Some(name) => Err(format!("there is no variable ${name}")),
            None if !balanced || text.contains("${") => Err("expected something else".to_owned()),
            None => Ok(()),
        }
    }
}

const HEADER: &str = "document: { dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0' }\n";

fn run(text: &str) -> Result<Compiled, Vec<Diagnostic>> {
    compile(Source { path: "flow.yaml", text }, &Pack, &Judge)
}

fn program(body: &str) -> Program {
    match run(&format!("{HEADER}{body}")) {
        Ok(compiled) => compiled.program,
        Err(found) => panic!("{body}\n{}", shown(&found)),
    }
}

fn shown(found: &[Diagnostic]) -> String {
    found.iter().map(|found| format!("{found}\n")).collect()
}

/// Compiles what follows the header; line 1 of `body` is line 1 in `expected`, which holds `line:column code`.
fn check(body: &str, expected: &[&str]) {
    let found = match run(&format!("{HEADER}{body}")) {
        Ok(compiled) => compiled.warnings,
        Err(found) => found,
    };
    let codes: Vec<String> =
        found.iter().map(|found| format!("{}:{} {}", found.line - 1, found.column, found.code)).collect();
    assert_eq!(codes, expected, "\n{body}\n{}", shown(&found));
}

/// One task `a` with these lines.
fn check_task(task: &str, expected: &[&str]) {
    let body: String = task.lines().map(|line| format!("      {line}\n")).collect();
    check(&format!("do:\n  - a:\n{body}"), expected);
}

#[test]
fn the_whole_slice_compiles_without_a_finding() {
    check(
        "\
input:
  schema: { format: json, document: { type: object, required: [ size ] } }
  from: '{ size: .size }'
output: { as: '{ id: $context.volume.id }', schema: { document: { type: object } } }
timeout: { after: PT1H }
evaluate: { language: jq, mode: strict }
use:
  retries:
    transient:
      delay: { seconds: 2 }
      backoff: { exponential: {} }
      jitter: { from: { milliseconds: 0 }, to: { seconds: 1 } }
      limit: { attempt: { count: 5, duration: PT10S }, duration: { minutes: 5 } }
  timeouts:
    short: { after: { minutes: 10 } }
  errors:
    broken: { type: 'https://acme.example/errors/broken', status: 502, title: Broken, detail: '${ .fault }' }
do:
  - guarded:
      timeout: short
      try:
        - create:
            if: .size > 0
            call: create-volume:1.2.0@storage
            with: { size: '${ $input.size }', type: standard }
            metadata: { effect: idempotent, note: 1 }
            export: { as: '$context + { volume: . }' }
        - again:
            try: [ { act: { call: noop } } ]
            catch:
              errors: { with: { type: 'https://serverlessworkflow.io/spec/1.0.0/errors/communication', status: 503 } }
              as: problem
              when: $problem.status == 503
              exceptWhen: $problem.title == \"no\"
              retry: transient
              do: [ { note: { set: { error: '${ $problem }' } } } ]
              then: exit
      catch:
        do:
          - rethrow: { raise: { error: '${ $error }' } }
  - poll:
      for: { each: server, at: at, in: .servers }
      while: $at < 5
      do:
        - look: { call: noop, with: { name: '${ $server }' } }
        - decide:
            switch:
              - ready: { when: .ready, then: exit }
              - broken: { when: .broken, then: giveUp }
              - other: { then: pause }
        - pause: { wait: { seconds: 5 }, then: look }
        - giveUp: { raise: { error: broken } }
  - done:
      set: { done: true }
      then: end
",
        &[],
    );
}

#[test]
fn the_graph_says_what_the_text_says() {
    let program = program(
        "\
do:
  - first: { set: { a: '${ .x }', b: [ 1, '${ 2 }' ] } }
  - pick:
      switch:
        - back: { when: .again, then: first }
        - other: { then: continue }
  - last:
      try: [ { act: { call: noop, metadata: { effect: idempotent } } } ]
      catch: { errors: { with: { type: 'https://serverlessworkflow.io/dsl/errors/types/timeout' } }, then: pick }
      then: exit
timeout: { after: { days: 2 } }
",
    );
    let [first, pick, last, act] = program.nodes.as_slice() else { panic!("four nodes") };
    assert_eq!((first.reference.as_str(), first.then), ("/do/0/first", Flow::To(NodeId(1))));
    let NodeKind::Eval(Template::Object(members)) = &first.kind else { panic!("set") };
    assert!(matches!(&members[1].1, Template::Literal(value) if *value == json!([1, 2])), "{members:?}");
    let NodeKind::Route(ways) = &pick.kind else { panic!("switch") };
    assert_eq!((ways[0].flow, ways[1].flow), (Flow::To(NodeId(0)), Flow::To(NodeId(2))));
    let NodeKind::Scope(block) = &last.kind else { panic!("try") };
    let catch = block.catch.as_ref().expect("catch");
    assert_eq!(catch.with.kind, Some(format!("{}timeout", standard::BASE)));
    assert_eq!((catch.then, last.then, last.next), (Some(Flow::To(NodeId(1))), Flow::Exit, Flow::Exit));
    assert_eq!((act.reference.as_str(), act.scope), ("/do/2/last/try/0/act", block.body));
    let NodeKind::Act(act) = &act.kind else { panic!("call") };
    assert_eq!(act.effect, Effect::Idempotent);
    assert_eq!(program.scope(block.body).owner, Some(NodeId(2)));
    assert_eq!(program.root.0, 0);
}

#[test]
fn a_call_names_its_action_exactly() {
    check_task("call: noop", &[]);
    check_task("call: noop:1.2.0@storage", &[]);
    for call in [
        "storage/noop",
        "storage.noop",
        "noop:1.2.0",
        "noop@storage",
        "noop@1.2.0",
        "noop:1.2@storage",
        "noop:1.2.0@default",
        "https://example.com/function.yaml",
        "'a b'",
    ] {
        check_task(&format!("call: {call}"), &["3:13 call-syntax"]);
    }
    for call in ["nop", "noop:1.0.0@storage"] {
        check_task(&format!("call: {call}"), &["3:13 unknown-action"]);
    }
    check_task("call: noop:1.2.0@storag", &["3:13 undeclared-catalog"]);
    for call in ["grpc", "asyncapi", "a2a", "mcp"] {
        check_task(&format!("call: {call}\nwith: {{ a: 1 }}"), &["3:13 unsupported"]);
    }
}

#[test]
fn literal_arguments_are_held_to_the_actions_schema() {
    check_task("call: create-volume\nwith: { size: 1 }", &[]);
    check_task("call: create-volume\nwith: { size: '${ .x }', type: '${ .y }' }", &[]);
    check_task("call: create-volume\nwith: { size: '${ .x }', wrong: '${ .y }' }", &["4:13 action-input"]);
    check_task("call: create-volume\nwith: { size: '${ .x }', type: 1 }", &["4:38 action-input"]);
    check_task("call: create-volume\nwith: { type: '${ .x }' }", &["4:13 action-input"]);
    check_task("call: create-volume\nwith:\n  size: 0\n  typ: x", &["5:9 action-input", "5:15 action-input"]);
    check_task("call: create-volume", &["3:13 action-input"]);
}

#[test]
fn unknown_keys_are_refused_with_the_near_one() {
    check_task("sett: {}", &["3:7 unknown-key"]);
    check_task("set: {}\nThen: exit", &["4:7 unknown-key"]);
    check_task("wait: { second: 5 }", &["3:15 unknown-key"]);
    check_task("wait: PT1S\ncatch: {}", &["4:7 unknown-key"]);
    check("do: [ { a: { set: {} } } ]\ntimout: { after: PT1S }", &["2:1 unknown-key"]);
    let found = run(&format!("{HEADER}do: [ {{ a: {{ sett: {{}} }} }} ]")).expect_err("refused");
    assert_eq!(found[0].cure.as_deref(), Some("did you mean `set`?"));
}

#[test]
fn variables_are_seen_where_they_are_bound() {
    check_task("if: $input.x\nset: {}", &["3:11 variable-out-of-scope"]);
    check_task("set: { a: '${ $output }' }", &["3:17 variable-out-of-scope"]);
    check_task("set: {}\nexport: { as: '$context + $output + $input' }", &[]);
    check_task("set: { a: '${ $error }' }", &["3:17 variable-out-of-scope"]);
    check_task("set: { a: '${ . as $local | $local }' }", &[]);
    check_task("for: { in: .x }\nwhile: $index < 3\ndo: [ { b: { set: { x: '${ $item }' } } } ]", &[]);
    check_task("for: { in: $item }\ndo: [ { b: { set: {} } } ]", &["3:18 variable-out-of-scope"]);
    check("input: { from: $context.x }\ndo: [ { a: { set: {} } } ]", &["1:16 variable-out-of-scope"]);
    check_task("for: { in: .x, each: context }\ndo: [ { b: { set: {} } } ]", &["3:28 variable-name"]);
    check_task("for: { in: .x, each: $a }\ndo: [ { b: { set: {} } } ]", &["3:28 variable-name"]);
}

#[test]
fn only_the_variables_that_are_read_are_bound() {
    let program = program("do: [ { a: { set: { x: '${ $context.a + .b }', y: '${ $context.a }' } } } ]");
    let read: Vec<_> = program.expressions.iter().map(|one| (one.variables.join(","), one.path.is_some())).collect();
    assert_eq!(read, [("context".to_owned(), false), ("context".to_owned(), true)]);
}

#[test]
fn expressions_are_compiled_at_install() {
    check_task("set: { a: '${ .a | (.b }' }", &["3:17 expression-syntax"]);
    check_task("set: { a: '${ .a } and ${ .b }' }", &["3:17 expression-syntax"]);
    check_task("set: { a: '${ }' }", &["3:17 expression-syntax"]);
    check_task("if: true\nset: {}", &["3:11 wrong-type"]);
    check_task("set: { a: 'Hello ${ .name }' }", &["3:17 text-with-embedded-expression"]);
    check_task("set: { a: .b }", &[]);
}

#[test]
fn flow_stays_in_its_list() {
    check(
        "\
do:
  - outer:
      do:
        - inner: { set: {}, then: later }
  - later: { set: {}, then: nowhere }
",
        &["4:35 jump-out-of-scope", "5:29 unknown-jump-target"],
    );
    check("do:\n  - a: { set: {} }\n  - a: { set: {} }\n", &["3:5 duplicate-task"]);
    check("do:\n  - end: { set: {} }\n", &["2:5 reserved-name"]);
    check("do:\n  - a: { set: {}, then: end }\n  - b: { set: {} }\n", &["3:5 unreachable-task"]);
    check("do:\n  - a: { if: .x, set: {}, then: end }\n  - b: { set: {} }\n", &[]);
    check("do: []", &["1:5 wrong-type"]);
    check("do:\n  - a: { set: {} }\n    b: { set: {} }\n", &["2:5 wrong-type"]);
}

#[test]
fn a_loop_that_nothing_slows_is_warned_of() {
    let poll = "do:\n  - look: { call: noop }\n  - pick: { switch: [ { again: { when: .x, then: look } } ] }\n";
    check(poll, &["2:5 loop-without-wait-or-timeout"]);
    check(&format!("{poll}timeout: {{ after: PT1H }}"), &[]);
    let slow = "do:\n  - look: { call: noop }\n  - pause: { wait: PT1S, then: look }\n";
    check(slow, &[]);
}

#[test]
fn names_of_use_have_to_be_declared() {
    check_task("timeout: short\nset: {}", &["3:16 undeclared-timeout"]);
    check_task("raise: { error: broken }", &["3:23 undeclared-error"]);
    check_task("try: [ { b: { set: {} } } ]\ncatch: { retry: often }", &["4:23 undeclared-retry"]);
    check(
        "use: { retries: { bad: { dely: PT1S } } }\ndo: [ { a: { set: {} } } ]",
        &["1:24 retry-without-limit", "1:26 unknown-key"],
    );
}

#[test]
fn retries_and_errors_are_checked_in_place() {
    let task = |retry: &str| format!("try: [ {{ b: {{ set: {{}} }} }} ]\ncatch:\n  retry: {retry}");
    check_task(&task("{ delay: PT1S, limit: { attempt: { count: 2 } } }"), &[]);
    check_task(&task("{ delay: PT1S }"), &["5:16 retry-without-limit"]);
    check_task(&task("{ backoff: { fast: {} }, when: 'true' }"), &["5:29 unknown-key"]);
    check_task(&task("{ limit: { attempt: { count: -1 } } }"), &["5:45 wrong-type"]);
    check_task(&task("{ jitter: { from: PT2S, to: PT1S }, when: .x }"), &["5:26 duration"]);
    check_task(&task("{ delay: '${ .x + $error.status }', when: .x }"), &[]);
    check_task(&task("{ limit: { duration: '${ .x }' } }"), &[]);
    check_task(&task("{ limit: { duration: '${ $error.x }' } }"), &["5:37 variable-out-of-scope"]);
    check_task(&task("{ jitter: { from: PT2S, to: PT1S }, when: .x }"), &["5:26 duration"]);
    check_task("raise: { error: { type: x, status: '${ .x }' } }", &["3:42 wrong-type"]);
    check_task("raise: { error: { type: x } }", &["3:23 missing-key"]);
    check_task("wait: P1M", &["3:13 duration"]);
    check_task("wait: {}", &["3:13 duration"]);
    check_task("wait: '${ .x }'", &[]);
}

#[test]
fn a_schema_is_judged_where_it_stands() {
    check_task(
        "set: {}\ninput:\n  schema:\n    document:\n      type: object\n      properties: { a: { type: strin } }",
        &["8:38 schema"],
    );
}

#[test]
fn all_faults_are_told_at_once() {
    check(
        "do:\n  - a: { sett: {} }\n  - b: { call: nop }\n  - c: { set: { x: '${ ( }' }, then: d }\n",
        &["2:10 unknown-key", "3:16 unknown-action", "4:20 expression-syntax", "4:38 unknown-jump-target"],
    );
}

#[test]
fn the_header_is_checked() {
    let found = run("document: { dsl: '0.8', namespace: a_b, name: x, version: 1.0 }\ndo: [ { a: { set: {} } } ]")
        .expect_err("refused");
    let codes: Vec<_> = found.iter().map(|found| found.code).collect();
    assert_eq!(codes, ["dsl-version", "bad-name", "wrong-type"], "{}", shown(&found));
    assert_eq!(run("").expect_err("refused")[0].code, "wrong-type");
    assert_eq!(run("{").expect_err("refused")[0].code, "yaml-syntax");
}

/// Complete documents that use the whole language.
#[test]
fn documents_of_the_whole_language_compile() {
    for text in [
        include_str!("../../../tests/definitions/provision-volume.yaml"),
        include_str!("../../../tests/definitions/jira-escalation.yaml"),
        include_str!("../../../tests/definitions/migrate-bucket.yaml"),
    ] {
        let compiled = run(text).unwrap_or_else(|found| panic!("{}", shown(&found)));
        assert!(compiled.warnings.is_empty(), "{}", shown(&compiled.warnings));
    }
}
