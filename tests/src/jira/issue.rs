//! An issue with its status, comments and links, and how each is shown.

use std::time::Instant;

use serde_json::{Value, json};

use super::{ADDRESS, adf};

/// A status: identifier, category, name, translated name.
type Status = (&'static str, &'static str, &'static str, &'static str);

/// Nobody has begun.
pub(super) const OPEN: Status = ("1", "new", "To Do", "Zu erledigen");
/// Somebody works on it.
pub(super) const WORKING: Status = ("3", "indeterminate", "In Progress", "In Arbeit");
/// It has been decided.
pub(super) const DONE: Status = ("5", "done", "Done", "Erledigt");

/// The resolutions: identifier, name, translated name.
pub(super) const RESOLUTIONS: [(&str, &str, &str); 3] =
    [("10000", "Done", "Fertig"), ("10001", "Won't Do", "Wird nicht gemacht"), ("10002", "Duplicate", "Duplikat")];

/// A transition: identifier, name, where it starts (any status when absent), where it leads.
pub(super) type Way = (&'static str, &'static str, Option<&'static str>, Status);

/// The workflow of every project.
pub(super) const WAYS: [Way; 3] =
    [("11", "Start", Some("1"), WORKING), ("21", "Stop", Some("3"), OPEN), ("31", "Close", None, DONE)];

/// A comment.
#[derive(Debug, Clone)]
pub struct Comment {
    pub(super) id: String,
    pub(super) body: Value,
    pub(super) properties: Value,
}

impl Comment {
    /// Its text, without markup.
    pub fn text(&self) -> String {
        adf::text(&self.body)
    }

    pub(super) fn shown(&self, with_properties: bool) -> Value {
        let mut shown =
            json!({ "self": format!("{ADDRESS}/rest/api/2/comment/{}", self.id), "id": self.id, "body": self.body });
        if with_properties {
            shown["properties"] = self.properties.clone();
        }
        shown
    }
}

/// An issue.
#[derive(Debug, Clone)]
pub struct Issue {
    pub(super) id: String,
    /// Its key.
    pub key: String,
    /// What it was opened with.
    pub fields: Value,
    pub(super) status: Status,
    pub(super) resolution: Option<usize>,
    /// Its comments, in the order in which they were written.
    pub comments: Vec<Comment>,
    /// Its links: type and the key of the other end.
    pub links: Vec<(String, String)>,
    pub(super) made: Instant,
}

impl Issue {
    /// The category of its status.
    pub fn category(&self) -> &str {
        self.status.1
    }

    /// The English name of its resolution.
    pub fn resolution(&self) -> Option<&str> {
        self.resolution.map(|index| RESOLUTIONS[index].1)
    }

    /// Its labels.
    pub fn labels(&self) -> Vec<&str> {
        self.fields["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    pub(super) fn shown(&self, translated: bool) -> Value {
        let links: Vec<Value> = self
            .links
            .iter()
            .map(|(kind, key)| json!({ "type": { "name": kind }, "outwardIssue": { "key": key } }))
            .collect();
        let mut fields = self.fields.clone();
        fields["status"] = status(self.status, translated);
        fields["resolution"] = self.resolution.map_or(Value::Null, |index| resolution(index, translated));
        fields["issuelinks"] = json!(links);
        json!({ "id": self.id, "key": self.key, "self": format!("{ADDRESS}/rest/api/2/issue/{}", self.id), "fields": fields })
    }
}

/// A status as an issue and a transition show it.
pub(super) fn status((id, category, name, other): Status, translated: bool) -> Value {
    let name = if translated { other } else { name };
    let number = match category {
        "new" => 2,
        "indeterminate" => 4,
        _ => 3,
    };
    json!({ "id": id, "name": name, "statusCategory": { "id": number, "key": category, "name": name } })
}

/// A resolution as an issue and a screen show it.
pub(super) fn resolution(index: usize, translated: bool) -> Value {
    let (id, name, other) = RESOLUTIONS[index];
    json!({ "id": id, "name": if translated { other } else { name } })
}
