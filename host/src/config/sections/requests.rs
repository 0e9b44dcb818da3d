//! How requests are taken.

use std::time::Duration;

use jiff::SignedDuration;

use crate::api::front::Origin;
use crate::api::rates::Rate;
use crate::config::setting::settings;
use crate::config::value::{Value, shortened};

settings! {
    /// How requests are taken.
    pub struct Requests titled "Requests" {
        /// A site whose pages may call the interface, such as `https://portal.example`, or `*`; may be repeated.
        cors_origins as "corsOrigins": Vec<Origin>,
        /// Requests that one caller may send in a minute; a tenth of them at once after a pause. Any number where it is not
        /// set.
        rate_limit as "rateLimit": Option<Rate>,
        /// How long requests under way may take once the server stops, at most 5 minutes.
        drain as "drain": Drain = "3s",
    }
}

/// How long requests under way may take once the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain(pub Duration);

/// Who stops a server waits no longer.
const DRAIN_MAX: Duration = Duration::from_secs(300);

impl Value for Drain {
    const WORD: &'static str = "DURATION";

    fn read(texts: &[&str]) -> Result<Self, String> {
        let given = SignedDuration::read(texts)?;
        match Duration::try_from(given) {
            Ok(drain) if drain <= DRAIN_MAX => Ok(Self(drain)),
            _ => Err(format!("`{given:#}` is not between nothing and 5 minutes")),
        }
    }
}

impl Value for Origin {
    const WORD: &'static str = "ORIGIN";

    fn read(texts: &[&str]) -> Result<Self, String> {
        Self::parse(&String::read(texts)?).map_err(|message| shortened(&message))
    }
}

impl Value for Rate {
    const WORD: &'static str = "REQUESTS";

    fn read(texts: &[&str]) -> Result<Self, String> {
        match u32::read(texts)? {
            0 => Err("give at least 1 request a minute, or leave it out".to_owned()),
            per_minute => Ok(Self { per_minute, burst: (per_minute / 10).max(1) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_origins_and_times_are_held_to_their_bounds() {
        assert_eq!(Rate::read(&["600"]), Ok(Rate { per_minute: 600, burst: 60 }));
        assert_eq!(Rate::read(&["5"]), Ok(Rate { per_minute: 5, burst: 1 }));
        assert!(Rate::read(&["0"]).is_err() && Rate::read(&["-1"]).is_err());
        assert_eq!(Drain::read(&["10s"]), Ok(Drain(Duration::from_secs(10))));
        assert!(Drain::read(&["6m"]).is_err() && Drain::read(&["-1s"]).is_err());
        assert!(<Origin as Value>::read(&["https://portal.example"]).unwrap().admits("https://portal.example"));
        assert!(<Origin as Value>::read(&["portal.example"]).unwrap_err().contains("write scheme"));
    }
}
