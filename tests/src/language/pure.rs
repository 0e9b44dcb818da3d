//! The machine alone: time jumps from one thing to the next, and where several things come at one time a chooser says
//! which is first.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use orchestrator_host::coordinator::perform::Finding;
use orchestrator_host::definition::evaluate::Evaluate;
use orchestrator_host::definition::graph::{NodeKind, Program};
use orchestrator_host::machine::Moment;
use orchestrator_host::machine::next::{self, Event, Found};
use orchestrator_host::machine::record::{Created, Record, Stamped};
use orchestrator_host::machine::state::{Errand, State};
use orchestrator_host::model::{InstanceId, PackName};

use super::case::{Case, Fails, Reply};
use super::judge::{self, Outcome};
use super::prepared::Prepared;
use super::world::{self, Asked, World};

/// More steps than this and a case does not end.
const STEPS_MAX: usize = 20_000;

/// The numbers of what instances emit; no case sends so many events.
const EMITTED_FROM: u64 = 1_000;

/// Says which of several things that come at one time is first.
pub trait Choose {
    /// A number below `count`.
    fn choose(&mut self, count: usize) -> usize;
}

/// Always the first.
pub struct First;

impl Choose for First {
    fn choose(&mut self, _: usize) -> usize {
        0
    }
}

/// By chance, always the same for one seed.
pub struct Seeded(pub u64);

impl Choose for Seeded {
    fn choose(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % count.max(1) as u64).unwrap_or(0)
    }
}

/// Falsifies a record as it is made: a wrong runtime.
pub type Tamper<'a> = dyn Fn(&Program, &State, &mut Record) -> bool + 'a;

/// One run.
pub struct Run<'a> {
    case: &'a Case,
    program: &'a Program,
    children: &'a BTreeMap<String, Arc<Program>>,
    evaluator: &'a dyn Evaluate,
    tamper: Option<&'a Tamper<'a>>,
    /// The outside.
    pub world: World,
    /// Where it stands.
    pub state: State,
    /// What was recorded.
    pub records: Vec<Stamped>,
    /// Which event of the case arrived after how many records.
    pub arrived: Vec<(usize, u64)>,
    cancelled: bool,
    /// So many of the requests to suspend and to resume were made.
    paused: usize,
    now: Timestamp,
}

enum Thing {
    Answer(Errand),
    Arrival(usize),
    Pause,
    Cancel,
}

/// The instance of every run; its calls' keys are the same in each.
pub fn instance() -> InstanceId {
    InstanceId(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001))
}

impl<'a> Run<'a> {
    /// Before the first record.
    pub fn new(prepared: &'a Prepared, evaluator: &'a dyn Evaluate) -> Self {
        Self {
            case: &prepared.case,
            program: &prepared.program,
            children: &prepared.children,
            evaluator,
            tamper: None,
            world: World::new(&prepared.case),
            state: State::new(instance()),
            records: Vec::new(),
            arrived: Vec::new(),
            cancelled: false,
            paused: 0,
            now: super::birth(),
        }
    }

    /// With falsified records.
    #[must_use]
    pub fn tampered(mut self, tamper: &'a Tamper<'a>) -> Self {
        self.tamper = Some(tamper);
        self
    }

    /// After a crash: the records are there, the outside is as it was, and what was out is lost.
    ///
    /// # Errors
    /// The records do not fold.
    pub fn recovered(&mut self, records: Vec<Stamped>, arrived: Vec<(usize, u64)>) -> anyhow::Result<()> {
        self.state = fold(self.program, &records)?;
        self.now = records.last().map_or(self.now, |last| last.at);
        for stamped in &records {
            self.cancelled |= matches!(stamped.record, Record::CancelAsked { .. });
            self.paused += usize::from(matches!(stamped.record, Record::Suspended { .. } | Record::Resumed { .. }));
        }
        self.records = records.clone();
        self.note(&records);
        self.arrived = arrived;
        Ok(())
    }

