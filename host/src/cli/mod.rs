//! `orchctl`, the command line: one file per command group. It speaks to a server over REST only and shares no state
//! with it; building and checking packs, and checking, showing and running workflows in files work without one. What it
//! prints is for people unless `-o` asks for data. The commands and flags of SODA's `orchctl` work too (`soda`).

mod about;
mod api;
mod apply;
mod ask;
mod audit;
mod client;
mod complete;
mod connection;
mod error;
mod event;
mod events;
mod follow_up;
mod grant;
mod input;
mod instance;
mod listing;
mod notification;
mod order;
mod output;
mod pack;
mod profile;
mod schedule;
mod secret;
mod service;
mod settings;
mod shell;
mod soda;
mod task;
mod tenant;
mod token;
mod update;
mod watch;
mod workflow;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use client::Client;
use error::Error;
use output::{Format, Output, aside};
use settings::{Flags, Settings};

const AFTER: &str = "Exit codes:
  0  done
  1  what was asked for failed (an instance faulted or was cancelled, a pack has errors); `diff` found differences
  2  wrong usage
  3  the server cannot be reached
  4  the server refused the request
  5  the server failed
  6  a workflow run from a file was cancelled
  7  a workflow run from a file was left: it waits for something that will never come
  8  the server wants a token, or does not allow it to whom the token belongs
  9  what was waited for took longer than --timeout
  130  the wait was interrupted; the instance goes on

The server is taken from --server, else ORCHESTRATOR_SERVER, else the profile in use, else `server` in
$XDG_CONFIG_HOME/orchestrator/config.yaml, else http://127.0.0.1:8080. The token is taken from --token-file, else
ORCHESTRATOR_TOKEN, else the profile.";

/// Installs packs, orders services and follows instances.
#[derive(Debug, Parser)]
#[command(name = "orchctl", version, after_help = AFTER)]
pub struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    soda: soda::Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Order a service and, with --wait, follow it to its end.
    Run(Box<order::Run>),
    /// Make the server as files say: packs, secrets, connections, grants, services, schedules.
    Apply(apply::Apply),
    /// Show what `apply` would change; exits with 1 if there is anything.
    Diff(apply::Diff),
    /// Packs: install, list, grant, build, check.
    #[command(subcommand)]
    Pack(pack::Command),
    /// Services that can be ordered.
    #[command(subcommand)]
    Service(service::Command),
    /// Schedules: what starts instances by itself.
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Workflows of the installed packs.
    #[command(subcommand)]
    Workflow(workflow::Command),
    /// Instances: what runs and what ran.
    #[command(subcommand)]
    Instance(instance::Command),
    /// Tasks of instances.
    #[command(subcommand)]
    Task(task::Command),
    /// Connections to outside systems.
    #[command(subcommand)]
    Connection(connection::Command),
    /// Secrets that connections and packs use.
    #[command(subcommand)]
    Secret(secret::Command),
    /// Notifications: what the server tells people.
    #[command(subcommand)]
    Notification(notification::Command),
    /// Events: send CloudEvents, follow what happens.
    #[command(subcommand)]
    Event(event::Command),
    /// Tenants: who shares instances, connections, services and people.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// API tokens: what people and programs prove with who they are.
    #[command(subcommand)]
    Token(token::Command),
    /// The audit log: what was changed or refused.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Show who the server takes you for, and what you may.
    #[command(after_help = "Example: orchctl whoami")]
    Whoami,
    /// Profiles: the servers that you work with.
    #[command(subcommand)]
    Profile(profile::Command),
    /// Send any request to the server and print its answer.
    Api(api::Api),
    /// Explain a kind of problem, by the last part of its type.
    #[command(after_help = "Example: orchctl explain unknown-service")]
    Explain {
        /// The kind, `unknown-service`, or the whole type.
        problem: String,
    },
    /// Print what makes a shell complete commands and flags.
    #[command(after_help = shell::COMPLETIONS_HELP)]
    Completions(shell::Completions),
    /// Write manual pages into a folder, one for each command.
    #[command(after_help = "Example: orchctl man ~/.local/share/man/man1")]
    Man(shell::Man),
    /// Whether the server takes work.
    #[command(after_help = "Example: orchctl health")]
    Health,
    /// The versions of this program and of the server.
    #[command(after_help = "Example: orchctl version -o json")]
    Version,
}

