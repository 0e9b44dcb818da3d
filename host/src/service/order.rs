//! What an order means: which workflow runs, with which input. What the admin set and what the schema has as defaults is
//! filled in first; then everything that is wrong is told at once.
//!
//! A default of the schema is filled in where the input lacks the member, at any depth of `properties`, and only where the
//! input fits its schemas with it: the language itself holds inputs to schemas and does not complete them.

use std::collections::BTreeSet;

use serde_json::Map;

use super::template::{Declared, Target, Wrong};
use super::{Choice, Service, ServiceError, Services, store};
use crate::definition::schema::{self, VIOLATIONS_MAX};
use crate::journal::StoreError;
use crate::model::{Json, PackName, ServiceName, TenantName, WorkflowName};

/// Levels of `properties` that are looked at for defaults.
const DEPTH_MAX: usize = 32;

/// What is to be started for an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The service.
    pub service: ServiceName,
    /// The pack.
    pub pack: PackName,
    /// Its exact version.
    pub version: semver::Version,
    /// The workflow.
    pub workflow: WorkflowName,
    /// The input, completed.
    pub input: Json,
}

/// Why an order means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such service.
    #[error("there is no service `{0}`; GET /v1/services lists them")]
    NotFound(ServiceName),
    /// It is switched off.
    #[error("service `{0}` is switched off; an admin switches it on by `enabled`")]
    Disabled(ServiceName),
    /// Its workflow is not installed; the text says what is.
    #[error("service `{0}` cannot run: {1}; install the pack again or change the service")]
    NotAtHand(ServiceName, String),
    /// It has no workflow of that name.
    #[error("service `{service}` has no workflow `{workflow}`; it has {known}")]
    NoChoice {
        /// The service.
        service: ServiceName,
        /// What was asked for.
        workflow: WorkflowName,
        /// What it has.
        known: String,
    },
    /// The input does not fit; each as a pointer in back quotes, a colon and a sentence.
    #[error("the input does not fit the service's schema: {}", .0.join("; "))]
    InvalidInput(Vec<String>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Services {
    /// What an order of a service means; `workflow` names one of its workflows, by default the first.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn order(
        &self,
        tenant: &TenantName,
        name: &ServiceName,
        workflow: Option<&WorkflowName>,
        input: &Json,
    ) -> Result<Order, OrderError> {
        let service = self.orderable(tenant, name)?;
        let choice = service.choice(workflow)?;
        let target = Target {
            name: choice.name.clone(),
            pack: choice.pack.clone(),
            version: choice.version.clone(),
            workflow: choice.workflow.clone(),
        };
        self.meant(tenant, &service, target, input)
    }

    /// The same for a workflow of an exact version that need not be among the service's, for an instance that is run
    /// again.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn order_again(
        &self,
        tenant: &TenantName,
        name: &ServiceName,
        (pack, version, workflow): (&PackName, &semver::Version, &WorkflowName),
        input: &Json,
    ) -> Result<Order, OrderError> {
        let service = self.orderable(tenant, name)?;
        let (pack, workflow) = (pack.clone(), workflow.clone());
        self.meant(
            tenant,
            &service,
            Target { name: workflow.clone(), pack, version: Some(version.clone()), workflow },
            input,
        )
    }

    fn orderable(&self, tenant: &TenantName, name: &ServiceName) -> Result<Service, OrderError> {
        let service = self.get(tenant, name).map_err(|error| match error {
            ServiceError::Store(error) => OrderError::Store(error),
            _ => OrderError::NotFound(name.clone()),
        })?;
        if service.enabled { Ok(service) } else { Err(OrderError::Disabled(name.clone())) }
    }

    fn meant(&self, tenant: &TenantName, service: &Service, target: Target, input: &Json) -> Result<Order, OrderError> {
        let not_at_hand = |why: String| OrderError::NotAtHand(service.name.clone(), why);
        let found = self.catalog.find_workflow(&target.pack, target.version.as_ref(), &target.workflow);
        let found = found.map_err(|error| not_at_hand(error.to_string()))?;
        let own = self.own_schema(tenant, service).map_err(not_at_hand)?;
        let of_workflow = found.workflows.get(&target.workflow).and_then(|entry| entry.input.clone());
        let input = preset(service, input)?;
        let schemas: Vec<Json> = [own, of_workflow].into_iter().flatten().collect();
        let input = fitting(&schemas, input).map_err(|fault| match fault {
            Unfit::Schema(why) => not_at_hand(why),
            Unfit::Input(violations) => OrderError::InvalidInput(violations),
        })?;
        let version = found.manifest.version.clone();
        Ok(Order { service: service.name.clone(), pack: target.pack, version, workflow: target.workflow, input })
    }

    /// What is set for all orders and refused by each workflow, so that no order could be taken.
    pub(super) fn unfit_defaults(&self, declared: &Declared) -> Vec<Wrong> {
        let defaults = Json::Object(declared.input_defaults.clone());
        let schema_of = |target: &Target| {
            let found = self.catalog.find_workflow(&target.pack, target.version.as_ref(), &target.workflow).ok()?;
            found.workflows.get(&target.workflow).and_then(|entry| entry.input.clone())
        };
        let all: Vec<Vec<String>> = declared
            .workflows
            .iter()
            .map(|target| [declared.input_schema.clone(), schema_of(target)].into_iter().flatten().collect::<Vec<_>>())
            .map(|schemas| violations(&schemas, &defaults).unwrap_or_default())
            .collect();
        let refused = |name: &str| {
            let told = all.iter().map(|violations| violations.iter().find_map(|text| about(text, name)));
            told.collect::<Option<Vec<_>>>()?.into_iter().next()
        };
        let names = declared.input_defaults.keys();
        names.filter_map(|name| Some(Wrong::at(format!("/inputDefaults/{}", token(name)), refused(name)?))).collect()
    }

    /// The schema that the service has beside its workflow's.
    fn own_schema(&self, tenant: &TenantName, service: &Service) -> Result<Option<Json>, String> {
        if !service.is_own() {
            return self.catalog.service_schema(&service.name).map_err(|error| error.to_string());
        }
        let row = store::one(&*self.journal, tenant, &service.name).map_err(|error| error.to_string())?;
        Ok(row.and_then(|row| row.declared.input_schema))
    }
}

