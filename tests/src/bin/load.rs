//! Loads a server as `oha` or `wrk` would, and knows what to ask for: reads of single instances and of list pages, starts,
//! and followers of the event stream with the server's memory for each. Build it with `--release`.
//!
//! Figures of reads are given at each of `--sizes`: that many instances are there by then, so that a list whose time grows
//! with them shows. A server of its own is started, unless `--url` names one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::Parser;
use http_body_util::BodyExt as _;
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::keep_alive::KeepAlive;
use orchestrator_tests::server::Server;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Measures reads, starts and followers of a server.
#[derive(Parser)]
struct Arguments {
    /// How long each load runs.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections that ask one request after another, one figure each.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    connections: Vec<usize>,
    /// How many instances are there when reads are measured, one set of figures each, in rising order.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    sizes: Vec<usize>,
    /// Followers of the event stream, opened at the end.
    #[arg(long, default_value_t = 0)]
    followers: usize,
    /// A server that is running already, with the process that its memory is read of.
    #[arg(long, requires = "pid")]
    url: Option<String>,
    /// The process of that server.
    #[arg(long)]
    pid: Option<u32>,
    /// Where the data directory is made; default: the system's temporary directory.
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(arguments.directory.clone().unwrap_or_else(std::env::temp_dir))?;
    let (target, server) = match (&arguments.url, arguments.pid) {
        (Some(url), Some(pid)) => (Target { url: url.clone(), pid }, None),
        _ => {
            let binaries = Binaries::beside()?;
            let server = Server::start(&binaries, directory.path()).await?;
            binaries.run(&["--server", &server.url, "pack", "build", "tests/fixtures/bench-pack"])?;
            binaries.run(&["--server", &server.url, "pack", "install", "tests/fixtures/bench-pack"])?;
            (Target { url: server.url.clone(), pid: server.id() }, Some(server))
        }
    };
    measure(&arguments, &target).await?;
    if let Some(mut server) = server {
        ensure!(server.stop().await, "the server did not stop when asked");
    }
    Ok(())
}

async fn measure(arguments: &Arguments, target: &Target) -> anyhow::Result<()> {
    let length = Duration::from_secs(arguments.seconds);
    let mut known = Known::default();
    Figures::print_head();
    for size in &arguments.sizes {
        known.grow(target, *size).await?;
        println!("{size} instances; the server has {:.1} MB resident", target.resident_mb()?);
        let known = Arc::new(known.clone());
        for connections in &arguments.connections {
            for load in [Load::Get, Load::FirstPage, Load::DeepPage] {
                load.run(target, &known, *connections, length).await?.print(load, *connections);
            }
        }
    }
    for connections in &arguments.connections {
        Load::Start.run(target, &Arc::new(known.clone()), *connections, length).await?.print(Load::Start, *connections);
    }
    if arguments.followers > 0 {
        follow(target, arguments.followers).await?;
    }
    Ok(())
}

/// The server under load.
struct Target {
    url: String,
    pid: u32,
}

impl Target {
    fn resident_mb(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("the kernel reports VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("VmRSS has a value")?.parse()?;
        Ok(kib / 1024.0)
    }
}

/// What there is to ask for.
#[derive(Clone, Default)]
struct Known {
    ids: Vec<String>,
    /// Cursors some pages deep into the list.
    cursors: Vec<String>,
}

/// Instances that are started at the same time while the store is filled.
const FILLING: usize = 64;

/// Cursors that are looked up: more would only take longer.
const CURSORS: usize = 20;

fn start_body() -> Bytes {
    Bytes::from(json!({ "pack": "bench", "workflow": "five-tasks", "input": { "value": 1 } }).to_string())
}

impl Known {
    /// Starts instances until there are `size`.
    async fn grow(&mut self, target: &Target, size: usize) -> anyhow::Result<()> {
        let missing = size.saturating_sub(self.ids.len());
        let mut workers = JoinSet::new();
        for worker in 0..FILLING.min(missing) {
            let count = missing / FILLING + usize::from(worker < missing % FILLING);
            workers.spawn(fill(target.url.clone(), count));
        }
        while let Some(ids) = workers.join_next().await {
            self.ids.extend(ids??);
        }
        self.cursors = cursors(target).await?;
        Ok(())
    }
}

async fn fill(url: String, count: usize) -> anyhow::Result<Vec<String>> {
    let mut client = KeepAlive::connect(&url).await?;
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        let started: Value = serde_json::from_slice(&client.ask_bytes("POST", "/v1/instances", start_body()).await?)?;
        ids.push(started["id"].as_str().context("an instance has an identifier")?.to_owned());
    }
    Ok(ids)
}

async fn cursors(target: &Target) -> anyhow::Result<Vec<String>> {
    let mut client = KeepAlive::connect(&target.url).await?;
    let mut cursors = Vec::new();
    let mut path = "/v1/instances?limit=50".to_owned();
    while cursors.len() < CURSORS {
        let page = client.ask("GET", &path, &Value::Null).await?;
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/instances?limit=50&cursor={next}");
        cursors.push(path.clone());
    }
    Ok(cursors)
}

