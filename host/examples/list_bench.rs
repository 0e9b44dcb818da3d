//! Measures lists of instances: a store is filled with summaries and their index, and pages of 50 are asked for under
//! each filter. `cargo run --release --example list_bench -- [directory] [instances…]`; by default 1,000, 100,000 and
//! 1,000,000 instances of two tenants. A page should take the same time in each.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use orchestrator_host::clock::SystemClock;
use orchestrator_host::coordinator::perform::{Attempt, Finding, Observe};
use orchestrator_host::coordinator::view::{InstanceFilter, InstanceSummary, Status};
use orchestrator_host::coordinator::{Coordinator, Handle, Parts, Perform, ProgramError, Programs, Resolved, index_of};
use orchestrator_host::definition::evaluate::{Bindings, Evaluate, ExpressionError};
use orchestrator_host::definition::graph::{Expression, Program};
use orchestrator_host::journal::sled::SledJournal;
use orchestrator_host::journal::{Batch, Journal, keys, row};
use orchestrator_host::machine::record::Created;
use orchestrator_host::model::{Failure, Json, PackName, Success, TenantName, WorkflowName};
use serde_json::json;
use uuid::Uuid;

/// Items on a page.
const PAGE: usize = 50;

/// Pages asked for under each filter.
const PAGES: usize = 300;

/// Instances written in one batch.
const WRITTEN_AT_ONCE: u64 = 50;

/// Batches on their way into the journal.
const UNDER_WAY: usize = 32;

/// One instance in so many milliseconds: ten a second.
const PAUSE_MS: i64 = 100;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "target/list-bench".to_owned()));
    let mut sizes = arguments.map(|text| text.parse()).collect::<Result<Vec<u64>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for size in sizes {
        runtime.block_on(measure(&directory, size))?;
    }
    Ok(())
}

async fn measure(directory: &Path, size: u64) -> Result<()> {
    let path = directory.join(size.to_string());
    if path.exists() {
        fs::remove_dir_all(&path)?;
    }
    fs::create_dir_all(&path)?;
    let journal = SledJournal::open(&path)?;
    let begin = Instant::now();
    fill(&*journal, size).await?;
    println!("\n{size} instances, written in {:.1?}; {} MiB resident", begin.elapsed(), resident()?);
    let handle = open(journal).await?;
    println!("| a page of {PAGE} | p50 | p99 | items |\n|---|---|---|---|");
    for (name, filter) in filters(size)? {
        page(&handle, name, &filter)?;
    }
    println!("{} MiB resident", resident()?);
    handle.shutdown().await;
    Ok(())
}

/// Asks for first pages, and for the pages behind them.
fn page(handle: &Handle, name: &str, filter: &InstanceFilter) -> Result<()> {
    let (mut times, mut items, mut cursor) = (Vec::with_capacity(PAGES), 0, None::<String>);
    for _ in 0..PAGES {
        let one = Instant::now();
        let page = handle.instances(filter, PAGE, cursor.as_deref())?;
        times.push(one.elapsed());
        items += page.items.len();
        cursor = page.next;
    }
    let (median, high) = percentiles(times);
    println!("| {name} | {median:.1?} | {high:.1?} | {} |", items / PAGES);
    Ok(())
}

fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    (at(50), at(99))
}

fn filters(size: u64) -> Result<Vec<(&'static str, InstanceFilter)>> {
    let middle = created(size / 2)?;
    let owner = Some("oidc:https://id.example|u3".to_owned());
    let base = InstanceFilter::default;
    Ok(vec![
        ("newest first", base()),
        ("oldest first", InstanceFilter { oldest_first: true, ..base() }),
        ("without inputs and outputs", InstanceFilter { brief: true, ..base() }),
        ("of another tenant", InstanceFilter { tenant: TenantName::parse("red")?, ..base() }),
        ("faulted (1 in 50)", InstanceFilter { status: vec![Status::Faulted], ..base() }),
        ("completed", InstanceFilter { status: vec![Status::Completed], ..base() }),
        ("faulted or completed", InstanceFilter { status: vec![Status::Faulted, Status::Completed], ..base() }),
        ("not ended", InstanceFilter { status: vec![Status::Running], ..base() }),
        ("of a service (1 in 10)", InstanceFilter { service: Some("service 3".parse()?), ..base() }),
        ("of a workflow (1 in 10)", InstanceFilter { workflow: Some(WorkflowName::parse("w3")?), ..base() }),
        ("of an owner (1 in 100)", InstanceFilter { created_by: owner.clone(), ..base() }),
        ("of an owner, faulted", InstanceFilter { created_by: owner, status: vec![Status::Faulted], ..base() }),
        ("created before the middle", InstanceFilter { created_before: Some(middle), ..base() }),
        ("created after the middle", InstanceFilter { created_after: Some(middle), oldest_first: true, ..base() }),
        ("name found in each tenth", InstanceFilter { search: Some("special".to_owned()), ..base() }),
        ("name found nowhere", InstanceFilter { search: Some("needle".to_owned()), ..base() }),
    ])
}

