//! Following an instance to its end: bars on a terminal, lines elsewhere, both on standard error; the instance itself
//! goes to standard output at the end. A broken connection is taken up again where it broke.

mod screen;

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::client::{Client, Page};
use super::error::Error;
use super::events::{Event, Reader};
use super::output::cell;
use super::{Context, instance};
use screen::Screen;

/// Connections that may break one after the other without any news in between.
const BREAKS_MAX: u32 = 30;
/// How long to wait after a break.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the tasks are asked for at most, however fast records come.
const REFRESH: Duration = Duration::from_millis(250);
/// The server sends a comment every 15 s; silence for longer means that the connection is dead.
const SILENCE: Duration = Duration::from_secs(60);

/// Follows an instance and shows it when it has ended.
///
/// # Errors
/// It did not complete, it cannot be followed any more, it took longer than asked for, or the person does not want to wait.
pub(super) async fn to_the_end(
    context: &Context,
    client: &Client,
    id: &str,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    let mut watch = Watch { client, id, after: None, breaks: 0, screen: Screen::new(&context.output) };
    let ended = tokio::select! {
        ended = watch.follow() => ended?,
        error = left(id, timeout) => {
            watch.screen.close();
            return Err(error);
        }
    };
    watch.refresh().await?;
    watch.screen.close();
    instance::show(context, &ended)?;
    match cell(&ended, &["/status"]).as_str() {
        "completed" => Ok(()),
        status => {
            let why = cell(&ended, &["/error/detail", "/error/title"]);
            let why = if why == "-" { String::new() } else { format!(": {why}") };
            Err(Error::Failed(format!("instance {id} is {status}{why}")))
        }
    }
}

/// Waits until the person does not want to wait any more, or it takes too long. The instance knows nothing of it.
async fn left(id: &str, timeout: Option<Duration>) -> Error {
    let on = format!("follow it again with `orchctl instance watch {id}`, end it with `orchctl instance cancel {id}`");
    let late = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await; // Then the signal ends the program as it always does.
        }
    };
    tokio::select! {
        () = late => {
            let waited = timeout.unwrap_or_default();
            Error::Late(format!("instance {id} has not ended within {waited:?} and goes on; {on}"))
        }
        () = interrupted => Error::Interrupted(format!("instance {id} goes on; {on}")),
    }
}

struct Watch<'a> {
    client: &'a Client,
    id: &'a str,
    after: Option<String>,
    breaks: u32,
    screen: Screen,
}

impl Watch<'_> {
    /// Follows until the instance has ended, and gives it.
    async fn follow(&mut self) -> Result<Json, Error> {
        loop {
            let told = self.connection().await;
            match told {
                Ok(()) => {}
                Err(Error::Unreachable(_)) if self.breaks < BREAKS_MAX => {}
                Err(Error::Answered(problem)) if problem.status >= 500 && self.breaks < BREAKS_MAX => {}
                Err(error) => return Err(error),
            }
            match self.client.get(&["instances", self.id], &[]).await {
                Ok(instance) if is_over(&instance) => return Ok(instance),
                Ok(_) => {}
                Err(Error::Unreachable(_)) if self.breaks < BREAKS_MAX => {}
                Err(error) => return Err(error),
            }
            self.breaks += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Follows one connection until the instance has ended or the connection has.
    async fn connection(&mut self) -> Result<(), Error> {
        let url = self.client.url(&["instances", self.id, "events"]);
        let Some(response) = self.client.events(url, self.after.as_deref()).await? else { return Ok(()) };
        let mut bytes = response.bytes_stream();
        let mut reader = Reader::default();
        let (mut stale, mut next) = (true, Instant::now());
        loop {
            tokio::select! {
                // A refresh that is due goes first, or a fast stream would put it off for ever.
                biased;
                () = tokio::time::sleep_until(next), if stale => {
                    self.refresh().await?;
                    (stale, next) = (false, Instant::now() + REFRESH);
                }
                piece = tokio::time::timeout(SILENCE, bytes.next()) => {
                    let Ok(Some(Ok(piece))) = piece else { return Ok(()) };
                    for event in reader.take(&piece)? {
                        self.breaks = 0;
                        if self.event(&event, &mut stale) {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Takes one event; whether the instance has ended.
    fn event(&mut self, event: &Event, stale: &mut bool) -> bool {
        if event.id.is_some() {
            self.after.clone_from(&event.id);
        }
        match event.name.as_str() {
            "record" => *stale = true,
            "progress" => self.screen.progress(&event.data),
            "log" => self.screen.log(&event.data),
            _ => {}
        }
        event.name == "record" && event.data.get("record").and_then(Json::as_str) == Some("ended")
    }

    async fn refresh(&mut self) -> Result<(), Error> {
        if self.screen.is_silent() {
            return Ok(());
        }
        match self.client.all(&["instances", self.id, "tasks"], &[], Page::WHOLE).await {
            Ok(tasks) => self.screen.tasks(tasks),
            // What cannot be told of the tasks, of a suspended instance for example, is no reason to stop following.
            Err(Error::Answered(problem)) if problem.status == 409 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn is_over(instance: &Json) -> bool {
    matches!(cell(instance, &["/status"]).as_str(), "completed" | "faulted" | "cancelled")
}
