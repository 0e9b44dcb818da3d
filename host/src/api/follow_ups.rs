//! Follow-ups: what a finished instance recommends to run next, and ordering it. An assessment says so in its output, as
//! `result.nextWorkflows` or in the older `workflowOptions`; each entry is looked up among what is installed, and its
//! input is filled with what the finished instance knows already. An order keeps a link to the instance it follows.
//!
//! Nothing is ordered by itself: a person or a program chooses.

mod recommended;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::ToSchema;

use super::caller::Caller;
use super::extract::{IdempotencyKey, InJson, InPath, InQuery};
use super::instances::{NewInstance, Wait, answer, start_of};
use super::list::List as Listed;
use super::problem::{Fault, Kind, Problem};
use super::rooms::{Rooms, aside};
use super::services::visible;
use crate::coordinator::view::{InstanceSummary, Status};
use crate::model::{InstanceId, Json as Data, PackName, ServiceName, WorkflowName};
use crate::pack::Catalog;
use crate::service::Service;
use recommended::{List, Recommended, missing, prefilled, recommended};

/// Names of workflows that a problem lists, at most.
const NAMES_MAX: usize = 20;

/// Something that an instance recommends.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FollowUp {
    /// What the output calls it: a service, a workflow, or `workflow@pack`. It is ordered by this.
    #[schema(example = "move2kube")]
    id: String,
    /// Its name for people, as the output has it.
    #[schema(example = "Move2Kube")]
    name: String,
    /// Where in the output it stands; what comes first in the answer is recommended most.
    #[schema(inline)]
    list: List,
    /// Whether it can be ordered.
    orderable: bool,
    /// Why not, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The service it is ordered through.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "move to containers")]
    service: Option<String>,
    /// The pack of its workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "move2kube")]
    pack: Option<String>,
    /// The pack's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.0.0")]
    version: Option<String>,
    /// Its workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "move2kube")]
    workflow: Option<String>,
    /// Members of the finished instance's input and output that its input knows by name, and whose values fit.
    #[schema(value_type = Object)]
    input: Map<String, Data>,
    /// The instances that were ordered because of it, the oldest first.
    #[schema(value_type = Vec<String>)]
    started_instances: Vec<InstanceId>,
    /// What it requires beyond those.
    missing: Vec<String>,
    /// The JSON Schema of its input; absent: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    input_schema: Option<Data>,
}

/// What is said beyond what is prefilled.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewFollowUp {
    /// Members that are set in the prefilled input; `null` takes one out.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    input: Data,
    /// A name for people, at most 255 characters.
    name: Option<String>,
}

/// What an identifier stands for among what is installed.
struct Found {
    service: Option<ServiceName>,
    pack: PackName,
    version: semver::Version,
    workflow: WorkflowName,
    schema: Option<Data>,
}

/// Lists what an instance recommends to run next, the first most. An instance that has not completed recommends nothing.
#[utoipa::path(get, path = "/v1/instances/{id}/follow-ups", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 200, description = "At most 100 recommendations, with what is prefilled.", body = Listed<FollowUp>),
        (status = 404, description = "`unknown-instance`."),
    ))]
pub async fn list_follow_ups(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(id): InPath<InstanceId>,
) -> Result<Json<Listed<FollowUp>>, Problem> {
    let summary = rooms.coordinator.instance(id)?;
    let all = aside(move || {
        let services = visible(&rooms, &caller)?;
        let mut all = follow_ups(&rooms.catalog, &services, &summary);
        let started = rooms.coordinator.ordered_after(id)?;
        for follow_up in &mut all {
            let of_it = started.iter().filter(|(recommended, _)| *recommended == follow_up.id);
            follow_up.started_instances = of_it.map(|(_, instance)| *instance).collect();
        }
        Ok::<_, Problem>(all)
    })
    .await?;
    Ok(Json(Listed::whole(all)))
}

