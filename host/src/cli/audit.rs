//! `orchctl audit`: the audit log, read, taken out and verified; also a file of it without a server.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value as Json, json};

use super::Context;
use super::client::Page;
use super::error::{Error, Problem};
use super::output::Column;
use crate::identity::audit::{Entry, digest_of, link};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List entries, newest first.
    #[command(after_help = "Examples:
  orchctl audit list
  orchctl audit list --subject token:ci --action start_instance --since 2026-01-01T00:00:00Z")]
    List(List),
    /// Verify the log: that nothing was changed, left out or put in.
    #[command(after_help = "Examples:
  orchctl audit verify
  orchctl audit verify --file audit.jsonl")]
    Verify {
        /// Verify this export of the whole log instead, without a server.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the whole log as JSON lines, the oldest entry first.
    #[command(after_help = "Example: orchctl audit export --to audit.jsonl")]
    Export {
        /// Write it into this file.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only of this subject, such as token:ci.
    #[arg(long)]
    subject: Option<String>,
    /// Only in this tenant.
    #[arg(long = "of-tenant", value_name = "NAME")]
    tenant: Option<String>,
    /// Only this operation, such as `start_instance`.
    #[arg(long, value_name = "OPERATION")]
    action: Option<String>,
    /// Only at or after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
}

const LIST: &[Column] = &[
    ("NUMBER", &["/number"]),
    ("AT", &["/at"]),
    ("WHO", &["/subject"]),
    ("TENANT", &["/tenant"]),
    ("FROM", &["/address"]),
    ("ACTION", &["/action"]),
    ("TARGET", &["/target"]),
    ("OUTCOME", &["/outcome"]),
];

const VERDICT: &[Column] = &[
    ("Valid", &["/valid"]),
    ("Entries", &["/entries"]),
    ("First", &["/first"]),
    ("Last", &["/last"]),
    ("Head", &["/head"]),
    ("Broken at", &["/brokenAt"]),
    ("Problem", &["/problem"]),
];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::List(list) => {
                let query = list.query();
                let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let page = context.client()?.some(&["audit"], &query, Page::CURSOR, Some(list.limit)).await?;
                context.output.list(&page, LIST)
            }
            Self::Verify { file: Some(path) } => told(context, &verified(path)?),
            Self::Verify { file: None } => told(context, &context.client()?.get(&["audit", "verify"], &[]).await?),
            Self::Export { to } => export(context, to.as_deref()).await,
        }
    }
}

impl List {
    fn query(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("subject", &self.subject),
            ("tenant", &self.tenant),
            ("action", &self.action),
            ("since", &self.since),
            ("until", &self.until),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

/// Prints what a look came to; a log that is not whole is a failure.
fn told(context: &Context, verdict: &Json) -> Result<(), Error> {
    context.output.thing(verdict, VERDICT)?;
    match verdict["valid"] == json!(true) {
        true => Ok(()),
        false => Err(Error::Failed("verify the audit log: it was changed; see above from where on".to_owned())),
    }
}

async fn export(context: &Context, to: Option<&Path>) -> Result<(), Error> {
    let client = context.client()?;
    let answer = client.send(Method::GET, client.url(&["audit", "export"]), HeaderMap::new(), None).await?;
    if !answer.status.is_success() {
        return Err(Error::Answered(Box::new(Problem::read(answer.status.as_u16(), None, &answer.body))));
    }
    match to {
        None => std::io::stdout().lock().write_all(&answer.body).map_err(Error::Output),
        Some(path) => {
            let failed = |error| Error::Failed(format!("write `{}`: {error}", path.display()));
            std::fs::write(path, &answer.body).map_err(failed)?;
            let said = format!("the audit log is in `{}`", path.display());
            context.output.said(&said, &json!({ "file": path.display().to_string() }))
        }
    }
}

/// Verifies an export. Its first entry is believed where the log was cut before it; the head may be compared with one that
/// was kept elsewhere.
fn verified(path: &Path) -> Result<Json, Error> {
    let failed = |error: std::io::Error| Error::Usage(format!("read `{}`: {error}", path.display()));
    let (mut entries, mut first, mut place) = (0_u64, None, None::<(u64, [u8; 32])>);
    for text in BufReader::new(File::open(path).map_err(failed)?).lines() {
        let text = text.map_err(failed)?;
        let entry: Entry = serde_json::from_str(&text)
            .map_err(|error| Error::Usage(format!("read `{}`, line {}: {error}", path.display(), entries + 1)))?;
        let number = entry.content.number;
        let before = place.or((number == 1).then_some((0, [0; 32])));
        if let Some(fault) = before.and_then(|(before, hash)| link(before, &hash, &entry)) {
            return Ok(json!({ "valid": false, "entries": entries, "brokenAt": number, "problem": fault }));
        }
        first.get_or_insert(number);
        place = Some((number, digest_of(&entry.hash)));
        entries += 1;
    }
    let (last, head) = place.unzip();
    Ok(json!({ "valid": true, "entries": entries, "first": first, "last": last, "head": head.map(hex::encode) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::audit::{Content, hash};

    fn exported(count: u64) -> Vec<Json> {
        let mut before = [0; 32];
        let entry = |number| {
            let content = json!({ "number": number, "at": "2026-01-01T00:00:00Z", "subject": "token:a",
                "address": "192.0.2.1", "action": "start_instance", "target": "/v1/instances", "outcome": 201,
                "requestId": "r" });
            let content: Content = serde_json::from_value(content).unwrap();
            before = hash(&before, &content);
            serde_json::to_value(Entry { content, hash: hex::encode(before) }).unwrap()
        };
        (1..=count).map(entry).collect()
    }

    fn verdict(lines: &[Json]) -> Json {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        verified(file.path()).unwrap()
    }

    #[test]
    fn an_export_is_verified_without_a_server() {
        let whole = exported(5);
        let good = verdict(&whole);
        assert_eq!((&good["valid"], &good["last"], &good["head"]), (&json!(true), &json!(5), &whole[4]["hash"]));
        assert_eq!(verdict(&whole[2..])["first"], 3, "the log was cut before it");
        assert_eq!(verdict(&[])["entries"], 0);
        let mut changed = whole.clone();
        changed[2]["subject"] = json!("token:b");
        assert_eq!(verdict(&changed)["brokenAt"], 3);
        let mut shorter = whole.clone();
        shorter.remove(2);
        assert_eq!(verdict(&shorter)["brokenAt"], 4);
    }
}
