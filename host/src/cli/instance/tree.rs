//! `orchctl instance tree`: who started an instance, what it started, and its tasks with how long they took.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::resolve;
use crate::cli::Context;
use crate::cli::client::{Client, Page};
use crate::cli::error::Error;
use crate::cli::output::{cell, items, line};

/// Instances above one that are shown; the server allows no more inside each other.
const ABOVE_MAX: usize = 32;
/// Instances that are looked through for those that an instance started.
const LOOKED_THROUGH_MAX: usize = 5_000;
/// Characters of the sign before a task.
const INDENT: &str = "   ";

/// Shows an instance among its relatives.
pub(super) async fn show(context: &Context, id: &str) -> Result<(), Error> {
    let client = context.client()?;
    let id = resolve(&client, id).await?;
    let instance = client.get(&["instances", &id], &[]).await?;
    let above = above(&client, &instance).await?;
    let (family, whole) = family(&client, above.last().unwrap_or(&instance)).await?;
    let root = above.last().unwrap_or(&instance).clone();
    let tree = node(&client, root, &family, 0).await?;
    if !context.output.is_for_people() {
        return context.output.data(&tree);
    }
    let mut told = Vec::new();
    draw(&tree, "", "", &id, &mut told);
    line(&told.join("\n"))?;
    match whole {
        true => Ok(()),
        false => {
            context.output.hint(&format!("only the first {LOOKED_THROUGH_MAX} instances after it were looked through"))
        }
    }
}

