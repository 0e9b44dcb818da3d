//! Measures the migration against `rclone` (Debian: `apt-get install rclone`): the same buckets between the same two
//! servers in the same run: the demo's mixture, many small objects, few large ones, and large ones that were uploaded in
//! parts. Build it with `--release`. With `--size` it measures memory instead: a bucket of 10,000 objects and one of 5 GiB.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use jiff::Timestamp;
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::migration::{Mix, SERVICE, Scene, Totals, content, fill};
use orchestrator_tests::s3::{REGION, S3Client, S3Server};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

/// Compares the throughput of a migration with `rclone copy`.
#[derive(Parser)]
struct Arguments {
    /// Objects of the demo's mixture: one in 50 above 16 MiB.
    #[arg(long, default_value_t = 600)]
    mixed: usize,
    /// Small objects, 1 to 32 KiB.
    #[arg(long, default_value_t = 3_000)]
    small: usize,
    /// Large objects.
    #[arg(long, default_value_t = 6)]
    large: usize,
    /// Length of a large object in MiB.
    #[arg(long, default_value_t = 128)]
    large_mib: usize,
    /// Requests under way at once, for both.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// How often each is measured; the best of each counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measures the server's peak memory with a large bucket instead, without rclone.
    #[arg(long)]
    size: bool,
    /// Small objects of the large bucket.
    #[arg(long, default_value_t = 10_000)]
    size_objects: usize,
    /// Length in MiB of the one large object of the large bucket; it is made of zeros and costs no disk.
    #[arg(long, default_value_t = 5_120)]
    size_mib: u64,
    /// Where the temporary directory is made.
    #[arg(long)]
    directory: Option<std::path::PathBuf>,
}

/// One way's best times.
#[derive(Debug, Clone, Copy)]
struct Best {
    /// Copying alone.
    copy: Duration,
    /// With the proof of every object.
    whole: Duration,
}

impl Best {
    const NONE: Self = Self { copy: Duration::MAX, whole: Duration::MAX };

