//! The cases of `packs/storage/tests/*.yaml`, run natively: what the outside answers stands in the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use orchestrator_host::desk::Outcome;
use orchestrator_host::model::{Failure, Json, Problem, Reaction, standard};
use orchestrator_sdk::testing::{Reply as Answer, Sent};
use serde::Deserialize;
use serde_json::Value;

use super::native::{Answers, Bench};

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    workflow: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    input: Json,
    #[serde(default)]
    outside: Vec<Entry>,
    #[serde(default)]
    actions: Vec<Call>,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    request: String,
    #[serde(default)]
    query: BTreeMap<String, Value>,
    #[serde(default)]
    body: Option<Json>,
    reply: Option<Reply>,
    failure: Option<String>,
    #[serde(default)]
    times: Times,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    json: Option<Json>,
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    action: String,
    output: Option<Json>,
    transient: Option<Told>,
    permanent: Option<Told>,
    #[serde(default)]
    times: Times,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    r#type: Option<String>,
    status: u16,
    detail: String,
}

/// How often an entry answers.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Times {
    Count(u32),
    Always(Always),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Always {
    Always,
}

impl Default for Times {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl Times {
    /// Whether it answers once more.
    fn take(&mut self) -> bool {
        match self {
            Self::Always(Always::Always) => true,
            Self::Count(0) => false,
            Self::Count(left) => {
                *left -= 1;
                true
            }
        }
    }

