//! The list of instances: what a request narrows it down to, and what its caller may see of it at all.

use std::sync::Arc;

use axum::extract::{Query, RawQuery, State};
use axum::http::Uri;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::Caller;
use super::list::{self, List};
use super::problem::{Kind, Problem};
use super::rooms::{Rooms, aside};
use super::select::Selection;
use crate::coordinator::view::{InstanceFilter, InstanceSummary, Status};
use crate::model::{PackName, Principal, ServiceName, WorkflowName};

/// Characters that are searched for, at most: as many as a name has.
const SEARCH_CHARACTERS_MAX: usize = 255;

/// Which instances to list.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct Which {
    /// Only with one of these statuses: several with commas in between, or the parameter several times.
    #[param(value_type = Option<Vec<Status>>, style = Form, explode = true)]
    status: Option<String>,
    /// Only of this service.
    #[param(value_type = Option<String>)]
    service: Option<ServiceName>,
    /// Only of a workflow of this pack.
    #[param(value_type = Option<String>)]
    pack: Option<PackName>,
    /// Only of the workflow of this name.
    #[param(value_type = Option<String>)]
    workflow: Option<WorkflowName>,
    /// Only started by this subject, such as `token:ci`.
    created_by: Option<String>,
    /// Only started by whoever asks.
    mine: Option<bool>,
    /// Only created at this time or later (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_after: Option<Timestamp>,
    /// Only created before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
    /// Only with this text in the name, in any case, or at the beginning of the identifier; at most 255 characters.
    #[param(max_length = 255)]
    q: Option<String>,
    /// `-createdAt` (the default) begins at the newest, `createdAt` at the oldest.
    #[param(inline)]
    sort: Option<Sort>,
    /// Items on the page, 1 to 200; by default 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// The `next` of the page before, with the same other parameters.
    cursor: Option<String>,
}

/// The order of a list of instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
pub enum Sort {
    /// The newest first.
    #[default]
    #[serde(rename = "-createdAt")]
    NewestFirst,
    /// The oldest first.
    #[serde(rename = "createdAt")]
    OldestFirst,
}

/// Lists the instances of the caller's tenant, the newest first. Whoever may see only her own gets only those.
#[utoipa::path(get, path = "/v1/instances", tag = "instances", params(Which), responses(
    (status = 200, description = "One page. It may be short, or empty, although there is a next one.",
        body = List<InstanceSummary>),
))]
pub async fn list_instances(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    selection: Option<Extension<Selection>>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<InstanceSummary>>, Problem> {
    let which = Which::read(query.as_deref().unwrap_or_default())?;
    let (limit, cursor) = (list::limit(which.limit)?, which.cursor.clone());
    let is_left_out = |selection: Extension<Selection>| selection.leaves_out("input") && selection.leaves_out("output");
    let brief = selection.is_some_and(is_left_out);
    let Some(filter) = which.filter(&caller)? else { return Ok(Json(List::whole([]))) };
    let filter = InstanceFilter { brief, ..filter };
    let coordinator = rooms.coordinator.clone();
    let page = aside(move || coordinator.instances(&filter, limit, cursor.as_deref())).await?;
    Ok(Json(List { items: page.items, next: page.next }))
}

impl Which {
    /// Reads a query in which `status` may stand several times.
    fn read(query: &str) -> Result<Self, Problem> {
        let wrong = |error: &dyn std::fmt::Display| Problem::new(Kind::InvalidParameter, error.to_string());
        let mut statuses: Vec<String> = Vec::new();
        let mut rest = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "status" => statuses.push(value.into_owned()),
                _ => drop(rest.append_pair(&name, &value)),
            }
        }
        if !statuses.is_empty() {
            rest.append_pair("status", &statuses.join(","));
        }
        let uri = Uri::try_from(format!("/?{}", rest.finish())).map_err(|error| wrong(&error))?;
        Query::try_from_uri(&uri).map(|Query(which)| which).map_err(|error| wrong(&error.body_text()))
    }

    /// What is to be listed; nothing where the caller may not see any of it.
    fn filter(self, caller: &Principal) -> Result<Option<InstanceFilter>, Problem> {
        let wrong = |text: String| Problem::new(Kind::InvalidParameter, text);
        if self.q.as_ref().is_some_and(|text| text.chars().count() > SEARCH_CHARACTERS_MAX) {
            return Err(wrong(format!("set `q` to at most {SEARCH_CHARACTERS_MAX} characters")));
        }
        let own = Some(caller.subject.clone());
        let sees_only_hers = !caller.sees(None);
        let created_by = if sees_only_hers || self.mine == Some(true) { own.clone() } else { self.created_by.clone() };
        if self.created_by.is_some() && self.created_by != created_by {
            return Ok(None);
        }
        Ok(Some(InstanceFilter {
            tenant: caller.tenant.clone(),
            status: statuses(self.status.as_deref().unwrap_or_default())?,
            service: self.service,
            services: caller.services.clone(),
            pack: self.pack,
            workflow: self.workflow,
            created_by,
            created_after: self.created_after,
            created_before: self.created_before,
            search: self.q.filter(|text| !text.is_empty()),
            oldest_first: self.sort == Some(Sort::OldestFirst),
            brief: false,
        }))
    }
}

