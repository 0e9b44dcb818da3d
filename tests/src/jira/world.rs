//! What the double knows, and how it answers.

use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::hook::Delivery;
use super::issue::{self, Comment, Issue, RESOLUTIONS, WAYS, Way};
use super::wire::{Answer, Seen, World};
use super::{ADDRESS, TOKEN, USER, adf};

/// Which Jira it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Cloud of today: `/search` is gone.
    Cloud,
    /// Cloud before `/search/jql`.
    OldCloud,
    /// Server or Data Center.
    Server,
}

/// What the double knows.
pub struct Site {
    flavour: Flavour,
    /// The issues in the order in which they were opened.
    pub issues: Vec<Issue>,
    /// How far the search is behind.
    pub lag: Duration,
    /// Whether names are shown in another language.
    pub translated: bool,
    /// Whether the screen of the last transition asks for a resolution.
    pub asks_resolution: bool,
    /// Whether the token has been revoked.
    pub revoked: bool,
    /// The time that webhooks tell, one more for each.
    clock: u64,
    comments: usize,
}

impl Site {
    /// An empty site with the projects `OPS` and `AUD`.
    pub fn new(flavour: Flavour) -> Self {
        Self {
            flavour,
            issues: Vec::new(),
            lag: Duration::ZERO,
            translated: false,
            asks_resolution: true,
            revoked: false,
            clock: 1_700_000_000_000,
            comments: 0,
        }
    }

    fn is_cloud(&self) -> bool {
        self.flavour != Flavour::Server
    }

    /// The issue of this key.
    pub fn issue(&self, key: &str) -> Option<&Issue> {
        self.issues.iter().find(|issue| issue.key == key)
    }

    /// A person closes an issue with this resolution (its English name); the webhook that follows.
    pub fn decide(&mut self, key: &str, resolution: &str) -> Delivery {
        let index = RESOLUTIONS.iter().position(|(_, name, _)| *name == resolution);
        let issue = self.issues.iter_mut().find(|issue| issue.key == key).expect("the issue exists");
        (issue.status, issue.resolution) = (issue::DONE, index);
        self.webhook(key)
    }

    /// A person begins to work on an issue; the webhook that follows.
    pub fn begin(&mut self, key: &str) -> Delivery {
        let issue = self.issues.iter_mut().find(|issue| issue.key == key).expect("the issue exists");
        issue.status = issue::WORKING;
        self.webhook(key)
    }

    /// A person copies an issue, labels and all; the key of the copy.
    pub fn copy(&mut self, key: &str) -> String {
        let mut copy = self.issue(key).expect("the issue exists").clone();
        let number = self.issues.len() + 1;
        let project = copy.key.split('-').next().unwrap_or_default().to_owned();
        (copy.id, copy.key) = (format!("{}", 10_000 + number), format!("{project}-{number}"));
        copy.comments.clear();
        let key = copy.key.clone();
        self.issues.push(copy);
        key
    }

    /// A person deletes an issue.
    pub fn delete(&mut self, key: &str) {
        self.issues.retain(|issue| issue.key != key);
    }

    /// What Jira sends about an issue now.
    pub fn webhook(&mut self, key: &str) -> Delivery {
        self.clock += 1;
        Delivery::of(self.issue(key).expect("the issue exists"), self.translated, self.clock)
    }

    fn is_known(&self, seen: &Seen) -> bool {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{TOKEN}"));
        let right = if self.is_cloud() { format!("Basic {basic}") } else { format!("Bearer {TOKEN}") };
        !self.revoked && seen.header("authorization") == Some(&right)
    }

    fn info(&self) -> Answer {
        let kind = if self.is_cloud() { "Cloud" } else { "Server" };
        let info = json!({ "baseUrl": ADDRESS, "version": "9.12.0", "deploymentType": kind, "serverTitle": "Jira" });
        Answer::json(200, info)
    }

