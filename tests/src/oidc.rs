//! A double of an OIDC issuer: its metadata, its key set, tokens signed by its newest key. It rotates keys when asked to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::stage::{Answer, Scene, Seen, Stage};

/// Whom its tokens are for.
pub const AUDIENCE: &str = "orchestrator";

/// A running issuer.
pub type Oidc = Stage<Issuer>;

/// The state behind the double.
pub struct Issuer {
    /// Its own address, which is its name too.
    pub url: String,
    /// Whether it answers.
    pub is_down: bool,
    key: EcdsaKeyPair,
    number: u32,
}

impl Issuer {
    /// Starts an issuer with one key.
    pub async fn start() -> Oidc {
        let stage = Stage::start(Self { url: String::new(), is_down: false, key: pair(), number: 1 }).await;
        let url = stage.url.clone();
        stage.with(|issuer| issuer.url = url);
        stage
    }

    /// Takes the key back and takes a new one.
    pub fn rotate(&mut self) {
        (self.key, self.number) = (pair(), self.number + 1);
    }

    /// A token with these claims beside those that every token needs; it is good for `seconds`.
    pub fn token(&self, seconds: i64, claims: &Value) -> String {
        let now = jiff::Timestamp::now().as_second();
        let mut all = json!({ "iss": self.url, "aud": AUDIENCE, "iat": now, "exp": now + seconds });
        if let (Some(all), Some(claims)) = (all.as_object_mut(), claims.as_object()) {
            all.extend(claims.clone());
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid() })), part(&all));
        let proof = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("signing needs only chance");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(proof))
    }

    fn kid(&self) -> String {
        format!("key-{}", self.number)
    }

    fn keys(&self) -> Value {
        let public = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&public[1..33]), URL_SAFE_NO_PAD.encode(&public[33..]));
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid(), "x": x, "y": y },
            { "kty": "oct", "kid": "of-another-kind", "k": "AAAA" },
        ]})
    }
}

fn pair() -> EcdsaKeyPair {
    let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let document = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key needs only chance");
    EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).expect("it was just made")
}

impl Scene for Issuer {
    fn answer(&mut self, seen: &Seen) -> Answer {
        if self.is_down {
            return Answer::status(503);
        }
        match seen.path.as_str() {
            "/.well-known/openid-configuration" => {
                Answer::json(200, &json!({ "issuer": self.url, "jwks_uri": format!("{}/keys", self.url) }))
            }
            "/keys" => Answer::json(200, &self.keys()),
            _ => Answer::status(404),
        }
    }
}
