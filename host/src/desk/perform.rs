//! Who performs the calls of a run: actions in the sandbox, as far as their packs are at hand; calls to the outside only
//! where the author allowed the host, or mapped it to a stand-in.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use url::Url;

use crate::capability::HostPattern;
use crate::connection::call::{Allowed, Kind};
use crate::coordinator::perform::{Attempt, Finding, Observe};
use crate::coordinator::{Perform, Sandboxed};
use crate::definition::graph::Callee;
use crate::model::{Failure, Json, Problem, Reaction, Success, standard};

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
    /// Runs actions, makes calls, and has what was given to the run.
    pub rooms: Sandboxed,
    /// The hosts that may be reached.
    pub ways: Ways,
    /// What calls of the language itself may use.
    pub allowed: Allowed,
}

impl Performer {
    fn refusal(&self, attempt: &Attempt) -> Option<Failure> {
        match &attempt.call.callee {
            Callee::Action(action) if self.rooms.catalog.latest(&action.pack).is_none() => Some(failure(
                standard::CONFIGURATION,
                "the action is not at hand",
                format!(
                    "no pack has `{}` here: name the folder of its pack with `--pack DIR`, built by `orchctl pack build DIR`",
                    action.action
                ),
            )),
            Callee::Action(_) | Callee::Workflow { .. } => None,
            Callee::Http => self.url_refusal(attempt.call.arguments.get("endpoint")),
            Callee::OpenApi => self.url_refusal(attempt.call.arguments.pointer("/document/endpoint")),
        }
    }

    /// Whatever else the call asks for is held to the same ways by its caller.
    fn url_refusal(&self, url: Option<&Json>) -> Option<Failure> {
        let url = Url::parse(url.and_then(Json::as_str)?).ok()?;
        let is_web = matches!(url.scheme(), "http" | "https");
        self.ways.check(&url).err().filter(|_| is_web)
    }

    fn call(&self, kind: Kind, attempt: Attempt) -> BoxFuture<'static, Result<Success, Failure>> {
        let (caller, mut allowed) = (self.rooms.caller.clone(), self.allowed.clone());
        allowed.pack = attempt.pack;
        let call = attempt.call;
        async move {
            let answer = caller.call(kind, &call.arguments, &allowed, &call.key, call.timeout.unsigned_abs()).await;
            answer.map_err(on_the_desk)
        }
        .boxed()
    }
}

/// A refusal with the cure of the desk in the place of a server's.
fn on_the_desk(mut failure: Failure) -> Failure {
    const GIVE: &str = "`--allow-host HOST`, `--map NAME=URL`, `--connection NAME=@FILE` or `--secret NAME=VALUE`";
    let detail = &failure.problem.detail;
    if let Some((what, _)) = detail.split_once(" is not granted to the workflows of pack") {
        failure.problem.detail = format!("{what} is not given to this run: use {GIVE}");
    } else if let Some((what, _)) = detail.split_once(" is not granted to action") {
        failure.problem.detail = format!(
            "{what} is not given to this run: use {GIVE}; pack.yaml has to request it under the action's `uses`"
        );
    }
    failure
}

impl Perform for Performer {
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        if let Some(refusal) = self.refusal(&attempt) {
            return future::ready(Err(refusal)).boxed();
        }
        match attempt.call.callee {
            Callee::Http => self.call(Kind::Http, attempt),
            Callee::OpenApi => self.call(Kind::OpenApi, attempt),
            Callee::Action(_) | Callee::Workflow { .. } => {
                self.rooms.run(attempt, observer).map(|answer| answer.map_err(on_the_desk)).boxed()
            }
        }
    }

    fn probe(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        self.rooms.probe(attempt, observer)
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
    fn what_was_not_granted_is_told_with_the_options_of_a_run() {
        for server in [
            "connection `b` is not granted to action `a` of pack `p`; grant it with `orchctl pack grant p b=<c>`",
            "connection `b` is not granted to the workflows of pack `p`; grant it with `orchctl pack grant p b=<c>`",
        ] {
            let told = on_the_desk(failure(standard::AUTHORIZATION, "no", server.to_owned())).problem.detail;
            assert!(told.starts_with("connection `b` is not given to this run: use"), "{told}");
            assert!(told.contains("`--map NAME=URL`") && !told.contains("orchctl"), "{told}");
        }
        let other = on_the_desk(failure(standard::AUTHORIZATION, "no", "wrong token".to_owned()));
        assert_eq!(other.problem.detail, "wrong token");
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
