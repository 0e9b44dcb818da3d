//! Server-sent events as bytes come in (the HTML standard's `text/event-stream`, as far as our server writes it).

use serde_json::Value as Json;

use super::error::Error;

/// Bytes of one event, at most: a record carries at most a result of 4 MiB.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// Its number, for coming back.
    pub id: Option<String>,
    /// `record`, `progress` or `log`.
    pub name: String,
    /// What it carries.
    pub data: Json,
}

/// Takes bytes and gives events.
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// The events that these bytes complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Error> {
        self.buffer.extend(bytes.iter().filter(|byte| **byte != b'\r'));
        let mut events = Vec::new();
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            events.extend(event(&String::from_utf8_lossy(&block)));
        }
        match self.buffer.len() > EVENT_BYTES_MAX {
            true => Err(Error::Failed("read the events: one of them is larger than 16 MiB".to_owned())),
            false => Ok(events),
        }
    }
}

/// The event of a block; none where it has no data, as a comment has not.
fn event(block: &str) -> Option<Event> {
    let (mut id, mut name, mut data) = (None, String::new(), Vec::new());
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => id = Some(value.to_owned()),
            "event" => name = value.to_owned(),
            "data" => data.push(value),
            _ => {}
        }
    }
    let data = serde_json::from_str(&data.join("\n")).ok()?;
    Some(Event { id, name, data })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_whole_however_the_bytes_come() {
        let text = ": hello\n\nid: 1\nevent: record\ndata: {\"seq\":1}\n\nevent: progress\r\ndata: {\"a\":\r\ndata: 2}\r\n\r\n";
        for size in [1, 3, 7, text.len()] {
            let mut reader = Reader::default();
            let events: Vec<Event> =
                text.as_bytes().chunks(size).flat_map(|bytes| reader.take(bytes).unwrap()).collect();
            let record = Event { id: Some("1".to_owned()), name: "record".to_owned(), data: json!({"seq": 1}) };
            let progress = Event { id: None, name: "progress".to_owned(), data: json!({"a": 2}) };
            assert_eq!(events, [record, progress], "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_does_not_fill_the_memory() {
        let mut reader = Reader::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..20).any(|_| reader.take(&piece).is_err()));
    }
}
