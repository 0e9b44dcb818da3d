//! The server's own notifications for guests: post one, and find out what was told under a key.

use super::wit::orchestrator::notification::inbox::{self, Delivery, Error, Notification, Posted};
use super::{Guest, denial};
use crate::notification::{self, EntityRef, NotificationError, Notifications, Recipients, Severity};

impl inbox::Host for Guest {
    async fn post(&mut self, notification: Notification) -> Result<Posted, Error> {
        let notifications = self.notifications()?;
        let repeat_key = format!("{}\0{}", self.http.idempotency_key(), notification.part);
        let origin = format!("pack:{}", self.granted.pack);
        let posted = notifications.post(new(notification, origin, repeat_key)?).await.map_err(told)?;
        Ok(Posted { id: posted.notification.id.to_string(), updated: posted.updated })
    }

    async fn deliveries(&mut self, key: String) -> Result<Vec<Delivery>, Error> {
        let deliveries = self.notifications()?.deliveries(&key).map_err(told)?;
        let delivery =
            |told: notification::Delivery| Delivery { channel: told.channel, id: told.id, digest: told.digest };
        Ok(deliveries.into_iter().map(delivery).collect())
    }

    async fn delivered(&mut self, key: String, delivery: Delivery) -> Result<(), Error> {
        let Delivery { channel, id, digest } = delivery;
        let delivery = notification::Delivery { channel, id, digest };
        self.notifications()?.delivered(&key, delivery).await.map_err(told)
    }
}

impl Guest {
    fn notifications(&self) -> Result<std::sync::Arc<Notifications>, Error> {
        self.granted.inbox.clone().ok_or_else(|| Error::Denied(denial::inbox(&self.granted)))
    }
}

fn new(notification: Notification, origin: String, repeat_key: String) -> Result<notification::New, Error> {
    let recipients = match notification.recipients {
        inbox::Recipients::Broadcast => Recipients::Broadcast,
        inbox::Recipients::Entities(names) => {
            let entities = names.iter().map(|name| EntityRef::parse(name)).collect::<Result<Vec<_>, _>>();
            Recipients::entities(entities.map_err(|error| Error::Invalid(error.to_string()))?)
        }
    };
    Ok(notification::New {
        origin,
        recipients,
        title: notification.title,
        description: notification.description,
        link: notification.link,
        severity: match notification.severity {
            inbox::Severity::Low => Severity::Low,
            inbox::Severity::Normal => Severity::Normal,
            inbox::Severity::High => Severity::High,
            inbox::Severity::Critical => Severity::Critical,
        },
        topic: notification.topic,
        scope: notification.scope,
        repeat_key: Some(repeat_key),
    })
}

fn told(error: NotificationError) -> Error {
    match error {
        NotificationError::Store(error) => {
            tracing::error!(%error, "a notification could not be kept");
            Error::Unavailable("the server cannot keep notifications now".to_owned())
        }
        error => Error::Invalid(error.to_string()),
    }
}
