//! Shows the whole: a bucket migrated between two S3 servers, watched live, compared object by object. Everything runs
//! in a temporary directory and is gone afterwards, unless `--keep` asks for more.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use futures_util::StreamExt;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::{Rest, is_final};
use orchestrator_tests::migration::{DESTINATION, Digested, Mix, SERVICE, SOURCE, Scene, compare, digests, fill};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// Migrates a bucket between two S3 servers and shows what happens.
#[derive(Parser)]
struct Arguments {
    /// How many objects there are, six large ones of 17 to 30 MiB among them.
    #[arg(long, default_value_t = 300)]
    objects: usize,
    /// Chooses names, sizes and content.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Removes the originals once their copies are proved.
    #[arg(long)]
    remove_source: bool,
    /// Leaves everything running afterwards, and says how to talk to it, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Where the temporary directory is made.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Large objects in the bucket, as far as there are objects at all.
const LARGE: usize = 6;

/// Without a terminal, progress is told at most this often.
const LINE_EVERY: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Whichever way the play ends, the scene is dropped before this returns, and with it all processes and files.
    let ended = tokio::select! {
        ended = play(arguments) => ended,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn interrupted() {
    let mut terminated = signal(SignalKind::terminate()).expect("a signal handler can be set");
    let mut hung_up = signal(SignalKind::hangup()).expect("a signal handler can be set");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
        _ = hung_up.recv() => {}
    }
}

/// The whole; whether every object arrived.
async fn play(arguments: Arguments) -> anyhow::Result<bool> {
    let binaries = Binaries::beside()?;
    let directory = tempfile::Builder::new()
        .prefix("orchestrator-demo-")
        .tempdir_in(arguments.directory.clone().unwrap_or_else(std::env::temp_dir))?;

    step("building the pack and starting the servers");
    let mut scene = Scene::start(&binaries, directory.path()).await?;
    println!("  orchestrator  {} (ready after {} ms)", scene.server.url, scene.server.ready_after.as_millis());
    println!("  source        {}/{SOURCE}", scene.source.url);
    println!("  destination   {}/{DESTINATION}", scene.destination.url);

    step("filling the source bucket");
    let large = LARGE.min(arguments.objects);
    let mix = Mix { small: arguments.objects - large, large, first: 0, seed: arguments.seed };
    let totals = fill(&scene.source.client(), SOURCE, mix).await?;
    println!("  {} objects, {}", totals.objects, HumanBytes(totals.bytes));
    let originals = digests(&scene.source.client(), SOURCE).await?;

    step(&format!("ordering the service `{SERVICE}`"));
    let rest = scene.rest();
    let key = format!("demo-{}", arguments.seed);
    let ordered = rest.order(SERVICE, Scene::order(!arguments.remove_source), &key).await?;
    let id = ordered["id"].as_str().context("an instance has an id")?.to_owned();
    let again = rest.order(SERVICE, Scene::order(!arguments.remove_source), &key).await?;
    anyhow::ensure!(again["id"] == ordered["id"], "the same Idempotency-Key ordered a second instance");
    println!("  instance {id}");

    let start = Instant::now();
    let summary = watch(&rest, &id).await?;
    let took = start.elapsed();
    println!("  {} after {:.1} s", summary["status"].as_str().unwrap_or("?"), took.as_secs_f64());
    for part in ["output", "error"] {
        if !summary[part].is_null() {
            println!("  {part}: {}", summary[part]);
        }
    }

    step("the tasks of the instance");
    print_tasks(&rest.get(&format!("/v1/instances/{id}/tasks")).await?);

    step("comparing the buckets object by object");
    let fine = judge(&scene, &originals, arguments.remove_source).await? && summary["status"] == "completed";
    println!("  {}", if fine { "everything arrived" } else { "NOT everything arrived" });

    if arguments.keep {
        keep(&scene, &id).await;
    }
    scene.server.stop().await;
    Ok(fine)
}

fn step(text: &str) {
    println!("\n== {text}");
}

/// Follows the instance's events and shows its progress until it has ended.
async fn watch(rest: &Rest, id: &str) -> anyhow::Result<Value> {
    let mut events = rest.events(id, None).await?;
    let mut shown = Shown::new();
    while let Some(event) = events.next().await {
        let event = event?;
        match event["event"].as_str() {
            Some("progress") => shown.progress(&event),
            Some("log") => shown.line(&format!("  {}", event["message"].as_str().unwrap_or_default())),
            _ => {}
        }
        if matches!(event["record"].as_str(), Some("completed" | "faulted" | "cancelled" | "ended")) {
            break;
        }
    }
    shown.end();
    // The stream may end before the instance when the server sheds a slow follower; the summary is what counts.
    let summary = rest.ended(id, Duration::from_secs(3_600)).await?;
    debug_assert!(is_final(&summary));
    Ok(summary)
}

/// A bar on a terminal, lines elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    task: String,
    told: Option<Instant>,
}

