//! Measures many followers of event streams at once: the server's memory for each, and how long an event takes to reach
//! them all. Run it with the server built the same way: `cargo run --release -p orchestrator-tests --bin followers`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Far more than any of it takes.
const WITHIN: Duration = Duration::from_secs(120);

/// Connections opened at once: a listener's backlog holds 1,024.
const AT_ONCE: usize = 200;

#[derive(Parser)]
#[command(about = "Measures many followers of event streams at once.")]
struct Arguments {
    /// How many followers.
    #[arg(long, default_value_t = 5_000)]
    followers: usize,
    /// How many events each gets.
    #[arg(long, default_value_t = 10)]
    events: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let directory = tempfile::tempdir()?;
    let server = Server::start(&Binaries::beside()?, directory.path()).await?;
    let address = server.url.trim_start_matches("http://").to_owned();
    let before = resident(server.id())?;
    let opened = Instant::now();
    let mut streams = Vec::with_capacity(arguments.followers);
    while streams.len() < arguments.followers {
        let count = AT_ONCE.min(arguments.followers - streams.len());
        let opening = (0..count).map(|_| follow(&address));
        streams.extend(futures_util::future::try_join_all(opening).await?);
    }
    let opened = opened.elapsed();
    let after = resident(server.id())?;
    println!("{} followers in {opened:.1?}", streams.len());
    println!(
        "memory: {} KiB before, {} KiB with them, {:.1} KiB each",
        before,
        after,
        (after - before) as f64 / streams.len() as f64
    );
    let mut latencies = Vec::new();
    for number in 0..arguments.events {
        let started = Instant::now();
        post(&address, number).await?;
        streams = heard(streams, number).await?;
        latencies.push(started.elapsed());
    }
    latencies.sort();
    if let (Some(least), Some(most)) = (latencies.first(), latencies.last()) {
        let middle = latencies[latencies.len() / 2];
        println!("an event reached all of them in {middle:.1?} (least {least:.1?}, most {most:.1?})");
    }
    println!("memory: {} KiB after {} events", resident(server.id())?, arguments.events);
    Ok(())
}

/// What is resident, KiB.
fn resident(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel tells no resident size")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

async fn follow(address: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /v1/notifications/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        .await?;
    let head = until(&mut stream, "\r\n\r\n").await?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(stream)
}

async fn until(stream: &mut TcpStream, end: &str) -> anyhow::Result<String> {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.contains(end) {
        match tokio::time::timeout(WITHIN, stream.read(&mut part)).await?? {
            0 => bail!("the stream ended: {text}"),
            count => text.push_str(&String::from_utf8_lossy(&part[..count])),
        }
    }
    Ok(text)
}

async fn post(address: &str, number: usize) -> anyhow::Result<()> {
    let body = format!("{{\"title\":\"event {number}.\"}}");
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /v1/notifications HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    let answer = until(&mut stream, "\r\n\r\n").await?;
    ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Ok(())
}

async fn heard(streams: Vec<TcpStream>, number: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut hearing = JoinSet::new();
    for mut stream in streams {
        hearing.spawn(async move { until(&mut stream, &format!("event {number}.")).await.map(|_| stream) });
    }
    hearing.join_all().await.into_iter().collect()
}
