//! Transformations by Move2Kube: plan a repository, transform it, see how far that is, fetch what came out. Each action
//! does one step and returns the state it saw; waiting, which may be for a person who answers questions, is the
//! workflow's.
//!
//! The connection `move2kube` carries the API's address (with `/api/v1`) and the credentials. Nothing here knows either.

mod api;
mod outputs;
mod plans;
mod source;

pub use outputs::{
    FetchResult, Fetched, Output, OutputId, OutputStatus, Outputs, StartTransformation, fetch_result, get_output,
    list_outputs, probe_start_transformation, remove_output, start_transformation,
};
pub use plans::{Plan, PlanStatus, StartPlan, StartedPlan, get_plan, start_plan};
pub use source::{Transport, remote_source};

orchestrator_sdk::export_actions! {
    "start-plan" => start_plan,
    "get-plan" => get_plan,
    "list-outputs" => list_outputs,
    "start-transformation" => { run: start_transformation, probe: probe_start_transformation },
    "get-output" => get_output,
    "fetch-result" => fetch_result,
    "remove-output" => remove_output,
}
