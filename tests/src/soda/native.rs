//! The storage pack's workflows on the real engine, in this process and without waiting: actions run natively and ask a
//! double. So every fault of every request can be tried in the time that a few real servers take to start.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orchestrator_host::coordinator::Perform;
use orchestrator_host::coordinator::perform::{Attempt, Finding, Observe};
use orchestrator_host::definition::evaluate::Evaluate;
use orchestrator_host::desk::actions::{DeskActions, Folders};
use orchestrator_host::desk::tools::Tools;
use orchestrator_host::desk::{self, Outcome, Plan, SharedActions, Time};
use orchestrator_host::model::{self, Failure, Json, PackName, ResourceChange, Success};
use orchestrator_sdk::action::{Finding as Found, Invocation, Phase, Reply, Success as Left};
use orchestrator_sdk::testing::{Outside, Reply as Answer, Sent};
use orchestrator_sdk::{Change, Error, Reaction};

use super::{Exchange, Soda};
use crate::binaries::root;

/// What comes of an action's request.
fn answer(soda: &Soda, sent: &Sent) -> Answer {
    match soda.exchange(&sent.method, &sent.target, sent.body.as_deref().unwrap_or_default()) {
        Exchange::Answered { status, body } => Answer::bytes(status, body),
        Exchange::Hung => Answer::timeout(),
        Exchange::Broken => Answer::interrupted(),
        Exchange::Refused => Answer::unavailable(),
    }
}

/// The pack, read once.
pub struct Bench {
    evaluator: Arc<dyn Evaluate>,
    actions: SharedActions,
    texts: Vec<(String, String)>,
}

/// What actions made and removed, in order: the ledger.
pub type Ledger = Vec<(String, String, ResourceChange)>;

impl Bench {
    /// The pack with the sandbox for its expressions, which is made once per process.
    pub fn open() -> &'static Self {
        static BENCH: OnceLock<Bench> = OnceLock::new();
        BENCH.get_or_init(|| {
            let folder = root().join("packs/storage");
            let cache: PathBuf = root().join("target/storage-bench");
            let tools = Tools::open(Some(&cache)).expect("a sandbox for expressions");
            let folders = Folders::read([folder.as_path()]).expect("the pack can be read");
            let own = PackName::parse("storage").ok();
            let actions: SharedActions = Arc::new(DeskActions::new(Arc::new(folders.actions), own, false));
            let bench = Self { evaluator: tools.evaluator.clone(), actions, texts: folders.workflows };
            // The sandbox has to outlive every run of this process.
            std::mem::forget(tools);
            bench
        })
    }

    /// Runs a workflow to its end; waits take no time.
    pub async fn run(&self, workflow: &str, input: Json, soda: Arc<Soda>) -> (Outcome, Ledger) {
        let perform = Arc::new(Native { soda, ledger: Mutex::default() });
        let end = format!("/{workflow}.yaml");
        let (path, text) = self.texts.iter().find(|(path, _)| path.ends_with(&end)).expect("a workflow of the pack");
        let plan = Plan {
            path: path.clone(),
            text: text.clone(),
            input,
            events: Vec::new(),
            time: Time::Skip(jiff::Timestamp::UNIX_EPOCH),
            perform: perform.clone(),
            journal: desk::memory(),
            evaluator: self.evaluator.clone(),
            siblings: Vec::new(),
            actions: self.actions.clone(),
        };
        let outcome =
            desk::run(plan).await.unwrap_or_else(|findings| panic!("{workflow} does not compile: {findings:?}"));
        assert_eq!(outcome.warnings, [], "{workflow} compiles without warnings");
        let ledger = perform.ledger.lock().expect("no run panics while it holds the ledger").clone();
        (outcome, ledger)
    }
}

/// Runs actions as plain functions.
struct Native {
    soda: Arc<Soda>,
    ledger: Mutex<Ledger>,
}

impl Native {
    fn serve(&self, attempt: &Attempt, phase: Phase) -> Result<Reply, Error> {
        let action = attempt.call.callee.action().expect("workflows of this pack call actions alone");
        let instance = attempt.instance.to_string();
        let outside = Outside::new();
        let soda = self.soda.clone();
        outside.answer_with(move |sent| answer(&soda, sent));
        storage_provisioning::serve_action(Invocation {
            action: action.action.to_string(),
            phase,
            instance,
            task: attempt.reference.clone(),
            idempotency_key: attempt.call.key.clone(),
            attempt: attempt.call.attempt,
            timeout: attempt.call.timeout.unsigned_abs(),
            checkpoint: attempt.call.checkpoint.as_ref().map(Json::to_string),
        })
    }

    fn success(&self, left: Left) -> Success {
        let json = |text: String| serde_json::from_str(&text).expect("actions write JSON");
        let change = |change| match change {
            Change::Created => ResourceChange::Created,
            Change::Deleted => ResourceChange::Deleted,
        };
        let noted = left.resources.into_iter().map(|noted| (noted.kind, noted.id, change(noted.change)));
        self.ledger.lock().expect("no run panics while it holds the ledger").extend(noted);
        Success { output: json(left.output), receipt: left.receipt.map(json), resources: Vec::new() }
    }

    fn ran(&self, attempt: &Attempt) -> Result<Success, Failure> {
        match self.serve(attempt, Phase::Run(attempt.call.arguments.to_string())).map_err(failure)? {
            Reply::Succeeded(left) => Ok(self.success(left)),
            other => panic!("a run answered {other:?}"),
        }
    }

    fn probed(&self, attempt: &Attempt) -> Result<Finding, Failure> {
        match self.serve(attempt, Phase::Probe(attempt.call.arguments.to_string())).map_err(failure)? {
            Reply::Probed(Found::Done(left)) => Ok(Finding::Done(self.success(left))),
            Reply::Probed(Found::NotDone) => Ok(Finding::NotDone),
            Reply::Probed(Found::Unknown) => Ok(Finding::Unknown),
            other => panic!("a probe answered {other:?}"),
        }
    }
}

impl Perform for Native {
    fn run(&self, attempt: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        std::future::ready(self.ran(&attempt)).boxed()
    }

    fn probe(&self, attempt: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        std::future::ready(self.probed(&attempt)).boxed()
    }
}

/// An action's error as the engine gets it from a component.
fn failure(error: Error) -> Failure {
    let reaction = match error.reaction {
        Reaction::Transient { retry_after } => {
            model::Reaction::Transient { retry_after_ms: retry_after.map(|after| after.as_millis() as u64) }
        }
        Reaction::Permanent => model::Reaction::Permanent,
        Reaction::Unknown => model::Reaction::Unknown,
    };
    let orchestrator_sdk::Problem { kind, status, title, detail } = error.problem;
    Failure { reaction, problem: model::Problem { kind, status, title, detail } }
}
