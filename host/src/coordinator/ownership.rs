//! Whose an instance is: its tenant, who started it, and through which service. What it tells others goes to those who see it.

use std::sync::Arc;

use crate::model::{Principal, ServiceName, TenantName};

/// Whose something is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The tenant.
    pub tenant: TenantName,
    /// Who started it; absent where nobody in particular did.
    pub created_by: Option<String>,
    /// The service it was ordered through.
    pub service: Option<ServiceName>,
}

/// Something that is told, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Owned<T> {
    pub(super) whose: Arc<Ownership>,
    pub(super) told: T,
}

impl Ownership {
    /// Whether it is of her tenant, and hers to see.
    pub fn is_seen_by(&self, principal: &Principal) -> bool {
        let admits = match (&principal.services, &self.service) {
            (None, _) => true,
            (Some(services), Some(service)) => services.contains(service),
            (Some(_), None) => false,
        };
        self.tenant == principal.tenant && admits && principal.sees(self.created_by.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::Role;

    #[test]
    fn only_who_is_of_the_tenant_and_sees_the_owner_s_instances_is_told() {
        let tenant = |name: &str| TenantName::parse(name).unwrap();
        let check = |role: Role, of: &str, owner: Option<&str>, expected: bool| {
            let (subject, roles) = ("token:a".to_owned(), BTreeSet::from([role]));
            let principal = Principal { subject, tenant: tenant(of), roles, services: None };
            let whose = Ownership { tenant: tenant("red"), created_by: owner.map(str::to_owned), service: None };
            assert_eq!(whose.is_seen_by(&principal), expected, "{role} of {of}, {owner:?}");
        };
        check(Role::Viewer, "red", None, true);
        check(Role::ServerAdmin, "blue", None, false);
        check(Role::Operator, "red", Some("token:a"), true);
        check(Role::Operator, "red", Some("token:b"), false);
        check(Role::Operator, "blue", Some("token:a"), false);
    }

    #[test]
    fn whoever_is_held_to_services_is_told_of_those_alone() {
        let service = |name: &str| ServiceName::parse(name).unwrap();
        let services = Some(BTreeSet::from([service("a")]));
        let principal = Principal { services, ..Principal::anonymous(TenantName::standard()) };
        for (ordered, expected) in [(Some("a"), true), (Some("b"), false), (None, false)] {
            let whose = Ownership { service: ordered.map(service), ..Ownership::default() };
            assert_eq!(whose.is_seen_by(&principal), expected, "{ordered:?}");
        }
    }
}
