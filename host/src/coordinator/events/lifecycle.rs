//! What happens to an instance as CloudEvents (DSL 1.0, "Lifecycle events"), built of its records. Each has an `id` made
//! of instance and record, so that whoever gets one twice knows it. Inputs and outputs are not in them: an `outputUri`
//! says where the output is, below this server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, json};

use super::super::ownership::Ownership;
use super::{Told, emitted};
use crate::definition::graph::{NodeId, NodeKind, Program};
use crate::machine::record::{ActivationId, End, Entered, Record, Stamped};
use crate::machine::state::State;
use crate::model::{InstanceId, Json};

/// The tasks of an instance that have not ended, and what their listening has correlated.
#[derive(Debug)]
pub(in crate::coordinator) struct Lifecycle {
    instance: InstanceId,
    whose: Arc<Ownership>,
    /// Whether `open` is kept: somebody wants to know.
    keeps: bool,
    open: BTreeMap<ActivationId, Open>,
    inside: BTreeMap<ActivationId, BTreeSet<ActivationId>>,
}

#[derive(Debug)]
struct Open {
    node: NodeId,
    parent: Option<ActivationId>,
    /// What correlations expect.
    keys: BTreeMap<String, Json>,
}

/// The events of one batch of records.
struct Page<'a> {
    program: &'a Program,
    instance: InstanceId,
    events: Vec<Arc<Json>>,
}

impl Lifecycle {
    /// For an instance whose first record is yet to come.
    pub(in crate::coordinator) fn new(instance: InstanceId, whose: &Arc<Ownership>) -> Self {
        Self { instance, whose: whose.clone(), keeps: false, open: BTreeMap::new(), inside: BTreeMap::new() }
    }

    /// Before records are decided: takes up the open tasks of a state where somebody wants to know from now on, and
    /// forgets them where nobody does any more.
    pub(in crate::coordinator) fn prepare(&mut self, state: &State, wanted: bool) {
        if self.keeps == wanted {
            return;
        }
        *self = Self { keeps: wanted, ..Self::new(self.instance, &self.whose) };
        if wanted {
            for (id, (node, parent)) in state.live().filter_map(|id| Some((id, state.place_of(id)?))) {
                self.add(id, node, parent);
                self.correlated(id, state.expects_of(id));
            }
        }
    }

    /// Takes the records that follow on what was prepared; gives what others have to be told.
    pub(in crate::coordinator) fn take(&mut self, program: &Program, records: &[Stamped]) -> Told {
        let mut page = Page { program, instance: self.instance, events: Vec::new() };
        if self.keeps {
            records.iter().for_each(|stamped| self.record(stamped, &mut page));
        }
        let mut emitted = emitted(records);
        emitted.extend(self.cancelled(program, records));
        Told { whose: self.whose.clone(), emitted, outgoing: page.events }
    }

    /// The end of a cancelled instance, for the inbox: it runs nothing itself any more, but a workflow that is scheduled
    /// on this event can put outside things in order.
    fn cancelled(&self, program: &Program, records: &[Stamped]) -> Option<Arc<Json>> {
        let stamped = records.last().filter(|last| matches!(last.record, Record::Ended { end: End::Cancelled }))?;
        let mut page = Page { program, instance: self.instance, events: Vec::new() };
        page.ended(stamped, &End::Cancelled);
        page.events.pop()
    }

    fn add(&mut self, id: ActivationId, node: NodeId, parent: Option<ActivationId>) {
        self.open.insert(id, Open { node, parent, keys: BTreeMap::new() });
        if let Some(parent) = parent {
            self.inside.entry(parent).or_default().insert(id);
        }
    }

    fn remove(&mut self, id: ActivationId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        if let Some(siblings) = open.parent.and_then(|parent| self.inside.get_mut(&parent)) {
            siblings.remove(&id);
        }
        Some(open)
    }

