//! A small HTTP server of a test's own, written over a bare socket: it has to misbehave in ways that servers prevent.

use std::sync::{Arc, Mutex};

use orchestrator_host::model::Json;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The server; it ends with the test's runtime.
pub struct Outside {
    port: u16,
    requests: Arc<Mutex<Vec<Asked>>>,
}

/// A request that arrived whole.
#[derive(Clone)]
pub struct Asked {
    pub target: String,
    fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    /// The field's value, or nothing.
    pub fn field(&self, name: &str) -> String {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

impl Outside {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<Mutex<Vec<Asked>>>::default();
        let kept = requests.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move { serve(socket, &kept).await.unwrap_or_default() });
            }
        });
        Self { port, requests }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection to it, with a path in its base URL.
    pub fn declaration(&self) -> Json {
        json!({"baseUrl": format!("http://127.0.0.1:{}/base", self.port)})
    }

    pub fn requests(&self) -> Vec<Asked> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(socket: TcpStream, kept: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    while let Some(asked) = read(&mut socket).await? {
        let target = asked.target.clone();
        kept.lock().unwrap().push(asked);
        if !answer(socket.get_mut(), target.strip_prefix("/base").unwrap_or(&target)).await? {
            break;
        }
    }
    Ok(())
}

async fn read(socket: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if socket.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut asked = Asked { target, fields: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => asked.fields.push((name.to_lowercase(), value.to_owned())),
            None => break,
        }
    }
    asked.body = vec![0; asked.field("content-length").parse().unwrap_or(0)];
    socket.read_exact(&mut asked.body).await?;
    Ok(Some(asked))
}

/// Answers; whether the connection stays open.
async fn answer(socket: &mut TcpStream, target: &str) -> std::io::Result<bool> {
    let (kind, count) = target.trim_start_matches('/').split_once('/').unwrap_or((target.trim_start_matches('/'), "0"));
    let count: usize = count.parse().unwrap_or(0);
    let bytes: Vec<u8> = (0..count).map(|at| (at % 251) as u8).collect();
    let head =
        |status: &str, length: usize| format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    let (whole, stays) = match kind {
        "bytes" => ([head("200 OK", count), bytes].concat(), true),
        "cut" => ([head("200 OK", count), bytes[..count / 2].to_vec()].concat(), false),
        "chunked" => {
            let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{count:x}\r\n");
            ([head.into_bytes(), bytes, b"\r\n0\r\n\r\n".to_vec()].concat(), true)
        }
        "never" => std::future::pending().await,
        "missing" => (head("404 Not Found", 0), true),
        "refuse" => (head("403 Forbidden", 0), true),
        "moved" => {
            let port = socket.local_addr()?.port();
            let location = format!("http://127.0.0.1:{port}/base/elsewhere?x=1");
            (format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes(), true)
        }
        _ => {
            let fields = "set-cookie: a=b\r\nwww-authenticate: Basic\r\n";
            (format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok").into_bytes(), true)
        }
    };
    socket.write_all(&whole).await?;
    Ok(stays)
}
