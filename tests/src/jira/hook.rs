//! Webhooks of the double: what Jira sends when an issue changes, and how it proves itself.

use serde_json::{Value, json};

use super::Issue;

/// How a delivery proves who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof<'a> {
    /// `X-Hub-Signature`, as Cloud does.
    Signed(&'a str),
    /// `?token=`, as a server is set up.
    Token(&'a str),
    /// Not at all.
    None,
}

/// A webhook, ready to be sent; repeated as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The body.
    pub body: String,
}

impl Delivery {
    /// That an issue was changed at this time.
    pub(super) fn of(issue: &Issue, translated: bool, timestamp: u64) -> Self {
        let shown = issue.shown(translated);
        let body = json!({
            "timestamp": timestamp,
            "webhookEvent": "jira:issue_updated",
            "issue_event_type_name": "issue_generic",
            "user": { "displayName": "Ann" },
            "issue": shown,
            "changelog": { "id": "10124", "items": [{ "field": "status", "fieldtype": "jira" }] },
        });
        Self { body: body.to_string() }
    }

    /// Sends it to a server and gives status and body of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, server: &str, proof: Proof<'_>) -> anyhow::Result<(u16, Value)> {
        crate::tls_ready();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let token = match proof {
            Proof::Token(token) => format!("?token={}", crate::client::segment(token)),
            Proof::Signed(_) | Proof::None => String::new(),
        };
        let mut request =
            http.post(format!("{server}/v1/webhooks/jira{token}")).header("Content-Type", "application/json");
        if let Proof::Signed(secret) = proof {
            request = request.header("X-Hub-Signature", signature(secret, &self.body));
        }
        let response = request.body(self.body.clone()).send().await?;
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

/// HMAC-SHA256 by its definition (RFC 2104), so that the double shares no code with what it tests.
fn signature(secret: &str, body: &str) -> String {
    use sha2::{Digest, Sha256};
    let mut key = [0_u8; 64];
    match secret.len() {
        0..=64 => key[..secret.len()].copy_from_slice(secret.as_bytes()),
        _ => key[..32].copy_from_slice(&Sha256::digest(secret)),
    }
    let padded = |pad: u8| key.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(body).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    format!("sha256={}", hex::encode(outer))
}