    fn record(&mut self, stamped: &Stamped, page: &mut Page<'_>) {
        match &stamped.record {
            Record::Started { .. } => page.started(stamped),
            Record::Entered(entered) => self.entered(entered, stamped, page),
            Record::Armed { activation, expects } => {
                self.correlated(*activation, expects);
                page.workflow(stamped, "correlation-started", Map::new());
            }
            Record::Matched { activation, expects, .. } => self.correlated(*activation, expects),
            Record::Emitted { event, .. } => page.events.push(event.clone()),
            Record::Caught { activation, .. } => self.cancel_inside(*activation, stamped, page),
            Record::Retried { activation, .. } => {
                self.cancel_inside(*activation, stamped, page);
                if let Some(open) = self.open.get(activation) {
                    page.task(stamped, open.node, "retried", String::new(), Map::new());
                }
            }
            Record::Failed { activation, error } => {
                self.cancel_inside(*activation, stamped, page);
                if let Some(open) = self.remove(*activation) {
                    page.task(stamped, open.node, "faulted", String::new(), member("error", json!(error)));
                }
            }
            Record::Left { activation, .. } => self.left(*activation, stamped, page),
            Record::Suspended { .. } => self.halted(stamped, "suspended", page),
            Record::Resumed { .. } => self.halted(stamped, "resumed", page),
            Record::Reopened { .. } => page.workflow(stamped, "resumed", Map::new()),
            Record::Ended { end } => self.ended(stamped, end, page),
            _ => {}
        }
    }

    fn entered(&mut self, entered: &Entered, stamped: &Stamped, page: &mut Page<'_>) {
        page.task(stamped, entered.node, "created", "-created".to_owned(), Map::new());
        page.task(stamped, entered.node, "started", String::new(), Map::new());
        self.add(entered.activation, entered.node, entered.parent);
    }

