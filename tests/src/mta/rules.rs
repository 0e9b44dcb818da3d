//! What each route of the hub does.

use serde_json::{Value, json};

use super::{Conduct, Hub, STATES};
use crate::stage::{Answer, Seen};

/// Issues on a page where no limit is asked for: all of them.
const NO_LIMIT: usize = usize::MAX;

pub(super) fn answer(hub: &mut Hub, seen: &Seen, parts: &[&str]) -> Answer {
    let id = |text: &str| text.parse::<u64>().unwrap_or_default();
    match (seen.method.as_str(), parts) {
        ("GET", ["applications"]) => list(&hub.applications),
        ("POST", ["applications"]) => create_application(hub, &seen.body),
        ("GET", ["applications", app]) => found(find(&hub.applications, id(app))),
        ("DELETE", ["applications", app]) => delete_application(hub, id(app)),
        ("GET", ["applications", app, "analysis"]) => analysis(hub, id(app)),
        ("GET", ["applications", app, "analysis", "issues"]) => issues(hub, id(app), seen),
        ("GET", ["taskgroups"]) => list(&hub.groups),
        ("POST", ["taskgroups"]) => create_group(hub, &seen.body),
        ("GET", ["taskgroups", group]) => read_group(hub, id(group)),
        ("PUT", ["taskgroups", group, "submit"]) => submit_group(hub, id(group), &seen.body),
        ("DELETE", ["taskgroups", group]) => delete_group(hub, id(group)),
        ("GET", ["tasks"]) => list(&hub.tasks),
        ("POST", ["tasks"]) => create_task(hub, &seen.body),
        ("GET", ["tasks", task]) => read_task(hub, id(task)),
        ("PUT", ["tasks", task, "submit"]) => submit_task(hub, id(task)),
        ("PUT", ["tasks", task, "cancel"]) => cancel_task(hub, id(task)),
        ("DELETE", ["tasks", task]) => delete_task(hub, id(task)),
        ("GET", ["trackers"]) => Answer::json(200, &hub.trackers),
        ("GET", ["trackers", _, "projects"]) => Answer::json(200, &hub.projects),
        ("GET", ["trackers", _, "projects", _, "issuetypes"]) => Answer::json(200, &hub.issue_types),
        ("GET", ["migrationwaves"]) => list(&hub.waves),
        ("POST", ["migrationwaves"]) => create_wave(hub, &seen.body),
        ("GET", ["tickets"]) => list(&hub.tickets),
        ("POST", ["tickets"]) => create_ticket(hub, &seen.body),
        ("GET", ["tickets", ticket]) => read_ticket(hub, id(ticket)),
        _ => Answer::status(404),
    }
}

fn list(all: &[Value]) -> Answer {
    Answer::json(200, &json!(all))
}

fn missing() -> Answer {
    Answer::json(404, &json!({ "error": "record not found" }))
}

fn refused(why: &str) -> Answer {
    Answer::json(400, &json!({ "error": why }))
}

fn found(thing: Option<&Value>) -> Answer {
    thing.map_or_else(missing, |thing| Answer::json(200, thing))
}

fn find(all: &[Value], id: u64) -> Option<&Value> {
    all.iter().find(|thing| thing["id"] == id)
}

fn required(member: &str) -> Answer {
    refused(&format!("Key: '{member}' Error:Field validation for '{member}' failed on the 'required' tag"))
}

fn create_application(hub: &mut Hub, body: &Value) -> Answer {
    let Some(name) = body["name"].as_str() else { return required("Application.Name") };
    if hub.applications.iter().any(|application| application["name"] == name) {
        return Answer::json(409, &json!({ "error": "UNIQUE constraint failed: Application.Name" }));
    }
    let mut made = body.clone();
    made["id"] = json!(hub.next_id());
    made["bucket"] = json!({ "id": hub.next_id() });
    made["createUser"] = json!("admin");
    hub.applications.push(made.clone());
    Answer::json(201, &made)
}

fn delete_application(hub: &mut Hub, id: u64) -> Answer {
    hub.applications.retain(|application| application["id"] != id);
    hub.analysed.retain(|analysed| *analysed != id);
    Answer::status(204)
}

