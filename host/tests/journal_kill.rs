//! The journal after its process was killed in the middle of its work, again and again on the same store. The process is
//! this test, started once more with `JOURNAL_KILL_DIRECTORY` set; it says on its output what was acknowledged.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use orchestrator_host::journal::{Batch, Journal, sled::SledJournal};
use tempfile::TempDir;

const DIRECTORY: &str = "JOURNAL_KILL_DIRECTORY";

/// Each committer counts up in two rows that must agree.
const COMMITTERS: usize = 8;

fn keys(committer: usize) -> [Vec<u8>; 2] {
    [format!("first/{committer}").into_bytes(), format!("second/{committer}").into_bytes()]
}

fn count(journal: &SledJournal, key: &[u8]) -> u64 {
    let value = journal.get(key).expect("the store reads");
    value.map_or(0, |value| String::from_utf8_lossy(&value).parse().expect("we wrote a number"))
}

async fn count_up(journal: Arc<SledJournal>, committer: usize) {
    let [first, second] = keys(committer);
    let from = count(&journal, &first);
    for n in from + 1.. {
        let value = Bytes::from(n.to_string());
        let large = Bytes::from(vec![n as u8; if n % 64 == 0 { 200_000 } else { 300 }]);
        let batch = Batch::default()
            .put(first.clone(), value.clone())
            .put(format!("payload/{committer}/{}", n % 200).into_bytes(), large)
            .put(second.clone(), value);
        journal.commit(batch).await.expect("committed");
        let mut output = std::io::stdout().lock();
        writeln!(output, "acknowledged {committer} {n}").and_then(|()| output.flush()).expect("somebody reads");
    }
}

/// The life of the process that is killed; does nothing in an ordinary run of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let journal = SledJournal::open(directory).expect("opened");
    let committers: Vec<_> =
        (0..COMMITTERS).map(|committer| tokio::spawn(count_up(Arc::clone(&journal), committer))).collect();
    for committer in committers {
        committer.await.expect("it counts until it is killed");
    }
}

/// Runs the process until it acknowledged `commits` commits, kills it, and gives the last that each committer heard of.
fn run_and_kill(directory: &Path, commits: usize) -> [u64; COMMITTERS] {
    let mut child = Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", "commit_until_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut last = [0; COMMITTERS];
    let mut heard = 0;
    for line in output.lines() {
        let line = line.expect("text");
        // The first line may begin with the name of the test.
        let Some(at) = line.find("acknowledged ") else { continue };
        let mut words = line[at..].split(' ').skip(1);
        // The last line may be half of one.
        let (Some(Ok(committer)), Some(Ok(n))) = (words.next().map(str::parse::<usize>), words.next().map(str::parse))
        else {
            continue;
        };
        heard += 1;
        if heard == commits {
            child.kill().expect("it runs until it is killed");
        }
        if heard <= commits {
            last[committer] = n;
        }
    }
    assert!(heard >= commits, "the process ended by itself after {heard} commits");
    child.wait().expect("it was killed");
    last
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let directory = TempDir::new().expect("a directory");
    for commits in [300, 1, 700, 50, 500] {
        let last = run_and_kill(directory.path(), commits);
        let journal = SledJournal::open(directory.path()).expect("opened after the kill");
        for (committer, last) in last.into_iter().enumerate() {
            let [first, second] = keys(committer).map(|key| count(&journal, &key));
            assert_eq!(first, second, "half of a batch of committer {committer}");
            assert!(first >= last, "committer {committer} heard of {last}, and {first} is there");
        }
    }
}
