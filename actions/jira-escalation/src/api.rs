//! What all calls to Jira share: which of its two interfaces the site speaks, paths, and the meaning of its errors.

use std::collections::BTreeMap;

use orchestrator_sdk::http::{self, Response};
use orchestrator_sdk::{Error, Json, Reaction, standard};
use serde::{Deserialize, Serialize};

/// The connection's name in `pack.yaml`.
pub(crate) const JIRA: &str = "jira";

/// Which interface is spoken: Cloud has rich text as documents and accounts by identifier, Server and Data Center have
/// wiki text and users by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// The site is asked.
    #[default]
    Auto,
    /// Jira Cloud, version 3.
    Cloud,
    /// Jira Server or Data Center, version 2.
    Server,
}

/// What `serverInfo` tells; the same path on both, and usually open to everybody.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    base_url: String,
    #[serde(default)]
    deployment_type: Option<String>,
}

/// A site whose interface is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) api: Api,
    base_url: Option<String>,
}

impl Site {
    /// Takes the interface as given, or asks the site.
    ///
    /// # Errors
    /// Those of Jira.
    pub(crate) fn of(api: Option<Api>) -> Result<Self, Error> {
        match api.unwrap_or_default() {
            Api::Auto => Self::asked(api),
            api => Ok(Self { api, base_url: None }),
        }
    }

    /// As [`Self::of`], and the site's address for people is known afterwards.
    ///
    /// # Errors
    /// Those of Jira.
    pub(crate) fn with_address(api: Option<Api>) -> Result<Self, Error> {
        Self::asked(api)
    }

    fn asked(api: Option<Api>) -> Result<Self, Error> {
        let response = http::get(JIRA, "/rest/api/2/serverInfo").send()?;
        if !response.is_success() {
            let cure = "the connection's base URL has to be that of the Jira site, without `/rest`";
            return Err(refused(&response, "ask Jira what it is", cure));
        }
        let info: Info = response.parse()?;
        let cloud = info.deployment_type.is_some_and(|kind| kind.eq_ignore_ascii_case("cloud"));
        let told = if cloud { Api::Cloud } else { Api::Server };
        let api = api.filter(|api| *api != Api::Auto).unwrap_or(told);
        Ok(Self { api, base_url: Some(info.base_url) })
    }

    pub(crate) fn is_cloud(&self) -> bool {
        self.api == Api::Cloud
    }

    /// A path of the interface.
    pub(crate) fn path(&self, tail: &str) -> String {
        let version = if self.is_cloud() { 3 } else { 2 };
        format!("/rest/api/{version}/{tail}")
    }

    /// A path of one issue, by key or identifier.
    pub(crate) fn issue(&self, issue: &str, tail: &str) -> String {
        self.path(&format!("issue/{}{tail}", http::encode_path_segment(issue)))
    }

    /// Where a person reads the issue, on the address that Jira itself gives.
    pub(crate) fn browse_url(&self, key: &str) -> Option<String> {
        let base = self.base_url.as_deref()?.trim_end_matches('/');
        Some(format!("{base}/browse/{}", http::encode_path_segment(key)))
    }
}

/// The body of Jira's errors; gateways before it say `message`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fault {
    #[serde(default)]
    error_messages: Vec<String>,
    #[serde(default)]
    errors: BTreeMap<String, Json>,
    #[serde(default)]
    message: Option<String>,
}

impl Fault {
    fn words(self) -> Option<String> {
        let field = |(name, text): (String, Json)| match text {
            Json::String(text) => format!("{name}: {text}"),
            other => format!("{name}: {other}"),
        };
        let mut words = self.error_messages;
        words.extend(self.errors.into_iter().map(field));
        words.extend(self.message);
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// Jira's own words of an unsuccessful response.
pub(crate) fn words(response: &Response) -> Option<String> {
    response.parse::<Fault>().ok().and_then(Fault::words)
}

/// The error of an unsuccessful response: Jira's own words, what was being done, and what to do about it.
pub(crate) fn refused(response: &Response, doing: &str, cure: &str) -> Error {
    let mut error = response.error();
    let status = response.status();
    let said = words(response).unwrap_or_else(|| "no reason".to_owned());
    let cure = match status {
        401 => "check user and token of the connection granted as `jira`",
        403 if response.header("x-authentication-denied-reason").is_some() => {
            "too many failed logins: log in once in a browser to answer the captcha, then check the connection granted as `jira`"
        }
        403 => "give the user of the connection granted as `jira` the permission in the project",
        408 | 429 | 500.. => "Jira is busy or away",
        _ => cure,
    };
    error.problem.detail = format!("{doing}: Jira answered {status}: {said}; {cure}");
    match status {
        400 => error.with_type(standard::VALIDATION, 400, "Refused by Jira"),
        404 => error.with_type(standard::COMMUNICATION, 404, "Not found in Jira"),
        _ => error,
    }
}

/// The input cannot be followed as it is.
pub(crate) fn invalid(detail: String) -> Error {
    Error::new(Reaction::Permanent, standard::VALIDATION, 400, "Invalid data", detail)
}

/// A reference by identifier where it is all digits, else by name.
pub(crate) fn reference(text: &str) -> Json {
    let is_id = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_id { orchestrator_sdk::json!({ "id": text }) } else { orchestrator_sdk::json!({ "name": text }) }
}