fn check_addon(hub: &Hub, body: &Value) -> Option<Answer> {
    let addon = body["addon"].as_str().unwrap_or_default();
    let known = if hub.is_6_2 { "windup" } else { "analyzer" };
    (addon != known).then(|| refused(&format!("Addon: {addon} not found")))
}

fn create_group(hub: &mut Hub, body: &Value) -> Answer {
    if body["data"].is_null() {
        return required("TaskGroup.Data");
    }
    if !matches!(body["state"].as_str(), None | Some("" | "Created" | "Ready")) {
        return refused("state must be ('''|Created|Ready)");
    }
    if let Some(refusal) = check_addon(hub, body) {
        return refusal;
    }
    let mut made = body.clone();
    made["id"] = json!(hub.next_id());
    made["state"] = json!("Created");
    made["tasks"] = json!([]);
    hub.groups.push(made.clone());
    Answer::json(201, &made)
}

/// The hub replaces the whole group by what is submitted, and makes its members tasks.
fn submit_group(hub: &mut Hub, id: u64, body: &Value) -> Answer {
    if find(&hub.groups, id).is_none() {
        return missing();
    }
    if body["data"].is_null() {
        return required("TaskGroup.Data");
    }
    let members = body["tasks"].as_array().cloned().unwrap_or_default();
    if members.iter().any(|member| member["id"].as_u64().is_some_and(|id| id > 0)) {
        return refused("already submitted.");
    }
    for mut member in members {
        member["id"] = json!(hub.next_id());
        member["group"] = json!(id);
        begin(hub, &mut member);
        hub.tasks.push(member);
    }
    let mut group = body.clone();
    group["state"] = json!("Ready");
    group["tasks"] = json!([]);
    hub.groups.retain(|known| known["id"] != id);
    hub.groups.push(group);
    Answer::status(204)
}

fn begin(hub: &mut Hub, task: &mut Value) {
    hub.submitted += 1;
    task["state"] = json!(STATES[0]);
    task["activity"] = json!(["waiting for a node"]);
}

/// Takes a task one state further, as time does.
fn advance(hub: &mut Hub, id: u64) {
    let conduct = hub.conduct;
    let Some(task) = hub.tasks.iter_mut().find(|task| task["id"] == id) else { return };
    let state = task["state"].as_str().unwrap_or_default().to_owned();
    let next = match (conduct, STATES.iter().position(|known| *known == state)) {
        (Conduct::Stuck(stuck), Some(_)) => stuck,
        (_, Some(at)) if at + 1 < STATES.len() => STATES[at + 1],
        (Conduct::Works, Some(_)) => "Succeeded",
        (Conduct::Fails, Some(_)) => "Failed",
        (Conduct::Cancelled, Some(_)) => "Canceled",
        _ => return,
    };
    task["state"] = json!(next);
    task["pod"] = json!(format!("konveyor-tackle/task-{id}"));
    if next == "Failed" {
        task["errors"] = json!([{ "severity": "Error", "description": "Pod failed: git clone failed" }]);
    }
    if next == "Succeeded" {
        let application = task["application"]["id"].as_u64().unwrap_or_default();
        hub.analysed.push(application);
    }
}

fn read_group(hub: &mut Hub, id: u64) -> Answer {
    let Some(group) = find(&hub.groups, id) else { return missing() };
    let mut group = group.clone();
    let mine = |task: &&Value| task["group"] == id;
    let tasks: Vec<Value> = hub.tasks.iter().filter(mine).cloned().collect();
    for task in &tasks {
        advance(hub, task["id"].as_u64().unwrap_or_default());
    }
    group["tasks"] = json!(tasks);
    if group["deleted"].is_u64() {
        linger(&mut hub.groups, id);
    }
    Answer::json(200, &group)
}

/// A deleted thing is gone after some more looks.
fn linger(all: &mut Vec<Value>, id: u64) {
    for thing in all.iter_mut().filter(|thing| thing["id"] == id) {
        let left = thing["deleted"].as_u64().unwrap_or_default();
        thing["deleted"] = json!(left.saturating_sub(1));
    }
    all.retain(|thing| thing["deleted"] != 0);
}

