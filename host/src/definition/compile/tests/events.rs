//! Branches, events, schedules and parallel loops: what they become, and what is refused.

use jiff::SignedDuration;
use serde_json::json;

use super::{check, check_task, program};
use crate::definition::graph::{
    Consume, Flow, Listen, Match, NodeId, NodeKind, Program, Read, Schedule, Template, Until,
};

fn listen(program: &Program) -> &Listen {
    match &program.node(NodeId(0)).kind {
        NodeKind::Listen(listen) => listen,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fork_has_a_scope_of_one_task_for_each_branch() {
    let program = program(
        "\
do:
  - both:
      fork:
        compete: true
        branches:
          - left: { set: { a: 1 }, then: exit }
          - right: { do: [ { inner: { set: {} } } ] }
",
    );
    let NodeKind::Fork(fork) = &program.node(NodeId(0)).kind else { panic!("a fork") };
    assert!(fork.compete);
    let names: Vec<_> = fork.branches.iter().map(|branch| branch.name.as_str()).collect();
    assert_eq!(names, ["left", "right"]);
    let right = program.scope(fork.branches[1].body);
    assert_eq!(right.owner, Some(NodeId(0)));
    assert_eq!(program.node(right.first).reference, "/do/0/both/fork/branches/1/right");
    assert_eq!(program.node(right.first).next, Flow::Exit);
}

#[test]
fn branches_are_named_once_and_do_not_jump_to_each_other() {
    check_task("fork: {}", &["3:13 missing-key"]);
    check_task("fork: { branches: [] }", &["3:25 wrong-type"]);
    check_task("fork: { branches: [ { b: { set: {} } }, { b: { set: {} } } ] }", &["3:49 duplicate-task"]);
    check_task("fork: { branches: [ { b: { set: {}, then: c } }, { c: { set: {} } } ] }", &["3:49 jump-out-of-scope"]);
    check_task("fork: { branches: [ { b: { sett: {} } } ], compete: 1 }", &["3:34 unknown-key", "3:59 wrong-type"]);
}

#[test]
fn an_event_is_emitted_as_a_template() {
    let program =
        program("do: [ { a: { emit: { event: { with: { type: a.b, source: /x, data: { y: '${ .y }' } } } } } } ]");
    assert!(matches!(&program.node(NodeId(0)).kind, NodeKind::Emit(Template::Object(members)) if members.len() == 3));
    check_task("emit: { event: { with: { source: /x } } }", &["3:30 missing-key"]);
    check_task("emit: { event: { with: { type: a, Subject: b } } }", &["3:41 event-attribute"]);
    check_task("emit: { event: { with: { type: a, subject: { b: 1 } } } }", &["3:50 wrong-type"]);
    check_task("emit: { event: {} }", &["3:22 missing-key"]);
}

#[test]
fn listening_says_what_ends_it() {
    let one = program(
        "\
do:
  - a:
      listen:
        read: envelope
        to:
          one:
            with: { type: com.acme.done, data: '${ .ok }' }
            correlate: { id: { from: .data.id, expect: '${ $context.id }' } }
",
    );
    let one = listen(&one);
    assert_eq!((one.to.kind, one.read), (Consume::One, Read::Envelope));
    let filter = &one.to.filters[0];
    assert!(matches!(&filter.with[0].1, Match::Equals(value) if *value == json!("com.acme.done")));
    assert!(matches!(&filter.with[1].1, Match::Expression(_)));
    assert!(filter.correlate[0].expect.is_some() && filter.correlate[0].key == "id");
    let any = |until: &str| {
        let body = format!("do: [ {{ a: {{ listen: {{ to: {{ any: [], until: {until} }} }} }} }} ]");
        program(&body)
    };
    assert!(matches!(listen(&any("length > 3")).to.until, Some(Until::Holds(_))));
    assert!(matches!(listen(&any("false")).to.until, Some(Until::Never)));
    let nested = any("{ all: [ { with: { type: a } }, { with: { type: b } } ] }");
    assert!(matches!(&listen(&nested).to.until, Some(Until::Events(to)) if to.filters.len() == 2));
}

#[test]
fn a_filter_holds_values_patterns_and_expressions_at_any_depth() {
    let with = "{ type: 'com\\.x\\..*', subject: plain, data: { n: '${ . > 3 }', deep: { s: 'a|b' } } }";
    let program = program(&format!("do: [ {{ a: {{ listen: {{ to: {{ one: {{ with: {with} }} }} }} }} }} ]"));
    let with = &listen(&program).to.filters[0].with;
    assert!(matches!(&with[0].1, Match::Pattern(pattern) if pattern.text == r"com\.x\..*"));
    assert!(matches!(&with[1].1, Match::Equals(value) if *value == json!("plain")));
    let Match::Members(data) = &with[2].1 else { panic!("members") };
    assert!(matches!(&data[0].1, Match::Expression(_)));
    assert!(matches!(&data[1].1, Match::Members(deep) if matches!(deep[0].1, Match::Pattern(_))));
    check_task("listen: { to: { one: { with: { type: 'a(b)(' } } } }", &["3:44 event-pattern"]);
}

#[test]
fn each_event_may_be_worked_on() {
    let program = program(
        "\
do:
  - a:
      listen: { to: { all: [ { with: { type: a } }, { with: { type: b } } ] } }
      foreach:
        item: event
        at: number
        do: [ { b: { set: { x: '${ $event.y + $number }' } } } ]
        output: { as: .x }
        export: { as: '$context + { last: $event }' }
",
    );
    let foreach = listen(&program).foreach.as_ref().expect("foreach");
    assert_eq!((foreach.item.as_str(), foreach.index.as_str()), ("event", "number"));
    let body = program.scope(foreach.body.expect("a body"));
    assert_eq!(program.node(body.first).reference, "/do/0/a/foreach/do/0/b");
    assert!(foreach.output_as.is_some() && foreach.export_as.is_some());
}

#[test]
fn strategies_are_checked_in_place() {
    check_task("listen: {}", &["3:15 missing-key"]);
    check_task("listen: { to: {} }", &["3:21 wrong-type"]);
    check_task("listen: { to: { one: { with: { type: a } }, any: [] } }", &["3:21 wrong-type"]);
    check_task("listen: { to: { all: [] } }", &["3:28 wrong-type"]);
    check_task("listen: { to: { one: { with: {} } } }", &["3:36 wrong-type"]);
    check_task("listen: { to: { one: {} } }", &["3:28 missing-key"]);
    check_task("listen: { to: { one: { with: { type: a } }, until: 'true' } }", &["3:58 wrong-type"]);
    check_task("listen: { to: { any: [], until: true } }", &["3:39 wrong-type"]);
    check_task("listen: { to: { any: [] }, read: all }", &["3:40 wrong-type"]);
    check_task("listen: { to: { one: { with: { data: [ '${ .b }' ] } } } }", &["3:46 unsupported"]);
    check_task("listen: { to: { any: [] } }\nforeach: { output: { schema: {} } }", &["4:28 unsupported"]);
    check_task("set: {}\nforeach: {}", &["4:7 unknown-key"]);
}

#[test]
fn a_schedule_is_one_of_four() {
    let schedule = |text: &str| {
        let program = program(&format!("schedule: {{ {text} }}\ndo: [ {{ a: {{ set: {{}} }} }} ]"));
        program.schedule.expect("a schedule")
    };
    assert!(matches!(schedule("every: PT1H"), Schedule::Every(every) if every == SignedDuration::from_hours(1)));
    assert!(matches!(schedule("after: { seconds: 0 }"), Schedule::After(after) if after.is_zero()));
    for cron in ["0 6 * * mon-fri", "*/5 0-23/2 1,15 JAN-mar 7", "59 23 31 12 0", "* * * * *"] {
        assert!(matches!(schedule(&format!("cron: '{cron}'")), Schedule::Cron(text) if text == cron));
    }
    let on = schedule("on: { any: [ { with: { type: a } } ] }, read: envelope");
    assert!(matches!(on, Schedule::On(strategy, Read::Envelope) if strategy.kind == Consume::Any));
    assert!(matches!(schedule("on: { any: [] }"), Schedule::On(_, Read::Envelope)));
    assert!(matches!(schedule("on: { any: [] }, read: data"), Schedule::On(_, Read::Data)));
    let refused = |text: &str, expected: &str| {
        check(&format!("schedule: {{ {text} }}\ndo: [ {{ a: {{ set: {{}} }} }} ]"), &[expected]);
    };
    refused("every: PT1H, cron: '* * * * *'", "1:11 schedule");
    refused("", "1:11 schedule");
    refused("every: PT0.1S", "1:20 schedule");
    refused("every: '${ .x }'", "1:20 unsupported");
    refused("every: PT1H, read: data", "1:32 schedule");
    refused("hourly: 1, every: PT1H", "1:13 unknown-key");
    for cron in [
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "0 0 30 2 *",
        "a * * * *",
        "* * * * * *",
        "+1 * * * *",
        "1, * * * *",
        "@daily",
    ] {
        refused(&format!("cron: '{cron}'"), "1:19 cron");
    }
    refused("on: { one: { with: { type: '${ $context.x }' } } }", "1:40 variable-out-of-scope");
    refused("on: { any: [], until: false }", "1:35 schedule");
    refused(
        "on: { one: { with: { type: a }, correlate: { b: { from: .c, expect: '${ .d }' } } } }",
        "1:81 unsupported",
    );
}

#[test]
fn a_loop_takes_a_list_written_out() {
    let program = program("do: [ { a: { for: { in: [ { x: '${ .y }' }, 2 ] }, do: [ { b: { set: {} } } ] } } ]");
    let NodeKind::Each(each) = &program.node(NodeId(0)).kind else { panic!("a loop") };
    assert!(matches!(&each.items, Template::Array(items) if items.len() == 2));
    assert_eq!(each.parallel, None);
}

#[test]
fn a_parallel_loop_does_not_read_what_the_iteration_before_gives() {
    let loops = |tasks: &str| format!("for: {{ in: .items }}\nmetadata: {{ parallel: 8 }}\ndo:\n{tasks}");
    for body in [
        "  - b: { set: { x: '${ $item.x }' } }\n  - c: { set: { y: '${ .x }' } }",
        "  - b: { call: noop, with: { x: '${ $item | .x }' }, output: { as: .id } }",
        "  - b: { input: { from: '{ x: $item }' }, set: { y: '${ .x + $input.x }' } }",
        "  - b: { wait: PT1S }\n  - c: { set: { x: '${ $context.y }' } }\n  - d: { set: { z: '${ .x }' } }",
        "  - b: { do: [ { c: { set: '${ $item }' } } ] }\n  - d: { set: '${ .x }' }",
        "  - b: { fork: { branches: [ { c: { call: noop } } ] } }\n  - d: { set: '${ .[0] }' }",
        "  - b: { emit: { event: { with: { type: a, data: '${ $item }' } } } }\n  - d: { set: '${ .data }' }",
        "  - b: { switch: [ { c: { when: $item.x, then: d } } ] }\n  - d: { set: '${ $item }', then: exit }",
    ] {
        check_task(&loops(body), &[]);
    }
    for (body, expected) in [
        ("  - b: { set: { x: '${ .x }' } }", "6:26 parallel-chained"),
        ("  - b: { if: .x, set: {} }", "6:20 parallel-chained"),
        ("  - b: { set: '${ $input }' }", "6:21 parallel-chained"),
        ("  - b: { wait: PT1S }\n  - c: { set: { x: '${ .x }' } }", "7:26 parallel-chained"),
        ("  - b: { if: $item.x, set: {} }\n  - c: { set: { x: '${ length }' } }", "7:26 parallel-chained"),
        ("  - b: { input: { from: '.x' }, set: {} }", "6:31 parallel-chained"),
        ("  - b: { input: { schema: { document: true } }, set: {} }", "6:11 parallel-chained"),
        ("  - b: { do: [ { c: { wait: PT1S } } ] }\n  - d: { set: '${ .x }' }", "7:21 parallel-chained"),
        ("  - b: { for: { each: y, in: .xs }, do: [ { c: { set: {} } } ] }", "6:36 parallel-chained"),
        ("  - b: { call: http, with: { method: get, endpoint: 'https://a.example/{id}' } }", "6:11 parallel-chained"),
        (
            "  - b: { try: [ { c: { call: noop } } ], catch: { do: [ { d: { set: '${ .x }' } } ] } }",
            "6:75 parallel-chained",
        ),
    ] {
        check_task(&loops(body), &[expected]);
    }
}

#[test]
fn parallel_takes_a_small_number_and_no_while() {
    let loops = |parallel: &str| {
        format!("for: {{ in: .x }}\nmetadata: {{ parallel: {parallel} }}\ndo: [ {{ b: {{ set: {{}} }} }} ]")
    };
    check_task(&loops("1024"), &[]);
    for wrong in ["0", "1025", "'2'", "true"] {
        check_task(&loops(wrong), &["4:29 wrong-type"]);
    }
    check_task(&format!("{}\nwhile: $index < 3", loops("2")), &["6:14 parallel-chained"]);
    check_task("set: {}\nmetadata: { parallel: 2 }", &["4:19 unsupported-metadata"]);
}
