//! Plans and their jobs. Names of plans are unique in the service, so a plan carries the order's name and its request key:
//! a repeat finds it, and no order meets another one's.

use std::time::Duration;

use orchestrator_sdk::http::Response;
use orchestrator_sdk::progress::{self, Measure};
use orchestrator_sdk::{Context, Error, Json, http, json, log, standard};
use serde::{Deserialize, Serialize};

use crate::api::{self, MULTICLOUD};

/// When a plan that is being scheduled is worth another look.
const SCHEDULING: Duration = Duration::from_secs(2);

/// The kind of connector that stands for the service's own buckets.
const CONNECTOR: &str = "opensds-obj";

/// What `create-plan` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// The order's name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// The bucket that objects are moved from.
    pub source_bucket: String,
    /// The bucket they are moved to.
    pub destination_bucket: String,
    /// Only keys that start with this.
    pub prefix: Option<String>,
    /// Whether the source keeps its objects.
    pub remain_source: Option<bool>,
    /// What makes the plan's name unique, such as the instance's identifier.
    pub request_key: String,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Which plan.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanId {
    /// Its identifier; looked for by name when absent.
    pub plan_id: Option<String>,
    /// As `create-plan` was given.
    pub name: Option<String>,
    /// As `create-plan` was given.
    pub request_key: Option<String>,
}

/// Which job.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobId {
    /// Its identifier.
    pub job_id: String,
}

/// A job that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Its identifier.
    pub job_id: String,
}

/// A job as the API shows it; what is zero there is left out there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Job {
    /// Its identifier.
    pub id: String,
    /// Of which plan.
    pub plan_id: String,
    /// `pending`, `running`, `succeed`, `failed`.
    pub status: String,
    /// Percent.
    pub progress: f64,
    /// Objects to copy.
    pub total_count: u64,
    /// Objects that were copied.
    pub passed_count: u64,
    /// Bytes to copy.
    pub total_capacity: u64,
    /// Bytes that were copied.
    pub passed_capacity: u64,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Whether there was one.
    pub deleted: bool,
}

/// The plan's name: letters, digits and `-`, with the request key at its end.
fn plan_name(name: &str, request_key: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = name.chars().take(60).map(plain).collect();
    let key: String = request_key.chars().map(plain).collect();
    format!("{name}-{key}")
}

/// Makes a plan, or finds the one that an earlier try made.
///
/// # Errors
/// Those of the API.
pub fn create(ctx: &Context, wanted: Wanted) -> Result<Plan, Error> {
    let name = plan_name(&wanted.name, &wanted.request_key);
    if let Some(plan) = find(&name)? {
        return plan.left(ctx);
    }
    let end = |bucket: &str| json!({ "storType": CONNECTOR, "bucketName": bucket });
    let filter = wanted.prefix.as_deref().filter(|prefix| !prefix.is_empty());
    let body = json!({
        "name": name, "type": "migration", "description": wanted.description.as_deref().unwrap_or(""),
        "sourceConn": end(&wanted.source_bucket), "destConn": end(&wanted.destination_bucket),
        "filter": filter.map_or_else(|| json!({}), |prefix| json!({ "prefix": prefix })),
        "remainSource": wanted.remain_source.unwrap_or(true),
    });
    let response = api::send(http::post(MULTICLOUD, "/plans").json(&body))?;
    if !response.is_success() && api::said(&response).contains("duplicate name") {
        // Made by an earlier try whose request was taken in only after the look above.
        let gone = || Error::transient("the plan exists but is not listed yet").retry_after(SCHEDULING);
        return find(&name)?.ok_or_else(gone)?.left(ctx);
    }
    let plan: Plan = member(&response, "plan", &format!("make the plan `{name}`"))?;
    ctx.created("plan", &plan.id);
    plan.left(ctx)
}

/// Takes a plan back.
///
/// # Errors
/// As [`delete`].
pub fn undo_create(ctx: &Context, plan: Plan) -> Result<(), Error> {
    delete(ctx, PlanId { plan_id: Some(plan.id), name: None, request_key: None }).map(drop)
}

impl Plan {
    /// The plan, with what taking it back needs.
    fn left(self, ctx: &Context) -> Result<Self, Error> {
        ctx.receipt(&self)?;
        Ok(self)
    }
}

