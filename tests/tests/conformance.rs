//! The served OpenAPI document is true: requests generated from it get only answers that it tells, and none of 500 and above.

use std::process::Command;

use orchestrator_tests::binaries::{Binaries, root};

/// Cases for each operation beside those of its examples and bounds: a short run, whose seed stays. Longer ones are made with
/// the script.
const EXAMPLES: &str = "3";

#[test]
fn generated_requests_get_only_answers_that_are_documented() {
    let binaries = Binaries::built().expect("the programs build");
    binaries.pack("greeting").expect("the pack builds");
    let folder = binaries.orchestrator().parent().expect("the program lies in a folder").to_owned();
    let output = Command::new("bash")
        .args(["tests/schemathesis.sh", "--examples", EXAMPLES])
        .env("ORCHESTRATOR_BIN", folder)
        .current_dir(root())
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    // Where its generator cannot be installed the script says so, and so does this test.
    print!("{said}");
    let tail: Vec<&str> = said.lines().rev().take(200).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    assert!(output.status.success(), "{}\n{}", tail.join("\n"), String::from_utf8_lossy(&output.stderr));
}
