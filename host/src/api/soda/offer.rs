//! Services as SODA's surface sees them: the rows of the catalogue, with what SODA keeps besides in their annotations.
//! The only file here that knows how services are stored.

use serde_json::{Map, json};
use uuid::Uuid;

use super::form::{self, Names};
use super::refusal::Refusal;
use super::request::Here;
use super::settings::SodaSettings;
use super::view::date;
use crate::api::problem::{Kind, Problem};
use crate::api::rooms::Rooms;
use crate::model::{Json, PackName, ServiceName, WorkflowName};
use crate::service::template::NewChoice;
use crate::service::{Choice, Service, ServiceError, Template};

/// Whom a client registered it for.
const USER: &str = "soda/user-id";
/// The name it was registered with, where another service has that name.
const NAME: &str = "soda/name";
/// The identifier that the client gave it.
const ID: &str = "soda/id";
/// Its `input` as it was sent, as JSON.
const INPUT: &str = "soda/input";
/// Its `constraint` as it was sent, as JSON.
const CONSTRAINT: &str = "soda/constraint";
/// Its workflows as they were sent, as JSON: `[[definition_source, wfe_type], …]`.
const SOURCES: &str = "soda/sources";

/// What a client says that runs the workflows of services that it did not register.
const ENGINE: &str = "st2";

/// The namespace of the identifiers of workflows (UUID version 5).
const WORKFLOWS: Uuid = Uuid::from_u128(0x0d6a_4f5b_3c0e_4a77_8f52_61e9_4b07_c2d3);

/// A registration that was read and found right.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Its name.
    pub name: ServiceName,
    /// What it does.
    pub description: String,
    /// The heading it is listed under.
    pub group: String,
    /// Whom it was registered for.
    pub user_id: String,
    /// Its workflows: `definition_source`, `wfe_type`, and what is meant.
    pub workflows: Vec<Registered>,
    /// The identifier it is to have.
    pub id: Option<String>,
    /// `input` as it was sent.
    pub input: Option<Json>,
    /// `constraint` as it was sent.
    pub constraint: Option<Json>,
}

/// A workflow of a registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// What it is called at SODA.
    pub source: String,
    /// The engine that is said to run it.
    pub wfe_type: String,
    /// Its pack.
    pub pack: PackName,
    /// The workflow.
    pub workflow: WorkflowName,
}

/// A service of the catalogue, as SODA's clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer(pub Service);

/// All services that somebody sees.
pub fn all(rooms: &Rooms, here: &Here) -> Result<Vec<Offer>, Refusal> {
    let services = rooms.services.list(here.tenant()).map_err(Problem::from)?;
    let seen = services.into_iter().filter(|service| here.principal.may_order(&service.name));
    Ok(seen.map(Offer).collect())
}

/// The service of an identifier, if somebody sees one.
pub fn of_id(rooms: &Rooms, here: &Here, id: &str) -> Result<Option<Offer>, Refusal> {
    Ok(all(rooms, here)?.into_iter().find(|offer| offer.is(id)))
}

/// The identifier of the service of a name.
pub fn id_of(rooms: &Rooms, here: &Here, name: &ServiceName) -> Option<String> {
    rooms.services.get(here.tenant(), name).ok().map(|service| Offer(service).id())
}

/// Registers a service. The same registration once more gives the service that is there; a name that is taken by
/// something else gets an addition, because names are unique in the catalogue and were not at SODA.
pub async fn register(rooms: &Rooms, here: &Here, said: Registration) -> Result<Offer, Refusal> {
    let known = all(rooms, here)?;
    if let Some(id) = said.id.as_deref()
        && known.iter().any(|offer| offer.is(id))
    {
        let text = format!("there is a service with the id `{id}`; leave `id` out, and the service gets one");
        return Err(Refusal::new(Kind::Conflict, text));
    }
    if let Some(same) = known.into_iter().find(|offer| offer.says(&said)) {
        return Ok(same);
    }
    let (tenant, by) = (here.tenant(), here.principal.subject.as_str());
    match rooms.services.create(tenant, by, said.template(said.name.clone())).await {
        Err(ServiceError::Exists(_)) => {
            let again = rooms.services.create(tenant, by, said.template(another_name(&said.name)?)).await;
            Ok(Offer(again.map_err(Problem::from)?))
        }
        made => Ok(Offer(made.map_err(Problem::from)?)),
    }
}

