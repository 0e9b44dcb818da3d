//! A double of the API of Move2Kube: plans and transformations of one project in one workspace, with the same paths,
//! refusals and error texts. Written against the API's own handlers.
//!
//! States advance by looks: a plan is there after some reads, and a transformation goes on when its questions are answered.

use serde_json::{Value, json};

use crate::stage::{Answer, Scene, Seen, Stage};

/// Where the API stands.
pub const BASE: &str = "/api/v1";

/// The only workspace and project.
pub const PROJECT: &str = "/workspaces/w-1/projects/p-1";

/// A running double.
pub type Move2Kube = Stage<Api>;

/// The state behind the double.
pub struct Api {
    /// Reads of the plan until it is there; nothing for never.
    pub plan_after: Option<u32>,
    /// Reads of the project until a transformation's questions are answered; nothing for never.
    pub answered_after: Option<u32>,
    /// What a transformation comes to: `done` or `error`.
    pub ends: &'static str,
    /// Its outputs, `{id, status, left}`.
    pub outputs: Vec<Value>,
    /// The addresses that plans were asked for.
    pub sources: Vec<String>,
    /// How many transformations were ever started.
    pub started: usize,
    /// What came out.
    pub archive: Vec<u8>,
    planning: Option<Option<u32>>,
}

impl Api {
    /// Starts one that plans in two looks and is answered in two.
    pub async fn start() -> Move2Kube {
        Stage::start(Self {
            plan_after: Some(2),
            answered_after: Some(2),
            ends: "done",
            outputs: Vec::new(),
            sources: Vec::new(),
            started: 0,
            archive: b"PK\x05\x06not much of an archive".to_vec(),
            planning: None,
        })
        .await
    }

    fn start_plan(&mut self, seen: &Seen) -> Answer {
        let source = seen.query("remote-source").unwrap_or_default();
        if !source.starts_with("git+ssh://") && !source.starts_with("git+https://") {
            return refused(400, "the remote source is invalid");
        }
        if matches!(self.planning, Some(Some(left)) if left > 0) {
            return Answer::status(409);
        }
        self.sources.push(source.to_owned());
        self.planning = Some(self.plan_after);
        Answer::status(202)
    }

    fn read_plan(&mut self) -> Answer {
        match &mut self.planning {
            None => Answer::status(404),
            Some(Some(0)) => {
                Answer::json(200, &json!({ "plan": "apiVersion: move2kube.konveyor.io/v1alpha1\nkind: Plan" }))
            }
            Some(left) => {
                *left = left.map(|left| left - 1);
                Answer::status(204)
            }
        }
    }

    fn start_transformation(&mut self, seen: &Seen) -> Answer {
        if self.planning != Some(Some(0)) {
            return refused(400, "generate a plan before starting transformation");
        }
        self.started += 1;
        let id = format!("t-{}", self.started);
        let left = if seen.query("skip-qa") == Some("true") { Some(0) } else { self.answered_after };
        self.outputs.push(json!({ "id": id, "status": "transforming", "left": left }));
        Answer::json(
            202,
            &json!({ "id": id, "name": id, "timestamp": "2026-01-12T10:00:00Z", "status": "transforming" }),
        )
    }

    fn read_project(&mut self) -> Answer {
        let ends = self.ends;
        for output in self.outputs.iter_mut().filter(|output| output["status"] == "transforming") {
            match output["left"].as_u64() {
                Some(0) => output["status"] = json!(ends),
                Some(left) => output["left"] = json!(left - 1),
                None => {}
            }
        }
        let shown = |output: &Value| {
            let id = output["id"].as_str().unwrap_or_default().to_owned();
            let body = json!({ "id": id, "name": id, "timestamp": "2026-01-12T10:00:00Z", "status": output["status"] });
            (id, body)
        };
        let outputs: serde_json::Map<_, _> = self.outputs.iter().map(shown).collect();
        Answer::json(200, &json!({ "id": "p-1", "name": "shop", "status": {}, "outputs": outputs }))
    }

    fn read_output(&self, id: &str) -> Answer {
        match self.outputs.iter().find(|output| output["id"] == id) {
            None => Answer::status(404),
            Some(output) if output["status"] == "transforming" => Answer::status(204),
            Some(_) => Answer { status: 200, body: Some(self.archive.clone()), media_type: "application/octet-stream" },
        }
    }

    fn delete_output(&mut self, id: &str) -> Answer {
        match self.outputs.iter().position(|output| output["id"] == id) {
            None => Answer::status(404),
            Some(at) if self.outputs[at]["status"] == "transforming" => {
                refused(409, "cannot delete a project output while its transformation is ongoing")
            }
            Some(at) => {
                self.outputs.remove(at);
                Answer::status(204)
            }
        }
    }
}

fn refused(status: u16, why: &str) -> Answer {
    Answer::json(status, &json!({ "error": { "description": why } }))
}

impl Scene for Api {
    fn answer(&mut self, seen: &Seen) -> Answer {
        let below = seen.path.strip_prefix(BASE).and_then(|path| path.strip_prefix(PROJECT));
        let Some(path) = below else { return Answer::status(404) };
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (seen.method.as_str(), parts.as_slice()) {
            ("GET", []) => self.read_project(),
            ("POST", ["plan"]) => self.start_plan(seen),
            ("GET", ["plan"]) => self.read_plan(),
            ("POST", ["outputs"]) => self.start_transformation(seen),
            ("GET", ["outputs", id]) => self.read_output(id),
            ("DELETE", ["outputs", id]) => self.delete_output(id),
            _ => Answer::status(404),
        }
    }
}
