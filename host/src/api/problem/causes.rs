//! What the rooms' errors are to a client: which problem each becomes, and with which places.

use super::{Fault, Kind, Problem};
use crate::connection::ConnectionError;
use crate::connection::secrets::SecretError;
use crate::coordinator::{InstanceError, StartError};
use crate::definition::Severity;
use crate::identity::{IdentityError, Refused};
use crate::journal::CommitError;
use crate::notification::NotificationError;
use crate::pack::directory::FilesError;
use crate::pack::{CatalogError, GrantError, InstallError, RemoveError, WrongGrant};
use crate::service::OrderError;

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let text = error.to_string();
        match error {
            StartError::NotFound(_) => Self::new(Kind::UnknownWorkflow, text),
            StartError::Unusable(_) => Self::new(Kind::WorkflowNotAtHand, text),
            StartError::InvalidInput(violations) => {
                Self::new(Kind::InvalidInput, text).with(violations.iter().map(|text| violation(text)))
            }
            StartError::KeyReused(_) => Self::new(Kind::IdempotencyKeyReused, text),
            StartError::Unavailable(reason) => Self::store(reason),
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let text = error.to_string();
        match error {
            OrderError::NotFound(name) => Self::unknown_service(&name),
            OrderError::Disabled(_) => Self::new(Kind::ServiceDisabled, text),
            OrderError::NotAtHand(..) => Self::new(Kind::WorkflowNotAtHand, text),
            OrderError::NoChoice { .. } => {
                Self::new(Kind::UnknownWorkflow, text.clone()).with([Fault::at("/workflow", text)])
            }
            OrderError::InvalidInput(violations) => {
                Self::new(Kind::InvalidInput, text).with(violations.iter().map(|text| violation(text)))
            }
            OrderError::Store(error) => Self::store(error),
        }
    }
}

impl From<InstanceError> for Problem {
    fn from(error: InstanceError) -> Self {
        let text = error.to_string();
        match error {
            InstanceError::NotFound(_) => Self::new(Kind::UnknownInstance, text),
            InstanceError::NotEnded(_) | InstanceError::Awaited(..) => Self::new(Kind::InstanceNotEnded, text),
            InstanceError::Ended(..) => Self::new(Kind::InstanceEnded, text),
            InstanceError::NotRetried(..) => Self::new(Kind::InstanceNotRetried, text),
            InstanceError::Damaged(..) => Self::new(Kind::InstanceSuspended, text),
            InstanceError::NoProgram(..) => Self::new(Kind::WorkflowNotAtHand, text),
            InstanceError::BadCursor => Self::new(Kind::InvalidParameter, text),
            InstanceError::Unavailable(reason) => Self::store(reason),
        }
    }
}

/// The JSON pointer to a member that is named as people write it: `authentication.name`.
fn pointer_to(member: &str) -> String {
    format!("/{}", member.replace('.', "/"))
}

impl From<ConnectionError> for Problem {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Invalid { member, reason } => Self::new(Kind::InvalidBody, format!("{member}: {reason}"))
                .with([Fault::at(pointer_to(member), reason)]),
            ConnectionError::Store(error) => commit(&error),
        }
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::TooLong { .. } => Self::new(Kind::BodyTooLarge, error.to_string()),
            SecretError::Store(error) => commit(&error),
            SecretError::KeyFile(_) | SecretError::Undecryptable(_) => Self::internal(error),
        }
    }
}

