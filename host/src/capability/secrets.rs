//! A secret's own bytes, for the rare action that cannot leave authentication to the host. Each reading is told to the
//! observer, durably, before the bytes are given.

use super::wit::orchestrator::secrets::store::{self, Error};
use super::{Guest, denial};
use crate::model::SecretName;

impl store::Host for Guest {
    async fn reveal(&mut self, name: String) -> Result<Vec<u8>, Error> {
        let granted = SecretName::parse(&name).ok().and_then(|name| self.granted.secrets.get(&name).cloned());
        let (Some(stored), Some(secrets)) = (granted, self.granted.secret_store.clone()) else {
            return Err(Error::Denied(denial::secret(&self.granted, &name)));
        };
        let missing =
            || Error::Missing(format!("secret `{stored}` is not stored; store it: `orchctl secret set {stored}`"));
        let value = match secrets.reveal(&stored) {
            Ok(value) => value.ok_or_else(missing)?,
            Err(error) => {
                tracing::error!(secret = %stored, %error, "a granted secret cannot be read");
                return Err(missing());
            }
        };
        if let Err(error) = self.observer.secret_revealed(stored.to_string()).await {
            tracing::error!(secret = %stored, %error, "the reading of a secret could not be recorded");
            return Err(Error::Missing(format!(
                "secret `{stored}` is not given because its reading cannot be recorded"
            )));
        }
        self.log.hide(&value);
        Ok(value.to_vec())
    }
}
