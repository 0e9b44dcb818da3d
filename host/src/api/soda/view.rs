//! How our things look at SODA: an instance with its three statuses and the true state beside it, a task, times as its
//! clients parse them. Members that SODA does not know are added, none is left out.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Map, Value, json};

use super::form::Names;
use crate::coordinator::view::{InstanceSummary, Status, TaskView};
use crate::model::{ErrorObject, Json};
use crate::note::InstanceNote;

/// Characters of a text made of an output without a message of its own, at most.
const OUTPUT_CHARACTERS_MAX: usize = 4096;

/// An instance with what belongs to it at SODA.
pub struct Shown<'a> {
    /// The instance.
    pub summary: &'a InstanceSummary,
    /// What SODA's clients keep with it.
    pub note: &'a InstanceNote,
    /// The tenant as the path names it.
    pub tenant_id: &'a str,
    /// The service's identifier, while there is one.
    pub service_id: Option<String>,
    /// What SODA's clients call the workflow.
    pub action: &'a str,
    /// What they call its parameters.
    pub names: Names<'a>,
}

impl Shown<'_> {
    /// The instance as it is listed and read.
    pub fn to_json(&self) -> Json {
        let summary = self.summary;
        let updated_at = summary.updated_at.max(self.note.updated_at.unwrap_or(summary.updated_at));
        let owner = || summary.created_by.clone().unwrap_or_default();
        json!({
            "id": summary.id,
            "name": self.name(),
            "description": self.note.description.as_deref().unwrap_or_default(),
            "tenant_id": self.tenant_id,
            "user_id": self.note.user_id.clone().unwrap_or_else(owner),
            "service_id": self.service_id,
            "service_definition_id": self.service_id,
            "workflow_id": summary.id,
            "workflow_source": self.action,
            "action": self.action,
            "status": status(summary.status),
            "state": summary.status,
            "input": self.names.told(&summary.input),
            "output": output(summary),
            "result": summary.output,
            "error": reason(summary),
            "waiting_for": summary.waiting_for,
            "created_at": date(summary.created_at),
            "updated_at": date(updated_at),
        })
    }

    fn name(&self) -> &str {
        let given = self.note.name.as_deref().or(self.summary.name.as_deref());
        given.unwrap_or_else(|| self.summary.workflow.as_str())
    }
}

/// The word that SODA has for a status.
pub fn status(status: Status) -> &'static str {
    match status {
        Status::Pending | Status::Running | Status::Waiting | Status::Suspended => "Running",
        Status::Completed => "Success",
        Status::Faulted | Status::Cancelled => "Failed",
    }
}

/// The word that StackStorm has for a status.
fn execution_status(status: Status) -> &'static str {
    match status {
        Status::Pending => "requested",
        Status::Running | Status::Waiting => "running",
        Status::Suspended => "paused",
        Status::Completed => "succeeded",
        Status::Faulted => "failed",
        Status::Cancelled => "canceled",
    }
}

/// A time as SODA writes it, `Sat, 21 Nov 2026 06:29:23 GMT`.
pub fn date(at: Timestamp) -> String {
    // Fails for years that no instance is made in.
    DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_else(|_| at.to_string())
}

fn reason(summary: &InstanceSummary) -> Option<Json> {
    match (summary.status, &summary.error) {
        (Status::Cancelled, _) => Some(json!({ "title": "cancelled", "detail": "the instance was cancelled" })),
        (_, error) => error.as_ref().map(ErrorObject::to_json),
    }
}

/// What an instance has to say, as text: its message and one line for each thing that came of it, or why it failed.
fn output(summary: &InstanceSummary) -> String {
    match (summary.status, &summary.output, &summary.error) {
        (Status::Completed, Some(output), _) => told(output),
        (Status::Cancelled, ..) => "cancelled".to_owned(),
        (_, _, Some(error)) => sentence(error),
        _ => summary.waiting_for.clone().unwrap_or_default(),
    }
}

