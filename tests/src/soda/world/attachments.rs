//! Attachments of the double, and what they do to their volumes.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Answer, Asked, Motion, Refusal, World, bad, missing, page};
use crate::soda::rules;
use crate::soda::world::{Change, Conduct};

pub(super) struct Attachment {
    pub(super) shown: Map<String, Value>,
    pub(super) status: &'static str,
    pub(super) volume: String,
    host: String,
    pub(super) motion: Option<Motion>,
}

impl World {
    pub(super) fn create_attachment(&mut self, asked: &Asked) -> Result<Answer, Refusal> {
        rules::check(asked.body, rules::ATTACHMENT).map_err(bad)?;
        let refuse = |why: String| bad(format!("create volume attachment failed: {why}"));
        let (volume_id, host_id) =
            (asked.text("volumeId").unwrap_or_default(), asked.text("hostId").unwrap_or_default());
        let mode = asked.text("attachMode").unwrap_or_else(|| "rw".to_owned());
        if !matches!(mode.as_str(), "ro" | "rw") {
            return Err(refuse(format!("invalid attach mode: {mode}")));
        }
        let Some(volume) = self.volumes.get(&volume_id) else {
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
            "inUse" => {
                let why = "volume is already attached or volume multiattach must be true if attach more than once";
                return Err(refuse(why.to_owned()));
            }
            _ => return Err(refuse("only the status of volume is available, attachment can be created".to_owned())),
        }
        let motion = self.begin(Change::Attachment);
        // A failing attachment takes its volume back by itself, so the volume only waits for it.
        let conduct = if motion.conduct == Conduct::Works { Conduct::Works } else { Conduct::Stuck };
        if let Some(volume) = self.volumes.get_mut(&volume_id) {
            volume.change("attaching", Motion::new(conduct));
        }
        Ok(Answer::json(202, self.make_attachment(volume_id, host_id, &mode, motion)))
    }

    fn make_attachment(&mut self, volume: String, host: String, mode: &str, motion: Motion) -> Value {
        let id = Uuid::now_v7().to_string();
        let mut shown = self.head(&id);
        shown.insert("hostId".to_owned(), json!(host));
        shown.insert("volumeId".to_owned(), json!(volume));
        shown.insert("attachMode".to_owned(), json!(mode));
        shown.insert("accessProtocol".to_owned(), json!("iscsi"));
        let attachment = Attachment { shown, status: "creating", volume, host, motion: Some(motion) };
        let body = attachment.show();
        self.attachments.insert(id, attachment);
        self.made.attachments += 1;
        body
    }

    pub(super) fn list_attachments(&mut self, asked: &Asked) -> Answer {
        let fits = |attachment: &Attachment| {
            asked.query("volumeId").is_none_or(|id| id == attachment.volume)
                && asked.query("hostId").is_none_or(|id| id == attachment.host)
        };
        let ids: Vec<_> = self.attachments.iter().filter(|(_, a)| fits(a)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.look_at_attachment(id));
        page(asked, ids.iter().filter_map(|id| self.attachments.get(id)).map(Attachment::show).collect())
    }

    pub(super) fn get_attachment(&mut self, id: &str) -> Result<Answer, Refusal> {
        self.look_at_attachment(id);
        let attachment = self.attachments.get(id).ok_or_else(|| missing("volume attachment", id))?;
        Ok(Answer::json(200, attachment.show()))
    }

    pub(super) fn delete_attachment(&mut self, id: &str) -> Result<Answer, Refusal> {
        let attachment = self.attachments.get_mut(id).ok_or_else(|| missing("volume attachment", id))?;
        if !matches!(attachment.status, "available" | "error" | "errorDeleting") {
            let states = "available, error, error_deleting";
            return Err(bad(format!(
                "delete volume attachment failed: only the volume attachment with the status {states} can be deleted, \
                 the volume status is {}",
                attachment.status
            )));
        }
        attachment.status = "deleting";
        let motion = self.begin(Change::Detachment);
        if let Some(attachment) = self.attachments.get_mut(id) {
            attachment.motion = Some(motion);
        }
        Ok(Answer::accepted())
    }

    fn look_at_attachment(&mut self, id: &str) {
        let Some(attachment) = self.attachments.get_mut(id) else { return };
        let Some(motion) = &mut attachment.motion else { return };
        motion.looks += 1;
        if motion.is_due(self.pace) {
            self.settle_attachment(id);
        }
    }

    pub(super) fn settle_attachment(&mut self, id: &str) {
        let Some(attachment) = self.attachments.get_mut(id) else { return };
        let Some(motion) = attachment.motion.take() else { return };
        let volume = attachment.volume.clone();
        match (attachment.status, motion.conduct) {
            ("creating", Conduct::Fails) => {
                attachment.status = "error";
                self.release(&volume);
            }
            ("creating", _) => attachment.status = "available",
            ("deleting", conduct) => {
                self.attachments.remove(id);
                // Where the driver failed, the volume is never looked at again: it stays in use.
                if conduct == Conduct::Works {
                    self.release(&volume);
                }
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

impl Attachment {
    pub(super) fn show(&self) -> Value {
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
