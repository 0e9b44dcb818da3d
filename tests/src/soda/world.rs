//! What the double knows: hosts, volumes and attachments with their states, and the rules by which they change.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{TENANT, rules};

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

struct Volume {
    shown: Map<String, Value>,
    status: &'static str,
    zone: String,
    size: u64,
    /// The size that a resize goes for.
    growing_to: u64,
    multi_attach: bool,
    motion: Option<Motion>,
}

struct Attachment {
    shown: Map<String, Value>,
    status: &'static str,
    volume: String,
    host: String,
    motion: Option<Motion>,
}

struct Host {
    shown: Value,
    zones: Vec<String>,
}

/// Everything the double knows.
pub(super) struct World {
    pace: Pace,
    volumes: BTreeMap<String, Volume>,
    attachments: BTreeMap<String, Attachment>,
    hosts: BTreeMap<String, Host>,
    profiles: Vec<String>,
    snapshots: BTreeMap<String, u64>,
    pub(super) volume_conducts: VecDeque<Conduct>,
    pub(super) attachment_conducts: VecDeque<Conduct>,
    pub(super) deletion_conducts: VecDeque<Conduct>,
    pub(super) volumes_ever: usize,
    pub(super) attachments_ever: usize,
    /// Seconds that have passed by the service's own clock: one for each thing made, so that their order shows.
    seconds: u32,
}

