//! What a volume may be ordered with: profiles, pools and availability zones. They are read only.

use orchestrator_sdk::{Context, Error, Json};
use serde::{Deserialize, Serialize};

use crate::api::{self, POOLS, PROFILES, ZONES};

/// A profile as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Its identifier.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `block` or `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_type: Option<String>,
    /// What it promises, as the API gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_properties: Option<Json>,
}

/// A pool as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Its identifier.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `available`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Its availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// `block` or `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_type: Option<String>,
    /// In GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_capacity: Option<u64>,
    /// In GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_capacity: Option<u64>,
}

/// An availability zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Zone {
    /// Its name.
    pub name: String,
}

/// A zone as releases give it: by its name alone, or as an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum ZoneEntry {
    Name(String),
    Zone(Zone),
}

/// Which profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileId {
    /// Its identifier.
    pub profile_id: String,
}

/// What `list-profiles` and `list-pools` are given. A member that is `null` counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ByName {
    /// Only those of this name.
    pub name: Option<String>,
}

/// What `list-availability-zones` is given: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Everything {}

/// What `list-profiles` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profiles {
    /// By name.
    pub profiles: Vec<Profile>,
}

/// What `list-pools` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pools {
    /// By name.
    pub pools: Vec<Pool>,
}

/// What `list-availability-zones` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Zones {
    /// By name.
    pub availability_zones: Vec<Zone>,
}

/// Lists profiles by name.
///
/// # Errors
/// Those of the API.
pub fn list_profiles(_: &Context, input: ByName) -> Result<Profiles, Error> {
    let mut profiles: Vec<Profile> = api::list(PROFILES, &input.filters())?;
    profiles.retain(|profile| input.takes(profile.name.as_deref()));
    profiles.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(Profiles { profiles })
}

/// Reads a profile.
///
/// # Errors
/// Those of the API; `communication` 404 when there is none.
pub fn get_profile(_: &Context, input: ProfileId) -> Result<Profile, Error> {
    api::read(PROFILES, &input.profile_id)?.ok_or_else(|| api::missing("profile", &input.profile_id))
}

/// Lists pools by name.
///
/// # Errors
/// Those of the API.
pub fn list_pools(_: &Context, input: ByName) -> Result<Pools, Error> {
    let mut pools: Vec<Pool> = api::list(POOLS, &input.filters())?;
    pools.retain(|pool| input.takes(pool.name.as_deref()));
    pools.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(Pools { pools })
}

/// Lists availability zones by name.
///
/// # Errors
/// Those of the API.
pub fn list_availability_zones(_: &Context, _: Everything) -> Result<Zones, Error> {
    let entries: Vec<ZoneEntry> = api::list(ZONES, &[])?;
    let zone = |entry| match entry {
        ZoneEntry::Name(name) => Zone { name },
        ZoneEntry::Zone(zone) => zone,
    };
    let mut availability_zones: Vec<Zone> = entries.into_iter().map(zone).collect();
    availability_zones.sort();
    Ok(Zones { availability_zones })
}

impl ByName {
    fn filters(&self) -> Vec<(&str, &str)> {
        self.name.iter().map(|name| ("name", name.as_str())).collect()
    }

    /// Filtered here too, for a service that ignores the query.
    fn takes(&self, name: Option<&str>) -> bool {
        self.name.is_none() || self.name.as_deref() == name
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
