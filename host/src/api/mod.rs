//! The REST interface under `/v1`: one file per resource with thin handlers over the rooms' handles. What every request
//! passes is in `edge.rs`, what handlers take out of requests in `extract.rs`, errors in `problem.rs`, the connection loop
//! in `serve.rs`. Routes and the OpenAPI document come from the same annotations (`openapi.rs`).
//!
//! Nothing here decides anything about workflows, packs or connections, and nobody imports this room.

pub mod about;
pub mod backstage;
pub mod caller;
pub mod cloud_events;
pub mod connections;
pub mod diagrams;
pub mod edge;
pub mod events;
pub mod extract;
pub mod follow_ups;
pub mod gate;
mod given_events;
pub mod grants;
pub mod instances;
pub mod list;
pub mod metrics;
pub mod notifications;
pub mod openapi;
pub mod packs;
pub mod problem;
pub mod rooms;
pub mod schemas;
pub mod secrets;
pub mod serve;
pub mod services;
pub mod tasks;
pub mod webhooks;
pub mod workflows;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;

use edge::{Edge, Hosts};
use rooms::Rooms;

/// The whole interface.
pub fn router(rooms: Arc<Rooms>, hosts: Hosts) -> Router {
    let metrics = rooms.metrics.clone();
    openapi::router()
        .with_state(rooms)
        .fallback(async || problem::unknown_route())
        .layer(from_fn_with_state(Edge::new(hosts), edge::edge))
        .layer(from_fn_with_state(metrics, metrics::measure))
}

#[cfg(test)]
mod tests;
