//! One thread that takes batches from a bounded queue, hands them on in groups, and answers every caller of a group at
//! once. It knows nothing of how a group is stored.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::{Batch, CommitError, StoreError, Write};

/// What a group's batches came to, in their order.
pub(super) type Answers = Vec<Result<(), CommitError>>;

/// Batches waiting at most. Far more than callers are expected to be under way; above it, callers are held back.
const QUEUE_BATCHES_MAX: usize = 8192;

/// Bytes waiting at most (32 MiB), unless a single batch is larger: what the queue may add to the program's memory.
const QUEUE_BYTES_MAX: usize = 32 << 20;

/// Batches in one group at most, so that the first caller of a group does not wait for thousands.
const GROUP_BATCHES_MAX: usize = 1024;

/// The handle: takes batches, and ends the thread when dropped, after everything that waits was answered.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Something waits, or the queue was closed.
    filled: Condvar,
    /// There may be place again.
    drained: Condvar,
    commits: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
    failed: Option<StoreError>,
}

#[derive(Debug)]
struct Waiting {
    batch: Batch,
    bytes: usize,
    answer: oneshot::Sender<Result<(), CommitError>>,
}

impl Writer {
    /// Starts the thread. A group has at most `group_bytes_max` bytes, unless a single batch is larger. `store` makes a group durable; after it fails or panics it is not called again and every
    /// batch is refused.
    pub(super) fn start(
        group_bytes_max: usize,
        store: impl FnMut(Vec<Batch>) -> Result<Answers, StoreError> + Send + 'static,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let run = Arc::clone(&queue);
        let thread =
            thread::Builder::new().name("journal-writer".to_owned()).spawn(move || run.run(group_bytes_max, store))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Puts a batch into the queue, in the order of the calls. Where the queue is full it waits for place, which takes
    /// about one flush; that this holds a runtime's thread is wanted: nothing should be added meanwhile.
    pub(super) fn submit(&self, batch: Batch) -> oneshot::Receiver<Result<(), CommitError>> {
        let (answer, receiver) = oneshot::channel();
        let bytes = size(&batch);
        let mut state = self.queue.lock();
        while state.failed.is_none() && state.is_full(bytes) {
            state = self.queue.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match &state.failed {
            Some(error) => drop(answer.send(Err(refusal(error)))),
            None => {
                state.bytes += bytes;
                state.waiting.push_back(Waiting { batch, bytes, answer });
                self.queue.filled.notify_one();
            }
        }
        receiver
    }

    /// Batches committed.
    pub(super) fn commits(&self) -> u64 {
        self.queue.commits.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // Its panics are caught and answered where they happen.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, group_bytes_max: usize, mut store: impl FnMut(Vec<Batch>) -> Result<Answers, StoreError>) {
        while let Some(group) = self.next_group(group_bytes_max) {
            let (batches, answers): (Vec<_>, Vec<_>) =
                group.into_iter().map(|waiting| (waiting.batch, waiting.answer)).unzip();
            let stored = catch_unwind(AssertUnwindSafe(|| store(batches)))
                .unwrap_or_else(|_| Err(StoreError("it panicked; the panic is in the log".to_owned())));
            match stored {
                Ok(outcomes) => self.answer(answers, outcomes),
                Err(error) => return self.fail(answers, error),
            }
        }
    }

    /// Waits for batches and takes as many as make a group; nothing once the queue is closed and empty.
    fn next_group(&self, group_bytes_max: usize) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let group = state.take_group(group_bytes_max);
        self.drained.notify_all();
        Some(group)
    }

    fn answer(&self, answers: Vec<oneshot::Sender<Result<(), CommitError>>>, outcomes: Answers) {
        let commits = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        self.commits.fetch_add(commits as u64, Ordering::Relaxed);
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // A caller who no longer waits does not want to know.
            let _ = answer.send(outcome);
        }
    }

    fn fail(&self, answers: Vec<oneshot::Sender<Result<(), CommitError>>>, error: StoreError) {
        tracing::error!(error = %error, "the journal failed and takes no further commits; restart when the cause is gone");
        let mut state = self.lock();
        let waiting = std::mem::take(&mut state.waiting);
        for answer in answers.into_iter().chain(waiting.into_iter().map(|waiting| waiting.answer)) {
            let _ = answer.send(Err(CommitError::Unavailable(error.clone())));
        }
        state.failed = Some(error);
        self.drained.notify_all();
    }
}