fn created(number: u64) -> Result<Timestamp> {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse()?;
    let after = SignedDuration::from_millis(i64::try_from(number)?.saturating_mul(PAUSE_MS));
    Ok(begin.checked_add(after)?)
}

/// Half of the instances are of the tenant `default`, half of `red`.
fn instance(number: u64) -> Result<InstanceSummary> {
    let at = created(number)?;
    let millis = u128::from(at.as_millisecond().unsigned_abs());
    let half = number / 2;
    let (status, ended_at) = if half % 50 == 7 { ("faulted", Some(at)) } else { ("completed", Some(at)) };
    let summary = json!({
        "id": Uuid::from_u128((millis << 80) | (7 << 76) | (2 << 62) | u128::from(number)),
        "name": (half % 10 == 3).then(|| format!("special {number}")),
        "pack": "storage",
        "packVersion": "1.0.0",
        "workflow": format!("w{}", half % 10),
        "service": format!("service {}", half % 10),
        "tenant": if number.is_multiple_of(2) { "default" } else { "red" },
        "createdBy": format!("oidc:https://id.example|u{}", half % 100),
        "status": status,
        "createdAt": at,
        "updatedAt": at,
        "endedAt": ended_at,
        "input": { "name": format!("volume-{number}"), "size": 10, "hostId": "f2b1c9", "profile": "standard" },
        "output": { "volumeId": format!("{number:032x}"), "status": "available", "path": "/dev/mapper/x" },
    });
    serde_json::from_value(summary).context("make a summary")
}

async fn fill(journal: &dyn Journal, size: u64) -> Result<()> {
    let mut under_way = Vec::new();
    let mut number = 0;
    while number < size {
        let mut batch = Batch::default();
        for number in number..size.min(number + WRITTEN_AT_ONCE) {
            let summary = instance(number)?;
            batch = index_of(&summary).into_iter().fold(batch, |batch, key| batch.put(key, bytes::Bytes::new()));
            batch = batch.put(keys::instance(summary.id), row::encode(&summary));
        }
        number += WRITTEN_AT_ONCE;
        under_way.push(journal.commit(batch));
        if under_way.len() >= UNDER_WAY {
            for commit in under_way.drain(..) {
                commit.await?;
            }
        }
    }
    for commit in under_way {
        commit.await?;
    }
    Ok(())
}

async fn open(journal: Arc<dyn Journal>) -> Result<Handle> {
    let parts = Parts {
        journal,
        clock: Arc::new(SystemClock),
        programs: Arc::new(Nothing),
        perform: Arc::new(Nothing),
        evaluator: Arc::new(Nothing),
        random: Box::new(|| 0.5),
        attempts_max: 1,
        events: Default::default(),
        closed: orchestrator_host::coordinator::none_closed(),
    };
    Ok(Coordinator::start(parts).await?)
}

fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
}

/// Has no workflow and runs nothing: there are only lists here.
struct Nothing;

impl Programs for Nothing {
    fn resolve(&self, _: &PackName, _: Option<&semver::Version>, _: &WorkflowName) -> Result<Resolved, ProgramError> {
        Err(ProgramError::NotFound("there is no workflow".to_owned()))
    }

    fn pinned(&self, _: &Created) -> Result<Arc<Program>, ProgramError> {
        Err(ProgramError::NotFound("there is no workflow".to_owned()))
    }
}

impl Perform for Nothing {
    fn run(&self, _: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        std::future::pending().boxed()
    }

    fn probe(&self, _: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        std::future::ready(Ok(Finding::Unknown)).boxed()
    }
}

impl Evaluate for Nothing {
    fn evaluate(&self, _: &Program, expression: &Expression, _: &Bindings<'_>) -> Result<Json, ExpressionError> {
        let message = "nothing is computed here".to_owned();
        Err(ExpressionError { message, text: expression.text.clone(), pointer: String::new() })
    }

    fn check(&self, _: &str, _: &[&str]) -> Result<(), String> {
        Ok(())
    }
}
