//! What came of a run, and what of it is not as the case wants it.

use jiff::SignedDuration;
use orchestrator_host::definition::graph::{NodeKind, Program};
use orchestrator_host::machine::record::{ActivationId, End, Record, Stamped};
use orchestrator_host::model::{ErrorObject, Json};

use super::case::{CallExpected, Case, ErrorExpected, Fire, duration};
use super::world;

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The last status.
    pub status: String,
    /// The output.
    pub output: Option<Json>,
    /// The error.
    pub error: Option<ErrorObject>,
    /// The tasks in order of their starts.
    pub tasks: Vec<String>,
    /// The calls in order: callee and arguments.
    pub calls: Vec<(String, Json)>,
    /// The events published.
    pub emitted: Vec<Json>,
    /// From birth to the last record.
    pub took: SignedDuration,
    /// What the sink was told, each event once; absent where there is none.
    pub told: Option<Vec<String>>,
    /// The instances that a schedule started: when after its birth, and their inputs.
    pub fires: Option<Vec<(SignedDuration, Json)>>,
}

/// How strictly a run is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Tasks and calls come in the order written.
    Exact,
    /// They are the same, in whatever order.
    Any,
}

/// Reads what came of a run from its records.
pub fn outcome(program: &Program, records: &[Stamped]) -> Outcome {
    let mut nodes = std::collections::BTreeMap::new();
    let first = records.first().map_or(super::birth(), |first| first.at);
    let last = records.last().map_or(first, |last| last.at);
    let mut read = Outcome { status: "waiting".to_owned(), took: last.duration_since(first), ..Outcome::default() };
    for stamped in records {
        match &stamped.record {
            Record::Entered(entered) => {
                let node = program.node(entered.node);
                nodes.insert(entered.activation, entered.node);
                if !node.hidden {
                    read.tasks.push(node.name.to_string());
                }
            }
            Record::Intent { activation, attempt: 1, arguments, .. } => {
                read.calls.extend(called(program, nodes.get(activation), arguments));
            }
            Record::Emitted { event, .. } => read.emitted.push(Json::clone(event)),
            Record::Ended { end } => read.end(end),
            _ => {}
        }
    }
    read
}

fn called(
    program: &Program,
    node: Option<&orchestrator_host::definition::graph::NodeId>,
    arguments: &Json,
) -> Option<(String, Json)> {
    match &program.node(*node?).kind {
        NodeKind::Act(act) => Some((world::label(&act.callee, arguments), arguments.clone())),
        _ => None,
    }
}

/// The node that each activation entered.
pub fn nodes_of(
    records: &[Stamped],
) -> std::collections::BTreeMap<ActivationId, orchestrator_host::definition::graph::NodeId> {
    let entered = records.iter().filter_map(|stamped| match &stamped.record {
        Record::Entered(entered) => Some((entered.activation, entered.node)),
        _ => None,
    });
    entered.collect()
}

impl Outcome {
    fn end(&mut self, end: &End) {
        match end {
            End::Completed { output } => {
                self.status = "completed".to_owned();
                self.output = Some(Json::clone(output));
            }
            End::Faulted { error } => {
                self.status = "faulted".to_owned();
                self.error = Some(error.clone());
            }
            End::Cancelled => self.status = "cancelled".to_owned(),
        }
    }

    /// What does not depend on the order in which things came.
    pub fn settled(&self) -> (String, Option<Json>, Option<ErrorObject>, Vec<String>, Vec<String>) {
        let mut tasks = self.tasks.clone();
        tasks.sort();
        let mut calls: Vec<_> = self.calls.iter().map(|(to, with)| format!("{to} {with}")).collect();
        calls.sort();
        (self.status.clone(), self.output.clone(), self.error.clone(), tasks, calls)
    }
}

