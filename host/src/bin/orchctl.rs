//! The command line: arguments in, library call out.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    orchestrator_host::cli::main(orchestrator_host::cli::Arguments::parse())
}