fn find(name: &str) -> Result<Option<Plan>, Error> {
    let all: Vec<Plan> = api::list("/plans", "plans", &[("name", name)])?;
    Ok(all.into_iter().find(|plan| plan.name == name))
}

/// Starts a plan's job, or finds the one that an earlier try started.
///
/// # Errors
/// Permanent 404 when the plan is gone, for which the service answers 500; those of the API.
pub fn run(_: &Context, input: PlanId) -> Result<Started, Error> {
    let plan_id = input.plan_id.unwrap_or_default();
    if let Some(job) = job_of(&plan_id)? {
        return Ok(Started { job_id: job.id });
    }
    let path = format!("/plans/{}/run", http::encode_path_segment(&plan_id));
    let response = api::send(http::post(MULTICLOUD, &path).json(&json!({})))?;
    let doing = format!("run the plan `{plan_id}`");
    if response.is_success() {
        return response.parse();
    }
    if api::said(&response).contains("is scheduling") {
        return Err(api::refused(&response, &doing).retry_after(SCHEDULING));
    }
    if !exists(&plan_id)? {
        return Err(Error::permanent(format!("the plan `{plan_id}` is gone: somebody removed it"))
            .with_type(standard::VALIDATION, 404, "No such plan")
            .cure("order again"));
    }
    Err(api::refused(&response, &doing))
}

fn job_of(plan_id: &str) -> Result<Option<Job>, Error> {
    let all: Vec<Job> = api::list("/jobs", "jobs", &[("planId", plan_id)])?;
    Ok(all.into_iter().find(|job| job.plan_id == plan_id))
}

/// Whether a plan is there. The service answers 500 for one that is not, so the list is asked.
fn exists(plan_id: &str) -> Result<bool, Error> {
    let all: Vec<Plan> = api::list("/plans", "plans", &[])?;
    Ok(all.iter().any(|plan| plan.id == plan_id))
}

/// Looks at a job and shows its progress.
///
/// # Errors
/// Permanent 404 when there is no such job; those of the API.
pub fn job(_: &Context, input: JobId) -> Result<Job, Error> {
    let path = format!("/jobs/{}", http::encode_path_segment(&input.job_id));
    let response = api::send(http::get(MULTICLOUD, &path))?;
    if response.status() == 404 {
        return Err(Error::permanent(format!("the multi-cloud service has no job `{}` any more", input.job_id))
            .with_type(standard::VALIDATION, 404, "No such job"));
    }
    let job: Job = member(&response, "job", &format!("look at the job `{}`", input.job_id))?;
    let measures = [
        Measure::of("objects", job.passed_count, job.total_count),
        Measure::of("bytes", job.passed_capacity, job.total_capacity),
    ];
    progress::report(&measures, Some(&job.status));
    Ok(job)
}

/// Removes a plan; one that is gone is a success.
///
/// # Errors
/// Those of the API.
pub fn delete(ctx: &Context, input: PlanId) -> Result<Deleted, Error> {
    let id = match (input.plan_id, input.name, input.request_key) {
        (Some(id), ..) => Some(id),
        (None, Some(name), Some(key)) => find(&plan_name(&name, &key))?.map(|plan| plan.id),
        _ => None,
    };
    let Some(id) = id else { return Ok(Deleted { deleted: false }) };
    let response = api::send(http::delete(MULTICLOUD, &format!("/plans/{}", http::encode_path_segment(&id))))?;
    if !response.is_success() && response.status() != 404 {
        let error = api::refused(&response, &format!("remove the plan `{id}`"));
        return if exists(&id)? { Err(error) } else { Ok(Deleted { deleted: false }) };
    }
    ctx.deleted("plan", &id);
    log::info!("removed the plan `{id}`");
    Ok(Deleted { deleted: true })
}

fn member<T: serde::de::DeserializeOwned>(response: &Response, name: &str, doing: &str) -> Result<T, Error> {
    if !response.is_success() {
        return Err(api::refused(response, doing));
    }
    let mut answer: Json = response.parse()?;
    serde_json::from_value(answer[name].take())
        .map_err(|error| Error::permanent(format!("{doing}: the answer has no `{name}`: {error}")))
}
