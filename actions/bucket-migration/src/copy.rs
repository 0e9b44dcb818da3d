//! `copy-objects`: brings every object of the source that is not already right to the destination.
//!
//! One loop keeps up to `concurrency` exchanges under way; whenever one ends, its object takes its next step:
//! a small object is read and written (`Get`, `Put`), a middle one streamed inside the host (`Head`, `Stream`), a large
//! one in parts (`Head`, `Create`, `Part`…, `Complete`). What is done goes into the ledger, the ledger into checkpoints.
//! After a crash the destination's listing tells what was written but not yet noted.
//!
//! It never deletes an object, and it does not prove content: that is `verify`.

use std::collections::{BTreeMap, VecDeque};

use orchestrator_sdk::{Error, log};
use serde::{Deserialize, Serialize};

use crate::input::Buckets;
use crate::ledger::Ledger;
use crate::listing::Pairs;
use crate::s3::{self, Object, SOURCE_ETAG, TRIES, Trouble};
use crate::wire::{Broken, Flight, Outcome, Request, Response, Side, Wire};
use crate::{parts, xml};

/// A checkpoint costs one durable write of the host, so there is not one per object: after so many objects or bytes,
/// whichever comes first. Objects in between are recognised by the destination's listing.
const CHECKPOINT_OBJECTS: u64 = 128;
const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Objects of the source that were looked at.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were copied.
    pub copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// Objects that were right at the destination already.
    pub already_right: u64,
    /// Objects that left the source while it was copied.
    pub vanished: u64,
}

/// An upload in parts that is not completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upload {
    id: String,
    etag: String,
    size: u64,
    part_bytes: u64,
}

/// What the next attempt needs to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    ledger: Ledger,
    counts: Output,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    uploads: BTreeMap<String, Upload>,
}

/// The next step of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Read the destination's note of which source it was copied from.
    Compare,
    Get,
    Put,
    Head,
    Stream,
    Create,
    /// Read which parts an upload of an earlier attempt has, behind this number.
    Parts(u32),
    Part(u32),
    Complete,
    Abort,
}

/// What an exchange under way is for.
struct Note {
    key: String,
    step: Step,
    /// See [`Job::epoch`].
    epoch: u8,
}

struct Job {
    /// As listed; as the newest answer says once there was one.
    object: Object,
    tries: u8,
    /// How often it was begun again. An exchange of an earlier epoch belongs to an upload that is gone: its end says
    /// nothing about the present one.
    epoch: u8,
    /// Whether a stream of the whole object broke off.
    broke: bool,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Entity tags of stored parts, by number.
    stored: BTreeMap<u32, String>,
}

/// Copies; `checkpoint` is what an earlier attempt left.
///
/// # Errors
/// Transient when an end was busy or away for longer than the retries within; permanent otherwise. Uploads in parts
/// are aborted where that is possible, and remembered where it is not.
pub fn copy<W: Wire>(wire: &W, input: &Buckets, checkpoint: Option<Checkpoint>) -> Result<Output, Error> {
    let mut copier = Copier::new(wire, input, checkpoint.unwrap_or_default());
    match copier.run() {
        Ok(()) => Ok(copier.state.counts),
        Err(error) => {
            copier.abandon();
            Err(error)
        }
    }
}

struct Copier<'w, W: Wire> {
    wire: &'w W,
    input: &'w Buckets,
    pairs: Pairs<'w, W>,
    flight: Flight<'w, W, Note>,
    ready: VecDeque<(String, Step)>,
    jobs: BTreeMap<String, Job>,
    state: Checkpoint,
    unsaved: (u64, u64),
    walked: bool,
}

impl<'w, W: Wire> Copier<'w, W> {
    fn new(wire: &'w W, input: &'w Buckets, state: Checkpoint) -> Self {
        let after = state.ledger.after.as_deref();
        let pairs = Pairs::new(wire, &input.source_bucket, &input.destination_bucket, &input.prefix, after);
        let flight = Flight::new(wire, input.in_flight());
        let (ready, jobs) = (VecDeque::new(), BTreeMap::new());
        Self { wire, input, pairs, flight, ready, jobs, state, unsaved: (0, 0), walked: false }
    }

    fn run(&mut self) -> Result<(), Error> {
        loop {
            self.fill()?;
            let Some((note, ended)) = self.flight.next() else { break };
            self.ended(note, ended)?;
            self.save_when_due()?;
            if self.wire.cancelled() {
                return Err(Error::permanent("the migration was cancelled"));
            }
        }
        self.abort_remembered();
        self.save()
    }

