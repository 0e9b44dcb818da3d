//! `orchctl` against a real server: every transcript in `fixtures/orchctl` is typed into a shell, and what comes out is
//! compared with what is written there. What differs from run to run (identifiers, times, digests) is masked.
//! `UPDATE_SNAPSHOTS=1` writes the transcripts anew.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use orchestrator_tests::binaries::{Binaries, root};
use orchestrator_tests::server::Server;
use regex::{Captures, Regex};

/// A line of a transcript that is typed, with what it answers.
struct Typed {
    command: String,
    answer: String,
}

fn transcripts() -> PathBuf {
    root().join("tests/fixtures/orchctl")
}

/// The commands of a transcript: `$ …`, going on over lines that end in a backslash.
fn read(text: &str) -> (String, Vec<Typed>) {
    let (mut head, mut all) = (String::new(), Vec::<Typed>::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else {
            let place = all.last_mut().map_or(&mut head, |typed| &mut typed.answer);
            place.push_str(line);
            place.push('\n');
            continue;
        };
        let mut command = command.to_owned();
        while command.ends_with('\\') || command.matches("<<EOF").count() > command.matches("\nEOF").count() {
            let Some(more) = lines.next() else { break };
            command.push('\n');
            command.push_str(more);
        }
        all.push(Typed { command, answer: String::new() });
    }
    (head, all)
}

/// Runs all commands in one shell, so that one can use what another one kept; each one's output and exit code.
fn run(server: &str, folder: &Path, typed: &[Typed]) -> Vec<String> {
    let binaries = Binaries::built().expect("the programs build");
    let programs = binaries.orchctl().parent().expect("a folder").to_owned();
    let path = std::env::join_paths(
        [programs].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut script = String::new();
    for (number, typed) in typed.iter().enumerate() {
        script.push_str(&format!("{{ {}\n}} >.out-{number} 2>&1 </dev/null; echo $? >.code-{number}\n", typed.command));
    }
    let status = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .env("PATH", path.expect("a path"))
        .env("ORCHESTRATOR_SERVER", server)
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("ROOT", root())
        .env_remove("ORCHESTRATOR_TOKEN")
        .env_remove("NO_COLOR")
        .status()
        .expect("bash runs");
    assert!(status.success(), "the shell ended with {status}");
    let answer = |number: usize| {
        let read = |name: String| std::fs::read_to_string(folder.join(name)).expect("every command leaves its output");
        let (output, code) = (read(format!(".out-{number}")), read(format!(".code-{number}")));
        match code.trim() {
            "0" => output,
            code => format!("{output}[exit code {code}]\n"),
        }
    };
    (0..typed.len()).map(answer).collect()
}

/// Puts words in the place of what differs from run to run.
struct Mask {
    known: HashMap<String, String>,
    fixed: Vec<(String, &'static str)>,
    id: Regex,
    rest: Vec<(Regex, &'static str)>,
}

impl Mask {
    fn new(server: &str, folder: &Path) -> Self {
        let pattern = |text: &str| Regex::new(text).expect("a fixed pattern");
        Self {
            known: HashMap::new(),
            fixed: vec![
                (folder.display().to_string(), "<folder>"),
                (root().display().to_string(), "<root>"),
                (server.to_owned(), "<server>"),
            ],
            id: pattern("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
            rest: vec![
                (pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
                (pattern("sha256:[0-9a-f]{64}"), "<digest>"),
                (pattern(r"\b\d+\.\ds\b"), "<took>"),
                (pattern(r"[ \t]+\n"), "\n"),
            ],
        }
    }

    fn apply(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.fixed {
            text = text.replace(from, to);
        }
        let known = &mut self.known;
        let named = |found: &Captures<'_>| {
            let number = known.len() + 1;
            known.entry(found[0].to_owned()).or_insert_with(|| format!("<id-{number}>")).clone()
        };
        text = self.id.replace_all(&text, named).into_owned();
        for (pattern, word) in &self.rest {
            text = pattern.replace_all(&text, *word).into_owned();
        }
        text
    }
}

/// Types one transcript; what it should have been, where it was not.
fn check(server: &str, path: &Path) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let text = std::fs::read_to_string(path).expect("a transcript");
    let (head, typed) = read(&text);
    let mut mask = Mask::new(server, folder.path());
    let mut found = head;
    for (typed, answer) in typed.iter().zip(run(server, folder.path(), &typed)) {
        let answer = mask.apply(&answer);
        let blank = if typed.answer.ends_with("\n\n") && !answer.ends_with("\n\n") { "\n" } else { "" };
        found.push_str(&format!("$ {}\n{answer}{blank}", typed.command));
    }
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &found).expect("the transcript is written");
        return Ok(());
    }
    if found == text {
        return Ok(());
    }
    let first = text.lines().zip(found.lines()).position(|(wanted, got)| wanted != got);
    let at = first.unwrap_or_else(|| text.lines().count().min(found.lines().count()));
    let some = |text: &str| text.lines().skip(at.saturating_sub(3)).take(12).collect::<Vec<_>>().join("\n");
    Err(format!("{}:{}: expected\n{}\n\ngot\n{}\n", path.display(), at + 1, some(&text), some(&found)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transcript_is_as_it_is_written() {
    let binaries = Binaries::built().expect("the programs build");
    binaries.pack("greeting").expect("the pack builds");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(transcripts())
        .expect("the transcripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 4, "{paths:?}");
    // Each has a server of its own: none depends on what another one left.
    let mut checks = Vec::new();
    for path in paths {
        let binaries = binaries.clone();
        checks.push(tokio::spawn(async move {
            let data = tempfile::tempdir().expect("a temporary directory");
            let server = Server::start(&binaries, data.path()).await.expect("the server starts");
            let url = server.url.clone();
            let checked = tokio::task::spawn_blocking(move || check(&url, &path)).await;
            checked.expect("the check ends")
        }));
    }
    let mut wrong = Vec::new();
    for check in checks {
        wrong.extend(check.await.expect("the check ends").err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_transcript_is_read_command_by_command() {
    let (head, typed) = read("# a\n$ one \\\n  more\nanswer\n\n$ cat <<EOF\nx\nEOF\nx\n");
    assert_eq!(head, "# a\n");
    let read: Vec<_> = typed.iter().map(|typed| (typed.command.as_str(), typed.answer.as_str())).collect();
    assert_eq!(read, [("one \\\n  more", "answer\n\n"), ("cat <<EOF\nx\nEOF", "x\n")]);
}

#[test]
fn what_differs_from_run_to_run_is_masked() {
    let mut mask = Mask::new("http://127.0.0.1:1", Path::new("/tmp/x"));
    let id = "0195b0c0-2f7e-7000-8000-000000000001";
    let told = mask.apply(&format!("{id} http://127.0.0.1:1/v1 2026-01-01T00:00:00.5Z {id} 0.3s  \n"));
    assert_eq!(told, "<id-1> <server>/v1 <time> <id-1> <took>\n");
}
