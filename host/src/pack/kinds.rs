//! Whether a granted connection is of the kind that the pack asks for: mail goes by connections that were declared with
//! `mail`, and requests by those that were not. One that is not there yet is not judged.

use super::catalog::Catalog;
use super::grants::{Grants, WrongGrant};
use super::manifest::ConnectionKind;
use crate::connection::Connections;
use crate::model::{ConnectionName, PackName, TenantName};

impl Catalog {
    /// The granted connections that are of another kind than every installed version of the pack asks for.
    pub fn wrong_kinds(
        &self,
        tenant: &TenantName,
        pack: &PackName,
        grants: &Grants,
        connections: &Connections,
    ) -> Vec<WrongGrant> {
        let versions = self.versions(pack);
        let is_mail = |name: &ConnectionName| connections.get(tenant, name).map(|connection| connection.mail.is_some());
        let wrong = |(asked, granted): (&ConnectionName, &ConnectionName)| {
            let is_mail = is_mail(granted)?;
            let mut kinds = versions.iter().filter_map(|pack| pack.manifest.connections.get(asked)).map(|it| it.kind);
            let fits = |kind: ConnectionKind| (kind == ConnectionKind::Smtp) == is_mail;
            // One that no version asks for is told elsewhere.
            (kinds.clone().next().is_some() && !kinds.any(fits))
                .then(|| WrongGrant { member: format!("connections/{asked}"), reason: reason(asked, granted, is_mail) })
        };
        grants.connections.iter().filter_map(wrong).collect()
    }
}

fn reason(asked: &ConnectionName, granted: &ConnectionName, is_mail: bool) -> String {
    match is_mail {
        true => format!(
            "the connection `{granted}` is for mail, and the pack sends requests by `{asked}`; grant one that was declared \
             without `mail`"
        ),
        false => format!(
            "the pack sends mail by `{asked}` (`kind: smtp`), and the connection `{granted}` is for requests; grant one that \
             was declared with `mail`"
        ),
    }
}
