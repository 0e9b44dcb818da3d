//! The conversation with the mail server, step by step, so that each way to fail is known: before the message was handed
//! over nothing is sent, and after it nobody knows. What the server says goes to the log only: it names the server.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use zeroize::Zeroizing;

use super::settings::{MailSettings, Tls};
use super::{MailError, message::Written};
use crate::connection::authentication::reveal;
use crate::connection::declaration::{Authentication, Connection};
use crate::connection::secrets::Secrets;

/// The server's address and how to talk to it.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: Tls,
    parameters: Option<TlsParameters>,
    hello: ClientId,
}

impl Server {
    pub(super) fn new(declaration: &Connection, settings: &MailSettings) -> Result<Self, String> {
        let host = declaration.base_url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let usual = match settings.tls {
            Tls::Implicit => 465,
            Tls::Starttls => 587,
            Tls::None => 25,
        };
        let parameters = match settings.tls {
            Tls::None => None,
            Tls::Implicit | Tls::Starttls => Some(parameters(&host, declaration.ca_certificates.as_deref())?),
        };
        let domain = settings.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain.trim_end_matches('>'));
        Ok(Self {
            port: declaration.base_url.port().unwrap_or(usual),
            host,
            tls: settings.tls,
            parameters,
            hello: ClientId::Domain(domain.to_owned()),
        })
    }

    /// Hands a message over; gives the recipients that the server did not take.
    pub(super) async fn deliver(
        &self,
        message: &Written,
        credentials: Option<Credentials>,
        deadline: Instant,
        handed_over: &AtomicBool,
    ) -> Result<Vec<String>, MailError> {
        // Of this message: an earlier one of the same attempt may have been handed over before.
        let (given, before) = (AtomicBool::new(false), handed_over.load(Ordering::Relaxed));
        let conversation = self.converse(message, credentials, deadline, [&given, handed_over]);
        let sent = tokio::time::timeout_at(deadline.into(), conversation).await.unwrap_or_else(|_| {
            Err(match given.load(Ordering::Relaxed) {
                true => MailError::Interrupted("the mail server did not confirm the message in time".to_owned()),
                false => MailError::Unavailable("the mail server did not answer in time; nothing was sent".to_owned()),
            })
        });
        if matches!(sent, Err(MailError::Refused(_) | MailError::Unavailable(_))) {
            handed_over.store(before, Ordering::Relaxed);
        }
        sent
    }

    async fn converse(
        &self,
        message: &Written,
        credentials: Option<Credentials>,
        deadline: Instant,
        given: [&AtomicBool; 2],
    ) -> Result<Vec<String>, MailError> {
        let mut server = self.connect(deadline).await?;
        if let Some(credentials) = credentials {
            let signed_in = server.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await;
            signed_in.map_err(|error| match error.status() {
                Some(_) => step("sign in: check the connection's user name and password", false)(error),
                None if error.is_client() => {
                    MailError::Refused("the mail server offers neither PLAIN nor LOGIN to sign in".to_owned())
                }
                None => step("sign in", false)(error),
            })?;
        }
        let parameters = options(&server, message)?;
        let from = Mail::new(message.envelope.from().cloned(), parameters);
        server.command(from).await.map_err(step("name the sender", false))?;
        let refused = recipients(&mut server, message.envelope.to()).await?;
        server.command(Data).await.map_err(step("begin the message", false))?;
        given.iter().for_each(|given| given.store(true, Ordering::Relaxed));
        server.message(&message.bytes).await.map_err(step("hand over the message", true))?;
        // The message is taken; whether the good-bye arrives does not matter.
        let _ = server.quit().await;
        Ok(refused)
    }

    async fn connect(&self, deadline: Instant) -> Result<AsyncSmtpConnection, MailError> {
        let left = Some(deadline.saturating_duration_since(Instant::now()));
        let implicit = self.parameters.clone().filter(|_| self.tls == Tls::Implicit);
        let address = (self.host.as_str(), self.port);
        let connected = AsyncSmtpConnection::connect_tokio1(address, left, &self.hello, implicit, None).await;
        let mut server = connected.map_err(step("connect", false))?;
        if let Some(parameters) = self.parameters.clone().filter(|_| self.tls == Tls::Starttls) {
            if !server.can_starttls() {
                let text = "the mail server offers no STARTTLS; an admin sets `mail.tls` of the connection as the server \
                            needs it";
                return Err(MailError::Refused(text.to_owned()));
            }
            server.starttls(parameters, &self.hello).await.map_err(step("begin TLS", false))?;
        }
        Ok(server)
    }
}

