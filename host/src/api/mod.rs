//! The REST interface under `/v1`: one file per resource with thin handlers over the rooms' handles. What every request
//! passes is in `edge.rs`, what handlers take out of requests in `extract.rs`, errors in `problem.rs`, the connection loop
//! in `serve.rs`. Routes and the OpenAPI document come from the same annotations (`openapi.rs`).
//!
//! Nothing here decides anything about workflows, packs or connections, and nobody imports this room.

pub mod edge;
pub mod extract;
pub mod problem;
pub mod serve;