/// Orders what an instance recommends. What it knows already is prefilled. The new instance's `parent` names the one it
/// follows.
#[utoipa::path(post, path = "/v1/instances/{id}/follow-ups/{workflow}", tag = "instances",
    params(
        ("id" = String, Path, format = "uuid", description = "The identifier of the instance that recommends it."),
        ("workflow" = String, Path, description = "The recommendation's `id`."),
        Wait,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters. The same key with \
         the same body gives the instance that was started first."),
    ),
    request_body(content = NewFollowUp, example = json!({"input": {"targetBranch": "containers"}})),
    responses(
        (status = 201, description = "Started.", body = InstanceSummary,
            headers(("Location" = String, description = "The instance's path."))),
        (status = 200, description = "Started earlier with the same `Idempotency-Key`.", body = InstanceSummary),
        (status = 404, description = "`unknown-instance`, or `unknown-workflow`: it is not recommended."),
        (status = 409, description = "`instance-not-ended`, or `workflow-not-at-hand`: its pack is not installed."),
        (status = 413, description = "`body-too-large`: above 1 MiB."),
        (status = 422, description = "`invalid-body`, `invalid-input` or `idempotency-key-reused`."),
    ))]
pub async fn order_follow_up(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath((id, workflow)): InPath<(InstanceId, String)>,
    InQuery(wait): InQuery<Wait>,
    IdempotencyKey(key): IdempotencyKey,
    InJson(asked): InJson<NewFollowUp>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let summary = rooms.coordinator.instance(id)?;
    if !summary.status.is_final() {
        let text = format!("instance {id} has not ended; it recommends something when it has completed");
        return Err(Problem::new(Kind::InstanceNotEnded, text));
    }
    let wanted = workflow.clone();
    let catalog = rooms.catalog.clone();
    let services = visible(&rooms, &caller)?;
    let follow_up = aside(move || chosen(&catalog, &services, &summary, &wanted)).await?;
    let new = follow_up.order(asked)?;
    let start = start_of(&rooms, &caller, new, key)?;
    let started = rooms.coordinator.start_follow_up(start, id, &workflow).await?;
    answer(&rooms, started, wait).await
}

fn follow_ups(catalog: &Catalog, services: &[Service], summary: &InstanceSummary) -> Vec<FollowUp> {
    let look = |recommended| FollowUp::of(catalog, services, summary, recommended);
    recommended_by(summary).into_iter().map(look).collect()
}

fn recommended_by(summary: &InstanceSummary) -> Vec<Recommended> {
    match (&summary.output, summary.status) {
        (Some(output), Status::Completed) => recommended(output),
        _ => Vec::new(),
    }
}

/// The recommendation of this identifier, where it can be ordered.
fn chosen(catalog: &Catalog, services: &[Service], summary: &InstanceSummary, id: &str) -> Result<FollowUp, Problem> {
    let all = recommended_by(summary);
    let names: Vec<_> = all.iter().take(NAMES_MAX).map(|known| format!("`{}`", known.id)).collect();
    let Some(recommended) = all.into_iter().find(|known| known.id == id) else {
        let known = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let text = format!("instance {} does not recommend this; it recommends {known}", summary.id);
        return Err(Problem::new(Kind::UnknownWorkflow, text));
    };
    let found = FollowUp::of(catalog, services, summary, recommended);
    match &found.reason {
        None => Ok(found),
        Some(reason) => Err(Problem::new(Kind::WorkflowNotAtHand, reason.clone())),
    }
}

impl FollowUp {
    fn of(
        catalog: &Catalog,
        services: &[Service],
        summary: &InstanceSummary,
        Recommended { id, name, list }: Recommended,
    ) -> Self {
        let nothing = Data::Null;
        let output = summary.output.as_ref().unwrap_or(&nothing);
        match resolve(catalog, services, &summary.pack, &id) {
            Ok(found) => {
                let input = prefilled(found.schema.as_ref(), &summary.input, output);
                Self {
                    started_instances: Vec::new(),
                    missing: missing(found.schema.as_ref(), &input),
                    input,
                    orderable: true,
                    reason: None,
                    service: found.service.map(Into::into),
                    pack: Some(found.pack.into()),
                    version: Some(found.version.to_string()),
                    workflow: Some(found.workflow.into()),
                    input_schema: found.schema,
                    id,
                    name,
                    list,
                }
            }
            Err(reason) => Self {
                id,
                name,
                list,
                orderable: false,
                reason: Some(reason),
                service: None,
                pack: None,
                version: None,
                workflow: None,
                input: Map::new(),
                started_instances: Vec::new(),
                missing: Vec::new(),
                input_schema: None,
            },
        }
    }