impl Command {
    /// Refuses a format that only another command speaks.
    fn check(&self, format: &Format) -> Result<(), Error> {
        let (speaks, whose) = match (format, self) {
            (Format::Sarif, Self::Workflow(command)) => (command.speaks_sarif(), "workflow check"),
            (Format::Sarif, _) => (false, "workflow check"),
            (Format::Mermaid, Self::Workflow(command)) => (command.draws(), "workflow show"),
            (Format::Mermaid, _) => (false, "workflow show"),
            _ => (true, ""),
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
    settings: Settings,
    output: Output,
    soda: soda::Flags,
}

impl Context {
    /// A client of the server that arguments, environment and configuration name.
    fn client(&self) -> Result<Client, Error> {
        Client::new(&self.settings.access()?)
    }
}

/// Runs the command line of this process and gives its exit code; what went wrong is on standard error. Also answers a
/// shell that asks what Tab completes.
pub fn main() -> ExitCode {
    if complete::answered() {
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::try_parse().unwrap_or_else(refused);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            aside(&format!("error: start: {error}"));
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

/// Ends the process with what is wrong with the arguments. A group without a command shows what it has.
fn refused(error: clap::Error) -> Arguments {
    if error.kind() != ErrorKind::MissingSubcommand {
        error.exit();
    }
    let asked: Vec<_> = std::env::args_os().chain(["-h".into()]).collect();
    let help = Arguments::try_parse_from(asked).err().filter(|error| error.kind() == ErrorKind::DisplayHelp);
    aside(help.as_ref().unwrap_or(&error).render().to_string().trim_end());
    std::process::exit(i32::from(Error::Usage(String::new()).exit_code()))
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    let settings = Settings::read(arguments.flags)?;
    let output = settings.output()?;
    arguments.command.check(output.format())?;
    let context = Context { settings, output, soda: arguments.soda };
    arguments.command.execute(&context).await
}

impl Command {
    async fn execute(self, context: &Context) -> Result<(), Error> {
        if context.soda.is_given() && !self.is_soda() {
            return Err(Error::Usage(soda::ONLY.to_owned()));
        }
        match self {
            Self::Run(run) => run.execute(context).await,
            Self::Apply(apply) => apply.execute(context).await,
            Self::Diff(diff) => diff.execute(context).await,
            Self::Pack(command) => command.execute(context).await,
            Self::Service(command) => command.execute(context).await,
            Self::Schedule(command) => command.execute(context).await,
            Self::Workflow(command) => command.execute(context).await,
            Self::Instance(command) => command.execute(context).await,
            Self::Task(command) => command.execute(context).await,
            Self::Connection(command) => command.execute(context).await,
            Self::Secret(command) => command.execute(context).await,
            Self::Notification(command) => command.execute(context).await,
            Self::Event(command) => command.execute(context).await,
            Self::Tenant(command) => command.execute(context).await,
            Self::Token(command) => command.execute(context).await,
            Self::Audit(command) => command.execute(context).await,
            Self::Whoami => tenant::whoami(context).await,
            Self::Profile(command) => command.execute(context),
            Self::Api(api) => api.execute(context).await,
            Self::Explain { problem } => about::explain(context, &problem).await,
            Self::Completions(completions) => completions.execute(),
            Self::Man(man) => man.execute(context),
            Self::Health => about::health(context).await,
            Self::Version => about::version(context).await,
        }
    }

    /// Whether SODA's command line has it, and its flags make sense with it.
    fn is_soda(&self) -> bool {
        match self {
            Self::Service(command) => command.is_soda(),
            Self::Instance(command) => command.is_soda(),
            Self::Workflow(command) => command.is_soda(),
            Self::Task(command) => command.is_soda(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
