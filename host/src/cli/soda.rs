//! SODA's `orchctl`: its commands and flags, answered in its shapes by our `/v1beta` surface, so that scripts written for
//! it go on. Any of its flags makes a command SODA's. What it gets wrong we do not: the exit code tells a refusal, no
//! password is built in, and every command works.

use clap::Args;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::Context;
use super::client::{Answer, Client};
use super::error::{Error, code_of};
use super::output::{Format, aside, line};
use super::settings::Access;
use super::{ask, input};

/// Told where SODA's flags stand before a command that SODA does not have.
pub(super) const ONLY: &str = "-a, -u, -p, -t, --orch_ip and --orch_port are SODA's; they go with `service list|get|add`, \
    `instance list|get|run|delete`, `workflow list|get` and `task get`, get and delete with -i; use --server and --tenant \
    with other commands";
/// SODA's own port.
const ORCHESTRATOR_PORT: u16 = 5000;
/// Where SODA looks for the identity service.
const IDENTITY_ADDRESS: &str = "127.0.0.1";
/// SODA's usual user.
const USER: &str = "admin";
/// The tenant where nobody names one.
const TENANT: &str = "default";

/// SODA's flags; they stand before the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Flags of SODA's orchctl")]
#[group(id = "soda")]
pub(super) struct Flags {
    /// The host of the identity service (Keystone).
    #[arg(short, long, value_name = "HOST")]
    address: Option<String>,
    /// The user at the identity service [default: admin]
    #[arg(short, long)]
    user: Option<String>,
    /// Her password; OS_PASSWORD holds it where other users of the machine cannot see it.
    #[arg(short, long)]
    password: Option<String>,
    /// The project, which is the tenant.
    #[arg(short = 't', long = "project_id", alias = "project-id", value_name = "ID")]
    project_id: Option<String>,
    /// The orchestrator's host.
    #[arg(long = "orch_ip", alias = "orch-ip", value_name = "HOST")]
    orch_ip: Option<String>,
    /// The orchestrator's port [default: 5000]
    #[arg(long = "orch_port", alias = "orch-port", value_name = "PORT")]
    orch_port: Option<u16>,
}

impl Flags {
    /// Whether any of them is given.
    pub(super) fn is_given(&self) -> bool {
        self.asks_identity() || self.project_id.is_some() || self.orch_ip.is_some() || self.orch_port.is_some()
    }

    fn asks_identity(&self) -> bool {
        self.address.is_some() || self.user.is_some() || self.password.is_some()
    }

    /// The orchestrator's base URL, where these flags name it.
    fn server(&self) -> Option<String> {
        if self.orch_ip.is_none() && self.orch_port.is_none() {
            return None;
        }
        let host = self.orch_ip.as_deref().unwrap_or(IDENTITY_ADDRESS);
        Some(format!("http://{host}:{}", self.orch_port.unwrap_or(ORCHESTRATOR_PORT)))
    }
}

pub(super) async fn list_services(context: &Context) -> Result<(), Error> {
    ask(context, Method::GET, &["services"], None, "Request for Services list failed").await
}

pub(super) async fn get_service(context: &Context, id: &str) -> Result<(), Error> {
    ask(context, Method::GET, &["services", id], None, "Request for Service failed").await
}

pub(super) async fn add_service(context: &Context, data: &str) -> Result<(), Error> {
    ask(context, Method::POST, &["services"], Some(body(data)?), "Request for Register Services failed").await
}

pub(super) async fn list_instances(context: &Context) -> Result<(), Error> {
    ask(context, Method::GET, &["instances"], None, "Request for Instance list failed").await
}

pub(super) async fn get_instance(context: &Context, id: &str) -> Result<(), Error> {
    ask(context, Method::GET, &["instances", id], None, "Request for Instance get failed").await
}

pub(super) async fn run_instance(context: &Context, data: &str) -> Result<(), Error> {
    let failed = "Request for Run Provision Volume Services failed";
    ask(context, Method::POST, &["instances"], Some(body(data)?), failed).await
}

pub(super) async fn delete_instance(context: &Context, id: &str) -> Result<(), Error> {
    ask(context, Method::DELETE, &["instances", id], None, "Request for Instance delete failed").await
}

pub(super) async fn list_workflows(context: &Context) -> Result<(), Error> {
    ask(context, Method::GET, &["workflows"], None, "Request for workflows list failed").await
}

