//! What of a workflow its cases have been through: tasks that were entered, cases of switches that were taken, catches
//! that caught and tried again.

use std::collections::{BTreeMap, BTreeSet};

use crate::definition::graph::{Flow, NodeId, NodeKind, Program};
use crate::desk::drive::History;
use crate::machine::record::{ActivationId, Record, Target};
use crate::model::WorkflowName;

/// What is counted of one workflow.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// The workflow.
    pub workflow: WorkflowName,
    /// Its tasks.
    pub tasks: Count,
    /// The cases of its switches; cases that lead to the same place count as one.
    pub branches: Count,
    /// The catches of its tries: that they catch, and that they try again.
    pub catches: Count,
}

/// How much of something was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// So many there are.
    pub all: usize,
    /// What was not reached, as it is shown.
    pub missed: Vec<String>,
}

impl Count {
    /// So many were reached.
    pub fn reached(&self) -> usize {
        self.all - self.missed.len()
    }

    fn of<'a, T: 'a>(items: impl Iterator<Item = (T, String)>, is_reached: impl Fn(&T) -> bool) -> Self {
        let mut count = Self::default();
        for (item, name) in items {
            count.all += 1;
            if !is_reached(&item) {
                count.missed.push(name);
            }
        }
        count
    }
}

impl Coverage {
    /// How much was reached of everything, in percent, rounded down; 100 where there is nothing.
    pub fn percent(&self) -> usize {
        let counts = [&self.tasks, &self.branches, &self.catches];
        let all: usize = counts.iter().map(|count| count.all).sum();
        let reached: usize = counts.iter().map(|count| count.reached()).sum();
        (reached * 100).checked_div(all).unwrap_or(100)
    }
}

/// What the runs of one workflow went through.
#[derive(Debug, Default)]
pub(super) struct Reached {
    tasks: BTreeSet<NodeId>,
    /// A switch, and where it led.
    branches: BTreeSet<(NodeId, Place)>,
    caught: BTreeSet<NodeId>,
    retried: BTreeSet<NodeId>,
}

/// Where control went, in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Node(NodeId),
    Exit,
    End,
}

impl From<Target> for Place {
    fn from(target: Target) -> Self {
        match target {
            Target::Node(node) => Self::Node(node),
            Target::Exit => Self::Exit,
            Target::End => Self::End,
        }
    }
}

impl From<Flow> for Place {
    fn from(flow: Flow) -> Self {
        Target::from(flow).into()
    }
}

impl Reached {
    /// Takes in one more run.
    pub(super) fn take(&mut self, history: &History) {
        let mut nodes: BTreeMap<ActivationId, NodeId> = BTreeMap::new();
        for stamped in &history.records {
            match &stamped.record {
                Record::Entered(entered) => {
                    nodes.insert(entered.activation, entered.node);
                    self.tasks.insert(entered.node);
                }
                Record::Left { activation, to, .. } => {
                    self.branches.extend(nodes.get(activation).map(|node| (*node, Place::from(*to))));
                }
                Record::Caught { activation, .. } => self.caught.extend(nodes.get(activation)),
                Record::Retried { activation, .. } => self.retried.extend(nodes.get(activation)),
                _ => {}
            }
        }
    }

    /// What was reached of a program.
    pub(super) fn of(&self, program: &Program) -> Coverage {
        let shown = || (0..).map(NodeId).zip(&program.nodes).filter(|(_, node)| !node.hidden);
        let tasks = shown().map(|(id, node)| (id, named(&node.reference)));
        let branches = shown().filter_map(|(id, node)| match &node.kind {
            NodeKind::Route(ways) => {
                let mut places: BTreeMap<Place, Vec<&str>> = BTreeMap::new();
                ways.iter().for_each(|way| places.entry(way.flow.into()).or_default().push(&way.name));
                if ways.iter().all(|way| way.guard.is_some()) {
                    places.entry(node.then.into()).or_default().push("none of its cases");
                }
                let reference = named(&node.reference);
                Some(
                    places
                        .into_iter()
                        .map(move |(place, names)| ((id, place), format!("{reference}: {}", names.join(" or "))))
                        .collect::<Vec<_>>(),
                )
            }
            _ => None,
        });
        let catches = shown().filter_map(|(id, node)| match &node.kind {
            NodeKind::Scope(block) => {
                let catch = block.catch.as_ref()?;
                let retry =
                    catch.retry.is_some().then(|| ((id, true), format!("{}: tries again", named(&node.reference))));
                let catches = catch.handler.is_some() || catch.retry.is_none();
                let caught = catches.then(|| ((id, false), format!("{}: catches", named(&node.reference))));
                Some(retry.into_iter().chain(caught))
            }
            _ => None,
        });
        Coverage {
            workflow: program.name.clone(),
            tasks: Count::of(tasks, |id| self.tasks.contains(id)),
            branches: Count::of(branches.flatten(), |branch| self.branches.contains(branch)),
            catches: Count::of(catches.flatten(), |(id, retry)| match retry {
                true => self.retried.contains(id),
                false => self.caught.contains(id),
            }),
        }
    }
}

/// The names of the tasks on the way to one, as people read them: of `/do/0/work/try/1/make`, `work > make`.
fn named(reference: &str) -> String {
    let steps: Vec<&str> = reference.split('/').skip(1).collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let names = steps.windows(2).filter(|pair| is_number(pair[0]) && !is_number(pair[1])).map(|pair| pair[1]);
    let names: Vec<&str> = names.collect();
    match names.is_empty() {
        // A function's task stands under its own name.
        true => reference.trim_start_matches('/').to_owned(),
        false => names.join(" > "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_shown_by_the_names_on_the_way_to_it() {
        let cases = [
            ("/do/0/create", "create"),
            ("/do/1/provision/try/0/work/catch/do/2/tell", "provision > work > tell"),
            ("/do/0/f/fork/branches/1/b", "f > b"),
            ("/use/functions/notify", "use/functions/notify"),
        ];
        for (reference, expected) in cases {
            assert_eq!(named(reference), expected);
        }
    }

    #[test]
    fn what_was_not_reached_is_missed_and_lowers_the_share() {
        let names = ["a", "b", "c"].into_iter().enumerate().map(|(at, name)| (at, name.to_owned()));
        let tasks = Count::of(names, |at| *at != 1);
        assert_eq!((tasks.reached(), tasks.missed.clone()), (2, vec!["b".to_owned()]));
        let workflow = WorkflowName::parse("w").unwrap();
        let nothing = Count::default;
        let coverage = Coverage { workflow: workflow.clone(), tasks, branches: nothing(), catches: nothing() };
        assert_eq!(coverage.percent(), 66);
        let empty = Coverage { workflow, tasks: nothing(), branches: nothing(), catches: nothing() };
        assert_eq!(empty.percent(), 100);
    }
}
