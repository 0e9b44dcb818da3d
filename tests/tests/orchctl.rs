//! `orchctl` against a real server: every transcript in `fixtures/orchctl` is typed into a shell, and what comes out is
//! compared with what is written there. What differs from run to run (identifiers, times, digests) is masked.
//! `UPDATE_SNAPSHOTS=1` writes the transcripts anew. Every command is typed in one of them, and so is every example of
//! its help.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use orchestrator_host::cli::Arguments;
use orchestrator_tests::binaries::{Binaries, root};
use orchestrator_tests::server::Server;
use orchestrator_tests::soda::Soda;
use regex::{Captures, Regex};

/// Examples that nothing can run here, and why.
const NOT_RUN: &[(&str, &str)] = &[(
    "orchctl -a keystone.example -u admin -p PASSWORD --orch_ip 127.0.0.1 --orch_port $PORT instance run -d @soda-order.json",
    "it asks a Keystone at its own port; the double of one in the library's tests answers it",
)];

/// The world that commands are typed into.
struct World<'w> {
    server: &'w str,
    /// The base URL of the double of the storage service.
    storage: &'w str,
    folder: &'w Path,
}

/// A line of a transcript that is typed, with what it answers.
struct Typed {
    command: String,
    answer: String,
}

fn transcripts() -> PathBuf {
    root().join("tests/fixtures/orchctl")
}

