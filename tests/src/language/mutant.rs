//! Deliberately wrong runtimes. Each must make at least one case fail, or the suite does not bite.

use std::sync::Arc;

use orchestrator_host::definition::evaluate::{Bindings, Evaluate, ExpressionError};
use orchestrator_host::definition::graph::{
    Backoff, Catch, Duration, Expression, Flow, Node, NodeKind, PathStep, Program,
};
use orchestrator_host::machine::record::Record;
use orchestrator_host::machine::state::State;
use orchestrator_host::model::Json;

use super::prepared::Prepared;

/// A wrong runtime.
pub struct Mutant {
    /// What it does wrong.
    pub name: &'static str,
    /// How.
    pub wrong: Wrong,
}

/// What is wrong with it.
pub enum Wrong {
    /// It computes other values: the pointer, the bindings' `.` and the true value give the false one.
    Value(fn(&str, &Json, Json) -> Json),
    /// It evaluates what expressions give once more.
    Again,
    /// It runs another program.
    Program(fn(&mut Program)),
    /// It writes other records.
    Record(fn(&Program, &State, &mut Record) -> bool),
}

/// All of them.
pub fn all() -> Vec<Mutant> {
    let mut all = values();
    all.push(("evaluates data", Wrong::Again));
    all.extend(programs());
    all.extend(records());
    all.into_iter().map(|(name, wrong)| Mutant { name, wrong }).collect()
}

fn values() -> Vec<(&'static str, Wrong)> {
    fn negated(ending: &str, pointer: &str, value: Json) -> Json {
        if pointer.ends_with(ending) { Json::from(matches!(value, Json::Null | Json::Bool(false))) } else { value }
    }
    vec![
        ("negates `if`", Wrong::Value(|pointer, _, value| negated("/if", pointer, value))),
        ("negates `when`", Wrong::Value(|pointer, _, value| negated("/when", pointer, value))),
        ("negates `exceptWhen`", Wrong::Value(|pointer, _, value| negated("/exceptWhen", pointer, value))),
        ("negates `while`", Wrong::Value(|pointer, _, value| negated("/while", pointer, value))),
        (
            "leaves `input.from` out",
            Wrong::Value(|pointer, dot, value| if pointer.ends_with("/input/from") { dot.clone() } else { value }),
        ),
        (
            "leaves `output.as` out",
            Wrong::Value(|pointer, dot, value| if pointer.ends_with("/output/as") { dot.clone() } else { value }),
        ),
        (
            "takes 0 and empty text for false",
            Wrong::Value(|pointer, _, value| {
                let empty = value == 0 || value == "";
                if empty && (pointer.ends_with("/if") || pointer.ends_with("/when")) {
                    Json::from(false)
                } else {
                    value
                }
            }),
        ),
    ]
}

fn nodes(program: &mut Program, change: impl Fn(&mut Node)) {
    program.nodes.iter_mut().for_each(change);
}

fn catches(program: &mut Program, change: impl Fn(&mut Catch)) {
    nodes(program, |node| {
        if let NodeKind::Scope(block) = &mut node.kind {
            block.catch.iter_mut().for_each(&change);
        }
    });
}

