//! All routes, in one list, and the OpenAPI document that comes from the same annotations.

mod completed;
mod examples;
mod mended;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem;
use super::rooms::Rooms;
use super::{
    about, audit, backstage, cloud_events, connections, diagrams, docs, events, follow_ups, grants, instance_list,
    instances, metrics, notifications, packs, reruns, schedules, schemas, secrets, services, soda, tasks, tenants,
    tokens, webhooks, whoami, workflows,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Orchestrator",
        description = "Runs workflows whose actions are sandboxed Wasm components. Every error is a problem document \
                       (RFC 9457) whose `type` may be fetched. Every response carries `x-request-id`.\n\n\
                       Every `GET` below `/v1` that answers with JSON takes `fields=name,services/id` and then answers with \
                       these members alone; `a/b` is the member `b` of `a`, and of a list they are the items' members. The \
                       schemas here are those of whole answers."
    ),
    components(schemas(problem::Document)),
    tags(
        (name = "packs", description = "Installable packs and what they may use."),
        (name = "catalogue", description = "What may be ordered or started."),
        (name = "schedules", description = "What starts by itself."),
        (name = "instances", description = "Runs of workflows."),
        (name = "events", description = "Live events."),
        (name = "notifications", description = "What the server tells people."),
        (name = "connections", description = "Named ways to outside systems."),
        (name = "secrets", description = "Write-only values that connections use."),
        (name = "soda", description = "The interface of SODA's orchestration manager, for its dashboard and command line. \
            Errors are JSON texts or `{code, message}`."),
        (name = "people", description = "Tenants, API tokens, who one is, and the audit log."),
        (name = "server", description = "The server itself."),
    )
)]
struct Api;

/// All routes with the document that describes them.
fn described() -> (Router<Arc<Rooms>>, Document) {
    let (router, document) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(packs::list_packs, packs::install_pack))
        .routes(routes!(packs::get_pack))
        .routes(routes!(packs::get_pack_version, packs::remove_pack))
        .routes(routes!(grants::get_grants, grants::put_grants))
        .routes(routes!(services::list_services, services::create_service))
        .routes(routes!(
            services::get_service,
            services::put_service,
            services::patch_service,
            services::delete_service
        ))
        .routes(routes!(workflows::list_workflows))
        .routes(routes!(workflows::get_workflow))
        .routes(routes!(diagrams::draw_workflow))
        .routes(routes!(schemas::get_workflow_schema))
        .routes(routes!(instance_list::list_instances, instances::start_instance))
        .routes(routes!(instances::get_instance, instances::delete_instance))
        .routes(routes!(instances::cancel_instance))
        .routes(routes!(instances::suspend_instance))
        .routes(routes!(instances::resume_instance))
        .routes(routes!(instances::retry_instance))
        .routes(routes!(reruns::prefill_instance))
        .routes(routes!(reruns::rerun_instance))
        .routes(routes!(schedules::list_schedules, schedules::create_schedule))
        .routes(routes!(
            schedules::get_schedule,
            schedules::put_schedule,
            schedules::patch_schedule,
            schedules::delete_schedule
        ))
        .routes(routes!(schedules::run_schedule))
        .routes(routes!(follow_ups::list_follow_ups))
        .routes(routes!(follow_ups::order_follow_up))
        .routes(routes!(diagrams::draw_instance))
        .routes(routes!(tasks::list_tasks))
        .routes(routes!(tasks::list_history))
        .routes(routes!(tasks::list_logs))
        .routes(routes!(events::follow_instance))
        .routes(routes!(events::follow_all, cloud_events::post_events))
        .routes(routes!(webhooks::hear_jira))
        .routes(routes!(connections::list_connections))
        .routes(routes!(connections::get_connection, connections::put_connection, connections::delete_connection))
        .routes(routes!(secrets::list_secrets))
        .routes(routes!(secrets::put_secret, secrets::delete_secret))
        .routes(routes!(notifications::list_notifications, notifications::post_notification))
        .routes(routes!(notifications::count_notifications))
        .routes(routes!(notifications::follow_notifications))
        .routes(routes!(notifications::mark_notifications))
        .routes(routes!(notifications::get_notification, notifications::delete_notification))
        .routes(routes!(backstage::post_notification))
        .routes(routes!(backstage::post_notification_long))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::get_token, tokens::revoke_token))
        .routes(routes!(tenants::list_tenants))
        .routes(routes!(tenants::get_tenant, tenants::put_tenant, tenants::delete_tenant))
        .routes(routes!(whoami::whoami))
        .routes(routes!(audit::list_audit))
        .routes(routes!(audit::export_audit))
        .routes(routes!(audit::verify_audit))
        .routes(routes!(about::get_health))
        .routes(routes!(about::get_version))
        .routes(routes!(about::get_livez))
        .routes(routes!(about::get_readyz))
        .routes(routes!(metrics::get_metrics))
        .routes(routes!(about::get_problem))
        .routes(routes!(get_openapi))
        .routes(routes!(docs::get_docs))
        .merge(soda::router())
        .split_for_parts();
    (router, with_refusals(document))
}

/// The routes.
pub fn router() -> Router<Arc<Rooms>> {
    described().0
}

/// The document of what the handlers do themselves.
pub fn as_written() -> Document {
    described().1
}

/// The whole document: with what the layers do for every route. Made at the first call and kept: a start does not pay for
/// it.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let mut document = serde_json::to_value(as_written()).unwrap_or_default();
        completed::complete(&mut document);
        document
    });
    &DOCUMENT
}

/// Gives this document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "server", responses(
    (status = 200, description = "The OpenAPI 3.1 document of this interface.", body = Object),
))]
async fn get_openapi() -> impl IntoResponse {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone())
}

/// Every operation of SODA's interface may answer with its own refusal.
fn with_refusals(mut document: Document) -> Document {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        operations
            .into_iter()
            .filter_map(Option::as_mut)
            .filter(|operation| soda::is_of(operation))
            .for_each(soda::add_refusals);
    }
    document
}
