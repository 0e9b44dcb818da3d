//! The newcomer's path: what the README tells to type is typed, in a fresh directory, against a server that it starts.
//!
//! A block of commands is marked by the word behind `sh`: `guide` is run here; `long` builds or tests for many minutes;
//! `outside` needs a system of somebody else. The first two blocks have no mark: each is one script of this repository.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use orchestrator_tests::binaries::{Binaries, root};

/// A block of commands with its mark.
#[derive(Debug)]
struct Block {
    mark: String,
    text: String,
}

/// The blocks of commands of a document, in order.
fn blocks(document: &str) -> Vec<Block> {
    let parts = document.split("\n```sh").skip(1);
    let block = |part: &str| {
        let (mark, rest) = part.split_once('\n').expect("a block has lines");
        let text = rest.split("\n```").next().unwrap_or_default().to_owned();
        Block { mark: mark.trim().to_owned(), text }
    };
    parts.map(block).collect()
}

fn readme() -> Vec<Block> {
    blocks(&std::fs::read_to_string(root().join("README.md")).expect("the README"))
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let blocks = readme();
    let (scripts, rest) = blocks.split_at(2);
    for block in scripts {
        let script = block.text.strip_prefix("bash ").expect("the first blocks are one script each");
        assert!(block.mark.is_empty() && root().join(script).is_file(), "{block:?}");
    }
    for block in rest {
        assert!(["guide", "long", "outside"].contains(&block.mark.as_str()), "{block:?}");
    }
    assert!(rest.iter().any(|block| block.mark == "guide"));
}

/// The verb of a line, `orchctl pack build`: its words before the first argument.
fn verb(line: &str) -> Option<Vec<&str>> {
    let words = line.strip_prefix("orchctl ")?.split_whitespace();
    let is_word = |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
    Some(words.take(2).take_while(is_word).filter(|word| !word.starts_with('-')).collect())
}

#[test]
fn what_cannot_be_run_here_are_verbs_that_exist() {
    let binaries = Binaries::built().expect("the programs build");
    for block in readme().iter().filter(|block| block.mark == "outside") {
        for verb in block.text.lines().filter_map(verb) {
            let mut help = Command::new(binaries.orchctl());
            let output = help.args(&verb).arg("--help").output().expect("orchctl runs");
            assert!(output.status.success(), "orchctl {} --help: {output:?}", verb.join(" "));
        }
    }
}

/// A folder with what the repository has, so that what the commands make does not fall into it.
fn beside_the_repository(folder: &Path) {
    for entry in std::fs::read_dir(root()).expect("the repository") {
        let entry = entry.expect("an entry");
        symlink(entry.path(), folder.join(entry.file_name())).expect("a link");
    }
}

#[test]
fn the_guide_is_run_as_it_is_written() {
    let binaries = Binaries::built().expect("the programs build");
    let folder = tempfile::tempdir().expect("a folder");
    beside_the_repository(folder.path());
    let guide: Vec<String> =
        readme().into_iter().filter(|block| block.mark == "guide").map(|block| block.text).collect();
    let script = format!("trap 'kill $(jobs -p); wait' EXIT\n{}", guide.join("\n"));
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let programs = binaries.orchctl().parent().expect("a folder").display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("HOME", folder.path())
        .env("CARGO_HOME", std::env::var("CARGO_HOME").unwrap_or(format!("{}/.cargo", home())))
        .env("RUSTUP_HOME", std::env::var("RUSTUP_HOME").unwrap_or(format!("{}/.rustup", home())))
        .env("ORCHESTRATOR_LISTEN", format!("127.0.0.1:{port}"))
        .env("ORCHESTRATOR_SERVER", format!("http://127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).join("\n");
    assert!(output.status.success(), "{said}");
    for expected in ["answers on http://127.0.0.1:", "Saludos, Ann!", "completed", "pack `storage`"] {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
}

fn home() -> String {
    std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned())
}