impl Shown {
    fn new() -> Self {
        let bar = std::io::stdout().is_terminal().then(|| {
            let style = ProgressStyle::with_template("  {prefix:14} [{bar:36}] {bytes}/{total_bytes} {msg}");
            ProgressBar::new(0).with_style(style.expect("the template is a constant").progress_chars("=> "))
        });
        Self { bar, task: String::new(), told: None }
    }

    fn progress(&mut self, event: &Value) {
        let task = event["name"].as_str().unwrap_or_default();
        let measure = |unit: &str| {
            let measures = event["measures"].as_array().map(Vec::as_slice).unwrap_or_default();
            let found = measures.iter().find(|measure| measure["unit"] == unit).unwrap_or(&Value::Null);
            (found["done"].as_u64().unwrap_or(0), found["total"].as_u64().unwrap_or(0))
        };
        let (objects, bytes) = (measure("objects"), measure("bytes"));
        if let Some(bar) = &self.bar {
            bar.set_prefix(task.to_owned());
            bar.set_length(bytes.1);
            bar.set_position(bytes.0);
            bar.set_message(format!("{}/{} objects", objects.0, objects.1));
        } else if self.task != task || self.told.is_none_or(|told| told.elapsed() >= LINE_EVERY) {
            self.told = Some(Instant::now());
            let (done, total) = (HumanBytes(bytes.0), HumanBytes(bytes.1));
            println!("  {task}: {}/{} objects, {done} of {total}", objects.0, objects.1);
        }
        task.clone_into(&mut self.task);
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => println!("{text}"),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

fn print_tasks(tasks: &Value) {
    let tasks = tasks["items"].as_array().or(tasks.as_array()).cloned().unwrap_or_default();
    let row = |cells: [&str; 6]| {
        println!("  {:<22} {:<11} {:>9} {:>8} {:<46} {}", cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]);
    };
    row(["task", "status", "took", "attempts", "action", "error"]);
    for task in &tasks {
        let text = |name: &str| task[name].as_str().unwrap_or("").to_owned();
        let took = took(&text("startedAt"), &text("endedAt")).unwrap_or_default();
        let attempts = task["attempts"].as_array().map_or(0, Vec::len);
        let attempts = if attempts == 0 { String::new() } else { attempts.to_string() };
        let indent = if task["parent"].is_null() { "" } else { "  " };
        let name = format!("{indent}{}", text("name"));
        let error = task["error"]["detail"].as_str().unwrap_or("");
        row([&name, &text("status"), &took, &attempts, &text("action"), error]);
    }
}

fn took(start: &str, end: &str) -> Option<String> {
    let (start, end): (Timestamp, Timestamp) = (start.parse().ok()?, end.parse().ok()?);
    Some(format!("{:.3} s", end.duration_since(start).as_secs_f64()))
}

/// Compares the buckets and prints what was found; whether it is as it should be.
async fn judge(
    scene: &Scene,
    originals: &std::collections::BTreeMap<String, Digested>,
    removed: bool,
) -> anyhow::Result<bool> {
    let (source, destination) = (scene.source.client(), scene.destination.client());
    let found = compare((&source, SOURCE), (&destination, DESTINATION)).await?;
    println!("  source       {:>6} objects, {}", found.source.objects, HumanBytes(found.source.bytes));
    println!("  destination  {:>6} objects, {}", found.destination.objects, HumanBytes(found.destination.bytes));
    // What was put in is the measure: after a removal the source has nothing left to compare with.
    let arrived = digests(&destination, DESTINATION).await?;
    let same = originals.iter().filter(|(key, original)| arrived.get(*key) == Some(*original)).count();
    println!("  {same} of {} have the same length, SHA-256, type and metadata", originals.len());
    let source_as_asked = if removed { found.source.objects == 0 } else { found.differences.is_empty() };
    if !removed {
        found.differences.iter().take(20).for_each(|difference| println!("  {difference}"));
    } else if !source_as_asked {
        println!("  {} objects are still at the source", found.source.objects);
    }
    Ok(same == originals.len() && arrived.len() == originals.len() && source_as_asked)
}

async fn keep(scene: &Scene, id: &str) {
    step("everything stays up until Ctrl-C");
    let url = &scene.server.url;
    println!("  curl {url}/v1/instances/{id}");
    println!("  orchctl --server {url} instance list");
    for (name, server) in [("source", &scene.source), ("destination", &scene.destination)] {
        println!("  {name}: S3 at {} with access key {} and secret key {}", server.url, server.access, server.secret);
    }
    println!("  log: {}", scene.server.log().display());
    std::future::pending::<()>().await;
}
