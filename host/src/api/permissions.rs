//! What each operation needs: one table, one row an operation. An operation without a row is for server admins alone, and a
//! test refuses it.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::Method;

use crate::model::Permission::{self, Approve, ManagePacks, ManageServer, ManageTenant, Order, Read};

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is for everybody, or its handler has a proof of its own.
    Public,
    /// Nothing; who proves to be somebody is known to the handler.
    Optional,
    /// That it is known who asks.
    Known,
    /// A permission.
    May(Permission),
    /// A permission, and that she sees the instance in the path.
    Sees(Permission),
    /// That she sees the service in the path.
    SeesService,
    /// That she steers the instance in the path.
    Steers,
    /// That she decides for the instance in the path: as an approver who sees it, or because she steers it.
    Decides,
}

use Need::{Decides, Known, May, Optional, Public, Sees, SeesService, Steers};

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its method.
    pub method: &'static str,
    /// Its path, as the route has it.
    pub path: &'static str,
    /// Its name in the interface's document; what the audit log calls it.
    pub operation: &'static str,
    /// What it needs.
    pub need: Need,
}

const fn rule(method: &'static str, path: &'static str, operation: &'static str, need: Need) -> Rule {
    Rule { method, path, operation, need }
}

/// The table.
pub const RULES: &[Rule] = &[
    rule("GET", "/v1/packs", "list_packs", May(Read)),
    rule("POST", "/v1/packs", "install_pack", May(ManagePacks)),
    rule("GET", "/v1/packs/{name}", "get_pack", May(Read)),
    rule("GET", "/v1/packs/{name}/{version}", "get_pack_version", May(Read)),
    rule("DELETE", "/v1/packs/{name}/{version}", "remove_pack", May(ManagePacks)),
    rule("GET", "/v1/packs/{name}/grants", "get_grants", May(ManageTenant)),
    rule("PUT", "/v1/packs/{name}/grants", "put_grants", May(ManageTenant)),
    rule("GET", "/v1/services", "list_services", May(Read)),
    rule("POST", "/v1/services", "create_service", May(ManageTenant)),
    rule("GET", "/v1/services/{name}", "get_service", SeesService),
    rule("PUT", "/v1/services/{name}", "put_service", May(ManageTenant)),
    rule("PATCH", "/v1/services/{name}", "patch_service", May(ManageTenant)),
    rule("DELETE", "/v1/services/{name}", "delete_service", May(ManageTenant)),
    rule("GET", "/v1/workflows", "list_workflows", May(Read)),
    rule("GET", "/v1/workflows/{pack}/{workflow}", "get_workflow", May(Read)),
    rule("GET", "/v1/workflows/{pack}/{workflow}/diagram", "draw_workflow", May(Read)),
    rule("GET", "/v1/schemas/workflow.json", "get_workflow_schema", Public),
    rule("GET", "/v1/instances", "list_instances", May(Read)),
    rule("POST", "/v1/instances", "start_instance", May(Order)),
    rule("GET", "/v1/instances/{id}", "get_instance", Sees(Read)),
    rule("DELETE", "/v1/instances/{id}", "delete_instance", Steers),
    rule("POST", "/v1/instances/{id}/cancel", "cancel_instance", Steers),
    rule("POST", "/v1/instances/{id}/suspend", "suspend_instance", Steers),
    rule("POST", "/v1/instances/{id}/resume", "resume_instance", Decides),
    rule("POST", "/v1/instances/{id}/retry", "retry_instance", Steers),
    rule("POST", "/v1/instances/{id}/rerun", "rerun_instance", Sees(Order)),
    rule("GET", "/v1/instances/{id}/prefill", "prefill_instance", Sees(Read)),
    rule("GET", "/v1/instances/{id}/follow-ups", "list_follow_ups", Sees(Read)),
    rule("POST", "/v1/instances/{id}/follow-ups/{workflow}", "order_follow_up", Decides),
    rule("GET", "/v1/instances/{id}/diagram", "draw_instance", Sees(Read)),
    rule("GET", "/v1/instances/{id}/tasks", "list_tasks", Sees(Read)),
    rule("GET", "/v1/instances/{id}/history", "list_history", Sees(Read)),
    rule("GET", "/v1/instances/{id}/logs", "list_logs", Sees(Read)),
    rule("GET", "/v1/instances/{id}/events", "follow_instance", Sees(Read)),
    rule("GET", "/v1/schedules", "list_schedules", May(Read)),
    rule("POST", "/v1/schedules", "create_schedule", May(ManageTenant)),
    rule("GET", "/v1/schedules/{name}", "get_schedule", May(Read)),
    rule("PUT", "/v1/schedules/{name}", "put_schedule", May(ManageTenant)),
    rule("PATCH", "/v1/schedules/{name}", "patch_schedule", May(ManageTenant)),
    rule("DELETE", "/v1/schedules/{name}", "delete_schedule", May(ManageTenant)),
    rule("POST", "/v1/schedules/{name}/run", "run_schedule", May(ManageTenant)),
    rule("GET", "/v1/events", "follow_all", May(Read)),
    rule("POST", "/v1/events", "post_events", May(Approve)),
    rule("POST", "/v1/webhooks/jira", "hear_jira", Public),
    rule("GET", "/v1/connections", "list_connections", May(ManageTenant)),
    rule("GET", "/v1/connections/{name}", "get_connection", May(ManageTenant)),
    rule("PUT", "/v1/connections/{name}", "put_connection", May(ManageTenant)),
    rule("DELETE", "/v1/connections/{name}", "delete_connection", May(ManageTenant)),
    rule("GET", "/v1/secrets", "list_secrets", May(ManageTenant)),
    rule("GET", "/v1/secrets/{name}", "get_secret", May(ManageTenant)),
    rule("PUT", "/v1/secrets/{name}", "put_secret", May(ManageTenant)),
    rule("DELETE", "/v1/secrets/{name}", "delete_secret", May(ManageTenant)),
    rule("GET", "/v1/notifications", "list_notifications", May(Read)),
    rule("POST", "/v1/notifications", "post_notification", May(Order)),
    rule("GET", "/v1/notifications/status", "count_notifications", May(Read)),
    rule("GET", "/v1/notifications/events", "follow_notifications", May(Read)),
    rule("POST", "/v1/notifications/mark", "mark_notifications", May(Read)),
    rule("GET", "/v1/notifications/{id}", "get_notification", May(Read)),
    rule("DELETE", "/v1/notifications/{id}", "delete_notification", May(ManageTenant)),
    rule("POST", "/api/notifications", "post_notification_short", May(Order)),
    rule("POST", "/api/notifications/notifications", "post_notification_long", May(Order)),
    rule("GET", "/v1/tokens", "list_tokens", May(ManageTenant)),
    rule("POST", "/v1/tokens", "create_token", May(ManageTenant)),
    rule("GET", "/v1/tokens/{name}", "get_token", May(ManageTenant)),
    rule("DELETE", "/v1/tokens/{name}", "revoke_token", May(ManageTenant)),
    rule("GET", "/v1/tenants", "list_tenants", Known),
    rule("GET", "/v1/tenants/{name}", "get_tenant", Known),
    rule("PUT", "/v1/tenants/{name}", "put_tenant", May(ManageServer)),
    rule("DELETE", "/v1/tenants/{name}", "delete_tenant", May(ManageServer)),
    rule("GET", "/v1/whoami", "whoami", Known),
    rule("GET", "/v1/audit", "list_audit", May(ManageTenant)),
    rule("GET", "/v1/audit/export", "export_audit", May(ManageTenant)),
    rule("GET", "/v1/audit/verify", "verify_audit", May(ManageTenant)),
    rule("GET", "/v1/health", "get_health", Public),
    rule("GET", "/livez", "get_livez", Public),
    rule("GET", "/readyz", "get_readyz", Public),
    rule("GET", "/metrics", "get_metrics", Optional),
    rule("GET", "/v1/version", "get_version", Public),
    rule("GET", "/problems/{name}", "get_problem", Public),
    rule("GET", "/v1/openapi.json", "get_openapi", Public),
    rule("GET", "/docs", "get_docs", Public),
    rule("GET", "/", "soda_list_versions", Public),
    rule("GET", "/v1beta", "soda_get_version", Public),
];

