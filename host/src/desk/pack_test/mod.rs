//! Tests of a pack, as its author writes them: each file of `tests/` holds cases of one workflow, each case is one run in
//! this process. The machine, the coordinator, the sandbox and the components are those of the server; what is outside
//! of the pack answers as the file says, waits are skipped, chance stands still. Nothing leaves this machine.
//!
//! Reading order: what a file says (`case`, `read`), the pack under test (`bench`), its outside (`script`, `perform`),
//! whether it came as expected (`judge`), what was gone through (`coverage`).

mod bench;
mod case;
mod coverage;
mod judge;
mod mail;
mod perform;
mod read;
mod script;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use futures_util::StreamExt as _;
use jiff::Timestamp;

use super::drive::{Death, Ended, Events, Work};
use super::tools::Tools;
use super::{Outcome, Time, done, memory};
use crate::coordinator::Start;
use crate::journal::faulty::Crash;
use crate::machine::record::{Outcome as CallOutcome, Record};
use crate::model::{Reaction, TenantName, WorkflowName};
pub use bench::BenchError;
use bench::{Bench, Shelf};
use case::{Case, TestFile};
pub use case::{Fault, Verdict};
use coverage::Reached;
pub use coverage::{Count, Coverage};
use judge::judge;
pub(super) use judge::with_instance;
use perform::Performer;
use script::Script;

/// When every run begins, so that no run depends on the day.
const START: &str = "2026-01-01T00:00:00Z";

/// So many cases run side by side; each takes a core while it computes.
const SIDE_BY_SIDE: usize = 4;

/// What is tested, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only cases whose file or name has this text.
    pub case: Option<String>,
    /// Run each case again with the process dying at each record in turn.
    pub crash: bool,
}

/// A pack whose test files were read.
pub struct PackTest {
    bench: Arc<Bench>,
    files: Vec<TestFile>,
}

/// What came of a pack's tests.
#[derive(Debug)]
pub struct Report {
    /// How many cases passed.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
    /// How many were left out.
    pub filtered: usize,
    /// What of the pack's workflows was gone through, by name.
    pub coverage: Vec<Coverage>,
}

impl PackTest {
    /// Reads the pack in `folder` and its tests. Actions of other packs are declared by the packs in `others` and beside
    /// the folder, as far as they are there.
    ///
    /// # Errors
    /// The pack or a test file has errors, or cannot be read.
    pub async fn open(folder: &Path, others: &[PathBuf], tools: Arc<Tools>) -> Result<Self, BenchError> {
        let bench = Arc::new(Bench::open(folder, others, tools).await?);
        let files = bench.files()?;
        Ok(Self { bench, files })
    }

    /// The pack's name.
    pub fn name(&self) -> &str {
        self.bench.manifest.name.as_str()
    }

    /// How many cases there are.
    pub fn cases(&self) -> usize {
        self.files.iter().map(|file| file.cases.len()).sum()
    }

    /// Runs the cases; `told` hears of each as it is done, in the order of the files.
    pub async fn run(&mut self, options: &Options, told: &mut dyn FnMut(Verdict)) -> Report {
        let mut report = Report { passed: 0, failed: 0, filtered: 0, coverage: Vec::new() };
        let mut chosen = Vec::new();
        for file in std::mem::take(&mut self.files) {
            for case in file.cases {
                let wanted =
                    options.case.as_deref().is_none_or(|text| case.name.contains(text) || file.path.contains(text));
                match wanted {
                    true => chosen.push((file.path.clone(), file.workflow.clone(), Arc::new(case))),
                    false => report.filtered += 1,
                }
            }
        }
        let runs = chosen.into_iter().map(|(path, workflow, case)| {
            let bench = self.bench.clone();
            let crash = options.crash;
            async move { Tested { bench, path, workflow, case, crash }.run().await }
        });
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut runs = futures_util::stream::iter(runs).buffered(cores.min(SIDE_BY_SIDE));
        let mut reached: BTreeMap<WorkflowName, Reached> = BTreeMap::new();
        while let Some((verdict, ended)) = runs.next().await {
            for history in ended.iter().flat_map(|ended| &ended.histories) {
                reached.entry(history.program.name.clone()).or_default().take(history);
            }
            *if verdict.passed() { &mut report.passed } else { &mut report.failed } += 1;
            told(verdict);
        }
        let of = |(name, program): (&WorkflowName, &Arc<_>)| reached.remove(name).unwrap_or_default().of(program);
        report.coverage = self.bench.programs.iter().map(of).collect();
        report
    }
}

/// One case that is run.
struct Tested {
    bench: Arc<Bench>,
    path: String,
    workflow: WorkflowName,
    case: Arc<Case>,
    crash: bool,
}

impl Tested {
    async fn run(self) -> (Verdict, Option<Ended>) {
        let began = Instant::now();
        let (script, ended) = self.once(None).await;
        let mut faults = match &ended {
            Ok(ended) => judge(&self.case.expect, ended, &script),
            Err(fault) => script.unexpected().into_iter().chain([fault.clone()]).collect(),
        };
        let (mut came, mut log) = script.story();
        let mut crashes = 0;
        if let (true, true, Ok(whole)) = (self.crash && self.case.crash, faults.is_empty(), &ended) {
            let (killed, fallen) = self.killed(whole).await;
            crashes = killed;
            if let Some((found, script)) = fallen {
                faults = found;
                (came, log) = script.story();
            }
        }
        let Self { path, workflow, case, .. } = self;
        let (line, name, took) = (case.line, case.name.clone(), began.elapsed());
        (Verdict { path, line, workflow, name, faults, came, log, crashes, took }, ended.ok())
    }

