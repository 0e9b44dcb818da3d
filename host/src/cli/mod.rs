//! `orchctl`, the command line: one file per command group. It speaks to a server over REST only and shares no state
//! with it; building and checking packs, and checking, showing and running workflows in files work without one. What it prints is for people unless `-o json` or `-o yaml`
//! asks for data.

mod about;
mod client;
mod connection;
mod error;
mod events;
mod follow_up;
mod grant;
mod input;
mod instance;
mod notification;
mod output;
mod pack;
mod secret;
mod service;
mod watch;
mod workflow;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Client;
use error::Error;
use output::{Format, Output};

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  what was asked for failed (an instance faulted or was cancelled, a pack has errors)
  2  wrong usage
  3  the server cannot be reached
  4  the server refused the request
  5  the server failed
  6  a workflow run from a file was cancelled
  7  a workflow run from a file was left: it waits for something that will never come

The server is taken from --server, else ORCHESTRATOR_SERVER, else `server` in
$XDG_CONFIG_HOME/orchestrator/config.yaml, else http://127.0.0.1:8080.";

/// Installs packs, orders services and follows instances.
#[derive(Debug, Parser)]
#[command(name = "orchctl", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// The server's base URL.
    #[arg(long, global = true, env = "ORCHESTRATOR_SERVER", value_name = "URL")]
    server: Option<String>,
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Order a service and, with --wait, follow it to its end.
    Run(service::Run),
    /// Packs: install, list, grant, build, check.
    #[command(subcommand)]
    Pack(pack::Command),
    /// Services that can be ordered.
    #[command(subcommand)]
    Service(service::Command),
    /// Workflows of the installed packs.
    #[command(subcommand)]
    Workflow(workflow::Command),
    /// Instances: what runs and what ran.
    #[command(subcommand)]
    Instance(instance::Command),
    /// Connections to outside systems.
    #[command(subcommand)]
    Connection(connection::Command),
    /// Secrets that connections and packs use.
    #[command(subcommand)]
    Secret(secret::Command),
    /// Notifications: what the server tells people.
    #[command(subcommand)]
    Notification(notification::Command),
    /// Whether the server takes work.
    #[command(after_help = "Example: orchctl health")]
    Health,
    /// The versions of this program and of the server.
    #[command(after_help = "Example: orchctl version -o json")]
    Version,
}

impl Command {
    /// Refuses a format that only another command speaks.
    fn check(&self, format: Format) -> Result<(), Error> {
        let (speaks, whose) = match (format, self) {
            (Format::Sarif, Self::Workflow(command)) => (command.speaks_sarif(), "workflow check"),
            (Format::Sarif, _) => (false, "workflow check"),
            (Format::Mermaid, Self::Workflow(command)) => (command.draws(), "workflow show"),
            (Format::Mermaid, _) => (false, "workflow show"),
            (Format::Table | Format::Json | Format::Yaml, _) => (true, ""),
        };
        match speaks {
            true => Ok(()),
            false => Err(Error::Usage(format!("only `orchctl {whose}` prints in this format"))),
        }
    }
}

/// What every command gets.
#[derive(Debug)]
struct Context {
    server: Option<String>,
    output: Output,
}

impl Context {
    /// A client of the server that arguments, environment and configuration name.
    fn client(&self) -> Result<Client, Error> {
        let server = match &self.server {
            Some(server) => server.clone(),
            None => configured()?.unwrap_or_else(|| client::DEFAULT_SERVER.to_owned()),
        };
        Client::new(&server)
    }
}

/// `server` of the configuration file, if there is one.
fn configured() -> Result<Option<String>, Error> {
    let Some(path) = configuration_path() else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Usage(format!("read `{}`: {error}", path.display()))),
    };
    server_of(&text).map_err(|reason| Error::Usage(format!("read `{}`: {reason}", path.display())))
}

fn configuration_path() -> Option<PathBuf> {
    let given = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    given.or_else(home).map(|folder| folder.join("orchestrator/config.yaml"))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    server: Option<String>,
}

fn server_of(text: &str) -> Result<Option<String>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    crate::definition::yaml::from_yaml::<Configuration>(text).map(|configuration| configuration.server)
}

/// Runs the command line and gives its exit code; what went wrong is on standard error.
pub fn main(arguments: Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    arguments.command.check(arguments.output)?;
    let context = Context { server: arguments.server, output: Output::new(arguments.output) };
    match arguments.command {
        Command::Run(run) => run.execute(&context).await,
        Command::Pack(command) => command.execute(&context).await,
        Command::Service(command) => command.execute(&context).await,
        Command::Workflow(command) => command.execute(&context).await,
        Command::Instance(command) => command.execute(&context).await,
        Command::Connection(command) => command.execute(&context).await,
        Command::Secret(command) => command.execute(&context).await,
        Command::Notification(command) => command.execute(&context).await,
        Command::Health => about::health(&context).await,
        Command::Version => about::version(&context).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn look(command: &clap::Command) {
            if command.get_subcommands().next().is_none() {
                let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(example.contains("Example"), "{} has no example", command.get_name());
            }
            command.get_subcommands().filter(|command| command.get_name() != "help").for_each(look);
        }
        look(&Arguments::command());
    }

    #[test]
    fn the_exit_codes_are_in_the_help() {
        let help = Arguments::command().render_long_help().to_string();
        assert!((0..=7).all(|code| help.contains(&format!("  {code}  "))), "{help}");
    }

    #[test]
    fn the_configuration_names_the_server_and_nothing_else() {
        assert_eq!(server_of(""), Ok(None));
        assert_eq!(server_of("server: http://a:1\n"), Ok(Some("http://a:1".to_owned())));
        assert!(server_of("srever: http://a:1\n").is_err());
    }
}