type Table = HashMap<&'static str, Vec<Rule>>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::new();
    RULES.iter().for_each(|rule| table.entry(rule.path).or_default().push(*rule));
    table
});

/// What the table says about a route and a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// This.
    Rule(Rule),
    /// The route does not take the method, which its handler says.
    NoMethod,
    /// Nothing.
    Nothing,
}

/// The rule of a route; `HEAD` is answered as `GET` is.
pub fn find(method: &Method, path: &str) -> Found {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
    if let Some(rule) = of_soda(method, path) {
        return Found::Rule(rule);
    }
    match TABLE.get(path) {
        None => Found::Nothing,
        Some(rules) => {
            rules.iter().find(|rule| rule.method == method).map_or(Found::NoMethod, |rule| Found::Rule(*rule))
        }
    }
}

/// The interface of SODA's orchestration manager: what a request needs follows from its method and the kind of thing.
fn of_soda(method: &str, path: &str) -> Option<Rule> {
    const INSIDE: &str = "/orchestration/";
    let (_, rest) = path.strip_prefix("/v1beta")?.split_once(INSIDE)?;
    let mut parts = rest.split('/');
    let (kind, item, verb) = (parts.next()?, parts.next(), parts.next());
    let operation = match (method, kind) {
        ("GET", "services") => ("soda_read_services", May(Read)), // Its handler sees to single ones.
        (_, "services") => ("soda_change_service", May(ManageTenant)),
        ("GET", "workflows") => ("soda_read_workflows", May(Read)),
        ("GET", "tasks") => ("soda_read_tasks", if item.is_some() { Sees(Read) } else { May(Read) }),
        ("GET", "instances") if item.is_none_or(|item| !item.starts_with('{')) => ("soda_list_instances", May(Read)),
        ("GET", "instances") => ("soda_read_instance", Sees(Read)),
        ("POST", "instances") if item.is_none() => ("soda_run_instance", May(Order)),
        ("POST", "instances") if verb == Some("rerun") => ("soda_rerun_instance", Sees(Order)),
        ("POST" | "PUT" | "DELETE", "instances") if item.is_some() => ("soda_change_instance", Steers),
        _ => return None,
    };
    Some(Rule { method: "", path: "", operation: operation.0, need: operation.1 })
}

