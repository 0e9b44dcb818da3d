//! A double with what an order needs, and what is compared afterwards.

use std::sync::Arc;

use orchestrator_host::desk::Outcome;
use orchestrator_tests::soda::native::{Bench, Ledger};
use orchestrator_tests::soda::{Conduct, Exchange, Pace, Soda};
use serde_json::{Value, json};

/// One double and what stands in it before the order.
pub struct Scene {
    pub soda: Arc<Soda>,
    pub host: String,
    pub volume: String,
}

/// What is there, as far as an order may change it.
#[derive(Debug, PartialEq)]
pub struct Standing {
    volumes: Vec<(Value, Value, Value)>,
    attachments: Vec<(Value, Value)>,
    snapshots: Vec<(Value, Value)>,
}

/// What came of an order.
pub struct Ran {
    pub outcome: Outcome,
    pub ledger: Ledger,
}

impl Scene {
    /// A host and an available volume of 2 GB.
    pub fn new() -> Self {
        Self::with(Pace::Looks(2))
    }

    pub fn with(pace: Pace) -> Self {
        let soda = Soda::in_process(pace);
        let host = soda.host(&["default"]);
        let volume = made(&soda, "/block/volumes", json!({"name": "old", "size": 2}));
        Self { soda: Arc::new(soda), host, volume }
    }

    /// The same, attached to its host.
    pub fn attached() -> Self {
        let scene = Self::new();
        scene.attach();
        scene
    }

    /// The same, with two snapshots.
    pub fn with_snapshots() -> Self {
        let scene = Self::attached();
        for name in ["one", "two"] {
            made(&scene.soda, "/block/snapshots", json!({"name": name, "volumeId": scene.volume}));
        }
        scene
    }

    /// Attaches the volume; the attachment's identifier.
    pub fn attach(&self) -> String {
        made(&self.soda, "/block/attachments", json!({"volumeId": self.volume, "hostId": self.host}))
    }

    pub async fn run(&self, workflow: &str, input: Value) -> Ran {
        let (outcome, ledger) = Bench::open().run(workflow, input, self.soda.clone()).await;
        assert_eq!(outcome.stopped, None, "{workflow}");
        Ran { outcome, ledger }
    }

    pub fn standing(&self) -> Standing {
        let part = |thing: &Value, key: &str| thing[key].clone();
        let volume = |v: &Value| (part(v, "id"), part(v, "size"), part(v, "status"));
        let other = |v: &Value| (part(v, "id"), part(v, "status"));
        Standing {
            volumes: self.soda.volumes().iter().map(volume).collect(),
            attachments: self.soda.attachments().iter().map(other).collect(),
            snapshots: self.soda.snapshots().iter().map(other).collect(),
        }
    }
}

impl Ran {
    pub fn completed(&self) -> &Value {
        assert_eq!(self.outcome.status.as_str(), "completed", "{:?}", self.outcome.error);
        let output = self.outcome.output.as_ref().expect("a completed order has an output");
        assert_is_result(output);
        output
    }

    /// The error's type without its base, its status and its detail.
    pub fn failed(&self) -> (String, u16, String) {
        assert_eq!(self.outcome.status.as_str(), "faulted", "{:?}", self.outcome.output);
        let error = self.outcome.error.as_ref().expect("a faulted order has an error");
        let kind = error.kind.rsplit(['/', ':']).next().unwrap_or_default();
        (kind.to_owned(), error.status, error.detail.clone().unwrap_or_default())
    }

    pub fn entered(&self, task: &str) -> usize {
        self.outcome.tasks.iter().filter(|run| run.name == task).count()
    }
}

/// What people are shown has its form.
fn assert_is_result(output: &Value) {
    let result = &output["result"];
    assert!(result["message"].as_str().is_some_and(|message| message.len() > 10), "{output}");
    for entry in result["outputs"].as_array().expect("outputs") {
        let (value, format) = (&entry["value"], entry["format"].as_str().expect("a format"));
        let fits = match format {
            "number" => value.is_number(),
            "text" | "markdown" | "link" => value.is_string(),
            other => panic!("no such format: {other}"),
        };
        assert!(fits && entry["key"].is_string(), "{entry}");
    }
}

/// Makes something and lets it settle.
fn made(soda: &Soda, path: &str, body: Value) -> String {
    let Exchange::Answered { status, body } = soda.exchange("POST", path, body.to_string().as_bytes()) else {
        panic!("the double does not answer");
    };
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(status < 300, "{body}");
    soda.advance();
    body["id"].as_str().expect("an identifier").to_owned()
}

/// Both ways in which something can go wrong for good.
pub const BAD: [Conduct; 2] = [Conduct::Fails, Conduct::Stuck];
