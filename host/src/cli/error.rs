//! What can go wrong on the command line, sorted by exit code.

use serde::Deserialize;
use serde_json::Value as Json;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) enum Error {
    /// The output cannot be written, most often because its reader is gone.
    Output(std::io::Error),
    /// What was asked for failed; the text says how.
    Failed(String),
    /// The arguments or the configuration are wrong.
    Usage(String),
    /// The server cannot be reached.
    Unreachable(String),
    /// The server answered with an error.
    Answered(Box<Problem>),
    /// A run on this machine was cancelled.
    Cancelled(String),
    /// A run on this machine was left before its end; the text says why.
    Left(String),
    /// What was waited for took too long.
    Late(String),
    /// The person does not want to wait any more.
    Interrupted(String),
    /// It was told already; only the exit code is left to give.
    Told(u8),
}

/// A problem document (RFC 9457), or what can be told of an answer that is none.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub request_id: Option<String>,
    #[serde(default)]
    pub errors: Vec<Json>,
    /// Names that exist and are spelled nearly like the one that does not.
    #[serde(skip)]
    pub near: Vec<String>,
}

impl Problem {
    /// Reads an answer's body.
    pub(super) fn read(status: u16, request_id: Option<String>, body: &[u8]) -> Self {
        let mut problem = serde_json::from_slice::<Self>(body).unwrap_or_else(|_| Self {
            detail: String::from_utf8_lossy(body).chars().take(500).collect(),
            ..Self::default()
        });
        problem.status = status;
        problem.request_id = problem.request_id.or(request_id);
        if problem.title.is_empty() {
            problem.title = format!("the server answered with status {status}");
        }
        problem
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.title, self.status)?;
        if !self.detail.is_empty() && !self.only_repeats() {
            write!(formatter, "\n{}", self.detail)?;
        }
        for error in &self.errors {
            write!(formatter, "\n  - {}", fault(error))?;
        }
        // The server may have told it in its own words.
        if !self.near.is_empty() && !self.detail.contains("did you mean") {
            write!(formatter, "\ndid you mean {}?", quoted(&self.near))?;
        }
        if let Some(cure) = &self.cure() {
            write!(formatter, "\n{cure}")?;
        }
        match &self.request_id {
            Some(id) if self.status >= 500 => write!(formatter, "\nrequest id: {id}"),
            _ => Ok(()),
        }
    }
}

impl Problem {
    /// Whether the detail says no more than the errors, which are told one on a line.
    fn only_repeats(&self) -> bool {
        let message =
            |error: &Json| ["message", "detail"].iter().find_map(|key| error.get(key)?.as_str().map(str::to_owned));
        let told = |error: &Json| message(error).is_some_and(|text| self.detail.contains(&text));
        !self.errors.is_empty() && self.errors.iter().all(told)
    }

    /// What helps on the command line, where the document cannot know of it.
    fn cure(&self) -> Option<&'static str> {
        match self.status {
            401 => {
                Some("give a token: ORCHESTRATOR_TOKEN, --token-file FILE, or `orchctl profile set NAME --read-token`")
            }
            _ => None,
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

/// One of a problem's errors, whether it speaks of a member of the body or of a place in a file.
fn fault(error: &Json) -> String {
    let text = |key: &str| error.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    let number = |key: &str| error.get(key).and_then(Json::as_u64);
    let place = match (text("file").or(text("path")), text("pointer")) {
        (Some(file), _) => {
            let tail: String = [number("line"), number("column")].iter().flatten().map(|at| format!(":{at}")).collect();
            format!("{file}{tail}: ")
        }
        (None, Some(pointer)) => format!("{}: ", member_of(pointer)),
        (None, None) => String::new(),
    };
    let Some(message) = text("message").or(text("detail")) else { return format!("{place}{error}") };
    let cure = text("cure").map(|cure| format!(" ({cure})")).unwrap_or_default();
    format!("{place}{message}{cure}")
}

/// A pointer into an input as the word that gives the member; another pointer as it is.
fn member_of(pointer: &str) -> String {
    match pointer.strip_prefix("/input/") {
        Some(steps) => {
            let steps: Vec<_> = steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
            format!("{}=…", steps.join("."))
        }
        None => pointer.to_owned(),
    }
}

impl Error {
    /// The process's exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) | Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Answered(problem) => code_of(problem.status),
            Self::Cancelled(_) => 6,
            Self::Left(_) => 7,
            Self::Late(_) => 9,
            Self::Interrupted(_) => 130,
            Self::Told(code) => *code,
        }
    }

    /// Tells it on standard error; a reader that went away is not told.
    pub(super) fn print(&self) {
        match self {
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Self::Output(error) => super::output::aside(&format!("error: write the output: {error}")),
            Self::Failed(text)
            | Self::Usage(text)
            | Self::Unreachable(text)
            | Self::Cancelled(text)
            | Self::Left(text)
            | Self::Late(text)
            | Self::Interrupted(text) => super::output::aside(&format!("error: {text}")),
            Self::Answered(problem) => super::output::aside(&format!("error: {problem}")),
            Self::Told(_) => {}
        }
    }
}

/// The exit code of an answer with this status.
pub(super) fn code_of(status: u16) -> u8 {
    match status {
        401 | 403 => 8,
        ..500 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_all_that_a_person_can_act_on() {
        let body = serde_json::json!({
            "title": "The pack is not valid", "status": 422, "detail": "2 errors", "requestId": "r-1",
            "errors": [
                {"file": "pack.yaml", "line": 3, "column": 5, "message": "no key `nam`", "cure": "did you mean `name`?"},
                {"pointer": "/input/size", "message": "is not a number"},
            ],
        });
        let mut problem = Problem::read(422, None, body.to_string().as_bytes());
        problem.near = vec!["a".to_owned(), "b".to_owned()];
        let expected = "The pack is not valid (422)\n2 errors\n  - pack.yaml:3:5: no key `nam` (did you mean `name`?)\n  \
                        - size=…: is not a number\ndid you mean `a` or `b`?";
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn a_fault_is_told_once() {
        let body = br#"{"title": "It does not fit", "detail": "/a: is no number", "errors": [{"pointer": "/a", "message": "is no number"}]}"#;
        assert_eq!(Problem::read(422, None, body).to_string(), "It does not fit (422)\n  - /a: is no number");
    }

    #[test]
    fn an_answer_that_is_no_problem_is_shown_as_it_is() {
        let problem = Problem::read(502, Some("r-2".to_owned()), b"<html>bad gateway</html>");
        let shown = problem.to_string();
        assert!(shown.contains("502") && shown.contains("bad gateway") && shown.contains("r-2"), "{shown}");
    }

    #[test]
    fn exit_codes_tell_who_has_to_act() {
        let answered = |status| Error::Answered(Box::new(Problem::read(status, None, b"{}")));
        let cases = [
            (Error::Failed(String::new()), 1),
            (Error::Usage(String::new()), 2),
            (Error::Unreachable(String::new()), 3),
            (answered(404), 4),
            (answered(401), 8),
            (answered(403), 8),
            (answered(503), 5),
            (Error::Late(String::new()), 9),
            (Error::Interrupted(String::new()), 130),
            (Error::Told(5), 5),
            (Error::Cancelled(String::new()), 6),
            (Error::Left(String::new()), 7),
            (Error::Output(std::io::ErrorKind::BrokenPipe.into()), 0),
        ];
        for (error, code) in cases {
            assert_eq!(error.exit_code(), code, "{error:?}");
        }
    }
}
