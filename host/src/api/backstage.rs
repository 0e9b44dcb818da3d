//! Posting notifications as the notifications backend of Backstage takes them, so that workflows written for it need only
//! another base URL. The reading side is `/v1/notifications`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::json;

use super::caller::Caller;
use super::extract::InJson;
use super::notifications::{NewNotification, new};
use super::problem::Problem;
use super::rooms::Rooms;
use crate::model::Json as Data;
use crate::notification::{Notification, Recipients};

/// Posts a notification as Backstage takes it.
#[utoipa::path(post, path = "/api/notifications", operation_id = "post_notification_short", tag = "notifications",
    request_body(content = NewNotification, example = json!({"recipients": {"type": "broadcast"},
        "payload": {"title": "Backup done", "severity": "normal", "topic": "backups"}})),
    responses(
        (status = 200, description = "Posted: one element for each recipient, with `user` null for a broadcast.",
            body = Vec<Object>),
        (status = 422, description = "`invalid-body`."),
    ))]
pub async fn post_notification(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InJson(asked): InJson<NewNotification>,
) -> Result<Json<Vec<Data>>, Problem> {
    let posted = rooms.notifications_of(&caller.tenant)?.post(new(asked, None)?).await?;
    Ok(Json(rows(&posted.notification)))
}

/// Posts a notification as Backstage takes it, by the longer path.
#[utoipa::path(post, path = "/api/notifications/notifications", tag = "notifications",
    request_body(content = NewNotification),
    responses(
        (status = 200, description = "As `/api/notifications`.", body = Vec<Object>),
        (status = 422, description = "`invalid-body`."),
    ))]
pub async fn post_notification_long(
    rooms: State<Arc<Rooms>>,
    caller: Caller,
    asked: InJson<NewNotification>,
) -> Result<Json<Vec<Data>>, Problem> {
    post_notification(rooms, caller, asked).await
}

/// What Backstage answers: a row for each recipient.
fn rows(notification: &Notification) -> Vec<Data> {
    let mut payload = json!({ "title": notification.title, "severity": notification.severity });
    let members = [
        ("description", &notification.description),
        ("link", &notification.link),
        ("topic", &notification.topic),
        ("scope", &notification.scope),
    ];
    for (member, text) in members.into_iter().filter_map(|(member, text)| Some((member, text.as_ref()?))) {
        payload[member] = json!(text);
    }
    let row = |user: Option<&str>| {
        json!({
            "id": notification.id,
            "user": user,
            "created": notification.created,
            "updated": notification.updated,
            "saved": null,
            "read": null,
            "origin": notification.origin,
            "payload": payload,
        })
    };
    match &notification.recipients {
        Recipients::Broadcast => vec![row(None)],
        Recipients::Entity { entity_ref } => entity_ref.iter().map(|entity| row(Some(entity.as_str()))).collect(),
    }
}
