//! What somebody says of a schedule, and whether that can be; its row; when it fires.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::timing::{self, PERIOD_MIN};
use crate::definition::graph::Schedule;
use crate::definition::{cron, duration};
use crate::model::{InstanceId, Json, PackName, ScheduleName, ServiceName, WorkflowName};
use crate::service::Wrong;

/// A time that is further back is a mistake and no late request.
const PAST_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Characters of a description, at most.
const TEXT_CHARACTERS_MAX: usize = 4096;

/// Bytes of a whole schedule, at most: it is read and written at each fire.
const BYTES_MAX: usize = 262_144;

/// What somebody says of a schedule: a name, what to start, and one of `at`, `cron` and `every`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewSchedule)]
pub struct ScheduleTemplate {
    /// Its name; the path gives it where it is put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "nightly-sync")]
    pub name: Option<ScheduleName>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The service to order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "bucket sync")]
    pub service: Option<ServiceName>,
    /// The pack of the workflow to start, in the place of `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub pack: Option<PackName>,
    /// The pack's version; by default the newest at each fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub version: Option<semver::Version>,
    /// The workflow to start; beside `service`, the name of one of its workflows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workflow: Option<WorkflowName>,
    /// The input of each instance.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    #[schema(value_type = Option<Object>)]
    pub input: Json,
    /// When it fires, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// When it fires again and again: `minute hour day-of-month month day-of-week`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "0 3 * * mon-fri")]
    pub cron: Option<String>,
    /// How often it fires: an ISO 8601 duration of at least a second, without years and months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "PT15M")]
    pub every: Option<String>,
    /// The zone whose clocks `cron` goes by; by default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// Whether it fires; by default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// The last fire of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastFire {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The instance it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub instance: Option<InstanceId>,
    /// Why it started none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A schedule that somebody made, and how far it is (key `y` `t`). Members are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeRow {
    /// Tells it from another one that has its name later.
    pub(super) id: Uuid,
    /// Counts the changes by people, from 1.
    pub(super) revision: u64,
    pub(super) name: ScheduleName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created_by: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) declared: ScheduleTemplate,
    /// The next fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) due: Option<Timestamp>,
    /// The last fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<LastFire>,
}

/// When a schedule that somebody made fires.
#[derive(Debug)]
pub(super) enum Timing {
    At(Timestamp),
    Every(Schedule),
    Cron(String, TimeZone),
}

impl ScheduleTemplate {
    /// Whether it fires.
    pub(super) fn is_on(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Whether both fire at the same times.
    pub(super) fn same_timing(&self, other: &Self) -> bool {
        (self.at, &self.cron, &self.every, &self.time_zone) == (other.at, &other.cron, &other.every, &other.time_zone)
    }

    /// Checks everything that can be checked without knowing what is installed.
    pub(super) fn check(&self) -> Result<Timing, Vec<Wrong>> {
        let mut wrong = Vec::new();
        if self.description.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARACTERS_MAX) {
            wrong.push(Wrong::at("/description", format!("use at most {TEXT_CHARACTERS_MAX} characters")));
        }
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |bytes| bytes.len());
        if bytes > BYTES_MAX {
            wrong.push(Wrong::at("", format!("the schedule has {bytes} bytes; {BYTES_MAX} fit")));
        }
        let target = (&self.service, &self.pack, &self.workflow, &self.version);
        if !matches!(target, (Some(_), None, _, None) | (None, Some(_), Some(_), _)) {
            let message = "give either `service` (and `workflow`, where it has several), or `pack` and `workflow`";
            wrong.push(Wrong::at("", message));
        }
        let timing = self.timing().map_err(|found| wrong.push(found)).ok();
        timing.filter(|_| wrong.is_empty()).ok_or(wrong)
    }

    /// When it fires.
    pub(super) fn timing(&self) -> Result<Timing, Wrong> {
        if self.time_zone.is_some() && self.cron.is_none() {
            return Err(Wrong::at("/timeZone", "only `cron` goes by the clocks of a zone; leave it out"));
        }
        match (self.at, &self.cron, &self.every) {
            (Some(at), None, None) => Ok(Timing::At(at)),
            (None, Some(text), None) => self.by_cron(text),
            (None, None, Some(text)) => by_period(text),
            _ => Err(Wrong::at("", "give one of `at`, `cron` and `every`")),
        }
    }

    fn by_cron(&self, text: &str) -> Result<Timing, Wrong> {
        let zone = self.time_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get).map_err(|_| {
            Wrong::at("/timeZone", "give a zone's name of the IANA database, such as `Europe/Berlin` or `UTC`")
        })?;
        match cron::next_in(text, Timestamp::UNIX_EPOCH, &zone) {
            Ok(Some(_)) => Ok(Timing::Cron(text.to_owned(), zone)),
            Ok(None) => Err(Wrong::at("/cron", "no day fits this expression")),
            Err(why) => Err(Wrong::at("/cron", why)),
        }
    }
}

