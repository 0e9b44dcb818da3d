//! Snapshots of the double.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Answer, Asked, Motion, Refusal, USER, World, bad, missing, page};
use crate::soda::rules;
use crate::soda::world::{Change, Conduct};

pub(super) struct Snapshot {
    shown: Map<String, Value>,
    pub(super) status: &'static str,
    pub(super) volume: String,
    pub(super) size: u64,
    pub(super) motion: Option<Motion>,
}

impl World {
    /// Makes an available snapshot of a volume that is long gone known.
    pub(in crate::soda) fn add_snapshot(&mut self, id: &str, size: u64) {
        let mut shown = self.head(id);
        shown.insert("name".to_owned(), json!(id));
        let snapshot = Snapshot { shown, status: "available", volume: "gone".to_owned(), size, motion: None };
        self.snapshots.insert(id.to_owned(), snapshot);
    }

    pub(super) fn create_snapshot(&mut self, asked: &Asked) -> Result<Answer, Refusal> {
        rules::check(asked.body, rules::SNAPSHOT).map_err(bad)?;
        let refuse = |why: String| bad(format!("create volume snapshot failed: {why}"));
        let (name, volume_id) = (asked.text("name").unwrap_or_default(), asked.text("volumeId").unwrap_or_default());
        if !rules::is_name(&name) {
            return Err(refuse(format!("invalid snapshot name: {name}")));
        }
        let Some(volume) = self.volumes.get(&volume_id) else {
            return Err(refuse(format!("volume {volume_id} not found: record not found")));
        };
        if !matches!(volume.status, "available" | "inUse") {
            let why = "only the status of volume is available or in-use, the snapshot can be created";
            return Err(refuse(why.to_owned()));
        }
        let (size, own) = (volume.size, volume.shown["profileId"].clone());
        let profile = asked.text("profileId").map_or(own, Value::String);
        if !self.profiles.iter().any(|(id, _)| profile == json!(id)) {
            return Err(refuse(format!("get profile failed: specified profile({profile}) can't find")));
        }
        Ok(Answer::json(202, self.make_snapshot(asked, (name, volume_id), size, profile)))
    }

    fn make_snapshot(&mut self, asked: &Asked, (name, volume): (String, String), size: u64, profile: Value) -> Value {
        let id = Uuid::now_v7().to_string();
        let mut shown = self.head(&id);
        shown.insert("userId".to_owned(), json!(USER));
        shown.insert("name".to_owned(), json!(name));
        if let Some(text) = asked.text("description") {
            shown.insert("description".to_owned(), json!(text));
        }
        shown.insert("profileId".to_owned(), profile);
        shown.insert("volumeId".to_owned(), json!(volume));
        shown.insert("metadata".to_owned(), json!({"lvPath": format!("/dev/opensds-volumes/volume-{volume}")}));
        let motion = Some(self.begin(Change::Snapshot));
        let snapshot = Snapshot { shown, status: "creating", volume, size, motion };
        let body = snapshot.show();
        self.snapshots.insert(id, snapshot);
        self.made.snapshots += 1;
        body
    }

    pub(super) fn list_snapshots(&mut self, asked: &Asked) -> Answer {
        let fits = |snapshot: &Snapshot| {
            let shown = snapshot.show();
            ["volumeId", "name", "status"]
                .iter()
                .all(|name| asked.query(name).is_none_or(|wanted| shown[*name] == json!(wanted)))
        };
        let ids: Vec<_> = self.snapshots.iter().filter(|(_, s)| fits(s)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.look_at_snapshot(id));
        page(asked, ids.iter().filter_map(|id| self.snapshots.get(id)).map(Snapshot::show).collect())
    }

    pub(super) fn get_snapshot(&mut self, id: &str) -> Result<Answer, Refusal> {
        self.look_at_snapshot(id);
        let snapshot = self.snapshots.get(id).ok_or_else(|| missing("snapshot", id))?;
        Ok(Answer::json(200, snapshot.show()))
    }

    pub(super) fn delete_snapshot(&mut self, id: &str) -> Result<Answer, Refusal> {
        let snapshot = self.snapshots.get_mut(id).ok_or_else(|| missing("snapshot", id))?;
        if !matches!(snapshot.status, "available" | "error" | "errorDeleting") {
            let states = "available, error, error_deleting";
            return Err(bad(format!(
                "delete snapshot failed: only the volume snapshot with the status {states} can be deleted, \
                 the volume status is {}",
                snapshot.status
            )));
        }
        snapshot.status = "deleting";
        let motion = self.begin(Change::SnapshotDeletion);
        if let Some(snapshot) = self.snapshots.get_mut(id) {
            snapshot.motion = Some(motion);
        }
        Ok(Answer::accepted())
    }

    fn look_at_snapshot(&mut self, id: &str) {
        let Some(snapshot) = self.snapshots.get_mut(id) else { return };
        let Some(motion) = &mut snapshot.motion else { return };
        motion.looks += 1;
        if motion.is_due(self.pace) {
            self.settle_snapshot(id);
        }
    }

    pub(super) fn settle_snapshot(&mut self, id: &str) {
        let Some(snapshot) = self.snapshots.get_mut(id) else { return };
        let Some(motion) = snapshot.motion.take() else { return };
        match (snapshot.status, motion.conduct) {
            ("creating", Conduct::Fails) => snapshot.status = "error",
            ("creating", _) => snapshot.status = "available",
            ("deleting", Conduct::Fails) => snapshot.status = "errorDeleting",
            ("deleting", _) => drop(self.snapshots.remove(id)),
            _ => {}
        }
    }
}

impl Snapshot {
    /// The size is told once the snapshot is made.
    pub(super) fn show(&self) -> Value {
        let mut shown = self.shown.clone();
        if self.status != "creating" {
            shown.insert("size".to_owned(), json!(self.size));
        }
        shown.insert("status".to_owned(), json!(self.status));
        Value::Object(shown)
    }
}
