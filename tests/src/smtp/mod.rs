//! A double of a mail server: enough of SMTP (RFC 5321, AUTH of RFC 4954) to take messages, with every reply, delay and
//! break in the hands of the test. It has no TLS; that is tested against a real server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes of one conversation that are read; the tests' messages are far smaller.
const CONVERSATION_BYTES_MAX: u64 = 4 << 20;

/// A running double. Dropping it stops it.
pub struct Smtp {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    credentials: Option<(String, String)>,
    letters: Vec<Letter>,
    faults: Vec<(Stage, Trouble)>,
    refused: Vec<String>,
    conversations: u32,
}

/// A message that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// Headers and body, dots undone.
    pub data: String,
    /// Who signed in.
    pub user: Option<String>,
}

impl Letter {
    /// The value of a header field of one line.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.data.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A step of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The connection was made.
    Greeting,
    /// `EHLO`.
    Hello,
    /// `AUTH`.
    Auth,
    /// `MAIL FROM`.
    Mail,
    /// `RCPT TO`.
    Recipient,
    /// `DATA`.
    Data,
    /// The whole message is there and not taken.
    Message,
    /// The message is taken, and only the answer is missing.
    Taken,
}

/// What goes wrong at a step, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// This reply in the place of the usual one.
    Reply(&'static str),
    /// The connection breaks.
    Drop,
    /// No answer, ever.
    Hang,
}

