//! How SODA's interface is mapped to workflows and tenants.

use std::collections::BTreeMap;

use crate::api::soda::SodaSettings;
use crate::api::soda::settings::Source;
use crate::config::setting::settings;
use crate::config::value::Structured;
use crate::model::TenantName;

settings! {
    /// The interface of SODA's orchestration manager, `/v1beta`.
    pub struct Soda titled "SODA" {
        /// Workflows by the `definition_source` that SODA's clients name, beside the built-in ones or in their place:
        /// `{acme.grow: {pack: storage, workflow: extend-volume, parameters: {volume_id: volumeId}, required: []}}`. In
        /// `parameters` stands the input member for each parameter, `null` for one that is never passed on.
        sources as "soda.sources": Structured<BTreeMap<String, Source>>,
        /// Tenants by the identifier in the path, such as a Keystone project's; `*` stands for all others. An identifier
        /// without a line is the tenant's name.
        tenants as "soda.tenants": Structured<BTreeMap<String, TenantName>>,
        /// Instances in a list where the request gives no `limit`, at most 1000.
        page_size as "soda.pageSize": u32 = "500",
    }
}

impl Soda {
    /// The same as the interface takes it.
    pub fn settings(&self) -> SodaSettings {
        let (sources, tenants) = (self.sources.0.clone(), self.tenants.0.clone());
        SodaSettings { sources, tenants, page_size: self.page_size as usize }
    }
}
