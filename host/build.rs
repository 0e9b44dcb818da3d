//! Compiles the jq evaluator (`expression-guest`) to Wasm, so that the host can embed it. A nested cargo does it, with a
//! target directory of its own: sharing one would wait for itself.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const TARGET: &str = "wasm32-wasip2";

/// What the outer cargo (or clippy) sets for its own target and tools; in the nested one it would be wrong.
const FOREIGN: [&str; 8] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// Small code: it is embedded, and compiled anew for each machine.
const PROFILE: [(&str, &str); 6] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

fn main() {
    let host = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    for path in ["build.rs", "expression-guest", "../Cargo.toml", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    require_target();
    let target_dir = PathBuf::from(variable("OUT_DIR")).join("expression");
    build(&host, &target_dir);
    let wasm = target_dir.join(TARGET).join("release/expression_guest.wasm");
    println!("cargo::rustc-env=EXPRESSION_WASM={}", wasm.display());
}

fn build(host: &Path, target_dir: &Path) {
    let mut command = Command::new(variable("CARGO"));
    command
        .args(["build", "--quiet", "--release", "--locked", "--package", "expression-guest", "--lib"])
        .args(["--target", TARGET])
        .arg("--manifest-path")
        .arg(host.join("expression-guest/Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir)
        .envs(PROFILE);
    for name in FOREIGN {
        command.env_remove(name);
    }
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("compiling expression-guest to {TARGET} ended with {status}; see above")),
        Err(error) => fail(&format!("cannot start cargo: {error}")),
    }
}

/// A missing target is the one failure that a newcomer meets; rustc would report it as a missing crate `core`.
fn require_target() {
    let output = Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", TARGET]).output();
    let installed = output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir());
    if !installed {
        fail(&format!("the Rust target {TARGET} is missing; install it: rustup target add {TARGET}"));
    }
}

fn variable(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) => value,
        Err(error) => fail(&format!("cargo did not set {name}: {error}")),
    }
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1);
}
