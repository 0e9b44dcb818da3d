//! Schemas that tools fetch.

use axum::http::header;
use axum::response::IntoResponse;

use crate::definition::profile::WORKFLOW_SCHEMA;

/// Gives the JSON Schema of workflows, for editors.
#[utoipa::path(get, path = "/v1/schemas/workflow.json", tag = "catalogue", responses(
    (status = 200, description = "The schema (JSON Schema 2020-12).", body = Object,
        content_type = "application/schema+json"),
))]
pub async fn get_workflow_schema() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/schema+json")], WORKFLOW_SCHEMA)
}
