//! Looks for anything of the machine and answers what it found.

use serde_json::Value;

use crate::{Answer, answer};

pub(super) fn run(input: Value) -> Answer {
    let _ = input;
    let mut found = Vec::new();
    found.extend(std::env::vars().map(|(name, _)| format!("variable {name}")));
    found.extend(std::env::args().map(|argument| format!("argument {argument}")));
    for path in ["/", ".", "/etc/passwd", "/proc/self/environ", "../Cargo.toml"] {
        if std::fs::metadata(path).is_ok() || std::fs::read(path).is_ok() || std::fs::read_dir(path).is_ok() {
            found.push(format!("path {path}"));
        }
    }
    if std::fs::write("/tmp/guest", "x").is_ok() {
        found.push("a place to write".to_owned());
    }
    if std::net::TcpStream::connect("127.0.0.1:80").is_ok_and(|_| true)
        || std::net::TcpListener::bind("127.0.0.1:0").is_ok()
    {
        found.push("a socket".to_owned());
    }
    if std::net::ToSocketAddrs::to_socket_addrs("localhost:80").is_ok() {
        found.push("a name server".to_owned());
    }
    answer(&found.into())
}
