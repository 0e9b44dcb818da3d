//! What the double knows: volumes, attachments, snapshots and hosts with their states, and the rules by which they change.

mod attachments;
mod catalog;
mod snapshots;
mod volumes;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::TENANT;
use attachments::Attachment;
use catalog::Host;
use snapshots::Snapshot;
use volumes::Volume;

/// Entries of a list when the request does not say.
const LIMIT: usize = 50;

/// The profile of volumes that do not name one.
const PROFILE: &str = "be3e1ac9-35a2-4d41-9d9c-b36f2ca6c8d0";

/// The user of all volumes; noauth mode knows no other.
const USER: &str = "558057c4256545bd8a307c37464003c9";

/// When a change under way ends.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Only by `advance`.
    Steps,
    /// With the n-th look at the resource (read alone or in a list) since it began; the look sees the new state.
    Looks(u32),
    /// After this time.
    After(Duration),
}

/// How something behaves after it was accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Conduct {
    /// As it should.
    #[default]
    Works,
    /// It ends in an error.
    Fails,
    /// It never ends.
    Stuck,
}

/// A request, read.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a [(String, String)],
    pub(super) body: &'a Value,
}

impl Asked<'_> {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// A response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
}

impl Answer {
    pub(super) fn fault(status: u16, message: &str) -> Self {
        Self { status, body: Some(json!({"code": status, "message": message})) }
    }

    fn json(status: u16, body: Value) -> Self {
        Self { status, body: Some(body) }
    }

    fn accepted() -> Self {
        Self { status: 202, body: None }
    }
}

/// Why a request is refused: the status and the API's words.
type Refusal = (u16, String);

/// What a test can say the conduct of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Making a volume.
    Volume,
    /// Extending a volume; one that fails is available again with its old size.
    Extension,
    /// Deleting a volume; one that fails is in `errorDeleting`.
    Deletion,
    /// Attaching; one that fails leaves the attachment in `error` and the volume `available`.
    Attachment,
    /// Detaching; where the driver fails, the attachment is dropped and the volume stays `inUse`.
    Detachment,
    /// Making a snapshot.
    Snapshot,
    /// Deleting a snapshot; one that fails is in `errorDeleting`.
    SnapshotDeletion,
}

/// How many things were ever made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Made {
    /// Volumes.
    pub volumes: usize,
    /// Attachments.
    pub attachments: usize,
    /// Snapshots.
    pub snapshots: usize,
    /// Hosts.
    pub hosts: usize,
    /// Extensions that began.
    pub extensions: usize,
}

/// A change under way.
struct Motion {
    conduct: Conduct,
    looks: u32,
    since: Instant,
}

impl Motion {
    fn new(conduct: Conduct) -> Self {
        Self { conduct, looks: 0, since: Instant::now() }
    }

    fn is_due(&self, pace: Pace) -> bool {
        match pace {
            _ if self.conduct == Conduct::Stuck => false,
            Pace::Steps => false,
            Pace::Looks(looks) => self.looks >= looks,
            Pace::After(time) => self.since.elapsed() >= time,
        }
    }
}

/// Everything the double knows.
pub(super) struct World {
    pace: Pace,
    volumes: BTreeMap<String, Volume>,
    attachments: BTreeMap<String, Attachment>,
    snapshots: BTreeMap<String, Snapshot>,
    hosts: BTreeMap<String, Host>,
    /// Identifier and name.
    profiles: Vec<(String, String)>,
    conducts: BTreeMap<Change, VecDeque<Conduct>>,
    pub(super) made: Made,
    /// Seconds that have passed by the service's own clock: one for each thing made, so that their order shows.
    seconds: u32,
}