impl Service {
    /// The workflow of a name, by default the first.
    fn choice(&self, workflow: Option<&WorkflowName>) -> Result<&Choice, OrderError> {
        let Some(wanted) = workflow else {
            let none = || OrderError::NotAtHand(self.name.clone(), "it has no workflow".to_owned());
            return self.workflows.first().ok_or_else(none);
        };
        self.workflows.iter().find(|choice| choice.name == *wanted).ok_or_else(|| {
            let known: Vec<String> = self.workflows.iter().map(|choice| format!("`{}`", choice.name)).collect();
            OrderError::NoChoice { service: self.name.clone(), workflow: wanted.clone(), known: known.join(", ") }
        })
    }
}

/// The input with what the admin set.
fn preset(service: &Service, input: &Json) -> Result<Json, OrderError> {
    let mut members = match input {
        Json::Null => Map::new(),
        Json::Object(members) => members.clone(),
        // Held to the schema as it is.
        other => return Ok(other.clone()),
    };
    let given = service.locked_inputs.iter().filter(|name| members.contains_key(*name));
    let locked: Vec<String> =
        given.map(|name| format!("`/{}`: the service sets this; leave it out", token(name))).collect();
    if !locked.is_empty() {
        return Err(OrderError::InvalidInput(locked));
    }
    for (name, value) in &service.input_defaults {
        members.entry(name).or_insert_with(|| value.clone());
    }
    Ok(Json::Object(members))
}

fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Why an input does not fit.
enum Unfit {
    /// A schema is none any more.
    Schema(String),
    /// What is wrong with it.
    Input(Vec<String>),
}

