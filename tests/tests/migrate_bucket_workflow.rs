//! The workflow of the bucket-migration pack, compiled and run by the real engine, with actions that answer by script:
//! `packs/bucket-migration/tests/migrate-bucket.yaml`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use orchestrator_host::clock::SimClock;
use orchestrator_host::coordinator::perform::{Attempt, Finding, Observe};
use orchestrator_host::coordinator::view::Status;
use orchestrator_host::coordinator::{
    Coordinator, EventSettings, Parts, Perform, ProgramError, Programs, Resolved, Start,
};
use orchestrator_host::definition::graph::{ActionRef, Program};
use orchestrator_host::definition::{ActionDeclaration, Actions, LookupError, Source, compile};
use orchestrator_host::journal::memory::MemoryJournal;
use orchestrator_host::machine::record::Created;
use orchestrator_host::model::{
    ActionName, Digest, Failure, Json, PackName, Problem, Reaction, Success, WorkflowName, standard,
};
use orchestrator_host::sandbox::expression::Expressions;
use orchestrator_host::sandbox::{Sandbox, SandboxConfig};
use orchestrator_tests::binaries::root;
use serde::Deserialize;

#[derive(Deserialize)]
struct Script {
    workflow: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    input: Json,
    replies: VecDeque<Reply>,
    expected: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    action: String,
    output: Option<Json>,
    transient: Option<Told>,
    permanent: Option<Told>,
}

#[derive(Deserialize)]
struct Told {
    status: u16,
    detail: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expected {
    status: String,
    output: Option<Json>,
    #[serde(default)]
    error: BTreeMap<String, Json>,
    last_arguments: Option<Json>,
}

/// Answers by the script, and notes what was asked.
struct Scripted {
    replies: Mutex<VecDeque<Reply>>,
    last: Mutex<Option<Json>>,
}

impl Perform for Scripted {
    fn run(&self, attempt: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        let reply = self.replies.lock().expect("a test").pop_front().expect("a call that is not in the script");
        assert_eq!(
            attempt.call.callee.action().expect("an action").action.as_str(),
            reply.action,
            "another action is called than in the script"
        );
        *self.last.lock().expect("a test") = Some(attempt.call.arguments);
        Box::pin(async move { answer(reply) })
    }

    fn probe(&self, _: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        Box::pin(async { Ok(Finding::Unknown) })
    }
}

fn answer(reply: Reply) -> Result<Success, Failure> {
    let failure = |told: Told, reaction| {
        let kind = format!("{}{}", standard::BASE, standard::COMMUNICATION.0);
        let problem = Problem { kind, status: told.status, title: "Scripted".to_owned(), detail: told.detail };
        Err(Failure { reaction, problem })
    };
    match (reply.output, reply.transient, reply.permanent) {
        (Some(output), None, None) => Ok(Success { output, ..Success::default() }),
        (None, Some(told), None) => failure(told, Reaction::Transient { retry_after_ms: None }),
        (None, None, Some(told)) => failure(told, Reaction::Permanent),
        _ => panic!("a reply has one of `output`, `transient`, `permanent`"),
    }
}

/// The one program there is.
struct One(Arc<Program>);

impl Programs for One {
    fn resolve(&self, _: &PackName, _: Option<&semver::Version>, _: &WorkflowName) -> Result<Resolved, ProgramError> {
        Ok(Resolved { program: Arc::clone(&self.0), version: semver::Version::new(1, 0, 0) })
    }