fn programs() -> Vec<(&'static str, Wrong)> {
    vec![
        (
            "retries once too often",
            Wrong::Program(|program| {
                catches(program, |catch| {
                    if let Some(count) = catch.retry.as_mut().and_then(|retry| retry.count.as_mut()) {
                        *count += 1;
                    }
                });
            }),
        ),
        (
            "waits twice as long before the first exponential retry",
            Wrong::Program(|program| {
                catches(program, |catch| {
                    for retry in catch.retry.iter_mut().filter(|retry| retry.backoff == Backoff::Exponential) {
                        if let Duration::Fixed(delay) = &mut retry.delay {
                            *delay *= 2;
                        }
                    }
                });
            }),
        ),
        (
            "takes linear backoff for constant",
            Wrong::Program(|program| {
                catches(program, |catch| {
                    for retry in catch.retry.iter_mut().filter(|retry| retry.backoff == Backoff::Linear) {
                        retry.backoff = Backoff::Constant;
                    }
                });
            }),
        ),
        (
            "draws no jitter",
            Wrong::Program(|program| {
                catches(program, |catch| catch.retry.iter_mut().for_each(|retry| retry.jitter = None));
            }),
        ),
        (
            "knows no limit for one attempt",
            Wrong::Program(|program| {
                catches(program, |catch| catch.retry.iter_mut().for_each(|retry| retry.attempt_duration = None));
            }),
        ),
        (
            "knows no limit for all attempts",
            Wrong::Program(|program| {
                catches(program, |catch| catch.retry.iter_mut().for_each(|retry| retry.total_duration = None));
            }),
        ),
        ("catches whatever the type", Wrong::Program(|program| catches(program, |catch| catch.with.kind = None))),
        ("catches whatever the status", Wrong::Program(|program| catches(program, |catch| catch.with.status = None))),
        ("catches whatever the title", Wrong::Program(|program| catches(program, |catch| catch.with.title = None))),
        ("catches whatever the detail", Wrong::Program(|program| catches(program, |catch| catch.with.detail = None))),
        ("catches wherever it was", Wrong::Program(|program| catches(program, |catch| catch.with.instance = None))),
        ("passes over `catch.do`", Wrong::Program(|program| catches(program, |catch| catch.handler = None))),
        ("passes over `catch.then`", Wrong::Program(|program| catches(program, |catch| catch.then = None))),
        (
            "follows the `then` of a skipped task",
            Wrong::Program(|program| {
                nodes(program, |node| node.next = node.then);
            }),
        ),
        (
            "takes `exit` for `end`",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    let change = |flow: &mut Flow| {
                        if *flow == Flow::Exit && node.next != Flow::Exit {
                            *flow = Flow::End
                        }
                    };
                    change(&mut node.then);
                });
            }),
        ),
        (
            "takes `end` for `exit`",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if node.then == Flow::End {
                        node.then = Flow::Exit
                    }
                });
            }),
        ),
        (
            "takes the default where it stands",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Route(ways) = &mut node.kind
                        && let Some(place) = ways.iter().position(|way| way.guard.is_none())
                    {
                        ways.swap(0, place);
                        ways.truncate(1);
                    }
                });
            }),
        ),
        (
            "takes the last case that holds",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Route(ways) = &mut node.kind {
                        ways.reverse()
                    }
                });
            }),
        ),
        (
            "checks no input",
            Wrong::Program(|program| {
                nodes(program, |node| node.frame.input_schema = None);
            }),
        ),
        ("checks no output", Wrong::Program(|program| nodes(program, |node| node.frame.output_schema = None))),
        ("checks no context", Wrong::Program(|program| nodes(program, |node| node.frame.export_schema = None))),
        ("checks no workflow input", Wrong::Program(|program| program.frame.input_schema = None)),
        ("checks no workflow output", Wrong::Program(|program| program.frame.output_schema = None)),
        (
            "checks no action's input",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Act(act) = &mut node.kind {
                        act.input_schema = None
                    }
                });
            }),
        ),
        (
            "checks no action's output",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Act(act) = &mut node.kind {
                        act.output_schema = None
                    }
                });
            }),
        ),
        ("knows no timeout of a task", Wrong::Program(|program| nodes(program, |node| node.frame.timeout = None))),
        ("knows no timeout of the workflow", Wrong::Program(|program| program.frame.timeout = None)),
        (
            "counts the items of an array from 1",
            Wrong::Program(|program| {
                for expression in &mut program.expressions {
                    for step in expression.path.iter_mut().flat_map(|path| path.steps.iter_mut()) {
                        if let PathStep::Index(index) = step {
                            *index += 1;
                        }
                    }
                }
            }),
        ),
        (
            "lets every branch of a competition end",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Fork(fork) = &mut node.kind {
                        fork.compete = false
                    }
                });
            }),
        ),
        (
            "lets every fork compete",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Fork(fork) = &mut node.kind {
                        fork.compete = true
                    }
                });
            }),
        ),
        (
            "runs parallel loops in order",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Each(each) = &mut node.kind {
                        each.parallel = None
                    }
                });
            }),
        ),
        ("knows no shield", Wrong::Program(|program| nodes(program, |node| node.shield = false))),
        (
            "reads whole events as data",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Listen(listen) = &mut node.kind {
                        listen.read = orchestrator_host::definition::graph::Read::Envelope;
                    }
                });
            }),
        ),
        (
            "listens until one event came",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Listen(listen) = &mut node.kind {
                        listen.to.until = None
                    }
                });
            }),
        ),
        (
            "correlates nothing",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Listen(listen) = &mut node.kind {
                        listen.to.filters.iter_mut().for_each(|filter| filter.correlate.clear());
                    }
                });
            }),
        ),
        (
            "waits for what is detached",
            Wrong::Program(|program| {
                nodes(program, |node| {
                    if let NodeKind::Act(act) = &mut node.kind {
                        act.detached = false
                    }
                });
            }),
        ),
    ]
}

fn kind_of<'a>(program: &'a Program, state: &State, record: &Record) -> Option<&'a NodeKind> {
    let Record::Left { activation, .. } = record else { return None };
    let (node, _) = state.place_of(*activation)?;
    Some(&program.node(node).kind)
}

