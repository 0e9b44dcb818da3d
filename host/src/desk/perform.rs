//! Who performs the calls of a run: actions in the sandbox, as far as their packs are at hand; calls to the outside only
//! where the author allowed the host, or mapped it to a stand-in.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use url::Url;

use crate::capability::HostPattern;
use crate::coordinator::perform::{Attempt, Finding, Observe};
use crate::coordinator::{Perform, Sandboxed};
use crate::definition::graph::Callee;
use crate::model::{Failure, Json, Problem, Reaction, Success, standard};

/// Makes the calls that the language itself has: `call: http` and `call: openapi`.
pub trait Outward: Send + Sync + 'static {
    /// Makes one call; whether its hosts may be reached is said by the [`Ways`] it was made with.
    fn call(&self, attempt: Attempt) -> BoxFuture<'static, Result<Success, Failure>>;
}

/// The hosts that a run may reach.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    /// Reached as they are.
    pub allowed: Vec<HostPattern>,
    /// Host, with its port where the workflow writes one, and the base URL that is asked instead.
    pub mapped: Vec<(String, Url)>,
}

impl Ways {
    /// The URL that is really asked for this one, if it may be reached.
    pub fn reach(&self, url: &Url) -> Option<Url> {
        let host = url.host_str()?;
        let with_port = url.port().map(|port| format!("{host}:{port}"));
        let is_of = |name: &str| name == host && url.port().is_none() || with_port.as_deref() == Some(name);
        if let Some((_, base)) = self.mapped.iter().find(|(name, _)| is_of(name)) {
            return Some(moved(url, base));
        }
        self.allowed.iter().any(|pattern| pattern.matches(url)).then(|| url.clone())
    }

    /// Refuses a URL that may not be reached.
    fn check(&self, url: &Url) -> Result<(), Failure> {
        match self.reach(url) {
            Some(_) => Ok(()),
            None => Err(denied(url)),
        }
    }
}

/// The URL's path and query below another base.
fn moved(url: &Url, base: &Url) -> Url {
    let mut moved = base.clone();
    let path = format!("{}{}", base.path().trim_end_matches('/'), url.path());
    moved.set_path(&path);
    moved.set_query(url.query());
    moved
}

fn denied(url: &Url) -> Failure {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let scheme = if url.scheme() == "https" { "" } else { "http://" };
    let detail = format!(
        "this run may not reach `{host}{port}`: allow it with `--allow-host {scheme}{host}{port}`, or give it a \
         stand-in with `--map {host}{port}=URL`"
    );
    failure(standard::AUTHORIZATION, "the host is not allowed", detail)
}

/// Performs the calls of a run.
pub struct Performer {
    /// Actions, where packs are at hand.
    pub actions: Option<Sandboxed>,
    /// The hosts that may be reached.
    pub ways: Ways,
    /// Who makes the calls to them.
    pub outward: Option<Arc<dyn Outward>>,
}

impl Performer {
    fn refusal(&self, attempt: &Attempt) -> Option<Failure> {
        match &attempt.call.callee {
            Callee::Action(action) if self.actions.is_none() => Some(failure(
                standard::CONFIGURATION,
                "the action is not at hand",
                format!("no pack has `{}` here: name the folder of its built pack with `--pack DIR`", action.action),
            )),
            Callee::Action(_) => None,
            Callee::Http => self.http_refusal(&attempt.call.arguments),
            Callee::OpenApi => self.openapi_refusal(&attempt.call.arguments),
            Callee::Workflow { .. } => Some(failure(
                standard::CONFIGURATION,
                "the workflow is not at hand",
                "name the folder of its pack with `--pack DIR`".to_owned(),
            )),
        }
    }

    fn http_refusal(&self, arguments: &Json) -> Option<Failure> {
        self.url_refusal(arguments.get("endpoint"))
    }

    /// The document's host; the one that it names is held to the same ways when it is known.
    fn openapi_refusal(&self, arguments: &Json) -> Option<Failure> {
        self.url_refusal(arguments.pointer("/document/endpoint"))
    }

    fn url_refusal(&self, url: Option<&Json>) -> Option<Failure> {
        let text = url.and_then(Json::as_str).unwrap_or_default();
        match Url::parse(text) {
            Ok(url) => self.ways.check(&url).err(),
            Err(error) => {
                let detail = format!("`{text}` is not an absolute URL: {error}");
                Some(failure(standard::CONFIGURATION, "the endpoint is no URL", detail))
            }
        }
    }
}

impl Perform for Performer {
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        if let Some(refusal) = self.refusal(&attempt) {
            return future::ready(Err(refusal)).boxed();
        }
        match (&attempt.call.callee, &self.actions, &self.outward) {
            (Callee::Action(_), Some(actions), _) => actions.run(attempt, observer),
            (Callee::Http | Callee::OpenApi, _, Some(outward)) => outward.call(attempt),
            (callee, ..) => {
                let detail = format!("nobody here makes a call of the kind `{callee}`");
                future::ready(Err(failure(standard::CONFIGURATION, "the call cannot be made", detail))).boxed()
            }
        }
    }

    fn probe(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        match (&attempt.call.callee, &self.actions) {
            (Callee::Action(_), Some(actions)) => actions.probe(attempt, observer),
            _ => future::ready(Ok(Finding::Unknown)).boxed(),
        }
    }
}

/// A failure that another attempt would not change.
fn failure((segment, status): (&str, u16), title: &str, detail: String) -> Failure {
    let kind = format!("{}{segment}", standard::BASE);
    Failure { reaction: Reaction::Permanent, problem: Problem { kind, status, title: title.to_owned(), detail } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_reached_where_its_host_is_allowed_or_mapped() {
        let ways = Ways {
            allowed: vec![HostPattern::parse("api.example").unwrap()],
            mapped: vec![
                ("jira.example".to_owned(), Url::parse("http://127.0.0.1:9000/base/").unwrap()),
                ("jira.example:8443".to_owned(), Url::parse("http://127.0.0.1:9001").unwrap()),
            ],
        };
        #[rustfmt::skip]
        let cases = [
            ("https://api.example/a?b=1", Some("https://api.example/a?b=1")),
            ("http://api.example/a", None),
            ("https://jira.example/rest/1?x=y", Some("http://127.0.0.1:9000/base/rest/1?x=y")),
            ("https://jira.example:8443/rest", Some("http://127.0.0.1:9001/rest")),
            ("https://jira.example:1/rest", None),
            ("https://other.example/", None),
        ];
        for (url, expected) in cases {
            let reached = ways.reach(&Url::parse(url).unwrap());
            assert_eq!(reached.as_ref().map(Url::as_str), expected, "{url}");
        }
    }

    #[test]
    fn a_refusal_says_how_to_allow_the_host() {
        let refused = |url: &str| Ways::default().check(&Url::parse(url).unwrap()).unwrap_err().problem;
        let problem = refused("http://127.0.0.1:8080/x");
        assert_eq!(problem.status, 403);
        assert!(problem.kind.ends_with("/authorization"));
        assert!(problem.detail.contains("`--allow-host http://127.0.0.1:8080`"), "{}", problem.detail);
        assert!(refused("https://api.example/x").detail.contains("`--allow-host api.example`"));
    }
}