/// What of the outcome is not as the case wants it.
pub fn complaints(case: &Case, got: &Outcome, order: Order) -> Vec<String> {
    let expect = &case.expect;
    let mut found = Vec::new();
    let mut compare = |what: &str, wanted: String, fits: bool, got: String| {
        if !fits {
            found.push(format!("{what}: expected {wanted}, got {got}"));
        }
    };
    if let Some(wanted) = &expect.status {
        let why = got.error.as_ref().map(|error| error.to_json().to_string()).unwrap_or_default();
        compare("status", wanted.clone(), *wanted == got.status, format!("{} {why}", got.status));
    }
    if let Some(wanted) = &expect.output {
        let fits = got.output.as_ref().is_some_and(|output| same(wanted, output));
        compare("output", wanted.to_string(), fits, format!("{:?}", got.output.as_ref().map(Json::to_string)));
    }
    if let Some(wanted) = &expect.error {
        let fits = got.error.as_ref().is_some_and(|error| same_error(wanted, error));
        compare("error", format!("{wanted:?}"), fits, format!("{:?}", got.error));
    }
    if let Some(wanted) = &expect.tasks {
        let (wanted, tasks) = (ordered(wanted.clone(), order), ordered(got.tasks.clone(), order));
        compare("tasks", format!("{wanted:?}"), wanted == tasks, format!("{tasks:?}"));
    }
    if let Some(wanted) = &expect.calls {
        compare("calls", format!("{wanted:?}"), same_calls(wanted, &got.calls, order), format!("{:?}", got.calls));
    }
    if let Some(wanted) = &expect.emitted {
        let fits = wanted.len() == got.emitted.len() && each_finds_one(wanted, &got.emitted, order, holds);
        compare("emitted", format!("{wanted:?}"), fits, format!("{:?}", got.emitted));
    }
    if let (Some(wanted), Some(told)) = (&expect.told, &got.told) {
        compare("told", format!("{wanted:#?}"), wanted == told, format!("{told:#?}"));
    }
    if let (Some(wanted), Some(fires)) = (&expect.fires, &got.fires) {
        compare("fires", format!("{wanted:?}"), same_fires(wanted, fires), format!("{fires:?}"));
    }
    if let Some(wanted) = &expect.took {
        let fits = duration(wanted).is_ok_and(|wanted| wanted == got.took);
        compare("took", wanted.clone(), fits, format!("{:#}", got.took));
    }
    found
}

fn ordered(mut names: Vec<String>, order: Order) -> Vec<String> {
    if order == Order::Any {
        names.sort();
    }
    names
}

/// Equal, where `<any>` is equal to everything. A whole number is equal to the same number written with a fraction.
pub fn same(wanted: &Json, got: &Json) -> bool {
    match (wanted, got) {
        (Json::String(any), _) if any == "<any>" => true,
        (Json::Number(one), Json::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => wanted == got,
    }
}

/// Whether all that is wanted is there; what is not named is not looked at.
fn holds(wanted: &Json, got: &Json) -> bool {
    match (wanted, got) {
        (Json::Object(one), Json::Object(other)) => {
            one.iter().all(|(name, value)| other.get(name).is_some_and(|other| holds(value, other)))
        }
        _ => same(wanted, got),
    }
}

fn same_error(wanted: &ErrorExpected, got: &ErrorObject) -> bool {
    let kind = wanted.kind.as_ref().is_none_or(|kind| *kind == got.kind || got.kind.rsplit('/').next() == Some(kind));
    let text = |wanted: &Option<String>, got: &Option<String>| wanted.is_none() || wanted == got;
    let part = |wanted: &Option<String>| {
        wanted.as_ref().is_none_or(|part| got.detail.as_ref().is_some_and(|detail| detail.contains(part.as_str())))
    };
    kind && wanted.status.is_none_or(|status| status == got.status)
        && text(&wanted.instance, &got.instance)
        && text(&wanted.title, &got.title)
        && text(&wanted.detail, &got.detail)
        && part(&wanted.detail_has)
}

fn same_fires(wanted: &[Fire], got: &[(SignedDuration, Json)]) -> bool {
    let fits = |(wanted, got): (&Fire, &(SignedDuration, Json))| {
        duration(&wanted.at).is_ok_and(|at| at == got.0)
            && wanted.input.as_ref().is_none_or(|input| holds(input, &got.1))
    };
    wanted.len() == got.len() && wanted.iter().zip(got).all(fits)
}

/// What of the calls as they left is not as the case wants it.
pub fn complaints_about_calls(case: &Case, opened: &[(String, Json)]) -> Vec<String> {
    let wrong = case.expect.opened.iter().filter(|wanted| !same_calls(wanted, opened, Order::Any));
    wrong.map(|wanted| format!("opened: expected {wanted:?}, got {opened:?}")).collect()
}

fn same_calls(wanted: &[CallExpected], got: &[(String, Json)], order: Order) -> bool {
    let fits = |wanted: &CallExpected, got: &(String, Json)| {
        wanted.to == got.0 && wanted.with.as_ref().is_none_or(|with| holds(with, &got.1))
    };
    wanted.len() == got.len() && each_finds_one(wanted, got, order, fits)
}

/// Each one that is wanted is there: in its place, or in whatever place.
fn each_finds_one<W, G>(wanted: &[W], got: &[G], order: Order, fits: impl Fn(&W, &G) -> bool) -> bool {
    if order == Order::Exact {
        return wanted.iter().zip(got).all(|(wanted, got)| fits(wanted, got));
    }
    let mut left: Vec<&G> = got.iter().collect();
    wanted.iter().all(|wanted| {
        let place = left.iter().position(|got| fits(wanted, got));
        place.map(|place| left.remove(place)).is_some()
    })
}
