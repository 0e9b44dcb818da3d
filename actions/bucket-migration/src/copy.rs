//! `copy-objects`: brings every chosen object of the source that is not already right to the destination.
//!
//! One loop keeps up to `concurrency` exchanges under way; whenever one ends, its object takes its next step:
//! a small object is read and written (`Get`, `Put`), a middle one streamed inside the host (`Head`, `Stream`), a large
//! one in parts (`Head`, `Create`, `Part`…, `Complete`). Where the destination can read the source by itself, it is told
//! to copy (`Copy`, or `Create`, `CopyPart`…, `Complete`). What is done goes into the ledger, the ledger into
//! checkpoints. After a crash the destination's listing tells what was written but not yet noted.
//!
//! An object that the outside refuses is counted as failed and the others go on. It never deletes an object, and it does
//! not prove content: that is `verify`.

mod job;

use std::collections::{BTreeMap, VecDeque};

use orchestrator_sdk::{Error, log};

use crate::compare;
use crate::input::{Buckets, Compare, ServerSide};
use crate::listing::{Pair, Pairs};
use crate::s3::{self, NO_BUCKET, Object, TRIES, Trouble};
use crate::wire::{Broken, Flight, Outcome, Request, Response, Side, Wire};
use crate::{parts, xml};
pub use job::{Checkpoint, Guess, Output, guess};
use job::{Job, Note, Step, Upload};

/// A checkpoint costs one durable write of the host, so there is not one per object: after so many objects or bytes,
/// whichever comes first. Objects in between are recognised by the destination's listing.
const CHECKPOINT_OBJECTS: u64 = 128;
const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;

/// While contents are compared on the way, fewer copies are under way: the comparison needs eight of the attempt's 16
/// exchanges, the listings two.
const IN_FLIGHT_WHILE_PROVING: usize = 6;

/// What the protocol copies in one request.
const SERVER_COPY_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// Attempts at a copy by the destination itself before the bytes go through the host.
const SERVER_TRIES: u8 = 2;

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
    /// Whether the destination can read the source by itself, once that was tried.
    server: Option<bool>,
}

