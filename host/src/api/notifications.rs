//! Notifications: what the server tells the people of a tenant. Whoever is authenticated reads what is for her; `user` and
//! `group` say who reads where an admin asks, or nobody is authenticated. Without either an admin is shown everything, and
//! nothing is anybody's own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::caller::Caller;
use super::events::last_event_id;
use super::extract::{IdempotencyKey, InJson, InPath, InQuery};
use super::list::{self, List};
use super::problem::{Fault, Kind, Problem};
use super::rooms::{Rooms, aside};
use super::streams;
use crate::model::{Permission, Principal};
use crate::notification::{Counts, EntityRef, Filter, New, Reader, Recipients, Severity, View};

/// Characters of a subject that make a user's name, so that the reference is not too long.
const SUBJECT_CHARACTERS_MAX: usize = 40;

/// Who posts what comes in by REST.
const ORIGIN: &str = "api";

/// A notification to post: its members, or `recipients` and a `payload` as Backstage takes them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewNotification {
    /// Who gets it; everybody by default.
    #[serde(default)]
    pub recipients: Option<To>,
    /// One line, 1 to 300 characters.
    pub title: Option<String>,
    /// More about it, at most 4,000 characters.
    pub description: Option<String>,
    /// An `http` or `https` URL, or a path that starts with `/`.
    pub link: Option<String>,
    /// How much it matters; `normal` by default.
    pub severity: Option<Severity>,
    /// What it is about.
    pub topic: Option<String>,
    /// A later one of the same scope and recipients takes its place and is unread again.
    pub scope: Option<String>,
    /// All of the above but `recipients`, in the place of them.
    pub payload: Option<Payload>,
}

/// A notification's content as Backstage takes it; `icon` and `metadata` are taken and not kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[schema(as = NotificationPayload)]
pub struct Payload {
    /// One line, 1 to 300 characters.
    pub title: Option<String>,
    /// More about it.
    pub description: Option<String>,
    /// Where to go.
    pub link: Option<String>,
    /// How much it matters; `normal` by default.
    pub severity: Option<Severity>,
    /// What it is about.
    pub topic: Option<String>,
    /// Its scope.
    pub scope: Option<String>,
}

/// Who gets a notification.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NotificationTo)]
pub struct To {
    /// `broadcast` or `entity`.
    #[serde(rename = "type")]
    #[schema(inline)]
    kind: ToKind,
    /// Users and groups, `user:default/ann`, `group:default/ops`; one as text or a list of up to 100.
    #[serde(default, deserialize_with = "one_or_many")]
    entity_ref: Vec<String>,
    /// Of these, those that do not get it.
    #[serde(default, deserialize_with = "one_or_many")]
    exclude_entity_ref: Vec<String>,
}

/// Everybody or some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToKind {
    /// Everybody.
    Broadcast,
    /// Users and groups.
    Entity,
}

/// Who reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Who {
    /// Who reads, `user:default/ann`: what is for her, and her own marks. By default whoever asks; only an admin reads for
    /// others.
    user: Option<String>,
    /// The groups she is in, with commas in between; only an admin says so.
    group: Option<String>,
}

/// Which notifications to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Who reads, `user:default/ann`: what is for her, and her own marks. By default whoever asks; only an admin reads for
    /// others.
    user: Option<String>,
    /// The groups she is in, with commas in between; only an admin says so.
    group: Option<String>,
    /// Only those that she has read, or has not; needs `user`.
    read: Option<bool>,
    /// Only those that she has saved, or has not; needs `user`.
    saved: Option<bool>,
    /// Only of this severity or above.
    #[param(inline)]
    severity: Option<Severity>,
    /// Only of this topic.
    topic: Option<String>,
    /// Only posted or changed since then (RFC 3339).
    #[param(value_type = Option<String>)]
    since: Option<Timestamp>,
    /// Only with this text in title or description, in any case.
    search: Option<String>,
    /// Items on the page, 1 to 200; by default 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// What to mark, and how. A member that is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NotificationMarks)]
pub struct Marks {
    /// The notifications, up to 1,000.
    #[schema(value_type = Vec<String>)]
    ids: Vec<Uuid>,
    /// Read, or unread again.
    read: Option<bool>,
    /// Saved, or not any more.
    saved: Option<bool>,
}

/// Posts a notification. It is kept, durably, when this is answered. One of the same `scope` (and the same recipients) is
/// updated and unread again if it changed. The server keeps the newest 10,000 notifications of the last 90 days.
#[utoipa::path(post, path = "/v1/notifications", tag = "notifications",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters. The same key \
        finds the notification that was posted first.")),
    request_body(content = NewNotification, examples(
        ("plain" = (summary = "its members", value = json!({"title": "Backup done", "severity": "low",
            "recipients": {"type": "entity", "entityRef": ["group:default/ops"]}}))),
        ("payload" = (summary = "as Backstage takes it", value = json!({"recipients": {"type": "broadcast"},
            "payload": {"title": "Backup done", "topic": "backups"}}))),
    )),
    responses(
        (status = 201, description = "Posted.", body = View,
            headers(("Location" = String, description = "The notification's path."))),
        (status = 200, description = "An earlier one of this scope or `Idempotency-Key` was updated.", body = View),
        (status = 422, description = "`invalid-body`."),
    ))]