    /// What to start, with the caller's members over the prefilled ones.
    fn order(self, asked: NewFollowUp) -> Result<NewInstance, Problem> {
        let mut input = self.input;
        match asked.input {
            Data::Null => {}
            Data::Object(members) => {
                for (name, value) in members {
                    match value {
                        Data::Null => drop(input.remove(&name)),
                        value => drop(input.insert(name, value)),
                    }
                }
            }
            _ => {
                let message = "give the input's members as an object";
                return Err(Problem::new(Kind::InvalidBody, message).with([Fault::at("/input", message)]));
            }
        }
        let parse = |text: Option<String>| text.ok_or_else(|| Problem::internal("a follow-up without its workflow"));
        let mut new = NewInstance { name: asked.name, input: Data::Object(input), ..NewInstance::default() };
        match self.service {
            Some(service) => new.service = Some(ServiceName::parse(&service).map_err(Problem::internal)?),
            None => {
                new.pack = Some(PackName::parse(&parse(self.pack)?).map_err(Problem::internal)?);
                new.workflow = Some(WorkflowName::parse(&parse(self.workflow)?).map_err(Problem::internal)?);
            }
        }
        Ok(new)
    }
}

/// Finds what an identifier stands for: a service, `workflow@pack`, a workflow of the instance's own pack, or the one
/// workflow of this name. The text of an error says what to do.
fn resolve(catalog: &Catalog, services: &[Service], own: &PackName, id: &str) -> Result<Found, String> {
    if let Some(service) = services.iter().find(|service| service.name.as_str() == id) {
        return Found::of(service);
    }
    let (name, pack) = match id.split_once('@') {
        Some((name, pack)) => (name, Some(pack)),
        None => (id, None),
    };
    let fits = |view: &crate::pack::WorkflowView| {
        view.name.as_str() == name && pack.is_none_or(|pack| view.pack.as_str() == pack)
    };
    let mut found: Vec<_> = catalog.workflows().into_iter().filter(fits).collect();
    if let Some(mine) = found.iter().position(|view| view.pack == *own) {
        found = vec![found.swap_remove(mine)];
    }
    match found.len() {
        1 => {}
        0 => return Err(format!("no installed pack has a service or workflow `{id}`; install the pack that has it")),
        _ => {
            let packs: Vec<_> = found.iter().map(|view| format!("`{name}@{}`", view.pack)).collect();
            return Err(format!("several packs have a workflow `{name}`; order one of {}", packs.join(", ")));
        }
    }
    let view = found.swap_remove(0);
    let of_it =
        |service: &&Service| service.pack.as_ref() == Some(&view.pack) && service.workflow.as_ref() == Some(&view.name);
    match services.iter().filter(|service| service.enabled && service.available).find(of_it) {
        Some(service) => Found::of(service),
        None => Ok(Found {
            service: None,
            pack: view.pack,
            version: view.version,
            workflow: view.name,
            schema: view.entry.input,
        }),
    }
}

impl Found {
    /// What a service stands for; why it cannot be ordered, else.
    fn of(service: &Service) -> Result<Self, String> {
        if !service.enabled {
            return Err(format!("service `{}` is switched off; an admin switches it on by `enabled`", service.name));
        }
        let reason = || service.reason.clone().unwrap_or_else(|| format!("service `{}` has no workflow", service.name));
        let (Some(pack), Some(version), Some(workflow)) = (&service.pack, &service.version, &service.workflow) else {
            return Err(reason());
        };
        Ok(Self {
            service: Some(service.name.clone()),
            pack: pack.clone(),
            version: version.clone(),
            workflow: workflow.clone(),
            schema: service.input_schema.clone(),
        })
    }
}
