//! The outside of one case: answers requests and calls as the test file says, and notes what came. Over a crash it
//! remembers what it did by idempotency key, as an outside system that honours such keys does: a call that had ended
//! gives again what it gave, and a request that is sent again under its key gets what it got.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value as Json;
use tokio::sync::Notify;

use super::case::{ActionLabel, Answered, Body, Case, Entry, Fault, Reply, Times, Told, Way};
use super::judge::{differences, shown, text_with_instance, with_instance};
use super::mail;
use crate::connection::client::SendError;
use crate::connection::mail::{Letter, MailError, Sent};
use crate::model::{Failure, Problem, Reaction, Success, standard};

/// After so many requests and calls that nobody wrote an answer for, the case is given up: more say nothing new.
const UNSCRIPTED_MAX: usize = 8;

/// So many requests and calls are kept for a failed case's report.
const CAME_MAX: usize = 200;

/// So many lines of the guests' log are kept for a failed case's report.
const LOG_LINES_MAX: usize = 200;

/// The outside of one case.
pub(super) struct Script {
    case: Arc<Case>,
    state: Mutex<State>,
    given_up: Notify,
}

#[derive(Default)]
struct State {
    /// How often each entry of `outside` answered.
    replied: Vec<u32>,
    /// How often each entry of `actions` answered.
    answered: Vec<u32>,
    came: Vec<String>,
    unexpected: Vec<Fault>,
    arguments: BTreeMap<ActionLabel, Json>,
    log: Vec<String>,
    /// By idempotency key.
    memory: BTreeMap<String, Memory>,
    /// Counts the crashes.
    life: u32,
}

/// What is remembered of a call.
#[derive(Default)]
struct Memory {
    /// The life in which it was made last.
    life: u32,
    /// How often it was made.
    made: u32,
    /// What it gave, once it had ended.
    result: Option<Result<Success, Failure>>,
    /// What its requests got.
    exchanges: Vec<Exchanged>,
}

struct Exchanged {
    signature: String,
    entry: usize,
    /// The life in which it was answered last.
    life: u32,
}

/// A request as the outside sees it.
pub(super) struct Asked {
    /// Where it goes.
    pub(super) way: Way,
    /// Its method.
    pub(super) method: String,
    /// Its path, decoded.
    pub(super) path: String,
    /// Its query, decoded.
    pub(super) query: Vec<(String, String)>,
    /// Its headers, by lower-case name.
    pub(super) headers: Vec<(String, String)>,
    /// Its body.
    pub(super) body: Bytes,
    /// The idempotency key of the call that it belongs to.
    pub(super) key: String,
    /// The instance.
    pub(super) instance: String,
}

