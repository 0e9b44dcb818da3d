//! `orchctl pack grant`: what a pack may use. Without a change it shows what is granted.

use clap::Args;
use serde_json::{Map, Value as Json, json};

use super::Context;
use super::error::Error;
use super::output::Column;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orchctl pack grant storage backend=soda
  orchctl pack grant bucket-migration source=source destination=source --secret backend-access-key=source-key
  orchctl pack grant storage")]
pub(super) struct Grant {
    /// The pack.
    pack: String,
    /// The connection to give for a name in `pack.yaml`.
    #[arg(value_name = "NAME=CONNECTION")]
    connections: Vec<String>,
    /// The stored secret to give for a name in `pack.yaml`.
    #[arg(long = "secret", value_name = "NAME=SECRET")]
    secrets: Vec<String>,
    /// A host to allow that the pack's actions ask for.
    #[arg(long = "host", value_name = "HOST[:PORT]")]
    hosts: Vec<String>,
    /// Take back what was granted under this name or for this host.
    #[arg(long, value_name = "NAME|HOST")]
    revoke: Vec<String>,
    /// Take back everything first.
    #[arg(long)]
    replace: bool,
}

const SHOW: &[Column] = &[("Connections", &["/connections"]), ("Secrets", &["/secrets"]), ("Hosts", &["/hosts"])];

impl Grant {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let path = ["packs", self.pack.as_str(), "grants"];
        let current = client.get(&path, &[]).await?;
        if self.changes_nothing() {
            return context.output.thing(&current, SHOW);
        }
        let wanted = self.change(if self.replace { json!({}) } else { current }).map_err(Error::Usage)?;
        client.put(&path, &wanted).await?;
        context.output.thing(&wanted, SHOW)
    }

    fn changes_nothing(&self) -> bool {
        let lists = [&self.connections, &self.secrets, &self.hosts, &self.revoke];
        !self.replace && lists.iter().all(|list| list.is_empty())
    }

    /// What is granted after the change.
    fn change(&self, current: Json) -> Result<Json, String> {
        let map = |key: &str| current.get(key).and_then(Json::as_object).cloned().unwrap_or_default();
        let (mut connections, mut secrets) = (map("connections"), map("secrets"));
        let mut hosts = current.get("hosts").and_then(Json::as_array).cloned().unwrap_or_default();
        for revoked in &self.revoke {
            let before = connections.len() + secrets.len() + hosts.len();
            connections.remove(revoked);
            secrets.remove(revoked);
            hosts.retain(|host| host.as_str() != Some(revoked));
            if before == connections.len() + secrets.len() + hosts.len() {
                return Err(format!("nothing is granted under `{revoked}`"));
            }
        }
        add(&mut connections, &self.connections, "CONNECTION")?;
        add(&mut secrets, &self.secrets, "SECRET")?;
        for host in &self.hosts {
            if !hosts.contains(&json!(host)) {
                hosts.push(json!(host));
            }
        }
        Ok(json!({ "connections": connections, "secrets": secrets, "hosts": hosts }))
    }
}

fn add(granted: &mut Map<String, Json>, pairs: &[String], what: &str) -> Result<(), String> {
    for pair in pairs {
        match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                granted.insert(name.to_owned(), json!(value))
            }
            _ => return Err(format!("`{pair}` grants nothing: write NAME={what}")),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        grant: Grant,
    }

    fn change(arguments: &str, current: Json) -> Result<Json, String> {
        Line::parse_from(["grant", "p"].into_iter().chain(arguments.split_whitespace())).grant.change(current)
    }

    #[test]
    fn a_grant_is_added_to_what_was_granted() {
        let current = json!({"connections": {"a": "x", "b": "y"}, "hosts": ["h:1"]});
        let changed = change("a=z c=w --secret s=t --host h:1 --host h:2 --revoke b", current).unwrap();
        let expected = json!({"connections": {"a": "z", "c": "w"}, "secrets": {"s": "t"}, "hosts": ["h:1", "h:2"]});
        assert_eq!(changed, expected);
    }

    #[test]
    fn what_cannot_be_granted_or_revoked_is_told() {
        for arguments in ["a", "a=", "=b", "--secret s", "--revoke a"] {
            assert!(change(arguments, json!({})).is_err(), "{arguments}");
        }
    }
}
