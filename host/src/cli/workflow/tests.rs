//! The commands on files, from their arguments to the exit code.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use serde_json::json;

use super::*;
use crate::cli::{Arguments, Command as Any};
use crate::definition::Severity;

const HEADER: &str = "document: { dsl: '1.0.3', namespace: n, name: flow, version: '1.0.0' }\n";

/// Machine code is kept for the next test.
const CACHE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/desk-cache");

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, body) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let header = if name.ends_with(".yaml") { HEADER } else { "" };
        std::fs::write(path, format!("{header}{body}")).unwrap();
    }
    folder
}

fn parsed(words: &[&str]) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(["orchctl", "workflow"].iter().chain(words))
}

/// The exit code of a command, and what it said on its way out.
async fn exit(words: &[&str]) -> (u8, String) {
    match crate::cli::run(parsed(words).unwrap()).await {
        Ok(()) => (0, String::new()),
        Err(error) => (error.exit_code(), format!("{error:?}")),
    }
}

fn at(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

#[tokio::test]
async fn a_run_s_exit_code_is_its_status() {
    let files = folder(&[
        ("good.yaml", "do: [ { a: { wait: PT1H } }, { b: { set: { x: '${ .size * 2 }' } } } ]\n"),
        ("faulted.yaml", "do: [ { a: { raise: { error: { type: 'urn:x', status: 500, title: Oh } } } } ]\n"),
        ("unsound.yaml", "do: [ { a: { sett: {} } } ]\n"),
        ("call.yaml", "do: [ { a: { call: create } } ]\n"),
    ]);
    let run = async |name: &str, more: &[&str]| {
        let file = at(&files, name);
        let words: Vec<&str> = ["run", &file, "--cache", CACHE, "--skip-waits"].iter().chain(more).copied().collect();
        exit(&words).await
    };
    assert_eq!(run("good.yaml", &["--input", "{\"size\": 1}", "-o", "json"]).await, (0, String::new()));
    assert_eq!(run("good.yaml", &["size=3", "-o", "text"]).await.0, 0);
    let (code, said) = run("faulted.yaml", &[]).await;
    assert!(code == 1 && said.contains("the workflow faulted: Oh (500)"), "{said}");
    let (code, said) = run("unsound.yaml", &[]).await;
    assert!(code == 1 && said.contains("unknown key"), "{said}");
    let (code, said) = run("call.yaml", &[]).await;
    assert!(code == 1 && said.contains("--pack DIR"), "{said}");
    assert_eq!(run("missing.yaml", &[]).await.0, 2);
    assert_eq!(run("good.yaml", &["--wait"]).await.0, 2);
    assert_eq!(run("good.yaml", &["-o", "sarif"]).await.0, 2);
}

#[tokio::test]
async fn flags_of_a_run_here_are_refused_for_a_server() {
    let (code, said) = exit(&["run", "storage/provision-volume", "--skip-waits"]).await;
    assert!(code == 2 && said.contains("is no file"), "{said}");
    for wrong in [
        ["--map", "host"],
        ["--map", "host=ftp://x"],
        ["--secret", "x"],
        ["--secret", "x=@/nowhere/at/all"],
        ["--allow-host", "a/b"],
    ] {
        assert!(parsed(&["run", "f.yaml", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
    }
    let shown = format!("{:?}", parsed(&["run", "f.yaml", "--secret", "x=hush"]).unwrap());
    assert!(!shown.contains("hush") && !shown.contains("104"), "{shown}");
}

#[tokio::test]
async fn a_run_tells_its_tasks_as_data() {
    let files = folder(&[("f.yaml", "do: [ { a: { set: { x: 1 } } }, { b: { set: { y: '${ .x }' } } } ]\n")]);
    let file = at(&files, "f.yaml");
    let Any::Workflow(Command::Run(run)) = parsed(&["run", &file, "--cache", CACHE, "--skip-waits"]).unwrap().command
    else {
        panic!("another command");
    };
    let outcome = run.local.outcome(Path::new(&file), &run.start, &run.desk).await.unwrap();
    let data = local::data(&outcome);
    let keys: Vec<_> = data.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["status", "output", "error", "tasks"]);
    assert_eq!(
        (&data["status"], &data["output"], &data["error"]),
        (&json!("completed"), &json!({ "y": 1 }), &json!(null))
    );
    assert_eq!(data["tasks"][1]["reference"], "/do/1/b");
}

#[tokio::test]
async fn a_check_tells_all_findings_of_all_files() {
    let files = folder(&[
        ("flows/good.yaml", "do: [ { a: { set: {} } } ]\n"),
        ("flows/more/bad.yaml", "do: [ { a: { sett: {} } }, { b: { call: create } } ]\n"),
        ("flows/notes.txt", "document: no\n"),
        ("flows/.hidden.yaml", "do: 1\n"),
    ]);
    std::fs::write(files.path().join("flows/other.yaml"), "a: 1\n").unwrap();
    let folder = at(&files, "flows");
    let Any::Workflow(Command::Check(check)) = parsed(&["check", &folder, "--cache", CACHE]).unwrap().command else {
        panic!("another command");
    };
    let evaluator = crate::desk::tools::Tools::open(Some(Path::new(CACHE))).unwrap().evaluator;
    let mut seen: Vec<PathBuf> = Vec::new();
    let findings = check
        .findings(&*evaluator, |file, _| {
            seen.push(file.strip_prefix(&folder).unwrap().to_owned());
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [Path::new("good.yaml"), Path::new("more/bad.yaml")]);
    let codes: Vec<_> = findings.iter().map(|finding| (finding.code, finding.severity, finding.line)).collect();
    let expected = [("unknown-key", Severity::Error, 2), ("unknown-action-unchecked", Severity::Warning, 2)];
    assert_eq!(codes, expected);
    for format in ["text", "json", "sarif", "yaml"] {
        assert_eq!(exit(&["check", &folder, "--cache", CACHE, "-o", format]).await.0, 1, "{format}");
        assert_eq!(exit(&["check", &at(&files, "flows/good.yaml"), "--cache", CACHE, "-o", format]).await.0, 0);
    }
    assert_eq!(exit(&["check", &at(&files, "nothing.yaml"), "--cache", CACHE]).await.0, 2);
}

#[tokio::test]
async fn a_file_is_shown_in_every_format() {
    let files = folder(&[("f.yaml", "do: [ { a: { call: create } } ]\n")]);
    let file = at(&files, "f.yaml");
    for format in ["text", "mermaid", "json", "yaml"] {
        assert_eq!(exit(&["show", &file, "--cache", CACHE, "-o", format]).await, (0, String::new()), "{format}");
    }
    assert_eq!(exit(&["show", &file, "--cache", CACHE, "-o", "sarif"]).await.0, 2);
    assert_eq!(exit(&["schema"]).await.0, 0);
}