    fn correlated(&mut self, activation: ActivationId, expects: &BTreeMap<String, Json>) {
        if let Some(open) = self.open.get_mut(&activation) {
            open.keys.extend(expects.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }

    fn left(&mut self, activation: ActivationId, stamped: &Stamped, page: &mut Page<'_>) {
        self.cancel_inside(activation, stamped, page);
        let Some(open) = self.remove(activation) else { return };
        if matches!(page.program.node(open.node).kind, NodeKind::Listen(_)) {
            page.workflow(stamped, "correlation-completed", member("correlationKeys", json!(open.keys)));
        }
        let output = member("outputUri", json!(format!("/v1/instances/{}/tasks", self.instance)));
        page.task(stamped, open.node, "completed", String::new(), output);
    }

    /// Suspended or resumed, with every open task.
    fn halted(&self, stamped: &Stamped, verb: &str, page: &mut Page<'_>) {
        page.workflow(stamped, verb, Map::new());
        for (id, open) in &self.open {
            page.task(stamped, open.node, verb, format!("-{}", id.0), Map::new());
        }
    }

    fn ended(&mut self, stamped: &Stamped, end: &End, page: &mut Page<'_>) {
        self.inside.clear();
        for (id, open) in std::mem::take(&mut self.open) {
            page.task(stamped, open.node, "cancelled", format!("-{}", id.0), Map::new());
        }
        page.ended(stamped, end);
    }

    /// Cancels what is inside a task: it goes with it without a record of its own.
    fn cancel_inside(&mut self, activation: ActivationId, stamped: &Stamped, page: &mut Page<'_>) {
        let mut over: Vec<_> = self.inside.remove(&activation).into_iter().flatten().collect();
        while let Some(id) = over.pop() {
            over.extend(self.inside.remove(&id).into_iter().flatten());
            if let Some(open) = self.open.remove(&id) {
                page.task(stamped, open.node, "cancelled", format!("-{}", id.0), Map::new());
            }
        }
    }
}

impl Page<'_> {
    fn started(&mut self, stamped: &Stamped) {
        let Program { namespace, name, version, .. } = self.program;
        let definition = json!({ "name": name, "namespace": namespace, "version": version });
        self.workflow(stamped, "started", member("definition", definition));
    }

    fn ended(&mut self, stamped: &Stamped, end: &End) {
        let (verb, more) = match end {
            End::Completed { .. } => {
                ("completed", member("outputUri", json!(format!("/v1/instances/{}", self.instance))))
            }
            End::Faulted { error } => ("faulted", member("error", json!(error))),
            End::Cancelled => ("cancelled", Map::new()),
        };
        self.workflow(stamped, verb, more);
    }

    fn workflow(&mut self, stamped: &Stamped, verb: &str, more: Map<String, Json>) {
        let mut data = member("name", self.workflow_name().into());
        // `correlation-started` happens at `startedAt`.
        data.insert(at(verb.rsplit('-').next().unwrap_or(verb)), json!(stamped.at));
        data.extend(more);
        // An instance's end and its tasks' are one record: what is about the workflow is told apart by its type.
        self.event(stamped, &format!("workflow.{verb}"), format!("-{verb}"), data);
    }

    fn task(&mut self, stamped: &Stamped, node: NodeId, verb: &str, id: String, more: Map<String, Json>) {
        let node = self.program.node(node);
        if node.hidden {
            return;
        }
        let mut data = member("workflow", self.workflow_name().into());
        data.insert("task".to_owned(), node.reference.as_str().into());
        data.insert(at(verb), json!(stamped.at));
        data.extend(more);
        self.event(stamped, &format!("task.{verb}"), id, data);
    }

    fn event(&mut self, stamped: &Stamped, kind: &str, id: String, data: Map<String, Json>) {
        self.events.push(Arc::new(envelope(self.instance, stamped, kind, &id, data)));
    }

    /// The DSL's name of an instance.
    fn workflow_name(&self) -> String {
        format!("{}-{}.{}", self.program.name, self.instance, self.program.namespace)
    }
}

fn envelope(instance: InstanceId, stamped: &Stamped, kind: &str, id: &str, data: Map<String, Json>) -> Json {
    let time: Timestamp = stamped.at;
    json!({
        "specversion": "1.0",
        "id": format!("{instance}-{}{id}", stamped.seq),
        "source": format!("/v1/instances/{instance}"),
        "type": format!("io.serverlessworkflow.{kind}.v1"),
        "subject": instance,
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
    })
}

/// `startedAt`, `completedAt`, …
fn at(verb: &str) -> String {
    format!("{verb}At")
}

fn member(name: &str, value: Json) -> Map<String, Json> {
    Map::from_iter([(name.to_owned(), value)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Moment;
    use crate::machine::next::{self, Event};
    use crate::machine::testing::{Plain, program};
    use crate::model::{PackName, WorkflowName};

    fn created(program: &Program) -> Record {
        Record::Created(Box::new(crate::machine::record::Created {
            pack: PackName::parse("test").unwrap(),
            pack_version: semver::Version::new(1, 0, 0),
            workflow: WorkflowName::parse("flow").unwrap(),
            definition: program.digest,
            actions: Vec::new(),
            service: None,
            name: None,
            input: Arc::new(json!({})),
            start_key: None,
            parent: None,
            tenant: Default::default(),
            created_by: None,
            rerun_of: None,
        }))
    }

    /// Runs a workflow to where it stops by itself, then takes more events; gives `type task` of what is told.
    fn told(definition: Json, events: impl IntoIterator<Item = Event>) -> Vec<(String, Json)> {
        let program = program(definition);
        let id = InstanceId(uuid::Uuid::nil());
        let (mut state, mut lifecycle) = (State::new(id), Lifecycle::new(id, &Default::default()));
        let first = Stamped { seq: 1, at: Timestamp::UNIX_EPOCH, record: created(&program) };
        state.apply(&program, &first).unwrap();
        let moment = Moment { now: Timestamp::UNIX_EPOCH, chance: 0.5 };
        let mut events_told = Vec::new();
        for event in std::iter::once(Event::Start).chain(events) {
            lifecycle.prepare(&state, true);
            let records = next::advance(&program, &mut state, [event], moment, &Plain);
            events_told.extend(lifecycle.take(&program, &records).outgoing);
        }
        let mut ids: Vec<_> = events_told.iter().map(|event| event["id"].to_string()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), events_told.len(), "each event has an identity of its own: {events_told:#?}");
        let short = |event: &Arc<Json>| {
            let kind = event["type"].as_str().unwrap();
            let kind = kind.strip_prefix("io.serverlessworkflow.").unwrap().strip_suffix(".v1").unwrap();
            let task = event["data"]["task"].as_str().map(|task| format!(" {task}")).unwrap_or_default();
            (format!("{kind}{task}"), Json::clone(event))
        };
        events_told.iter().map(short).collect()
    }

    fn kinds(told: &[(String, Json)]) -> Vec<&str> {
        told.iter().map(|(kind, _)| kind.as_str()).collect()
    }

    #[test]
    fn a_run_is_told_from_its_start_to_its_end() {
        let told = told(json!({ "do": [{ "a": { "set": { "n": 1 } } }] }), []);
        let expected = [
            "workflow.started",
            "task.created /do/0/a",
            "task.started /do/0/a",
            "task.completed /do/0/a",
            "workflow.completed",
        ];
        assert_eq!(kinds(&told), expected);
        let id = "00000000-0000-0000-0000-000000000000";
        let name = format!("flow-{id}.test");
        let at = "1970-01-01T00:00:00Z";
        assert_eq!(
            told[0].1,
            json!({
                "specversion": "1.0", "id": format!("{id}-2-started"), "source": format!("/v1/instances/{id}"),
                "type": "io.serverlessworkflow.workflow.started.v1", "subject": id, "time": at,
                "datacontenttype": "application/json",
                "data": { "name": name, "startedAt": at,
                          "definition": { "name": "flow", "namespace": "test", "version": "1.0.0" } },
            })
        );
        let task = json!({ "workflow": name, "task": "/do/0/a", "completedAt": at,
                           "outputUri": format!("/v1/instances/{id}/tasks") });
        assert_eq!(told[3].1["data"], task);
        let done = json!({ "name": name, "completedAt": at, "outputUri": format!("/v1/instances/{id}") });
        assert_eq!(told[4].1["data"], done);
    }

    #[test]
    fn an_error_is_told_of_the_task_and_of_the_workflow() {
        let raise = json!({ "raise": { "error": { "type": "https://e.example/x", "status": 400, "title": "no" } } });
        let told = told(json!({ "do": [{ "outer": { "do": [{ "a": raise }] } }] }), []);
        let end: Vec<_> = kinds(&told).into_iter().rev().take(3).collect();
        assert_eq!(end, ["workflow.faulted", "task.faulted /do/0/outer", "task.faulted /do/0/outer/do/0/a"]);
        assert_eq!(told.last().unwrap().1["data"]["error"]["status"], 400);
    }

    #[test]
    fn what_an_error_takes_along_is_cancelled() {
        let raise = json!({ "raise": { "error": { "type": "https://e.example/x", "status": 400, "title": "no" } } });
        let wait = json!({ "wait": { "seconds": 5 } });
        let fork = json!({ "fork": { "branches": [{ "w": wait }, { "r": raise }] } });
        let caught = json!({ "try": [{ "f": fork }], "catch": {} });
        let told = told(json!({ "do": [{ "t": caught }] }), []);
        let end: Vec<_> = kinds(&told).into_iter().skip_while(|kind| !kind.starts_with("task.faulted")).collect();
        let at = "/do/0/t/try/0/f";
        let branch = |name: &str| told.iter().map(|(kind, _)| kind).find(|kind| kind.ends_with(name)).unwrap();
        let place = |kind: &str| branch(kind).split_once(' ').unwrap().1.to_owned();
        assert_eq!(
            end,
            [
                &format!("task.faulted {}", place("/r")),
                &format!("task.cancelled {}", place("/w")),
                &format!("task.faulted {at}"),
                "task.completed /do/0/t",
                "workflow.completed",
            ]
        );
    }

    #[test]
    fn who_wants_to_know_later_is_told_of_tasks_that_were_open_before() {
        let program = program(json!({ "do": [{ "outer": { "do": [{ "a": { "wait": { "seconds": 5 } } }] } }] }));
        let id = InstanceId(uuid::Uuid::nil());
        let (mut state, mut lifecycle) = (State::new(id), Lifecycle::new(id, &Default::default()));
        let first = Stamped { seq: 1, at: Timestamp::UNIX_EPOCH, record: created(&program) };
        state.apply(&program, &first).unwrap();
        let moment = Moment { now: Timestamp::UNIX_EPOCH, chance: 0.5 };
        let records = next::advance(&program, &mut state, [Event::Start], moment, &Plain);
        assert!(lifecycle.take(&program, &records).outgoing.is_empty(), "nobody wants to know");
        lifecycle.prepare(&state, true);
        let records = next::advance(&program, &mut state, [Event::CancelRequested { by: None }], moment, &Plain);
        assert_eq!(lifecycle.take(&program, &records).outgoing.len(), 3);
    }

    #[test]
    fn what_a_listener_correlated_is_told_although_the_server_was_started_again_in_between() {
        let filter = |kind: &str| json!({ "with": { "type": kind }, "correlate": { "order": { "from": ".data" } } });
        let program =
            program(json!({ "do": [{ "l": { "listen": { "to": { "all": [filter("a"), filter("b")] } } } }] }));
        let id = InstanceId(uuid::Uuid::nil());
        let mut state = State::new(id);
        state.apply(&program, &Stamped { seq: 1, at: Timestamp::UNIX_EPOCH, record: created(&program) }).unwrap();
        let moment = Moment { now: Timestamp::UNIX_EPOCH, chance: 0.5 };
        let arrives = |number: u64, kind: &str| {
            let event = json!({ "specversion": "1.0", "id": kind, "source": "/", "type": kind, "data": 7 });
            Event::EventArrived { number, event: Arc::new(event) }
        };
        next::advance(&program, &mut state, [Event::Start, arrives(1, "a")], moment, &Plain);
        let mut lifecycle = Lifecycle::new(id, &Default::default());
        lifecycle.prepare(&state, true);
        let records = next::advance(&program, &mut state, [arrives(2, "b")], moment, &Plain);
        let told = lifecycle.take(&program, &records).outgoing;
        let completed = told.iter().find(|event| event["type"].as_str().unwrap().contains("correlation-completed"));
        assert_eq!(completed.unwrap()["data"]["correlationKeys"], json!({ "order": 7 }));
    }

    #[test]
    fn a_suspension_and_its_end_are_told_of_the_workflow_and_of_every_open_task() {
        let definition = json!({ "do": [{ "outer": { "do": [{ "a": { "wait": { "seconds": 5 } } }] } }] });
        let asked = [Event::SuspendRequested { by: None }, Event::ResumeRequested { by: None }];
        let told = told(definition, asked);
        let all = |verb: &str| {
            ["workflow".to_owned(), "task /do/0/outer".to_owned(), "task /do/0/outer/do/0/a".to_owned()].map(|what| {
                match what.split_once(' ') {
                    Some((kind, place)) => format!("{kind}.{verb} {place}"),
                    None => format!("{what}.{verb}"),
                }
            })
        };
        let end: Vec<_> = kinds(&told).into_iter().skip(5).map(str::to_owned).collect();
        assert_eq!(end, [all("suspended"), all("resumed")].concat());
        assert_eq!(told[5].1["data"]["suspendedAt"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn cancelling_is_told_of_every_open_task() {
        let definition = json!({ "do": [{ "outer": { "do": [{ "a": { "wait": { "seconds": 5 } } }] } }] });
        let told = told(definition, [Event::CancelRequested { by: None }]);
        let end: Vec<_> = kinds(&told).into_iter().skip(5).collect();
        let tasks = ["task.cancelled /do/0/outer", "task.cancelled /do/0/outer/do/0/a"];
        assert_eq!(end, [tasks[0], tasks[1], "workflow.cancelled"]);
    }

    #[test]
    fn a_cancelled_instance_is_told_to_the_inbox_also_where_nobody_follows() {
        let program = program(json!({ "do": [{ "a": { "wait": { "seconds": 5 } } }] }));
        let id = InstanceId(uuid::Uuid::nil());
        let (mut state, mut lifecycle) = (State::new(id), Lifecycle::new(id, &Default::default()));
        let first = Stamped { seq: 1, at: Timestamp::UNIX_EPOCH, record: created(&program) };
        state.apply(&program, &first).unwrap();
        let moment = Moment { now: Timestamp::UNIX_EPOCH, chance: 0.5 };
        let records = next::advance(&program, &mut state, [Event::Start], moment, &Plain);
        assert!(lifecycle.take(&program, &records).emitted.is_empty());
        let records = next::advance(&program, &mut state, [Event::CancelRequested { by: None }], moment, &Plain);
        let told = lifecycle.take(&program, &records);
        assert!(told.outgoing.is_empty());
        let kinds: Vec<_> = told.emitted.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["io.serverlessworkflow.workflow.cancelled.v1"]);
        assert_eq!(told.emitted[0]["subject"], json!(id));
    }
}