fn parameters(host: &str, ca: Option<&str>) -> Result<TlsParameters, String> {
    let builder = TlsParametersBuilder::new(host.to_owned());
    let builder = match ca {
        None => builder.certificate_store(CertificateStore::WebpkiRoots),
        Some(pem) => {
            let certificates = Certificate::from_pem(pem.as_bytes());
            let certificates = certificates.map_err(|error| format!("read the certificates: {error}"))?;
            builder.certificate_store(CertificateStore::None).add_root_certificate(certificates)
        }
    };
    builder.build_rustls().map_err(|error| format!("set up TLS: {error}"))
}

/// What a connection signs in with.
pub(super) fn credentials(scheme: &Authentication, secrets: &Secrets) -> Result<Option<Credentials>, MailError> {
    let Authentication::Basic { username, password } = scheme else { return Ok(None) };
    let password = reveal(secrets, password).map_err(|error| MailError::Unavailable(error.to_string()))?;
    let password =
        Zeroizing::new(String::from_utf8(password.to_vec()).map_err(|_| {
            MailError::Unavailable("the connection's `password` is no text; store it again".to_owned())
        })?);
    Ok(Some(Credentials::new(username.clone(), password.to_string())))
}

fn options(server: &AsyncSmtpConnection, message: &Written) -> Result<Vec<MailParameter>, MailError> {
    let knows = |extension| server.server_info().supports_feature(extension);
    let mut options = Vec::new();
    let address = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if !message.envelope.from().into_iter().chain(message.envelope.to()).all(address) {
        if !knows(Extension::SmtpUtfEight) {
            return Err(MailError::Refused("the mail server takes only addresses in ASCII".to_owned()));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !message.bytes.is_ascii() && knows(Extension::EightBitMime) {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(options)
}

/// Names the recipients; gives those that the server refused for good, where it took at least one.
async fn recipients(server: &mut AsyncSmtpConnection, addresses: &[Address]) -> Result<Vec<String>, MailError> {
    let mut refused = Vec::new();
    for address in addresses {
        match server.command(Rcpt::new(address.clone(), Vec::new())).await {
            Ok(_) => {}
            Err(error) if error.is_permanent() => {
                tracing::info!(%error, "a mail server refused a recipient");
                refused.push(address.to_string());
            }
            Err(error) => return Err(step("name a recipient", false)(error)),
        }
    }
    match refused.len() < addresses.len() {
        true => Ok(refused),
        false => {
            Err(MailError::Refused(format!("the mail server took no recipient: it refused {}", refused.join(", "))))
        }
    }
}

/// Sorts an error of a step by the reply's first digit, or by whether the message may be on its way.
fn step(doing: &'static str, given: bool) -> impl FnOnce(lettre::transport::smtp::Error) -> MailError {
    move |error| {
        tracing::info!(doing, %error, "a conversation with a mail server failed");
        match error.status() {
            Some(code) if error.is_permanent() => {
                MailError::Refused(format!("the mail server refused to {doing} ({code})"))
            }
            Some(code) => {
                MailError::Unavailable(format!("the mail server cannot {doing} now ({code}); nothing was sent"))
            }
            None if given => MailError::Interrupted(
                "the conversation broke after the message was handed over; it may be on its way".to_owned(),
            ),
            None if is_tls(&error) => MailError::Unavailable(format!(
                "failed to {doing}: TLS failed; check `mail.tls` and `caCertificates` of the connection"
            )),
            None if error.is_timeout() => {
                MailError::Unavailable("the mail server did not answer in time; nothing was sent".to_owned())
            }
            None => MailError::Unavailable(format!("failed to {doing}: no conversation with the mail server")),
        }
    }
}

/// Whether TLS is at fault; some of its errors come wrapped in one of reading.
fn is_tls(error: &lettre::transport::smtp::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || wrapped.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = cause.source();
    }
    error.is_tls()
}
