//! `orchctl notification`: what the server tells people.

use clap::{Args, Subcommand};
use reqwest::header::HeaderMap;
use serde_json::{Value as Json, json};

use super::client::Page;
use super::error::Error;
use super::listing::Listing;
use super::output::{Column, cell, line};
use super::{Context, event};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List notifications, newest first.
    #[command(after_help = "Examples:
  orchctl notification list
  orchctl notification list --user user:default/ann --group group:default/ops --unread --severity high")]
    List(List),
    /// Show a notification.
    #[command(after_help = "Example: orchctl notification show 0199c1f0-0000-7000-8000-000000000000")]
    Show {
        /// Its identifier.
        id: String,
        #[command(flatten)]
        who: Who,
    },
    /// Mark notifications as read, for one user.
    #[command(after_help = "Examples:
  orchctl notification read 0199c1f0-0000-7000-8000-000000000000 --user user:default/ann
  orchctl notification read --all --user user:default/ann --group group:default/ops")]
    Read(Read),
    /// Post a notification.
    #[command(after_help = "Examples:
  orchctl notification send 'Backup done' --severity low --topic backups
  orchctl notification send 'Disk full' --to group:default/ops --severity critical --link https://disks.example/7")]
    Send(Send),
    /// Count what is unread, read and saved.
    #[command(after_help = "Example: orchctl notification status --user user:default/ann")]
    Status {
        #[command(flatten)]
        who: Who,
    },
    /// Print what becomes new, as it does, until Ctrl-C.
    #[command(after_help = "Example: orchctl notification watch --user user:default/ann")]
    Watch {
        #[command(flatten)]
        who: Who,
    },
    /// Remove a notification, for everybody.
    #[command(after_help = "Example: orchctl notification delete 0199c1f0-0000-7000-8000-000000000000")]
    Delete {
        /// Its identifier.
        id: String,
    },
}

/// Who reads.
#[derive(Debug, Args)]
pub(super) struct Who {
    /// Who reads, `user:default/ann`; without it everything is shown.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// A group that she is in; several times for several.
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    who: Who,
    /// Only what she has not read.
    #[arg(long, requires = "user")]
    unread: bool,
    /// Only what she has saved.
    #[arg(long, requires = "user")]
    saved: bool,
    /// Only of this severity or above: low, normal, high, critical.
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// Only of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only posted or changed since then (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only with this text in title or description.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
pub(super) struct Read {
    /// Their identifiers.
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// Everything that she has not read.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Whose marks, `user:default/ann`.
    #[arg(long, value_name = "USER")]
    user: String,
    /// A group that she is in; several times for several.
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Mark as unread again instead.
    #[arg(long)]
    unread: bool,
    /// Save them too.
    #[arg(long)]
    save: bool,
}

#[derive(Debug, Args)]
pub(super) struct Send {
    /// One line.
    title: String,
    /// Who gets it, `user:default/ann` or `group:default/ops`; several times for several [default: everybody]
    #[arg(long, value_name = "ENTITY")]
    to: Vec<String>,
    /// More about it.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How much it matters: low, normal, high, critical.
    #[arg(long, default_value = "normal")]
    severity: String,
    /// What it is about.
    #[arg(long)]
    topic: Option<String>,
    /// A later one of the same scope takes its place.
    #[arg(long)]
    scope: Option<String>,
    /// Where to go.
    #[arg(long, value_name = "URL")]
    link: Option<String>,
}

const LIST: &[Column] = &[
    ("ID", &["/id"]),
    ("CREATED", &["/updated", "/created"]),
    ("SEVERITY", &["/severity"]),
    ("FOR", &["/recipients/entityRef", "/recipients/type"]),
    ("READ", &["/read"]),
    ("TITLE", &["/title"]),
];

const WIDE: &[Column] = &[("TOPIC", &["/topic"]), ("FROM", &["/origin"]), ("LINK", &["/link"])];

const SHOW: &[Column] = &[
    ("Id", &["/id"]),
    ("Title", &["/title"]),
    ("Description", &["/description"]),
    ("Severity", &["/severity"]),
    ("Topic", &["/topic"]),
    ("Link", &["/link"]),
    ("For", &["/recipients/entityRef", "/recipients/type"]),
    ("From", &["/origin"]),
    ("Scope", &["/scope"]),
    ("Created", &["/created"]),
    ("Updated", &["/updated"]),
    ("Read", &["/read"]),
    ("Saved", &["/saved"]),
];

const COUNTS: &[Column] = &[("Unread", &["/unread"]), ("Read", &["/read"]), ("Saved", &["/saved"])];

/// So many are marked in one request; the API's own limit.
const MARKED_AT_ONCE: usize = 1_000;

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::List(list) => {
                let query = list.query();
                let found = client.all(&["notifications"], &pairs(&query), Page::CURSOR).await?;
                context.output.list_wide(&list.listing.apply(found)?, LIST, WIDE)
            }
            Self::Show { id, who } => {
                let query = who.query();
                context.output.thing(&client.get(&["notifications", id], &pairs(&query)).await?, SHOW)
            }
            Self::Read(read) => read.execute(context).await,
            Self::Send(send) => {
                let posted = client.post(&["notifications"], &send.body(), HeaderMap::new()).await?;
                context.output.thing(&posted, SHOW)
            }
            Self::Status { who } => {
                let query = who.query();
                context.output.thing(&client.get(&["notifications", "status"], &pairs(&query)).await?, COUNTS)
            }
            Self::Watch { who } => {
                let mut url = client.url(&["notifications", "events"]);
                url.query_pairs_mut().extend_pairs(pairs(&who.query()));
                event::stream(&client, url, &mut |name, data| match context.output.is_for_people() {
                    true => line(&told(name, data)),
                    false => context.output.datum(data),
                })
                .await
            }
            Self::Delete { id } => {
                client.delete(&["notifications", id], &[]).await?;
                context.output.said(&format!("notification `{id}` is removed"), &json!({ "id": id }))
            }
        }
    }
}