    /// One run, with a death in the middle where one is asked for.
    async fn once(&self, death: Option<(u64, Crash)>) -> (Arc<Script>, Result<Ended, Fault>) {
        let script = Arc::new(Script::new(self.case.clone()));
        let reborn = script.clone();
        let death = death.map(|(commits, crash)| Death { commits, crash, reborn: Box::new(move || reborn.reborn()) });
        let work = Work {
            start: self.order(),
            programs: Arc::new(Shelf(self.bench.clone())),
            perform: Arc::new(Performer::new(self.bench.clone(), script.clone())),
            evaluator: self.bench.tools.evaluator.clone(),
            time: Time::Skip(START.parse::<Timestamp>().expect("a fixed text that is a time")),
            journal: memory(),
            events: Events::new(self.case.events.clone()),
            cancel: self.case.cancel.clone(),
            death,
        };
        let ended = tokio::select! {
            ended = done(work) => ended.map_err(Fault::wrong),
            () = script.given_up() => Err(Fault::wrong("the case was given up: too much came that has no answer")),
        };
        (script, ended)
    }

    fn order(&self) -> Start {
        let manifest = &self.bench.manifest;
        Start {
            pack: manifest.name.clone(),
            version: Some(manifest.version.clone()),
            workflow: self.workflow.clone(),
            service: None,
            name: None,
            input: self.case.input.clone(),
            // After a death the order is given again; it must not become two instances.
            idempotency_key: Some("order".to_owned()),
            tenant: TenantName::standard(),
            created_by: None,
            rerun_of: None,
            asked: None,
            note: None,
        }
    }

    /// Runs the case again with a death at each commit: once with what was out done, once with it never arrived.
    async fn killed(&self, whole: &Ended) -> (usize, Option<(Vec<Fault>, Arc<Script>)>) {
        let mut killed = 0;
        for commits in 0..whole.commits {
            for crash in [Crash::Frozen, Crash::Unanswered] {
                let (script, ended) = self.once(Some((commits, crash))).await;
                let faults = match ended {
                    Err(fault) => vec![fault],
                    Ok(ended) => self.after_death(whole, &ended, &script),
                };
                if !faults.is_empty() {
                    let what = format!("the process died at commit {} of {}", commits + 1, whole.commits);
                    let died = match crash {
                        Crash::Unanswered => format!("{what}, right after it was durable"),
                        Crash::Frozen | Crash::Failing => format!("{what}, before it was durable"),
                    };
                    let faults = [Fault::wrong(died)].into_iter().chain(faults).collect();
                    return (killed, Some((faults, script)));
                }
                killed += 1;
            }
        }
        (killed, None)
    }

    fn after_death(&self, whole: &Ended, ended: &Ended, script: &Script) -> Vec<Fault> {
        let unexpected = script.unexpected();
        if !unexpected.is_empty() {
            return unexpected;
        }
        if is_blind(ended) && !is_blind(whole) {
            // Nobody can know whether the call took effect: the workflow is told so, and goes its own way to an end.
            let reason = ended.outcome.stopped.clone();
            return reason.map(|reason| Fault::differs("the instance's end", "an end", reason)).into_iter().collect();
        }
        let mut faults = judge(&self.case.expect, ended, script);
        faults.extend(same(&whole.outcome, &ended.outcome, (whole, ended)));
        faults
    }
}

/// Whether somebody was told that it is unknown whether a call took effect.
fn is_blind(ended: &Ended) -> bool {
    let mut records = ended.histories.iter().flat_map(|history| &history.records);
    records.any(|stamped| match &stamped.record {
        Record::Result { outcome: CallOutcome::Failed(failure), .. } => {
            failure.reaction == Reaction::Unknown && failure.problem.title == "outcome unknown"
        }
        _ => false,
    })
}

/// Matches a UUID.
fn identifier() -> &'static regex::Regex {
    static PATTERN: LazyLock<regex::Regex> = LazyLock::new(|| {
        regex::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").expect("a fixed pattern that is one")
    });
    &PATTERN
}

/// Whether the same came of it as without the death.
fn same(whole: &Outcome, after: &Outcome, (one, other): (&Ended, &Ended)) -> Vec<Fault> {
    let shown = |outcome: &Outcome, ended: &Ended| {
        let mut value = serde_json::json!({ "status": outcome.status, "output": outcome.output });
        value["error"] = outcome.error.as_ref().map(crate::model::ErrorObject::to_json).unwrap_or_default();
        // Each run has an instance of its own, and what the server makes meanwhile has its own identifiers.
        let text = value.to_string().replace(&ended.instance(), "${instance}");
        identifier().replace_all(&text, "<id>").into_owned()
    };
    let (expected, got) = (shown(whole, one), shown(after, other));
    match expected == got {
        true => Vec::new(),
        false => vec![Fault::differs("what comes of it after the crash", expected, got)],
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
