//! What a service manager of systemd's kind hands over and wants to know: listening sockets, readiness, signs of life
//! (sd_listen_fds(3), sd_notify(3)). Without one, all of it does nothing.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use jiff::SignedDuration;
use listenfd::ListenFd;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Listeners that were handed over.
#[derive(Debug, Default)]
pub struct Handed {
    /// TCP.
    pub tcp: Vec<std::net::TcpListener>,
    /// Unix sockets.
    pub unix: Vec<std::os::unix::net::UnixListener>,
}

impl Handed {
    /// What this process was handed over. To be called once, before threads are started.
    ///
    /// # Errors
    /// A handed-over descriptor is no listening stream socket.
    pub fn take() -> io::Result<Self> {
        let (mut descriptors, mut handed) = (ListenFd::from_env(), Self::default());
        for index in 0..descriptors.len() {
            match descriptors.take_tcp_listener(index) {
                Ok(listener) => handed.tcp.extend(listener),
                Err(_) => handed.unix.extend(descriptors.take_unix_listener(index)?),
            }
        }
        handed.tcp.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
        handed.unix.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
        Ok(handed)
    }

    /// Whether nothing was handed over.
    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.unix.is_empty()
    }
}

/// Whoever started this process and wants to know how it does.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<SignedDuration>,
}

impl ServiceManager {
    /// The service manager that the environment names.
    pub fn of_environment() -> Self {
        Self::at(std::env::var_os("NOTIFY_SOCKET"), watchdog(&|name| std::env::var(name).ok()))
    }

    fn at(address: Option<OsString>, watchdog: Option<SignedDuration>) -> Self {
        let socket = address.and_then(|address| {
            let address = socket_address(&address).ok()?;
            Some((UnixDatagram::unbound().ok()?, address))
        });
        Self { socket, watchdog }
    }

    /// The server answers requests.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The server stops.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Gives signs of life, where they are wanted, as long as `alive` says so. A server that gives none is ended and
    /// started again.
    pub async fn keep_alive(&self, alive: impl Fn() -> bool, clock: &dyn Clock, stopping: CancellationToken) {
        let Some(interval) = self.watchdog else { return };
        while stopping.run_until_cancelled(clock.sleep_until(clock.now() + interval)).await.is_some() {
            if alive() {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, "cannot tell the service manager how the server does");
        }
    }
}

/// A path, or `@name` for a name in the abstract namespace.
fn socket_address(text: &OsString) -> io::Result<SocketAddr> {
    match text.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(text),
    }
}

/// How often signs of life are given: twice as often as they are wanted.
fn watchdog(variable: &dyn Fn(&str) -> Option<String>) -> Option<SignedDuration> {
    let micros: i64 = variable("WATCHDOG_USEC")?.parse().ok().filter(|micros| *micros > 0)?;
    let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    ours.then(|| SignedDuration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::FutureExt;

    use super::*;
    use crate::clock::SimClock;

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 200];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    fn manager(folder: &tempfile::TempDir, watchdog: Option<SignedDuration>) -> (ServiceManager, UnixDatagram) {
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        (ServiceManager::at(Some(path.into_os_string()), watchdog), socket)
    }

    #[test]
    fn readiness_and_the_end_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (manager, socket) = manager(&folder, None);
        manager.ready("answers on http://127.0.0.1:1");
        assert_eq!(heard(&socket).unwrap(), "READY=1\nSTATUS=answers on http://127.0.0.1:1");
        manager.stopping();
        assert!(heard(&socket).unwrap().starts_with("STOPPING=1"));
    }

    #[tokio::test]
    async fn signs_of_life_are_given_only_while_there_is_life() {
        let folder = tempfile::tempdir().unwrap();
        let (manager, socket) = manager(&folder, Some(SignedDuration::from_secs(10)));
        let (alive, stopping) = (AtomicBool::new(true), CancellationToken::new());
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let mut given = manager.keep_alive(|| alive.load(Ordering::Relaxed), &clock, stopping.clone()).boxed_local();
        for (is_alive, expected) in [(true, Some("WATCHDOG=1")), (true, Some("WATCHDOG=1")), (false, None)] {
            assert!(futures_util::poll!(&mut given).is_pending());
            assert_eq!(heard(&socket), None, "not before its time");
            alive.store(is_alive, Ordering::Relaxed);
            clock.advance(SignedDuration::from_secs(10));
            assert!(futures_util::poll!(&mut given).is_pending());
            assert_eq!(heard(&socket).as_deref(), expected);
        }
        stopping.cancel();
        given.await;
    }

    #[test]
    fn without_a_service_manager_nothing_is_told() {
        ServiceManager::at(None, None).ready("");
        ServiceManager::at(Some("/nobody/listens".into()), None).ready("");
    }

    #[test]
    fn the_watchdog_is_of_this_process_and_twice_as_often() {
        let of = |usec: &str, pid: Option<&str>| {
            watchdog(&|name| if name == "WATCHDOG_USEC" { Some(usec.to_owned()) } else { pid.map(str::to_owned) })
        };
        assert_eq!(of("30000000", None), Some(SignedDuration::from_secs(15)));
        assert_eq!(of("30000000", Some(&std::process::id().to_string())), Some(SignedDuration::from_secs(15)));
        assert_eq!((of("30000000", Some("1")), of("0", None), of("x", None)), (None, None, None));
    }
}
