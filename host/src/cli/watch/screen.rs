//! What a follower sees.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::cli::instance::{dress_tasks, log_line};
use crate::cli::output::{Output, aside, cell, is_watched, items, printable};

/// How often a line about the same task's progress is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Bars at once; a terminal has no room for more, and the lines tell the rest.
const BARS_MAX: usize = 12;

/// Where the news goes.
pub(super) struct Screen {
    kind: Kind,
    /// The status that was last told of each task.
    told: HashMap<u64, String>,
}

enum Kind {
    Silent,
    Lines { last: HashMap<u64, Instant> },
    Bars { all: MultiProgress, bars: HashMap<u64, ProgressBar> },
}

impl Screen {
    /// Bars on a terminal, lines where people read a file, nothing where a program reads the result.
    pub(super) fn new(output: &Output) -> Self {
        let kind = match (output.is_for_people() && !output.is_quiet(), is_watched()) {
            (false, _) => Kind::Silent,
            (true, false) => Kind::Lines { last: HashMap::new() },
            (true, true) => Kind::Bars { all: MultiProgress::new(), bars: HashMap::new() },
        };
        Self { kind, told: HashMap::new() }
    }

    pub(super) fn is_silent(&self) -> bool {
        matches!(self.kind, Kind::Silent)
    }

    /// Takes the tasks as they stand, and tells what changed.
    pub(super) fn tasks(&mut self, mut tasks: Json) {
        dress_tasks(&mut tasks);
        for task in items(&tasks) {
            let Some(id) = task.get("id").and_then(Json::as_u64) else { continue };
            let status = cell(task, &["/status"]);
            if self.told.get(&id) != Some(&status) {
                self.changed(id, task, &status);
                self.told.insert(id, status);
            }
        }
    }

    fn changed(&mut self, id: u64, task: &Json, status: &str) {
        let over = matches!(status, "completed" | "faulted" | "cancelled");
        let text = task_line(task, status);
        match &mut self.kind {
            Kind::Silent => {}
            Kind::Lines { .. } => aside(&text),
            Kind::Bars { all, bars } => {
                if let Some(bar) = bars.remove(&id).filter(|_| over) {
                    bar.finish_and_clear();
                    all.remove(&bar);
                }
                // A task around others is told when it is over; a bar is for what really works.
                if over {
                    // A terminal that is gone is no reason to stop following.
                    let _ = all.println(text);
                } else if task.get("action").is_some_and(|action| !action.is_null()) && bars.len() < BARS_MAX {
                    bars.insert(id, bar(all, &cell(task, &["/name"])));
                }
            }
        }
    }

    /// Takes a task's newest progress.
    pub(super) fn progress(&mut self, event: &Json) {
        let Some(id) = event.get("task").and_then(Json::as_u64) else { return };
        let text = progress_text(event);
        match &mut self.kind {
            Kind::Silent => {}
            Kind::Lines { last } => {
                let now = Instant::now();
                if last.get(&id).is_none_or(|last| now.duration_since(*last) >= LINE_EVERY) {
                    aside(&format!("{}: {text}", cell(event, &["/name"])));
                    last.insert(id, now);
                }
            }
            Kind::Bars { all, bars } => {
                if !bars.contains_key(&id) && bars.len() >= BARS_MAX {
                    return;
                }
                let bar = bars.entry(id).or_insert_with(|| bar(all, &cell(event, &["/name"])));
                if let Some((done, total)) = share(event) {
                    bar.set_length(total);
                    bar.set_position(done);
                    bar.set_style(style(true));
                }
                bar.set_message(text);
            }
        }
    }

    /// Takes a line of an attempt's log.
    pub(super) fn log(&mut self, event: &Json) {
        let text = printable(&log_line(event));
        match &self.kind {
            Kind::Silent => {}
            Kind::Lines { .. } => aside(&text),
            Kind::Bars { all, .. } => drop(all.println(text)),
        }
    }