    fn pinned(&self, _: &Created) -> Result<Arc<Program>, ProgramError> {
        Ok(Arc::clone(&self.0))
    }
}

/// The pack's actions, as its `pack.yaml` declares them.
struct Declared(serde_yaml::Value);

impl Actions for Declared {
    fn action(
        &self,
        _: Option<&PackName>,
        _: Option<&semver::Version>,
        name: &ActionName,
    ) -> Result<ActionDeclaration, LookupError> {
        let declared = &self.0["actions"][name.as_str()];
        let schema = |which: &str| {
            let path = root().join("packs/bucket-migration").join(declared[which].as_str().expect("a schema"));
            let text = std::fs::read_to_string(path).expect("the schema is there");
            Some(Arc::new(serde_json::from_str(&text).expect("a schema is JSON")))
        };
        Ok(ActionDeclaration {
            action: ActionRef {
                pack: PackName::parse("bucket-migration").expect("a name"),
                version: semver::Version::new(1, 0, 0),
                action: name.clone(),
                component: Digest::of(b"scripted"),
            },
            effect: serde_yaml::from_value(declared["effect"].clone()).expect("an effect"),
            timeout: declared["timeout"].as_str().expect("a timeout").parse().expect("a duration"),
            input: schema("input"),
            output: schema("output"),
            probe: false,
            undo: false,
        })
    }
}

#[tokio::test]
async fn orders_end_as_their_script_says() {
    let folder = root().join("packs/bucket-migration");
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).expect("a file of the pack");
    let script: Script = serde_yaml::from_str(&read("tests/migrate-bucket.yaml")).expect("a script");
    let cache = tempfile::tempdir().expect("a temporary directory");
    let sandbox = Sandbox::new(SandboxConfig {
        cache_dir: cache.path().to_owned(),
        cache_key: [7; 32],
        memory_bytes_max: SandboxConfig::MEMORY_BYTES_MAX,
        attempts_max: 8,
    })
    .expect("a sandbox");
    let evaluator = Expressions::new(&sandbox).expect("an evaluator");
    let declared = Declared(serde_yaml::from_str(&read("pack.yaml")).expect("YAML"));
    let path = format!("workflows/{}.yaml", script.workflow);
    let compiled = compile(Source { path: &path, text: &read(&path) }, &declared, &*evaluator);
    let program = compiled.unwrap_or_else(|findings| panic!("{}", listed(&findings)));
    assert!(program.warnings.is_empty(), "{}", listed(&program.warnings));
    let program = Arc::new(program.program);
    for case in script.cases {
        check(case, &script.workflow, &program, &evaluator).await;
    }
}

fn listed(findings: &[orchestrator_host::definition::Diagnostic]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

async fn check(case: Case, workflow: &str, program: &Arc<Program>, evaluator: &Arc<Expressions>) {
    let scripted = Arc::new(Scripted { replies: Mutex::new(case.replies), last: Mutex::default() });
    let clock = SimClock::new(Timestamp::UNIX_EPOCH);
    let handle = Coordinator::start(Parts {
        journal: Arc::new(MemoryJournal::new()),
        clock: Arc::new(clock.clone()),
        programs: Arc::new(One(Arc::clone(program))),
        perform: scripted.clone(),
        evaluator: evaluator.clone(),
        random: Box::new(|| 0.5),
        attempts_max: 8,
        events: EventSettings::default(),
    })
    .await
    .expect("an engine");
    let start = Start {
        pack: PackName::parse("bucket-migration").expect("a name"),
        version: None,
        workflow: WorkflowName::parse(workflow).expect("a name"),
        service: None,
        name: None,
        input: case.input,
        idempotency_key: None,
    };
    let id = handle.start(start).await.unwrap_or_else(|error| panic!("{}: {error}", case.name)).summary.id;
    let summary = loop {
        let summary = handle.instance(id).expect("an instance");
        if summary.status.is_final() {
            break summary;
        }
        // What it waits for is another attempt, at the simulated clock; each such wait is over after ten minutes.
        if summary.status == Status::Waiting {
            clock.advance(SignedDuration::from_mins(10));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let expected = case.expected;
    assert_eq!(summary.status.as_str(), expected.status, "{}: {:?}", case.name, summary.error);
    assert_eq!(summary.output, expected.output, "{}", case.name);
    let error = serde_json::to_value(&summary.error).expect("JSON");
    expected.error.iter().for_each(|(field, value)| assert_eq!(error[field], *value, "{}: {error}", case.name));
    assert!(scripted.replies.lock().expect("a test").is_empty(), "{}: not every call was made", case.name);
    if let Some(arguments) = expected.last_arguments {
        assert_eq!(*scripted.last.lock().expect("a test"), Some(arguments), "{}", case.name);
    }
    handle.shutdown().await;
}