    fn open(&mut self, fields: &Value) -> Answer {
        let mut faults = json!({});
        let project = fields["project"]["key"].as_str().unwrap_or_default().to_owned();
        if !matches!(project.as_str(), "OPS" | "AUD") {
            faults["project"] = json!("valid project is required");
        }
        let kind = &fields["issuetype"];
        if kind["name"] != "Task" && kind["id"] != "10002" {
            faults["issuetype"] = json!("Specify a valid issue type");
        }
        if fields["summary"].as_str().is_none_or(str::is_empty) {
            faults["summary"] = json!("You must specify a summary of the issue.");
        }
        if let Some(wrong) = self.wrong_text(&fields["description"]) {
            faults["description"] = json!(wrong);
        }
        let spaced = |label: &Value| label.as_str().is_none_or(|label| label.contains(' ') || label.len() > 255);
        if fields["labels"].as_array().is_some_and(|labels| labels.iter().any(spaced)) {
            faults["labels"] = json!("The label contains spaces which is invalid.");
        }
        if let Some(wrong) = self.wrong_user(&fields["assignee"]) {
            faults["assignee"] = json!(wrong);
        }
        if faults != json!({}) {
            return Answer::json(400, json!({ "errorMessages": [], "errors": faults }));
        }
        let number = self.issues.len() + 1;
        let (id, key) = (format!("{}", 10_000 + number), format!("{project}-{number}"));
        let made = json!({ "id": id, "key": key, "self": format!("{ADDRESS}/rest/api/2/issue/{id}") });
        self.issues.push(Issue {
            id,
            key,
            fields: fields.clone(),
            status: issue::OPEN,
            resolution: None,
            comments: Vec::new(),
            links: Vec::new(),
            made: Instant::now(),
        });
        Answer::json(201, made)
    }

