//! An HTTP server of a test's own, over a bare socket: it answers as the test says and keeps what it was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request that arrived whole.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    /// The field's value, or nothing.
    pub(crate) fn field(&self, name: &str) -> String {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// What is answered.
pub(crate) struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    broken: bool,
}

pub(crate) fn status(status: u16) -> Answer {
    Answer { status, fields: Vec::new(), body: Vec::new(), broken: false }
}

pub(crate) fn json(body: serde_json::Value) -> Answer {
    status(200).with("content-type", "application/json").body(body.to_string())
}

/// The connection breaks instead.
pub(crate) fn broken() -> Answer {
    Answer { broken: true, ..status(200) }
}

impl Answer {
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn but(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

type Conduct = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// The server; it ends with the test's runtime.
pub(crate) struct Double {
    pub(crate) host: String,
    requests: Arc<Mutex<Vec<Asked>>>,
}

impl Double {
    pub(crate) async fn start(conduct: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::<Mutex<Vec<Asked>>>::default();
        let (kept, conduct): (_, Conduct) = (requests.clone(), Arc::new(conduct));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (kept, conduct) = (kept.clone(), conduct.clone());
                tokio::spawn(async move { serve(socket, &kept, &conduct).await.unwrap_or_default() });
            }
        });
        Self { host, requests }
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.host)
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(socket: TcpStream, kept: &Mutex<Vec<Asked>>, conduct: &Conduct) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    while let Some(asked) = read(&mut socket).await? {
        kept.lock().unwrap().push(asked.clone());
        let answer = conduct(&asked);
        if answer.broken {
            return Ok(());
        }
        let mut head = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
        answer.fields.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        socket.get_mut().write_all(format!("{head}\r\n").as_bytes()).await?;
        socket.get_mut().write_all(&answer.body).await?;
    }
    Ok(())
}

async fn read(socket: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if socket.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut asked = Asked { method, target, fields: Vec::new(), body: String::new() };
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        asked.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut body = vec![0; asked.field("content-length").parse().unwrap_or_default()];
    socket.read_exact(&mut body).await?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(asked))
}
