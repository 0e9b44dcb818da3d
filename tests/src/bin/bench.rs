//! Measures the real server: durable instances per second over REST, time from start to ready, memory when idle.
//! Prints its figures beside the raw cost of an append and sync in the same run. Build it with `--release`.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::keep_alive::KeepAlive;
use orchestrator_tests::server::Server;
use serde_json::{Value, json};

/// Measures durable instances per second, start-up and memory of the real server.
#[derive(Parser)]
struct Arguments {
    /// How long each load runs.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many instances are in flight, one figure each.
    #[arg(long, value_delimiter = ',', default_value = "1,32,256")]
    in_flight: Vec<usize>,
    /// Where the data directory is made; default: the system's temporary directory.
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let binaries = Binaries::beside()?;
    let directory = tempfile::tempdir_in(arguments.directory.unwrap_or_else(std::env::temp_dir))?;
    let sync = append_and_sync(directory.path())?;
    println!("one 4 KiB append + fdatasync: {:.3} ms (median)", sync.as_secs_f64() * 1e3);

    let mut server = Server::start(&binaries, directory.path()).await?;
    install(&server, &binaries)?;
    ensure!(server.stop().await, "the server did not stop when asked");
    server.start_again().await?; // The second start has a warm cache.
    let ready_ms = server.ready_after.as_secs_f64() * 1e3;
    println!("start to ready: {ready_ms:.0} ms; resident when idle: {:.1} MB", resident_mb(&server)?);

    println!(
        "{:>9} {:>12} {:>10} {:>10} {:>15} {:>16}",
        "in flight", "instances/s", "p50 ms", "p99 ms", "syncs/instance", "commits/instance"
    );
    for in_flight in arguments.in_flight {
        load(&server, in_flight, Duration::from_secs(arguments.seconds)).await?.print(in_flight);
    }
    println!("resident after the load: {:.1} MB", resident_mb(&server)?);
    ensure!(server.stop().await, "the server did not stop when asked");
    Ok(())
}

/// The median time of a 4 KiB append with fdatasync to a growing file.
fn append_and_sync(directory: &Path) -> anyhow::Result<Duration> {
    let file = std::fs::File::create(directory.join("raw"))?;
    let mut times = Vec::new();
    for turn in 0..500_u64 {
        let start = Instant::now();
        file.write_all_at(&[7; 4096], turn * 4096)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// Builds and installs the packs of the product and the one that is measured.
fn install(server: &Server, binaries: &Binaries) -> anyhow::Result<()> {
    for pack in ["packs/storage", "packs/bucket-migration", "tests/fixtures/bench-pack"] {
        binaries.run(&["pack", "build", pack])?;
        binaries.run(&["--server", &server.url, "pack", "install", pack])?;
    }
    Ok(())
}

fn resident_mb(server: &Server) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("the kernel reports VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("VmRSS has a value")?.parse()?;
    Ok(kib / 1024.0)
}

async fn counters(client: &mut KeepAlive) -> anyhow::Result<(u64, u64)> {
    let answer = client.ask("GET", "/v1/health", &Value::Null).await?;
    let count = |name: &str| answer[name].as_u64().with_context(|| format!("the statistics have `{name}`"));
    Ok((count("journalCommits")?, count("journalSyncs")?))
}

/// What a load came to.
struct Figures {
    instances: u64,
    seconds: f64,
    p50: Duration,
    p99: Duration,
    syncs: u64,
    commits: u64,
}

impl Figures {
    fn print(&self, in_flight: usize) {
        let count = self.instances as f64;
        println!(
            "{:>9} {:>12.0} {:>10.2} {:>10.2} {:>15.3} {:>16.2}",
            in_flight,
            count / self.seconds,
            self.p50.as_secs_f64() * 1e3,
            self.p99.as_secs_f64() * 1e3,
            self.syncs as f64 / count,
            self.commits as f64 / count
        );
    }
}

async fn load(server: &Server, in_flight: usize, length: Duration) -> anyhow::Result<Figures> {
    let mut observer = KeepAlive::connect(&server.url).await?;
    let body = json!({"pack": "bench", "workflow": "five-tasks", "input": {"value": 1}});
    let mut clients = Vec::new();
    for _ in 0..in_flight {
        clients.push(KeepAlive::connect(&server.url).await?);
    }
    let before = counters(&mut observer).await?;
    let start = Instant::now();
    let workers: Vec<_> =
        clients.into_iter().map(|client| tokio::spawn(work(client, body.clone(), start + length))).collect();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = counters(&mut observer).await?;
    times.sort();
    ensure!(!times.is_empty(), "no instance was completed");
    Ok(Figures {
        instances: times.len() as u64,
        seconds,
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        commits: after.0 - before.0,
        syncs: after.1 - before.1,
    })
}

/// Starts instances one after another and waits for each.
async fn work(mut client: KeepAlive, body: Value, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let answer = client.ask("POST", "/v1/instances?wait=30", &body).await?;
        ensure!(answer["status"] == "completed" && answer["output"]["value"] == 6, "an instance went wrong: {answer}");
        times.push(start.elapsed());
    }
    Ok(times)
}
