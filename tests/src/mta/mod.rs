//! A double of the hub of Konveyor, as it is in MTA 7 and 6.2: the inventory, task groups and tasks with their states,
//! issues, trackers, migration waves and tickets; the same paths, refusals and error texts. Written after the hub's own
//! handlers.
//!
//! States advance by looks: each read of a running analysis takes it one state further. It keeps no analyser: what an
//! analysis finds is arranged for by the test.

mod rules;

use serde_json::{Value, json};

use crate::stage::{Answer, Scene, Seen, Stage};

/// Where the hub stands below MTA's own address.
pub const BASE: &str = "/hub";

/// The one bearer token that is right.
pub const TOKEN: &str = "hub-token";

/// A running double.
pub type Mta = Stage<Hub>;

/// How the analyses behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Each goes through its states and succeeds.
    Works,
    /// Fails while it runs.
    Fails,
    /// Stays in this state.
    Stuck(&'static str),
    /// Is cancelled by somebody while it runs.
    Cancelled,
}

/// The states that a task goes through, one per look, before it runs.
const STATES: [&str; 4] = ["Ready", "Postponed", "Pending", "Running"];

/// The state behind the double.
pub struct Hub {
    /// How analyses behave from now on.
    pub conduct: Conduct,
    /// Whether it is MTA 6.2: addon `windup`, and no issues.
    pub is_6_2: bool,
    /// Whether issues are given by pages; else only as one document.
    pub has_pages: bool,
    /// What an analysis finds.
    pub issues: Vec<Value>,
    /// The inventory.
    pub applications: Vec<Value>,
    /// The task groups.
    pub groups: Vec<Value>,
    /// Tasks, those of groups too.
    pub tasks: Vec<Value>,
    /// Issue trackers.
    pub trackers: Value,
    /// Projects of every tracker.
    pub projects: Value,
    /// Types of issues of every project.
    pub issue_types: Value,
    /// Migration waves.
    pub waves: Vec<Value>,
    /// Tickets.
    pub tickets: Vec<Value>,
    /// Whether the tracker refuses tickets.
    pub refuses_tickets: bool,
    /// How many analyses were ever submitted.
    pub submitted: usize,
    /// Applications with a finished analysis.
    pub analysed: Vec<u64>,
    /// Looks that a deleted analysis stays to be seen.
    pub lingers: u32,
    last_id: u64,
}

impl Hub {
    /// Starts a hub of MTA 7 with nothing in it.
    pub async fn start() -> Mta {
        Stage::start(Self {
            conduct: Conduct::Works,
            is_6_2: false,
            has_pages: true,
            issues: Vec::new(),
            applications: Vec::new(),
            groups: Vec::new(),
            tasks: Vec::new(),
            trackers: json!([]),
            projects: json!([]),
            issue_types: json!([]),
            waves: Vec::new(),
            tickets: Vec::new(),
            refuses_tickets: false,
            submitted: 0,
            analysed: Vec::new(),
            lingers: 0,
            last_id: 0,
        })
        .await
    }

    /// An issue with so many incidents, whose identifiers begin at 4,000.
    pub fn issue(id: u64, category: &str, effort: u64, incidents: u64) -> Value {
        let incidents: Vec<_> = (0..incidents)
            .map(|n| json!({"id": 4000 + n, "file": "src/A.java", "line": n, "message": "m", "codeSnip": "", "facts": {}}))
            .collect();
        json!({
            "id": id, "category": category, "name": format!("issue {id}"), "rule": format!("rule-{id}"),
            "ruleset": "cloud-readiness", "description": "d", "effort": effort, "labels": [], "links": [], "facts": {},
            "incidents": incidents,
        })
    }

    /// A connected tracker with one project and two types of issues.
    pub fn with_tracker(&mut self) {
        self.trackers = json!([{
            "id": 1, "name": "jira", "url": "https://jira.example", "kind": "jira-cloud", "connected": true,
            "message": "", "identity": {"id": 1}, "insecure": false,
        }]);
        self.projects = json!([{"id": "10001", "name": "Shop"}]);
        self.issue_types = json!([{"id": "10002", "name": "Task"}, {"id": "10003", "name": "Bug"}]);
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Scene for Hub {
    fn answer(&mut self, seen: &Seen) -> Answer {
        if seen.authorization != format!("Bearer {TOKEN}") {
            return Answer::status(401);
        }
        let Some(path) = seen.path.strip_prefix(BASE) else { return Answer::status(404) };
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        rules::answer(self, seen, &parts)
    }

    fn trouble(&self, status: u16) -> Answer {
        match status {
            400 | 409 | 500 | 503 => Answer::json(status, &json!({ "error": "database is locked" })),
            _ => Answer::status(status),
        }
    }
}