    fn is_left(self) -> bool {
        matches!(self, Self::Count(left) if left > 0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: String,
    output: Option<Json>,
    #[serde(default)]
    error: BTreeMap<String, Json>,
    #[serde(default)]
    tasks: BTreeMap<String, usize>,
    #[serde(default)]
    arguments: BTreeMap<String, Json>,
}

/// Answers by the case.
struct Scripted {
    case: String,
    entries: Mutex<Vec<Entry>>,
    calls: Mutex<Vec<Call>>,
    arguments: Mutex<BTreeMap<String, Json>>,
    /// What happened that the case does not know.
    unexpected: Mutex<Vec<String>>,
}

/// Runs every case of a file; the names of the tasks that were entered in any of them.
///
/// # Panics
/// When a case does not end as it says.
pub async fn check_file(path: &Path) -> (String, Vec<String>) {
    let text = std::fs::read_to_string(path).expect("a file of cases");
    let script: Script = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut entered = Vec::new();
    for case in script.cases {
        entered.extend(check(&script.workflow, case).await);
    }
    (script.workflow, entered)
}

async fn check(workflow: &str, case: Case) -> Vec<String> {
    let scripted = Arc::new(Scripted {
        case: case.name.clone(),
        entries: Mutex::new(case.outside),
        calls: Mutex::new(case.actions),
        arguments: Mutex::default(),
        unexpected: Mutex::default(),
    });
    let (outcome, _) = Bench::open().run(workflow, case.input, scripted.clone()).await;
    scripted.assert_used_up(workflow, &outcome);
    compare(&format!("{workflow}: {}", case.name), &case.expect, &outcome, &scripted);
    outcome.tasks.into_iter().map(|task| task.name).collect()
}

fn compare(case: &str, expected: &Expected, outcome: &Outcome, scripted: &Scripted) {
    assert_eq!(outcome.stopped, None, "{case}");
    assert_eq!(outcome.status.as_str(), expected.status, "{case}: {:?} {:?}", outcome.error, outcome.output);
    if let Some(output) = &expected.output {
        let found = outcome.output.clone().unwrap_or_default();
        assert!(holds(&found, output), "{case}: {found:#}");
    }
    let error = serde_json::to_value(&outcome.error).expect("JSON");
    for (member, value) in &expected.error {
        assert_eq!(error[member], *value, "{case}: {error:#}");
    }
    for (task, count) in &expected.tasks {
        let entered = outcome.tasks.iter().filter(|run| run.name == *task).count();
        assert_eq!(entered, *count, "{case}: how often `{task}` was entered");
    }
    let arguments = scripted.arguments.lock().expect("a test");
    for (action, named) in &expected.arguments {
        let found = arguments.get(action).cloned().unwrap_or_default();
        assert!(holds(&found, named), "{case}: `{action}` was called with {found:#}");
    }
}

/// Whether everything that `named` names is there and equal.
fn holds(found: &Json, named: &Json) -> bool {
    match (found, named) {
        (Json::Object(found), Json::Object(named)) => {
            named.iter().all(|(key, value)| found.get(key).is_some_and(|found| holds(found, value)))
        }
        (Json::Array(found), Json::Array(named)) => {
            found.len() == named.len() && found.iter().zip(named).all(|(found, named)| holds(found, named))
        }
        _ => found == named,
    }
}

/// `${instance}` is the instance's identifier.
fn filled(value: &Json, instance: &str) -> Json {
    serde_json::from_str(&value.to_string().replace("${instance}", instance)).expect("still JSON")
}

impl Entry {
    fn fits(&self, instance: &str, sent: &Sent) -> bool {
        let (path, query) = sent.target.split_once('?').unwrap_or((&sent.target, ""));
        let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let asked = |(name, value): (&String, &Value)| query.contains(&(name.clone(), text(&filled(value, instance))));
        let body = sent.body.as_deref().and_then(|body| serde_json::from_slice::<Json>(body).ok()).unwrap_or_default();
        self.request == format!("{} {path}", sent.method)
            && self.query.iter().all(asked)
            && self.body.as_ref().is_none_or(|named| holds(&body, &filled(named, instance)))
    }

    fn answer(&self, instance: &str) -> Answer {
        match (&self.reply, self.failure.as_deref()) {
            (Some(reply), None) => {
                let json = reply.json.as_ref().map(|json| filled(json, instance).to_string());
                let body = json.or_else(|| reply.text.clone()).unwrap_or_default();
                let headers = reply.headers.iter();
                headers.fold(Answer::bytes(reply.status, body), |answer, (name, value)| answer.header(name, value))
            }
            (None, Some("timeout")) => Answer::timeout(),
            (None, Some("interrupted")) => Answer::interrupted(),
            (None, Some("unavailable")) => Answer::unavailable(),
            _ => panic!("an entry has `reply`, or `failure: timeout | interrupted | unavailable`"),
        }
    }
}

impl Scripted {
    fn assert_used_up(&self, workflow: &str, outcome: &Outcome) {
        let case = format!("{workflow}: {}", self.case);
        let unexpected = self.unexpected.lock().expect("a test");
        assert!(unexpected.is_empty(), "{case}: not in the case: {unexpected:?}; {:?}", outcome.error);
        let entries = self.entries.lock().expect("a test");
        let left: Vec<_> = entries.iter().filter(|entry| entry.times.is_left()).map(|entry| &entry.request).collect();
        assert!(left.is_empty(), "{case}: not used up: {left:?}; {:?}", outcome.error);
        let calls = self.calls.lock().expect("a test");
        let left: Vec<_> = calls.iter().filter(|call| call.times.is_left()).map(|call| &call.action).collect();
        assert!(left.is_empty(), "{case}: not called: {left:?}");
    }
}

impl Answers for Scripted {
    fn answer(&self, instance: &str, sent: &Sent) -> Answer {
        let mut entries = self.entries.lock().expect("a test");
        for entry in entries.iter_mut().filter(|entry| entry.fits(instance, sent)) {
            if entry.times.take() {
                return entry.answer(instance);
            }
        }
        self.unexpected.lock().expect("a test").push(format!("{} {}", sent.method, sent.target));
        Answer::denied()
    }

    fn call(&self, action: &str, arguments: &Json) -> Option<Result<Json, Failure>> {
        self.arguments.lock().expect("a test").insert(action.to_owned(), arguments.clone());
        let mut calls = self.calls.lock().expect("a test");
        let mut calls = calls.iter_mut().filter(|call| call.action == action);
        let call = calls.find_map(|call| call.times.take().then_some(call))?;
        let failure = |told: &Told, reaction| {
            let kind =
                told.r#type.clone().unwrap_or_else(|| format!("{}{}", standard::BASE, standard::COMMUNICATION.0));
            let detail = told.detail.clone();
            Failure { reaction, problem: Problem { kind, status: told.status, title: "Scripted".to_owned(), detail } }
        };
        Some(match (&call.output, &call.transient, &call.permanent) {
            (Some(output), None, None) => Ok(output.clone()),
            (None, Some(told), None) => Err(failure(told, Reaction::Transient { retry_after_ms: None })),
            (None, None, Some(told)) => Err(failure(told, Reaction::Permanent)),
            _ => panic!("an answer has one of `output`, `transient`, `permanent`"),
        })
    }
}
