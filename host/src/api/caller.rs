//! Who sends a request: put into it by the layer that authenticates, taken out by handlers.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::model::Principal;

/// The principal of a request.
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<Principal>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let missing = || Problem::internal("a route without the layer that authenticates");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}
