//! Hosts, profiles, pools and availability zones of the double.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Asked, PROFILE, Refusal, World, bad, missing, page};
use crate::soda::rules;

pub(super) struct Host {
    shown: Value,
    pub(super) zones: Vec<String>,
}

impl World {
    pub(in crate::soda) fn add_host(&mut self, id: &str, zones: &[&str]) {
        let body = json!({
            "accessMode": "agentless", "hostName": "host", "osType": "linux", "ip": "192.0.2.1",
            "availabilityZones": zones
        });
        self.make_host(id, &body);
    }

    pub(in crate::soda) fn add_profile(&mut self, id: &str) {
        self.profiles.push((id.to_owned(), id.to_owned()));
    }

    pub(super) fn create_host(&mut self, asked: &Asked) -> Result<Answer, Refusal> {
        rules::check(asked.body, rules::HOST).map_err(bad)?;
        let id = Uuid::now_v7().to_string();
        self.make_host(&id, asked.body);
        self.get_host(&id)
    }

    pub(super) fn get_host(&self, id: &str) -> Result<Answer, Refusal> {
        let host = self.hosts.get(id).ok_or_else(|| missing("host", id))?;
        Ok(Answer::json(200, host.shown.clone()))
    }

    fn make_host(&mut self, id: &str, body: &Value) {
        let mut shown = self.head(id);
        for name in ["accessMode", "hostName", "osType", "ip", "availabilityZones", "initiators"] {
            if let Some(value) = body.get(name) {
                shown.insert(name.to_owned(), value.clone());
            }
        }
        let zones = body["availabilityZones"].as_array().into_iter().flatten();
        let zones = zones.filter_map(Value::as_str).map(str::to_owned).collect();
        self.made.hosts += 1;
        self.hosts.insert(id.to_owned(), Host { shown: Value::Object(shown), zones });
    }

    /// The query is ignored, as most releases do.
    pub(super) fn list_hosts(&self, _: &Asked) -> Answer {
        Answer::json(200, self.hosts.values().map(|host| host.shown.clone()).collect())
    }

    pub(super) fn delete_host(&mut self, id: &str) -> Result<Answer, Refusal> {
        match self.hosts.remove(id) {
            Some(_) => Ok(Answer { status: 200, body: None }),
            None => Err(bad(format!("delete host failed: host {id} not found"))),
        }
    }

    pub(super) fn create_profile(&mut self, asked: &Asked) -> Result<Answer, Refusal> {
        rules::check(asked.body, rules::PROFILE).map_err(bad)?;
        let name = asked.text("name").unwrap_or_default();
        if self.profiles.iter().any(|(_, taken)| *taken == name) {
            return Err(bad(format!("create profile failed: the profile name '{name}' already exists")));
        }
        let id = Uuid::now_v7().to_string();
        self.profiles.push((id.clone(), name));
        self.get_profile(&id)
    }

    pub(super) fn list_profiles(&self, asked: &Asked) -> Answer {
        let fits = |name: &str| asked.query("name").is_none_or(|wanted| wanted == name);
        let profiles = self.profiles.iter().filter(|(_, name)| fits(name));
        page(asked, profiles.map(|(id, name)| profile(id, name)).collect())
    }

    pub(super) fn get_profile(&self, id: &str) -> Result<Answer, Refusal> {
        let found = self.profiles.iter().find(|(known, _)| known == id);
        let (id, name) = found.ok_or_else(|| missing("profile", id))?;
        Ok(Answer::json(200, profile(id, name)))
    }

    /// One pool in the zone `default`.
    pub(super) fn list_pools(&self, asked: &Asked) -> Answer {
        let used: u64 = self.volumes.values().map(|volume| volume.size).sum();
        let pool = json!({
            "id": "50ba7ba1-8bcb-4b3e-a1dd-dd8f8a5b1c12", "createdAt": "2021-04-16T15:00:00", "updatedAt": "",
            "name": "opensds-volumes-default", "status": "available", "storageType": "block",
            "availabilityZone": "default", "totalCapacity": 1000, "freeCapacity": 1000_u64.saturating_sub(used),
            "dockId": "76db48da-0000-4e4f-8b1d-5e7cf9f1a6a2"
        });
        let fits = asked.query("name").is_none_or(|wanted| pool["name"] == json!(wanted));
        page(asked, if fits { vec![pool] } else { Vec::new() })
    }

    pub(super) fn list_zones(&self, asked: &Asked) -> Answer {
        let zone = json!({"id": "7d1f6e5b-1c6d-4f0e-b7cf-0d4a2b3c4d5e", "createdAt": "2021-04-16T15:00:00", "name": "default"});
        page(asked, vec![zone])
    }
}

fn profile(id: &str, name: &str) -> Value {
    let policy = if id == PROFILE { "Thick" } else { "Thin" };
    json!({
        "id": id, "createdAt": "2021-04-16T15:00:00", "updatedAt": "", "name": name, "storageType": "block",
        "provisioningProperties": {
            "dataStorage": {"provisioningPolicy": policy}, "ioConnectivity": {"accessProtocol": "iscsi"}
        }
    })
}
