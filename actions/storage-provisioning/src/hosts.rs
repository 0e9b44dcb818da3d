//! Hosts: what volumes are attached to. The API lets several hosts have one name; here the name is the key, so that a
//! repeat finds the host whose answer was lost.

use orchestrator_sdk::{Context, Error, Finding, Json, http, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, BACKEND, Deletion, HOSTS};
use crate::{marker, wire};

/// A host as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Its identifier.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// `linux`, `windows` or `esxi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_type: Option<String>,
    /// `agent` or `agentless`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The zones whose volumes it may attach.
    #[serde(default)]
    pub availability_zones: Vec<String>,
    /// What it reaches volumes by.
    #[serde(default)]
    pub initiators: Vec<Json>,
    /// `YYYY-MM-DDTHH:MM:SS` in the storage service's own zone, which it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: wire::Time,
}

/// What `create-host` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateHost {
    /// Its name; one that is taken gives the host that has it.
    pub host_name: String,
    /// Its address.
    pub ip: String,
    /// `linux` when absent.
    pub os_type: Option<String>,
    /// `agentless` when absent.
    pub access_mode: Option<String>,
    /// `[default]` when absent.
    pub availability_zones: Option<Vec<String>>,
    /// What it reaches volumes by.
    pub initiators: Option<Vec<Initiator>>,
}

/// A port that a host reaches volumes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Initiator {
    /// An IQN, or a world wide name.
    pub port_name: String,
    /// `iscsi`, `fibre_channel`, …
    pub protocol: String,
}

/// The request's body; what is absent is not written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    host_name: &'a str,
    ip: &'a str,
    os_type: &'a str,
    access_mode: &'a str,
    availability_zones: Vec<&'a str>,
    initiators: Option<&'a [Initiator]>,
}

/// Which host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostId {
    /// Its identifier.
    pub host_id: String,
}

/// What `list-hosts` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListHosts {
    /// Only hosts of this name.
    pub host_name: Option<String>,
}

/// What `list-hosts` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosts {
    /// The oldest first.
    pub hosts: Vec<Host>,
}

/// Registers a host, or finds the one that has its name. Only one that was made here is noted for undo.
///
/// # Errors
/// Those of the API; unknown when the host may have been registered; `validation` 409 when the name belongs to a host
/// with another address, system or zones.
pub fn create_host(ctx: &Context, input: CreateHost) -> Result<Host, Error> {
    if let Some(host) = input.find()? {
        log::info!("host `{}` is already registered", host.id);
        return input.fitting(host);
    }
    let response = http::post(BACKEND, HOSTS).json(&wire::body(&input.body())).send()?;
    if !response.is_success() {
        let doing = format!("register host `{}`", input.host_name);
        return Err(api::refused(&response, &doing, "check address, system, access mode and initiators"));
    }
    left(ctx, wire::parse(&response)?)
}

/// Tells whether an earlier run registered its host.
///
/// # Errors
/// Those of the API, and of `create-host`.
pub fn probe_create_host(ctx: &Context, input: CreateHost) -> Result<Finding<Host>, Error> {
    match input.find()? {
        Some(host) => Ok(Finding::Done(left(ctx, input.fitting(host)?)?)),
        None => Ok(Finding::NotDone),
    }
}

/// Takes back the registration that a run made.
///
/// # Errors
/// Those of the API.
pub fn undo_create_host(ctx: &Context, receipt: HostId) -> Result<(), Error> {
    if let Deletion::Refused(error) = api::delete(HOSTS, &receipt.host_id)? {
        // A host that is not there is refused, too.
        if api::read::<Host>(HOSTS, &receipt.host_id)?.is_some() {
            return Err(error);
        }
    }
    ctx.deleted("host", &receipt.host_id);
    Ok(())
}

/// Reads a host.
///
/// # Errors
/// Those of the API; `communication` 404 when there is none.
pub fn get_host(_: &Context, input: HostId) -> Result<Host, Error> {
    api::read(HOSTS, &input.host_id)?.ok_or_else(|| api::missing("host", &input.host_id))
}

/// Lists hosts, the oldest first.
///
/// # Errors
/// Those of the API.
pub fn list_hosts(_: &Context, input: ListHosts) -> Result<Hosts, Error> {
    Ok(Hosts { hosts: list(input.host_name.as_deref())? })
}

/// Hosts, filtered here too: most releases ignore the query.
fn list(name: Option<&str>) -> Result<Vec<Host>, Error> {
    let filters: Vec<_> = name.map(|name| ("hostName", name)).into_iter().collect();
    let mut hosts: Vec<Host> = api::list(HOSTS, &filters)?;
    hosts.retain(|host| name.is_none_or(|name| host.host_name.as_deref() == Some(name)));
    hosts.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
    Ok(hosts)
}

/// Notes the host for ledger and undo.
fn left(ctx: &Context, host: Host) -> Result<Host, Error> {
    ctx.created("host", &host.id);
    ctx.receipt(&HostId { host_id: host.id.clone() })?;
    Ok(host)
}

impl CreateHost {
    fn find(&self) -> Result<Option<Host>, Error> {
        Ok(marker::oldest("hosts", &self.host_name, list(Some(&self.host_name))?))
    }

    fn body(&self) -> Body<'_> {
        Body {
            host_name: &self.host_name,
            ip: &self.ip,
            os_type: self.os_type.as_deref().unwrap_or("linux"),
            access_mode: self.access_mode.as_deref().unwrap_or("agentless"),
            availability_zones: self.zones(),
            initiators: self.initiators.as_deref(),
        }
    }

    fn zones(&self) -> Vec<&str> {
        match &self.availability_zones {
            Some(zones) => zones.iter().map(String::as_str).collect(),
            None => vec!["default"],
        }
    }

    /// The host of this name, if it is the one that is meant.
    fn fitting(&self, host: Host) -> Result<Host, Error> {
        let (body, id) = (self.body(), &host.id);
        let differs = |what: &str, has: Option<&str>, asked: &str| {
            has.filter(|has| *has != asked).map(|has| format!("its {what} is `{has}`, not `{asked}`"))
        };
        let zone = body.availability_zones.iter().find(|zone| !host.availability_zones.iter().any(|has| has == *zone));
        let difference = differs("address", host.ip.as_deref(), body.ip)
            .or_else(|| differs("system", host.os_type.as_deref(), body.os_type))
            .or_else(|| zone.map(|zone| format!("it is not in the availability zone `{zone}`")));
        match difference {
            None => Ok(host),
            Some(difference) => {
                let name = &self.host_name;
                Err(api::conflict(format!(
                    "the name `{name}` belongs to host `{id}`, but {difference}; use another name"
                )))
            }
        }
    }
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
