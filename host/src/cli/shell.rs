//! `orchctl completions` and `orchctl man`: what shells and manual pages know of the command line, made from it.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::error::Error;
use super::{Arguments, Context, complete};

/// How completions are switched on.
pub(super) const COMPLETIONS_HELP: &str = "Examples:
  orchctl completions bash > ~/.local/share/bash-completion/completions/orchctl
  orchctl completions zsh > ~/.zfunc/_orchctl
  orchctl completions fish > ~/.config/fish/completions/orchctl.fish";

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder; it is made where it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Completions {
    pub(super) fn execute(&self) -> Result<(), Error> {
        let script = complete::registration(&self.shell.to_string())?;
        std::io::Write::write_all(&mut std::io::stdout().lock(), &script).map_err(Error::Output)
    }
}

impl Man {
    pub(super) fn execute(&self, context: &Context) -> Result<(), Error> {
        let wrong = |error: std::io::Error| Error::Failed(format!("write to `{}`: {error}", self.folder.display()));
        std::fs::create_dir_all(&self.folder).map_err(wrong)?;
        clap_mangen::generate_to(Arguments::command(), &self.folder).map_err(wrong)?;
        let said = format!("the manual pages are in {}; read them with `man -l FILE`", self.folder.display());
        context.output.said(&said, &json!({ "name": self.folder }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_gets_a_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(Arguments::command(), folder.path()).unwrap();
        let pages =
            [("orchctl.1", "Exit codes"), ("orchctl-instance-watch.1", "Example"), ("orchctl-apply.1", "Examples")];
        for (page, expected) in pages {
            let text = std::fs::read_to_string(folder.path().join(page)).unwrap_or_default();
            assert!(text.contains(expected), "{page}");
        }
    }
}
