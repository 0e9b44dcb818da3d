//! What a task's box says: its name, and in a few words what it does.

use crate::definition::graph::{
    Act, Backoff, Catch, Consume, Duration, Each, ExpressionId, Filter, Listen, Match, NodeId, NodeKind, Program,
    Raise, Retry, Template, Until,
};
use crate::model::Json;

/// Characters of one line of a label, at most; more would make boxes that nobody can look at.
const LINE_CHARS_MAX: usize = 60;

/// The lines of a task's box, escaped.
pub(super) fn of(program: &Program, id: NodeId) -> Vec<String> {
    let node = program.node(id);
    let mut lines = vec![escaped(node.name.as_str())];
    lines.extend(does(program, id).map(|text| escaped(&text)));
    lines
}

/// What a task does, in a few words; nothing for one whose boxes inside say it.
pub(super) fn does(program: &Program, id: NodeId) -> Option<String> {
    match &program.node(id).kind {
        NodeKind::Act(act) => Some(calls(program, act)),
        NodeKind::Eval(_) => Some("set".to_owned()),
        NodeKind::Route(_) => Some("switch".to_owned()),
        NodeKind::Each(each) => Some(repeats(program, each)),
        NodeKind::Timer(duration) => Some(format!("wait {}", length(program, duration))),
        NodeKind::Scope(block) => block.catch.as_ref().map(|catch| match &catch.retry {
            Some(retry) => format!("try, {}", retries(retry)),
            None => "try".to_owned(),
        }),
        NodeKind::Raise(raise) => Some(format!("raise {}", raised(program, raise))),
        NodeKind::Fork(fork) => Some(if fork.compete { "fork, first one wins" } else { "fork" }.to_owned()),
        NodeKind::Listen(listen) => Some(listens(program, listen)),
        NodeKind::Emit(template) => Some(format!("emit {}", member(program, template, "type"))),
        NodeKind::Recall => None,
    }
}

fn calls(program: &Program, act: &Act) -> String {
    use crate::definition::graph::Callee;
    let ending = if act.detached { ", not awaited" } else { "" };
    match &act.callee {
        Callee::Http => {
            let [method, endpoint] = ["method", "endpoint"].map(|key| member(program, &act.arguments, key));
            format!("call http {} {endpoint}{ending}", method.to_uppercase())
        }
        Callee::OpenApi => format!("call openapi {}{ending}", member(program, &act.arguments, "operationId")),
        Callee::Workflow { .. } => format!("run {}{ending}", act.callee),
        Callee::Action(_) => format!("call {}{ending}", act.callee),
    }
}

fn repeats(program: &Program, each: &Each) -> String {
    let side_by_side = each.parallel.map(|width| format!(", {width} side by side")).unwrap_or_default();
    format!("for ${} in {}{side_by_side}", each.item, template(program, &each.items))
}

fn length(program: &Program, duration: &Duration) -> String {
    match duration {
        Duration::Fixed(fixed) => format!("{fixed:#}"),
        Duration::Expression(id) => expression(program, *id),
    }
}

fn raised(program: &Program, raise: &Raise) -> String {
    match raise {
        Raise::Error(template) => short_type(&member(program, template, "type")).to_owned(),
        Raise::Again(id) => expression(program, *id),
    }
}

/// The last segment of an error's type.
fn short_type(kind: &str) -> &str {
    kind.rsplit(['/', ':']).next().unwrap_or(kind)
}

pub(super) fn retries(retry: &Retry) -> String {
    let growth = match retry.backoff {
        Backoff::Constant => "",
        Backoff::Linear => ", linear",
        Backoff::Exponential => ", exponential",
    };
    match retry.count {
        Some(count) => format!("retry up to {count} times{growth}"),
        None => format!("retry{growth}"),
    }
}

fn listens(program: &Program, listen: &Listen) -> String {
    let how = match listen.to.kind {
        Consume::One => "one of",
        Consume::All => "all of",
        Consume::Any => "any of",
    };
    let filters: Vec<_> = listen.to.filters.iter().map(filter).collect();
    let filters = if filters.is_empty() { "every event".to_owned() } else { filters.join(", ") };
    let until = match &listen.to.until {
        None => String::new(),
        Some(Until::Holds(id)) => format!(" until {}", expression(program, *id)),
        Some(Until::Events(strategy)) => {
            format!(" until {}", strategy.filters.iter().map(filter).collect::<Vec<_>>().join(", "))
        }
        Some(Until::Never) => " for ever".to_owned(),
    };
    format!("listen to {how} {filters}{until}")
}

fn filter(filter: &Filter) -> String {
    let kind = filter.with.iter().find(|(name, _)| name == "type").map(|(_, value)| value);
    match kind {
        Some(Match::Equals(Json::String(kind))) => kind.clone(),
        Some(Match::Pattern(kind)) => kind.text.clone(),
        _ => "events".to_owned(),
    }
}

/// What a `catch` takes.
pub(super) fn errors(catch: &Catch) -> String {
    let with = &catch.with;
    let kind = with.kind.as_deref().map(|kind| short_type(kind).to_owned());
    let status = with.status.map(|status| status.to_string());
    let texts = [&with.title, &with.detail, &with.instance].into_iter().flatten().cloned();
    let named: Vec<_> = kind.into_iter().chain(status).chain(texts).collect();
    let when = if catch.when.is_some() || catch.except_when.is_some() { ", when it holds" } else { "" };
    match named.is_empty() {
        true => format!("any error{when}"),
        false => format!("{}{when}", named.join(" ")),
    }
}

fn member(program: &Program, object: &Template, key: &str) -> String {
    match object {
        Template::Literal(Json::Object(members)) => members.get(key).map(shown).unwrap_or_default(),
        Template::Object(members) => {
            members.iter().find(|(name, _)| name == key).map(|(_, value)| template(program, value)).unwrap_or_default()
        }
        other => template(program, other),
    }
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn template(program: &Program, value: &Template) -> String {
    match value {
        Template::Literal(value) => shown(value),
        Template::Expression(id) => expression(program, *id),
        Template::Uri(text) | Template::Loose(_, text) => text.clone(),
        Template::Array(_) => "[…]".to_owned(),
        Template::Object(_) => "{…}".to_owned(),
    }
}

pub(super) fn expression(program: &Program, id: ExpressionId) -> String {
    program.expression(id).text.trim().to_owned()
}

/// One line that fits a box or a terminal.
pub(super) fn shortened(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LINE_CHARS_MAX) {
        None => line,
        Some((cut, _)) => format!("{}…", line[..cut].trim_end()),
    }
}

/// A line that a Mermaid label takes as text, whatever it holds.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for letter in shortened(text).chars() {
        match letter {
            '"' => safe.push_str("#quot;"),
            '#' => safe.push_str("#35;"),
            '&' => safe.push_str("#amp;"),
            '<' => safe.push_str("#lt;"),
            '>' => safe.push_str("#gt;"),
            '`' => safe.push_str("#96;"),
            '\\' => safe.push_str("#92;"),
            '{' => safe.push_str("#123;"),
            '}' => safe.push_str("#125;"),
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}
