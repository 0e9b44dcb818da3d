//! What pack authors work with: every pack of this repository passes its own tests, a new pack works as it is made, in
//! each language, and the guide does what it says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use orchestrator_host::desk::pack_test::{BenchError, Fault, Options, PackTest, Verdict};
use orchestrator_host::desk::tools::Tools;
use orchestrator_tests::binaries::{Binaries, root};
use orchestrator_tests::server::Server;

fn packs() -> Vec<String> {
    let folders = std::fs::read_dir(root().join("packs")).expect("the packs");
    let folders = folders.map(|entry| entry.expect("an entry").path());
    let mut names: Vec<String> = folders
        .filter(|folder| folder.join("pack.yaml").is_file())
        .map(|folder| folder.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A folder below `target` that is kept from run to run, so that little is compiled anew.
fn kept(name: &str) -> PathBuf {
    let folder = root().join("target/pack-tools").join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn told(verdict: &Verdict) -> String {
    let fault = |fault: &Fault| format!("\n  {}: expected {:?}, got {:?}", fault.what, fault.expected, fault.got);
    let faults: String = verdict.faults.iter().map(fault).collect();
    format!("{}: {}{faults}\n  {}\n", verdict.path, verdict.name, verdict.came.join("\n  "))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pack_passes_its_own_tests_also_over_a_crash_at_each_record() {
    let binaries = Binaries::built().expect("the programs build");
    let tools = Arc::new(Tools::open(Some(&kept("cache"))).expect("a sandbox"));
    let mut failed = Vec::new();
    for name in packs() {
        let folder = binaries.pack(&name).expect("the pack builds");
        let mut test = match PackTest::open(&folder, &[], tools.clone()).await {
            Ok(test) => test,
            Err(BenchError::Findings(findings)) => {
                failed.extend(findings.iter().map(|finding| format!("{name}: {finding}\n")));
                continue;
            }
            Err(BenchError::Failed(reason)) => panic!("{name}: {reason}"),
        };
        if test.cases() == 0 {
            failed.push(format!("{name} has no tests\n"));
        }
        let options = Options { case: None, crash: true };
        let report =
            test.run(&options, &mut |verdict| failed.extend((!verdict.passed()).then(|| told(&verdict)))).await;
        let coverage: Vec<_> =
            report.coverage.iter().map(|one| format!("{} {}%", one.workflow, one.percent())).collect();
        println!("{name}: {} passed, {} failed; {}", report.passed, report.failed, coverage.join(", "));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Runs a command line with the programs under test in its path.
fn shell(folder: &Path, script: &str, server: Option<&str>) -> (bool, String) {
    let binaries = Binaries::built().expect("the programs build");
    let programs = binaries.orchctl().parent().expect("a folder").to_owned();
    let path = std::env::join_paths(
        [programs].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script]).current_dir(folder).env("PATH", path.expect("a path"));
    bash.env("XDG_CACHE_HOME", kept("user-cache")).env_remove("RUSTFLAGS");
    if let Some(server) = server {
        bash.env("ORCHESTRATOR_SERVER", server);
    }
    let output = bash.output().expect("bash runs");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n");
    (output.status.success(), text)
}

/// A new folder in which what cargo made before is still there.
fn fresh(name: &str) -> PathBuf {
    let folder = kept(name);
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
    folder
}

/// The blocks of the guide that are marked as its commands, in order.
fn commands(guide: &str) -> Vec<String> {
    let blocks = guide.split("```sh guide\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_does_what_it_says() {
    let binaries = Binaries::built().expect("the programs build");
    let guide = std::fs::read_to_string(root().join("sdk/README.md")).expect("the guide");
    let commands = commands(&guide);
    assert!(commands.len() >= 6, "the guide has {} blocks of commands", commands.len());
    let data = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&binaries, data.path()).await.expect("the server starts");
    let folder = fresh("guide");
    // What cargo makes of the crates that every pack needs is kept between runs.
    std::fs::create_dir(folder.join("shop")).expect("a folder");
    std::os::unix::fs::symlink(kept("guide-target"), folder.join("shop/target")).expect("a link");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", commands.join("\n"));
    let (well, said) = shell(&folder, &script.replace("8900", &port.to_string()), Some(&server.url));
    assert!(well, "{said}");
    for text in ["3 passed; 0 failed", "item i-1", "The item is called Lamp", "pack `shop` 0.1.0 is installed"] {
        assert!(said.contains(text), "`{text}` is not in\n{said}");
    }
}

#[test]
fn a_new_pack_in_javascript_builds_and_passes_its_tests() {
    let folder = fresh("javascript");
    let (well, said) = shell(&folder, "orchctl pack new shop --language javascript", None);
    assert!(well, "{said}");
    let (installed, said) = shell(&folder, "cd shop; npm install --no-audit --no-fund --silent", None);
    if !installed {
        println!("NOT TESTED in JavaScript: npm is missing or its registry out of reach\n{said}");
        return;
    }
    let script = "cd shop
orchctl pack build pack
orchctl pack test pack --crash
orchctl pack check pack";
    let (well, said) = shell(&folder, script, None);
    assert!(well, "{said}");
    assert!(said.contains("3 passed; 0 failed") && said.contains("pack: sound"), "{said}");
}

#[test]
fn an_archive_has_the_same_bytes_each_time() {
    let binaries = Binaries::built().expect("the programs build");
    let folder = binaries.pack("greeting").expect("the pack builds");
    let script = format!(
        "orchctl pack archive {0} one.tar.zst; orchctl pack archive {0} two.tar.zst; cmp one.tar.zst two.tar.zst",
        folder.display()
    );
    let (well, said) = shell(&fresh("archive"), &script, None);
    assert!(well && said.contains("sha256:"), "{said}");
}

#[test]
fn an_action_runs_alone_and_its_exit_code_says_how_it_ended() {
    let binaries = Binaries::built().expect("the programs build");
    let folder = binaries.pack("greeting").expect("the pack builds");
    let run = |what: &str| shell(&fresh("run"), &format!("orchctl pack run {} {what}", folder.display()), None);
    let (well, said) = run("greet-person --input '{\"words\": \"Hello\", \"name\": \"Ann\"}'");
    assert!(well && said.contains("Hello, Ann!") && said.contains("info greeting Ann"), "{said}");
    let (well, said) = run("--workflow greeting --input '{\"language\": \"Spanish\"}'");
    assert!(well && said.contains("Saludos, World!"), "{said}");
    let (well, said) = run("greet-person --input '{\"words\": \"Hello\", \"name\": \" \"}'");
    assert!(!well && said.contains("the name is blank"), "{said}");
    let (well, said) = run("--workflow greting");
    assert!(!well && said.contains("it has greeting"), "{said}");
}