    fn take(&mut self, other: Self) {
        self.copy = self.copy.min(other.copy);
        self.whole = self.whole.min(other.whole);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.size {
        return measure_size(&arguments).await;
    }
    let version = Command::new("rclone").arg("version").output().context("run rclone: install it with apt-get")?;
    println!("{}", String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or("rclone"));
    let binaries = Binaries::beside()?;
    let parent = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
    let directory = tempfile::Builder::new().prefix("compare-rclone-").tempdir_in(parent)?;
    let scene = Scene::start(&binaries, directory.path()).await?;

    for bucket in [Bucket::Mixed, Bucket::Small, Bucket::Large, Bucket::LargeInParts] {
        let (bucket, Totals { objects: count, bytes }) = bucket.fill(&scene.source.client(), &arguments).await?;
        println!(
            "\n{bucket}: {count} objects, {:.1} MiB, {} at once",
            bytes as f64 / MIB as f64,
            arguments.concurrency
        );
        let (mut ours, mut theirs) = (Best::NONE, Best::NONE);
        for round in 0..arguments.rounds {
            // Taking turns, so that a slow moment of the machine does not fall to one of them alone.
            ours.take(migrate(&scene, bucket, &format!("ours-{bucket}-{round}"), arguments.concurrency).await?);
            theirs.take(
                rclone(&scene, bucket, &format!("theirs-{bucket}-{round}"), arguments.concurrency, directory.path())
                    .await?,
            );
        }
        let rate = |time: Duration| {
            format!(
                "{:8.1} MiB/s {:8.0} objects/s",
                bytes as f64 / MIB as f64 / time.as_secs_f64(),
                count as f64 / time.as_secs_f64()
            )
        };
        println!("  copy          ours   {:7.3} s {}", ours.copy.as_secs_f64(), rate(ours.copy));
        println!("                rclone {:7.3} s {}", theirs.copy.as_secs_f64(), rate(theirs.copy));
        println!("                ratio  {:.2}x", theirs.copy.as_secs_f64() / ours.copy.as_secs_f64());
        println!("  with proof    ours   {:7.3} s (order to result)", ours.whole.as_secs_f64());
        println!("                rclone {:7.3} s (copy, then check)", theirs.whole.as_secs_f64());
        println!("                ratio  {:.2}x", theirs.whole.as_secs_f64() / ours.whole.as_secs_f64());
    }
    Ok(())
}

/// Migrates a small bucket, a large one, and the large one again, and prints the server's peak memory after each: it is
/// flat when the large ones add little to the small one's.
async fn measure_size(arguments: &Arguments) -> anyhow::Result<()> {
    const SOURCE: &str = "large-bucket";
    let binaries = Binaries::beside()?;
    let parent = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
    let directory = tempfile::Builder::new().prefix("measure-size-").tempdir_in(parent)?;
    let scene = Scene::start(&binaries, directory.path()).await?;
    let store = &scene.source.store;
    scene.source.client().create_bucket(SOURCE).await?;
    store.plant_many(SOURCE, "small/", 100, 1_024).await?;
    order(&scene, SOURCE, "100 small objects", 0).await?;
    store.plant_many(SOURCE, "many/", arguments.size_objects, 1_024).await?;
    store.plant_zeros(SOURCE, "zeros", arguments.size_mib * MIB as u64, 8 * MIB as u64).await?;
    let what = format!("{} more and one of {} MiB", arguments.size_objects, arguments.size_mib);
    order(&scene, SOURCE, &what, 1).await?;
    order(&scene, SOURCE, "the same again", 2).await
}

async fn order(scene: &Scene, source: &str, what: &str, number: usize) -> anyhow::Result<()> {
    let rest = scene.rest();
    let input = json!({
        "sourceBucket": source, "destinationBucket": "large-copy", "createDestination": true, "serverSide": "never",
    });
    scene.server.forget_memory_peak()?;
    let (start, before) = (Instant::now(), scene.server.memory_peak()?);
    let ordered = rest.order(SERVICE, input, &format!("size-{number}")).await?;
    let id = ordered["id"].as_str().context("an instance has an id")?;
    let summary = rest.ended(id, Duration::from_secs(7_200)).await?;
    ensure!(summary["status"] == "completed", "the migration ended otherwise: {summary}");
    let output = &summary["output"];
    println!(
        "{what}: {} copied, {} right before, {:.1} s; the server's memory: {} MiB before, {} MiB at its peak",
        output["copied"],
        output["alreadyRight"],
        start.elapsed().as_secs_f64(),
        before / MIB as u64,
        scene.server.memory_peak()? / MIB as u64
    );
    Ok(())
}

/// What is copied.
#[derive(Debug, Clone, Copy)]
enum Bucket {
    /// The demo's: most objects below 64 KiB, some of some MiB, some above 16 MiB.
    Mixed,
    Small,
    Large,
    LargeInParts,
}

impl Bucket {
    /// Makes it; its name and what is in it.
    async fn fill(self, client: &S3Client, arguments: &Arguments) -> anyhow::Result<(&'static str, Totals)> {
        let (name, count, size) = match self {
            Self::Mixed => ("mixed", arguments.mixed, None),
            Self::Small => ("small", arguments.small, None),
            Self::Large => ("large", arguments.large, Some(arguments.large_mib * MIB)),
            Self::LargeInParts => ("large-in-parts", arguments.large, Some(arguments.large_mib * MIB)),
        };
        client.create_bucket(name).await?;
        if let Self::Mixed = self {
            let large = count / 50;
            return Ok((name, fill(client, name, Mix { small: count - large, large, first: 0, seed: 1 }).await?));
        }
        let mut bytes = 0;
        for number in 0..count {
            let length = size.unwrap_or(1024 + number * 7919 % (31 * 1024));
            bytes += length as u64;
            let key = format!("folder {}/object {number:05}", number % 17);
            let body = content(length, number as u64);
            match self {
                Self::LargeInParts => client.put_in_parts(name, &key, &[], body, 8 * MIB).await?,
                _ => client.put(name, &key, &[], body).await?,
            }
        }
        Ok((name, Totals { objects: count, bytes }))
    }
}

/// One migration by us: the time of the task that copies, and the time from the order to the result.
async fn migrate(scene: &Scene, source: &str, destination: &str, concurrency: usize) -> anyhow::Result<Best> {
    let rest = scene.rest();
    let input = json!({
        "sourceBucket": source, "destinationBucket": destination, "createDestination": true, "concurrency": concurrency,
    });
    let start = Instant::now();
    let ordered = rest.order(SERVICE, input, destination).await?;
    let id = ordered["id"].as_str().context("an instance has an id")?;
    let summary = rest.ended(id, Duration::from_secs(3_600)).await?;
    let whole = start.elapsed();
    ensure!(summary["status"] == "completed", "the migration ended otherwise: {summary}");
    let tasks = rest.get(&format!("/v1/instances/{id}/tasks")).await?;
    let copy = tasks["items"]
        .as_array()
        .or(tasks.as_array())
        .and_then(|tasks| tasks.iter().find(|task| task["name"] == "copyObjects"));
    Ok(Best { copy: copy.and_then(took).context("the task that copies has no times")?, whole })
}

fn took(task: &Value) -> Option<Duration> {
    let at = |name: &str| task[name].as_str()?.parse::<Timestamp>().ok();
    at("endedAt")?.duration_since(at("startedAt")?).try_into().ok()
}

/// The same by rclone with its own settings but for the concurrency: `copy`, then `check`, which compares digests as the
/// servers tell them.
async fn rclone(
    scene: &Scene,
    source: &str,
    destination: &str,
    concurrency: usize,
    directory: &Path,
) -> anyhow::Result<Best> {
    let config = directory.join("rclone.conf");
    let remote = |name: &str, server: &S3Server| {
        let S3Server { url, access, secret, .. } = server;
        format!(
            "[{name}]\ntype = s3\nprovider = Other\nendpoint = {url}\nregion = {REGION}\naccess_key_id = {access}\n\
             secret_access_key = {secret}\nforce_path_style = true\nlist_version = 2\n\
             list_url_encode = true\nno_check_bucket = true\n\n"
        )
    };
    std::fs::write(&config, remote("source", &scene.source) + &remote("destination", &scene.destination))?;
    scene.destination.client().create_bucket(destination).await?;
    let start = Instant::now();
    run_rclone(&config, concurrency, "copy", source, destination).await?;
    let copy = start.elapsed();
    run_rclone(&config, concurrency, "check", source, destination).await?;
    Ok(Best { copy, whole: start.elapsed() })
}

async fn run_rclone(
    config: &Path,
    concurrency: usize,
    verb: &str,
    source: &str,
    destination: &str,
) -> anyhow::Result<()> {
    let concurrency = concurrency.to_string();
    let status = tokio::process::Command::new("rclone")
        .arg("--config")
        .arg(config)
        .args([verb, "--transfers", &concurrency, "--checkers", &concurrency, "--quiet"])
        .args([format!("source:{source}"), format!("destination:{destination}")])
        // A setting for another network's certificates would be taken for these servers, too.
        .env_remove("AWS_CA_BUNDLE")
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .status()
        .await
        .context("run rclone")?;
    ensure!(status.success(), "rclone {verb} ended with {status}");
    Ok(())
}
