//! What a block does about an error in it: filter, `when`, `exceptWhen`, retry, handler, in this order.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use super::{Turn, passed_on};
use crate::definition::graph::{Backoff, Catch, ErrorFilter, NodeKind, Retry};
use crate::machine::duration::DURATION_MAX;
use crate::machine::record::Record;
use crate::machine::state::{Activation, Block, BlockStage, later, limits};
use crate::machine::values::Place;
use crate::model::{ErrorObject, standard};

impl Turn<'_> {
    /// The inside of a block failed. An error while deciding about it (an expression of the `catch` fails) passes on in
    /// its place.
    pub(super) fn broken(
        &self,
        live: &Activation,
        block: &Block,
        error: &ErrorObject,
        not_before: Option<Timestamp>,
    ) -> Record {
        let NodeKind::Scope(declared) = &self.program.node(live.node).kind else { return passed_on(live, error) };
        match &declared.catch {
            Some(catch) if block.stage == BlockStage::Body => self
                .catch(live, block, catch, error, not_before)
                .unwrap_or_else(|worse| Record::Failed { activation: live.id, error: worse }),
            _ => passed_on(live, error),
        }
    }

    fn catch(
        &self,
        live: &Activation,
        block: &Block,
        catch: &Catch,
        error: &ErrorObject,
        not_before: Option<Timestamp>,
    ) -> Result<Record, ErrorObject> {
        let own = [(catch.variable.as_str(), Cow::Owned(error.to_json()))];
        let place = Place { own: &own, ..self.place(live) };
        let holds = |condition| place.holds(condition, &live.input);

        let caught = fits(&catch.with, error)
            && catch.when.map_or(Ok(true), holds)?
            && !catch.except_when.map_or(Ok(false), holds)?;
        if !caught {
            return Ok(passed_on(live, error));
        }
        if let Some(retry) = &catch.retry {
            let wanted = retry.when.map_or(Ok(true), holds)? && !retry.except_when.map_or(Ok(false), holds)?;
            if wanted && let Some(due) = self.next_try(&place, live, block, retry, not_before)? {
                let due = (due > self.moment.now).then_some(due);
                let (activation, error) = (live.id, error.clone());
                return Ok(Record::Retried { activation, retry: block.retries + 1, error, due });
            }
            if catch.handler.is_none() {
                return Ok(passed_on(live, error));
            }
        }
        Ok(Record::Caught { activation: live.id, error: error.clone() })
    }

    /// When the body is tried again; never, where a limit stands against it.
    fn next_try(
        &self,
        place: &Place<'_>,
        live: &Activation,
        block: &Block,
        retry: &Retry,
        not_before: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, ErrorObject> {
        let number = block.retries + 1;
        if retry.count.is_some_and(|most| number > most) {
            return Ok(None);
        }
        let length = |declared| place.duration(declared, &live.input);
        let jitter = retry.jitter.map(|(from, to)| Ok((length(from)?, length(to)?))).transpose()?;
        let delay = Delay { base: length(retry.delay)?, backoff: retry.backoff, jitter };
        let due = later(self.moment.now, delay.before(number, self.moment.chance));
        let due = not_before.map_or(due, |earliest| due.max(earliest));
        let end = limits(retry, block).total.map(|limit| later(live.started_at, limit));
        Ok(end.is_none_or(|end| due < end).then_some(due))
    }
}

/// A policy's delays, computed.
struct Delay {
    base: SignedDuration,
    backoff: Backoff,
    jitter: Option<(SignedDuration, SignedDuration)>,
}

impl Delay {
    /// The one before retry `number` = 1, 2, …, with jitter; never longer than [`DURATION_MAX`].
    fn before(&self, number: u32, chance: f64) -> SignedDuration {
        let times = match self.backoff {
            Backoff::Constant => 1,
            Backoff::Linear => i32::try_from(number).unwrap_or(i32::MAX),
            Backoff::Exponential => 1_i32.checked_shl(number - 1).filter(|times| *times > 0).unwrap_or(i32::MAX),
        };
        let grown = self.base.checked_mul(times).unwrap_or(DURATION_MAX);
        let jitter = self.jitter.map_or(SignedDuration::ZERO, |(from, to)| {
            let extra = to.saturating_sub(from).max(SignedDuration::ZERO).as_millis_f64() * chance;
            from.saturating_add(SignedDuration::from_micros((extra * 1_000.0) as i64))
        });
        grown.saturating_add(jitter).clamp(SignedDuration::ZERO, DURATION_MAX)
    }
}

/// Whether the error has every member that the filter names.
fn fits(filter: &ErrorFilter, error: &ErrorObject) -> bool {
    let kind = filter.kind.as_ref().is_none_or(|kind| same_kind(kind, &error.kind));
    let status = filter.status.is_none_or(|status| status == error.status);
    let text = |wanted: &Option<String>, there: &Option<String>| wanted.is_none() || wanted == there;
    kind && status
        && text(&filter.title, &error.title)
        && text(&filter.detail, &error.detail)
        && text(&filter.instance, &error.instance)
}

/// Where the standard error types have stood, over the versions of the DSL and its tools.
const BASES: [&str; 4] = [
    standard::BASE,
    "https://serverlessworkflow.io/spec/1.0.0/errors/",
    "https://serverlessworkflow.io/dsl/errors/types/",
    "https://open-workflow-specification.org/dsl/errors/types/",
];

const STANDARD: [&str; 8] = [
    standard::CONFIGURATION.0,
    standard::VALIDATION.0,
    standard::EXPRESSION.0,
    standard::AUTHENTICATION.0,
    standard::AUTHORIZATION.0,
    standard::TIMEOUT.0,
    standard::COMMUNICATION.0,
    standard::RUNTIME.0,
];

/// Whether two types are the same text, or the same standard type on whatever base.
fn same_kind(one: &str, other: &str) -> bool {
    one == other || standard_type(one).is_some_and(|segment| Some(segment) == standard_type(other))
}

/// The last segment of a standard type.
fn standard_type(kind: &str) -> Option<&str> {
    let segment = BASES.iter().find_map(|base| kind.strip_prefix(base));
    segment.filter(|segment| STANDARD.contains(segment))
}
