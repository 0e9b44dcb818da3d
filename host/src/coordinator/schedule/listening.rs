//! Which events start a workflow (`schedule.on`): a small evaluation of an event strategy over the events of the inbox, in
//! order. What correlations expect is written out or taken from the first event that is held.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::events::Arrival;
use crate::definition::evaluate::{Bindings, Evaluate};
use crate::definition::graph::{Consume, ExpressionId, Filter, Program, Read, Strategy, Template, Until};
use crate::machine::values::{RUNTIME, reading};
use crate::model::Json;

/// Events that wait for others to start a workflow together, at most: they are its input, and one row.
const HELD_MAX: usize = 1000;

/// Bytes of them, at most.
const HELD_BYTES_MAX: usize = 8 << 20;

/// An event that does not suffice yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The filter it fits.
    filter: u32,
    /// It fits a filter of `until`: not part of the input.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    until: bool,
    /// What becomes part of the input.
    value: Arc<Json>,
    /// What correlations expect of the others, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    expects: BTreeMap<String, Json>,
}

/// The filter that an event fits, and what correlations learn from it.
type Fit = (u32, BTreeMap<String, Json>);

/// What an event led to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Taken {
    /// The events that wait from now on.
    pub(super) held: Vec<Held>,
    /// The input of the workflow that starts.
    pub(super) fires: Option<Json>,
    /// Whether anything has changed.
    pub(super) changed: bool,
}

/// An event strategy, and what it needs to be computed.
pub(super) struct Listening<'a> {
    pub(super) program: &'a Program,
    pub(super) evaluator: &'a dyn Evaluate,
    pub(super) strategy: &'a Strategy,
    pub(super) read: Read,
}

impl Listening<'_> {
    /// Takes the next event.
    pub(super) fn take(&self, mut held: Vec<Held>, arrival: &Arrival) -> Taken {
        let changed = self.hold(&mut held, arrival);
        if !self.is_complete(&held, arrival.at) || !changed {
            return Taken { held, fires: None, changed };
        }
        let input = held.into_iter().filter(|held| !held.until).map(|held| Arc::unwrap_or_clone(held.value));
        Taken { held: Vec::new(), fires: Some(Json::Array(input.collect())), changed: true }
    }

    /// Adds the event where it fits; says whether it does.
    fn hold(&self, held: &mut Vec<Held>, arrival: &Arrival) -> bool {
        let event = &arrival.event;
        let mut changed = false;
        if let Some((filter, expects)) = self.fitting(self.strategy, held, false, arrival) {
            let value = Arc::new(reading(event, self.read));
            changed = has_place(held, &value);
            if changed {
                held.push(Held { filter, until: false, value, expects });
            }
        }
        if let Some(Until::Events(until)) = &self.strategy.until
            && let Some((filter, expects)) = self.fitting(until, held, true, arrival)
        {
            held.push(Held { filter, until: true, value: Arc::new(Json::Null), expects });
            changed = true;
        }
        changed
    }

    /// The filter of a strategy that an event is taken for.
    fn fitting(&self, strategy: &Strategy, held: &[Held], until: bool, arrival: &Arrival) -> Option<Fit> {
        if strategy.kind == Consume::Any && strategy.filters.is_empty() {
            return Some((0, BTreeMap::new()));
        }
        let taken = |number| held.iter().any(|held| held.until == until && held.filter == number);
        let free = |number| strategy.kind != Consume::All || !taken(number);
        let mut filters = (0..).zip(&strategy.filters);
        filters.find_map(|(number, filter)| {
            let fits = free(number) && self.fits(filter, arrival);
            fits.then(|| self.correlated(filter, held, arrival)).flatten().map(|expects| (number, expects))
        })
    }

    fn is_complete(&self, held: &[Held], at: Timestamp) -> bool {
        match &self.strategy.until {
            None => satisfied(self.strategy, held, false),
            Some(Until::Holds(condition)) => {
                let values: Vec<_> = held.iter().map(|held| Json::clone(&held.value)).collect();
                !values.is_empty() && is_true(self.value(*condition, &Json::Array(values), at).as_ref())
            }
            Some(Until::Events(until)) => satisfied(until, held, true),
            Some(Until::Never) => false,
        }
    }

    /// What an event's correlations give; nothing where they expect something else, or cannot be computed on it.
    fn correlated(&self, filter: &Filter, held: &[Held], arrival: &Arrival) -> Option<BTreeMap<String, Json>> {
        let mut expects = BTreeMap::new();
        for correlation in &filter.correlate {
            let value = self.value(correlation.from, &arrival.event, arrival.at).filter(|value| !value.is_null())?;
            let expected = match &correlation.expect {
                Some(Template::Literal(expected)) => Some(expected),
                // Anything to be computed was refused when the workflow was compiled.
                Some(_) => return None,
                None => held.iter().find_map(|held| held.expects.get(&correlation.key)),
            };
            if expected.is_some_and(|expected| *expected != value) {
                return None;
            }
            expects.insert(correlation.key.clone(), value);
        }
        Some(expects)
    }

    fn fits(&self, filter: &Filter, arrival: &Arrival) -> bool {
        filter.with.iter().all(|(name, wanted)| {
            let actual = arrival.event.get(name).unwrap_or(&Json::Null);
            wanted.fits(actual, &|id, value| self.value(id, value, arrival.at))
        })
    }

    /// An expression's value; nothing where it fails: what cannot be compared does not fit.
    fn value(&self, id: ExpressionId, dot: &Json, at: Timestamp) -> Option<Json> {
        let expression = self.program.expression(id);
        let now_ms = u64::try_from(at.as_millisecond()).unwrap_or_default();
        let runtime = || json!({ "name": RUNTIME, "version": env!("CARGO_PKG_VERSION"), "metadata": {} });
        let runs = expression.variables.iter().filter(|name| *name == "runtime");
        let variables = runs.map(|name| (name.as_str(), Cow::Owned(runtime()))).collect();
        let bindings = Bindings { input: Cow::Borrowed(dot), variables, now_ms };
        let value = self.evaluator.evaluate(self.program, expression, &bindings);
        value.inspect_err(|error| tracing::warn!(%error, "an expression of a schedule failed on an event")).ok()
    }
}

/// Whether a strategy has what it asks for.
fn satisfied(strategy: &Strategy, held: &[Held], until: bool) -> bool {
    let taken = held.iter().filter(|held| held.until == until).count();
    match strategy.kind {
        Consume::One | Consume::Any => taken > 0,
        Consume::All => taken == strategy.filters.len(),
    }
}

fn has_place(held: &[Held], value: &Json) -> bool {
    let bytes: usize = held.iter().map(|held| held.value.to_string().len()).sum();
    let fits = held.len() < HELD_MAX && bytes + value.to_string().len() <= HELD_BYTES_MAX;
    if !fits {
        tracing::error!("a schedule waits for more events than it can hold; the newest is left out");
    }
    fits
}

/// jq's truth.
fn is_true(value: Option<&Json>) -> bool {
    !matches!(value, None | Some(Json::Null | Json::Bool(false)))
}
