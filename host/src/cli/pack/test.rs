//! `orchctl pack test`: the cases in a pack's `tests/*.yaml`, run in this process and told like a test runner's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{failed, report};
use crate::cli::Context;
use crate::cli::error::Error;
use crate::cli::output::{aside, line};
use crate::cli::workflow::desk::tools;
use crate::desk::pack_test::{BenchError, Count, Coverage, Fault, Options, PackTest, Report, Verdict};
use crate::desk::tools::Tools;
use crate::pack::build;

pub(super) const HELP: &str = "Examples:
  orchctl pack test                                   # the pack in this folder
  orchctl pack test packs/greeting --case English     # only cases whose file or name has this text
  orchctl pack test packs/greeting --crash            # each case again, with the process dying at each record
  orchctl pack test packs/greeting --coverage-min 90   # fails where less of a workflow is gone through";

#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// The packs' folders; by default this one.
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Run only cases whose file or name has this text.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Run each case again with the process dying at each of its records in turn.
    #[arg(long)]
    crash: bool,
    /// Fail where less than so much of the pack's workflows is gone through.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    coverage_min: Option<u8>,
    /// The folder of another pack whose actions these call; those beside the pack are found by themselves.
    #[arg(long = "with", value_name = "DIR")]
    with: Vec<PathBuf>,
    /// Build the components first.
    #[arg(long)]
    build: bool,
    /// Where compiled code is kept; by default below the user's cache folder.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl Test {
    pub(in crate::cli) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let here = [PathBuf::from(".")];
        let folders = if self.folders.is_empty() { &here[..] } else { &self.folders };
        let tools = Arc::new(tools(self.cache.as_deref())?);
        let (mut all, mut wrong) = (Vec::new(), Vec::new());
        for folder in folders {
            let tested = self.pack(context, folder, &tools).await?;
            wrong.extend(tested.wrong);
            all.push(tested.data);
        }
        if !context.output.is_for_people() {
            context.output.data(&json!({ "items": all }))?;
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Error::Failed(wrong.join("; "))),
        }
    }

    async fn pack(&self, context: &Context, folder: &Path, tools: &Arc<Tools>) -> Result<Tested, Error> {
        if self.build {
            build::build(folder, &mut |text| aside(text)).map_err(failed)?;
        }
        let began = Instant::now();
        let mut pack = PackTest::open(folder, &self.with, tools.clone()).await.map_err(unreadable)?;
        let people = context.output.is_for_people();
        if people {
            let cases = pack.cases();
            line(&format!("running {cases} case{} of pack {}", if cases == 1 { "" } else { "s" }, pack.name()))?;
        }
        let options = Options { case: self.case.clone(), crash: self.crash };
        let (mut verdicts, mut output) = (Vec::new(), Ok(()));
        let report = pack
            .run(&options, &mut |verdict| {
                if people && output.is_ok() {
                    output = line(&told(&verdict));
                }
                verdicts.push(verdict);
            })
            .await;
        output?;
        if people {
            verdicts
                .iter()
                .filter(|verdict| !verdict.passed())
                .try_for_each(|verdict| line(&failure(folder, verdict)))?;
            line(&format!("\n{}", summary(&report, began.elapsed())))?;
            line(&coverage(&report.coverage))?;
        }
        let wrong = self.wrong(pack.name(), &report);
        Ok(Tested { data: data(folder, pack.name(), &report, &verdicts), wrong })
    }

    /// What makes the command fail.
    fn wrong(&self, pack: &str, report: &Report) -> Vec<String> {
        let failed = match report.failed {
            0 => None,
            1 => Some(format!("one case of pack `{pack}` failed")),
            failed => Some(format!("{failed} cases of pack `{pack}` failed")),
        };
        let min = usize::from(self.coverage_min.unwrap_or(0));
        let thin = report.coverage.iter().filter(|one| one.percent() < min).map(|one| {
            format!("{}% of workflow `{}` is gone through, and {min}% has to be", one.percent(), one.workflow)
        });
        failed.into_iter().chain(thin).collect()
    }
}

struct Tested {
    data: Json,
    wrong: Vec<String>,
}

