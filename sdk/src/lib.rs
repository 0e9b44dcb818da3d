//! What authors of actions use. An action is a plain function from its input to its output; this crate turns a set of
//! them into a WebAssembly component and gives them the platform's capabilities: HTTP through connections, secrets,
//! log lines, progress and checkpoints.
//!
//! ```
//! //! Opens an issue and returns its key.
//! use orchestrator_sdk::{Context, Error, export_actions, http, json};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Input { project: String, summary: String }
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! struct Output { key: String }
//!
//! fn create_issue(ctx: &Context, input: Input) -> Result<Output, Error> {
//!     let issue: Output = http::post("jira", "/rest/api/2/issue") // The connection's name; URL and token stay outside.
//!         .idempotency_key(ctx)
//!         .json(&json!({"fields": {"project": {"key": input.project}, "summary": input.summary}}))
//!         .send()?
//!         .json()?;
//!     ctx.created("issue", &issue.key);
//!     Ok(issue)
//! }
//!
//! export_actions! { "create-issue" => create_issue }
//!
//! // The same function runs natively against queued replies.
//! use orchestrator_sdk::testing::{Outside, Reply};
//! let outside = Outside::new();
//! outside.expect("POST", "/rest/api/2/issue", Reply::json(201, json!({"key": "OPS-7"})));
//! let input = Input { project: "OPS".into(), summary: "disk full".into() };
//! assert_eq!(create_issue(&outside.context(), input), Ok(Output { key: "OPS-7".into() }));
//! assert_eq!(outside.requests()[0].json()["fields"]["summary"], "disk full");
//! ```
//!
//! It deliberately has no async, no sockets, no clock and no files: a guest has none of them. Waiting belongs into the
//! workflow (`wait`), not into an action.

mod context;
mod error;

pub mod action;
pub mod http;
pub mod log;
pub mod mail;
pub mod notification;
pub mod progress;
pub mod secrets;

#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

/// The doors to the host: real imports in a component, queued replies in a native test.
#[cfg(target_arch = "wasm32")]
#[path = "outside/component.rs"]
mod outside;
#[cfg(not(target_arch = "wasm32"))]
#[path = "outside/native.rs"]
mod outside;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;

pub use action::Finding;
pub use context::{Change, Context, Resource};
pub use error::{Error, Problem, Reaction, standard};
pub use serde_json::{Value as Json, json};
