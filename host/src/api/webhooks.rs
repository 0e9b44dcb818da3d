//! Webhooks of outside systems, turned into events for exactly the instance that waits for them. Whoever sends one proves
//! that it knows the secret `jira-webhook` of the tenant it is for. The event says only that it is worth a look: a workflow decides by what the
//! outside system itself tells.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

use super::extract::{self, InQuery};
use super::problem::{Fault, Kind, Problem};
use super::rooms::Rooms;
use crate::coordinator::events::cloud_event::CloudEvent;
use crate::coordinator::{EventError, InstanceError};
use crate::model::{InstanceId, Json as Data, SecretName, TenantName};

/// The secret that a sender of Jira's webhooks has to know.
const SECRET: &str = "jira-webhook";

/// Where Jira Cloud puts the signature of the body (as WebSub does).
const SIGNATURE: &str = "x-hub-signature";

/// Where an automation rule may put the secret itself.
const TOKEN: &str = "x-webhook-token";

/// A webhook's bytes, at most: an issue comes with all its fields, and on a server with its comments.
const BODY_BYTES_MAX: usize = 4 << 20;

/// How long a body may take to arrive.
const BODY_SECONDS_MAX: Duration = Duration::from_secs(30);

/// Labels that are looked at: an issue has a handful.
const LABELS_MAX: usize = 1_000;

/// Characters of an issue's key or a workflow's name that are taken over; Jira's keys are far shorter.
const TEXT_CHARS_MAX: usize = 255;

/// Seconds after which a webhook may have place again.
const RETRY_SECONDS: u32 = 30;

/// The label that says which instance an issue belongs to, followed by its identifier.
const INSTANCE_LABEL: &str = "workflowInstanceId=";

/// The label that says of which workflow.
const WORKFLOW_LABEL: &str = "workflowName=";

/// The category of a status that ends an issue; the same in every language.
const DONE: &str = "done";

/// Type and source of the event, as workflows that come from elsewhere know them.
const EVENT_TYPE: &str = "io.rhdhorchestrator.escalation";
const EVENT_SOURCE: &str = "ticket.listener";

/// How the sender proves itself where it cannot sign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Proof {
    /// The secret itself; for Jira Server and Data Center, whose webhooks have neither signature nor headers.
    token: Option<String>,
    /// The tenant whose instance waits and whose secret proves it; by default `default`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    tenant: TenantName,
}

/// What of a webhook is read. Jira sends far more, and other members with each release.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hook {
    key: String,
    labels: Vec<String>,
    category: Option<String>,
}

impl Hook {
    /// The issue that a webhook is about; some are about none.
    fn read(body: &Data) -> Result<Option<Self>, Problem> {
        for place in ["", "/issue", "/issue/fields", "/issue/fields/status", "/issue/fields/status/statusCategory"] {
            match body.pointer(place) {
                Some(Data::Object(_)) => {}
                None | Some(Data::Null) if !place.is_empty() => break,
                _ => return Err(wrong(place, "is no object")),
            }
        }
        if body.pointer("/issue").is_none_or(Data::is_null) {
            return Ok(None);
        }
        let key = text(body, "/issue/key")?.ok_or_else(|| wrong("/issue/key", "is missing"))?;
        let category = text(body, "/issue/fields/status/statusCategory/key")?;
        Ok(Some(Self { key, labels: labels(body)?, category }))
    }
}

fn labels(body: &Data) -> Result<Vec<String>, Problem> {
    let place = "/issue/fields/labels";
    let labels = match body.pointer(place) {
        None | Some(Data::Null) => return Ok(Vec::new()),
        Some(Data::Array(labels)) => labels,
        Some(_) => return Err(wrong(place, "is no array")),
    };
    let text = |(index, label): (usize, &Data)| match label {
        Data::String(text) => Ok(text.clone()),
        _ => Err(wrong(&format!("{place}/{index}"), "is no text")),
    };
    labels.iter().take(LABELS_MAX).enumerate().map(text).collect()
}

fn text(body: &Data, place: &str) -> Result<Option<String>, Problem> {
    match body.pointer(place) {
        None | Some(Data::Null) => Ok(None),
        Some(Data::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(place, "is no text")),
    }
}

fn wrong(place: &str, message: &str) -> Problem {
    let told = if place.is_empty() { "the body" } else { place };
    Problem::new(Kind::InvalidBody, format!("this is no webhook of Jira: {told} {message}"))
        .with([Fault::at(place, message)])
}

/// An issue that came to its end, and the instance that waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeardTicket {
    /// The issue's key.
    #[schema(example = "OPS-7")]
    ticket_id: String,
    /// The instance that is told.
    #[serde(rename = "workFlowInstanceId")]
    #[schema(value_type = String, format = "uuid")]
    instance: InstanceId,
    /// What the issue says about its workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ticket-escalation")]
    workflow_name: Option<String>,
    /// The category of its status.
    #[schema(example = "done")]
    status: String,
}