pub async fn post_notification(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    IdempotencyKey(key): IdempotencyKey,
    InJson(asked): InJson<NewNotification>,
) -> Result<Response, Problem> {
    let notifications = rooms.notifications_of(&caller.tenant)?;
    let posted = notifications.post(new(asked, key)?).await?;
    let status = if posted.updated { StatusCode::OK } else { StatusCode::CREATED };
    let id = posted.notification.id;
    let location = HeaderValue::try_from(format!("/v1/notifications/{id}")).map_err(Problem::internal)?;
    let view = notifications.view(&Reader::default(), id)?;
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

/// Lists notifications, newest first.
#[utoipa::path(get, path = "/v1/notifications", tag = "notifications", params(Which), responses(
    (status = 200, description = "One page. It may be short, or empty, although there is a next one.",
        body = List<View>),
))]
pub async fn list_notifications(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InQuery(which): InQuery<Which>,
) -> Result<Json<List<View>>, Problem> {
    let limit = list::limit(which.limit)?;
    let reader = Who { user: which.user, group: which.group }.reader(&caller)?;
    if reader.user.is_none() && (which.read.is_some() || which.saved.is_some()) {
        return Err(Problem::new(Kind::InvalidParameter, "say whose marks: set `user` with `read` and `saved`"));
    }
    let filter = Filter {
        read: which.read,
        saved: which.saved,
        severity: which.severity,
        topic: which.topic,
        since: which.since,
        search: which.search,
    };
    let notifications = rooms.notifications_of(&caller.tenant)?;
    let page = aside(move || notifications.list(&reader, &filter, limit, which.cursor.as_deref())).await?;
    Ok(Json(List { items: page.items, next: page.next }))
}

/// Counts the notifications for a reader.
#[utoipa::path(get, path = "/v1/notifications/status", tag = "notifications", params(Who), responses(
    (status = 200, description = "How many are unread, read and saved.", body = Counts),
))]
pub async fn count_notifications(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InQuery(who): InQuery<Who>,
) -> Result<Json<Counts>, Problem> {
    let (reader, notifications) = (who.reader(&caller)?, rooms.notifications_of(&caller.tenant)?);
    aside(move || notifications.counts(&reader)).await.map(Json)
}

/// Follows a reader's notifications as they are posted or changed. A client that comes back with `Last-Event-ID` misses
/// none that are still kept.
#[utoipa::path(get, path = "/v1/notifications/events", tag = "notifications",
    params(Who, ("Last-Event-ID" = Option<u64>, Header, description = "The `id` of the last event received.")),
    responses(
        (status = 200, description = "Events named `notification`; `data` is JSON, `id` its `number`.", body = String,
            content_type = "text/event-stream"),
        (status = 503, description = "`busy`: as many streams are open as the server takes."),
    ))]
pub async fn follow_notifications(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InQuery(who): InQuery<Who>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (reader, after) = (who.reader(&caller)?, last_event_id(&headers)?);
    let place = rooms.follow()?;
    let notifications = rooms
        .notifications_of(&caller.tenant)?
        .follow(reader, after)
        .map(|notification| streams::text("notification", Some(notification.number), &notification));
    Ok(streams::respond(&rooms, notifications, place))
}

/// Marks notifications as read or unread, saved or not, for the user of the query.
#[utoipa::path(post, path = "/v1/notifications/mark", tag = "notifications", params(Who),
    request_body(content = Marks, example = json!({"ids": ["0199c1f0-0000-7000-8000-000000000000"], "read": true})),
    responses(
        (status = 200, description = "All are marked, durably.", body = List<View>),
        (status = 404, description = "`unknown-notification`: one of them; nothing is marked."),
        (status = 422, description = "`invalid-body`."),
    ))]
pub async fn mark_notifications(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InQuery(who): InQuery<Who>,
    InJson(marks): InJson<Marks>,
) -> Result<Json<List<View>>, Problem> {
    let reader = who.reader(&caller)?;
    if reader.user.is_none() {
        return Err(Problem::new(Kind::InvalidParameter, "say whose marks: set `user`"));
    }
    let views = rooms.notifications_of(&caller.tenant)?.mark(&marks.ids, &reader, marks.read, marks.saved).await?;
    Ok(Json(List::whole(views)))
}

/// Gives a notification.
#[utoipa::path(get, path = "/v1/notifications/{id}", tag = "notifications",
    params(("id" = String, Path, format = "uuid", description = "The notification's identifier."), Who),
    responses(
        (status = 200, description = "The notification.", body = View),
        (status = 404, description = "`unknown-notification`."),
    ))]
