//! The host's side of `wit/`, generated. Calls that wait are async: the guest's stack is set aside meanwhile and the
//! thread serves others.

wasmtime::component::bindgen!({
    world: "orchestrator:pack/action",
    path: "../wit",
    imports: {
        "orchestrator:http/client": async | trappable,
        "orchestrator:secrets/store": async,
        "orchestrator:progress/progress.checkpoint": async,
        default: trappable,
    },
    exports: { default: async },
    with: { "orchestrator:http/client.exchange": crate::capability::http::Exchange },
});

impl orchestrator::action::types::Host for super::Guest {}