pub(super) async fn get_task(context: &Context, id: &str) -> Result<(), Error> {
    ask(context, Method::GET, &["tasks", id], None, "Request for Instance list failed").await
}

/// A body as it is given; what is no JSON is told before it is sent.
fn body(data: &str) -> Result<Vec<u8>, Error> {
    let value = input::read(data)?;
    // SODA's own program sent the text as a JSON string; scripts may have been written for that.
    let value = match &value {
        Json::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    };
    Ok(value.to_string().into_bytes())
}

/// Who asks, for which tenant.
struct Session {
    client: Client,
    tenant: String,
    token: Option<Zeroizing<String>>,
}

impl Session {
    async fn open(context: &Context) -> Result<Self, Error> {
        let flags = &context.soda;
        let mut access = match flags.server() {
            Some(server) => Access::to(&server),
            None => context.settings.access()?,
        };
        access.tenant = None; // The path names it.
        let (mut token, mut project) = (access.token.take(), flags.project_id.clone());
        if flags.asks_identity() {
            let identified = identify(flags).await?;
            token = Some(identified.token);
            project = project.or(identified.project);
        }
        let tenant = project.or_else(|| context.settings.tenant().map(str::to_owned));
        Ok(Self { client: Client::new(&access)?, tenant: tenant.unwrap_or_else(|| TENANT.to_owned()), token })
    }

    fn headers(&self, has_body: bool) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        // SODA wants some token with an order, and ours one that is right where it asks for any.
        let token = self.token.as_deref().map_or("none", |token| token.as_str());
        let value = HeaderValue::from_str(token);
        let mut value = value.map_err(|_| Error::Usage("the token does not fit into a header".to_owned()))?;
        value.set_sensitive(true);
        if self.token.is_some() || has_body {
            headers.insert("x-auth-token", value);
        }
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(headers)
    }
}

async fn ask(
    context: &Context,
    method: Method,
    path: &[&str],
    body: Option<Vec<u8>>,
    failed: &str,
) -> Result<(), Error> {
    let session = Session::open(context).await?;
    let segments: Vec<&str> =
        ["v1beta", &session.tenant, "orchestration"].into_iter().chain(path.iter().copied()).collect();
    let url = session.client.root_url(&segments);
    let headers = session.headers(body.is_some())?;
    let answer = session.client.send(method, url, headers, body).await?;
    let value = value_of(&answer);
    if !answer.status.is_success() {
        let code = if path.first() == Some(&"services") && path.len() == 2 {
            format!(" {}", answer.status.as_u16())
        } else {
            String::new()
        };
        line(&format!("{failed}{code}"))?;
    }
    match context.output.format() {
        Format::Table | Format::Wide | Format::Json | Format::Name => line(&as_python(&value))?,
        _ => context.output.data(&value)?,
    }
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(Error::Told(code_of(answer.status.as_u16()))),
    }
}

fn value_of(answer: &Answer) -> Json {
    let text = || Json::String(String::from_utf8_lossy(&answer.body).into_owned());
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| text())
}

/// As Python's `json.dumps(value, indent=2, sort_keys=True)` writes it: scripts compare texts.
fn as_python(value: &Json) -> String {
    let text = serde_json::to_string_pretty(&sorted(value)).expect("JSON can always be written as text");
    let mut ascii = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() {
            ascii.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            ascii.push_str(&format!("\\u{unit:04x}"));
        }
    }
    ascii
}

fn sorted(value: &Json) -> Json {
    match value {
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            members.sort_by(|left, right| left.0.cmp(&right.0));
            Json::Object(members.into_iter().collect())
        }
        Json::Array(items) => items.iter().map(sorted).collect(),
        value => value.clone(),
    }
}

/// What the identity service said.
struct Identified {
    token: Zeroizing<String>,
    project: Option<String>,
}

