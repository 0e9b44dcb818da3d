//! Authentications: in place, or by name from `use.authentications`. Each becomes an object of one scheme, whose values
//! are evaluated when the request is made.

use super::value::{At, object};
use super::{Compiler, escape};
use crate::definition::graph::Template;
use crate::definition::yaml::Tree;
use crate::model::Json;

/// A scheme with its properties, those that it needs, and the properties of those that are mappings.
struct Scheme {
    name: &'static str,
    properties: &'static [&'static str],
    required: &'static [&'static str],
}

const SCHEMES: [Scheme; 5] = [
    Scheme { name: "basic", properties: &["username", "password"], required: &["username", "password"] },
    Scheme { name: "bearer", properties: &["token"], required: &["token"] },
    Scheme { name: "digest", properties: &["username", "password"], required: &["username", "password"] },
    Scheme { name: "oauth2", properties: &OAUTH2, required: &["authority", "grant"] },
    Scheme { name: "oidc", properties: OAUTH2.split_at(11).0, required: &["authority", "grant"] },
];

/// `endpoints` comes last, because `oidc` finds them by itself.
const OAUTH2: [&str; 12] = [
    "authority",
    "grant",
    "client",
    "request",
    "issuers",
    "scopes",
    "audiences",
    "username",
    "password",
    "subject",
    "actor",
    "endpoints",
];

/// The mappings inside of `oauth2` and `oidc`.
const INNER: [(&str, &[&str]); 5] = [
    ("client", &["id", "secret", "assertion", "authentication"]),
    ("request", &["encoding"]),
    ("endpoints", &["token", "revocation", "introspection"]),
    ("subject", &["token", "type"]),
    ("actor", &["token", "type"]),
];

const GRANTS: [(&str, ()); 4] = [
    ("client_credentials", ()),
    ("password", ()),
    ("refresh_token", ()),
    ("urn:ietf:params:oauth:grant-type:token-exchange", ()),
];

const CLIENT_AUTHENTICATIONS: [(&str, ()); 5] = [
    ("client_secret_basic", ()),
    ("client_secret_post", ()),
    ("client_secret_jwt", ()),
    ("private_key_jwt", ()),
    ("none", ()),
];

const ENCODINGS: [(&str, ()); 2] = [("application/x-www-form-urlencoded", ()), ("application/json", ())];

impl<'a> Compiler<'a> {
    /// Where a request names its authentication: `{use: <name>}`, or a policy in place.
    pub(super) fn authentication(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        if let Some(name) = tree.as_text() {
            let cure = format!("write `authentication: {{ use: {name} }}`");
            self.error_with_cure("wrong-type", tree.position, "an authentication is a mapping, not text", cure);
            return None;
        }
        let Some(name) = tree.get("use") else { return self.policy(tree, pointer, at) };
        self.keys(tree, "`authentication`", &["use"], &[]);
        let name = self.text(name, "`use`")?;
        let (tree, pointer) = self.named("authentications", name, tree.position, "undeclared-authentication")?;
        self.policy(tree, &pointer, at)
    }

    /// One scheme with its properties, or with the name of the secret that holds them.
    pub(super) fn policy(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        let entries = self.map(tree, "an authentication")?;
        self.keys(tree, "an authentication", &SCHEMES.each_ref().map(|scheme| scheme.name), &["certificate"]);
        let [entry] = entries else {
            let message = "an authentication has one scheme: `basic`, `bearer`, `digest`, `oauth2` or `oidc`";
            self.error("wrong-type", tree.position, message);
            return None;
        };
        let scheme = SCHEMES.iter().find(|scheme| scheme.name == entry.key)?;
        let pointer = format!("{pointer}/{}", scheme.name);
        let properties = match entry.value.get("use") {
            Some(secret) => self.secret_of(&entry.value, secret),
            None => self.properties(scheme, &entry.value, &pointer, at),
        };
        Some(object(vec![(scheme.name.to_owned(), properties?)]))
    }

    /// `{use: <secret>}`.
    fn secret_of(&mut self, tree: &'a Tree, secret: &'a Tree) -> Option<Template> {
        self.keys(tree, "an authentication by secret", &["use"], &[]);
        let name = self.text(secret, "a secret's name")?;
        if !self.secrets.iter().any(|declared| declared == name) {
            self.refuse_secret(name, secret)?;
        }
        Some(object(vec![("use".to_owned(), Template::Literal(Json::from(name)))]))
    }

    fn properties(&mut self, scheme: &Scheme, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        let what = format!("`{}`", scheme.name);
        if let (Some(_), [property]) = (tree.as_text(), scheme.required) {
            let cure = format!("write `{}: {{ {property}: … }}`", scheme.name);
            self.error_with_cure("wrong-type", tree.position, format!("{what} is a mapping, not text"), cure);
            return None;
        }
        let entries = self.map(tree, &what)?;
        self.keys(tree, &what, scheme.properties, &[]);
        let complete = scheme.required.iter().all(|key| self.required(tree, key, &what).is_some());
        let mut members = Vec::with_capacity(entries.len());
        for entry in entries {
            let pointer = format!("{pointer}/{}", escape(&entry.key));
            let template = match entry.key.as_str() {
                "authority" => self.uri(&entry.value, &pointer, at),
                _ => {
                    self.property(&entry.key, &entry.value);
                    self.template(&entry.value, &pointer, at)
                }
            };
            members.push(template.map(|template| (entry.key.clone(), template)));
        }
        let members = members.into_iter().collect::<Option<_>>()?;
        complete.then(|| object(members))
    }

    /// What can be told about a property before it is evaluated.
    fn property(&mut self, key: &str, tree: &'a Tree) {
        if let Some((_, known)) = INNER.iter().find(|(name, _)| *name == key) {
            let what = format!("`{key}` of an authentication");
            if self.map(tree, &what).is_some() {
                self.keys(tree, &what, known, &[]);
            }
        }
        match key {
            "username" | "password" | "token" if tree.as_text().is_none() => {
                let message = format!("`{key}` is text, not {}", tree.kind());
                self.error_with_cure("wrong-type", tree.position, message, "put it between quotes");
            }
            "grant" if tree.as_text() == Some("authorization_code") => {
                let message = "the grant `authorization_code` needs a person at a browser";
                self.error_with_cure("unsupported", tree.position, message, "use `client_credentials`");
            }
            "grant" => drop(self.word(tree, "`grant`", &GRANTS)),
            "client" => {
                if let Some(method) = tree.get("authentication") {
                    self.word(method, "`client.authentication`", &CLIENT_AUTHENTICATIONS);
                }
            }
            "request" => {
                if let Some(encoding) = tree.get("encoding") {
                    self.word(encoding, "`request.encoding`", &ENCODINGS);
                }
            }
            "issuers" | "scopes" | "audiences" if tree.as_list().is_none() => {
                self.error("wrong-type", tree.position, format!("`{key}` is a list, not {}", tree.kind()));
            }
            _ => {}
        }
    }
}
