//! Who asks, and what she may: tenants, roles, permissions. Plain data; who somebody is, is found out elsewhere.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ServiceName, TenantName};

/// The tenant of everything that was made without saying a tenant.
const STANDARD: &str = "default";

impl TenantName {
    /// The tenant `default`, which always exists.
    pub fn standard() -> Self {
        Self::parse(STANDARD).expect("it is a label")
    }

    /// Whether this is the tenant `default`.
    pub fn is_standard(&self) -> bool {
        self.as_str() == STANDARD
    }
}

impl Default for TenantName {
    fn default() -> Self {
        Self::standard()
    }
}

/// What somebody is to a tenant; the roles of one person add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees all that runs and what can be ordered; changes nothing.
    Viewer,
    /// Orders services, and sees and steers her own instances.
    Operator,
    /// Decides for waiting instances: sends events, orders follow-ups, resumes.
    Approver,
    /// Installs and removes packs. They are the server's, so this role is given for the whole server only.
    PackAdmin,
    /// Everything within the tenant: connections, secrets, grants, services, schedules, tokens, all instances.
    TenantAdmin,
    /// Everything, in every tenant.
    ServerAdmin,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// See what can be ordered, and the instances that one may see.
    Read,
    /// Start instances, and cancel, suspend, resume, retry, rerun and delete those that one may steer.
    Order,
    /// Send events to waiting instances and order follow-ups.
    Approve,
    /// Install and remove packs.
    ManagePacks,
    /// Change connections, secrets, grants, services, schedules and tokens of the tenant; read its audit log.
    ManageTenant,
    /// Change tenants and whatever is the whole server's.
    ManageServer,
}

impl Permission {
    /// All permissions.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Order, Self::Approve, Self::ManagePacks, Self::ManageTenant, Self::ManageServer];
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 6] =
        [Self::Viewer, Self::Operator, Self::Approver, Self::PackAdmin, Self::TenantAdmin, Self::ServerAdmin];

    /// The word used in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::PackAdmin => "pack-admin",
            Self::TenantAdmin => "tenant-admin",
            Self::ServerAdmin => "server-admin",
        }
    }

    /// Whether this role alone gives the permission.
    pub fn gives(self, permission: Permission) -> bool {
        use Permission::{Approve, ManagePacks, ManageTenant, Order, Read};
        match self {
            Self::Viewer => permission == Read,
            Self::Operator => matches!(permission, Read | Order),
            Self::Approver => matches!(permission, Read | Approve),
            Self::PackAdmin => matches!(permission, Read | ManagePacks),
            Self::TenantAdmin => matches!(permission, Read | Order | Approve | ManageTenant),
            Self::ServerAdmin => true,
        }
    }

    /// Whether this role sees and, where it may, steers everybody's instances and not only its own.
    fn sees_all(self) -> bool {
        self != Self::Operator
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Whoever sends a request, in the tenant it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Who it is, stable and unique on this server: `token:ci`, `oidc:https://issuer.example|ann`, `anonymous`.
    pub subject: String,
    /// The tenant the request acts in.
    pub tenant: TenantName,
    /// What she is to it.
    pub roles: BTreeSet<Role>,
    /// The only services that she may see and order; absent: all.
    pub services: Option<BTreeSet<ServiceName>>,
}

impl Principal {
    /// Who asks a server that does not authenticate: everything is allowed.
    pub fn anonymous(tenant: TenantName) -> Self {
        Self { subject: "anonymous".to_owned(), tenant, roles: BTreeSet::from([Role::ServerAdmin]), services: None }
    }

    /// Whether she may do this.
    pub fn may(&self, permission: Permission) -> bool {
        self.roles.iter().any(|role| role.gives(permission))
    }

    /// Whether she sees an instance of her tenant that `owner` started; nobody in particular where that is absent.
    pub fn sees(&self, owner: Option<&str>) -> bool {
        self.roles.iter().any(|role| role.sees_all()) || owner == Some(&self.subject)
    }

