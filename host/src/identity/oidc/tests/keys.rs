//! An issuer's keys: fetched when needed, kept, rotated, and missed when the issuer is down. Over real HTTP on this machine;
//! only time is simulated.

use std::sync::Mutex as Lock;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::SimClock;

/// An issuer that can rotate its key and go down.
struct Double {
    url: String,
    state: Arc<State>,
}

struct State {
    key: Lock<(String, Ed25519KeyPair)>,
    is_down: Lock<bool>,
    asked: AtomicUsize,
}

fn pair() -> Ed25519KeyPair {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
}

impl Double {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state =
            State { key: Lock::new(("k-1".to_owned(), pair())), is_down: Lock::new(false), asked: AtomicUsize::new(0) };
        let state = Arc::new(state);
        let (serving, issuer) = (state.clone(), url.clone());
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let read = socket.read(&mut request).await.unwrap_or(0);
                let answer = serving.answer(&String::from_utf8_lossy(&request[..read]), &issuer);
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, state }
    }

    fn issuer(&self, clock: &SimClock) -> Arc<Issuer> {
        let settings = json!({ "issuer": self.url, "audiences": ["a"] });
        Issuer::new(serde_json::from_value(settings).unwrap(), Arc::new(clock.clone())).unwrap()
    }

    fn rotate(&self, kid: &str) {
        *self.state.key.lock().unwrap() = (kid.to_owned(), pair());
    }

    fn goes_down(&self, is_down: bool) {
        *self.state.is_down.lock().unwrap() = is_down;
    }

    fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// A token of the key at hand that is good for very long.
    fn token(&self) -> String {
        let key = self.state.key.lock().unwrap();
        let part = |value: Json| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({ "iss": self.url, "aud": "a", "sub": "ann", "exp": 4_000_000_000_u64 });
        let message = format!("{}.{}", part(json!({ "alg": "EdDSA", "kid": key.0 })), part(claims));
        let proof = URL_SAFE_NO_PAD.encode(key.1.sign(message.as_bytes()));
        format!("{message}.{proof}")
    }
}

impl State {
    fn answer(&self, request: &str, issuer: &str) -> String {
        if *self.is_down.lock().unwrap() {
            return "HTTP/1.1 503 Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
        }
        let body = match request.starts_with("GET /keys ") {
            true => {
                self.asked.fetch_add(1, Ordering::SeqCst);
                let key = self.key.lock().unwrap();
                let x = URL_SAFE_NO_PAD.encode(key.1.public_key().as_ref());
                json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": key.0, "use": "sig", "x": x }] })
            }
            false => json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }),
        };
        let body = body.to_string();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }
}

async fn ask(issuer: &Arc<Issuer>, token: &str) -> Result<Claimed, Refused> {
    issuer.authenticate(Unproved::read(token).unwrap()).await
}

fn clock() -> SimClock {
    SimClock::new("2026-01-01T00:00:00Z".parse().unwrap())
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_for_a_key_that_is_new() {
    let (double, clock) = (Double::start().await, clock());
    let issuer = double.issuer(&clock);
    let old = double.token();
    for _ in 0..5 {
        assert_eq!(ask(&issuer, &old).await.unwrap().subject, format!("oidc:{}|ann", double.url));
    }
    assert_eq!(double.asked(), 1);
    double.rotate("k-2");
    clock.advance(ASKED_EVERY);
    assert!(ask(&issuer, &double.token()).await.is_ok());
    assert_eq!(double.asked(), 2);
    assert!(matches!(ask(&issuer, &old).await, Err(Refused::Invalid(_))), "the old key was taken back");
    assert_eq!(double.asked(), 2, "the issuer is not asked about every unknown key");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_asks_the_issuer_once_in_a_while() {
    let (double, clock) = (Double::start().await, clock());
    let issuer = double.issuer(&clock);
    let foreign = Double::start().await;
    foreign.rotate("unknown");
    let unknown = foreign.token();
    for _ in 0..50 {
        assert!(matches!(ask(&issuer, &unknown).await, Err(Refused::Invalid(_))));
    }
    assert_eq!(double.asked(), 1);
    clock.advance(ASKED_EVERY);
    assert!(ask(&issuer, &unknown).await.is_err());
    assert_eq!(double.asked(), 2);
}

#[tokio::test]
async fn an_issuer_that_is_down_stops_nobody_whose_key_is_known() {
    let (double, clock) = (Double::start().await, clock());
    let issuer = double.issuer(&clock);
    let known = double.token();
    assert!(ask(&issuer, &known).await.is_ok());
    double.goes_down(true);
    double.rotate("k-2");
    clock.advance(ASKED_EVERY);
    let refused = ask(&issuer, &double.token()).await.unwrap_err();
    assert!(matches!(&refused, Refused::Unavailable(cure) if cure.contains("try again")), "{refused:?}");
    assert!(ask(&issuer, &known).await.is_ok());
    clock.advance(SignedDuration::from_hours(23));
    assert!(ask(&issuer, &known).await.is_ok(), "keys are good for a day");
    clock.advance(SignedDuration::from_hours(1));
    assert!(matches!(ask(&issuer, &known).await, Err(Refused::Unavailable(_))));
    double.goes_down(false);
    clock.advance(ASKED_EVERY);
    assert!(ask(&issuer, &double.token()).await.is_ok());
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_believed() {
    let (double, clock) = (Double::start().await, clock());
    let settings = json!({ "issuer": format!("{}/other", double.url), "audiences": ["a"] });
    let issuer = Issuer::new(serde_json::from_value(settings).unwrap(), Arc::new(clock)).unwrap();
    assert!(matches!(ask(&issuer, &double.token()).await, Err(Refused::Unavailable(_))));
}
