//! What a case says: a workflow, its input, what the outside answers, and what must come of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};

/// Put behind a workflow that has no `document`, so that its lines keep their numbers.
const DOCUMENT: &str = "\ndocument: { dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0' }\n";

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Case {
    /// A sentence.
    pub name: String,
    /// What of the specification or of our choices it proves.
    pub rule: String,
    /// The definition as text.
    pub workflow: String,
    /// Definitions that `run.workflow` finds.
    #[serde(default)]
    pub workflows: Vec<String>,
    /// The raw input; absent means `{}`.
    #[serde(default)]
    pub input: Json,
    /// What calls get, in order.
    #[serde(default)]
    pub outside: Vec<Reply>,
    /// What arrives in the inbox.
    #[serde(default)]
    pub events: Vec<Arrival>,
    /// When somebody cancels the instance.
    #[serde(default)]
    pub cancel_at: Option<Point>,
    /// When somebody suspends the instance, resumes it, suspends it again, and so on.
    #[serde(default)]
    pub pauses: Vec<Point>,
    /// The secrets that `$secrets` refers to, by name.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Somebody is told what happens.
    #[serde(default)]
    pub sink: Option<Told>,
    /// So long the time of a schedule passes, ISO 8601.
    #[serde(default)]
    pub runs: Option<String>,
    /// What every draw of chance gives.
    #[serde(default = "half")]
    pub chance: f64,
    /// The result may depend on what comes first where several things come at one time.
    #[serde(default)]
    pub order_dependent: bool,
    /// What must come of it.
    pub expect: Expect,
    /// The file it stands in.
    #[serde(skip)]
    pub file: PathBuf,
}

fn half() -> f64 {
    0.5
}

/// Who is told what happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// What is answered at first; then everything is taken.
    #[serde(default)]
    pub refuses: Vec<u16>,
}

/// What one call gets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reply {
    /// The callee, as `World::label` writes it; a `…` at the end stands for any rest.
    #[serde(default)]
    pub to: Option<String>,
    /// The task that calls.
    #[serde(default)]
    pub task: Option<String>,
    /// The output.
    #[serde(default, deserialize_with = "present")]
    pub gives: Option<Json>,
    /// The failure.
    #[serde(default)]
    pub fails: Option<Fails>,
    /// It never answers.
    #[serde(default)]
    pub hangs: bool,
    /// It answers so long after the call, ISO 8601.
    #[serde(default)]
    pub takes: Option<String>,
    /// It answers every call that fits.
    #[serde(default)]
    pub always: bool,
    /// The checkpoints that it stores before it answers. An attempt that is given one of them goes on behind it.
    #[serde(default)]
    pub saves: Vec<Json>,
    /// What a probe finds: `done` (with `found`), `not-done` or `unknown`. Otherwise it finds the truth.
    #[serde(default)]
    pub probe: Option<String>,
    /// The output that a probe finds.
    #[serde(default)]
    pub found: Json,
}

/// How a call fails.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fails {
    /// The status.
    pub status: u16,
    /// The type; one word is a standard type.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// The title.
    #[serde(default)]
    pub title: Option<String>,
    /// The detail.
    #[serde(default)]
    pub detail: Option<String>,
    /// `permanent` (default), `transient` or `unknown`.
    #[serde(default)]
    pub reaction: Option<String>,
    /// With `transient`: not before so many milliseconds.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

/// An event on its way into the inbox.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    /// When.
    pub at: Point,
    /// The CloudEvent; `specversion`, `id` and `source` are put in where they are absent.
    pub event: Json,
}

/// A moment in an instance's life.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Point {
    /// As soon as it has so many records.
    Records {
        /// How many.
        records: u64,
    },
    /// `before` it starts, when it is `waiting`, or so long after its birth (ISO 8601).
    Word(String),
}

/// What must come of a case.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expect {
    /// `completed`, `faulted`, `cancelled`, or `waiting` where nothing more happens by itself.
    #[serde(default)]
    pub status: Option<String>,
    /// The output; the text `<any>` inside stands for any value.
    #[serde(default, deserialize_with = "present")]
    pub output: Option<Json>,
    /// The error.
    #[serde(default)]
    pub error: Option<ErrorExpected>,
    /// The names of the tasks in order of their starts.
    #[serde(default)]
    pub tasks: Option<Vec<String>>,
    /// The calls in order.
    #[serde(default)]
    pub calls: Option<Vec<CallExpected>>,
    /// The events published, in order; only the members named are compared.
    #[serde(default)]
    pub emitted: Option<Vec<Json>>,
    /// The calls as they leave, with secrets opened, in order of their keys.
    #[serde(default)]
    pub opened: Option<Vec<CallExpected>>,
    /// What the sink is told, in order: `workflow.started`, `task.created /do/0/a`, `com.example.emitted`.
    #[serde(default)]
    pub told: Option<Vec<String>>,
    /// The instances that the schedule started.
    #[serde(default)]
    pub fires: Option<Vec<Fire>>,
    /// From birth to end, ISO 8601.
    #[serde(default)]
    pub took: Option<String>,
    /// The definition is refused with these findings.
    #[serde(default)]
    pub refused: Option<Vec<Finding>>,
    /// The definition is taken with these warnings and no other.
    #[serde(default)]
    pub warned: Option<Vec<Finding>>,
}