    /// Starts whatever can be started: next steps first, then new objects.
    fn fill(&mut self) -> Result<(), Error> {
        while self.flight.has_room() {
            if let Some((key, step)) = self.ready.pop_front() {
                self.start(key, step)?;
            } else if self.walked || !self.state.ledger.has_room() {
                break;
            } else {
                match self.pairs.next().transpose()? {
                    Some((object, counterpart)) => self.admit(object, counterpart.as_ref()),
                    None => self.walked = true,
                }
            }
        }
        Ok(())
    }

    fn admit(&mut self, object: Object, counterpart: Option<&Object>) {
        if self.state.ledger.is_done(&object.key) {
            return self.state.ledger.pass(&object.key);
        }
        self.state.ledger.begin(&object.key);
        let key = object.key.clone();
        let right = counterpart.is_some_and(|counterpart| object.same_by_etag(counterpart));
        let maybe = counterpart.is_some_and(|counterpart| object.size == counterpart.size && counterpart.in_parts());
        let first = self.first_step(&object);
        self.jobs.insert(key.clone(), Job::new(object));
        if right {
            self.finished(&key, |counts, _| counts.already_right += 1);
        } else {
            self.ready.push_back((key, if maybe { Step::Compare } else { first }));
        }
    }

    fn first_step(&self, object: &Object) -> Step {
        match object.size {
            0..=parts::DIRECT_MAX => Step::Get,
            _ => Step::Head,
        }
    }

