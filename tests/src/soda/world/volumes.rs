//! Volumes of the double: making, growing, deleting, and what the API refuses.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Answer, Asked, Motion, PROFILE, Refusal, USER, World, bad, missing, page};
use crate::soda::rules;
use crate::soda::world::{Change, Conduct};

pub(super) struct Volume {
    pub(super) shown: Map<String, Value>,
    pub(super) status: &'static str,
    pub(super) zone: String,
    pub(super) size: u64,
    /// The size that a resize goes for.
    growing_to: u64,
    pub(super) multi_attach: bool,
    pub(super) motion: Option<Motion>,
}

impl World {
    pub(super) fn create_volume(&mut self, asked: &Asked) -> Result<Answer, Refusal> {
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
        if !self.profiles.iter().any(|(id, _)| *id == profile) {
            return Err(refuse(format!("get profile failed: specified profile({profile}) can't find")));
        }
        if let Some(snapshot) = asked.text("snapshotId") {
            match self.snapshots.get(&snapshot) {
                None => return Err(refuse(format!("specified snapshot({snapshot}) can't find"))),
                Some(snapshot) if snapshot.status != "available" => {
                    return Err(refuse("only if the snapshot is available, the volume can be created".into()));
                }
                Some(snapshot) if snapshot.size > size => {
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
        let volume = Volume {
            shown,
            status: "creating",
            zone,
            size,
            growing_to: size,
            multi_attach: asked.body["multiAttach"] == json!(true),
            motion: Some(self.begin(Change::Volume)),
        };
        let body = volume.show();
        self.volumes.insert(id, volume);
        self.made.volumes += 1;
        body
    }

    pub(super) fn list_volumes(&mut self, asked: &Asked) -> Answer {
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

    pub(super) fn get_volume(&mut self, id: &str) -> Result<Answer, Refusal> {
        self.look_at_volume(id);
        let volume = self.volumes.get(id).ok_or_else(|| missing("volume", id))?;
        Ok(Answer::json(200, volume.show()))
    }

    pub(super) fn update_volume(&mut self, id: &str, asked: &Asked) -> Result<Answer, Refusal> {
        rules::check(asked.body, rules::VOLUME_UPDATE).map_err(bad)?;
        let volume = self.volumes.get_mut(id).ok_or_else(|| missing("volume", id))?;
        for name in ["name", "description"] {
            if let Some(text) = asked.text(name) {
                volume.shown.insert(name.to_owned(), json!(text));
            }
        }
        Ok(Answer::json(200, volume.show()))
    }

    pub(super) fn resize_volume(&mut self, id: &str, asked: &Asked) -> Result<Answer, Refusal> {
        rules::check(asked.body, rules::RESIZE).map_err(bad)?;
        let size = asked.body["newSize"].as_u64().unwrap_or(0);
        let refuse = |why: String| bad(format!("extend volume failed: {why}"));
        let volume = self.volumes.get(id).ok_or_else(|| missing("volume", id))?;
        if volume.status != "available" {
            return Err(refuse("the status of the volume to be extended must be available!".to_owned()));
        }
        if size <= volume.size {
            let why = "new size for extend must be greater than current size.";
            return Err(refuse(format!("{why}(current: {} GB, extended: {size} GB).", volume.size)));
        }
        let motion = self.begin(Change::Extension);
        self.made.extensions += 1;
        let volume = self.volumes.get_mut(id).ok_or_else(|| missing("volume", id))?;
        volume.growing_to = size;
        volume.change("extending", motion);
        Ok(Answer::json(202, volume.show()))
    }

    pub(super) fn delete_volume(&mut self, id: &str) -> Result<Answer, Refusal> {
        let refuse = |why: String| bad(format!("delete volume failed: {why}"));
        let volume = self.volumes.get(id).ok_or_else(|| missing("volume", id))?;
        if !matches!(volume.status, "available" | "error" | "errorDeleting" | "errorExtending") {
            let states = "available, error, error_deleting, error_extending";
            let status = volume.status;
            return Err(refuse(format!(
                "only the volume with the status {states} can be deleted, the volume status is {status}"
            )));
        }
        if self.snapshots.values().any(|snapshot| snapshot.volume == id) {
            return Err(refuse(format!("volume {id} can not be deleted, because it still has snapshots")));
        }
        if self.attachments.values().any(|attachment| attachment.volume == id) {
            return Err(refuse(format!("volume {id} can not be deleted, because it's in use")));
        }
        let motion = self.begin(Change::Deletion);
        if let Some(volume) = self.volumes.get_mut(id) {
            volume.change("deleting", motion);
        }
        Ok(Answer::accepted())
    }

    pub(super) fn look_at_volume(&mut self, id: &str) {
        let Some(volume) = self.volumes.get_mut(id) else { return };
        let Some(motion) = &mut volume.motion else { return };
        motion.looks += 1;
        if motion.is_due(self.pace) {
            self.settle_volume(id);
        }
    }

    pub(super) fn settle_volume(&mut self, id: &str) {
        let Some(volume) = self.volumes.get_mut(id) else { return };
        let Some(motion) = volume.motion.take() else { return };
        let failed = motion.conduct == Conduct::Fails;
        volume.status = match volume.status {
            "creating" if failed => "error",
            "creating" => "available",
            "attaching" => "inUse",
            "extending" => {
                // A failed extension is taken back: nothing but the size tells it.
                volume.size = if failed { volume.size } else { volume.growing_to };
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
}

impl Volume {
    pub(super) fn change(&mut self, status: &'static str, motion: Motion) {
        self.status = status;
        self.motion = Some(motion);
    }

    pub(super) fn show(&self) -> Value {
        let mut shown = self.shown.clone();
        shown.insert("size".to_owned(), json!(self.size));
        shown.insert("status".to_owned(), json!(self.status));
        // The API's own spelling; it is always there and always empty.
        shown.insert("AttachStatus".to_owned(), json!(""));
        Value::Object(shown)
    }
}