    /// The first step after a crash.
    ///
    /// # Errors
    /// See [`Self::finish`].
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.advance(Event::Recovered)?;
        self.offer_again()
    }

    /// Creates the instance and lets it begin.
    ///
    /// # Errors
    /// See [`Self::finish`].
    pub fn begin(&mut self, input: serde_json::Value) -> anyhow::Result<()> {
        let created = Created {
            pack: PackName::parse("test").context("a name")?,
            pack_version: semver::Version::new(1, 0, 0),
            workflow: self.program.name.clone(),
            definition: self.program.digest,
            actions: self.program.actions().cloned().collect(),
            service: None,
            name: None,
            input: Arc::new(input),
            start_key: None,
            parent: None,
            tenant: Default::default(),
            created_by: None,
            rerun_of: None,
        };
        let first = Stamped { seq: 1, at: self.now, record: Record::Created(Box::new(created)) };
        self.state.apply(self.program, &first)?;
        self.records.push(first);
        let before = self.case.events.iter().enumerate().filter(|(_, arrival)| arrival.at.is("before"));
        self.arrived.extend(before.map(|(place, _)| (place, 0)));
        self.advance(Event::Start)
    }

    /// Goes on to the end, or until nothing happens any more.
    ///
    /// # Errors
    /// It does not come to rest, or the machine does what it must not.
    pub fn finish(&mut self, choose: &mut dyn Choose) -> anyhow::Result<Outcome> {
        for _ in 0..STEPS_MAX {
            if self.state.end().is_some() || !self.step(choose)? {
                return Ok(judge::outcome(self.program, &self.records));
            }
        }
        bail!("it does not come to rest: the last record is {:?}", self.records.last())
    }

    /// The next thing; false where there is none.
    fn step(&mut self, choose: &mut dyn Choose) -> anyhow::Result<bool> {
        if self.state.is_busy() {
            self.advance(Event::WakeUp)?;
            return Ok(true);
        }
        let things = self.due_now();
        if !things.is_empty() {
            let chosen = choose.choose(things.len());
            let thing = things.into_iter().nth(chosen).context("a choice below the count")?;
            self.happen(thing)?;
            return Ok(true);
        }
        if self.state.wake(self.program).is_some_and(|due| due <= self.now) {
            let before = self.records.len();
            self.advance(Event::WakeUp)?;
            if self.records.len() == before {
                bail!("it wants to be woken and does nothing then");
            }
            return Ok(true);
        }
        if let Some(thing) = self.due_when_waiting() {
            self.happen(thing)?;
            return Ok(true);
        }
        Ok(self.jump())
    }

    /// What comes now: answers in the order in which they are ready, then what the case sends.
    fn due_now(&self) -> Vec<Thing> {
        let mut answers: Vec<_> =
            self.state.errands().filter_map(|errand| Some((self.ready(errand)?, errand))).collect();
        answers.sort();
        let answers =
            answers.into_iter().filter(|(ready, _)| *ready <= self.now).map(|(_, errand)| Thing::Answer(errand));
        let due = |point: &super::case::Point| match point {
            super::case::Point::Records { records } => self.state.seq() >= *records,
            word => word.time().is_some_and(|time| time <= self.now),
        };
        let arrivals = self.open_arrivals().filter(|place| due(&self.case.events[*place].at)).map(Thing::Arrival);
        let cancel = self.case.cancel_at.iter().filter(|point| !self.cancelled && due(point)).map(|_| Thing::Cancel);
        let pause = self.case.pauses.get(self.paused).filter(|point| due(point)).map(|_| Thing::Pause);
        pause.into_iter().chain(answers).chain(arrivals).chain(cancel).collect()
    }

    fn due_when_waiting(&self) -> Option<Thing> {
        let arrival = self.open_arrivals().find(|place| self.case.events[*place].at.is("waiting")).map(Thing::Arrival);
        let cancel = self.case.cancel_at.iter().find(|point| !self.cancelled && point.is("waiting"));
        let pause = self.case.pauses.get(self.paused).filter(|point| point.is("waiting")).map(|_| Thing::Pause);
        pause.or(arrival).or_else(|| cancel.map(|_| Thing::Cancel))
    }

    fn open_arrivals(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.case.events.len()).filter(|place| !self.arrived.iter().any(|(arrived, _)| arrived == place))
    }

    /// When an errand comes back. A probe does at once.
    fn ready(&self, errand: Errand) -> Option<Timestamp> {
        let call = self.state.call(self.program, errand)?;
        if errand.probe { Some(self.now) } else { self.world.calls.get(&call.key)?.ready }
    }

    /// To the next time at which something happens.
    fn jump(&mut self) -> bool {
        let answers = self.state.errands().filter_map(|errand| self.ready(errand));
        let sent = self.open_arrivals().filter_map(|place| self.case.events[place].at.time());
        let cancel = self.case.cancel_at.iter().filter(|_| !self.cancelled).filter_map(super::case::Point::time);
        let pause = self.case.pauses.get(self.paused).and_then(super::case::Point::time);
        let next = answers.chain(sent).chain(cancel).chain(pause).chain(self.state.wake(self.program)).min();
        if let Some(next) = next {
            self.now = self.now.max(next);
        }
        next.is_some()
    }

    fn happen(&mut self, thing: Thing) -> anyhow::Result<()> {
        match thing {
            Thing::Answer(errand) => self.answer(errand),
            Thing::Arrival(place) => {
                self.arrived.push((place, self.state.seq()));
                self.offer(place)
            }
            Thing::Pause => {
                self.paused += 1;
                let asked = match self.paused % 2 {
                    1 => Event::SuspendRequested { by: None },
                    _ => Event::ResumeRequested { by: None },
                };
                self.advance(asked)
            }
            Thing::Cancel => {
                self.cancelled = true;
                self.advance(Event::CancelRequested { by: None })
            }
        }
    }

    fn answer(&mut self, errand: Errand) -> anyhow::Result<()> {
        let call = self.state.call(self.program, errand).context("an errand that is out has a call")?;
        let called = self.world.calls.get_mut(&call.key).context("a call without an intent")?;
        let (activation, attempt) = (errand.activation, errand.attempt);
        if errand.probe {
            let found = match called.found() {
                Finding::Done(success) => Found::Done(success),
                Finding::NotDone => Found::NotDone,
                Finding::Unknown => Found::Unknown("the action's probe cannot tell".to_owned()),
            };
            return self.advance(Event::ProbeAnswered { activation, attempt, found });
        }
        called.answered = true;
        let (result, checkpoints) = (called.reply.clone(), called.checkpoints.clone());
        for value in checkpoints {
            self.advance(Event::CheckpointStored { activation, attempt, value: Arc::new(value) })?;
        }
        self.advance(Event::ResultArrived { activation, attempt, result })
    }

    fn offer(&mut self, place: usize) -> anyhow::Result<()> {
        let number = place as u64 + 1;
        self.advance(Event::EventArrived { number, event: Arc::new(self.case.event(place)) })
    }

    /// A `listen` that begins sees what is in the inbox already.
    fn offer_again(&mut self) -> anyhow::Result<()> {
        let mut places: Vec<_> = self.arrived.iter().map(|(place, _)| *place).collect();
        places.sort_unstable();
        places.into_iter().try_for_each(|place| self.offer(place))?;
        // What is emitted is in the inbox by the same write.
        let emitted = self.records.iter().filter_map(|stamped| match &stamped.record {
            Record::Emitted { event, .. } => Some(event.clone()),
            _ => None,
        });
        let emitted: Vec<_> = emitted.collect();
        for (number, event) in (EMITTED_FROM..).zip(emitted) {
            self.advance(Event::EventArrived { number, event })?;
        }
        Ok(())
    }

    fn advance(&mut self, event: Event) -> anyhow::Result<()> {
        let moment = Moment { now: self.now, chance: self.case.chance };
        let before = self.state.clone();
        let mut new = next::advance(self.program, &mut self.state, [event], moment, self.evaluator);
        self.falsify(&before, &mut new)?;
        self.note(&new);
        let armed = new.iter().any(|stamped| matches!(stamped.record, Record::Armed { .. }));
        let emitted = new.iter().any(|stamped| matches!(stamped.record, Record::Emitted { .. }));
        self.records.extend(new);
        if (armed || emitted) && self.state.end().is_none() {
            return self.offer_again();
        }
        Ok(())
    }

    /// Lets the wrong runtime change the first record that it wants to change; what followed from it follows anew.
    fn falsify(&mut self, before: &State, new: &mut Vec<Stamped>) -> anyhow::Result<()> {
        let Some(tamper) = self.tamper else { return Ok(()) };
        let mut state = before.clone();
        for place in 0..new.len() {
            let changed = tamper(self.program, &state, &mut new[place].record);
            state.apply(self.program, &new[place])?;
            if changed {
                new.truncate(place + 1);
                self.state = state;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Tells the outside of the calls that go out.
    fn note(&mut self, new: &[Stamped]) {
        let nodes = if self.records.is_empty() { BTreeMap::new() } else { judge::nodes_of(&self.records) };
        let fresh = judge::nodes_of(new);
        for stamped in new {
            let Record::Intent { activation, key, arguments, .. } = &stamped.record else { continue };
            let Some(node) = fresh.get(activation).or_else(|| nodes.get(activation)) else { continue };
            let node = self.program.node(*node);
            let NodeKind::Act(act) = &node.kind else { continue };
            let label = world::label(&act.callee, arguments);
            let child = label.strip_prefix("workflow ").and_then(|name| self.children.get(name));
            let asked = Asked {
                key,
                callee: &act.callee,
                arguments,
                task: node.name.as_str(),
                activation: Some(*activation),
                effect: act.effect,
                at: stamped.at,
            };
            let (case, children, evaluator) = (self.case, self.children, self.evaluator);
            let called = self.world.note(&asked, || match child {
                Some(_) if act.detached => world::echo(arguments),
                Some(child) => run_child(case, child, children, evaluator, arguments),
                None => world::echo(arguments),
            });
            called.performed += 1;
        }
    }
}

/// A child runs on a machine of its own; it takes its time.
fn run_child(
    case: &Case,
    program: &Arc<Program>,
    children: &BTreeMap<String, Arc<Program>>,
    evaluator: &dyn Evaluate,
    input: &serde_json::Value,
) -> Reply {
    let case = Case { events: Vec::new(), cancel_at: None, ..case.clone() };
    let prepared = Prepared { case: Arc::new(case), program: program.clone(), children: children.clone() };
    let mut run = Run::new(&prepared, evaluator);
    let outcome = run.begin(input.clone()).and_then(|()| run.finish(&mut First));
    let Ok(outcome) = outcome else { return Reply { hangs: true, ..Reply::default() } };
    let fails = outcome.error.map(|error| Fails {
        status: error.status,
        kind: Some(error.kind),
        title: error.title,
        detail: error.detail,
        reaction: None,
        retry_after: None,
    });
    let hangs = outcome.status == "waiting";
    Reply { gives: outcome.output, fails, hangs, takes: Some(outcome.took.to_string()), ..Reply::default() }
}

/// The state that records fold into.
///
/// # Errors
/// One of them is not legal where it stands.
pub fn fold(program: &Program, records: &[Stamped]) -> anyhow::Result<State> {
    let mut state = State::new(instance());
    for stamped in records {
        state.apply(program, stamped)?;
    }
    Ok(state)
}

/// Runs a case from birth to rest.
///
/// # Errors
/// See [`Run::finish`].
pub fn run<'a>(
    prepared: &'a Prepared,
    evaluator: &'a dyn Evaluate,
    choose: &mut dyn Choose,
) -> anyhow::Result<(Run<'a>, Outcome)> {
    let mut run = Run::new(prepared, evaluator);
    run.begin(prepared.case.raw_input())?;
    let outcome = run.finish(choose)?;
    Ok((run, outcome))
}
