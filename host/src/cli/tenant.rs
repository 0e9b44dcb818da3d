//! `orchctl tenant`: tenants, and who one is to them.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::client::Page;
use super::error::Error;
use super::listing::Listing;
use super::output::Column;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a tenant, or replace what is said about it.
    #[command(after_help = "Examples:
  orchctl tenant set acme --description 'The Acme department'
  orchctl tenant set acme --disabled")]
    Set(Set),
    /// List the tenants that you see.
    #[command(after_help = "Example: orchctl tenant list")]
    List(Listing),
    /// Show a tenant.
    #[command(after_help = "Example: orchctl tenant show acme")]
    Show {
        /// Its name.
        name: String,
    },
    /// Delete a tenant that holds nothing any more.
    #[command(after_help = "Example: orchctl tenant delete acme")]
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Its name.
    name: String,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Let nobody in; everything in it is kept.
    #[arg(long)]
    disabled: bool,
}

const LIST: &[Column] = &[
    ("NAME", &["/name"]),
    ("ENABLED", &["/enabled"]),
    ("CREATED", &["/createdAt"]),
    ("DESCRIPTION", &["/description"]),
];

const SHOW: &[Column] = &[
    ("Name", &["/name"]),
    ("Description", &["/description"]),
    ("Enabled", &["/enabled"]),
    ("Created", &["/createdAt"]),
];

const WHO: &[Column] = &[
    ("Subject", &["/subject"]),
    ("Tenant", &["/tenant"]),
    ("Roles", &["/roles"]),
    ("Permissions", &["/permissions"]),
    ("Services", &["/services"]),
    ("Known by", &["/authentication"]),
];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::Set(set) => {
                let mut body = json!({ "enabled": !set.disabled });
                if let Some(description) = &set.description {
                    body["description"] = json!(description);
                }
                context.output.thing(&client.put(&["tenants", &set.name], &body).await?, SHOW)
            }
            Self::List(listing) => {
                let list = client.all(&["tenants"], &[], Page::WHOLE).await?;
                context.output.list(&listing.apply(list)?, LIST)
            }
            Self::Show { name } => context.output.thing(&client.get(&["tenants", name], &[]).await?, SHOW),
            Self::Delete { name } => {
                client.delete(&["tenants", name], &[]).await?;
                context.output.said(&format!("tenant `{name}` is deleted"), &json!({ "name": name }))
            }
        }
    }
}

/// Shows who the server takes you for.
pub(super) async fn whoami(context: &Context) -> Result<(), Error> {
    context.output.thing(&context.client()?.get(&["whoami"], &[]).await?, WHO)
}
