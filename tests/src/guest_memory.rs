//! What the guests of a server hold in memory, read from outside of it, and an outside that takes a request and never
//! answers, so that a guest stays in the middle of a call while it is looked at.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A guest's memory is followed by inaccessible address space of this size at least; nothing else in a process is.
const GUARD_BYTES_MIN: u64 = 256 << 20;

/// Memory of one guest that is read at most.
const READ_BYTES_MAX: u64 = 64 << 20;

/// Bytes of what arrived that are kept; requests are far smaller.
const HEARD_BYTES_MAX: usize = 1 << 20;

/// What the linear memories of a server's guests hold now, one behind the other.
///
/// # Panics
/// When the process is gone or is not ours to read.
pub fn of(process: u32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("the server runs");
    let regions: Vec<_> = maps.lines().filter_map(region).collect();
    let memory = File::open(format!("/proc/{process}/mem")).expect("the server is ours to read");
    let mut found = Vec::new();
    for pair in regions.windows(2) {
        let ((start, end, access), (guard, guard_end, none)) = (pair[0], pair[1]);
        let guarded = guard == end && none.starts_with("---") && guard_end - guard >= GUARD_BYTES_MIN;
        if access.starts_with("rw") && guarded {
            let mut bytes = vec![0; (end - start).min(READ_BYTES_MAX) as usize];
            if memory.read_exact_at(&mut bytes, start).is_ok() {
                found.append(&mut bytes);
            }
        }
    }
    found
}

/// Whether bytes hold a text.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    // Far faster than comparing windows in a build without optimisation; a guest's time runs meanwhile.
    regex::bytes::Regex::new(&regex::escape(text)).expect("an escaped text is a pattern").is_match(bytes)
}

fn region(line: &str) -> Option<(u64, u64, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?, rest))
}

/// Takes connections and what is said on them, and says nothing. Dropping it ends it.
pub struct Silence {
    /// `127.0.0.1:PORT`.
    pub address: String,
    heard: Arc<Mutex<Vec<u8>>>,
    server: JoinHandle<()>,
}

impl Silence {
    /// Starts one on a free port. `greeting` is all that it ever says, to whoever connects.
    ///
    /// # Panics
    /// When the loopback has no free port.
    pub async fn start(greeting: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound listener has an address").to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shared = heard.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(listen(stream, greeting, shared.clone()));
            }
        });
        Self { address, heard, server }
    }

    /// Everything that was said to it so far.
    pub fn heard(&self) -> String {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn listen(mut stream: TcpStream, greeting: &str, heard: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = vec![0; 16 << 10];
    let _ = stream.write_all(greeting.as_bytes()).await;
    while let Ok(length) = stream.read(&mut bytes).await {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if length == 0 || heard.len() > HEARD_BYTES_MAX {
            return;
        }
        heard.extend_from_slice(&bytes[..length]);
    }
}
