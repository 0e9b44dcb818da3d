//! Events: how a `listen` begins, consumes and ends, and what an `emit` publishes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::{Turn, call};
use crate::definition::graph::{Consume, Filter, Foreach, Listen, Strategy, Template, Until};
use crate::machine::listening::{Listening, listen_of};
use crate::machine::record::{ActivationId, Record};
use crate::machine::state::{Activation, Body, Inside};
use crate::machine::values::{Place, reading};
use crate::model::{ErrorObject, Json, standard};

/// An event that fits a filter, and what correlations learn from it.
struct Fit {
    filter: u32,
    until: bool,
    expects: BTreeMap<String, Json>,
}

impl Turn<'_> {
    /// Begins to listen: what correlations expect is computed once.
    pub(super) fn arm(&self, live: &Activation, listen: &Listen) -> Result<Record, ErrorObject> {
        let place = self.place(live);
        let mut expects = BTreeMap::new();
        for correlation in strategies(&listen.to).flat_map(|to| &to.filters).flat_map(|filter| &filter.correlate) {
            if let Some(expect) = &correlation.expect {
                expects.insert(correlation.key.clone(), place.template(expect, &live.input)?);
            }
        }
        Ok(Record::Armed { activation: live.id, expects })
    }

    /// Offers an event to everything that listens.
    pub(super) fn event_arrived(&mut self, number: u64, event: &Arc<Json>) {
        if self.state.consumed.contains(&number) {
            return;
        }
        let listening = |live: &Activation| matches!(&live.body, Body::Listening(heard) if !heard.over);
        let ids: Vec<_> = self.state.activations.values().filter(|live| listening(live)).map(|live| live.id).collect();
        for id in ids {
            if let Some(record) = self.offer(id, number, event) {
                self.push(record);
            }
        }
    }

    /// The record of an activation that consumes the event; of its failure where that cannot be decided.
    fn offer(&self, id: ActivationId, number: u64, event: &Arc<Json>) -> Option<Record> {
        let live = self.state.activations.get(&id)?;
        let (Body::Listening(heard), Some(listen)) = (&live.body, listen_of(self.program, live.node)) else {
            return None;
        };
        let place = self.place(live);
        let Fit { filter, until, expects } = fit(&place, &listen.to, heard, event)?;
        let ends =
            if until { Ok(self.ends_until(listen, heard, filter)) } else { ends(&place, listen, heard, filter, event) };
        Some(match ends {
            Ok(ends) => Record::Matched { activation: id, number, filter, until, ends, event: event.clone(), expects },
            Err(error) => Record::Failed { activation: id, error },
        })
    }

    fn ends_until(&self, listen: &Listen, heard: &Listening, filter: u32) -> bool {
        match &listen.to.until {
            Some(Until::Events(strategy)) => is_whole(strategy, heard, true, filter),
            _ => false,
        }
    }

    /// What follows when an event was consumed, or handled.
    pub(super) fn go_on_listening(&self, live: &Activation, heard: &Listening) -> Result<Record, ErrorObject> {
        let Some(listen) = listen_of(self.program, live.node) else { unreachable!("only a `listen` listens") };
        let next = heard.events.get(heard.outputs.len());
        match (&listen.foreach, &heard.inside, next) {
            (_, Some(Inside::Broken { error, .. }), _) => Err(error.clone()),
            (Some(each), Some(Inside::Finished(output)), Some(_)) => self.handled(live, each, output),
            (Some(each), None, Some(_)) if each.body.is_some() => {
                Ok(Record::Iterated { activation: live.id, index: heard.outputs.len() as u64 })
            }
            (Some(each), None, Some(event)) => self.handled(live, each, &Arc::new(reading(event, listen.read))),
            _ => {
                let output = match &listen.foreach {
                    Some(_) => heard.outputs.iter().map(|output| Json::clone(output)).collect(),
                    None => heard.events.iter().map(|event| reading(event, listen.read)).collect(),
                };
                self.leave(live, &Arc::new(Json::Array(output)), true, self.program.node(live.node).then)
            }
        }
    }

    /// `foreach.output` and `foreach.export` for one event.
    fn handled(&self, live: &Activation, each: &Foreach, output: &Arc<Json>) -> Result<Record, ErrorObject> {
        let place = self.place(live);
        let (item, index) = self.handled_event(live);
        let own = [(each.item.as_str(), item), (each.index.as_str(), index)];
        let place = Place { own: &own, ..place };
        let transformed = each.output_as.as_ref().map(|transform| place.template(transform, output)).transpose()?;
        let output = transformed.map_or_else(|| output.clone(), Arc::new);
        let context = each.export_as.as_ref().map(|export| place.template(export, &output)).transpose()?;
        Ok(Record::Handled { activation: live.id, output, context: context.map(Arc::new) })
    }

    fn handled_event(&self, live: &Activation) -> (Cow<'static, Json>, Cow<'static, Json>) {
        let (Body::Listening(heard), Some(listen)) = (&live.body, listen_of(self.program, live.node)) else {
            unreachable!("only a `listen` handles events")
        };
        let place = heard.outputs.len();
        let item = heard.events.get(place).map_or(Json::Null, |event| reading(event, listen.read));
        (Cow::Owned(item), Cow::Owned(json!(place)))
    }

    /// Publishes an event: a CloudEvent 1.0 with what the author left out.
    pub(super) fn emit(&self, live: &Activation, template: &Template) -> Result<Record, ErrorObject> {
        let place = self.place(live);
        let refused = |detail: String| place.error(standard::CONFIGURATION, "this is no event", detail);
        let Json::Object(given) = place.template(template, &live.input)? else {
            return Err(refused("`event.with` must give an object of attributes".to_owned()));
        };
        let mut event = serde_json::Map::new();
        event.insert("specversion".to_owned(), json!("1.0"));
        event.insert("id".to_owned(), json!(call::key(self.state.id, live.id)));
        event.insert("source".to_owned(), json!(self.program.source()));
        event.insert("time".to_owned(), json!(self.moment.now.to_string()));
        event.extend(given);
        for name in ["type", "source", "id"] {
            if event.get(name).and_then(Json::as_str).is_none_or(str::is_empty) {
                return Err(refused(format!("the event's `{name}` must be text that is not empty")));
            }
        }
        if event.contains_key("data") && !event.contains_key("datacontenttype") {
            event.insert("datacontenttype".to_owned(), json!("application/json"));
        }
        Ok(Record::Emitted { activation: live.id, event: Arc::new(Json::Object(event)) })
    }
}

