//! Moves the engine's epoch on while guests run, so that one that computes for ever gives its thread back every few
//! milliseconds. While none runs, the thread sleeps: an idle server does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// The longest time that a guest keeps a thread; also how late a deadline may be noticed.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The thread goes on for so many ticks after the last guest, so that guests that follow each other do not have to wake
/// it: waking it costs as much as a short attempt.
const IDLE_TICKS_MAX: u32 = 20;

/// The thread and its counters.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// Keeps the epoch moving while it lives.
pub struct Ticking(Arc<Shared>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name("epoch".to_owned()).spawn(move || of_thread.tick(&engine))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(super) fn ticking(&self) -> Ticking {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        // The thread sets `asleep` before it looks at `running` for the last time: one of the two sees the other.
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.unpark();
        }
        Ticking(self.shared.clone())
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    #[cfg(test)]
    fn is_asleep(&self) -> bool {
        self.shared.asleep.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn tick(&self, engine: &Engine) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
            engine.increment_epoch();
            idle = if self.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle > IDLE_TICKS_MAX {
                self.sleep();
                idle = 0;
            }
        }
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already printed why.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_sleeps_when_nothing_runs_and_wakes_for_the_next() {
        let ticker = Ticker::start(Engine::default()).unwrap();
        for _ in 0..2 {
            let ticking = ticker.ticking();
            while ticker.is_asleep() {
                std::thread::yield_now();
            }
            drop(ticking);
            while !ticker.is_asleep() {
                std::thread::yield_now();
            }
        }
    }
}