    fn start(&mut self, key: String, step: Step) -> Result<(), Error> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let (from, to) = (&self.input.source_bucket, &self.input.destination_bucket);
        let source = |method| s3::request(Side::Source, method, from, &key, &[]);
        let destination = |method, query: &[(&str, &str)]| s3::request(Side::Destination, method, to, &key, query);
        let upload = self.state.uploads.get(&key);
        let id = upload.map(|upload| upload.id.clone()).unwrap_or_default();
        let note = Note { key: key.clone(), step, epoch: job.epoch };
        let started = match step {
            Step::Compare => self.flight.send(note, destination("HEAD", &[])),
            Step::Get => self.flight.send(note, source("GET")),
            Step::Put => {
                let request = destination("PUT", &[]).with(&job.headers).body(std::mem::take(&mut job.body));
                self.flight.send(note, request)
            }
            Step::Head => self.flight.send(note, source("HEAD")),
            Step::Stream => {
                let to = destination("PUT", &[]).with(&job.headers);
                self.flight.transfer(note, source("GET").only(&job.object.etag), to)
            }
            Step::Create => {
                let request = destination("POST", &[("uploads", "")]).with(&job.headers);
                self.flight.send(note, request.header(SOURCE_ETAG, job.object.etag.clone()))
            }
            Step::Parts(after) => {
                let marker = after.to_string();
                self.flight.send(note, destination("GET", &[("uploadId", &id), ("part-number-marker", &marker)]))
            }
            Step::Part(number) => {
                let part_bytes = upload.map_or(job.object.size, |upload| upload.part_bytes);
                let (start, length) = parts::span(job.object.size, part_bytes, number);
                let to = destination("PUT", &[("partNumber", &number.to_string()), ("uploadId", &id)]);
                self.flight.transfer(note, source("GET").range(start, length, &job.object.etag), to)
            }
            Step::Complete => {
                let list = xml::complete(job.stored.iter().map(|(number, etag)| (*number, etag.as_str())));
                let request = destination("POST", &[("uploadId", &id)]).header("content-type", "application/xml");
                self.flight.send(note, request.body(list.into_bytes()))
            }
            Step::Abort => self.flight.send(note, destination("DELETE", &[("uploadId", &id)])),
        };
        match started {
            Ok(()) => Ok(()),
            Err((note, broken)) => self.ended(note, Err(broken)),
        }
    }

    fn ended(&mut self, note: Note, ended: Result<Outcome, Broken>) -> Result<(), Error> {
        let Note { key, step, epoch } = note;
        if self.jobs.get(&key).is_none_or(|job| job.epoch != epoch) {
            return Ok(());
        }
        match s3::judge(&format!("{} `{key}`", step.doing()), ended) {
            Ok(outcome) => self.advance(key, step, outcome),
            Err(trouble) => self.trouble(key, step, trouble),
        }
    }

    /// What a step's success leads to.
    fn advance(&mut self, key: String, step: Step, outcome: Outcome) -> Result<(), Error> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let response = outcome.response;
        match step {
            Step::Compare => {
                if job.is_copied_to(&response) {
                    self.finished(&key, |counts, _| counts.already_right += 1);
                } else {
                    let first = self.first_step(&self.jobs[&key].object);
                    self.ready.push_front((key, first));
                }
            }
            Step::Get => {
                job.learn(&response, response.body.len() as u64);
                job.body = response.body;
                self.ready.push_front((key, Step::Put));
            }
            Step::Head => {
                let size = response.header("content-length").and_then(|length| length.parse().ok());
                job.learn(&response, size.unwrap_or(job.object.size));
                self.cut(key);
            }
            Step::Put | Step::Stream => self.copied(&key),
            Step::Create => self.created(key, &response)?,
            Step::Parts(_) => self.resumed(key, &response)?,
            Step::Part(number) => {
                job.stored.insert(number, response.etag());
                self.unsaved.1 += outcome.moved.unwrap_or(0);
                self.complete_when_whole(key);
            }
            Step::Complete => match xml::error(&response.body) {
                // The protocol lets a completion fail after its status was sent.
                Some(said) => {
                    let detail = format!("complete `{key}`: {}: {}", said.code, said.message);
                    return self.trouble(key, step, Trouble::Again { detail, after: None });
                }
                None => {
                    self.state.uploads.remove(&key);
                    self.copied(&key);
                }
            },
            Step::Abort => {
                self.state.uploads.remove(&key);
                self.cut(key);
            }
        }
        Ok(())
    }

    /// Chooses how an object of known size and metadata goes over.
    fn cut(&mut self, key: String) {
        let Some(job) = self.jobs.get(&key) else { return };
        let step = match self.state.uploads.get(&key) {
            Some(upload) if upload.of(&job.object) => Step::Parts(0),
            _ if parts::goes_whole(&job.object, job.broke) => Step::Stream,
            Some(_) => Step::Abort,
            None => Step::Create,
        };
        self.ready.push_front((key, step));
    }

    fn created(&mut self, key: String, response: &Response) -> Result<(), Error> {
        let id = xml::upload_id(&response.body).map_err(|why| Error::permanent(why).context("begin an upload"))?;
        let object = &self.jobs[&key].object;
        let part_bytes = parts::part_bytes(object);
        let upload = Upload { id, etag: object.etag.clone(), size: object.size, part_bytes };
        self.state.uploads.insert(key.clone(), upload);
        // From here on a crash must not forget the upload: its parts would be stored, and paid for, for ever.
        self.save()?;
        self.push_parts(&key);
        Ok(())
    }

    /// Takes over the parts that an earlier attempt stored.
    fn resumed(&mut self, key: String, response: &Response) -> Result<(), Error> {
        let page = xml::parts(&response.body).map_err(|why| Error::permanent(why).context("list the parts"))?;
        let (Some(job), Some(upload)) = (self.jobs.get_mut(&key), self.state.uploads.get(&key)) else { return Ok(()) };
        for part in page.parts {
            let (_, length) = parts::span(upload.size, upload.part_bytes, part.part_number);
            let etag = part.etag.trim_matches('"');
            if part.size == length && !etag.is_empty() {
                job.stored.insert(part.part_number, etag.to_owned());
            }
        }
        match page.next_part_number_marker.filter(|_| page.is_truncated) {
            Some(marker) => self.ready.push_front((key, Step::Parts(marker))),
            None => {
                self.push_parts(&key);
                self.complete_when_whole(key);
            }
        }
        Ok(())
    }

    fn push_parts(&mut self, key: &str) {
        let (Some(job), Some(upload)) = (self.jobs.get(key), self.state.uploads.get(key)) else { return };
        let numbers =
            (1..=parts::count(upload.size, upload.part_bytes)).filter(|number| !job.stored.contains_key(number));
        self.ready.extend(numbers.map(|number| (key.to_owned(), Step::Part(number))));
    }

    fn complete_when_whole(&mut self, key: String) {
        let (Some(job), Some(upload)) = (self.jobs.get(&key), self.state.uploads.get(&key)) else { return };
        if job.stored.len() == parts::count(upload.size, upload.part_bytes) as usize {
            self.ready.push_front((key, Step::Complete));
        }
    }

    /// What a step's trouble leads to.
    fn trouble(&mut self, key: String, step: Step, trouble: Trouble) -> Result<(), Error> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        job.tries += 1;
        match trouble {
            Trouble::Fatal(error) => return Err(error),
            Trouble::Again { .. } | Trouble::Changed if job.tries >= TRIES => return Err(trouble.into_error()),
            // The body went with the request, so that it is read again. To the end of the queue: a busy server gets a pause.
            Trouble::Again { .. } if step == Step::Put => self.ready.push_back((key, Step::Get)),
            Trouble::Again { .. } if step == Step::Stream => {
                job.broke = true;
                self.ready.push_back((key, Step::Head));
            }
            Trouble::Again { .. } => self.ready.push_back((key, step)),
            Trouble::Changed => return self.begin_again(key, Step::Head),
            Trouble::Missing(_) if step == Step::Abort => {
                self.state.uploads.remove(&key);
                self.cut(key);
            }
            Trouble::Missing(_) if matches!(step, Step::Get | Step::Head | Step::Stream) => {
                log::warn!("`{key}` left the source while it was copied");
                self.finished(&key, |counts, _| counts.vanished += 1);
            }
            Trouble::Missing(_) if step == Step::Compare => {
                let first = self.first_step(&self.jobs[&key].object);
                self.ready.push_back((key, first));
            }
            // An upload that the destination no longer knows: it may be completed already, and only the answer was lost.
            Trouble::Missing(_) => return self.begin_again(key, Step::Compare),
        }
        Ok(())
    }

    /// Forgets what was begun for an object and starts with a fresh look at it.
    fn begin_again(&mut self, key: String, step: Step) -> Result<(), Error> {
        self.ready.retain(|(queued, _)| *queued != key);
        if let Some(upload) = self.state.uploads.remove(&key) {
            self.abort(&key, &upload);
        }
        if let Some(job) = self.jobs.get_mut(&key) {
            job.epoch += 1;
            job.stored.clear();
        }
        self.ready.push_back((key, step));
        Ok(())
    }

    fn copied(&mut self, key: &str) {
        self.finished(key, |counts, size| {
            counts.copied += 1;
            counts.bytes_copied += size;
        });
    }

    fn finished(&mut self, key: &str, count: impl FnOnce(&mut Output, u64)) {
        let Some(job) = self.jobs.remove(key) else { return };
        let counts = &mut self.state.counts;
        counts.objects += 1;
        counts.bytes += job.object.size;
        count(counts, job.object.size);
        self.state.ledger.finish(key);
        self.unsaved.0 += 1;
        self.unsaved.1 += if job.stored.is_empty() { job.object.size } else { 0 };
        self.wire.report(&self.input.measures(self.state.counts.objects, self.state.counts.bytes));
    }

    fn save_when_due(&mut self) -> Result<(), Error> {
        match self.unsaved.0 >= CHECKPOINT_OBJECTS || self.unsaved.1 >= CHECKPOINT_BYTES {
            true => self.save(),
            false => Ok(()),
        }
    }

    fn save(&mut self) -> Result<(), Error> {
        self.unsaved = (0, 0);
        self.wire.checkpoint(&self.state)
    }

    /// Uploads of earlier attempts whose objects turned out right, or gone, in the meantime.
    fn abort_remembered(&mut self) {
        for (key, upload) in std::mem::take(&mut self.state.uploads) {
            if !self.abort(&key, &upload) {
                log::warn!("the upload `{}` of `{key}` could not be aborted: abort it at the destination", upload.id);
            }
        }
    }

    /// Leaves as little behind as possible when the action fails.
    fn abandon(&mut self) {
        let uploads = std::mem::take(&mut self.state.uploads);
        self.state.uploads = uploads.into_iter().filter(|(key, upload)| !self.abort(key, upload)).collect();
        if let Err(error) = self.save() {
            log::warn!("{error}");
        }
    }

    /// Aborts an upload; whether it is gone.
    fn abort(&self, key: &str, upload: &Upload) -> bool {
        let bucket = &self.input.destination_bucket;
        let request: Request = s3::request(Side::Destination, "DELETE", bucket, key, &[("uploadId", &upload.id)]);
        matches!(s3::call(self.wire, "abort an upload", &request), Ok(_) | Err(Trouble::Missing(_)))
    }
}

