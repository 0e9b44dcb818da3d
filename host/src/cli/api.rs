//! `orchctl api`: any request to the server, for what has no command of its own and for trying things out.

use clap::Args;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value as Json;

use super::Context;
use super::error::{Error, Problem};
use super::input;
use super::output::line;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orchctl api GET /v1/instances -o 'jsonpath=$.items[*].id'
  orchctl api PUT /v1/secrets/jira-token --body @secret.json
  orchctl api DELETE /v1/notifications/0199c1f0-0000-7000-8000-000000000000 --include")]
pub(super) struct Api {
    /// GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.
    method: String,
    /// The path with its query, `/v1/instances?limit=1`.
    path: String,
    /// The body, or @FILE that holds it (@- for standard input).
    #[arg(long, value_name = "TEXT|@FILE")]
    body: Option<String>,
    /// The body's media type.
    #[arg(long, default_value = "application/json", value_name = "TYPE")]
    content_type: String,
    /// A header; several times for several.
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Print the status and the headers too.
    #[arg(long)]
    include: bool,
}

impl Api {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let method = Method::from_bytes(self.method.to_ascii_uppercase().as_bytes());
        let method = method.map_err(|_| Error::Usage(format!("`{}` is no method of HTTP", self.method)))?;
        let body = self.body.as_deref().map(input::text).transpose()?.map(String::into_bytes);
        let url = format!("{}{}", client.root_url(&[]).as_str().trim_end_matches('/'), self.path()?);
        let url = url::Url::parse(&url).map_err(|error| Error::Usage(format!("`{}`: {error}", self.path)))?;
        let answer = client.send(method, url, self.headers(body.is_some())?, body).await?;
        if self.include {
            line(&format!("{}", answer.status))?;
            for (name, value) in &answer.headers {
                line(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))?;
            }
            line("")?;
        }
        if !answer.status.is_success() {
            let id = answer.headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
            return Err(Error::Answered(Box::new(Problem::read(answer.status.as_u16(), id, &answer.body))));
        }
        match serde_json::from_slice::<Json>(&answer.body) {
            Ok(value) => context.output.data(&value),
            Err(_) if answer.body.is_empty() => Ok(()),
            Err(_) => line(String::from_utf8_lossy(&answer.body).trim_end()),
        }
    }

    /// The path; an address of another server would get the token of this one.
    fn path(&self) -> Result<&str, Error> {
        match self.path.starts_with('/') && !self.path.starts_with("//") {
            true => Ok(&self.path),
            false => Err(Error::Usage(format!("`{}` is no path; write `/v1/…`", self.path))),
        }
    }

    fn headers(&self, has_body: bool) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
        let value = |text: &str| {
            HeaderValue::from_str(text.trim()).map_err(|_| Error::Usage(format!("`{text}` does not fit into a header")))
        };
        if has_body {
            headers.insert(CONTENT_TYPE, value(&self.content_type)?);
        }
        for header in &self.header {
            let parts = header.split_once(':').ok_or_else(|| Error::Usage(format!("`{header}`: write NAME: VALUE")))?;
            let name = HeaderName::from_bytes(parts.0.trim().as_bytes());
            headers.insert(
                name.map_err(|_| Error::Usage(format!("`{}` is no name of a header", parts.0)))?,
                value(parts.1)?,
            );
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        api: Api,
    }

    #[test]
    fn only_this_server_is_asked() {
        let path = |path: &str| Line::parse_from(["api", "GET", path]).api.path().map(str::to_owned).is_ok();
        assert!(path("/v1/health"));
        for other in ["http://other/v1", "//other/v1", "v1/health"] {
            assert!(!path(other), "{other}");
        }
    }

    #[test]
    fn headers_are_name_and_value() {
        let api = Line::parse_from(["api", "GET", "/", "-H", "If-Match: \"1\"", "-H", "X-A:b"]).api;
        let headers = api.headers(true).unwrap();
        assert_eq!(
            (&headers["if-match"], &headers["x-a"]),
            (&HeaderValue::from_static("\"1\""), &HeaderValue::from_static("b"))
        );
        assert_eq!(headers[CONTENT_TYPE], "application/json");
    }
}
