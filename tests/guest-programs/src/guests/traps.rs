//! Executes an instruction that cannot be executed.

use serde_json::Value;

use crate::Answer;

pub(super) fn run(input: Value) -> Answer {
    let _ = input;
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}