impl Step {
    fn doing(self) -> &'static str {
        match self {
            Self::Compare => "look at the copy of",
            Self::Get | Self::Head => "read",
            Self::Put => "write",
            Self::Stream | Self::Part(_) => "copy",
            Self::Create => "begin the upload of",
            Self::Parts(_) => "list the stored parts of",
            Self::Complete => "complete the upload of",
            Self::Abort => "abort the upload of",
        }
    }
}

impl Job {
    fn new(object: Object) -> Self {
        Self {
            object,
            tries: 0,
            epoch: 0,
            broke: false,
            headers: Vec::new(),
            body: Vec::new(),
            stored: BTreeMap::new(),
        }
    }

    /// Whether an answer about the destination's object says that it is a copy, in parts, of this very object.
    fn is_copied_to(&self, response: &Response) -> bool {
        let size = response.header("content-length").and_then(|length| length.parse().ok());
        let (etag, from) = (self.object.etag.as_str(), response.header(SOURCE_ETAG));
        size == Some(self.object.size) && !etag.is_empty() && from == Some(etag)
    }

    /// Takes over what the source says about the object now.
    fn learn(&mut self, response: &Response, size: u64) {
        self.headers = s3::kept(response);
        self.object.size = size;
        self.object.etag = response.etag();
    }
}

impl Upload {
    /// Whether it is an upload of the object as it is now.
    fn of(&self, object: &Object) -> bool {
        self.size == object.size && self.etag == object.etag
    }
}
