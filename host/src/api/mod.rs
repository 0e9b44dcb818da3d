//! The REST interface under `/v1`: one file per resource with thin handlers over the rooms' handles. What every request
//! passes is in `edge.rs`, what handlers take out of requests in `extract.rs`, errors in `problem.rs`, the connection loop
//! in `serve.rs`. Routes and the OpenAPI document come from the same annotations (`openapi.rs`).
//!
//! Nothing here decides anything about workflows, packs or connections, and nobody imports this room.

pub mod about;
pub mod audit;
pub mod authentication;
pub mod backstage;
pub mod caller;
pub mod cloud_events;
pub mod compress;
pub mod connections;
pub mod cors;
pub mod diagrams;
pub mod docs;
pub mod edge;
pub mod events;
pub mod extract;
pub mod follow_ups;
pub mod front;
pub mod gate;
mod given_events;
pub mod grants;
pub mod held;
pub mod instance_list;
pub mod instances;
pub mod list;
pub mod metrics;
pub mod negotiate;
pub mod notifications;
pub mod openapi;
pub mod operations;
pub mod packs;
pub mod permissions;
pub mod problem;
pub mod rates;
pub mod replays;
pub mod represent;
pub mod reruns;
pub mod rooms;
pub mod schedules;
pub mod schemas;
pub mod secrets;
pub mod select;
pub mod serve;
pub mod services;
mod shape;
pub mod soda;
pub mod streams;
pub mod tags;
pub mod tasks;
pub mod template;
pub mod tenants;
pub mod tokens;
mod watched;
pub mod webhooks;
pub mod whoami;
mod wording;
pub mod workflows;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};

use edge::Edge;
use front::{Front, Settings};
use operations::Operations;
use replays::Replays;
use rooms::Rooms;

/// The whole interface. A request passes its layers from the last one here to the first.
pub fn router(rooms: Arc<Rooms>, settings: Settings, replays: Arc<Replays>) -> Router {
    let metrics = rooms.metrics.clone();
    let routes = openapi::router().with_state(rooms.clone()).fallback(async || problem::unknown_route());
    let operations = Operations::of(&openapi::as_written());
    let front = Front::new(routes.clone(), operations, replays, settings.rate);
    let router = routes
        .layer(from_fn_with_state(front.clone(), represent::represent))
        .layer(from_fn_with_state(front.clone(), replays::once))
        .layer(from_fn_with_state(front, rates::limit))
        .layer(from_fn_with_state(rooms, authentication::authenticate))
        .layer(from_fn_with_state(Edge::new(settings), edge::edge))
        .layer(from_fn(compress::compress))
        .layer(from_fn_with_state(metrics, metrics::measure));
    soda::tolerant(router)
}

#[cfg(test)]
mod tests;