fn unreadable(error: BenchError) -> Error {
    match error {
        BenchError::Findings(findings) => Error::Failed(format!("the pack has errors\n\n{}", report(&findings))),
        BenchError::Failed(text) => Error::Failed(text),
    }
}

fn told(verdict: &Verdict) -> String {
    let result = if verdict.passed() { "ok" } else { "FAILED" };
    let crashes = match verdict.crashes {
        0 => String::new(),
        crashes => format!(", {crashes} crashes"),
    };
    format!("{}: {} ... {result} ({} ms{crashes})", verdict.workflow, verdict.name, verdict.took.as_millis())
}

/// Everything that helps to see why.
fn failure(folder: &Path, verdict: &Verdict) -> String {
    let place = folder.join(&verdict.path);
    let mut text = format!("\n---- {}\n     {}:{}\n", verdict.name, place.display(), verdict.line);
    for fault in &verdict.faults {
        text.push_str(&shown(fault));
    }
    if !verdict.came.is_empty() {
        text.push_str("  what came, in order:\n");
        verdict.came.iter().for_each(|came| text.push_str(&format!("    {came}\n")));
    }
    if !verdict.log.is_empty() {
        text.push_str("  log of the actions:\n");
        verdict.log.iter().for_each(|line| text.push_str(&format!("    {}\n", line.replace('\n', "\n      "))));
    }
    text.trim_end().to_owned()
}

fn shown(fault: &Fault) -> String {
    let mut text = format!("  {}\n", fault.what.trim_end());
    let parts = [("expected", &fault.expected), ("got", &fault.got), ("help", &fault.cure)];
    for (name, part) in parts.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?))) {
        text.push_str(&format!("    {name:>8}: {part}\n"));
    }
    text
}

fn summary(report: &Report, took: std::time::Duration) -> String {
    let Report { passed, failed, filtered, .. } = report;
    let result = if *failed == 0 { "ok" } else { "FAILED" };
    let took = took.as_secs_f64();
    format!("test result: {result}. {passed} passed; {failed} failed; {filtered} filtered out; finished in {took:.2}s")
}

fn coverage(all: &[Coverage]) -> String {
    let width = all.iter().map(|one| one.workflow.as_str().len()).max().unwrap_or(0).max(8);
    let mut text =
        format!("\n{:width$}  {:>7}  {:>8}  {:>7}  {:>5}\n", "COVERAGE", "TASKS", "BRANCHES", "CATCHES", "ALL");
    let count = |count: &Count| format!("{}/{}", count.reached(), count.all);
    for one in all {
        let (tasks, branches, catches) = (count(&one.tasks), count(&one.branches), count(&one.catches));
        let name = one.workflow.as_str();
        text.push_str(&format!("{name:width$}  {tasks:>7}  {branches:>8}  {catches:>7}  {:>4}%\n", one.percent()));
        for missed in [&one.tasks, &one.branches, &one.catches].into_iter().flat_map(|count| &count.missed) {
            text.push_str(&format!("  not reached: {missed}\n"));
        }
    }
    text.trim_end().to_owned()
}

fn data(folder: &Path, pack: &str, report: &Report, verdicts: &[Verdict]) -> Json {
    let fault =
        |fault: &Fault| json!({ "what": fault.what, "expected": fault.expected, "got": fault.got, "cure": fault.cure });
    let verdict = |verdict: &Verdict| {
        json!({
            "file": folder.join(&verdict.path), "line": verdict.line, "workflow": verdict.workflow, "name": verdict.name,
            "passed": verdict.passed(), "tookMs": verdict.took.as_millis() as u64, "crashes": verdict.crashes,
            "faults": verdict.faults.iter().map(fault).collect::<Vec<_>>(), "came": verdict.came, "log": verdict.log,
        })
    };
    let coverage = |one: &Coverage| {
        let mut value = serde_json::to_value(one).expect("names and numbers are JSON");
        value["percent"] = json!(one.percent());
        value
    };
    json!({
        "pack": pack, "folder": folder, "passed": report.passed, "failed": report.failed, "filtered": report.filtered,
        "cases": verdicts.iter().map(verdict).collect::<Vec<_>>(),
        "coverage": report.coverage.iter().map(coverage).collect::<Vec<_>>(),
    })
}