impl Need {
    /// What must at least be permitted, whatever the request is about; nothing where all are let in.
    pub fn permissions(self) -> &'static [Permission] {
        const fn one(permission: Permission) -> &'static [Permission] {
            match permission {
                Read => &[Read],
                Order => &[Order],
                Approve => &[Approve],
                ManagePacks => &[ManagePacks],
                ManageTenant => &[ManageTenant],
                ManageServer => &[ManageServer],
            }
        }
        match self {
            Public | Optional | Known => &[],
            May(permission) | Sees(permission) => one(permission),
            SeesService => &[Read],
            Steers => &[Order],
            Decides => &[Approve, Order],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_and_method_stands_in_the_table_once() {
        let mut seen = std::collections::BTreeSet::new();
        for rule in RULES {
            assert!(seen.insert((rule.method, rule.path)), "{rule:?}");
        }
    }

    #[test]
    fn a_rule_is_found_by_method_and_route() {
        let need = |method: &str, path: &str| match find(&method.parse().unwrap(), path) {
            Found::Rule(rule) => Some(rule.need),
            Found::NoMethod | Found::Nothing => None,
        };
        assert_eq!(need("GET", "/v1/instances/{id}"), Some(Sees(Read)));
        assert_eq!(need("HEAD", "/v1/instances/{id}"), Some(Sees(Read)));
        assert_eq!(find(&Method::PATCH, "/v1/packs"), Found::NoMethod);
        assert_eq!(find(&Method::GET, "/v1/nothing"), Found::Nothing);
        assert_eq!(need("GET", "/"), Some(Public));
        assert_eq!(need("GET", "/v1beta/{tenant}/orchestration/services"), Some(May(Read)));
        assert_eq!(need("DELETE", "/v1beta/{tenant}/orchestration/services/{id}"), Some(May(ManageTenant)));
        assert_eq!(need("GET", "/v1beta/orchestration/instances/service/{id}"), Some(May(Read)));
        assert_eq!(need("GET", "/v1beta/{tenant}/orchestration/instances/{id}"), Some(Sees(Read)));
        assert_eq!(need("PUT", "/v1beta/{tenant}/orchestration/instances/{id}/"), Some(Steers));
        assert_eq!(need("POST", "/v1beta/{tenant}/orchestration/instances"), Some(May(Order)));
        assert_eq!(need("GET", "/v1beta/{tenant}/orchestration/tasks/{id}"), Some(Sees(Read)));
        assert_eq!(need("PATCH", "/v1beta/{tenant}/orchestration/workflows"), None);
    }
}