/// What schemas find wrong with a value, nothing where one is no schema.
fn violations(schemas: &[Json], value: &Json) -> Option<Vec<String>> {
    let validators: Vec<_> = schemas.iter().map(schema::compile).collect::<Result<_, _>>().ok()?;
    Some(validators.iter().flat_map(|validator| schema::violations(validator, value, VIOLATIONS_MAX)).collect())
}

/// What a violation says of this member of the input; what it says of others, or that some are missing, is not about it.
pub(super) fn about(violation: &str, name: &str) -> Option<String> {
    let (pointer, message) = violation.strip_prefix('`')?.split_once("`: ")?;
    let rest = pointer.strip_prefix('/').and_then(|pointer| pointer.strip_prefix(&token(name)));
    let is_inside = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_unknown = pointer == "/"
        && message.starts_with("Additional properties are not allowed")
        && message.contains(&format!("'{name}'"));
    match (is_inside, is_unknown) {
        (true, _) => Some(format!("no order can have this: {message}")),
        (_, true) => Some("no order can have this: the workflow's input has no such member".to_owned()),
        _ => None,
    }
}

/// The input, completed by the schemas' defaults where it fits with them.
fn fitting(schemas: &[Json], input: Json) -> Result<Json, Unfit> {
    let validators: Result<Vec<_>, _> = schemas.iter().map(schema::compile).collect();
    let validators = validators.map_err(|error| Unfit::Schema(error.to_string()))?;
    let violations = |value: &Json| -> Vec<String> {
        let found = validators.iter().flat_map(|validator| schema::violations(validator, value, VIOLATIONS_MAX));
        let unique: BTreeSet<String> = found.collect();
        unique.into_iter().collect()
    };
    let mut completed = input.clone();
    schemas.iter().for_each(|schema| complete(schema, &mut completed, DEPTH_MAX));
    if violations(&completed).is_empty() {
        return Ok(completed);
    }
    match violations(&input) {
        none if none.is_empty() => Ok(input),
        found => Err(Unfit::Input(found)),
    }
}

/// Fills in the defaults of members that are absent.
fn complete(schema: &Json, value: &mut Json, depth: usize) {
    let (Some(properties), Json::Object(members)) = (schema.get("properties").and_then(Json::as_object), value) else {
        return;
    };
    for (name, of) in properties {
        match (members.get_mut(name), of.get("default")) {
            (Some(member), _) if depth > 0 => complete(of, member, depth - 1),
            (None, Some(default)) if !default.is_null() => drop(members.insert(name.clone(), default.clone())),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schemas: Json, input: Json, expected: Json) {
        let schemas: Vec<Json> = schemas.as_array().unwrap().clone();
        match fitting(&schemas, input.clone()) {
            Ok(fitted) => assert_eq!(fitted, expected, "{input}"),
            Err(Unfit::Input(found)) => assert_eq!(json!(found), expected, "{input}"),
            Err(Unfit::Schema(why)) => panic!("{why}"),
        }
    }

    #[test]
    fn defaults_are_filled_in_at_any_depth_where_the_input_fits_with_them() {
        let size = json!({"properties": {"size": {"default": 1}, "host": {"properties": {"port": {"default": 80}}}}});
        check(json!([size]), json!({}), json!({"size": 1}));
        check(json!([size]), json!({"size": null, "host": {}}), json!({"size": null, "host": {"port": 80}}));
        check(json!([size]), json!([1]), json!([1]));
        let either = json!({"properties": {"a": {"default": 1}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        check(json!([either]), json!({"b": 2}), json!({"b": 2}));
        check(json!([either, size]), json!({}), json!({"a": 1, "size": 1}));
    }

    #[test]
    fn all_faults_of_all_schemas_are_told_once() {
        let one = json!({"required": ["a"], "properties": {"b": {"type": "string"}}});
        let two = json!({"required": ["a"], "properties": {"c": {"minimum": 5}}});
        let expected = json!([
            "`/`: \"a\" is a required property",
            "`/b`: 1 is not of type \"string\"",
            "`/c`: 1 is less than the minimum of 5"
        ]);
        check(json!([one, two]), json!({"b": 1, "c": 1}), expected);
    }
}
