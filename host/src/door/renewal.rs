//! Keeps the certificate current: the files are looked at now and then and at SIGHUP, and its end is told in good time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::certificate::Urgency;
use super::figures::Figures;
use super::tls::{Renewal, Tls};
use crate::clock::Clock;

/// How often the files are looked at: a look costs three calls, and renewals come days before the end.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Renews the certificate until the server stops. Without TLS, SIGHUP is only taken, so that it ends nothing.
pub async fn keep_current(
    tls: Option<Arc<Tls>>,
    figures: Arc<Figures>,
    clock: &dyn Clock,
    stopping: CancellationToken,
) {
    let Ok(mut hangup) = signal(SignalKind::hangup()).inspect_err(|error| tracing::warn!(%error, "cannot hear SIGHUP"))
    else {
        return;
    };
    let Some(tls) = tls else {
        let ignore = async { while hangup.recv().await.is_some() {} };
        stopping.run_until_cancelled(ignore).await;
        return;
    };
    let mut told = tell_urgency(&tls, Urgency::None, clock.now());
    while let Some(asked) = stopping.run_until_cancelled(next_look(&mut hangup, clock)).await {
        look(&tls, &figures, asked);
        told = tell_urgency(&tls, told, clock.now());
    }
}

/// Waits for the next look; whether somebody asked for it.
async fn next_look(hangup: &mut Signal, clock: &dyn Clock) -> bool {
    tokio::select! {
        asked = hangup.recv() => asked.is_some(),
        () = clock.sleep_until(clock.now() + LOOK_EVERY) => false,
    }
}

fn look(tls: &Tls, figures: &Figures, asked: bool) {
    match tls.renew(asked) {
        Renewal::Unchanged => {}
        Renewal::Renewed => {
            figures.certificate(tls.expires());
            let expires = tls.expires().map(|expires| expires.to_string());
            tracing::info!(expires, "the certificate was read again");
        }
        Renewal::Refused(error) => tracing::error!("the old certificate stays: cannot {error}"),
    }
}

/// Tells each urgency once; what is told by now.
fn tell_urgency(tls: &Tls, told: Urgency, now: Timestamp) -> Urgency {
    let urgency = tls.urgency(now);
    if urgency > told {
        let expires = tls.expires().map(|expires| expires.to_string());
        match urgency {
            Urgency::Expired => tracing::error!(expires, "the certificate is valid no more; clients refuse it"),
            _ => tracing::warn!(expires, "the certificate ends soon; renew its file"),
        }
    }
    urgency
}
