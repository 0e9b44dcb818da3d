//! wasmtime: the engine, the component cache, one attempt, its limits, and an empty WASI. It knows nothing of workflows.