impl Smtp {
    /// Starts one that takes everybody's mail, on a free port of the loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::<Mutex<Shared>>::default();
        let held = shared.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = held.clone();
                // A conversation that breaks is the test's own doing.
                tokio::spawn(async move { drop(Conversation::new(shared).run(stream).await) });
            }
        });
        Self { address, shared, server }
    }

    /// Takes mail only after signing in.
    pub fn require(&self, user: &str, password: &str) {
        self.shared().credentials = Some((user.to_owned(), password.to_owned()));
    }

    /// Refuses this recipient for good.
    pub fn refuse(&self, recipient: &str) {
        self.shared().refused.push(recipient.to_owned());
    }

    /// Trouble with the next conversation that comes to this step.
    pub fn trouble(&self, stage: Stage, trouble: Trouble) {
        self.shared().faults.push((stage, trouble));
    }

    /// The messages taken so far.
    pub fn letters(&self) -> Vec<Letter> {
        self.shared().letters.clone()
    }

    /// Conversations so far.
    pub fn conversations(&self) -> u32 {
        self.shared().conversations
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Conversation {
    shared: Arc<Mutex<Shared>>,
    letter: Letter,
}

/// What to do after a step.
enum Next {
    Reply(String),
    Break,
}

impl Conversation {
    fn new(shared: Arc<Mutex<Shared>>) -> Self {
        shared.lock().expect("no holder of this lock panics").conversations += 1;
        Self { shared, letter: Letter::default() }
    }

    async fn run(mut self, stream: TcpStream) -> std::io::Result<()> {
        let (reading, mut writing) = stream.into_split();
        let mut lines = BufReader::new(reading.take(CONVERSATION_BYTES_MAX));
        let greeting = self.step(Stage::Greeting, "220 double ESMTP").await;
        if !answer(&mut writing, greeting).await? {
            return Ok(());
        }
        let mut line = String::new();
        while lines.read_line(&mut line).await? > 0 {
            let next = match line.trim_end() {
                "DATA" => {
                    let ready = self.step(Stage::Data, "354 go on").await;
                    let goes_on = matches!(&ready, Next::Reply(text) if text.starts_with("354"));
                    if !answer(&mut writing, ready).await? {
                        return Ok(());
                    }
                    match goes_on {
                        true => self.take(read_message(&mut lines).await?).await,
                        false => Next::Reply(String::new()),
                    }
                }
                command => {
                    let command = command.to_owned();
                    self.command(&command, &mut lines, &mut writing).await?
                }
            };
            if !answer(&mut writing, next).await? || line.starts_with("QUIT") {
                return Ok(());
            }
            line.clear();
        }
        Ok(())
    }

    async fn command(
        &mut self,
        command: &str,
        lines: &mut (impl AsyncBufReadExt + Unpin),
        writing: &mut (impl AsyncWriteExt + Unpin),
    ) -> std::io::Result<Next> {
        if command.starts_with("EHLO") {
            return Ok(self.step(Stage::Hello, "250-double\r\n250-8BITMIME\r\n250 AUTH LOGIN PLAIN").await);
        }
        if let Some(rest) = command.strip_prefix("AUTH PLAIN ") {
            let pair = decoded(rest);
            let mut parts = pair.split('\0').skip(1);
            let (user, password) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            return Ok(self.sign_in(user, password).await);
        }
        if command.starts_with("AUTH LOGIN") {
            let (mut user, mut password) = (String::new(), String::new());
            writing.write_all(b"334 VXNlcm5hbWU6\r\n").await?;
            lines.read_line(&mut user).await?;
            writing.write_all(b"334 UGFzc3dvcmQ6\r\n").await?;
            lines.read_line(&mut password).await?;
            return Ok(self.sign_in(&decoded(user.trim()), &decoded(password.trim())).await);
        }
        if let Some(rest) = command.strip_prefix("MAIL FROM:<") {
            let signed_in = self.letter.user.is_some() || self.shared().credentials.is_none();
            self.letter.from = address(rest);
            let usual = if signed_in { "250 2.1.0 ok" } else { "530 5.7.0 sign in first" };
            return Ok(self.step(Stage::Mail, usual).await);
        }
        if let Some(rest) = command.strip_prefix("RCPT TO:<") {
            let to = address(rest);
            if self.shared().refused.contains(&to) {
                return Ok(Next::Reply("550 5.1.1 no such user at mail.double.example".to_owned()));
            }
            self.letter.to.push(to);
            return Ok(self.step(Stage::Recipient, "250 2.1.5 ok").await);
        }
        Ok(Next::Reply(if command.starts_with("QUIT") { "221 bye" } else { "502 5.5.2 not known" }.to_owned()))
    }

    async fn sign_in(&mut self, user: &str, password: &str) -> Next {
        let right = match &self.shared().credentials {
            Some((known, secret)) => known == user && secret == password,
            None => true,
        };
        self.letter.user = right.then(|| user.to_owned());
        self.step(Stage::Auth, if right { "235 2.7.0 welcome" } else { "535 5.7.8 wrong user or password" }).await
    }

    async fn take(&mut self, data: String) -> Next {
        match self.step(Stage::Message, "250").await {
            Next::Reply(text) if text == "250" => {}
            next => return next,
        }
        self.letter.data = data;
        let letter = self.letter.clone();
        self.shared().letters.push(letter);
        self.step(Stage::Taken, "250 2.0.0 taken").await
    }

    /// The usual reply, or the trouble that is due.
    async fn step(&self, stage: Stage, usual: &str) -> Next {
        let trouble = {
            let mut shared = self.shared();
            let due = shared.faults.iter().position(|(at, _)| *at == stage);
            due.map(|due| shared.faults.remove(due).1)
        };
        match trouble {
            None => Next::Reply(usual.to_owned()),
            Some(Trouble::Reply(text)) => Next::Reply(text.to_owned()),
            Some(Trouble::Drop) => Next::Break,
            Some(Trouble::Hang) => std::future::pending().await,
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder of this lock panics")
    }
}

/// Writes a reply; whether the conversation goes on.
async fn answer(writing: &mut (impl AsyncWriteExt + Unpin), next: Next) -> std::io::Result<bool> {
    match next {
        Next::Reply(text) if text.is_empty() => Ok(true),
        Next::Reply(text) => writing.write_all(format!("{text}\r\n").as_bytes()).await.map(|()| true),
        Next::Break => Ok(false),
    }
}

/// The message up to the dot that stands alone.
async fn read_message(lines: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<String> {
    let (mut message, mut line) = (String::new(), String::new());
    while lines.read_line(&mut line).await? > 0 && line != ".\r\n" {
        message.push_str(line.strip_prefix('.').unwrap_or(&line));
        line.clear();
    }
    Ok(message)
}

fn address(rest: &str) -> String {
    rest.split('>').next().unwrap_or_default().to_owned()
}

fn decoded(text: &str) -> String {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
