//! `emit` and `listen`, and the strategies by which events are consumed, of which `schedule.on` is one as well.

use super::task::Task;
use super::value::{At, Spot};
use super::{Compiler, escape};
use crate::definition::diagnostic::Position;
use crate::definition::expression;
use crate::definition::filter::Pattern;
use crate::definition::graph::{Consume, Correlation, Filter, Foreach, Listen, Match, Read, Strategy, Template, Until};
use crate::definition::yaml::{Tree, Value};
use crate::model::Json;

impl<'a> Compiler<'a> {
    /// `emit: {event: {with: {…}}}`.
    pub(super) fn emit(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        self.map(tree, "`emit`")?;
        self.keys(tree, "`emit`", &["event"], &[]);
        let event = self.required(tree, "event", "`emit`")?;
        self.map(event, "`event`")?;
        self.keys(event, "`event`", &["with"], &[]);
        let with = self.required(event, "with", "`event`")?;
        let entries = self.map(with, "`event.with`")?;
        self.required(with, "type", "`event.with`");
        for entry in entries {
            self.attribute_name(&entry.key, entry.position);
            if entry.key != "data" && matches!(entry.value.value, Value::Map(_) | Value::List(_) | Value::Null) {
                let message = format!("the attribute `{}` of an event is a plain value", entry.key);
                self.error_with_cure("wrong-type", entry.value.position, message, "put it into `data`");
            }
        }
        if let Some(kind) = with.get("type") {
            self.text(kind, "an event's `type`");
        }
        self.template(with, &format!("{pointer}/event/with"), at)
    }

