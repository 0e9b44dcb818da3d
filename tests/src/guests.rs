//! Builds the guests of `tests/guest-programs` once per test run, as a component.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The component's bytes.
///
/// # Panics
/// The build fails; its messages are on standard error.
pub fn component() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| std::fs::read(build()).expect("cargo has just written it"))
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    // A target directory of its own: the outer cargo holds the lock of the usual one.
    let target = root.join("target/guests");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        // Settings of the outer build (flags for the host, a wrapper, a coverage run) do not fit Wasm.
        let text = name.to_string_lossy();
        let keep = matches!(&*text, "CARGO_HOME" | "CARGO_NET_OFFLINE" | "CARGO_BUILD_JOBS");
        if !keep && (text.starts_with("CARGO") || text.starts_with("RUSTC") || text.contains("RUSTFLAGS")) {
            command.env_remove(&name);
        }
    }
    let status = command
        .current_dir(root)
        .args(["build", "--quiet", "--package", "guest-programs", "--lib", "--release"])
        .args(["--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target)
        .envs([("CARGO_PROFILE_RELEASE_DEBUG", "false"), ("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")])
        .envs([("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")])
        .status()
        .expect("cargo runs this test, so it can be started");
    assert!(status.success(), "build the guests; `rustup target add wasm32-wasip2` installs their target");
    target.join("wasm32-wasip2/release/guest_programs.wasm")
}
