//! Who sends a request: put into it by the layer that authenticates, taken out by handlers.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::identity::Means;
use crate::model::Principal;

/// The principal of a request.
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<Principal>);

/// How the principal was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known(pub Means);

/// The identifier of a request.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

impl Caller {
    /// The principal of a request that passed the layer, also for layers behind it.
    pub fn of(extensions: &Extensions) -> Option<&Arc<Principal>> {
        extensions.get::<Self>().map(|Self(principal)| principal)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let missing = || Problem::internal("a route without the layer that authenticates");
        parts.extensions.get::<Self>().copied().ok_or_else(missing)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let missing = || Problem::internal("a route without the layer that authenticates");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}