impl<'w, W: Wire> Copier<'w, W> {
    fn new(wire: &'w W, input: &'w Buckets, state: Checkpoint) -> Self {
        let pairs = Pairs::new(wire, input, state.ledger.after.as_deref());
        let most = match input.compare {
            Compare::Proof | Compare::Content => input.in_flight().min(IN_FLIGHT_WHILE_PROVING),
            _ => input.in_flight(),
        };
        let flight = Flight::new(wire, most);
        let server = (input.server_side == ServerSide::Never).then_some(false);
        let (ready, jobs) = (VecDeque::new(), BTreeMap::new());
        Self { wire, input, pairs, flight, ready, jobs, state, unsaved: (0, 0), walked: false, server }
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
                    Some(Pair::Source(object, counterpart)) => self.admit(object, counterpart.as_ref())?,
                    Some(Pair::Extra(_)) => {}
                    None => self.walked = true,
                }
            }
        }
        Ok(())
    }

    fn admit(&mut self, object: Object, counterpart: Option<&Object>) -> Result<(), Error> {
        if self.state.ledger.is_done(&object.key) {
            self.state.ledger.pass(&object.key);
            return Ok(());
        }
        self.state.ledger.begin(&object.key);
        let key = object.key.clone();
        let mut guess = guess(self.input.compare, &object, counterpart);
        if guess == Guess::Prove {
            let verdict = compare::judge(self.wire, self.input, &object, counterpart)?;
            guess = if verdict.is_same() { Guess::Right } else { Guess::Copy };
        }
        let job = Job::new(object);
        let first = if guess == Guess::Ask { Step::Compare } else { self.first_step(&job) };
        self.jobs.insert(key.clone(), job);
        match guess {
            Guess::Right => self.finished(&key, |counts, _| counts.already_right += 1),
            _ => self.ready.push_back((key, first)),
        }
        Ok(())
    }

    fn first_step(&self, job: &Job) -> Step {
        let Object { size, .. } = job.object;
        match size {
            1..=SERVER_COPY_MAX if self.may_copy(job) && !job.object.in_parts() => Step::Copy,
            0..=parts::DIRECT_MAX => Step::Get,
            _ => Step::Head,
        }
    }

    /// Whether the destination may be asked to copy an object by itself. Only by its entity tag: that is what makes sure
    /// that what it finds under this name is the source's.
    fn may_copy(&self, job: &Job) -> bool {
        self.server != Some(false) && !job.direct && !job.object.etag.is_empty()
    }

    fn again(&mut self, key: String) {
        let Some(job) = self.jobs.get(&key) else { return };
        let first = self.first_step(job);
        self.ready.push_front((key, first));
    }

    fn start(&mut self, key: String, step: Step) -> Result<(), Error> {
        let may_copy = self.jobs.get(&key).is_some_and(|job| self.may_copy(job));
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let (from, to) = (&self.input.source_bucket, &self.input.destination_bucket);
        let source = |method, query: &[(&str, &str)]| s3::request(Side::Source, method, from, &key, query);
        let destination = |method, query: &[(&str, &str)]| s3::request(Side::Destination, method, to, &key, query);
        let rate = self.input.bytes_per_second;
        let upload = self.state.uploads.get(&key);
        let id = upload.map(|upload| upload.id.clone()).unwrap_or_default();
        let part_bytes = upload.map_or(job.object.size, |upload| upload.part_bytes);
        let step = match step {
            Step::CopyPart(number) if !may_copy => Step::Part(number),
            step => step,
        };
        let note = Note { key: key.clone(), step, epoch: job.epoch };
        let started = match step {
            Step::Compare => self.flight.send(note, destination("HEAD", &[])),
            Step::Get => self.flight.send(note, source("GET", &[]).paced(rate)),
            Step::Head => self.flight.send(note, source("GET", &[]).range(0, 1, "")),
            Step::Tags => self.flight.send(note, source("GET", &[("tagging", "")])),
            Step::Put => {
                let request = destination("PUT", &[]).with(&job.fields(false)).body(std::mem::take(&mut job.body));
                self.flight.send(note, request)
            }
            Step::Stream => {
                let to = destination("PUT", &[]).with(&job.fields(false));
                self.flight.transfer(note, source("GET", &[]).only(&job.object.etag).paced(rate), to)
            }
            Step::Copy => {
                let request = destination("PUT", &[]).copy_of(from, &key, &job.object.etag);
                self.flight.send(note, request)
            }
            Step::Create => self.flight.send(note, destination("POST", &[("uploads", "")]).with(&job.fields(true))),
            Step::Parts(after) => {
                let marker = after.to_string();
                self.flight.send(note, destination("GET", &[("uploadId", &id), ("part-number-marker", &marker)]))
            }
            Step::Part(number) => {
                let (start, length) = parts::span(job.object.size, part_bytes, number);
                let to = destination("PUT", &[("partNumber", &number.to_string()), ("uploadId", &id)]);
                let from = source("GET", &[]).range(start, length, &job.object.etag).paced(rate);
                self.flight.transfer(note, from, to)
            }
            Step::CopyPart(number) => {
                let (start, length) = parts::span(job.object.size, part_bytes, number);
                let request = destination("PUT", &[("partNumber", &number.to_string()), ("uploadId", &id)])
                    .copy_of(from, &key, &job.object.etag)
                    .header("x-amz-copy-source-range", format!("bytes={start}-{}", start + length.saturating_sub(1)));
                self.flight.send(note, request)
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
                    self.again(key);
                }
            }
            Step::Get => {
                job.learn(&response, response.body.len() as u64);
                job.small = true;
                let tagged = s3::has_tags(&response);
                job.body = response.body;
                self.learned(key, tagged);
            }
            Step::Head => {
                let size = response.header("content-range").and_then(s3::whole_length);
                job.learn(&response, size.unwrap_or(job.object.size));
                job.small = false;
                self.learned(key, s3::has_tags(&response));
            }
            Step::Tags => {
                let tags = xml::tags(&response.body).map_err(|why| Error::permanent(why).context("read tags"))?;
                job.headers.push(s3::tagging(&tags));
                self.learned(key, false);
            }
            Step::Put | Step::Stream => self.copied(&key),
            Step::Copy | Step::CopyPart(_) => return self.copied_by_server(key, step, &response),
            Step::Create => self.created(key, &response)?,
            Step::Parts(_) => self.resumed(key, &response)?,
            Step::Part(number) => {
                self.unsaved.1 += outcome.moved.unwrap_or(0);
                self.stored(key, number, response.etag());
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

    /// Content and metadata are known; tags come first where there are any.
    fn learned(&mut self, key: String, tagged: bool) {
        let small = self.jobs.get(&key).is_some_and(|job| job.small);
        match (tagged && !self.input.without_tags, small) {
            (true, _) => self.ready.push_front((key, Step::Tags)),
            (false, true) => self.ready.push_front((key, Step::Put)),
            (false, false) => self.cut(key),
        }
    }

    fn copied_by_server(&mut self, key: String, step: Step, response: &Response) -> Result<(), Error> {
        let Some(etag) = xml::copied(&response.body) else {
            let detail = match xml::error(&response.body) {
                Some(said) => format!("copy `{key}`: {}: {}", said.code, said.message),
                None => format!("copy `{key}`: the answer is not that of a copy"),
            };
            return self.trouble(key, step, Trouble::Again { detail, after: None });
        };
        self.server = Some(true);
        if let Some(job) = self.jobs.get_mut(&key) {
            job.by_server = true;
        }
        match step {
            Step::CopyPart(number) => self.stored(key, number, etag),
            _ => self.copied(&key),
        }
        Ok(())
    }

    fn stored(&mut self, key: String, number: u32, etag: String) {
        if let Some(job) = self.jobs.get_mut(&key) {
            job.stored.insert(number, etag);
        }
        self.complete_when_whole(key);
    }

    /// Chooses how an object of known size and metadata goes over.
    fn cut(&mut self, key: String) {
        let Some(job) = self.jobs.get(&key) else { return };
        let step = match self.state.uploads.get(&key) {
            Some(upload) if upload.of(&job.object) => Step::Parts(0),
            // In parts, cut alike, the server's copy gets the same entity tag.
            None if self.may_copy(job) && job.object.size > 0 => Step::Create,
            _ if parts::goes_whole(&job.object, job.broke, self.input.stride()) => Step::Stream,
            Some(_) => Step::Abort,
            None => Step::Create,
        };
        self.ready.push_front((key, step));
    }

    fn created(&mut self, key: String, response: &Response) -> Result<(), Error> {
        let id = xml::upload_id(&response.body).map_err(|why| Error::permanent(why).context("begin an upload"))?;
        let object = &self.jobs[&key].object;
        let part_bytes = parts::part_bytes(object, self.input.stride());
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
        let step = if self.may_copy(job) { Step::CopyPart } else { Step::Part };
        self.ready.extend(numbers.map(|number| (key.to_owned(), step(number))));
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
            Trouble::Again { .. } if step.is_server_side() && job.tries < SERVER_TRIES => {
                self.ready.push_back((key, step));
            }
            _ if step.is_server_side() => self.refused(key, step, trouble),
            Trouble::Fatal(error) => return self.failed(&key, step, error),
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
            Trouble::Missing(_) if step.reads_source() => {
                log::warn!("`{key}` left the source while it was copied");
                self.finished(&key, |counts, _| counts.vanished += 1);
            }
            Trouble::Missing(_) if step == Step::Compare => self.again(key),
            // An upload that the destination no longer knows: it may be completed already, and only the answer was lost.
            Trouble::Missing(_) => return self.begin_again(key, Step::Compare),
        }
        Ok(())
    }

    /// The destination does not copy an object by itself: its bytes go through the host. When it never did before, it is
    /// not asked for others.
    fn refused(&mut self, key: String, step: Step, trouble: Trouble) {
        if self.server.is_none() {
            self.server = Some(false);
            log::info!("objects go through this server: {}", trouble.into_error().problem.detail);
        }
        if let Some(job) = self.jobs.get_mut(&key) {
            job.direct = true;
            job.tries = 0;
        }
        match step {
            Step::CopyPart(number) => self.ready.push_front((key, Step::Part(number))),
            _ => self.again(key),
        }
    }

    /// One object that cannot be copied does not keep the others from it; but what is the whole bucket's trouble, what
    /// may pass, and the failure of too many objects end the action.
    fn failed(&mut self, key: &str, step: Step, error: Error) -> Result<(), Error> {
        if error.is_transient() || error.problem.title == NO_BUCKET {
            return Err(error);
        }
        let cure = "; let the connection's key read tags, or order with `withoutTags: true`";
        let cure = if step == Step::Tags { cure } else { "" };
        log::warn!("`{key}` could not be copied: {}{cure}", error.problem.detail);
        if self.state.counts.failed >= self.input.failures_max() {
            return Err(error.cure("more objects failed than `maxFailures` allows"));
        }
        self.ready.retain(|(queued, _)| queued != key);
        if let Some(upload) = self.state.uploads.remove(key) {
            self.abort(key, &upload);
        }
        let reason = format!("{}{cure}", error.problem.detail);
        self.finished(key, |counts, _| counts.note_failure(key, reason));
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
        let by_server = self.jobs.get(key).is_some_and(|job| job.by_server);
        self.finished(key, |counts, size| {
            counts.copied += 1;
            counts.bytes_copied += size;
            counts.server_side += u64::from(by_server);
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