impl World {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            volumes: BTreeMap::new(),
            attachments: BTreeMap::new(),
            hosts: BTreeMap::new(),
            profiles: vec![PROFILE.to_owned()],
            snapshots: BTreeMap::new(),
            volume_conducts: VecDeque::new(),
            attachment_conducts: VecDeque::new(),
            deletion_conducts: VecDeque::new(),
            volumes_ever: 0,
            attachments_ever: 0,
            seconds: 0,
        }
    }

    pub(super) fn add_host(&mut self, zones: &[&str]) -> String {
        let body = json!({
            "accessMode": "agentless", "hostName": "host", "osType": "linux", "ip": "192.0.2.1",
            "availabilityZones": zones
        });
        self.make_host(&body)
    }

    pub(super) fn add_profile(&mut self, id: &str) {
        self.profiles.push(id.to_owned());
    }

    pub(super) fn add_snapshot(&mut self, id: &str, size: u64) {
        self.snapshots.insert(id.to_owned(), size);
    }

    pub(super) fn volumes_shown(&self) -> Vec<Value> {
        self.volumes.values().map(Volume::show).collect()
    }

    pub(super) fn attachments_shown(&self) -> Vec<Value> {
        self.attachments.values().map(Attachment::show).collect()
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
            ("POST", ["host", "hosts"]) => self.create_host(asked),
            ("GET", ["host", "hosts"]) => {
                Ok(Answer::json(200, self.hosts.values().map(|host| host.shown.clone()).collect()))
            }
            ("GET", ["host", "hosts", id]) => self.get_host(id),
            _ => Err((404, format!("no such path: {} {}", asked.method, asked.path))),
        };
        answer.unwrap_or_else(|(status, message)| Answer::fault(status, &message))
    }

    fn create_volume(&mut self, asked: &Asked) -> Result<Answer, (u16, String)> {
        rules::check(asked.body, rules::VOLUME).map_err(bad)?;
        let name = asked.text("name").unwrap_or_default();
        let refuse = |why: String| bad(format!("create volume failed: {why}"));
        if !rules::is_name(&name) {
            return Err(refuse(format!("invalid volume name: {name}")));
        }
        let size = asked.body["size"].as_u64().unwrap_or(0);
        if size == 0 {
            return Err(refuse(format!("invalid volume size: {}", asked.body["size"])));
        }
        let profile = asked.text("profileId").unwrap_or_else(|| PROFILE.to_owned());
        if !self.profiles.contains(&profile) {
            return Err(refuse(format!("get profile failed: specified profile({profile}) can't find")));
        }
        if let Some(snapshot) = asked.text("snapshotId") {
            match self.snapshots.get(&snapshot) {
                None => return Err(refuse(format!("specified snapshot({snapshot}) can't find"))),
                Some(least) if *least > size => {
                    return Err(refuse("size of volume must be equal to or bigger than size of the snapshot".into()));
                }
                Some(_) => {}
            }
        }
        Ok(Answer::json(202, self.make_volume(asked, name, size, profile)))
    }

    fn make_volume(&mut self, asked: &Asked, name: String, size: u64, profile: String) -> Value {
        let id = Uuid::now_v7().to_string();
        let zone = asked.text("availabilityZone").unwrap_or_else(|| "default".to_owned());
        let mut shown = self.head(&id);
        shown.insert("userId".to_owned(), json!(USER));
        shown.insert("name".to_owned(), json!(name));
        for optional in ["description", "snapshotId", "poolId", "groupId", "replicationId"] {
            if let Some(text) = asked.text(optional) {
                shown.insert(optional.to_owned(), json!(text));
            }
        }
        shown.insert("availabilityZone".to_owned(), json!(zone));
        shown.insert("profileId".to_owned(), json!(profile));
        let conduct = self.volume_conducts.pop_front().unwrap_or_default();
        let volume = Volume {
            shown,
            status: "creating",
            zone,
            size,
            growing_to: size,
            multi_attach: asked.body["multiAttach"] == json!(true),
            motion: Some(Motion::new(conduct)),
        };
        let body = volume.show();
        self.volumes.insert(id, volume);
        self.volumes_ever += 1;
        body
    }

    fn list_volumes(&mut self, asked: &Asked) -> Answer {
        let fits = |volume: &Volume| {
            let shown = volume.show();
            ["name", "status", "profileId", "poolId"]
                .iter()
                .all(|name| asked.query(name).is_none_or(|wanted| shown[*name] == json!(wanted)))
        };
        let ids: Vec<_> = self.volumes.iter().filter(|(_, v)| fits(v)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.look_at_volume(id));
        page(asked, ids.iter().filter_map(|id| self.volumes.get(id)).map(Volume::show).collect())
    }

    fn get_volume(&mut self, id: &str) -> Result<Answer, (u16, String)> {
        self.look_at_volume(id);
        let volume = self.volumes.get(id).ok_or_else(|| missing("volume", id))?;
        Ok(Answer::json(200, volume.show()))
    }

    fn update_volume(&mut self, id: &str, asked: &Asked) -> Result<Answer, (u16, String)> {
        rules::check(asked.body, rules::VOLUME_UPDATE).map_err(bad)?;
        let volume = self.volumes.get_mut(id).ok_or_else(|| missing("volume", id))?;
        for name in ["name", "description"] {
            if let Some(text) = asked.text(name) {
                volume.shown.insert(name.to_owned(), json!(text));
            }
        }
        Ok(Answer::json(200, volume.show()))
    }

    fn resize_volume(&mut self, id: &str, asked: &Asked) -> Result<Answer, (u16, String)> {
        rules::check(asked.body, rules::RESIZE).map_err(bad)?;
        let size = asked.body["newSize"].as_u64().unwrap_or(0);
        let volume = self.volumes.get_mut(id).ok_or_else(|| missing("volume", id))?;
        if volume.status != "available" {
            return Err(bad("the status of the volume to be extended must be available!".to_owned()));
        }
        if size <= volume.size {
            let why = format!("new size for extend must be greater than current size({} GB)", volume.size);
            return Err(bad(why));
        }
        volume.growing_to = size;
        volume.change("extending", Conduct::Works);
        Ok(Answer::json(202, volume.show()))
    }

    fn delete_volume(&mut self, id: &str) -> Result<Answer, (u16, String)> {
        let attached = self.attachments.values().any(|attachment| attachment.volume == id);
        let volume = self.volumes.get_mut(id).ok_or_else(|| missing("volume", id))?;
        if !matches!(volume.status, "available" | "error" | "errorDeleting" | "errorExtending") {
            let states = "available, error, error_deleting, error_extending";
            return Err(bad(format!(
                "delete volume failed: only the volume with the status {states} can be deleted, the volume status is {}",
                volume.status
            )));
        }
        if attached {
            return Err(bad(format!("delete volume failed: volume {id} has attachments, delete them first")));
        }
        let conduct = self.deletion_conducts.pop_front().unwrap_or_default();
        volume.change("deleting", conduct);
        Ok(Answer::accepted())
    }

    fn create_attachment(&mut self, asked: &Asked) -> Result<Answer, (u16, String)> {
        rules::check(asked.body, rules::ATTACHMENT).map_err(bad)?;
        let refuse = |why: String| bad(format!("create volume attachment failed: {why}"));
        let (volume_id, host_id) =
            (asked.text("volumeId").unwrap_or_default(), asked.text("hostId").unwrap_or_default());
        let mode = asked.text("attachMode").unwrap_or_else(|| "rw".to_owned());
        if !matches!(mode.as_str(), "ro" | "rw") {
            return Err(refuse(format!("invalid attach mode: {mode}")));
        }
        let Some(volume) = self.volumes.get_mut(&volume_id) else {
            return Err(refuse(format!("volume {volume_id} not found")));
        };
        let Some(host) = self.hosts.get(&host_id) else { return Err(refuse(format!("host {host_id} not found"))) };
        if !host.zones.contains(&volume.zone) {
            let zone = &volume.zone;
            return Err(refuse(format!("availability zone {zone} of the volume is not one of host {host_id}'s")));
        }
        match volume.status {
            "available" => {}
            "inUse" if volume.multi_attach => {}
            status => {
                let why =
                    format!("only the volume with the status available can be attached, the volume status is {status}");
                return Err(refuse(why));
            }
        }
        let conduct = self.attachment_conducts.pop_front().unwrap_or_default();
        // A failing attachment takes its volume back by itself, so the volume only waits for it.
        volume.change("attaching", if conduct == Conduct::Works { Conduct::Works } else { Conduct::Stuck });
        Ok(Answer::json(202, self.make_attachment(volume_id, host_id, &mode, conduct)))
    }

    fn make_attachment(&mut self, volume: String, host: String, mode: &str, conduct: Conduct) -> Value {
        let id = Uuid::now_v7().to_string();
        let mut shown = self.head(&id);
        shown.insert("hostId".to_owned(), json!(host));
        shown.insert("volumeId".to_owned(), json!(volume));
        shown.insert("attachMode".to_owned(), json!(mode));
        shown.insert("accessProtocol".to_owned(), json!("iscsi"));
        let attachment = Attachment { shown, status: "creating", volume, host, motion: Some(Motion::new(conduct)) };
        let body = attachment.show();
        self.attachments.insert(id, attachment);
        self.attachments_ever += 1;
        body
    }

    fn list_attachments(&mut self, asked: &Asked) -> Answer {
        let fits = |attachment: &Attachment| {
            asked.query("volumeId").is_none_or(|id| id == attachment.volume)
                && asked.query("hostId").is_none_or(|id| id == attachment.host)
        };
        let ids: Vec<_> = self.attachments.iter().filter(|(_, a)| fits(a)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.look_at_attachment(id));
        page(asked, ids.iter().filter_map(|id| self.attachments.get(id)).map(Attachment::show).collect())
    }

    fn get_attachment(&mut self, id: &str) -> Result<Answer, (u16, String)> {
        self.look_at_attachment(id);
        let attachment = self.attachments.get(id).ok_or_else(|| missing("volume attachment", id))?;
        Ok(Answer::json(200, attachment.show()))
    }

    fn delete_attachment(&mut self, id: &str) -> Result<Answer, (u16, String)> {
        let attachment = self.attachments.get_mut(id).ok_or_else(|| missing("volume attachment", id))?;
        if !matches!(attachment.status, "available" | "error" | "errorDeleting") {
            let states = "available, error, error_deleting";
            return Err(bad(format!(
                "delete volume attachment failed: only the volume attachment with the status {states} can be deleted, \
                 the volume attachment status is {}",
                attachment.status
            )));
        }
        attachment.status = "deleting";
        attachment.motion = Some(Motion::new(Conduct::Works));
        Ok(Answer::accepted())
    }

    fn create_host(&mut self, asked: &Asked) -> Result<Answer, (u16, String)> {
        rules::check(asked.body, rules::HOST).map_err(bad)?;
        let id = self.make_host(asked.body);
        self.get_host(&id)
    }

    fn get_host(&self, id: &str) -> Result<Answer, (u16, String)> {
        let host = self.hosts.get(id).ok_or_else(|| missing("host", id))?;
        Ok(Answer::json(200, host.shown.clone()))
    }

    fn make_host(&mut self, body: &Value) -> String {
        let id = Uuid::now_v7().to_string();
        let mut shown = self.head(&id);
        for name in ["accessMode", "hostName", "osType", "ip", "availabilityZones", "initiators"] {
            if let Some(value) = body.get(name) {
                shown.insert(name.to_owned(), value.clone());
            }
        }
        let zones = body["availabilityZones"].as_array().into_iter().flatten();
        let zones = zones.filter_map(Value::as_str).map(str::to_owned).collect();
        self.hosts.insert(id.clone(), Host { shown: Value::Object(shown), zones });
        id
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

    fn look_at_volume(&mut self, id: &str) {
        let Some(volume) = self.volumes.get_mut(id) else { return };
        let Some(motion) = &mut volume.motion else { return };
        motion.looks += 1;
        if motion.is_due(self.pace) {
            self.settle_volume(id);
        }
    }

    fn look_at_attachment(&mut self, id: &str) {
        let Some(attachment) = self.attachments.get_mut(id) else { return };
        let Some(motion) = &mut attachment.motion else { return };
        motion.looks += 1;
        if motion.is_due(self.pace) {
            self.settle_attachment(id);
        }
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
    }

    fn settle_volume(&mut self, id: &str) {
        let Some(volume) = self.volumes.get_mut(id) else { return };
        let Some(motion) = volume.motion.take() else { return };
        let failed = motion.conduct == Conduct::Fails;
        volume.status = match volume.status {
            "creating" if failed => "error",
            "creating" => "available",
            "attaching" => "inUse",
            "extending" => {
                volume.size = volume.growing_to;
                "available"
            }
            "deleting" if failed => "errorDeleting",
            "deleting" => {
                self.volumes.remove(id);
                return;
            }
            other => other,
        };
    }

    fn settle_attachment(&mut self, id: &str) {
        let Some(attachment) = self.attachments.get_mut(id) else { return };
        let Some(motion) = attachment.motion.take() else { return };
        let volume = attachment.volume.clone();
        match (attachment.status, motion.conduct) {
            ("creating", Conduct::Fails) => {
                attachment.status = "error";
                self.release(&volume);
            }
            ("creating", _) => attachment.status = "available",
            ("deleting", _) => {
                self.attachments.remove(id);
                self.release(&volume);
            }
            _ => {}
        }
    }

    /// A volume becomes available again when nothing holds it any more.
    fn release(&mut self, id: &str) {
        let held = self.attachments.values().any(|a| a.volume == id && a.status != "error");
        let Some(volume) = self.volumes.get_mut(id).filter(|volume| !held && volume.status != "deleting") else {
            return;
        };
        volume.status = "available";
        volume.motion = None;
    }
}