impl From<NotificationError> for Problem {
    fn from(error: NotificationError) -> Self {
        let text = error.to_string();
        match error {
            NotificationError::Invalid { member, reason } => {
                Self::new(Kind::InvalidBody, text).with([Fault::at(pointer_to(member), reason)])
            }
            NotificationError::NotFound(_) => Self::new(Kind::UnknownNotification, text),
            NotificationError::BadCursor => Self::new(Kind::InvalidParameter, text),
            NotificationError::Store(error) => commit(&error),
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        let text = error.to_string();
        match error {
            IdentityError::Invalid { member, reason } => {
                Self::new(Kind::InvalidBody, text).with([Fault::at(pointer_to(member), reason)])
            }
            IdentityError::TokenExists(_) => Self::new(Kind::TokenExists, text),
            IdentityError::UnknownToken(_) => Self::new(Kind::UnknownToken, text),
            IdentityError::UnknownTenant(_) => Self::new(Kind::UnknownTenant, text),
            IdentityError::TenantHeld(..) => Self::new(Kind::TenantHeld, text),
            IdentityError::TooMany(_) => Self::new(Kind::LimitReached, text),
            IdentityError::TokenFile(..) | IdentityError::Settings(_) => Self::internal(chain(&error)),
            IdentityError::Store(cause) => commit(&cause),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Missing => {
                let cure = "send `Authorization: Bearer TOKEN`; a tenant's admin makes tokens by POST /v1/tokens";
                Self::new(Kind::Unauthenticated, cure)
            }
            Refused::Invalid(reason) => Self::new(Kind::Unauthenticated, reason),
            Refused::TooOften(seconds) => {
                let text = format!("this address has failed too often; try again in {seconds} seconds");
                Self::new(Kind::TooManyAttempts, text).after(seconds)
            }
            Refused::Unavailable(reason) => Self::new(Kind::AuthenticationUnavailable, reason).after(30),
            Refused::Forbidden(reason) => Self::new(Kind::Forbidden, reason),
        }
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::NotFound(text) => Self::new(Kind::UnknownWorkflow, text),
            CatalogError::Unusable(text) => Self::new(Kind::WorkflowNotAtHand, text),
            CatalogError::Files(error) => Self::internal(chain(&error)),
            CatalogError::Store(error) => Self::store(error),
        }
    }
}

impl From<InstallError> for Problem {
    fn from(error: InstallError) -> Self {
        match &error {
            InstallError::Findings(findings) => {
                let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
                Self::new(Kind::InvalidPack, error.to_string()).with(errors.map(crate::api::packs::fault))
            }
            InstallError::Refused(cause) => Self::new(Kind::InvalidPack, chain(&error)).with([refused(cause)]),
            InstallError::Conflict { .. } | InstallError::ServiceTaken { .. } => {
                Self::new(Kind::PackConflict, error.to_string())
            }
            InstallError::Machine(_) => Self::internal(chain(&error)),
            InstallError::Store(cause) => commit(cause),
        }
    }
}

impl From<RemoveError> for Problem {
    fn from(error: RemoveError) -> Self {
        match &error {
            RemoveError::NotFound(pack) => Self::unknown_pack(pack),
            RemoveError::InUse(_) | RemoveError::Required { .. } => Self::new(Kind::PackInUse, error.to_string()),
            RemoveError::Store(cause) => commit(cause),
        }
    }
}

impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Self {
        match &error {
            GrantError::NotFound(pack) => Self::unknown_pack(pack),
            GrantError::Invalid(wrong) => {
                let fault = |wrong: &WrongGrant| Fault::at(format!("/{}", wrong.member), wrong.reason.clone());
                Self::new(Kind::InvalidGrants, error.to_string()).with(wrong.iter().map(fault))
            }
            GrantError::Store(cause) => commit(cause),
        }
    }
}

/// A batch that was not committed.
pub(in crate::api) fn commit(error: &CommitError) -> Problem {
    match error {
        CommitError::Conflict(_) => Problem::new(Kind::Conflict, "read it again, then repeat the request"),
        CommitError::Unavailable(error) => Problem::store(error),
    }
}

fn refused(error: &FilesError) -> Fault {
    match error {
        FilesError::Refused { path, reason } => {
            Fault { file: Some(path.clone()), message: reason.clone(), ..Fault::default() }
        }
        FilesError::Io { .. } => Fault { message: error.to_string(), ..Fault::default() },
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A violation of a schema, told as a pointer into the input in back quotes, a colon and a sentence.
fn violation(text: &str) -> Fault {
    match text.strip_prefix('`').and_then(|rest| rest.split_once("`: ")) {
        Some((pointer, message)) => Fault::at(format!("/input{}", pointer.trim_end_matches('/')), message),
        None => Fault::at("/input", text),
    }
}