impl Script {
    pub(super) fn new(case: Arc<Case>) -> Self {
        let (replied, answered) = (vec![0; case.outside.len()], vec![0; case.actions.len()]);
        let state = Mutex::new(State { replied, answered, ..State::default() });
        Self { case, state, given_up: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Held for one look or one change, neither of which can fail half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the case is given up.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }

    /// The process died and another one begins.
    pub(super) fn reborn(&self) {
        let mut state = self.state();
        state.life += 1;
        state.came.push("-- the process dies here, and another one begins --".to_owned());
    }

    /// A call is made. What it gave in an earlier life is given again.
    pub(super) fn begins(&self, key: &str, label: &str, once: bool) -> Option<Result<Success, Failure>> {
        let mut state = self.state();
        let life = state.life;
        let memory = state.memory.entry(key.to_owned()).or_default();
        let again = memory.made > 0 && memory.life < life;
        memory.made += 1;
        memory.life = life;
        let result = memory.result.clone().filter(|_| again);
        if again && once {
            let what = format!("`{label}` was made again after a crash, and it may be made once");
            state.unexpected.push(Fault::wrong(what));
        }
        result
    }

    /// A call has ended.
    pub(super) fn ended(&self, key: &str, result: &Result<Success, Failure>) {
        if let Some(memory) = self.state().memory.get_mut(key) {
            memory.result = Some(result.clone());
        }
    }

    /// What became of a call of an earlier life; nothing, where it was made in this one.
    pub(super) fn earlier(&self, key: &str) -> Option<Option<Result<Success, Failure>>> {
        let state = self.state();
        match state.memory.get(key) {
            None => Some(None).filter(|_| state.life > 0),
            Some(memory) if memory.life < state.life => Some(memory.result.clone()),
            Some(_) => None,
        }
    }

    /// Notes what an action is passed.
    pub(super) fn called(&self, label: ActionLabel, arguments: Json) {
        self.state().arguments.insert(label, arguments);
    }

    /// What the last call of an action was passed.
    pub(super) fn last_arguments(&self, label: &ActionLabel) -> Option<Json> {
        self.state().arguments.get(label).cloned()
    }

    /// The answer to a whole call, where the file answers calls of this action.
    pub(super) fn answer(&self, label: &ActionLabel, instance: &str) -> Option<Result<Success, Failure>> {
        let mine = || self.case.actions.iter().enumerate().filter(|(_, answer)| answer.action == *label);
        mine().next()?;
        let mut state = self.state();
        let free = mine().find(|(at, answer)| is_free(answer.times, state.answered[*at]));
        let Some((at, answer)) = free else {
            state.came(format!("call {label} -> no answer left"));
            let fault = Fault::wrong(format!("the action `{label}` is called once more than `actions` answers"));
            let fault = fault.cure(format!("add `- action: {label}` with its output, or raise `times`"));
            drop(state);
            self.unscripted(fault);
            return Some(Err(unanswered(&format!("no answer is left for `{label}`"))));
        };
        state.answered[at] += 1;
        state.came(format!("call {label} -> line {}", answer.line));
        Some(given(&answer.result, instance))
    }

    /// Notes a call that nobody can answer here.
    pub(super) fn unanswerable(&self, label: &ActionLabel, why: &str, cure: &str) -> Failure {
        self.state().came(format!("call {label} -> {why}"));
        self.unscripted(Fault::wrong(format!("the action `{label}` is called: {why}")).cure(cure));
        unanswered(why)
    }

    fn unscripted(&self, fault: Fault) {
        let mut state = self.state();
        if !state.unexpected.contains(&fault) {
            state.unexpected.push(fault);
        }
        if state.unexpected.len() >= UNSCRIPTED_MAX {
            self.given_up.notify_one();
        }
    }

    /// Answers a request.
    pub(super) fn reply(&self, asked: &Asked) -> Result<http::Response<Bytes>, SendError> {
        match self.take(asked) {
            Some(reply) => reply.response(&asked.instance),
            None => Err(SendError::Invalid(format!("the test has no entry for {}", asked.shown()))),
        }
    }

    /// Takes a message.
    pub(super) fn mail(&self, asked: &Asked, letter: &Letter) -> Result<Sent, MailError> {
        match self.take(asked) {
            Some(reply) => mail::ends(&reply, letter, &asked.key, &asked.instance),
            None => Err(MailError::Invalid(format!("the test has no entry for {}", asked.shown()))),
        }
    }

    /// What the entry says that answers; nothing where there is none.
    fn take(&self, asked: &Asked) -> Option<Reply> {
        let mut state = self.state();
        let found = state.replay(asked).or_else(|| self.pick(&mut state, asked));
        match found {
            Some(at) => {
                let entry = &self.case.outside[at];
                state.came(format!("{} -> {}, line {}", asked.shown(), entry.reply.shown(), entry.line));
                Some(entry.reply.clone())
            }
            None => {
                state.came(format!("{} -> no entry", asked.shown()));
                drop(state);
                self.unscripted(self.no_entry(asked));
                None
            }
        }
    }

    fn pick(&self, state: &mut State, asked: &Asked) -> Option<usize> {
        let entries = self.case.outside.iter().enumerate();
        let mut fitting = entries.filter(|(_, entry)| entry.misfit(asked).is_none());
        let (at, _) = fitting.find(|(at, entry)| is_free(entry.times, state.replied[*at]))?;
        state.replied[at] += 1;
        let life = state.life;
        let memory = state.memory.entry(asked.key.clone()).or_default();
        memory.exchanges.push(Exchanged { signature: asked.signature(), entry: at, life });
        Some(at)
    }

    /// Why no entry answers a request, and what to do about it.
    fn no_entry(&self, asked: &Asked) -> Fault {
        let same = self.case.outside.iter().filter(|entry| entry.is_of(asked));
        let why: Vec<String> = same
            .map(|entry| match entry.misfit(asked) {
                None => format!("line {} is used up", entry.line),
                Some(misfit) => format!("line {} asks for another: {misfit}", entry.line),
            })
            .collect();
        let mut what = format!("a request has no entry: {}", asked.shown());
        if !asked.body.is_empty() {
            what.push_str(&format!(" with {}", asked.shown_body()));
        }
        let cure = match asked.method.as_str() {
            mail::METHOD => "add `- mail: { to: […], subject: … }`".to_owned(),
            method => format!("add `- request: {method} {}` with its reply", asked.path),
        };
        let fault = Fault::wrong(what);
        match why.is_empty() {
            true => fault.cure(cure),
            false => fault.cure(format!("{}; or {cure}", why.join("; "))),
        }
    }

    /// A line of a guest.
    pub(super) fn log(&self, line: String) {
        let mut state = self.state();
        if state.log.len() < LOG_LINES_MAX {
            state.log.push(line);
        }
    }

    /// What came that nobody wrote an answer for.
    pub(super) fn unexpected(&self) -> Vec<Fault> {
        self.state().unexpected.clone()
    }

    /// Entries that were not used up.
    pub(super) fn unused(&self) -> Vec<Fault> {
        let state = self.state();
        let left = |times: Times, used: u32| match times {
            Times::Exactly(times) if used < times => Some(format!("{used} of {times} times")),
            _ => None,
        };
        let outside = self.case.outside.iter().zip(&state.replied).filter_map(|(entry, used)| {
            let left = left(entry.times, *used)?;
            Some((format!("{} {} ({})", entry.method, entry.path, entry.way), entry.line, left))
        });
        let actions = self.case.actions.iter().zip(&state.answered).filter_map(|(answer, used)| {
            Some((format!("the answer of `{}`", answer.action), answer.line, left(answer.times, *used)?))
        });
        let told = |(what, line, left): (String, u32, String)| {
            let cure = "remove the entry, correct it, or write `times: always` where it may stay unused";
            Fault::wrong(format!("an entry was not used up: {what} in line {line}, used {left}")).cure(cure)
        };
        outside.chain(actions).map(told).collect()
    }

    /// What came and what was logged, for a failed case's report.
    pub(super) fn story(&self) -> (Vec<String>, Vec<String>) {
        let state = self.state();
        (state.came.clone(), state.log.clone())
    }
}

impl State {
    fn came(&mut self, line: String) {
        if self.came.len() < CAME_MAX {
            self.came.push(line);
        }
    }

