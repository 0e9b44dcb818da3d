//! What happened at the door since the start, for health and metrics.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

/// Counts of connections, and until when the certificate is valid.
#[derive(Debug, Default)]
pub struct Figures {
    accepted: AtomicU64,
    closed: AtomicU64,
    handshakes_failed: AtomicU64,
    certificate_expires: Mutex<Option<Timestamp>>,
}

/// A connection that is counted as open until this is dropped.
#[derive(Debug)]
pub struct Counted(std::sync::Arc<Figures>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Figures {
    /// Counts a connection.
    pub fn connection(self: &std::sync::Arc<Self>) -> Counted {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    /// Counts a TLS handshake that failed or took too long.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps until when the certificate that is shown is valid.
    pub fn certificate(&self, expires: Option<Timestamp>) {
        *self.certificate_expires.lock().unwrap_or_else(PoisonError::into_inner) = expires;
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        // Two loads: one that ends between them would count as open once more, never less than nothing.
        let closed = self.closed.load(Ordering::Relaxed);
        self.accepted().saturating_sub(closed)
    }

    /// TLS handshakes that failed since the start.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Ordering::Relaxed)
    }

    /// Until when the certificate is valid, where there is one.
    pub fn certificate_expires(&self) -> Option<Timestamp> {
        *self.certificate_expires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
