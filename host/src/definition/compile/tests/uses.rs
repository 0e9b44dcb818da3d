//! The header, loose mode and what else is said once for the whole workflow.

use serde_json::json;

use super::{HEADER, check, check_task, program, run, shown};
use crate::definition::graph::{NodeId, NodeKind, Template};

#[test]
fn documents_of_each_1_0_and_of_what_comes_next_are_read() {
    let document = |version: &str| HEADER.replace("1.0.3", version) + "do: [ { a: { set: {} } } ]";
    for version in ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4-alpha", "1.0.9", "1.1.0-alpha1", "main"] {
        assert!(run(&document(version)).is_ok(), "{version}");
    }
    for (version, cure) in
        [("0.8", "another language"), ("0.8.0", "another language"), ("2.0.0", "1.0.3"), ("1.1.0", "1.0.3")]
    {
        let found = run(&document(version)).expect_err(version);
        assert_eq!(found[0].code, "dsl-version");
        assert!(found[0].cure.as_deref().is_some_and(|text| text.contains(cure)), "{}", shown(&found));
    }
}

#[test]
fn in_loose_mode_each_text_is_tried() {
    let program = program(
        "evaluate: { mode: loose }\ndo: [ { a: { set: { a: .x, b: 'plain ( text', c: '5', d: '${ .y }', e: $context.z } } } ]",
    );
    let NodeKind::Eval(Template::Object(members)) = &program.node(NodeId(0)).kind else { panic!("set") };
    let [a, b, c, d, e] = members.as_slice() else { panic!("five") };
    assert!(matches!(&a.1, Template::Loose(_, text) if text == ".x"));
    assert!(matches!(&b.1, Template::Literal(value) if *value == json!("plain ( text")));
    assert!(matches!(&c.1, Template::Literal(value) if *value == json!(5)));
    assert!(matches!(&d.1, Template::Expression(_)));
    assert!(matches!(&e.1, Template::Loose(id, _) if program.expression(*id).variables == ["context"]));
    check(
        "evaluate: { language: js, mode: lose }\ndo: [ { a: { set: {} } } ]",
        &["1:23 unsupported", "1:33 wrong-type"],
    );
}

#[test]
fn metadata_that_means_something_is_read() {
    let program = program("do: [ { a: { set: {}, metadata: { shield: true } } }, { b: { set: {} } } ]");
    assert!(program.nodes[0].shield && !program.nodes[1].shield);
    check_task("set: {}\nmetadata: { shield: 1 }", &["4:27 wrong-type"]);
    check_task("set: {}\nmetadata: { heartbeat: PT1S }", &["4:19 unsupported-metadata"]);
    check_task("call: noop\nmetadata: { heartbeat: 5 }", &["4:30 duration"]);
    let program = self::program("do: [ { a: { call: noop, metadata: { heartbeat: PT30S } } } ]");
    let crate::definition::graph::NodeKind::Act(act) = &program.nodes[0].kind else { panic!("a call") };
    assert_eq!(act.heartbeat, Some(jiff::SignedDuration::from_secs(30)));
}

#[test]
fn schemas_are_written_in_place() {
    check_task("set: {}\ninput: { schema: { resource: { endpoint: x } } }", &["4:36 unsupported"]);
    check_task("set: {}\ninput: { schema: { format: avro, document: {} } }", &["4:34 unsupported"]);
}

#[test]
fn secrets_are_a_list_of_names() {
    check("use: { secrets: { a: 1 } }\ndo: [ { a: { set: {} } } ]", &["1:17 wrong-type"]);
    check("use: { secrets: [ a_b, 1 ] }\ndo: [ { a: { set: {} } } ]", &["1:19 bad-name", "1:24 wrong-type"]);
}

#[test]
fn declarations_are_checked_where_they_stand() {
    check(
        "use: { errors: { a: { type: b } }, timeouts: { c: {} } }\ndo: [ { a: { set: {} } } ]",
        &["1:21 missing-key", "1:51 missing-key"],
    );
    check("use: { error: {} }\ndo: [ { a: { set: {} } } ]", &["1:8 unknown-key"]);
    let catch =
        |with: &str| format!("try: [ {{ b: {{ set: {{}} }} }} ]\ncatch: {{ errors: {{ with: {{ {with} }} }} }}");
    check_task(&catch("details: a"), &[]);
    check_task(&catch("title: '${ .x }'"), &["4:41 unsupported"]);
}
