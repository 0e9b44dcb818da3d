//! A place that events are posted to. It refuses some at first, as told, and remembers what it took: the first time each
//! event came, and that it came as the same one again.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use orchestrator_host::model::InstanceId;
use serde_json::Value as Json;
use url::Url;

/// The place, on a thread of its own, so that it outlives a server's runtime.
pub struct Mailbox {
    url: Url,
    taken: Arc<Mutex<Vec<Json>>>,
    over: Arc<std::sync::atomic::AtomicBool>,
}

impl Mailbox {
    /// Answers with the statuses in turn, then with 204.
    ///
    /// # Errors
    /// There is no port left.
    pub fn new(refuses: &[u16]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/in", listener.local_addr()?).parse()?;
        let (taken, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let (own, stop, mut refuses) = (taken.clone(), over.clone(), refuses.to_vec());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(std::sync::atomic::Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let Some(event) = receive(&mut stream) else { continue };
                let status = if refuses.is_empty() { 204 } else { refuses.remove(0) };
                if status < 300 {
                    own.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                }
                // Whoever sent it may have died.
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Ok(Self { url, taken, over })
    }

    /// Where to send to.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What was told of an instance, or emitted: `workflow.started`, `task.created /do/0/a`, `com.example.mine`; each
    /// event once, in the order in which they first came.
    ///
    /// # Errors
    /// An event came again as another one.
    pub fn told(&self, id: InstanceId) -> anyhow::Result<Vec<String>> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut first: Vec<&Json> = Vec::new();
        for event in taken.iter() {
            match first.iter().find(|known| known["id"] == event["id"] && known["source"] == event["source"]) {
                Some(known) => {
                    ensure!(*known == event, "{} came again as another one: {known} and {event}", event["id"])
                }
                None => first.push(event),
            }
        }
        let own = |event: &&&Json| event["subject"].as_str().is_none_or(|subject| *subject == id.to_string());
        first.iter().filter(own).map(|event| short(event)).collect()
    }
}

fn short(event: &Json) -> anyhow::Result<String> {
    let kind = event["type"].as_str().context("an event has a type")?;
    let lifecycle = kind.strip_prefix("io.serverlessworkflow.").and_then(|kind| kind.strip_suffix(".v1"));
    let task = event["data"]["task"].as_str().filter(|_| lifecycle.is_some());
    Ok(format!("{} {}", lifecycle.unwrap_or(kind), task.unwrap_or_default()).trim_end().to_owned())
}

/// Reads one request and gives its body.
fn receive(stream: &mut TcpStream) -> Option<Json> {
    let mut read = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&read).to_string();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return serde_json::from_str(body).ok();
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.over.store(true, std::sync::atomic::Ordering::SeqCst);
        // Wakes the thread, which then sees that it is over.
        let _ = self.url.socket_addrs(|| None).map(|places| places.first().map(TcpStream::connect));
    }
}
