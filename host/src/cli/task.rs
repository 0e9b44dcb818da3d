//! `orchctl task`: the tasks of an instance, and SODA's `task get`.

use clap::{Args, Subcommand};

use super::error::Error;
use super::{Context, instance, soda};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List an instance's tasks with their attempts.
    #[command(after_help = "Example: orchctl task list 0195b0c0-2f7e-7000-8000-000000000001")]
    List {
        /// The instance.
        instance: String,
    },
    /// Show the tasks of an instance as SODA's interface has them.
    #[command(
        after_help = "Example: orchctl --orch_ip 127.0.0.1 --orch_port 8080 -t default task get -i 0195b0c0-2f7e-7000-8000-000000000001"
    )]
    Get(Get),
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The instance's identifier.
    #[arg(short, long)]
    id: String,
}

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::List { instance } => instance::tasks(context, instance).await,
            Self::Get(Get { id }) => soda::get_task(context, id).await,
        }
    }

    pub(super) fn is_soda(&self) -> bool {
        matches!(self, Self::Get(_))
    }
}
