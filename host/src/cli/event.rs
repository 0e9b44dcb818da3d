//! `orchctl event`: CloudEvents go in, and what happens on the server comes out as it happens.

use clap::{Args, Subcommand};
use futures_util::StreamExt;
use serde_json::{Value as Json, json};

use super::client::Client;
use super::error::Error;
use super::events::Reader;
use super::output::{Column, cell, line};
use super::{Context, input};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send a CloudEvent to what listens.
    #[command(after_help = "Examples:
  orchctl event send --type com.example.approved --source /desk --data '{\"ticket\": 7}'
  orchctl event send --file event.json")]
    Send(Box<Send>),
    /// Follow all instances from now on, until Ctrl-C.
    #[command(after_help = "Examples:
  orchctl event follow
  orchctl event follow --cloudevents -o json")]
    Follow {
        /// Print what instances emit and their life as CloudEvents, not records, progress and log lines.
        #[arg(long)]
        cloudevents: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Send {
    /// What kind of event it is.
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    kind: Option<String>,
    /// Who tells it, a URI reference.
    #[arg(long, value_name = "URI", default_value = "/orchctl")]
    source: String,
    /// Its identifier; the same source and identifier are taken once [default: a new one]
    #[arg(long)]
    id: Option<String>,
    /// What it is about.
    #[arg(long)]
    subject: Option<String>,
    /// Its data as JSON, or @FILE that holds it.
    #[arg(long, value_name = "JSON|@FILE")]
    data: Option<String>,
    /// Another attribute, `traceid=7`; several times for several.
    #[arg(long, value_name = "NAME=VALUE")]
    attribute: Vec<String>,
    /// The whole event, or an array of them, as JSON (- for standard input).
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["kind", "data", "subject", "id", "attribute"])]
    file: Option<String>,
}

const ACCEPTED: &[Column] = &[("Id", &["/id"]), ("Accepted", &["/accepted"]), ("Duplicates", &["/duplicates"])];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Send(send) => send.execute(context).await,
            Self::Follow { cloudevents } => follow(context, *cloudevents).await,
        }
    }
}

impl Send {
    async fn execute(&self, context: &Context) -> Result<(), Error> {
        let event = match &self.file {
            Some(file) => input::read(&format!("@{file}"))?,
            None => self.event()?,
        };
        let media_type = match event {
            Json::Array(_) => "application/cloudevents-batch+json",
            _ => "application/cloudevents+json",
        };
        let mut answer = context.client()?.post_as(&["events"], media_type, event.to_string()).await?;
        answer["id"] = event.get("id").cloned().unwrap_or_default();
        context.output.thing(&answer, ACCEPTED)
    }

    fn event(&self) -> Result<Json, Error> {
        let id = self.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let mut event = json!({ "specversion": "1.0", "id": id, "source": self.source, "type": self.kind });
        if let Some(subject) = &self.subject {
            event["subject"] = json!(subject);
        }
        for attribute in &self.attribute {
            let wrong = || Error::Usage(format!("`{attribute}` is no attribute: write NAME=VALUE"));
            let (name, value) = attribute.split_once('=').ok_or_else(wrong)?;
            event[name] = json!(value);
        }
        if let Some(data) = &self.data {
            event["data"] = input::read(data)?;
        }
        Ok(event)
    }
}

async fn follow(context: &Context, cloudevents: bool) -> Result<(), Error> {
    let client = context.client()?;
    let mut url = client.url(&["events"]);
    if cloudevents {
        url.set_query(Some("format=cloudevents"));
    }
    stream(&client, url, &mut |name, data| match context.output.is_for_people() {
        true => line(&told(name, data)),
        false => context.output.datum(data),
    })
    .await
}

/// Reads a stream to its end.
pub(super) async fn stream(
    client: &Client,
    url: url::Url,
    tell: &mut dyn FnMut(&str, &Json) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(response) = client.events(url, None).await? else { return Ok(()) };
    let mut bytes = response.bytes_stream();
    let mut reader = Reader::default();
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(|error| Error::Unreachable(format!("follow {}: {error}", client.server())))?;
        for event in reader.take(&piece)? {
            tell(&event.name, &event.data)?;
        }
    }
    Ok(())
}

/// An event in a line.
fn told(name: &str, data: &Json) -> String {
    let at = cell(data, &["/at", "/time", "/record/at"]);
    let what = cell(data, &["/record", "/type", "/message", "/note"]);
    let whose = cell(data, &["/instance", "/subject", "/name"]);
    format!("{at} {name:10} {whose} {what}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        send: Send,
    }

    #[test]
    fn words_become_an_event() {
        let words =
            ["send", "--type", "t", "--id", "1", "--subject", "s", "--attribute", "traceid=7", "--data", "{\"a\":1}"];
        let event = Line::parse_from(words).send.event().unwrap();
        let expected = json!({"specversion": "1.0", "id": "1", "source": "/orchctl", "type": "t", "subject": "s",
            "traceid": "7", "data": {"a": 1}});
        assert_eq!(event, expected);
        assert!(Line::try_parse_from(["send"]).is_err());
    }
}