fn statuses(text: &str) -> Result<Vec<Status>, Problem> {
    let read = |word: &str| Status::parse(word.trim());
    let statuses: Option<Vec<_>> = text.split(',').filter(|word| !word.trim().is_empty()).map(read).collect();
    let known = || Status::ALL.map(Status::as_str).join(", ");
    statuses.ok_or_else(|| Problem::new(Kind::InvalidParameter, format!("set `status` to some of {}", known())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{Role, TenantName};

    fn caller(role: Role) -> Principal {
        let tenant = TenantName::parse("red").unwrap();
        Principal { subject: "token:a".to_owned(), tenant, roles: BTreeSet::from([role]), services: None }
    }

    fn filter(query: &str, role: Role) -> Result<Option<InstanceFilter>, Kind> {
        Which::read(query).and_then(|which| which.filter(&caller(role))).map_err(|problem| problem.kind)
    }

    #[test]
    fn a_status_may_stand_several_times_and_with_commas() {
        use Status::{Completed, Faulted, Running};
        let check = |query: &str, expected: &[Status]| {
            assert_eq!(filter(query, Role::Viewer).unwrap().unwrap().status, expected, "{query}");
        };
        check("", &[]);
        check("status=", &[]);
        check("status=faulted", &[Faulted]);
        check("status=faulted,running", &[Faulted, Running]);
        check("status=faulted&limit=1&status=running,%20completed", &[Faulted, Running, Completed]);
        for bad in ["status=x", "status=Faulted", "status=faulted;running"] {
            assert_eq!(filter(bad, Role::Viewer), Err(Kind::InvalidParameter), "{bad}");
        }
    }

    #[test]
    fn whoever_sees_only_her_own_gets_only_her_own() {
        let owner = |query: &str, role| filter(query, role).unwrap().map(|filter| filter.created_by);
        let own = || Some(Some("token:a".to_owned()));
        assert_eq!(owner("", Role::Viewer), Some(None));
        assert_eq!(owner("createdBy=token:b", Role::Viewer), Some(Some("token:b".to_owned())));
        assert_eq!(owner("mine=true", Role::Viewer), own());
        assert_eq!(owner("mine=true&createdBy=token:b", Role::Viewer), None, "nobody is both");
        for query in ["", "mine=false", "createdBy=token:a", "mine=true"] {
            assert_eq!(owner(query, Role::Operator), own(), "{query}");
        }
        assert_eq!(owner("createdBy=token:b", Role::Operator), None);
        assert_eq!(filter("", Role::Operator).unwrap().unwrap().tenant, TenantName::parse("red").unwrap());
    }

    #[test]
    fn what_a_parameter_cannot_be_is_refused() {
        let long = format!("q={}", "x".repeat(256));
        for bad in ["sort=name", "createdAfter=yesterday", "tenant=default", "mine=yes", "limit=1&limit=2", &long] {
            assert_eq!(filter(bad, Role::Viewer), Err(Kind::InvalidParameter), "{bad}");
        }
        let good = filter("sort=createdAt&createdAfter=2026-01-01T00:00:00Z&q=a%20b", Role::Viewer).unwrap().unwrap();
        assert!(good.oldest_first && good.created_after.is_some() && good.search.as_deref() == Some("a b"));
        assert!(!filter("sort=-createdAt", Role::Viewer).unwrap().unwrap().oldest_first);
    }
}