fn records() -> Vec<(&'static str, Wrong)> {
    vec![
        (
            "forgets what is exported",
            Wrong::Record(|_, _, record| match record {
                Record::Left { context, .. } => context.take().is_some(),
                _ => false,
            }),
        ),
        (
            "gives a fork's outputs in reverse",
            Wrong::Record(|program, state, record| {
                if !matches!(kind_of(program, state, record), Some(NodeKind::Fork(_))) {
                    return false;
                }
                let Record::Left { activation, output, .. } = record else { return false };
                let raw = output.clone().or_else(|| state.raw_output_of(*activation));
                let Some(Json::Array(items)) = raw.as_deref() else { return false };
                *output = Some(Arc::new(items.iter().rev().cloned().collect()));
                true
            }),
        ),
        (
            "merges what `set` gives into the data",
            Wrong::Record(|program, state, record| {
                if !matches!(kind_of(program, state, record), Some(NodeKind::Eval(_))) {
                    return false;
                }
                let Record::Left { activation, output: Some(output), .. } = record else { return false };
                let input = state.input_of(*activation).cloned();
                let (Some(Json::Object(input)), Json::Object(set)) = (input.as_deref(), &**output) else {
                    return false;
                };
                let mut merged = input.clone();
                merged.extend(set.clone());
                *output = Arc::new(Json::Object(merged));
                true
            }),
        ),
        (
            "places no error",
            Wrong::Record(|_, _, record| match record {
                Record::Failed { error, .. } => error.instance.take().is_some(),
                _ => false,
            }),
        ),
        (
            "completes what is cancelled",
            Wrong::Record(|_, _, record| match record {
                Record::Ended { end } if *end == orchestrator_host::machine::record::End::Cancelled => {
                    *end = orchestrator_host::machine::record::End::Completed { output: Arc::new(Json::Null) };
                    true
                }
                _ => false,
            }),
        ),
    ]
}

/// An evaluator that gives false values.
pub struct Lying<'a> {
    /// The true one.
    pub real: &'a dyn Evaluate,
    /// What it makes of the truth.
    pub lie: fn(&str, &Json, Json) -> Json,
}

impl Evaluate for Lying<'_> {
    fn evaluate(
        &self,
        program: &Program,
        expression: &Expression,
        bindings: &Bindings<'_>,
    ) -> Result<Json, ExpressionError> {
        let value = self.real.evaluate(program, expression, bindings)?;
        Ok((self.lie)(&expression.pointer, &bindings.input, value))
    }

    fn check(&self, text: &str, variables: &[&str]) -> Result<(), String> {
        self.real.check(text, variables)
    }
}

/// An evaluator that takes what it gave for an expression.
struct Repeating<'a>(&'a dyn Evaluate);

impl Evaluate for Repeating<'_> {
    fn evaluate(
        &self,
        program: &Program,
        expression: &Expression,
        bindings: &Bindings<'_>,
    ) -> Result<Json, ExpressionError> {
        let value = self.0.evaluate(program, expression, bindings)?;
        let inner = value.as_str().and_then(|text| text.strip_prefix("${")?.strip_suffix('}'));
        let Some(inner) = inner else { return Ok(value) };
        let again = Expression { text: inner.trim().to_owned(), path: None, ..expression.clone() };
        self.0.evaluate(program, &again, bindings)
    }

    fn check(&self, text: &str, variables: &[&str]) -> Result<(), String> {
        self.0.check(text, variables)
    }
}

impl Mutant {
    /// Whether the case notices that this runtime is wrong.
    pub fn is_caught_by(&self, prepared: &Prepared, evaluator: &dyn Evaluate) -> bool {
        match &self.wrong {
            Wrong::Value(lie) => {
                let lying = Lying { real: evaluator, lie: *lie };
                fails(prepared, super::pure::Run::new(prepared, &lying))
            }
            Wrong::Again => fails(prepared, super::pure::Run::new(prepared, &Repeating(evaluator))),
            Wrong::Program(change) => recompiled(prepared, evaluator, *change),
            Wrong::Record(tamper) => fails(prepared, super::pure::Run::new(prepared, evaluator).tampered(tamper)),
        }
    }
}

/// A program cannot be copied, so it is made once more.
fn recompiled(prepared: &Prepared, evaluator: &dyn Evaluate, change: fn(&mut Program)) -> bool {
    let Ok(super::prepared::Looked::Taken(mut own)) = super::prepared::prepare(&prepared.case, evaluator) else {
        return false;
    };
    let Some(program) = Arc::get_mut(&mut own.program) else { return false };
    change(program);
    fails(&own, super::pure::Run::new(&own, evaluator))
}

fn fails(prepared: &Prepared, mut run: super::pure::Run<'_>) -> bool {
    let outcome = run.begin(prepared.case.raw_input()).and_then(|()| run.finish(&mut super::pure::First));
    match outcome {
        Ok(outcome) => !super::judge::complaints(&prepared.case, &outcome, super::judge::Order::Exact).is_empty(),
        Err(_) => true,
    }
}
