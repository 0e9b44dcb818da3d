//! A connection as an admin declares it and as it is stored. Secrets stand in it by name only.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::mail::settings::MailSettings;
use crate::model::SecretName;

/// A connection's declaration, the body of `PUT /v1/connections/{name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// The base URL, `http` or `https`, without query, fragment or user; a request's target is appended to its path. With
    /// `mail` it is `smtp://host` or `smtp://host:port`.
    #[schema(value_type = String, example = "https://storage.example/v1beta/tenant")]
    pub base_url: Url,
    /// How requests are authenticated.
    #[serde(default)]
    pub authentication: Authentication,
    /// A PEM bundle that replaces the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
    /// The default and upper limit of a request's time, milliseconds, 1 to 3,600,000.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Response bytes a guest may receive at once, at most 8 MiB.
    #[serde(default = "default_response_bytes_max")]
    pub response_bytes_max: u64,
    /// Exchanges under way at once over all instances, 1 to 1,024.
    #[serde(default = "default_exchanges_max")]
    pub exchanges_max: u32,
    /// The header that carries the idempotency key on POST and PATCH, where the outside honours one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
    /// How mail is sent; makes the connection one of kind `smtp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailSettings>,
}

fn default_timeout_ms() -> u64 {
    60_000
}

fn default_response_bytes_max() -> u64 {
    8 << 20
}

fn default_exchanges_max() -> u32 {
    64
}

/// How a connection's requests are authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(tag = "scheme", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Authentication {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Basic` (RFC 7617).
    Basic {
        /// The user's name.
        username: String,
        /// The secret that holds the password.
        #[schema(value_type = String)]
        password: SecretName,
    },
    /// `Authorization: Bearer` (RFC 6750).
    Bearer {
        /// The secret that holds the token.
        #[schema(value_type = String)]
        token: SecretName,
    },
    /// A header of its own, such as `X-Auth-Token`.
    Header {
        /// The header's name.
        name: String,
        /// The secret that holds its value.
        #[schema(value_type = String)]
        value: SecretName,
    },
    /// A signature over the time and the body, `t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY`, in a header.
    Hmac {
        /// The secret that holds the key.
        #[schema(value_type = String)]
        key: SecretName,
        /// The header's name; `X-Signature` by default.
        #[serde(default = "default_signature_header")]
        header: String,
    },
    /// The end of the URL's path, which only the two sides know, as that of an incoming webhook.
    Path {
        /// The secret that holds it, `T0000/B0000/XXXX`; it is put behind the target's path.
        #[schema(value_type = String)]
        value: SecretName,
    },
    /// Bearer tokens of an OAuth 2 token endpoint (RFC 6749), asked for anew before they end: with the client's own
    /// credentials, or in the name of a user where `username` is given.
    #[serde(rename = "oauth2")]
    OAuth2 {
        /// The token endpoint.
        #[schema(value_type = String, example = "https://sso.example/realms/mta/protocol/openid-connect/token")]
        token_url: Url,
        /// The client's identifier.
        client_id: String,
        /// The secret that holds the client's secret; absent for a public client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        client_secret: Option<SecretName>,
        /// The user's name; absent: the client's own credentials are used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username: Option<String>,
        /// The secret that holds the user's password.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        password: Option<SecretName>,
        /// The scopes asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String>,
    },
    /// AWS Signature Version 4.
    AwsSigV4 {
        /// `us-east-1`, …
        region: String,
        /// `s3` by default.
        #[serde(default = "default_service")]
        service: String,
        /// The access key's identifier.
        access_key_id: String,
        /// The secret that holds the secret access key.
        #[schema(value_type = String)]
        secret_access_key: SecretName,
    },
}

fn default_signature_header() -> String {
    "X-Signature".to_owned()
}

fn default_service() -> String {
    "s3".to_owned()
}
