//! `orchctl health`, `orchctl version` and `orchctl explain`.

use serde_json::json;

use super::Context;
use super::error::Error;
use super::output::{Column, line};

const HEALTH: &[Column] = &[
    ("Status", &["/status"]),
    ("Live instances", &["/instancesLive"]),
    ("Suspended instances", &["/instancesSuspended"]),
    ("Running attempts", &["/attemptsRunning"]),
];

const VERSION: &[Column] = &[
    ("orchctl", &["/client"]),
    ("server", &["/server/version"]),
    ("interface", &["/server/api"]),
    ("pack formats", &["/server/packFormats"]),
    ("worlds", &["/server/worlds"]),
];

/// Tells whether the server takes work.
pub(super) async fn health(context: &Context) -> Result<(), Error> {
    context.output.thing(&context.client()?.get(&["health"], &[]).await?, HEALTH)
}

/// Tells both versions; without a server its own, and then how the server failed.
pub(super) async fn version(context: &Context) -> Result<(), Error> {
    let answer = match context.client() {
        Ok(client) => client.get(&["version"], &[]).await,
        Err(error) => Err(error),
    };
    let (server, failure) = match answer {
        Ok(server) => (server, None),
        Err(error) => (serde_json::Value::Null, Some(error)),
    };
    let versions = json!({ "client": env!("CARGO_PKG_VERSION"), "server": server });
    context.output.thing(&versions, VERSION)?;
    failure.map_or(Ok(()), Err)
}

/// Prints what the server's documentation says about a kind of problem.
pub(super) async fn explain(context: &Context, problem: &str) -> Result<(), Error> {
    let name = problem.trim_end_matches('/').rsplit('/').next().unwrap_or(problem);
    let client = context.client()?;
    line(client.text_at(client.root_url(&["problems", name])).await?.trim_end())
}
