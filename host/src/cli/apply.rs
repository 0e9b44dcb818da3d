//! `orchctl apply` and `orchctl diff`: the server is made as files say. The files' format is in `host/APPLY.md`. What the
//! files want is read first, whole; then it is compared with what is there; only then something is changed.

mod compare;
mod document;
mod live;
mod reference;

use clap::Args;
use serde_json::{Value as Json, json};

use super::client::Client;
use super::error::Error;
use super::output::{aside, line};
use super::{Context, ask};
use compare::Difference;
use document::{Document, Kind};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orchctl apply -f deployment/
  orchctl apply -f deployment/ --prune --yes
  orchctl apply -f packs/storage --build

The format of the files is described in host/APPLY.md.")]
pub(super) struct Apply {
    #[command(flatten)]
    what: What,
    /// Remove what is on the server and not in the files, of the kinds that the files have. Asks first.
    #[arg(long)]
    prune: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orchctl diff -f deployment/
  orchctl diff -f deployment/ --prune -o json

Exits with 0 if the server is as the files say, and with 1 if it is not.")]
pub(super) struct Diff {
    #[command(flatten)]
    what: What,
    /// Show too what `apply --prune` would remove.
    #[arg(long)]
    prune: bool,
}

#[derive(Debug, Args)]
struct What {
    /// A file, a folder with files, or - for standard input; several times for several.
    #[arg(short, long, required = true, value_name = "DIR|FILE|-")]
    file: Vec<String>,
    /// Store secrets again that are there already; whether their values differ cannot be seen.
    #[arg(long)]
    rewrite_secrets: bool,
    /// Compile the packs' components first.
    #[arg(long)]
    build: bool,
}

/// What happens to one thing.
struct Step {
    kind: Kind,
    name: String,
    change: Change,
    /// What makes it so; none where it is removed.
    document: Option<Document>,
}

#[derive(Debug, PartialEq)]
enum Change {
    Create,
    Alter(Vec<Difference>),
    /// It is as it should be, as far as can be seen.
    Unchanged,
    /// A secret that is there; its value cannot be compared.
    Kept,
    /// The versions of a pack, or nothing.
    Remove(Vec<String>),
}

impl Apply {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let steps = self.what.plan(&client, self.prune).await?;
        let removed = steps.iter().filter(|step| matches!(step.change, Change::Remove(_))).count();
        if context.output.is_for_people() && !context.output.is_quiet() {
            line(&drawn(&steps))?;
        }
        if removed > 0 && !self.yes && !ask::confirmed(&format!("Remove {removed} of them?"))? {
            let reason = "nothing was changed: removing was not confirmed; give --yes where nobody can be asked";
            return Err(Error::Usage(reason.to_owned()));
        }
        let mut done = 0;
        for step in &steps {
            if step.changes() {
                step.execute(&client).await.inspect_err(|_| {
                    aside(&format!("{done} of the changes were made; {} {} failed", step.kind.word(), step.name));
                })?;
                done += 1;
            }
        }
        context.output.said(&format!("{done} changed"), &told(&steps))
    }
}

impl Diff {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let steps = self.what.plan(&context.client()?, self.prune).await?;
        match context.output.is_for_people() {
            true => line(&drawn(&steps))?,
            false => context.output.list(&told(&steps), &[("NAME", &["/name"]), ("CHANGE", &["/change"])])?,
        }
        match steps.iter().any(Step::changes) {
            true => Err(Error::Told(1)),
            false => Ok(()),
        }
    }
}

impl What {
    /// What has to be done, in the order in which one needs the other; removing goes the other way round, at the end.
    async fn plan(&self, client: &Client, prune: bool) -> Result<Vec<Step>, Error> {
        let mut documents = document::read(&self.file)?;
        if self.build {
            documents.iter().try_for_each(document::build)?;
        }
        documents.sort_by(|left, right| (left.kind, &left.name).cmp(&(right.kind, &right.name)));
        let mut removed = Vec::new();
        if prune {
            for (kind, name, versions) in live::others(client, &documents).await? {
                removed.push(Step { kind, name, change: Change::Remove(versions), document: None });
            }
            removed.sort_by(|left, right| (right.kind, &right.name).cmp(&(left.kind, &left.name)));
        }
        let mut steps = Vec::new();
        for document in documents {
            let change = live::change(client, &document, self.rewrite_secrets).await?;
            let (kind, name) = (document.kind, document.name.clone());
            steps.push(Step { kind, name, change, document: Some(document) });
        }
        steps.extend(removed);
        Ok(steps)
    }
}

impl Step {
    fn changes(&self) -> bool {
        !matches!(self.change, Change::Unchanged | Change::Kept)
    }

    async fn execute(&self, client: &Client) -> Result<(), Error> {
        match (&self.change, &self.document) {
            (Change::Remove(versions), _) => live::remove(client, self.kind, &self.name, versions).await,
            (_, Some(document)) => live::put(client, document).await,
            (_, None) => Ok(()),
        }
    }
}

impl Change {
    /// The sign before it, and the word for it.
    fn shown(&self) -> (&'static str, &'static str) {
        match self {
            Self::Create => ("+", "create"),
            Self::Alter(_) => ("~", "change"),
            Self::Unchanged => ("=", "unchanged"),
            Self::Kept => ("=", "kept"),
            Self::Remove(_) => ("-", "remove"),
        }
    }

    fn differences(&self) -> &[Difference] {
        match self {
            Self::Alter(differences) => differences,
            _ => &[],
        }
    }
}

/// The plan for people.
fn drawn(steps: &[Step]) -> String {
    let mut lines = Vec::new();
    for step in steps {
        let (sign, word) = step.change.shown();
        lines.push(format!("{sign} {} {}: {word}", step.kind.word(), step.name));
        lines.extend(step.change.differences().iter().map(|difference| format!("    {difference}")));
    }
    let count = |word: &str| steps.iter().filter(|step| step.change.shown().1 == word).count();
    let same = count("unchanged") + count("kept");
    let (create, change, remove) = (count("create"), count("change"), count("remove"));
    lines.push(format!("{create} to create, {change} to change, {remove} to remove, {same} as they should be"));
    lines.join("\n")
}

/// The plan for programs.
fn told(steps: &[Step]) -> Json {
    let step = |step: &Step| {
        json!({
            "kind": step.kind.word(), "name": step.name, "change": step.change.shown().1,
            "differences": step.change.differences().iter().map(Difference::told).collect::<Vec<_>>(),
        })
    };
    json!({ "items": steps.iter().map(step).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_happens_and_how_much() {
        let difference = compare::differences(&json!({"group": "a"}), &json!({"group": "b"}), compare::How::Whole);
        let step = |kind, name: &str, change| Step { kind, name: name.to_owned(), change, document: None };
        let steps = [
            step(Kind::Secret, "s", Change::Kept),
            step(Kind::Connection, "c", Change::Create),
            step(Kind::Service, "x y", Change::Alter(difference)),
            step(Kind::Schedule, "old", Change::Remove(Vec::new())),
        ];
        let expected = "= Secret s: kept\n+ Connection c: create\n~ Service x y: change\n    group: \"b\" -> \"a\"\n\
                        - Schedule old: remove\n1 to create, 1 to change, 1 to remove, 1 as they should be";
        assert_eq!(drawn(&steps), expected);
        assert_eq!(told(&steps)["items"][2]["differences"][0], json!({"path": "group", "from": "b", "to": "a"}));
        assert_eq!(steps.iter().filter(|step| step.changes()).count(), 3);
    }
}