    /// CloudEvents 1.0, “Naming conventions”.
    fn attribute_name(&mut self, name: &str, at: Position) {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            let message = format!("`{name}` is not the name of an event's attribute");
            self.error_with_cure("event-attribute", at, message, "use lower-case letters and digits");
        }
    }

    /// `listen: {to, read}` with `foreach` beside it.
    pub(super) fn listen(&mut self, tree: &'a Tree, pointer: &str, task: &Task<'a, '_>) -> Option<Listen> {
        self.map(tree, "`listen`")?;
        self.keys(tree, "`listen`", &["to", "read"], &[]);
        let to = self.required(tree, "to", "`listen`");
        let to = to.and_then(|to| self.strategy(to, &format!("{pointer}/to"), (Spot::Body, task.env)));
        let read = self.read(tree.get("read"));
        let foreach = task.tree.get("foreach").map_or(Some(None), |tree| self.foreach(tree, task).map(Some));
        Some(Listen { to: to?, read: read?, foreach: foreach? })
    }

    pub(super) fn read(&mut self, tree: Option<&'a Tree>) -> Option<Read> {
        let words = [("data", Read::Data), ("envelope", Read::Envelope), ("raw", Read::Raw)];
        tree.map_or(Some(Read::Data), |tree| self.word(tree, "`read`", &words))
    }

    fn foreach(&mut self, tree: &'a Tree, task: &Task<'a, '_>) -> Option<Foreach> {
        let pointer = format!("{}/foreach", task.pointer);
        self.map(tree, "`foreach`")?;
        self.keys(tree, "`foreach`", &["item", "at", "do", "output", "export"], &[]);
        let item = self.item_name(tree, "item", task.env);
        let index = self.variable_name(tree.get("at"), "index", task.env);
        let (item, index) = (item?, index?);
        if item == index {
            let message = format!("`item` and `at` cannot both be `{item}`");
            self.error("variable-name", tree.position, message);
        }
        let env = task.env.with(&item).with(&index);
        let body = match tree.get("do") {
            Some(list) => self.list(list, &format!("{pointer}/do"), Some(task.node), &env).map(Some),
            None => Some(None),
        };
        let output_as = self.transform_alone(tree, "output", &pointer, (Spot::Body, &env));
        let export_as = self.transform_alone(tree, "export", &pointer, (Spot::Export, &env));
        Some(Foreach { item, index, body: body?, output_as: output_as?, export_as: export_as? })
    }

    /// `output: {as}` or `export: {as}`, where no schema belongs.
    fn transform_alone(
        &mut self,
        tree: &'a Tree,
        block: &'static str,
        pointer: &str,
        at: At<'_>,
    ) -> Option<Option<Template>> {
        let Some(inner) = tree.get(block) else { return Some(None) };
        self.map(inner, &format!("`{block}`"))?;
        self.keys(inner, &format!("`{block}` of `foreach`"), &["as"], &["schema"]);
        match inner.get("as") {
            Some(value) => self.transform(value, &format!("{pointer}/{block}/as"), at).map(Some),
            None => Some(None),
        }
    }

    /// Exactly one of `one`, `all` and `any`; `until` beside `any`.
    pub(super) fn strategy(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Strategy> {
        self.map(tree, "a strategy for events")?;
        self.keys(tree, "a strategy for events", &["one", "all", "any", "until"], &[]);
        let kinds = [("one", Consume::One), ("all", Consume::All), ("any", Consume::Any)];
        let present: Vec<_> = kinds.into_iter().filter(|(key, _)| tree.get(key).is_some()).collect();
        let [(key, kind)] = present[..] else {
            let message = "a strategy for events has exactly one of `one`, `all` and `any`";
            self.error("wrong-type", tree.position, message);
            return None;
        };
        let filters = self.filters(tree.get(key)?, kind, &format!("{pointer}/{key}"), at);
        let until = match tree.get("until") {
            None => Some(None),
            Some(until) if kind != Consume::Any => {
                let message = format!("`until` belongs to `any`; `{key}` ends by itself");
                self.error_with_cure("wrong-type", until.position, message, "remove it, or listen to `any`");
                None
            }
            Some(until) => self.until(until, &format!("{pointer}/until"), at).map(Some),
        };
        Some(Strategy { kind, filters: filters?, until: until? })
    }

    fn filters(&mut self, tree: &'a Tree, kind: Consume, pointer: &str, at: At<'_>) -> Option<Vec<Filter>> {
        if kind == Consume::One {
            return self.filter(tree, pointer, at).map(|filter| vec![filter]);
        }
        let items = match tree.as_list() {
            Some(items) if !items.is_empty() || kind == Consume::Any => items,
            _ => {
                let message = format!("a list of filters belongs here, not {}", tree.kind());
                self.error_with_cure("wrong-type", tree.position, message, "write `- with: { type: … }` for each");
                return None;
            }
        };
        let mut filters = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            filters.push(self.filter(item, &format!("{pointer}/{place}"), at));
        }
        filters.into_iter().collect()
    }

    /// A condition, `false`, or a strategy whose events end the listening.
    fn until(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Until> {
        let never = is_false(tree);
        if never && at.0 == Spot::Trigger {
            let message = "with `until: false` nothing would ever start: a schedule's events are complete at some time";
            let cure = "remove `until`: each event starts an instance then; or say when the events are complete";
            self.error_with_cure("schedule", tree.position, message, cure);
            return None;
        }
        match &tree.value {
            _ if never => Some(Until::Never),
            Value::Text(_) => self.condition(tree, pointer, at).map(Until::Holds),
            Value::Map(_) => {
                if let Some(inner) = tree.get("until") {
                    let message = "an `until` has no `until` of its own";
                    self.error("unknown-key", inner.position, message);
                    return None;
                }
                self.strategy(tree, pointer, at).map(|strategy| Until::Events(Box::new(strategy)))
            }
            _ => {
                let message = format!("`until` is an expression, `false` or a strategy, not {}", tree.kind());
                self.error("wrong-type", tree.position, message);
                None
            }
        }
    }

    /// `{with, correlate}`.
    fn filter(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Filter> {
        self.map(tree, "a filter")?;
        self.keys(tree, "a filter", &["with", "correlate"], &[]);
        let with = self.required(tree, "with", "a filter")?;
        let entries = self.map(with, "`with`")?;
        if entries.is_empty() {
            let message = "the filter names no attribute, so that every event fits it";
            self.error_with_cure("wrong-type", with.position, message, "name one; for every event, write `any: []`");
        }
        let mut attributes = Vec::with_capacity(entries.len());
        for entry in entries {
            self.attribute_name(&entry.key, entry.position);
            let pointer = format!("{pointer}/with/{}", escape(&entry.key));
            attributes.push(self.attribute(&entry.value, &pointer, at).map(|what| (entry.key.clone(), what)));
        }
        let correlate = tree.get("correlate").map_or(Some(Vec::new()), |tree| self.correlations(tree, pointer, at));
        Some(Filter { with: attributes.into_iter().collect::<Option<_>>()?, correlate: correlate? })
    }

    fn attribute(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Match> {
        match &tree.value {
            Value::Text(text) => match expression::wrapped(text) {
                Some(program) => self.expression(program, tree, pointer, at).map(Match::Expression),
                None => Some(self.text_match(text, tree.position)),
            },
            Value::Map(entries) => {
                let mut members = Vec::with_capacity(entries.len());
                for entry in entries {
                    let pointer = format!("{pointer}/{}", escape(&entry.key));
                    members.push(self.attribute(&entry.value, &pointer, at).map(|what| (entry.key.clone(), what)));
                }
                members.into_iter().collect::<Option<_>>().map(Match::Members)
            }
            _ => self.plain_match(tree),
        }
    }

    /// Text that is to be equal, or a regular expression.
    fn text_match(&mut self, text: &str, at: Position) -> Match {
        if !Pattern::is_meant(text) {
            return Match::Equals(Json::from(text));
        }
        match Pattern::read(text) {
            Some(pattern) => Match::Pattern(pattern),
            None => {
                let message = format!("`{text}` looks like a regular expression and is none; it is compared as it is");
                self.warning("event-pattern", at, message, "correct it, or leave it if the text itself is meant");
                Match::Equals(Json::from(text))
            }
        }
    }

    fn plain_match(&mut self, tree: &'a Tree) -> Option<Match> {
        let Some(inside) = expression_inside(tree) else { return Some(Match::Equals(tree.to_json())) };
        let message = "an expression inside of a list is not supported in a filter";
        let cure = "make the attribute one expression over its value, `data: '${ .amounts[0] > 5 }'`";
        self.error_with_cure("unsupported", inside, message, cure);
        None
    }

    fn correlations(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Vec<Correlation>> {
        let entries = self.map(tree, "`correlate`")?;
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            let pointer = format!("{pointer}/correlate/{}", escape(&entry.key));
            found.push(self.correlation(&entry.key, &entry.value, &pointer, at));
        }
        found.into_iter().collect()
    }

    fn correlation(&mut self, key: &str, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Correlation> {
        self.map(tree, "a correlation")?;
        self.keys(tree, "a correlation", &["from", "expect"], &[]);
        let from = self.required(tree, "from", "a correlation");
        let from = from.and_then(|from| self.condition(from, &format!("{pointer}/from"), at));
        let expect = match tree.get("expect") {
            None => Some(None),
            Some(expect) if at.0 == Spot::Trigger && expression_inside(expect).is_some() => {
                let message = "before an instance starts there is nothing that `expect` could be computed from";
                self.error_with_cure("unsupported", expect.position, message, "write the value out");
                None
            }
            Some(expect) => self.template(expect, &format!("{pointer}/expect"), at).map(Some),
        };
        Some(Correlation { key: key.to_owned(), from: from?, expect: expect? })
    }
}

/// Whether it is `false`, also as an expression.
fn is_false(tree: &Tree) -> bool {
    let text = tree.as_text().map(|text| expression::wrapped(text).unwrap_or(text).trim());
    matches!(tree.value, Value::Bool(false)) || text == Some("false")
}

/// Where the first expression in the data stands.
fn expression_inside(tree: &Tree) -> Option<Position> {
    match &tree.value {
        Value::Text(text) => expression::wrapped(text).map(|_| tree.position),
        Value::List(items) => items.iter().find_map(expression_inside),
        Value::Map(entries) => entries.iter().find_map(|entry| expression_inside(&entry.value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