/// Gets a token from Keystone, as SODA does it: the user's name is the project's name too.
async fn identify(flags: &Flags) -> Result<Identified, Error> {
    let host = flags.address.as_deref().unwrap_or(IDENTITY_ADDRESS);
    let base = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
    let client = Client::new(&Access::to(&base))?;
    let user = flags.user.as_deref().unwrap_or(USER);
    let domain = json!({ "id": "default" });
    let asked = json!({ "auth": {
        "identity": {
            "methods": ["password"],
            "password": { "user": { "name": user, "domain": domain, "password": *password(flags, user)? } },
        },
        "scope": { "project": { "domain": domain, "name": user } },
    }});
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let url = client.root_url(&["identity", "v3", "auth", "tokens"]);
    let answer = client.send(Method::POST, url, headers, Some(asked.to_string().into_bytes())).await?;
    let said = value_of(&answer);
    let token = answer.headers.get("x-subject-token").and_then(|token| token.to_str().ok());
    match (answer.status.is_success(), token) {
        (true, Some(token)) => Ok(Identified {
            token: Zeroizing::new(token.to_owned()),
            project: said.pointer("/token/project/id").and_then(Json::as_str).map(str::to_owned),
        }),
        _ => {
            let why = said.pointer("/error/message").and_then(Json::as_str).unwrap_or("it gave no token");
            let status = answer.status.as_u16();
            aside(&format!("error: ask {} for a token of `{user}`: {why} ({status})", client.server()));
            Err(Error::Told(code_of(answer.status.as_u16().max(400))))
        }
    }
}

fn password(flags: &Flags, user: &str) -> Result<Zeroizing<String>, Error> {
    if let Some(password) = flags.password.clone().or_else(|| std::env::var("OS_PASSWORD").ok()) {
        return Ok(Zeroizing::new(password));
    }
    match ask::is_possible() {
        true => ask::hidden(&format!("password of {user}")).map(Zeroizing::new),
        false => Err(Error::Usage(format!("give the password of `{user}` in OS_PASSWORD, or with -p"))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn text_is_as_python_writes_it() {
        let value = json!({"b": {}, "a": [], "c": [1, "ü😀"], "d": {"z": null, "y": true}});
        let expected = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    \"\\u00fc\\ud83d\\ude00\"\n  ],\n  \"d\": {\n    \
                        \"y\": true,\n    \"z\": null\n  }\n}";
        assert_eq!(as_python(&value), expected);
    }

    #[test]
    fn a_body_that_was_encoded_twice_is_encoded_once() {
        assert_eq!(body(r#"{"a": 1}"#).unwrap(), br#"{"a":1}"#);
        assert_eq!(body(r#""{\"a\": 1}""#).unwrap(), br#"{"a":1}"#);
        assert_eq!(body("oops").unwrap_err().exit_code(), 2);
    }

    /// Answers one request after the other, and gives back what it heard.
    async fn double(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 65_536];
                let read = socket.read(&mut request).await.unwrap();
                heard.push(String::from_utf8_lossy(&request[..read]).into_owned());
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
            heard
        });
        (port, heard)
    }

    fn answer(head: &str, body: &str) -> String {
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn an_order_takes_its_token_and_its_tenant_from_the_identity_service() {
        let token = answer("201 Created\r\nx-subject-token: t-1", r#"{"token": {"project": {"id": "p-1"}}}"#);
        let (port, heard) = double(vec![token, answer("200 OK", r#"{"id": "i"}"#)]).await;
        let (host, port) = (format!("127.0.0.1:{port}"), port.to_string());
        let words = ["orchctl", "-a", &host, "-u", "ann", "-p", "x", "--orch_ip", "127.0.0.1", "--orch_port", &port];
        let words = words.into_iter().chain(["instance", "run", "-d", r#"{"name": "n"}"#]);
        crate::cli::run(Arguments::try_parse_from(words).unwrap()).await.unwrap();
        let heard = heard.await.unwrap();
        assert!(
            heard[0].starts_with("POST /identity/v3/auth/tokens ") && heard[0].contains("\"name\":\"ann\""),
            "{heard:?}"
        );
        assert!(heard[1].starts_with("POST /v1beta/p-1/orchestration/instances "), "{heard:?}");
        assert!(heard[1].contains("x-auth-token: t-1") && heard[1].ends_with("{\"name\":\"n\"}"), "{heard:?}");
    }

    #[tokio::test]
    async fn a_refusal_has_an_exit_code() {
        for (head, code) in [("404 Not Found", 4), ("401 Unauthorized", 8), ("500 Oh", 5)] {
            let (port, _heard) = double(vec![answer(head, "{}")]).await;
            let port = port.to_string();
            let words = ["orchctl", "--orch_port", &port, "-t", "p", "service", "get", "-i", "x"];
            let error = crate::cli::run(Arguments::try_parse_from(words).unwrap()).await.unwrap_err();
            assert_eq!(error.exit_code(), code, "{head}");
        }
    }
}
