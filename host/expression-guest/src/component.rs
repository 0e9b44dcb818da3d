//! The exports of the world `expression`; only in Wasm, because its names do not link natively.

use crate::program::{Error, Program};
use exports::orchestrator::expression::evaluator;

#[expect(unsafe_code, reason = "generated from wit/expression.wit")]
mod bindings {
    wit_bindgen::generate!({ world: "expression", path: "wit" });
    export!(Component with_types_in self);
    use super::Component;
}
use bindings::exports;

struct Component;

impl evaluator::Guest for Component {
    type Program = Program;
}

impl evaluator::GuestProgram for Program {
    fn compile(text: String, variables: Vec<String>) -> Result<evaluator::Program, evaluator::Error> {
        // Printing a panic needs a stream, and there is none; the trap alone says enough.
        std::panic::set_hook(Box::new(|_| std::process::abort()));
        Self::new(&text, &variables).map(evaluator::Program::new).map_err(Into::into)
    }

    fn evaluate(&self, input: String, variables: Vec<String>, now_ms: u64) -> Result<String, evaluator::Error> {
        self.run(&input, &variables, now_ms).map_err(Into::into)
    }
}

impl From<Error> for evaluator::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Syntax { message, offset } => Self::Syntax(evaluator::SyntaxError { message, offset }),
            Error::Runtime(message) => Self::Runtime(message),
            Error::Results(count) => Self::Results(count),
            Error::NotJson(what) => Self::NotJson(what),
        }
    }
}