/// What became new, in a line.
fn told(name: &str, data: &Json) -> String {
    let at = cell(data, &["/updated", "/created"]);
    format!("{at} {} {name} {}", cell(data, &["/severity"]), cell(data, &["/title", "/id", "/notification_id"]))
}

impl Who {
    fn query(&self) -> Vec<(&'static str, String)> {
        who(self.user.as_deref(), &self.group)
    }
}

fn who(user: Option<&str>, groups: &[String]) -> Vec<(&'static str, String)> {
    let user = user.map(|user| ("user", user.to_owned()));
    let group = (!groups.is_empty()).then(|| ("group", groups.join(",")));
    user.into_iter().chain(group).collect()
}

fn pairs<'q>(query: &'q [(&'static str, String)]) -> Vec<(&'q str, &'q str)> {
    query.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

impl List {
    fn query(&self) -> Vec<(&'static str, String)> {
        let flag = |name, set: bool, value: &str| set.then(|| (name, value.to_owned()));
        let word = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let more = [
            flag("read", self.unread, "false"),
            flag("saved", self.saved, "true"),
            word("severity", &self.severity),
            word("topic", &self.topic),
            word("since", &self.since),
            word("search", &self.search),
        ];
        self.who.query().into_iter().chain(more.into_iter().flatten()).collect()
    }
}

impl Read {
    async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let query = who(Some(&self.user), &self.group);
        let mut ids = self.ids.clone();
        if self.all {
            let mut unread = pairs(&query);
            unread.push(("read", "false"));
            let found = client.all(&["notifications"], &unread, Page::CURSOR).await?;
            ids =
                super::output::items(&found).iter().filter_map(|item| Some(item["id"].as_str()?.to_owned())).collect();
        }
        for some in ids.chunks(MARKED_AT_ONCE) {
            let mut body = json!({ "ids": some, "read": !self.unread });
            if self.save {
                body["saved"] = json!(true);
            }
            client.post_query(&["notifications", "mark"], &pairs(&query), &body).await?;
        }
        let how = if self.unread { "unread" } else { "read" };
        context.output.said(&format!("{} marked as {how}", ids.len()), &json!({ "ids": ids, "read": !self.unread }))
    }
}

impl Send {
    fn body(&self) -> Json {
        let mut body = json!({ "title": self.title, "severity": self.severity });
        let members =
            [("description", &self.description), ("topic", &self.topic), ("scope", &self.scope), ("link", &self.link)];
        for (member, value) in members.into_iter().filter_map(|(member, value)| Some((member, value.as_ref()?))) {
            body[member] = json!(value);
        }
        if !self.to.is_empty() {
            body["recipients"] = json!({ "type": "entity", "entityRef": self.to });
        }
        body
    }
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
    fn options_become_the_parameters_of_the_api() {
        let line =
            "x list --user user:default/ann --group group:a --group group:b --unread --severity high --search disk";
        let Command::List(list) = Line::try_parse_from(line.split(' ')).unwrap().command else { panic!("{line}") };
        let query = list.query();
        let expected = [
            ("user", "user:default/ann"),
            ("group", "group:a,group:b"),
            ("read", "false"),
            ("severity", "high"),
            ("search", "disk"),
        ];
        assert_eq!(pairs(&query), expected);
        assert!(Line::try_parse_from("x list --unread".split(' ')).is_err(), "nobody's marks");
    }

    #[test]
    fn a_notification_is_for_everybody_unless_it_is_for_some() {
        let body = |line: &str| match Line::try_parse_from(line.split(' ')).unwrap().command {
            Command::Send(send) => send.body(),
            _ => panic!("{line}"),
        };
        assert_eq!(body("x send Done"), json!({ "title": "Done", "severity": "normal" }));
        let some = body("x send Done --to user:ann --topic t");
        assert_eq!(some["recipients"], json!({ "type": "entity", "entityRef": ["user:ann"] }));
    }
}
