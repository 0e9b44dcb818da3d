//! Everything that the REST API can do has a command: each operation of the OpenAPI document stands in this table with
//! the words that call it, or among those that need none, with the reason.

use std::collections::BTreeSet;

use clap::CommandFactory;

use super::Arguments;

const DOCUMENT: &str = include_str!("../../api/snapshots/openapi.json");

/// An operation, and the command that calls it.
const COMMANDS: &[(&str, &str)] = &[
    ("list_audit", "audit list"),
    ("export_audit", "audit export"),
    ("verify_audit", "audit verify"),
    ("list_connections", "connection list"),
    ("get_connection", "connection show"),
    ("put_connection", "connection set"),
    ("delete_connection", "connection delete"),
    ("follow_all", "event follow"),
    ("post_events", "event send"),
    ("get_health", "health"),
    ("get_problem", "explain"),
    ("get_version", "version"),
    ("list_instances", "instance list"),
    ("start_instance", "run"),
    ("get_instance", "instance get"),
    ("delete_instance", "instance delete"),
    ("cancel_instance", "instance cancel"),
    ("draw_instance", "instance diagram"),
    ("follow_instance", "instance events"),
    ("list_follow_ups", "instance follow-ups"),
    ("order_follow_up", "instance follow-up"),
    ("list_history", "instance history"),
    ("list_logs", "instance logs"),
    ("prefill_instance", "instance prefill"),
    ("rerun_instance", "instance rerun"),
    ("resume_instance", "instance resume"),
    ("retry_instance", "instance retry"),
    ("suspend_instance", "instance suspend"),
    ("list_tasks", "instance tasks"),
    ("list_notifications", "notification list"),
    ("post_notification", "notification send"),
    ("follow_notifications", "notification watch"),
    ("mark_notifications", "notification read"),
    ("count_notifications", "notification status"),
    ("get_notification", "notification show"),
    ("delete_notification", "notification delete"),
    ("list_packs", "pack list"),
    ("install_pack", "pack install"),
    ("get_pack", "pack show"),
    ("get_pack_version", "pack show"),
    ("remove_pack", "pack remove"),
    ("get_grants", "pack grant"),
    ("put_grants", "pack grant"),
    ("list_schedules", "schedule list"),
    ("create_schedule", "schedule add"),
    ("get_schedule", "schedule show"),
    ("put_schedule", "schedule set"),
    ("delete_schedule", "schedule delete"),
    ("patch_schedule", "schedule update"),
    ("run_schedule", "schedule run"),
    ("get_workflow_schema", "workflow schema"),
    ("list_secrets", "secret list"),
    ("get_secret", "secret show"),
    ("put_secret", "secret set"),
    ("delete_secret", "secret delete"),
    ("list_services", "service list"),
    ("create_service", "service add"),
    ("get_service", "service show"),
    ("put_service", "service set"),
    ("delete_service", "service delete"),
    ("patch_service", "service update"),
    ("list_tenants", "tenant list"),
    ("get_tenant", "tenant show"),
    ("put_tenant", "tenant set"),
    ("delete_tenant", "tenant delete"),
    ("list_tokens", "token list"),
    ("create_token", "token create"),
    ("get_token", "token show"),
    ("revoke_token", "token revoke"),
    ("whoami", "whoami"),
    ("list_workflows", "workflow list"),
    ("get_workflow", "workflow show"),
    ("draw_workflow", "workflow diagram"),
    ("soda_list_services", "service list"),
    ("soda_get_service", "service get"),
    ("soda_add_service", "service add"),
    ("soda_list_instances", "instance list"),
    ("soda_get_instance", "instance get"),
    ("soda_run_instance", "instance run"),
    ("soda_delete_instance", "instance delete"),
    ("soda_list_workflows", "workflow get"),
    ("soda_get_task", "task get"),
];

/// An operation without a command of its own, and why it needs none; `orchctl api` sends these too.
const NONE: &[(&str, &str)] = &[
    ("get_docs", "a page for browsers"),
    ("get_openapi", "for programs that make clients of it"),
    ("get_livez", "for whatever keeps the server running; `health` tells people"),
    ("get_readyz", "for whatever keeps the server running; `health` tells people"),
    ("get_metrics", "for Prometheus"),
    ("hear_jira", "for Jira"),
    ("post_notification_short", "a path of Backstage's for `notification send`"),
    ("post_notification_long", "a path of Backstage's for `notification send`"),
    ("soda_list_versions", "SODA's command line never asks; `version` tells people"),
    ("soda_get_version", "SODA's command line never asks; `version` tells people"),
    ("soda_list_all_workflows", "SODA's other path for `workflow get`"),
    ("soda_list_instances_of_service", "SODA's path for `instance list --service`"),
    ("soda_get_workflow", "SODA's path for `workflow show`"),
    ("soda_list_tasks", "SODA's path for `task list`"),
    ("soda_put_service", "SODA's path for `service set`"),
    ("soda_delete_service", "SODA's path for `service delete`"),
    ("soda_put_instance", "SODA's path for the verbs below"),
    ("soda_cancel_instance", "SODA's path for `instance cancel`"),
    ("soda_pause_instance", "SODA's path for `instance suspend`"),
    ("soda_resume_instance", "SODA's path for `instance resume`"),
    ("soda_rerun_instance", "SODA's path for `instance rerun`"),
    ("soda_retry_instance", "SODA's path for `instance retry`"),
];

/// The operations of the document, and those of this table.
fn operations() -> (BTreeSet<String>, BTreeSet<String>) {
    let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
    let routes = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let documented = routes.filter_map(|operation| operation.get("operationId")?.as_str()).map(str::to_owned).collect();
    let told = COMMANDS.iter().chain(NONE).map(|(operation, _)| (*operation).to_owned()).collect();
    (documented, told)
}

#[test]
fn every_operation_has_a_command_or_needs_none() {
    let (documented, told) = operations();
    let missing: Vec<_> = documented.difference(&told).collect();
    assert!(missing.is_empty(), "make a command for these operations, or tell why they need none: {missing:?}");
    let gone: Vec<_> = told.difference(&documented).collect();
    assert!(gone.is_empty(), "the API has no such operations any more: {gone:?}");
    assert_eq!(told.len(), COMMANDS.len() + NONE.len(), "an operation stands here twice");
}

#[test]
fn every_command_of_the_table_exists() {
    let root = Arguments::command();
    for (operation, words) in COMMANDS {
        let found = words.split(' ').try_fold(&root, |command, word| command.find_subcommand(word));
        assert!(found.is_some(), "{operation}: there is no `orchctl {words}`");
    }
    for (operation, reason) in NONE {
        for words in reason.split('`').skip(1).step_by(2).filter(|words| !words.contains("--")) {
            let found = words.split(' ').try_fold(&root, |command, word| command.find_subcommand(word));
            assert!(found.is_some(), "{operation}: there is no `orchctl {words}`");
        }
    }
}
