//! `orchctl instance logs`: what attempts logged, and with `-f` what they log from now on.

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value as Json;

use super::{log_line, resolve};
use crate::cli::Context;
use crate::cli::client::{Client, Page};
use crate::cli::error::Error;
use crate::cli::events::Reader;
use crate::cli::output::{items, line};

/// Connections that may break one after the other without any news in between.
const BREAKS_MAX: u32 = 30;
/// Lines that are remembered, so that none is told twice after a break.
const TOLD_MAX: usize = 10_000;

#[derive(Debug, Args)]
pub(in crate::cli) struct Logs {
    /// The instance.
    id: String,
    /// Go on with what is logged from now on, until the instance has ended.
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines, so many.
    #[arg(long, value_name = "NUMBER")]
    tail: Option<usize>,
    /// Only from this level on.
    #[arg(long, value_parser = ["trace", "debug", "info", "warn", "error"])]
    level: Option<String>,
}

impl Logs {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let id = resolve(&client, &self.id).await?;
        if self.follow {
            return self.follow(context, &client, &id).await;
        }
        let mut logs = client.all(&["instances", &id, "logs"], &[], Page::WHOLE).await?;
        if let Some(lines) = logs.get_mut("items").and_then(Json::as_array_mut) {
            lines.retain(|log| self.shows(log));
            lines.drain(..self.cut(lines.len()));
        }
        match context.output.is_for_people() {
            true => items(&logs).iter().try_for_each(|log| line(&log_line(log))),
            false => context.output.data(&logs),
        }
    }

    fn shows(&self, log: &Json) -> bool {
        const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
        let rank = |level: &str| LEVELS.iter().position(|known| level.eq_ignore_ascii_case(known));
        let own = log.get("level").and_then(Json::as_str).and_then(rank);
        self.level.as_deref().and_then(rank) <= own
    }

    fn cut(&self, lines: usize) -> usize {
        self.tail.map_or(0, |tail| lines.saturating_sub(tail))
    }

    /// The stream is opened before the past is read, so that nothing falls in between; what comes twice is told once.
    async fn follow(&self, context: &Context, client: &Client, id: &str) -> Result<(), Error> {
        let (mut told, mut after, mut first, mut breaks) = (Vec::new(), None::<String>, true, 0);
        loop {
            let url = client.url(&["instances", id, "events"]);
            let stream = client.events(url, after.as_deref()).await;
            let past = client.all(&["instances", id, "logs"], &[], Page::WHOLE).await?;
            let new: Vec<Json> = items(&past).iter().filter(|log| !same(&told, log)).cloned().collect();
            let cut = if std::mem::take(&mut first) { self.cut(new.len()) } else { 0 };
            new[cut..].iter().try_for_each(|log| self.tell(context, log))?;
            told.extend(new);
            let stream = match stream {
                Ok(Some(stream)) => stream,
                Ok(None) => return Ok(()),
                Err(Error::Unreachable(_)) if breaks < BREAKS_MAX => {
                    breaks += 1;
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut bytes = stream.bytes_stream();
            let mut reader = Reader::default();
            while let Some(Ok(piece)) = bytes.next().await {
                for event in reader.take(&piece)? {
                    told.drain(..told.len().saturating_sub(TOLD_MAX));
                    after = event.id.clone().or(after);
                    if event.name == "log" && !same(&told, &event.data) {
                        self.tell(context, &event.data)?;
                        told.push(event.data);
                    }
                }
            }
        }
    }

    fn tell(&self, context: &Context, log: &Json) -> Result<(), Error> {
        match (self.shows(log), context.output.is_for_people()) {
            (false, _) => Ok(()),
            (true, true) => line(&log_line(log)),
            (true, false) => context.output.datum(log),
        }
    }
}

/// Whether a line was told already, by what a line of the past and one of the stream have in common.
fn same(told: &[Json], log: &Json) -> bool {
    const MEMBERS: [&str; 4] = ["at", "task", "attempt", "message"];
    told.iter().any(|earlier| MEMBERS.iter().all(|member| earlier.get(member) == log.get(member)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        logs: Logs,
    }

    #[test]
    fn lines_below_the_level_are_left_out() {
        let logs = Line::parse_from(["logs", "x", "--level", "warn", "--tail", "2"]).logs;
        let shown = |level: &str| logs.shows(&json!({ "level": level }));
        assert_eq!([shown("info"), shown("warn"), shown("error")], [false, true, true]);
        assert_eq!((logs.cut(5), logs.cut(1)), (3, 0));
        assert!(Line::parse_from(["logs", "x"]).logs.shows(&json!({})));
    }

    #[test]
    fn a_line_that_comes_twice_is_told_once() {
        let told = [json!({"at": "a", "task": 1, "attempt": 1, "message": "m", "level": "info"})];
        assert!(same(&told, &json!({"instance": "i", "at": "a", "task": 1, "attempt": 1, "message": "m"})));
        assert!(!same(&told, &json!({"at": "b", "task": 1, "attempt": 1, "message": "m"})));
    }
}
