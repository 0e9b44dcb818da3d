//! The interface of SODA's orchestration manager, `/v1beta/{tenant}/orchestration/…`, over the same services and instances
//! as `/v1`: its dashboard and its command line work against this server. Paths, members, codes and texts are SODA's;
//! what it lacked is added in its style. Which workflow stands behind a `definition_source` is set (`settings.rs`).
//!
//! Reading order: `settings`, `form` and `parameters` (its parameters and our inputs), `view` (our instances in its
//! words), `offer` (its services and our catalogue), `refusal`, `request`, then the handlers.

pub mod form;
pub mod instances;
pub mod offer;
pub mod parameters;
pub mod refusal;
pub mod request;
pub mod services;
pub mod settings;
pub mod tasks;
pub mod verbs;
pub mod versions;
pub mod view;
pub mod workflows;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use tower::ServiceBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::refusal::Refusal;
use self::request::Here;
pub use self::settings::SodaSettings;
use super::problem::Problem;
use super::rooms::Rooms;
use crate::model::{InstanceId, Permission};

/// Cancelled instances that are deleted as soon as they have ended, at once.
const LEAVING_MAX: usize = 1000;

/// What this surface keeps in memory.
#[derive(Debug, Default)]
pub struct Soda {
    settings: OnceLock<SodaSettings>,
    leaving: Arc<Mutex<BTreeSet<InstanceId>>>,
}

impl Soda {
    /// Takes the settings, before the first request.
    pub fn configure(&self, settings: SodaSettings) {
        if self.settings.set(settings).is_err() {
            tracing::warn!("the settings of SODA's interface came too late and are not used");
        }
    }

    /// The settings.
    pub fn settings(&self) -> &SodaSettings {
        self.settings.get_or_init(SodaSettings::default)
    }

    /// Notes that an instance is deleted when it has ended; nothing where that is noted already, or too many are.
    pub fn leave(&self, id: InstanceId) -> Option<Leaving> {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        (leaving.len() < LEAVING_MAX && leaving.insert(id)).then(|| Leaving { id, all: self.leaving.clone() })
    }
}

/// An instance that is deleted when it has ended; forgotten when dropped.
#[derive(Debug)]
pub struct Leaving {
    id: InstanceId,
    all: Arc<Mutex<BTreeSet<InstanceId>>>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The routes with their documentation.
pub fn router() -> OpenApiRouter<Arc<Rooms>> {
    OpenApiRouter::new()
        .routes(routes!(versions::list_versions))
        .routes(routes!(versions::get_version))
        .routes(routes!(services::list_services, services::add_service))
        .routes(routes!(services::get_service, services::put_service, services::delete_service))
        .routes(routes!(instances::list_instances, instances::run_instance))
        .routes(routes!(instances::get_instance, instances::put_instance, instances::delete_instance))
        .routes(routes!(instances::list_instances_of_service))
        .routes(routes!(verbs::cancel_instance))
        .routes(routes!(verbs::pause_instance))
        .routes(routes!(verbs::resume_instance))
        .routes(routes!(verbs::retry_instance))
        .routes(routes!(verbs::rerun_instance))
        .routes(routes!(workflows::list_all_workflows))
        .routes(routes!(workflows::list_workflows))
        .routes(routes!(workflows::get_workflow))
        .routes(routes!(tasks::list_tasks))
        .routes(routes!(tasks::get_task))
}

/// Whether an operation is one of this surface.
pub fn is_of(operation: &Operation) -> bool {
    operation.tags.iter().flatten().any(|tag| tag == "soda")
}

/// Every operation of this surface may answer with any refusal.
pub fn add_refusals(operation: &mut Operation) {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Refused"))).build();
    let other = "Any other error: a request that breaks the rules, or a fault of the server.";
    let other = ResponseBuilder::new().description(other).content("application/json", body).build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(other));
}

/// A router that passes over slashes at the end of this surface's paths, as SODA's server does.
pub fn tolerant(router: Router) -> Router {
    Router::new().fallback_service(ServiceBuilder::new().map_request(without_slash).service(router))
}

fn without_slash(mut request: Request) -> Request {
    let uri = request.uri();
    let path = uri.path();
    if path.starts_with("/v1beta/") && path.ends_with('/') {
        let kept = path.trim_end_matches('/');
        let target = uri.query().map_or_else(|| kept.to_owned(), |query| format!("{kept}?{query}"));
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = target.parse().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Runs something that reads for long off the async workers.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Problem::internal(format!("work aside: {error}")).into()),
    }
}

/// What somebody is told who may not do this.
fn forbidden() -> Refusal {
    Refusal::forbidden("you may not do this; an admin of the tenant gives roles")
}

fn require(here: &Here, permission: Permission) -> Result<(), Refusal> {
    if here.principal.may(permission) { Ok(()) } else { Err(forbidden()) }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn slashes_at_the_end_are_passed_over_here_only() {
        let check = |given: &str, expected: &str| {
            let request = without_slash(Request::builder().uri(given).body(Body::empty()).unwrap());
            assert_eq!(request.uri().to_string(), expected);
        };
        check("/v1beta/t/orchestration/instances/?service_def=a/", "/v1beta/t/orchestration/instances?service_def=a/");
        check("/v1beta/", "/v1beta");
        check("/v1beta/t/orchestration/services///", "/v1beta/t/orchestration/services");
        check("http://h:1/v1beta/t/orchestration/services/", "http://h:1/v1beta/t/orchestration/services");
        check("/v1/instances/", "/v1/instances/");
        check("/", "/");
    }

    #[test]
    fn an_instance_leaves_once_at_a_time() {
        let (soda, id) = (Soda::default(), InstanceId(uuid::Uuid::nil()));
        let leaving = soda.leave(id).unwrap();
        assert!(soda.leave(id).is_none());
        drop(leaving);
        assert!(soda.leave(id).is_some());
    }
}