impl Volume {
    fn change(&mut self, status: &'static str, conduct: Conduct) {
        self.status = status;
        self.motion = Some(Motion::new(conduct));
    }

    fn show(&self) -> Value {
        let mut shown = self.shown.clone();
        shown.insert("size".to_owned(), json!(self.size));
        shown.insert("status".to_owned(), json!(self.status));
        // The API's own spelling; it is always there and always empty.
        shown.insert("AttachStatus".to_owned(), json!(""));
        Value::Object(shown)
    }
}

impl Attachment {
    fn show(&self) -> Value {
        let mut shown = self.shown.clone();
        shown.insert("status".to_owned(), json!(self.status));
        let info = match self.status {
            "available" => json!({"driverVolumeType": "iscsi", "data": {
                "discard": false, "targetDiscovered": true, "targetLun": 1,
                "targetIQN": [format!("iqn.2017-10.io.opensds:{}", self.volume)],
                "targetPortal": ["192.0.2.10:3260"], "authMethod": "chap", "authPassword": "do-not-keep"
            }}),
            _ => json!({}),
        };
        shown.insert("connectionInfo".to_owned(), info);
        Value::Object(shown)
    }
}

fn bad(message: String) -> (u16, String) {
    (400, message)
}

fn missing(kind: &str, id: &str) -> (u16, String) {
    (404, format!("{kind} {id} not found: record not found"))
}

/// The newest first, as the API sorts when it is not told otherwise.
fn page(asked: &Asked, mut entries: Vec<Value>) -> Answer {
    entries.sort_by(|a, b| b["createdAt"].as_str().cmp(&a["createdAt"].as_str()));
    let number = |name, default| asked.query(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let entries: Vec<_> = entries.into_iter().skip(number("offset", 0)).take(number("limit", LIMIT)).collect();
    Answer::json(200, Value::Array(entries))
}