/// An instance that a schedule started.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fire {
    /// How long after the birth of the schedule, ISO 8601.
    pub at: String,
    /// Its input.
    #[serde(default, deserialize_with = "present")]
    pub input: Option<Json>,
}

/// Which error; members that are absent are not compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ErrorExpected {
    /// The whole type, or its last segment.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// The status.
    #[serde(default)]
    pub status: Option<u16>,
    /// The place.
    #[serde(default)]
    pub instance: Option<String>,
    /// The title.
    #[serde(default)]
    pub title: Option<String>,
    /// The detail.
    #[serde(default)]
    pub detail: Option<String>,
    /// A part of the detail.
    #[serde(default)]
    pub detail_has: Option<String>,
}

/// One call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallExpected {
    /// The callee.
    pub to: String,
    /// What was passed; members not named are not compared.
    #[serde(default, deserialize_with = "present")]
    pub with: Option<Json>,
}

/// A finding of the front end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Its code.
    pub code: String,
    /// The line of the workflow's text, from 1.
    pub line: u32,
}

/// `null` is a value like any other, and not the member's absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl Case {
    /// The definition's text as it goes to the front end.
    pub fn text(&self) -> String {
        whole(&self.workflow)
    }

    /// The raw input as the engine takes it.
    pub fn raw_input(&self) -> Json {
        if self.input.is_null() { json!({}) } else { self.input.clone() }
    }

    /// The event of that place as a whole CloudEvent.
    pub fn event(&self, place: usize) -> Json {
        let mut event = json!({ "specversion": "1.0", "id": format!("e{}", place + 1), "source": "/test" });
        if let (Some(whole), Some(written)) = (event.as_object_mut(), self.events[place].event.as_object()) {
            whole.extend(written.clone());
        }
        event
    }

    /// For messages.
    pub fn title(&self) -> String {
        format!("{}: {}", self.file.display(), self.name)
    }
}

/// A definition's text with a `document`.
pub fn whole(text: &str) -> String {
    let has = text.lines().any(|line| line.starts_with("document:"));
    if has { text.to_owned() } else { format!("{}{DOCUMENT}", text.trim_end()) }
}

impl Point {
    /// Whether it stands for a time, and for which.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Word(word) if word.starts_with('P') => Some(super::birth() + duration(word).ok()?),
            _ => None,
        }
    }

    /// Whether it is that word.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }

    fn check(&self) -> anyhow::Result<()> {
        match self {
            Self::Records { .. } => Ok(()),
            Self::Word(word) if matches!(word.as_str(), "before" | "waiting") => Ok(()),
            Self::Word(word) => duration(word).map(drop),
        }
    }
}

/// ISO 8601 without years and months.
///
/// # Errors
/// The text is none.
pub fn duration(text: &str) -> anyhow::Result<SignedDuration> {
    orchestrator_host::definition::duration::read(&Json::from(text)).map_err(anyhow::Error::msg)
}

/// All cases below a folder, in order of their files.
///
/// # Errors
/// A file cannot be read or says what no case can.
pub fn load(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            match path.extension().and_then(|ending| ending.to_str()) {
                _ if path.is_dir() => open.push(path),
                Some("yaml") => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let short = file.strip_prefix(folder).unwrap_or(&file).to_owned();
        let read: Vec<Case> = serde_yaml::from_str(&text).with_context(|| short.display().to_string())?;
        cases.extend(read.into_iter().map(|case| Case { file: short.clone(), ..case }));
    }
    cases.iter().try_for_each(check)?;
    Ok(cases)
}

fn check(case: &Case) -> anyhow::Result<()> {
    let points = case.events.iter().map(|arrival| &arrival.at).chain(&case.cancel_at).chain(&case.pauses);
    for point in points {
        point.check().with_context(|| case.title())?;
    }
    for reply in &case.outside {
        let answers =
            usize::from(reply.gives.is_some()) + usize::from(reply.fails.is_some()) + usize::from(reply.hangs);
        if answers != 1 {
            bail!("{}: a reply `gives`, `fails` or `hangs`", case.title());
        }
        if reply.probe.as_deref().is_some_and(|probe| !matches!(probe, "done" | "not-done" | "unknown")) {
            bail!("{}: a probe finds `done`, `not-done` or `unknown`", case.title());
        }
        if let Some(takes) = &reply.takes {
            duration(takes).with_context(|| case.title())?;
        }
    }
    let expect = &case.expect;
    let judged = [expect.status.is_some(), expect.refused.is_some(), expect.warned.is_some(), expect.fires.is_some()];
    if !judged.contains(&true) {
        bail!("{}: a case expects a `status`, `fires`, or to be `refused` or `warned`", case.title());
    }
    if expect.told.is_some() != case.sink.is_some() || expect.fires.is_some() != case.runs.is_some() {
        bail!("{}: `sink` goes with `told`, and `runs` with `fires`", case.title());
    }
    Ok(())
}