impl World {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            volumes: BTreeMap::new(),
            attachments: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            hosts: BTreeMap::new(),
            profiles: vec![(PROFILE.to_owned(), "default_block".to_owned())],
            conducts: BTreeMap::new(),
            made: Made::default(),
            seconds: 0,
        }
    }

    pub(super) fn next(&mut self, change: Change, conduct: Conduct) {
        self.conducts.entry(change).or_default().push_back(conduct);
    }

    /// How a change that was accepted just now goes on.
    fn begin(&mut self, change: Change) -> Motion {
        let conducts = self.conducts.entry(change).or_default();
        Motion::new(conducts.pop_front().unwrap_or_default())
    }

    pub(super) fn volumes_shown(&self) -> Vec<Value> {
        self.volumes.values().map(Volume::show).collect()
    }

    pub(super) fn attachments_shown(&self) -> Vec<Value> {
        self.attachments.values().map(Attachment::show).collect()
    }

    pub(super) fn snapshots_shown(&self) -> Vec<Value> {
        self.snapshots.values().map(Snapshot::show).collect()
    }

    /// Ends every change under way that is not stuck.
    pub(super) fn advance(&mut self) {
        self.settle(|motion| motion.conduct != Conduct::Stuck);
    }

    pub(super) fn answer(&mut self, asked: &Asked) -> Answer {
        let pace = self.pace;
        self.settle(|motion| matches!(pace, Pace::After(_)) && motion.is_due(pace));
        let steps: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
        let answer = match (asked.method, steps.as_slice()) {
            ("POST", ["block", "volumes"]) => self.create_volume(asked),
            ("GET", ["block", "volumes"]) => Ok(self.list_volumes(asked)),
            ("GET", ["block", "volumes", id]) => self.get_volume(id),
            ("PUT", ["block", "volumes", id]) => self.update_volume(id, asked),
            ("POST", ["block", "volumes", id, "resize"]) => self.resize_volume(id, asked),
            ("DELETE", ["block", "volumes", id]) => self.delete_volume(id),
            ("POST", ["block", "attachments"]) => self.create_attachment(asked),
            ("GET", ["block", "attachments"]) => Ok(self.list_attachments(asked)),
            ("GET", ["block", "attachments", id]) => self.get_attachment(id),
            ("DELETE", ["block", "attachments", id]) => self.delete_attachment(id),
            ("POST", ["block", "snapshots"]) => self.create_snapshot(asked),
            ("GET", ["block", "snapshots"]) => Ok(self.list_snapshots(asked)),
            ("GET", ["block", "snapshots", id]) => self.get_snapshot(id),
            ("DELETE", ["block", "snapshots", id]) => self.delete_snapshot(id),
            ("POST", ["host", "hosts"]) => self.create_host(asked),
            ("GET", ["host", "hosts"]) => Ok(self.list_hosts(asked)),
            ("GET", ["host", "hosts", id]) => self.get_host(id),
            ("DELETE", ["host", "hosts", id]) => self.delete_host(id),
            ("POST", ["profiles"]) => self.create_profile(asked),
            ("GET", ["profiles"]) => Ok(self.list_profiles(asked)),
            ("GET", ["profiles", id]) => self.get_profile(id),
            ("GET", ["pools"]) => Ok(self.list_pools(asked)),
            ("GET", ["availabilityZones"]) => Ok(self.list_zones(asked)),
            _ => Err((404, format!("no such path: {} {}", asked.method, asked.path))),
        };
        answer.unwrap_or_else(|(status, message)| Answer::fault(status, &message))
    }

    /// What every resource begins with.
    fn head(&mut self, id: &str) -> Map<String, Value> {
        self.seconds += 1;
        let (minutes, seconds) = (self.seconds / 60 % 60, self.seconds % 60);
        let mut head = Map::new();
        head.insert("id".to_owned(), json!(id));
        head.insert("createdAt".to_owned(), json!(format!("2021-04-16T15:{minutes:02}:{seconds:02}")));
        head.insert("updatedAt".to_owned(), json!(""));
        head.insert("tenantId".to_owned(), json!(TENANT));
        head
    }

    /// Ends the changes that are ripe, attachments first, because a volume follows its attachment.
    fn settle(&mut self, ripe: impl Fn(&Motion) -> bool) {
        let is_ripe = |motion: &Option<Motion>| motion.as_ref().is_some_and(&ripe);
        let attachments: Vec<_> =
            self.attachments.iter().filter(|(_, a)| is_ripe(&a.motion)).map(|(id, _)| id.clone()).collect();
        attachments.iter().for_each(|id| self.settle_attachment(id));
        let volumes: Vec<_> =
            self.volumes.iter().filter(|(_, v)| is_ripe(&v.motion)).map(|(id, _)| id.clone()).collect();
        volumes.iter().for_each(|id| self.settle_volume(id));
        let snapshots: Vec<_> =
            self.snapshots.iter().filter(|(_, s)| is_ripe(&s.motion)).map(|(id, _)| id.clone()).collect();
        snapshots.iter().for_each(|id| self.settle_snapshot(id));
    }
}

fn bad(message: String) -> Refusal {
    (400, message)
}

fn missing(kind: &str, id: &str) -> Refusal {
    (404, format!("{kind} {id} not found: record not found"))
}

/// The newest first, as the API sorts when it is not told otherwise.
fn page(asked: &Asked, mut entries: Vec<Value>) -> Answer {
    entries.sort_by(|a, b| b["createdAt"].as_str().cmp(&a["createdAt"].as_str()));
    let number = |name, default| asked.query(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let entries: Vec<_> = entries.into_iter().skip(number("offset", 0)).take(number("limit", LIMIT)).collect();
    Answer::json(200, Value::Array(entries))
}