    /// Clears what moves.
    pub(super) fn close(&mut self) {
        if let Kind::Bars { all, bars } = &mut self.kind {
            bars.drain().for_each(|(_, bar)| bar.finish_and_clear());
            drop(all.clear());
        }
    }
}

fn bar(all: &MultiProgress, name: &str) -> ProgressBar {
    let bar = all.add(ProgressBar::new(0).with_style(style(false)).with_prefix(printable(name)));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn style(has_total: bool) -> ProgressStyle {
    let template = match has_total {
        true => "{spinner} {prefix} [{bar:30}] {percent}% {msg} {elapsed}",
        false => "{spinner} {prefix} {msg} {elapsed}",
    };
    ProgressStyle::with_template(template).expect("a fixed template").progress_chars("=> ")
}

fn task_line(task: &Json, status: &str) -> String {
    let sign = match status {
        "completed" => "✓",
        "faulted" => "✗",
        "cancelled" => "-",
        _ => "·",
    };
    let why = cell(task, &["/error/detail", "/error/title"]);
    let why = if why == "-" { String::new() } else { format!(": {why}") };
    printable(&format!("{sign} {} {status}{why}", cell(task, &["/shown", "/name"])))
}

/// `12/200 objects, 34.5/80.0 MiB; copying a.txt`.
fn progress_text(event: &Json) -> String {
    let measures = event.get("measures").and_then(Json::as_array).into_iter().flatten();
    let text = measures.map(measure).collect::<Vec<_>>().join(", ");
    match event.get("note").and_then(Json::as_str) {
        Some(note) if text.is_empty() => printable(note),
        Some(note) => printable(&format!("{text}; {note}")),
        None => printable(&text),
    }
}

fn measure(measure: &Json) -> String {
    let unit = cell(measure, &["/unit"]);
    let done = measure.get("done").and_then(Json::as_u64).unwrap_or_default();
    let total = measure.get("total").and_then(Json::as_u64);
    if unit == "bytes" {
        let mib = |bytes: u64| format!("{}.{}", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
        let total = total.map(|total| format!("/{}", mib(total))).unwrap_or_default();
        return format!("{}{total} MiB", mib(done));
    }
    format!("{done}{} {unit}", total.map(|total| format!("/{total}")).unwrap_or_default())
}

/// How far it has come: by bytes where they are counted, since objects differ in size.
fn share(event: &Json) -> Option<(u64, u64)> {
    let measures = event.get("measures").and_then(Json::as_array)?;
    let with_total = |measure: &&Json| measure.get("total").is_some_and(Json::is_u64);
    let bytes = measures.iter().filter(with_total).find(|measure| measure["unit"] == "bytes");
    let measure = bytes.or_else(|| measures.iter().find(with_total))?;
    Some((measure.get("done")?.as_u64()?, measure.get("total")?.as_u64()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_is_told_in_the_units_of_people() {
        let event = json!({"task": 3, "name": "copy", "note": "a.txt", "measures": [
            {"unit": "objects", "done": 12, "total": 200},
            {"unit": "bytes", "done": 36_175_872, "total": 83_886_080},
            {"unit": "retries", "done": 1},
        ]});
        assert_eq!(progress_text(&event), "12/200 objects, 34.5/80.0 MiB, 1 retries; a.txt");
        assert_eq!(share(&event), Some((36_175_872, 83_886_080)));
        assert_eq!(share(&json!({"measures": [{"unit": "objects", "done": 1}]})), None);
        assert_eq!(progress_text(&json!({"note": "x\u{1b}"})), "x\u{fffd}");
    }

    #[test]
    fn a_task_that_failed_says_why() {
        let task = json!({"name": "copy", "error": {"title": "Denied", "detail": "no grant for `source`"}});
        assert_eq!(task_line(&task, "faulted"), "✗ copy faulted: no grant for `source`");
        assert_eq!(task_line(&json!({"name": "copy"}), "running"), "· copy running");
    }
}