fn by_period(text: &str) -> Result<Timing, Wrong> {
    let period = duration::read(&Json::from(text)).map_err(|why| Wrong::at("/every", why))?;
    if period < PERIOD_MIN {
        return Err(Wrong::at("/every", "give at least a second, `PT1S`"));
    }
    Ok(Timing::Every(Schedule::Every(period)))
}

impl Timing {
    /// The first fire of a schedule that begins now.
    pub(super) fn first(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(*at),
            Self::Every(schedule) => timing::first(schedule, now),
            Self::Cron(text, zone) => cron_after(text, now, zone),
        }
    }

    /// The fire after the one that was due then: the first of the rhythm that is not past.
    pub(super) fn next(&self, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(_) => None,
            Self::Every(schedule) => timing::next(schedule, due, now),
            Self::Cron(text, zone) => cron_after(text, due.max(now), zone),
        }
    }

    /// Refuses a time that is over.
    pub(super) fn check_ahead(&self, now: Timestamp) -> Result<(), Wrong> {
        match self {
            Self::At(at) if now.duration_since(*at) > PAST_MAX => {
                Err(Wrong::at("/at", format!("{at} is past; give a time that is to come")))
            }
            _ => Ok(()),
        }
    }
}

fn cron_after(text: &str, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    // Checked when it was said.
    cron::next_in(text, after, zone).ok().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        let check = |members: Json, expected: &[&str]| {
            let mut all = json!({"name": "a", "service": "s", "every": "PT1M"});
            all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            let template: ScheduleTemplate = serde_json::from_value(all).unwrap();
            let wrong = template.check().err().unwrap_or_default();
            let places: Vec<_> = wrong.iter().map(|wrong| wrong.pointer.as_str()).collect();
            assert_eq!(places, expected, "{members}: {wrong:?}");
        };
        check(json!({}), &[]);
        check(json!({"service": null, "pack": "p", "workflow": "w", "version": "1.0.0"}), &[]);
        check(json!({"every": null, "cron": "0 3 * * *", "timeZone": "Asia/Tokyo"}), &[]);
        check(json!({"every": null, "at": "2026-01-01T00:00:00+02:00"}), &[]);
        check(json!({"every": "PT0.5S"}), &["/every"]);
        check(json!({"every": "P1M"}), &["/every"]);
        check(json!({"every": null}), &[""]);
        check(json!({"cron": "* * * * *"}), &[""]);
        check(json!({"every": null, "cron": "61 * * * *"}), &["/cron"]);
        check(json!({"every": null, "cron": "0 0 30 2 *"}), &["/cron"]);
        check(json!({"every": null, "cron": "* * * * *", "timeZone": "Mars/Olympus"}), &["/timeZone"]);
        check(json!({"timeZone": "UTC"}), &["/timeZone"]);
        check(json!({"pack": "p", "every": "soon"}), &["", "/every"]);
        check(json!({"description": "x".repeat(5000), "service": null}), &["/description", ""]);
    }

    #[test]
    fn a_stored_row_is_read_as_it_was_written() {
        let stored = json!({
            "id": "0199c1f0-0000-7000-8000-000000000000", "revision": 2, "name": "nightly", "createdBy": "token:ci",
            "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-02T00:00:00Z",
            "declared": {"name": "nightly", "service": "sync", "input": {"a": 1}, "cron": "0 3 * * *",
                "timeZone": "Europe/Berlin", "enabled": true},
            "due": "2026-01-03T02:00:00Z",
            "last": {"at": "2026-01-02T02:00:00Z", "instance": "0199c1f0-0000-7000-8000-000000000000"},
        });
        let read: MadeRow = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), stored);
    }
}