pub async fn get_notification(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(id): InPath<Uuid>,
    InQuery(who): InQuery<Who>,
) -> Result<Json<View>, Problem> {
    Ok(Json(rooms.notifications_of(&caller.tenant)?.view(&who.reader(&caller)?, id)?))
}

/// Removes a notification, for everybody.
#[utoipa::path(delete, path = "/v1/notifications/{id}", tag = "notifications",
    params(("id" = String, Path, format = "uuid", description = "The notification's identifier.")),
    responses(
        (status = 204, description = "Removed."),
        (status = 404, description = "`unknown-notification`."),
    ))]
pub async fn delete_notification(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(id): InPath<Uuid>,
) -> Result<StatusCode, Problem> {
    rooms.notifications_of(&caller.tenant)?.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Who {
    /// Who reads. An admin says whom she reads for, or sees everything; everybody else reads for herself.
    fn reader(self, caller: &Principal) -> Result<Reader, Problem> {
        let asked = reader(self.user, self.group)?;
        if caller.may(Permission::ManageTenant) {
            return Ok(asked);
        }
        let own = entity_of(&caller.subject);
        match (&asked.user, &asked.groups[..]) {
            (None, []) => Ok(Reader { user: Some(own), groups: Vec::new() }),
            (Some(user), []) if *user == own => Ok(asked),
            _ => Err(Problem::new(
                Kind::InvalidParameter,
                format!("only an admin reads for others: leave `user` and `group` out to read as `{own}`"),
            )),
        }
    }
}

/// Who a subject is among those that notifications name: `oidc:https://issuer.example|ann` and `token:ann` are
/// `user:default/ann`.
fn entity_of(subject: &str) -> EntityRef {
    let own = subject.rsplit_once('|').or_else(|| subject.split_once(':')).map_or(subject, |(_, own)| own);
    let fits = |c: char| if c.is_ascii_alphanumeric() || "-_.@+".contains(c) { c } else { '_' };
    let name: String = own.chars().take(SUBJECT_CHARACTERS_MAX).map(fits).collect();
    let name = if name.is_empty() { "nobody" } else { &name };
    EntityRef::parse(&format!("user:default/{name}")).expect("every character was made to fit")
}

fn reader(user: Option<String>, group: Option<String>) -> Result<Reader, Problem> {
    let wrong = |text: String| Problem::new(Kind::InvalidParameter, text);
    let entity = |text: &str, is_user: bool| match EntityRef::parse(text.trim()) {
        Ok(entity) if entity.is_user() == is_user => Ok(entity),
        Ok(entity) => Err(wrong(format!("`{entity}`: set `user` to a user and `group` to groups"))),
        Err(error) => Err(wrong(error.to_string())),
    };
    let groups = group.as_deref().unwrap_or_default().split(',').filter(|group| !group.trim().is_empty());
    Ok(Reader {
        user: user.map(|user| entity(&user, true)).transpose()?,
        groups: groups.map(|group| entity(group, false)).collect::<Result<_, _>>()?,
    })
}

/// What a body asks to post.
pub(super) fn new(asked: NewNotification, key: Option<String>) -> Result<New, Problem> {
    let recipients = match &asked.recipients {
        Some(to) => to.recipients()?,
        None => Recipients::Broadcast,
    };
    let NewNotification { title, description, link, severity, topic, scope, payload, .. } = asked;
    let members = Payload { title, description, link, severity, topic, scope };
    let payload = match payload {
        None => members,
        Some(payload) if members == Payload::default() => payload,
        Some(_) => return Err(wrong("/payload", "write the members in `payload` or beside `recipients`, not in both")),
    };
    let Some(title) = payload.title else { return Err(wrong("/title", "give the notification a `title`")) };
    Ok(New {
        origin: ORIGIN.to_owned(),
        recipients,
        title,
        description: payload.description,
        link: payload.link,
        severity: payload.severity.unwrap_or_default(),
        topic: payload.topic,
        scope: payload.scope,
        repeat_key: key,
    })
}

impl To {
    fn recipients(&self) -> Result<Recipients, Problem> {
        if self.kind == ToKind::Broadcast {
            return Ok(Recipients::Broadcast);
        }
        let read = |names: &[String], member: &str| {
            let entity = |name: &String| EntityRef::parse(name).map_err(|error| wrong(member, error.to_string()));
            names.iter().map(entity).collect::<Result<Vec<_>, _>>()
        };
        let mut entities = read(&self.entity_ref, "/recipients/entityRef")?;
        let excluded = read(&self.exclude_entity_ref, "/recipients/excludeEntityRef")?;
        entities.retain(|entity| !excluded.contains(entity));
        Ok(Recipients::entities(entities))
    }
}

fn wrong(pointer: &str, message: impl Into<String>) -> Problem {
    let message = message.into();
    Problem::new(Kind::InvalidBody, format!("{pointer}: {message}")).with([Fault::at(pointer, message)])
}

/// A text, or a list of texts.
fn one_or_many<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text or a list of texts")]
    enum Texts {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Texts::deserialize(deserializer)? {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    })
}