/// Who started it, the nearest first.
async fn above(client: &Client, instance: &Json) -> Result<Vec<Json>, Error> {
    let mut found: Vec<Json> = Vec::new();
    while found.len() < ABOVE_MAX {
        let parent = found.last().unwrap_or(instance).pointer("/parent/instance").and_then(Json::as_str);
        let Some(parent) = parent.map(str::to_owned) else { break };
        match client.get(&["instances", &parent], &[]).await {
            Ok(parent) => found.push(parent),
            // It may have been deleted.
            Err(Error::Answered(problem)) if problem.status == 404 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Instances by the one that started them, and whether all were seen. What an instance started is younger than itself.
async fn family(client: &Client, root: &Json) -> Result<(BTreeMap<String, Vec<Json>>, bool), Error> {
    let (mut found, mut seen) = (BTreeMap::<String, Vec<Json>>::new(), 0);
    let mut cursor: Option<String> = None;
    let oldest = cell(root, &["/id"]);
    loop {
        let query: Vec<(&str, &str)> =
            [("limit", "200")].into_iter().chain(cursor.as_deref().map(|cursor| ("cursor", cursor))).collect();
        let page = client.get(&["instances"], &query).await?;
        for instance in items(&page) {
            seen += 1;
            if cell(instance, &["/id"]) <= oldest {
                return Ok((found, true));
            }
            if let Some(parent) = instance.pointer("/parent/instance").and_then(Json::as_str) {
                found.entry(parent.to_owned()).or_default().insert(0, instance.clone());
            }
        }
        cursor = page.get("next").and_then(Json::as_str).map(str::to_owned);
        if cursor.is_none() || seen >= LOOKED_THROUGH_MAX {
            return Ok((found, cursor.is_none()));
        }
    }
}

/// An instance with its tasks and what it started.
async fn node(
    client: &Client,
    instance: Json,
    family: &BTreeMap<String, Vec<Json>>,
    depth: usize,
) -> Result<Json, Error> {
    let id = cell(&instance, &["/id"]);
    let mut tasks = match client.all(&["instances", &id, "tasks"], &[], Page::WHOLE).await {
        Ok(tasks) => tasks,
        // What cannot be told of its tasks is no reason not to show the rest.
        Err(Error::Answered(problem)) if problem.status < 500 => json!({ "items": [] }),
        Err(error) => return Err(error),
    };
    super::dress_tasks(&mut tasks);
    let tasks: Vec<Json> = items(&tasks).iter().map(task).collect();
    let mut started = Vec::new();
    if depth < ABOVE_MAX {
        for child in family.get(&id).into_iter().flatten() {
            started.push(Box::pin(node(client, child.clone(), family, depth + 1)).await?);
        }
    }
    Ok(json!({
        "id": id, "name": instance["name"], "status": instance["status"], "duration": took(&instance, "createdAt"),
        "of": instance.get("service").filter(|service| !service.is_null()).unwrap_or(&instance["workflow"]),
        "byTask": instance.pointer("/parent/task"), "detached": instance.pointer("/parent/detached"),
        "tasks": tasks, "started": started,
    }))
}

fn task(task: &Json) -> Json {
    json!({
        "name": task["name"], "shown": task["shown"], "status": task["status"], "action": task.get("action"),
        "attempts": task["tries"], "duration": took(task, "startedAt"),
        "error": task.pointer("/error/detail").or(task.pointer("/error/title")),
    })
}

/// How long something took, from this member to `endedAt`; nothing while it goes on.
fn took(thing: &Json, from: &str) -> Json {
    let time = |key: &str| thing.get(key)?.as_str()?.parse::<jiff::Timestamp>().ok();
    match (time(from), time("endedAt")) {
        (Some(start), Some(end)) => json!(brief(end.duration_since(start).as_secs_f64())),
        _ => Json::Null,
    }
}

/// Seconds as people say them.
fn brief(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3_600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3_600, whole % 3_600 / 60),
    }
}

/// Writes a node's lines; `first` stands before its own, `rest` before those below it.
fn draw(node: &Json, first: &str, rest: &str, asked: &str, lines: &mut Vec<String>) {
    let id = cell(node, &["/id"]);
    let mut text = format!("{first}{} {} {}", cell(node, &["/of"]), cell(node, &["/status"]), id);
    for (member, before) in [("/name", " “"), ("/duration", " "), ("/byTask", " by ")] {
        let value = cell(node, &[member]);
        if value != "-" {
            text.push_str(&format!("{before}{value}{}", if member == "/name" { "”" } else { "" }));
        }
    }
    if node["detached"] == json!(true) {
        text.push_str(", on its own");
    }
    if id == asked && !first.is_empty() {
        text.push_str("  <");
    }
    lines.push(text);
    let started = node["started"].as_array().map_or(&[][..], Vec::as_slice);
    let bar = if started.is_empty() { INDENT } else { "│  " };
    for task in node["tasks"].as_array().into_iter().flatten() {
        lines.push(format!("{rest}{bar}{}", task_line(task)));
    }
    for (index, child) in started.iter().enumerate() {
        let last = index + 1 == started.len();
        let (own, below) = if last { ("└─ ", INDENT) } else { ("├─ ", "│  ") };
        draw(child, &format!("{rest}{own}"), &format!("{rest}{below}"), asked, lines);
    }
}

fn task_line(task: &Json) -> String {
    let sign = match cell(task, &["/status"]).as_str() {
        "completed" => "✓",
        "faulted" => "✗",
        "cancelled" => "-",
        _ => "·",
    };
    let more: Vec<String> = [("/duration", ""), ("/action", ""), ("/error", ": ")]
        .into_iter()
        .filter_map(|(member, before)| match cell(task, &[member]) {
            none if none == "-" => None,
            value => Some(format!("{before}{value}")),
        })
        .collect();
    let tries = task["attempts"].as_u64().filter(|tries| *tries > 1).map(|tries| format!(" ({tries} attempts)"));
    format!("{sign} {} {}{}", cell(task, &["/shown", "/name"]), more.join(" "), tries.unwrap_or_default())
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_drawn_with_its_tasks() {
        let child = json!({"id": "c", "of": "w", "status": "completed", "byTask": "/do/0/x", "detached": true,
            "tasks": [], "started": []});
        let tree = json!({"id": "p", "of": "service", "name": "n", "status": "running", "duration": null,
            "tasks": [{"shown": "  one [0]", "status": "faulted", "duration": "1.0s", "attempts": 2, "error": "no"}],
            "started": [child]});
        let mut lines = Vec::new();
        draw(&tree, "", "", "c", &mut lines);
        let expected = [
            "service running p “n”",
            "│  ✗   one [0] 1.0s : no (2 attempts)",
            "└─ w completed c by /do/0/x, on its own  <",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn durations_are_short() {
        let told: Vec<_> = [0.04, 9.96, 59.9, 61.0, 7_260.0].into_iter().map(brief).collect();
        assert_eq!(told, ["0.0s", "10.0s", "59s", "1m01s", "2h01m"]);
        let task = json!({"startedAt": "2026-01-01T00:00:00Z", "endedAt": "2026-01-01T00:00:01.5Z"});
        assert_eq!(took(&task, "startedAt"), json!("1.5s"));
        assert_eq!(took(&json!({"startedAt": "2026-01-01T00:00:00Z"}), "startedAt"), Json::Null);
    }
}