/// Replaces what is said of a service; its name in the catalogue stays.
pub async fn replace(rooms: &Rooms, here: &Here, offer: &Offer, said: Registration) -> Result<Offer, Refusal> {
    let template = said.template(offer.0.name.clone());
    let (tenant, by) = (here.tenant(), here.principal.subject.as_str());
    let replaced = rooms.services.put(tenant, by, &offer.0.name, template, None).await;
    Ok(Offer(replaced.map_err(Problem::from)?.0))
}

/// Removes a service.
pub async fn remove(rooms: &Rooms, here: &Here, offer: &Offer) -> Result<(), Refusal> {
    Ok(rooms.services.delete(here.tenant(), &offer.0.name, None).await.map_err(Problem::from)?)
}

/// A name that nobody has: the asked one with a few random letters behind it.
fn another_name(name: &ServiceName) -> Result<ServiceName, Refusal> {
    let start: String = name.as_str().chars().take(240).collect();
    let text = format!("{} #{:08x}", start.trim_end(), rand::random::<u32>());
    ServiceName::parse(&text).map_err(|error| Refusal::new(Kind::InvalidBody, error.to_string()))
}

impl Registration {
    fn template(&self, name: ServiceName) -> Template {
        let choice = |at: usize, workflow: &Registered| NewChoice {
            // Two sources may stand for one workflow; what an order calls it must differ.
            name: (at > 0).then(|| WorkflowName::parse(&format!("{}-{at}", workflow.workflow)).ok()).flatten(),
            pack: workflow.pack.clone(),
            version: None,
            workflow: workflow.workflow.clone(),
        };
        Template {
            annotations: self.annotations(&name),
            name: Some(name),
            group: Some(self.group.clone()),
            description: Some(self.description.clone()),
            constraint: self.constraint.as_ref().and_then(Json::as_str).map(str::to_owned),
            workflows: self.workflows.iter().enumerate().map(|(at, workflow)| choice(at, workflow)).collect(),
            ..Template::default()
        }
    }