    /// What the same request of the same call got in an earlier life.
    fn replay(&mut self, asked: &Asked) -> Option<usize> {
        let life = self.life;
        let memory = self.memory.get_mut(&asked.key)?;
        let signature = asked.signature();
        let before = memory.exchanges.iter_mut().find(|one| one.life < life && one.signature == signature)?;
        before.life = life;
        Some(before.entry)
    }
}

fn is_free(times: Times, used: u32) -> bool {
    match times {
        Times::Exactly(times) => used < times,
        Times::Always => true,
    }
}

fn unanswered(why: &str) -> Failure {
    let (segment, status) = standard::CONFIGURATION;
    let kind = format!("{}{segment}", standard::BASE);
    let problem = Problem { kind, status, title: "the test has no answer".to_owned(), detail: why.to_owned() };
    Failure { reaction: Reaction::Permanent, problem }
}

fn given(answered: &Answered, instance: &str) -> Result<Success, Failure> {
    match answered {
        Answered::Output(output) => Ok(Success { output: with_instance(output, instance), ..Success::default() }),
        Answered::Transient(told) => Err(failure(told, Reaction::Transient { retry_after_ms: None }, instance)),
        Answered::Permanent(told) => Err(failure(told, Reaction::Permanent, instance)),
    }
}

fn failure(told: &Told, reaction: Reaction, instance: &str) -> Failure {
    let kind = told.kind.clone().unwrap_or_else(|| format!("{}{}", standard::BASE, standard::COMMUNICATION.0));
    let title = told.title.clone().unwrap_or_else(|| "scripted failure".to_owned());
    let detail = text_with_instance(&told.detail, instance);
    Failure { reaction, problem: Problem { kind, status: told.status, title, detail } }
}

impl Entry {
    /// Whether the request goes the same way to the same place.
    fn is_of(&self, asked: &Asked) -> bool {
        self.way == asked.way
            && self.method == asked.method
            && text_with_instance(&self.path, &asked.instance) == asked.path
    }

