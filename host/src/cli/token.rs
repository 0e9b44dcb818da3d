//! `orchctl token`: API tokens. A token is printed when it is made and never again.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::header::HeaderMap;
use serde_json::{Value as Json, json};

use super::Context;
use super::client::Page;
use super::error::Error;
use super::listing::Listing;
use super::output::{Column, line};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token and print it, this once.
    #[command(after_help = "Examples:
  orchctl token create ci --role operator --expires-in 90d
  orchctl token create portal --role operator --service 'volume provision' --save portal.token")]
    Create(Create),
    /// List the tokens of the tenant.
    #[command(after_help = "Example: orchctl token list")]
    List(Listing),
    /// Show a token, without the token itself.
    #[command(after_help = "Example: orchctl token show ci")]
    Show {
        /// Its name.
        name: String,
    },
    /// Revoke a token: no request passes with it any more.
    #[command(after_help = "Example: orchctl token revoke ci")]
    Revoke {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name, once in the tenant.
    name: String,
    /// What it may do: viewer, operator, approver, tenant-admin, pack-admin, server-admin; several times for several.
    #[arg(long = "role", required = true, value_name = "ROLE")]
    roles: Vec<String>,
    /// A service that it may order; several times for several [default: all]
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<String>,
    /// After how long it ends, such as 90d or PT12H [default: never]
    #[arg(long, value_name = "DURATION", conflicts_with = "expires_at")]
    expires_in: Option<String>,
    /// When it ends (RFC 3339).
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Write the token into this new file, readable by you alone, and do not print it.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

const LIST: &[Column] = &[
    ("NAME", &["/name"]),
    ("ROLES", &["/roles"]),
    ("SERVICES", &["/services"]),
    ("CREATED", &["/createdAt"]),
    ("EXPIRES", &["/expiresAt"]),
    ("LAST USED", &["/lastUsedAt"]),
];

const SHOW: &[Column] = &[
    ("Name", &["/name"]),
    ("Tenant", &["/tenant"]),
    ("Roles", &["/roles"]),
    ("Services", &["/services"]),
    ("Created", &["/createdAt"]),
    ("By", &["/createdBy"]),
    ("Expires", &["/expiresAt"]),
    ("Last used", &["/lastUsedAt"]),
];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::Create(create) => create.execute(context).await,
            Self::List(listing) => {
                let list = client.all(&["tokens"], &[], Page::WHOLE).await?;
                context.output.list(&listing.apply(list)?, LIST)
            }
            Self::Show { name } => context.output.thing(&client.get(&["tokens", name], &[]).await?, SHOW),
            Self::Revoke { name } => {
                client.delete(&["tokens", name], &[]).await?;
                context.output.said(&format!("token `{name}` is revoked"), &json!({ "name": name }))
            }
        }
    }
}

impl Create {
    async fn execute(&self, context: &Context) -> Result<(), Error> {
        // Before the token is made: one that cannot be kept would be lost.
        let file = self.save.as_deref().map(new_file).transpose()?;
        let mut made = context.client()?.post(&["tokens"], &self.body(), HeaderMap::new()).await?;
        let token = made.as_object_mut().and_then(|made| made.shift_remove("token")).unwrap_or_default();
        let token = token.as_str().unwrap_or_default();
        match file {
            Some((path, mut file)) => {
                let written = writeln!(file, "{token}").and_then(|()| file.sync_all());
                written
                    .map_err(|error| Error::Failed(format!("write the token into `{}`: {error}", path.display())))?;
                context.output.said(&format!("token `{}` is in `{}`", self.name, path.display()), &made)
            }
            None if context.output.is_for_people() => line(token),
            None => {
                made["token"] = json!(token);
                context.output.thing(&made, SHOW)
            }
        }
    }

    fn body(&self) -> Json {
        let mut body = json!({ "name": self.name, "roles": self.roles });
        if !self.services.is_empty() {
            body["services"] = json!(self.services);
        }
        for (member, value) in [("expiresIn", &self.expires_in), ("expiresAt", &self.expires_at)] {
            if let Some(value) = value {
                body[member] = json!(value);
            }
        }
        body
    }
}

fn new_file(path: &Path) -> Result<(PathBuf, std::fs::File), Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|error| Error::Usage(format!("make the file `{}`: {error}", path.display())))?;
    Ok((path.to_owned(), file))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn options_become_the_members_of_the_api() {
        let body = |line: &str| match Line::try_parse_from(line.split(' ')).map(|line| line.command) {
            Ok(Command::Create(create)) => Some(create.body()),
            _ => None,
        };
        let made = body("x create ci --role operator --role viewer --service a --expires-in 90d").unwrap();
        let expected = json!({ "name": "ci", "roles": ["operator", "viewer"], "services": ["a"], "expiresIn": "90d" });
        assert_eq!(made, expected);
        assert_eq!(body("x create ci --role viewer").unwrap(), json!({ "name": "ci", "roles": ["viewer"] }));
        assert!(body("x create ci").is_none(), "a token without a role may do nothing");
        assert!(body("x create ci --role viewer --expires-in 1h --expires-at 2030-01-01T00:00:00Z").is_none());
    }
}