/// Takes a webhook of Jira. An issue that is done and carries the label `workflowInstanceId=<id>` of an instance that has
/// not ended becomes an event for that instance, if it is of the tenant of the query, stored durably when this is answered. The same webhook again is dropped,
/// so that Jira may repeat it. The sender signs the body with the secret `jira-webhook` (`X-Hub-Signature`, Jira Cloud),
/// or sends the secret itself in `?token=` or in the header `X-Webhook-Token`.
#[utoipa::path(post, path = "/v1/webhooks/jira", tag = "events",
    params(
        Proof,
        ("X-Hub-Signature" = Option<String>, Header, description = "`sha256=` and the HMAC-SHA256 of the body, hexadecimal."),
        ("X-Webhook-Token" = Option<String>, Header, description = "The secret itself."),
    ),
    request_body(content = Object, description = "What Jira sends, up to 4 MiB."),
    responses(
        (status = 200, description = "The event is stored.", body = HeardTicket),
        (status = 204, description = "Not for us: no issue, not done, without such a label, or its instance has ended."),
        (status = 400, description = "`malformed-json`, `broken-body`."),
        (status = 401, description = "`webhook-unproved`: neither signature nor token."),
        (status = 403, description = "`webhook-refused`: a wrong signature or token, or no secret is stored."),
        (status = 413, description = "`body-too-large`."),
        (status = 422, description = "`invalid-body`."),
        (status = 503, description = "`busy`, `store-unavailable`."),
    ))]
pub async fn hear_jira(
    State(rooms): State<Arc<Rooms>>,
    InQuery(proof): InQuery<Proof>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let tenant = proof.tenant.clone();
    let given = Given::of(&head.headers, proof)?;
    let secret = secret(&rooms, &tenant)?;
    if let Given::Token(token) = &given {
        check(is_same(&secret, token.as_bytes()))?;
    }
    let body = extract::read(body, BODY_BYTES_MAX, BODY_SECONDS_MAX).await?;
    if let Given::Signature(signature) = &given {
        check(is_signed(&secret, &body, signature))?;
    }
    let Some(ticket) = ticket(&rooms, &tenant, Hook::read(&extract::parse(&body)?)?)? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    rooms.coordinator.take_events(&tenant, vec![event(&ticket, &body)?]).await.map_err(|error| match error {
        EventError::Full => Problem::busy(error, RETRY_SECONDS),
        EventError::Unavailable(_) if rooms.stopping.is_cancelled() => Problem::stopping(),
        EventError::Unavailable(_) => Problem::store(error),
    })?;
    tracing::info!(ticket = ticket.ticket_id, instance = %ticket.instance, "a ticket was decided");
    Ok(Json(ticket).into_response())
}

/// What the sender gave as proof.
enum Given {
    /// The HMAC of the body.
    Signature([u8; 32]),
    /// The secret itself.
    Token(Zeroizing<String>),
}

impl Given {
    /// A signature goes before a token: who can sign does.
    fn of(headers: &HeaderMap, proof: Proof) -> Result<Self, Problem> {
        if let Some(signature) = headers.get(SIGNATURE) {
            let digits = signature.to_str().ok().and_then(|text| text.strip_prefix("sha256="));
            let mut bytes = [0; 32];
            return match digits.map(|digits| hex::decode_to_slice(digits, &mut bytes)) {
                Some(Ok(())) => Ok(Self::Signature(bytes)),
                _ => Err(refused("`X-Hub-Signature` is not `sha256=` and 64 hexadecimal digits")),
            };
        }
        let header = headers.get(TOKEN).and_then(|token| token.to_str().ok()).map(str::to_owned);
        match header.or(proof.token) {
            Some(token) => Ok(Self::Token(Zeroizing::new(token))),
            None => Err(Problem::new(
                Kind::WebhookUnproved,
                format!(
                    "enter the secret `{SECRET}` in Jira's webhook so that it signs what it sends, or append `?token=` \
                     and the secret to the webhook's URL"
                ),
            )),
        }
    }
}

fn secret(rooms: &Rooms, tenant: &TenantName) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let name = SecretName::parse(SECRET).expect("the constant is a name");
    let Some(mut secret) = rooms.secrets.of(tenant).reveal(&name)? else {
        return Err(refused("the server has no secret for Jira's webhooks yet"));
    };
    // A value piped from a file ends in a line feed, which no secret has.
    while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        secret.pop();
    }
    match secret.is_empty() {
        true => Err(refused("the server's secret for Jira's webhooks is empty")),
        false => Ok(secret),
    }
}

fn is_signed(secret: &[u8], body: &[u8], signature: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), body, signature).is_ok()
}

