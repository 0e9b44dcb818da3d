//! Measures the journal on the machine's own disk, next to what the disk can do at all: a raw append with a sync, in
//! the same run. `cargo run --release --example journal_bench -- [directory] [instances for the reopening]`.
//! Ratios to the raw append compare between machines; the absolute figures do not.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use orchestrator_host::journal::{Batch, Journal, Scan, sled::SledJournal};

/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(4);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "target/journal-bench".to_owned()));
    let instances: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    fs::create_dir_all(&directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    for callers in [1, 32, 256] {
        // Just before each, because a shared disk is not the same from minute to minute.
        let raw = raw(&directory)?;
        runtime.block_on(throughput(&fresh(&directory, "throughput")?, callers, raw))?;
    }
    runtime.block_on(growth(&fresh(&directory, "growth")?))?;
    runtime.block_on(reopening(&fresh(&directory, "reopening")?, instances))
}

fn fresh(directory: &Path, name: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    if path.exists() {
        fs::remove_dir_all(&path)?;
    }
    Ok(path)
}

/// The median and the 99th percentile.
fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    (at(50), at(99))
}

/// The median time of an append of 600 bytes with fdatasync.
fn raw(directory: &Path) -> Result<Duration> {
    let file = File::create(directory.join("raw"))?;
    let bytes = [7; 600];
    let begin = Instant::now();
    let mut times = Vec::new();
    while begin.elapsed() < TIME {
        let one = Instant::now();
        file.write_all_at(&bytes, times.len() as u64 * 600)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    let (median, high) = percentiles(times);
    println!("raw append and sync: {rate:.0}/s, median {median:?}, p99 {high:?}");
    Ok(median)
}

/// The batches of an instance's life: its summary, the records of one append, its mark; about 600 bytes.
fn batch(instance: &[u8; 16], append: u64) -> Batch {
    let key = |kind: u8| [&[kind][..], instance].concat();
    let records = [&key(b'r')[..], &append.to_be_bytes()].concat();
    let batch =
        Batch::default().put(key(b'i'), Bytes::from(vec![b'i'; 200])).put(records, Bytes::from(vec![b'r'; 330]));
    match append {
        0 => batch.put(key(b'a'), Bytes::new()).put([&key(b'x')[..], b"service"].concat(), Bytes::new()),
        5 => batch.delete(key(b'a')).put([&key(b'e')[..], b"completed"].concat(), Bytes::new()),
        _ => batch,
    }
}

async fn throughput(path: &Path, callers: u64, raw: Duration) -> Result<()> {
    let journal = SledJournal::open(path)?;
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let mut times = Vec::new();
                for instance in 0_u64.. {
                    let id = *uuid::Uuid::from_u64_pair(instance, caller).as_bytes();
                    for append in 0..6 {
                        let one = Instant::now();
                        journal.commit(batch(&id, append)).await?;
                        times.push(one.elapsed());
                    }
                    if begin.elapsed() > TIME {
                        break;
                    }
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.append(&mut task.await??);
    }
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    let (median, high) = percentiles(times);
    let counters = journal.counters();
    println!(
        "{callers} callers: {rate:.0} commits/s, median {median:?} ({:.2} of raw), p99 {high:?}, {:.1} commits a sync, \
         {} bytes on disk a commit",
        median.as_secs_f64() / raw.as_secs_f64(),
        counters.commits as f64 / counters.syncs as f64,
        bytes_in(path)? / counters.commits,
    );
    Ok(())
}

/// Instances come and go: what is deleted must give its space back.
async fn growth(path: &Path) -> Result<()> {
    let journal = SledJournal::open(path)?;
    for round in 0_u64..10 {
        for n in 0..2_000 {
            let id = *uuid::Uuid::from_u64_pair(round, n).as_bytes();
            let commits: Vec<_> = (0..6).map(|append| journal.commit(batch(&id, append))).collect();
            for commit in commits {
                commit.await?;
            }
            let mut removal = Batch::default();
            for kind in [b'i', b'r', b'x', b'e'] {
                for row in journal.scan(Scan::prefix([&[kind][..], &id].concat(), 100))? {
                    removal = removal.delete(row.key);
                }
            }
            drop(journal.commit(removal));
        }
        println!("after {} instances made and deleted: {} KiB on disk", (round + 1) * 2_000, bytes_in(path)? >> 10);
    }
    Ok(())
}

async fn reopening(path: &Path, instances: u64) -> Result<()> {
    let journal = SledJournal::open(path)?;
    let mut commits = Vec::new();
    for n in 0..instances {
        let id = *uuid::Uuid::from_u64_pair(n, n).as_bytes();
        commits.extend((0..6).map(|append| journal.commit(batch(&id, append))));
        if commits.len() > 2_000 {
            for commit in commits.drain(..) {
                commit.await?;
            }
        }
    }
    for commit in commits {
        commit.await?;
    }
    drop(journal);
    for time in ["first", "second"] {
        let begin = Instant::now();
        let journal = SledJournal::open(path)?;
        let opened = begin.elapsed();
        let actives = journal.scan(Scan::prefix(b"a".to_vec(), usize::MAX))?.len();
        println!(
            "{time} reopening of {instances} instances, {} MiB: {opened:?}; {actives} are active; {} MiB resident",
            bytes_in(path)? >> 20,
            resident()? >> 20
        );
    }
    Ok(())
}

fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

fn bytes_in(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { bytes_in(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
