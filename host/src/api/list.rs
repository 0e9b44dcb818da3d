//! The shape of every list, and the parameters that page through one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};

/// Items on a page where the request does not say.
pub const LIMIT_DEFAULT: usize = 50;

/// Items on a page, at most: with inputs and outputs a page stays some megabytes.
pub const LIMIT_MAX: usize = 200;

/// A list, or one page of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// The `cursor` of the next page; `null` on the last one. Opaque.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// A list that is complete.
    pub fn whole(items: impl IntoIterator<Item = T>) -> Self {
        Self { items: items.into_iter().collect(), next: None }
    }
}

/// Checks a page's size.
///
/// # Errors
/// `invalid-parameter` outside of 1 to 200.
pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(LIMIT_DEFAULT) {
        limit if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(Problem::new(Kind::InvalidParameter, format!("set `limit` to 1 to {LIMIT_MAX}"))),
    }
}