/// Compares by HMACs under the secret, so that the time taken says nothing about where two tokens differ.
fn is_same(secret: &[u8], token: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::verify(&key, token, hmac::sign(&key, secret).as_ref()).is_ok()
}

fn check(holds: bool) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(refused("the signature or token does not fit")) }
}

fn refused(why: &str) -> Problem {
    let cure = format!("store the secret by `orchctl secret set {SECRET}`, and enter the same one in Jira's webhook");
    Problem::new(Kind::WebhookRefused, format!("{why}; {cure}"))
}

/// The ticket, where the webhook is about the end of one whose instance waits.
fn ticket(rooms: &Rooms, tenant: &TenantName, hook: Option<Hook>) -> Result<Option<HeardTicket>, Problem> {
    let Some(ticket) = hook.and_then(done) else { return Ok(None) };
    match rooms.coordinator.instance(ticket.instance) {
        Ok(instance) => Ok((instance.tenant == *tenant && !instance.status.is_final()).then_some(ticket)),
        Err(InstanceError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The issue, where it is done and belongs to exactly one instance.
fn done(hook: Hook) -> Option<HeardTicket> {
    let Hook { key, labels, category } = hook;
    let status = category.filter(|key| key == DONE)?;
    let instance_of = |label: &String| label.strip_prefix(INSTANCE_LABEL)?.parse().ok();
    let instances: BTreeSet<InstanceId> = labels.iter().filter_map(instance_of).collect();
    let instance = *instances.first().filter(|_| instances.len() == 1)?;
    let short = |text: &str| !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX;
    let mut names = labels.iter().filter_map(|label| label.strip_prefix(WORKFLOW_LABEL));
    let workflow_name = names.find(|name| short(name)).map(str::to_owned);
    short(&key).then_some(HeardTicket { ticket_id: key, instance, workflow_name, status })
}

/// The event. Its identifier is that of the webhook's bytes: Jira repeats them as they are.
fn event(ticket: &HeardTicket, body: &Bytes) -> Result<CloudEvent, Problem> {
    let event = json!({
        "specversion": "1.0",
        "id": format!("jira-{}", hex::encode(Sha256::digest(body))),
        "source": EVENT_SOURCE,
        "type": EVENT_TYPE,
        "subject": ticket.ticket_id,
        "kogitoprocrefid": ticket.instance,
        "datacontenttype": "application/json",
        "data": ticket,
    });
    CloudEvent::structured(event).map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0199c1f0-0000-7000-8000-000000000001";

    fn issue(category: &str, labels: &[&str]) -> Hook {
        let fields = json!({ "labels": labels, "status": { "name": "x", "statusCategory": { "key": category } } });
        Hook::read(&json!({ "issue": { "key": "OPS-7", "fields": fields } })).unwrap().unwrap()
    }

    #[test]
    fn only_an_issue_that_is_done_and_belongs_to_one_instance_is_for_us() {
        let own = format!("{INSTANCE_LABEL}{ONE}");
        let other = format!("{INSTANCE_LABEL}0199c1f0-0000-7000-8000-000000000002");
        let heard = |category: &str, labels: &[&str]| done(issue(category, labels)).map(|ticket| ticket.workflow_name);
        assert_eq!(heard("done", &["a", &own]), Some(None));
        assert_eq!(heard("done", &[&own, &own, "workflowName=w"]), Some(Some("w".to_owned())));
        for category in ["new", "indeterminate", "undefined", "DONE", ""] {
            assert_eq!(heard(category, &[&own]), None, "{category}");
        }
        for labels in [&[][..], &["workflowInstanceId="], &["workflowInstanceId=x"], &[&own, &other], &[ONE]] {
            assert_eq!(heard("done", labels), None, "{labels:?}");
        }
    }

    #[test]
    fn a_signature_is_that_of_these_bytes_under_this_secret() {
        // The example of Atlassian's documentation.
        let expected = "a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
        let secret = b"It's a Secret to Everybody";
        assert!(is_signed(secret, b"Hello World!", &hex::decode(expected).unwrap()));
        assert!(!is_signed(secret, b"Hello World?", &hex::decode(expected).unwrap()));
        assert!(!is_signed(b"another", b"Hello World!", &hex::decode(expected).unwrap()));
        assert!(is_same(b"abc", b"abc"));
        for wrong in ["", "ab", "abcd", "abd"] {
            assert!(!is_same(b"abc", wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_repeated_webhook_is_the_same_event_and_another_one_is_not() {
        let ticket = done(issue("done", &[&format!("{INSTANCE_LABEL}{ONE}")])).unwrap();
        let id = |body: &'static [u8]| event(&ticket, &Bytes::from_static(body)).unwrap().into_json()["id"].clone();
        assert_eq!(id(b"{\"timestamp\":1}"), id(b"{\"timestamp\":1}"));
        assert_ne!(id(b"{\"timestamp\":1}"), id(b"{\"timestamp\":2}"));
    }
}