    /// What is wrong with a text in the form of the other flavour.
    fn wrong_text(&self, text: &Value) -> Option<&'static str> {
        match text {
            Value::Null => None,
            _ if self.is_cloud() => (!adf::is_document(text))
                .then_some("Operation value must be an Atlassian Document (see the Atlassian Document Format)"),
            _ => (!text.is_string()).then_some("Operation value must be a string"),
        }
    }

    fn wrong_user(&self, user: &Value) -> Option<String> {
        if user.is_null() {
            return None;
        }
        let name = user[if self.is_cloud() { "accountId" } else { "name" }].as_str();
        (name != Some("ann")).then(|| format!("User '{}' does not exist.", name.unwrap_or_default()))
    }

    fn search(&self, seen: &Seen) -> Answer {
        let jql = seen.query("jql").unwrap_or_default();
        let Some(filter) = Filter::read(jql) else {
            return told(
                400,
                &format!("Error in the JQL Query: Expecting operator before the end of the query. {jql}"),
            );
        };
        if filter.project.as_ref().is_some_and(|project| !matches!(project.as_str(), "OPS" | "AUD")) {
            let project = filter.project.unwrap_or_default();
            return told(400, &format!("The value '{project}' does not exist for the field 'project'."));
        }
        let found: Vec<Value> = self
            .issues
            .iter()
            .filter(|issue| issue.made.elapsed() >= self.lag && filter.fits(issue))
            .map(|issue| issue.shown(self.translated))
            .collect();
        let most = seen.query("maxResults").and_then(|most| most.parse().ok()).unwrap_or(50_usize);
        let token = seen.query("nextPageToken").or(seen.query("startAt"));
        let from = token.and_then(|token| token.parse().ok()).unwrap_or(0_usize);
        let page: Vec<&Value> = found.iter().skip(from).take(most).collect();
        let end = from + page.len();
        if seen.path.ends_with("/jql") {
            let mut answer = json!({ "issues": page, "isLast": end >= found.len() });
            if end < found.len() {
                answer["nextPageToken"] = json!(end.to_string());
            }
            return Answer::json(200, answer);
        }
        Answer::json(200, json!({ "startAt": from, "maxResults": most, "total": found.len(), "issues": page }))
    }

    fn comments(&self, issue: &Issue, seen: &Seen) -> Answer {
        let properties = seen.query("expand") == Some("properties");
        let newest: Vec<Value> = issue.comments.iter().rev().map(|comment| comment.shown(properties)).collect();
        Answer::json(200, json!({ "startAt": 0, "maxResults": 100, "total": newest.len(), "comments": newest }))
    }

    fn comment(&mut self, index: usize, body: &Value) -> Answer {
        let text = &body["body"];
        if text.is_null() || self.wrong_text(text).is_some() {
            let faults = json!({ "comment": "Comment body is not valid!" });
            return Answer::json(400, json!({ "errorMessages": [], "errors": faults }));
        }
        self.comments += 1;
        let comment = Comment {
            id: format!("{}", 20_000 + self.comments),
            body: text.clone(),
            properties: body.get("properties").cloned().unwrap_or_else(|| json!([])),
        };
        let shown = comment.shown(false);
        self.issues[index].comments.push(comment);
        Answer::json(201, shown)
    }

    fn ways<'a>(&self, issue: &'a Issue) -> impl Iterator<Item = &'static Way> + use<'a> {
        WAYS.iter().filter(|(_, _, from, to)| from.is_none_or(|from| from == issue.status.0) && to.0 != issue.status.0)
    }

    fn transitions(&self, issue: &Issue, seen: &Seen) -> Answer {
        let expanded = seen.query("expand") == Some("transitions.fields");
        let show = |(id, name, _, to): &Way| {
            let mut way =
                json!({ "id": id, "name": name, "to": issue::status(*to, self.translated), "hasScreen": true });
            if expanded {
                way["fields"] = self.screen(to.1);
            }
            way
        };
        let ways: Vec<Value> = self.ways(issue).map(show).collect();
        Answer::json(200, json!({ "expand": "transitions", "transitions": ways }))
    }

    fn screen(&self, category: &str) -> Value {
        if category != "done" || !self.asks_resolution {
            return json!({});
        }
        let allowed: Vec<Value> =
            (0..RESOLUTIONS.len()).map(|index| issue::resolution(index, self.translated)).collect();
        json!({ "resolution": { "required": true, "hasDefaultValue": false, "name": "Resolution", "allowedValues": allowed } })
    }

    fn go(&mut self, index: usize, body: &Value) -> Answer {
        let id = body["transition"]["id"].as_str().unwrap_or_default();
        let Some((_, _, _, to)) = self.ways(&self.issues[index]).find(|way| way.0 == id) else {
            let words = "It seems that you have tried to perform a workflow operation that is not valid for the current \
                         state of this issue.";
            return told(400, words);
        };
        let given = &body["fields"]["resolution"];
        let screen = self.screen(to.1);
        if screen == json!({}) && !given.is_null() {
            let words = "Field 'resolution' cannot be set. It is not on the appropriate screen, or unknown.";
            return Answer::json(400, json!({ "errorMessages": [], "errors": { "resolution": words } }));
        }
        let is_it = |(id, name, other): &(&str, &str, &str)| {
            given["id"] == *id || given["name"] == *name || given["name"] == *other
        };
        let resolution = RESOLUTIONS.iter().position(is_it);
        if screen != json!({}) && resolution.is_none() {
            let faults = json!({ "resolution": "Resolution is required." });
            return Answer::json(400, json!({ "errorMessages": [], "errors": faults }));
        }
        let automatic = (to.1 == "done").then_some(0);
        (self.issues[index].status, self.issues[index].resolution) = (*to, resolution.or(automatic));
        Answer::status(204)
    }

    fn link(&mut self, body: &Value) -> Answer {
        let kind = body["type"]["name"].as_str().unwrap_or_default().to_owned();
        if !matches!(kind.as_str(), "Blocks" | "Relates") {
            return told(404, &format!("No issue link type with name '{kind}' found."));
        }
        let key = |end: &str| body[end]["key"].as_str().unwrap_or_default().to_owned();
        let (from, to) = (key("inwardIssue"), key("outwardIssue"));
        if self.issue(&to).is_none() {
            return gone();
        }
        match self.issues.iter_mut().find(|issue| issue.key == from) {
            Some(issue) => issue.links.push((kind, to)),
            None => return gone(),
        }
        Answer::status(201)
    }

    fn assign(&mut self, index: usize, user: &Value) -> Answer {
        let nobody = user["accountId"].is_null() && user["name"].is_null();
        if let Some(wrong) = self.wrong_user(user).filter(|_| !nobody) {
            return Answer::json(400, json!({ "errorMessages": [], "errors": { "assignee": wrong } }));
        }
        self.issues[index].fields["assignee"] = if nobody { Value::Null } else { user.clone() };
        Answer::status(204)
    }

    fn of_issue(&mut self, seen: &Seen, rest: &str) -> Answer {
        let (name, tail) = rest.split_once('/').unwrap_or((rest, ""));
        let Some(index) = self.issues.iter().position(|issue| issue.key == name || issue.id == name) else {
            return gone();
        };
        let issue = &self.issues[index];
        match (seen.method.as_str(), tail) {
            ("GET", "") => Answer::json(200, issue.shown(self.translated)),
            ("GET", "comment") => self.comments(issue, seen),
            ("POST", "comment") => self.comment(index, &seen.body),
            ("GET", "transitions") => self.transitions(issue, seen),
            ("POST", "transitions") => self.go(index, &seen.body),
            ("PUT", "assignee") => self.assign(index, &seen.body),
            _ => told(405, "Method Not Allowed"),
        }
    }
}