    /// Why this entry is not for a request.
    fn misfit(&self, asked: &Asked) -> Option<String> {
        if !self.is_of(asked) {
            return Some("another request".to_owned());
        }
        let value = |pairs: &[(String, String)], key: &str| {
            pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
        };
        for (kind, wanted, there) in [("query", &self.query, &asked.query), ("header", &self.headers, &asked.headers)] {
            for (name, wanted) in wanted {
                let (wanted, got) = (text_with_instance(wanted, &asked.instance), value(there, name));
                if got.as_ref() != Some(&wanted) {
                    let got = got.map_or_else(|| "nothing".to_owned(), |got| format!("`{got}`"));
                    return Some(format!("{kind} `{name}` is `{wanted}` there, and here {got}"));
                }
            }
        }
        self.body.as_ref().and_then(|wanted| body_misfit(&with_instance(wanted, &asked.instance), &asked.body))
    }
}

fn body_misfit(wanted: &Json, body: &Bytes) -> Option<String> {
    let got = serde_json::from_slice(body).unwrap_or_else(|_| Json::String(String::from_utf8_lossy(body).into_owned()));
    // Text that happens to be JSON can be compared as text, too.
    if let Json::String(text) = wanted
        && text.as_bytes() == body.as_ref()
    {
        return None;
    }
    let all = differences(wanted, &got);
    let first = all.first()?;
    Some(format!("body `{}` is {} there, and here {}", first.pointer, first.expected, first.got))
}

impl Asked {
    fn signature(&self) -> String {
        format!("{} {} {} {:?} {}", self.way, self.method, self.path, self.query, String::from_utf8_lossy(&self.body))
    }

    fn shown(&self) -> String {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{} {}{query} ({})", self.method, self.path, self.way)
    }

    fn shown_body(&self) -> String {
        match serde_json::from_slice::<Json>(&self.body) {
            Ok(json) => shown(&json),
            Err(_) => shown(&Json::String(String::from_utf8_lossy(&self.body).into_owned())),
        }
    }
}

impl Reply {
    fn shown(&self) -> String {
        match self {
            Self::Response { status, .. } => status.to_string(),
            Self::Timeout => "timeout".to_owned(),
            Self::Interrupted => "interrupted".to_owned(),
            Self::Unavailable => "unavailable".to_owned(),
            Self::Refused => "refused".to_owned(),
            Self::Filtered(_) => "filtered".to_owned(),
        }
    }

    fn response(&self, instance: &str) -> Result<http::Response<Bytes>, SendError> {
        let (status, headers, body) = match self {
            Self::Response { status, headers, body } => (*status, headers, body),
            Self::Timeout => return Err(SendError::Timeout("no response within the request's time".to_owned())),
            Self::Interrupted => {
                let text = "the connection broke before the whole response was there";
                return Err(SendError::Interrupted(text.to_owned()));
            }
            Self::Unavailable => return Err(SendError::Unavailable("no connection".to_owned())),
            // Read for mail alone.
            Self::Refused | Self::Filtered(_) => {
                return Err(SendError::Invalid("the test answers a request as if it were mail".to_owned()));
            }
        };
        let (content, kind) = match body {
            Body::Empty => (String::new(), None),
            Body::Json(json) => (with_instance(json, instance).to_string(), Some("application/json")),
            Body::Text(text) => (text_with_instance(text, instance), Some("text/plain; charset=utf-8")),
        };
        let mut response = http::Response::builder().status(status);
        if let Some(kind) = kind.filter(|_| !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")))
        {
            response = response.header(http::header::CONTENT_TYPE, kind);
        }
        for (name, value) in headers {
            response = response.header(name, text_with_instance(value, instance));
        }
        let response = response.body(Bytes::from(content));
        response.map_err(|error| SendError::Invalid(format!("the test's reply is none that HTTP allows: {error}")))
    }
}