fn delete_group(hub: &mut Hub, id: u64) -> Answer {
    hub.tasks.retain(|task| task["group"] != id);
    match hub.lingers {
        0 => hub.groups.retain(|group| group["id"] != id),
        looks => {
            for group in hub.groups.iter_mut().filter(|group| group["id"] == id && group["deleted"].is_null()) {
                group["deleted"] = json!(looks);
            }
        }
    }
    Answer::status(204)
}

fn create_task(hub: &mut Hub, body: &Value) -> Answer {
    if let Some(refusal) = check_addon(hub, body) {
        return refusal;
    }
    let mut made = body.clone();
    made["id"] = json!(hub.next_id());
    made["state"] = json!("Created");
    hub.tasks.push(made.clone());
    Answer::json(201, &made)
}

fn read_task(hub: &mut Hub, id: u64) -> Answer {
    let Some(task) = find(&hub.tasks, id).cloned() else { return missing() };
    advance(hub, id);
    Answer::json(200, &task)
}

fn submit_task(hub: &mut Hub, id: u64) -> Answer {
    let Some(at) = hub.tasks.iter().position(|task| task["id"] == id) else { return missing() };
    if hub.tasks[at]["state"] == "Created" {
        let mut task = hub.tasks.remove(at);
        begin(hub, &mut task);
        hub.tasks.push(task);
    }
    Answer::status(204)
}

fn cancel_task(hub: &mut Hub, id: u64) -> Answer {
    let Some(task) = hub.tasks.iter_mut().find(|task| task["id"] == id) else { return missing() };
    if !matches!(task["state"].as_str(), Some("Succeeded" | "Failed" | "Canceled")) {
        task["state"] = json!("Canceled");
    }
    Answer::status(202)
}

fn delete_task(hub: &mut Hub, id: u64) -> Answer {
    hub.tasks.retain(|task| task["id"] != id);
    Answer::status(204)
}

/// The whole analysis as one document. It says `octet-stream` although it is JSON, as the hub does.
fn analysis(hub: &Hub, application: u64) -> Answer {
    if hub.is_6_2 || !hub.analysed.contains(&application) {
        return missing();
    }
    let document = json!({ "id": 1, "effort": 0, "issues": hub.issues, "dependencies": [] });
    Answer { media_type: "application/octet-stream", ..Answer::json(200, &document) }
}

fn issues(hub: &Hub, application: u64, seen: &Seen) -> Answer {
    if hub.is_6_2 || !hub.has_pages {
        return Answer::status(404);
    }
    if !hub.analysed.contains(&application) {
        return missing();
    }
    let number = |name: &str, otherwise| seen.query(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let page: Vec<_> = hub.issues.iter().skip(number("offset", 0)).take(number("limit", NO_LIMIT)).collect();
    Answer::json(200, &json!(page))
}

fn create_wave(hub: &mut Hub, body: &Value) -> Answer {
    if hub.waves.iter().any(|wave| wave["name"] == body["name"]) {
        return Answer::json(409, &json!({ "error": "UNIQUE constraint failed: MigrationWave.Name" }));
    }
    let mut made = body.clone();
    made["id"] = json!(hub.next_id());
    hub.waves.push(made.clone());
    Answer::json(201, &made)
}

fn create_ticket(hub: &mut Hub, body: &Value) -> Answer {
    for member in ["kind", "parent", "application", "tracker"] {
        if body[member].is_null() {
            return required(&format!("Ticket.{member}"));
        }
    }
    let mut made = body.clone();
    made["id"] = json!(hub.next_id());
    for member in ["link", "reference", "status", "message"] {
        made[member] = json!("");
    }
    made["error"] = json!(false);
    hub.tickets.push(made.clone());
    Answer::json(201, &made)
}

/// The hub makes the ticket in the tracker between two looks.
fn read_ticket(hub: &mut Hub, id: u64) -> Answer {
    let refuses = hub.refuses_tickets;
    let Some(ticket) = hub.tickets.iter_mut().find(|ticket| ticket["id"] == id) else { return missing() };
    let before = ticket.clone();
    if refuses {
        ticket["error"] = json!(true);
        ticket["message"] = json!("issue type is required");
    } else {
        ticket["reference"] = json!("SHOP-1");
        ticket["link"] = json!("https://jira.example/browse/SHOP-1");
        ticket["status"] = json!("New");
    }
    Answer::json(200, &before)
}