impl State {
    fn is_full(&self, bytes: usize) -> bool {
        self.waiting.len() >= QUEUE_BATCHES_MAX || (self.bytes > 0 && self.bytes + bytes > QUEUE_BYTES_MAX)
    }

    fn take_group(&mut self, bytes_max: usize) -> Vec<Waiting> {
        let mut bytes = 0;
        let mut count = 0;
        for waiting in self.waiting.iter().take(GROUP_BATCHES_MAX) {
            bytes += waiting.bytes;
            if count > 0 && bytes > bytes_max {
                bytes -= waiting.bytes;
                break;
            }
            count += 1;
        }
        self.bytes -= bytes;
        self.waiting.drain(..count).collect()
    }
}

fn size(batch: &Batch) -> usize {
    let write = |write: &Write| match write {
        Write::Put(key, value) => key.len() + value.len(),
        Write::Delete(key) => key.len(),
    };
    batch.writes.iter().map(write).sum()
}

fn refusal(error: &StoreError) -> CommitError {
    CommitError::Unavailable(StoreError(format!(
        "it failed before and takes no further commits; restart when the cause is gone (it was: {})",
        error.0
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bytes::Bytes;

    use super::*;

    const GROUP_BYTES_MAX: usize = 100_000;

    fn batch(bytes: usize) -> Batch {
        Batch::default().put(Vec::new(), vec![0; bytes].into())
    }

    /// Submits `sizes` while the thread is held in its first group, and gives the sizes of the groups that follow.
    fn groups(sizes: &[usize]) -> Vec<usize> {
        let (entered, first_entered) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let (report, groups) = mpsc::channel();
        let writer = Writer::start(GROUP_BYTES_MAX, move |group| {
            entered.send(()).ok();
            released.recv().ok();
            report.send(group.len()).ok();
            Ok(vec![Ok(()); group.len()])
        })
        .expect("a thread");
        drop(writer.submit(batch(1)));
        first_entered.recv().expect("the first group");
        for size in sizes {
            drop(writer.submit(batch(*size)));
        }
        drop(release);
        drop(writer);
        groups.iter().skip(1).collect()
    }

    #[test]
    fn what_arrives_during_a_flush_makes_one_group() {
        assert_eq!(groups(&[10; 100]), [100]);
        assert_eq!(groups(&[0; GROUP_BATCHES_MAX + 5]), [GROUP_BATCHES_MAX, 5]);
        let half = GROUP_BYTES_MAX / 2;
        assert_eq!(groups(&[half, half, half, 3 * half, 1]), [2, 1, 1, 1]);
    }

    #[test]
    fn after_a_failure_every_batch_is_refused() {
        let check = |store: fn(Vec<Batch>) -> Result<Answers, StoreError>, cause: &str| {
            let mut calls = 0;
            let writer = Writer::start(GROUP_BYTES_MAX, move |group| {
                calls += 1;
                assert_eq!(calls, 1, "the store is called again");
                store(group)
            })
            .expect("a thread");
            for n in 0..3 {
                match writer.submit(batch(1)).blocking_recv().expect("answered") {
                    Err(CommitError::Unavailable(StoreError(text))) => {
                        assert!(text.contains(cause), "{text}");
                        assert_eq!(text.contains("restart"), n > 0, "{text}");
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(writer.commits(), 0);
        };
        check(|_| Err(StoreError("the device is full".to_owned())), "the device is full");
        check(|_| panic!("a bug, provoked by this test"), "it panicked");
    }

    #[test]
    fn who_waits_for_place_is_released_by_the_failure() {
        let (entered, first_entered) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let writer = Arc::new(
            Writer::start(GROUP_BYTES_MAX, move |_| {
                entered.send(()).ok();
                released.recv().ok();
                Err(StoreError("gone".to_owned()))
            })
            .expect("a thread"),
        );
        drop(writer.submit(batch(1)));
        first_entered.recv().expect("the first group");
        let large = Bytes::from(vec![0; QUEUE_BYTES_MAX]);
        drop(writer.submit(Batch::default().put(Vec::new(), large.clone())));
        let held = thread::spawn({
            let writer = Arc::clone(&writer);
            move || writer.submit(Batch::default().put(Vec::new(), large)).blocking_recv()
        });
        drop(release);
        let answer = held.join().expect("no panic").expect("answered");
        assert!(matches!(answer, Err(CommitError::Unavailable(_))), "{answer:?}");
    }
}
