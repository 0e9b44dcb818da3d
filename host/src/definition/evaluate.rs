//! The contract between whoever needs an expression's value and whoever computes it. The machine stays pure because
//! an evaluator is a function: the same program, bindings and time give the same answer.

use std::borrow::Cow;

use super::graph::{Expression, Program};
use crate::model::Json;

/// What an expression sees.
#[derive(Debug)]
pub struct Bindings<'a> {
    /// `.`
    pub input: Cow<'a, Json>,
    /// Values of the variables the expression reads, names without `$`. Missing ones are an error of the caller.
    pub variables: Vec<(&'a str, Cow<'a, Json>)>,
    /// What the program sees as `now`: the task's recorded start, milliseconds since 1970.
    pub now_ms: u64,
}

/// Why an expression gave no value; the text shows the expression and its position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (in `{text}` at {pointer})")]
pub struct ExpressionError {
    /// What happened.
    pub message: String,
    /// The expression; of a long one about 200 characters.
    pub text: String,
    /// Where it stands in the definition.
    pub pointer: String,
}

/// Computes expressions, bounded in time, memory and stack.
pub trait Evaluate: Send + Sync {
    /// Gives the expression's one JSON value.
    ///
    /// # Errors
    /// It fails, does not end in time, or gives no or several values or something that is not JSON.
    fn evaluate(
        &self,
        program: &Program,
        expression: &Expression,
        bindings: &Bindings<'_>,
    ) -> Result<Json, ExpressionError>;

    /// Compiles without running; for validation.
    ///
    /// # Errors
    /// The text is no jq program, or reads a variable that is not in `variables` (names without `$`).
    fn check(&self, text: &str, variables: &[&str]) -> Result<(), String>;
}