/// An output for people, where it has one; else the data.
fn told(output: &Json) -> String {
    let result = output.get("result").unwrap_or(output);
    let Some(message) = result.get("message").and_then(Json::as_str) else { return data(output) };
    let outputs = result.get("outputs").and_then(Json::as_array).into_iter().flatten();
    let line = |entry: &Json| Some(format!("{}: {}", entry.get("key")?.as_str()?, plain(entry.get("value")?)));
    let lines = std::iter::once(message.to_owned()).chain(outputs.filter_map(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn data(output: &Json) -> String {
    if output.is_null() {
        return String::new();
    }
    plain(output).chars().take(OUTPUT_CHARACTERS_MAX).collect()
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn sentence(error: &ErrorObject) -> String {
    match (&error.title, &error.detail) {
        (Some(title), Some(detail)) => format!("{title}: {detail}"),
        (Some(text), None) | (None, Some(text)) => text.clone(),
        (None, None) => error.kind.clone(),
    }
}

/// One task, as SODA's interface description has it, with more beside it.
pub fn task(view: &TaskView) -> Json {
    let output = match (&view.output, &view.error) {
        (_, Some(error)) => sentence(error),
        (Some(output), None) => told(output),
        (None, None) => String::new(),
    };
    json!({
        "id": view.id.to_string(),
        "name": view.name,
        "description": view.action.as_deref().unwrap_or(&view.reference),
        "input": view.input,
        "output": output,
        "result": view.output,
        "status": status(view.status),
        "state": view.status,
        "error": view.error,
        "attempts": view.attempts.len(),
        "progress": view.progress,
        "start": view.started_at,
        "end": view.ended_at,
        "created_at": date(view.started_at),
        "updated_at": date(view.ended_at.unwrap_or(view.started_at)),
    })
}

/// An execution: the instance with its tasks and everything that they gave, in one map.
pub fn execution(summary: &InstanceSummary, tasks: &[TaskView]) -> Json {
    let mut published = Map::new();
    for output in tasks.iter().filter_map(|task| task.output.as_ref()) {
        if let Json::Object(members) = output {
            published.extend(members.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    let mut execution = Map::new();
    let mut put = |name: &str, value: Value| execution.insert(name.to_owned(), value);
    put("id", json!(summary.id));
    put("start", json!(summary.created_at));
    if let Some(end) = summary.ended_at {
        put("end", json!(end));
    }
    put("status", json!(execution_status(summary.status)));
    put("state", json!(summary.status));
    put("published", Json::Object(published));
    put("error", json!(reason(summary)));
    put("tasks", tasks.iter().map(task).collect());
    Json::Object(execution)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InstanceId, PackName, TenantName, WorkflowName, standard};

    fn summary(status: Status) -> InstanceSummary {
        let at = Timestamp::from_second(1_795_242_563).unwrap();
        InstanceSummary {
            id: InstanceId(uuid::Uuid::nil()),
            name: Some("first".to_owned()),
            pack: PackName::parse("storage").unwrap(),
            pack_version: semver::Version::new(1, 0, 0),
            workflow: WorkflowName::parse("provision-volume").unwrap(),
            service: None,
            parent: None,
            tenant: TenantName::standard(),
            created_by: Some("token:a".to_owned()),
            rerun_of: None,
            status,
            cancelling: false,
            created_at: at,
            updated_at: at,
            ended_at: None,
            input: json!({}),
            output: None,
            error: None,
            waiting_for: None,
        }
    }

    fn shown(summary: &InstanceSummary, note: &InstanceNote) -> Json {
        let (tenant_id, action, names) = ("94b2", "opensds.provision-volume", Names::default());
        Shown { summary, note, tenant_id, service_id: None, action, names }.to_json()
    }

    #[test]
    fn every_state_is_one_of_three_words_with_the_true_one_beside_it() {
        let check = |state: Status, word: &str, of_execution: &str| {
            let shown = shown(&summary(state), &InstanceNote::default());
            assert_eq!((&shown["status"], &shown["state"]), (&json!(word), &json!(state)));
            assert_eq!(execution(&summary(state), &[])["status"], of_execution);
        };
        check(Status::Pending, "Running", "requested");
        check(Status::Running, "Running", "running");
        check(Status::Waiting, "Running", "running");
        check(Status::Suspended, "Running", "paused");
        check(Status::Completed, "Success", "succeeded");
        check(Status::Faulted, "Failed", "failed");
        check(Status::Cancelled, "Failed", "canceled");
    }

    #[test]
    fn an_output_is_its_message_and_a_line_for_each_thing() {
        let outputs = json!([{ "key": "volume", "value": "v-1", "format": "text" }, { "key": "GB", "value": 10 }, {}]);
        let result = json!({ "message": "The volume is ready.", "outputs": outputs });
        let text = |output: Json| output_of(Some(output));
        assert_eq!(text(json!({ "result": result, "x": 1 })), "The volume is ready.\nvolume: v-1\nGB: 10");
        assert_eq!(text(json!({ "x": 1 })), "{\"x\":1}");
        assert_eq!(text(json!("done")), "done");
        assert_eq!(text(Json::Null), "");
    }

    fn output_of(output: Option<Json>) -> String {
        super::output(&InstanceSummary { output, ..summary(Status::Completed) })
    }

    #[test]
    fn a_failure_says_why() {
        let error = Some(standard::error(standard::TIMEOUT, "timeout", "the volume stays in `creating`"));
        let shown = shown(&InstanceSummary { error, ..summary(Status::Faulted) }, &InstanceNote::default());
        assert_eq!(shown["output"], "timeout: the volume stays in `creating`");
        assert_eq!((&shown["error"]["status"], &shown["result"]), (&json!(408), &Json::Null));
        assert_eq!(super::reason(&summary(Status::Cancelled)).unwrap()["title"], "cancelled");
    }

    #[test]
    fn a_note_goes_before_and_times_are_as_its_clients_parse_them() {
        let plain = shown(&summary(Status::Running), &InstanceNote::default());
        assert_eq!((&plain["name"], &plain["user_id"]), (&json!("first"), &json!("token:a")));
        assert_eq!(plain["created_at"], "Sat, 21 Nov 2026 06:29:23 GMT");
        let later = Timestamp::from_second(1_795_242_600).unwrap();
        let note = InstanceNote {
            name: Some("second".to_owned()),
            description: Some("for tests".to_owned()),
            user_id: Some("ann".to_owned()),
            updated_at: Some(later),
            ..InstanceNote::default()
        };
        let noted = shown(&summary(Status::Running), &note);
        let told =
            ["name", "description", "user_id", "updated_at"].map(|name| noted[name].as_str().unwrap().to_owned());
        assert_eq!(told, ["second", "for tests", "ann", "Sat, 21 Nov 2026 06:30:00 GMT"]);
    }
}
