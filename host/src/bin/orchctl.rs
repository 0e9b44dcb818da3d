//! The command line: a library call.

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestrator_host::cli::main()
}