impl World for Site {
    fn answer(&mut self, seen: &Seen) -> Answer {
        if seen.path == "/rest/api/2/serverInfo" {
            return self.info();
        }
        if !self.is_known(seen) {
            let words = "Client must be authenticated to access this resource.";
            return told(401, words).header("www-authenticate", "OAuth realm=\"https%3A%2F%2Fjira.example\"");
        }
        let version = if self.is_cloud() { "/rest/api/3/" } else { "/rest/api/2/" };
        let Some(path) = seen.path.strip_prefix(version) else { return told(404, "dead link") };
        match (seen.method.as_str(), path) {
            ("POST", "issue") => self.open(&seen.body["fields"]),
            ("POST", "issueLink") => self.link(&seen.body),
            ("GET", "search") if self.flavour == Flavour::Cloud => {
                told(410, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.")
            }
            ("GET", "search/jql") if self.flavour != Flavour::Cloud => told(404, "dead link"),
            ("GET", "search" | "search/jql") => self.search(seen),
            (_, path) => match path.strip_prefix("issue/") {
                Some(rest) => self.of_issue(seen, rest),
                None => told(404, "dead link"),
            },
        }
    }

    fn trouble(&self, status: u16) -> Answer {
        match status {
            401 => told(401, "Client must be authenticated to access this resource."),
            403 => told(403, "You do not have permission to create issues in this project."),
            404 => gone(),
            429 => told(429, "Rate limit exceeded.").header("retry-after", "1"),
            400 => Answer::json(400, json!({ "errorMessages": [], "errors": { "summary": "is required" } })),
            503 => Answer::status(503),
            status => told(status, "Internal server error"),
        }
    }
}

fn told(status: u16, words: &str) -> Answer {
    Answer::json(status, json!({ "errorMessages": [words], "errors": {} }))
}

fn gone() -> Answer {
    told(404, "Issue does not exist or you do not have permission to see it.")
}

/// The queries that the double understands: equal to a project, to a label, or both.
struct Filter {
    project: Option<String>,
    label: Option<String>,
}

impl Filter {
    fn read(jql: &str) -> Option<Self> {
        let condition = jql.split(" ORDER BY ").next()?;
        let mut filter = Self { project: None, label: None };
        for term in condition.split(" AND ") {
            let (field, value) = term.split_once(" = ")?;
            let value = value.trim().trim_matches('"').replace("\\\"", "\"");
            match field.trim() {
                "project" => filter.project = Some(value),
                "labels" => filter.label = Some(value),
                _ => return None,
            }
        }
        Some(filter)
    }

    fn fits(&self, issue: &Issue) -> bool {
        let project = issue.key.split('-').next().unwrap_or_default();
        let labelled = |label: &String| issue.labels().iter().any(|own| own.eq_ignore_ascii_case(label));
        self.project.as_ref().is_none_or(|wanted| wanted == project) && self.label.as_ref().is_none_or(labelled)
    }
}