    /// Whether she steers it: cancels, suspends, resumes, retries, deletes. Her own with [`Role::Operator`], all of the
    /// tenant as its admin.
    pub fn steers(&self, owner: Option<&str>) -> bool {
        let admin = self.roles.iter().any(|role| matches!(role, Role::TenantAdmin | Role::ServerAdmin));
        admin || (self.may(Permission::Order) && owner == Some(&self.subject))
    }

    /// Whether an instance of this service, or of none, is among what she may see; [`Principal::sees`] goes by its owner.
    pub fn admits(&self, service: Option<&ServiceName>) -> bool {
        self.services.is_none() || service.is_some_and(|service| self.may_order(service))
    }

    /// Whether she may give somebody this role in her tenant: nobody gives what she has not, and roles for the whole
    /// server come from its admins alone.
    pub fn may_give(&self, role: Role) -> bool {
        let server = self.roles.contains(&Role::ServerAdmin);
        let own = matches!(role, Role::Viewer | Role::Operator | Role::Approver | Role::TenantAdmin);
        server || (own && self.roles.contains(&Role::TenantAdmin))
    }

    /// Whether she sees and may order this service.
    pub fn may_order(&self, service: &ServiceName) -> bool {
        self.services.as_ref().is_none_or(|services| services.contains(service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(roles: &[Role]) -> Principal {
        let roles = roles.iter().copied().collect();
        Principal { subject: "token:a".to_owned(), tenant: TenantName::standard(), roles, services: None }
    }

    #[test]
    fn an_operator_sees_and_steers_only_what_is_her_own() {
        let operator = somebody(&[Role::Operator]);
        assert!(operator.sees(Some("token:a")) && operator.steers(Some("token:a")));
        assert!(!operator.sees(Some("token:b")) && !operator.sees(None) && !operator.steers(None));
        let both = somebody(&[Role::Operator, Role::Viewer]);
        assert!(both.sees(Some("token:b")) && !both.steers(Some("token:b")) && both.steers(Some("token:a")));
        assert!(!somebody(&[Role::Viewer]).steers(Some("token:a")));
        assert!(somebody(&[Role::TenantAdmin]).steers(None));
    }

    #[test]
    fn a_role_is_given_only_by_who_has_as_much() {
        let check = |giver: &[Role], given: &[Role]| {
            let giver = somebody(giver);
            let may: Vec<Role> = Role::ALL.into_iter().filter(|role| giver.may_give(*role)).collect();
            assert_eq!(may, given, "{giver:?}");
        };
        check(&[Role::ServerAdmin], &Role::ALL);
        check(&[Role::TenantAdmin], &[Role::Viewer, Role::Operator, Role::Approver, Role::TenantAdmin]);
        check(&[Role::Viewer, Role::Operator, Role::Approver, Role::PackAdmin], &[]);
        check(&[], &[]);
    }

    #[test]
    fn whoever_is_held_to_services_sees_only_their_instances() {
        let service = |name| ServiceName::parse(name).unwrap();
        let held = Principal { services: Some(BTreeSet::from([service("a")])), ..somebody(&[Role::Operator]) };
        assert!(held.admits(Some(&service("a"))) && held.may_order(&service("a")));
        assert!(!held.admits(Some(&service("b"))) && !held.admits(None) && !held.may_order(&service("b")));
        assert!(somebody(&[Role::Operator]).admits(None));
    }

    #[test]
    fn nobody_may_anything_without_a_role_and_the_server_s_admin_may_everything() {
        use Permission::{Approve, ManagePacks, ManageServer, ManageTenant, Order, Read};
        for permission in [Read, Order, Approve, ManagePacks, ManageTenant, ManageServer] {
            assert!(!somebody(&[]).may(permission) && !somebody(&[]).sees(Some("token:b")));
            assert!(somebody(&[Role::ServerAdmin]).may(permission));
        }
        assert!(!somebody(&[Role::TenantAdmin]).may(ManagePacks) && !somebody(&[Role::TenantAdmin]).may(ManageServer));
    }
}
