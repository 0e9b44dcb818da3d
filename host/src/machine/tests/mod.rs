//! The machine, driven by scripts: a definition, what its calls answer, and what comes of it.

mod branches;
mod events;
mod flow;
mod histories;
mod hostile;
mod reopened;
mod repeat;
mod samples;
mod suspended;
mod timing;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Moment;
use super::command::Call;
use super::next::{Event, Found, advance};
use super::record::{Created, End, Record, Stamped};
use super::state::State;
use super::testing::{Plain, program};
use crate::definition::graph::Program;
use crate::model::*;

/// One instance whose outside is the test.
pub(super) struct Bench {
    pub(super) program: Program,
    pub(super) state: State,
    pub(super) history: Vec<Stamped>,
    pub(super) now: Timestamp,
    pub(super) chance: f64,
}

pub(super) fn created(program: &Program, input: Json) -> Created {
    Created {
        pack: PackName::parse("test").unwrap(),
        pack_version: semver::Version::new(1, 0, 0),
        workflow: program.name.clone(),
        definition: program.digest,
        actions: program.actions().cloned().collect(),
        service: None,
        name: None,
        input: Arc::new(input),
        start_key: None,
        parent: None,
        tenant: Default::default(),
        created_by: None,
        rerun_of: None,
    }
}

impl Bench {
    pub(super) fn new(definition: Json, input: Json) -> Self {
        let program = program(definition);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut state = State::new(InstanceId(uuid::Uuid::from_u128(7)));
        let record = Record::Created(Box::new(created(&program, input)));
        let first = Stamped { seq: 1, at: now, record };
        state.apply(&program, &first).unwrap();
        let mut bench = Self { program, state, history: vec![first], now, chance: 0.5 };
        bench.happens(Event::Start);
        bench
    }

    pub(super) fn of(tasks: Json) -> Self {
        Self::new(json!({ "do": tasks }), json!({}))
    }

    pub(super) fn happens(&mut self, event: Event) -> Vec<Record> {
        let moment = Moment { now: self.now, chance: self.chance };
        let records = advance(&self.program, &mut self.state, [event], moment, &Plain);
        self.history.extend(records.iter().cloned());
        records.into_iter().map(|stamped| stamped.record).collect()
    }

    pub(super) fn passes(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.happens(Event::WakeUp);
    }

    /// The only call that is out.
    pub(super) fn call(&self) -> Call {
        let errands: Vec<_> = self.state.errands().collect();
        assert_eq!(errands.len(), 1, "{:?}", self.history.last());
        self.state.call(&self.program, errands[0]).unwrap()
    }

    pub(super) fn answers(&mut self, result: Result<Success, Failure>) {
        let call = self.call();
        self.happens(Event::ResultArrived { activation: call.activation, attempt: call.attempt, result });
    }

    pub(super) fn gives(&mut self, output: Json) {
        self.answers(Ok(Success { output, ..Success::default() }));
    }

    pub(super) fn fails(&mut self, status: u16) {
        self.answers(Err(failure(status, Reaction::Permanent)));
    }

    pub(super) fn finds(&mut self, found: Found) {
        let call = self.call();
        self.happens(Event::ProbeAnswered { activation: call.activation, attempt: call.attempt, found });
    }

    pub(super) fn output(&self) -> Json {
        match self.state.end() {
            Some(End::Completed { output }) => Json::clone(output),
            other => panic!("it did not complete: {other:?}"),
        }
    }

    pub(super) fn error(&self) -> ErrorObject {
        match self.state.end() {
            Some(End::Faulted { error }) => error.clone(),
            other => panic!("it did not fault: {other:?}"),
        }
    }

    /// `(status, last segment of the type, instance)` of the error that ended it.
    pub(super) fn fault(&self) -> (u16, String, String) {
        let error = self.error();
        let kind = error.kind.rsplit('/').next().unwrap().to_owned();
        (error.status, kind, error.instance.unwrap_or_default())
    }

    /// The same instance after a restart of the server.
    pub(super) fn restarts(&mut self) {
        let mut state = State::new(self.state.id());
        for record in &self.history {
            let text = serde_json::to_string(record).unwrap();
            state.apply(&self.program, &serde_json::from_str(&text).unwrap()).unwrap();
        }
        assert_eq!(state, self.state, "replay equals the live state");
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "a snapshot is the state");
        self.state = state;
        self.happens(Event::Recovered);
    }
}

pub(super) fn failure(status: u16, reaction: Reaction) -> Failure {
    let problem = Problem { kind: String::new(), status, title: "no".to_owned(), detail: String::new() };
    Failure { reaction, problem }
}
