//! Extensions: the shape of what they weave around tasks.

use super::{check, program};
use crate::definition::graph::{Block, Flow, Node, NodeKind, Program, ScopeId};

fn extended(extension: &str, tasks: &str) -> Program {
    program(&format!("use:\n  extensions:\n    - watch: {{ {extension} }}\ndo:\n{tasks}"))
}

/// A scope as text: the nodes in the order of their numbers, each with where it leads.
fn drawn(program: &Program, scope: ScopeId) -> String {
    let of_scope = program.nodes.iter().filter(|node| node.scope == scope);
    of_scope.map(|node| one(program, node)).collect::<Vec<_>>().join(", ")
}

fn one(program: &Program, node: &Node) -> String {
    let flow = |flow: Flow| match flow {
        Flow::To(id) => shown(program.node(id)),
        Flow::Exit => "exit".to_owned(),
        Flow::End => "end".to_owned(),
    };
    let inside = match &node.kind {
        NodeKind::Scope(Block { body, keep_input, .. }) if node.hidden => {
            format!("{}[{}]", if *keep_input { "keep" } else { "" }, drawn(program, *body))
        }
        NodeKind::Route(ways) => {
            format!("?{}", ways.iter().map(|way| flow(way.flow)).collect::<Vec<_>>().join("|"))
        }
        _ => String::new(),
    };
    format!("{}{inside}->{}", shown(node), flow(node.then))
}

fn shown(node: &Node) -> String {
    let kind = match &node.kind {
        NodeKind::Act(_) => "act",
        NodeKind::Eval(_) => "set",
        NodeKind::Recall => return "recall".to_owned(),
        NodeKind::Route(_) if node.hidden => return "when".to_owned(),
        NodeKind::Scope(_) if node.hidden => return "block".to_owned(),
        NodeKind::Route(_) => "switch",
        _ => "task",
    };
    format!("{kind}:{}{}", node.name, if node.frame.condition.is_some() { "?" } else { "" })
}

#[test]
fn an_extended_task_stands_in_a_block_with_what_is_around_it() {
    let program = extended(
        "extend: call, when: .x, before: [ { note: { set: {} } } ], after: [ { count: { set: {} } } ]",
        "  - a: { call: noop, then: c }\n  - b: { set: {} }\n  - c: { set: {} }",
    );
    assert_eq!(
        drawn(&program, program.root),
        "block[when?set:note->act:a, recall->act:a, set:note->recall, act:a->block, \
         blockkeep[set:count->exit]->exit]->set:c, set:b->set:c, set:c->exit"
    );
    let act = program.nodes.iter().find(|node| matches!(node.kind, NodeKind::Act(_))).expect("a call");
    assert_eq!((act.reference.as_str(), act.hidden), ("/do/0/a", false));
    let note = program.nodes.iter().find(|node| node.name.as_str() == "note").expect("a task before");
    assert_eq!((note.reference.as_str(), note.hidden), ("/use/extensions/0/watch/before/0/note", true));
    let keeps = program.nodes.iter().find(|node| matches!(node.kind, NodeKind::Scope(Block { keep_input: true, .. })));
    assert!(keeps.expect("a block after").frame.condition.is_some());
}

#[test]
fn leaving_the_tasks_before_skips_the_task() {
    let program = extended(
        "extend: call, before: [ { mock: { set: { id: 1 }, then: exit } } ]",
        "  - a: { if: .x, call: noop }\n  - b: { set: {} }",
    );
    assert_eq!(drawn(&program, program.root), "block[recall->act:a, set:mock->exit, act:a->exit]->set:b, set:b->exit");
    let block = program.node(program.scope(program.root).first);
    assert!(block.frame.condition.is_some(), "a skipped task skips what is around it");
}

#[test]
fn a_switch_leads_itself() {
    let program = extended(
        "extend: all, before: [ { note: { wait: PT1S } } ], after: [ { count: { wait: PT1S } } ]",
        "  - a: { switch: [ { x: { when: .x, then: a } }, { y: { when: .y, then: end } } ], then: exit }",
    );
    assert_eq!(
        drawn(&program, program.root),
        "block[recall->exit, task:note->recall]->switch:a, switch:a?block|block->block, \
         blockkeep[task:count->exit]->block, blockkeep[task:count->exit]->end, blockkeep[task:count->exit]->exit"
    );
}

#[test]
fn the_first_extension_is_the_outermost_and_tasks_inside_are_extended_too() {
    let program = program(
        "\
use:
  extensions:
    - outer: { extend: set, before: [ { o: { wait: PT1S } } ] }
    - inner: { extend: set, after: [ { i: { set: {} } } ] }
    - every: { extend: composite, before: [ { e: { wait: PT1S } } ] }
do:
  - list: { do: [ { a: { set: {} } } ] }
",
    );
    assert_eq!(drawn(&program, program.root), "block[recall->task:list, task:e->recall, task:list->exit]->exit");
    let list = program.nodes.iter().find(|node| node.name.as_str() == "list" && !node.hidden).expect("the list");
    let NodeKind::Scope(block) = &list.kind else { panic!("a block") };
    assert_eq!(
        drawn(&program, block.body),
        "block[recall->block, task:o->recall, block[set:a->block, blockkeep[set:i->exit]->exit]->exit]->exit"
    );
}

#[test]
fn extensions_are_checked_even_when_nothing_fits() {
    let with = |extension: &str| {
        format!("use: {{ extensions: [ {{ x: {{ {extension} }} }} ] }}\ndo: [ {{ a: {{ set: {{}} }} }} ]")
    };
    check(&with("extend: call, before: [ { b: { call: nop } } ]"), &["1:66 unknown-action"]);
    check(&with("extend: cal"), &["1:37 wrong-type"]);
    check(&with("before: [ { b: { set: {} } } ]"), &["1:27 missing-key"]);
    check(&with("extend: set, when: '( .x', before: [ { b: { set: {} } } ]"), &["1:48 expression-syntax"]);
    check(&with("extend: set, before: [ { b: { set: {}, then: a } } ]"), &["1:74 jump-out-of-scope"]);
    check(&with("extend: set, around: 1"), &["1:42 unknown-key"]);
}