/// What is asked for.
#[derive(Clone, Copy)]
enum Load {
    Get,
    FirstPage,
    DeepPage,
    Start,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get instance",
            Self::FirstPage => "first page of 50",
            Self::DeepPage => "later page of 50",
            Self::Start => "start",
        }
    }

    /// The request of a turn.
    fn request(self, known: &Known, turn: usize) -> (&'static str, String, Bytes) {
        // A step that shares no factor with the number of instances: all over the store, and the same in each run.
        let pick = |list: &[String]| list.get(turn.wrapping_mul(7919) % list.len().max(1)).cloned();
        let first = || "/v1/instances?limit=50".to_owned();
        match self {
            Self::Get => ("GET", format!("/v1/instances/{}", pick(&known.ids).unwrap_or_default()), Bytes::new()),
            Self::FirstPage => ("GET", first(), Bytes::new()),
            Self::DeepPage => ("GET", pick(&known.cursors).unwrap_or_else(first), Bytes::new()),
            Self::Start => ("POST", "/v1/instances".to_owned(), start_body()),
        }
    }

    async fn run(
        self,
        target: &Target,
        known: &Arc<Known>,
        connections: usize,
        length: Duration,
    ) -> anyhow::Result<Figures> {
        let mut workers = JoinSet::new();
        let (turns, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        for _ in 0..connections {
            let client = KeepAlive::connect(&target.url).await?;
            workers.spawn(self.work(client, known.clone(), turns.clone(), start + length));
        }
        let mut figures = Figures::default();
        while let Some(done) = workers.join_next().await {
            let (times, errors) = done?;
            figures.times.extend(times);
            figures.errors.extend(errors);
        }
        figures.seconds = start.elapsed().as_secs_f64();
        figures.times.sort();
        Ok(figures)
    }

    /// Asks until the end; a broken connection ends it early.
    async fn work(
        self,
        mut client: KeepAlive,
        known: Arc<Known>,
        turns: Arc<AtomicUsize>,
        end: Instant,
    ) -> (Vec<Duration>, Vec<String>) {
        let (mut times, mut errors) = (Vec::new(), Vec::new());
        while Instant::now() < end && errors.len() < ERRORS_MAX {
            let (method, path, body) = self.request(&known, turns.fetch_add(1, Ordering::Relaxed));
            let start = Instant::now();
            match client.ask_bytes(method, &path, body).await {
                Ok(_) => times.push(start.elapsed()),
                Err(error) => errors.push(format!("{error:#}")),
            }
        }
        (times, errors)
    }
}

/// A connection that saw so many errors asks no more.
const ERRORS_MAX: usize = 100;

/// What a load came to.
#[derive(Default)]
struct Figures {
    times: Vec<Duration>,
    errors: Vec<String>,
    seconds: f64,
}

impl Figures {
    fn print_head() {
        println!(
            "{:>18} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9} {:>7}",
            "load", "connections", "requests/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "errors"
        );
    }

    /// The time that so many of a hundred stay below, in milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let at = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        self.times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    fn print(&self, load: Load, connections: usize) {
        println!(
            "{:>18} {connections:>11} {:>11.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>7}",
            load.name(),
            self.times.len() as f64 / self.seconds,
            self.percentile(50),
            self.percentile(90),
            self.percentile(99),
            self.percentile(100),
            self.errors.len()
        );
        if let Some(error) = self.errors.first() {
            println!("{:>18} {error}", "for example:");
        }
    }
}

/// Opens followers, and tells what each costs and how long one event takes to all of them.
async fn follow(target: &Target, count: usize) -> anyhow::Result<()> {
    let before = target.resident_mb()?;
    let heard = Arc::new(AtomicUsize::new(0));
    let mut followers = JoinSet::new();
    let start = Instant::now();
    for number in 0..count {
        let client = KeepAlive::connect(&target.url).await;
        let mut client = client.with_context(|| format!("open follower {number}; `ulimit -n` bounds them here too"))?;
        let response = client.send("GET", "/v1/events", Bytes::new()).await?;
        ensure!(response.status().is_success(), "follower {number} was refused: {}", response.status());
        followers.spawn(listen(client, response, heard.clone()));
    }
    let after = target.resident_mb()?;
    println!(
        "{count} followers opened in {:.2} s; {:.1} MB before, {:.1} MB with them: {:.1} KiB each",
        start.elapsed().as_secs_f64(),
        before,
        after,
        (after - before) * 1024.0 / count as f64
    );
    let start = Instant::now();
    let mut starter = KeepAlive::connect(&target.url).await?;
    starter.ask_bytes("POST", "/v1/instances", start_body()).await?;
    while heard.load(Ordering::Relaxed) < count {
        ensure!(start.elapsed() < Duration::from_secs(60), "only {} followers heard it", heard.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("an event reached all of them after {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    println!("{:.1} MB after that", target.resident_mb()?);
    Ok(())
}

/// Reads a stream until it ends; counts the first event of an instance that is heard.
async fn listen(client: KeepAlive, response: hyper::Response<hyper::body::Incoming>, heard: Arc<AtomicUsize>) {
    let mut body = response.into_body();
    let mut first = true;
    while let Some(Ok(frame)) = body.frame().await {
        let is_event = frame.data_ref().is_some_and(|data| data.windows(6).any(|part| part == b"event:"));
        if is_event && std::mem::take(&mut first) {
            heard.fetch_add(1, Ordering::Relaxed);
        }
    }
    drop(client);
}