/// The transcripts, in order.
fn all() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(transcripts()).expect("the transcripts");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    paths.sort();
    paths
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
fn run(world: &World<'_>, typed: &[Typed]) -> Vec<String> {
    let folder = world.folder;
    let binaries = Binaries::built().expect("the programs build");
    let programs = binaries.orchctl().parent().expect("a folder").to_owned();
    let path = std::env::join_paths(
        [programs].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut script = "OUT=$PWD\n".to_owned();
    for (number, typed) in typed.iter().enumerate() {
        script.push_str(&format!(
            "{{ {}\n}} >$OUT/.out-{number} 2>&1 </dev/null; echo $? >$OUT/.code-{number}\n",
            typed.command
        ));
    }
    let home = |name: &str, folder: &str| {
        std::env::var_os(name)
            .unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(folder).into_os_string())
    };
    let status = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .env("PATH", path.expect("a path"))
        .env("CARGO_HOME", home("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup"))
        .env("HOME", folder)
        .env("ORCHESTRATOR_SERVER", world.server)
        .env("PORT", world.server.rsplit(':').next().unwrap_or_default())
        .env("STORAGE", world.storage)
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("user-cache"))
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
    fn new(world: &World<'_>) -> Self {
        let pattern = |text: &str| Regex::new(text).expect("a fixed pattern");
        Self {
            known: HashMap::new(),
            fixed: vec![
                (world.folder.display().to_string(), "<folder>"),
                (root().display().to_string(), "<root>"),
                (world.server.to_owned(), "<server>"),
                (world.storage.to_owned(), "<storage>"),
            ],
            id: pattern("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
            rest: vec![
                (pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
                (pattern(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"), "<time>"),
                (pattern(r"\b[0-9a-f]{16}\b"), "<version>"),
                (pattern("sha256:[0-9a-f]{64}"), "<digest>"),
                (pattern(r"\b(\d+\.\d+m?s|\d+ ms)\b"), "<took>"),
                (pattern(r"\b[0-9a-f]{8}-[0-9a-f]{1,4}\b"), "<request>"),
                (pattern(r"\b\d+ bytes\b"), "<size> bytes"),
                (pattern(r"(?m)^(Bytes: +)\d+$"), "$1<size>"),
                (pattern(r"\borc_[A-Za-z0-9_-]{20,}"), "<token>"),
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
fn check(server: &str, storage: &str, path: &Path) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let world = World { server, storage, folder: folder.path() };
    let text = std::fs::read_to_string(path).expect("a transcript");
    let (head, typed) = read(&text);
    let mut mask = Mask::new(&world);
    let mut found = head;
    for (typed, answer) in typed.iter().zip(run(&world, &typed)) {
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
    for pack in ["greeting", "storage", "bucket-migration"] {
        binaries.pack(pack).expect("the pack builds");
    }
    let paths = all();
    assert!(paths.len() >= 4, "{paths:?}");
    // Each has a server of its own: none depends on what another one left.
    let mut checks = Vec::new();
    for path in paths {
        let binaries = binaries.clone();
        checks.push(tokio::spawn(async move {
            let data = tempfile::tempdir().expect("a temporary directory");
            let server = Server::start(&binaries, data.path()).await.expect("the server starts");
            let storage = Soda::start().await;
            storage.host_of("db1", &["default"]);
            let (url, storage_url) = (server.url.clone(), storage.url.clone());
            let checked = tokio::task::spawn_blocking(move || check(&url, &storage_url, &path)).await;
            checked.expect("the check ends")
        }));
    }
    let mut wrong = Vec::new();
    for check in checks {
        wrong.extend(check.await.expect("the check ends").err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Everything that is typed in any transcript, as examples are compared.
fn typed() -> Vec<String> {
    let texts = all().into_iter().map(|path| std::fs::read_to_string(path).expect("a transcript"));
    texts.flat_map(|text| read(&text).1).map(|typed| plain(&typed.command)).collect()
}

/// A command line without what differs between a help text and a transcript: identifiers, the server's port, line ends,
/// what is said beside it, where the progress or a long output goes, and the time after which one that follows for ever is ended.
fn plain(line: &str) -> String {
    let id = Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").expect("a fixed pattern");
    let line = line.replace("\\\n", " ").replace("--orch_port 8080", "--orch_port $PORT");
    let line = line.split(" # ").next().unwrap_or_default().trim_start_matches("timeout 1 ");
    let line = [" 2>/dev/null", " >out"].iter().fold(line, |line, end| line.trim_end_matches(end));
    id.replace_all(line, "$$ID").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Calls this with the words and the examples of each command that has no commands below it.
fn each(look: &mut dyn FnMut(&str, Vec<String>)) {
    fn walk(command: &clap::Command, words: &str, look: &mut dyn FnMut(&str, Vec<String>)) {
        let below: Vec<_> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
        if below.is_empty() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default().replace("\\\n", " ");
            let lines = help.lines().map(|line| line.trim().trim_start_matches("Example: "));
            look(words, lines.filter(|line| line.contains("orchctl ") && !line.contains('`')).map(plain).collect());
        }
        for command in below {
            walk(command, &format!("{words} {}", command.get_name()), look);
        }
    }
    walk(&Arguments::command(), "orchctl", look);
}

#[test]
fn every_command_is_typed_in_a_transcript() {
    let typed = typed();
    let mut missing = Vec::new();
    // SODA's flags stand before the command.
    let flags = Regex::new(r"(-t default|--orch_ip \S+|--orch_port \S+) ").expect("a fixed pattern");
    let typed: Vec<_> = typed.iter().map(|line| format!("{} ", flags.replace_all(line, ""))).collect();
    each(&mut |words, _| {
        if !typed.iter().any(|line| line.contains(&format!("{words} "))) {
            missing.push(words.to_owned());
        }
    });
    assert!(missing.is_empty(), "no transcript shows {missing:?}");
}

#[test]
fn every_example_of_the_help_is_typed_in_a_transcript() {
    let typed = typed();
    let (mut missing, mut examples) = (Vec::new(), Vec::new());
    each(&mut |_, of_command| {
        missing.extend(of_command.iter().filter(|example| !typed.contains(example)).cloned());
        examples.extend(of_command);
    });
    let not_run: Vec<&str> = NOT_RUN.iter().map(|(example, _)| *example).collect();
    missing.retain(|example| !not_run.contains(&example.as_str()));
    assert!(missing.is_empty(), "type these into a transcript:\n{}", missing.join("\n"));
    let gone: Vec<_> = not_run.iter().filter(|example| !examples.iter().any(|other| other == *example)).collect();
    assert!(gone.is_empty(), "no help has these examples any more: {gone:?}");
    let idle: Vec<_> = not_run.iter().filter(|example| typed.iter().any(|line| line == *example)).collect();
    assert!(idle.is_empty(), "these are run: {idle:?}");
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
    let world =
        World { server: "http://127.0.0.1:1", storage: "http://127.0.0.1:2/v1beta/x", folder: Path::new("/tmp/x") };
    let mut mask = Mask::new(&world);
    let id = "0195b0c0-2f7e-7000-8000-000000000001";
    let told = mask.apply(&format!("{id} http://127.0.0.1:1/v1 2026-01-01T00:00:00.5Z {id} 0.3s  \n"));
    assert_eq!(told, "<id-1> <server>/v1 <time> <id-1> <took>\n");
}