/// A strategy and the one in its `until`.
fn strategies(to: &Strategy) -> impl Iterator<Item = &Strategy> {
    let until = match &to.until {
        Some(Until::Events(strategy)) => Some(&**strategy),
        _ => None,
    };
    std::iter::once(to).chain(until)
}

/// The filter that the event fits, if there is one: first of the strategy, then of its `until`.
fn fit(place: &Place<'_>, to: &Strategy, heard: &Listening, event: &Json) -> Option<Fit> {
    let until = strategies(to).nth(1);
    fit_one(place, to, heard, event, false).or_else(|| fit_one(place, until?, heard, event, true))
}

fn fit_one(place: &Place<'_>, to: &Strategy, heard: &Listening, event: &Json, until: bool) -> Option<Fit> {
    if to.filters.is_empty() && to.kind == Consume::Any && !until {
        return Some(Fit { filter: 0, until, expects: BTreeMap::new() });
    }
    (0..).zip(&to.filters).find_map(|(number, filter)| {
        let taken = to.kind != Consume::Any && heard.fitted.contains(&(until, number));
        let expects = if taken { None } else { fits(place, filter, &heard.expects, event) };
        expects.map(|expects| Fit { filter: number, until, expects })
    })
}

/// Whether the event has all that the filter asks for; what correlations learn from it then. A filter that cannot be
/// computed on the event does not fit it.
fn fits(
    place: &Place<'_>,
    filter: &Filter,
    expects: &BTreeMap<String, Json>,
    event: &Json,
) -> Option<BTreeMap<String, Json>> {
    let evaluate = |id, value: &Json| place.value(id, value).ok();
    let all = filter.with.iter().all(|(name, wanted)| wanted.fits(event.get(name).unwrap_or(&Json::Null), &evaluate));
    if !all {
        return None;
    }
    let mut learned = BTreeMap::new();
    for correlation in &filter.correlate {
        let value = place.value(correlation.from, event).ok().filter(|value| !value.is_null())?;
        match expects.get(&correlation.key).or_else(|| learned.get(&correlation.key)) {
            Some(expected) if *expected != value => return None,
            Some(_) => {}
            None => drop(learned.insert(correlation.key.clone(), value)),
        }
    }
    Some(learned)
}

/// Whether nothing more is listened for once this event was consumed.
fn ends(place: &Place<'_>, listen: &Listen, heard: &Listening, filter: u32, event: &Json) -> Result<bool, ErrorObject> {
    match (&listen.to.kind, &listen.to.until) {
        (Consume::Any, Some(Until::Holds(condition))) => {
            let read = |event: &Json| reading(event, listen.read);
            let mut consumed: Vec<Json> = heard.events.iter().map(|event| read(event)).collect();
            consumed.push(read(event));
            place.holds(*condition, &Json::Array(consumed))
        }
        (Consume::Any, Some(Until::Events(_) | Until::Never)) => Ok(false),
        (Consume::Any | Consume::One, _) => Ok(true),
        (Consume::All, _) => Ok(is_whole(&listen.to, heard, false, filter)),
    }
}

/// Whether a strategy has all it needs with this filter.
fn is_whole(to: &Strategy, heard: &Listening, until: bool, filter: u32) -> bool {
    match to.kind {
        Consume::One | Consume::Any => true,
        Consume::All => {
            (0..).zip(&to.filters).all(|(number, _)| number == filter || heard.fitted.contains(&(until, number)))
        }
    }
}