    fn annotations(&self, name: &ServiceName) -> std::collections::BTreeMap<String, String> {
        let sources: Json = self.workflows.iter().map(|workflow| json!([workflow.source, workflow.wfe_type])).collect();
        let other_name = (*name != self.name).then(|| self.name.to_string());
        let all = [
            (USER, Some(self.user_id.clone())),
            (NAME, other_name),
            (ID, self.id.clone()),
            (INPUT, self.input.as_ref().map(Json::to_string)),
            (CONSTRAINT, self.constraint.as_ref().map(Json::to_string)),
            (SOURCES, Some(sources.to_string())),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

impl Offer {
    /// Its identifier at SODA.
    pub fn id(&self) -> String {
        self.annotation(ID).map_or_else(|| self.0.id.to_string(), str::to_owned)
    }

    fn is(&self, id: &str) -> bool {
        self.annotation(ID) == Some(id) || Uuid::parse_str(id).is_ok_and(|id| id == self.0.id)
    }

    /// Its name at SODA.
    pub fn name(&self) -> &str {
        self.annotation(NAME).unwrap_or_else(|| self.0.name.as_str())
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.0.annotations.get(name).map(String::as_str)
    }

    fn kept(&self, name: &str) -> Json {
        self.annotation(name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Whether this is what a registration asks for, so that repeating it makes nothing.
    fn says(&self, said: &Registration) -> bool {
        self.0.is_own()
            && said.id.is_none()
            && self.name() == said.name.as_str()
            && self.0.group == said.group
            && self.0.description.as_deref() == Some(&said.description)
            && said.annotations(&said.name).iter().all(|(name, value)| self.annotation(name) == Some(value))
    }

    /// Its workflows, each with what SODA's clients call it and the engine that they named.
    pub fn workflows(&self, settings: &SodaSettings) -> Vec<(String, String, &Choice)> {
        let kept = self.kept(SOURCES);
        let named =
            |at: usize, choice: &Choice| match (kept.pointer(&format!("/{at}/0")), kept.pointer(&format!("/{at}/1"))) {
                (Some(Json::String(source)), Some(Json::String(engine))) => (source.clone(), engine.clone()),
                _ => (settings.name_of(&choice.pack, &choice.workflow), ENGINE.to_owned()),
            };
        let told = |(at, choice)| {
            let (source, engine) = named(at, choice);
            (source, engine, choice)
        };
        self.0.workflows.iter().enumerate().map(told).collect()
    }

    /// What a registration is answered with.
    pub fn registered(&self, here: &Here) -> Json {
        let mut told = self.told(here, Instants::of(self));
        told.insert("input".to_owned(), self.kept(INPUT));
        Json::Object(told)
    }

    /// The service as it is listed and read. `input` is what its first workflow takes: the one that runs where a start
    /// names none.
    pub fn shown(&self, rooms: &Rooms, here: &Here) -> Json {
        let settings = rooms.soda.settings();
        let mut told = self.told(here, Instants::at(self, rooms));
        let workflows: Vec<Json> =
            self.workflows(settings).iter().map(|workflow| self.workflow(rooms, workflow)).collect();
        let input = workflows.first().map(|first| first["definition"].clone()).unwrap_or_else(|| json!({}));
        told.insert("input".to_owned(), input);
        told.insert("workflows".to_owned(), Json::Array(workflows));
        told.insert("enabled".to_owned(), self.0.enabled.into());
        told.insert("origin".to_owned(), json!(self.0.origin));
        Json::Object(told)
    }

    fn told(&self, here: &Here, at: Instants) -> Map<String, Json> {
        let owner = || self.0.created_by.clone().unwrap_or_default();
        let told = json!({
            "id": self.id(),
            "created_at": at.created,
            "updated_at": at.updated,
            "tenant_id": here.tenant_id,
            "user_id": self.annotation(USER).map_or_else(owner, str::to_owned),
            "name": self.name(),
            "description": self.0.description.as_deref().unwrap_or_default(),
            "input": null,
            "constraint": self.annotation(CONSTRAINT).map_or_else(|| json!(self.0.constraint), |_| self.kept(CONSTRAINT)),
            "group": self.0.group,
        });
        match told {
            Json::Object(told) => told,
            _ => Map::new(),
        }
    }

    fn workflow(&self, rooms: &Rooms, (source, engine, choice): &(String, String, &Choice)) -> Json {
        let names = Names(rooms.soda.settings().source(source));
        let schema = self.schema(rooms, choice);
        let entry = entry_of(rooms, choice);
        json!({
            "id": workflow_id(&choice.pack, &choice.workflow),
            "name": choice.workflow,
            "description": entry.and_then(|entry| entry.summary.or(entry.title)).unwrap_or_default(),
            "definition_source": source,
            "wfe_type": engine,
            "definition": form::form(schema.as_ref(), names),
        })
    }

    /// The schema of what one of its workflows takes when it is ordered here.
    pub fn schema(&self, rooms: &Rooms, choice: &Choice) -> Option<Json> {
        let of_service = || self.0.input_schema.clone().filter(|_| self.0.workflows.len() == 1);
        of_service().or_else(|| entry_of(rooms, choice)?.input)
    }
}

fn entry_of(rooms: &Rooms, choice: &Choice) -> Option<crate::pack::catalog::WorkflowEntry> {
    let pack = match &choice.version {
        Some(version) => rooms.catalog.get(&choice.pack, version),
        None => rooms.catalog.latest(&choice.pack),
    };
    pack?.workflows.get(&choice.workflow).cloned()
}

/// The identifier of a workflow, which has none of its own.
pub fn workflow_id(pack: &PackName, workflow: &WorkflowName) -> Uuid {
    Uuid::new_v5(&WORKFLOWS, format!("{pack}/{workflow}").as_bytes())
}

/// When a service was made and changed, as SODA writes it.
struct Instants {
    created: Option<String>,
    updated: Option<String>,
}

impl Instants {
    fn of(offer: &Offer) -> Self {
        Self { created: offer.0.created_at.map(date), updated: offer.0.updated_at.or(offer.0.created_at).map(date) }
    }

    /// A pack's service was made when its pack was installed.
    fn at(offer: &Offer, rooms: &Rooms) -> Self {
        let own = Self::of(offer);
        let pack = || Some(rooms.catalog.get(offer.0.pack.as_ref()?, offer.0.version.as_ref()?)?.installed_at);
        match own.created {
            Some(_) => own,
            None => {
                let installed = pack().map(date);
                Self { created: installed.clone(), updated: installed }
            }
        }
    }
}
