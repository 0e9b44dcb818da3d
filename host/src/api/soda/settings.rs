//! What an admin may set about SODA's surface: which workflow stands behind a `definition_source`, which tenant is meant
//! by an identifier in a path, and how long a list is. The built-in sources are in `sources.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::definition::yaml::from_yaml;
use crate::model::{PackName, TenantName, WorkflowName};

/// Instances in a list where the request does not say: more than a dashboard shows, and some megabytes at most.
const PAGE_DEFAULT: usize = 500;

/// The key of `tenants` that stands for every identifier without a line of its own.
const ANY: &str = "*";

/// Parameters that SODA's clients send for StackStorm's sake. They are never taken, so that no token of them is stored.
pub const NEVER_TAKEN: [&str; 6] = ["auth_token", "ip_addr", "port", "tenant_id", "user_id", "userId"];

static BUILT_IN: LazyLock<BTreeMap<String, Source>> =
    LazyLock::new(|| from_yaml(include_str!("sources.yaml")).expect("a test reads the built-in sources"));

/// The settings of SODA's surface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SodaSettings {
    /// Workflows by `definition_source`, beside the built-in ones or in their place.
    pub sources: BTreeMap<String, Source>,
    /// Tenants by the identifier in the path, such as a Keystone project's; `*` stands for all others. An identifier
    /// without a line is the tenant's name.
    pub tenants: BTreeMap<String, TenantName>,
    /// Instances in a list where the request gives no `limit`, 1 to 1000.
    pub page_size: usize,
}

impl Default for SodaSettings {
    fn default() -> Self {
        Self { sources: BTreeMap::new(), tenants: BTreeMap::new(), page_size: PAGE_DEFAULT }
    }
}

/// A workflow as SODA's clients name it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The pack.
    pub pack: PackName,
    /// The workflow in it.
    pub workflow: WorkflowName,
    /// Input members by the parameter's name at SODA; `null` stands for a parameter that is never passed on.
    #[serde(default)]
    pub parameters: BTreeMap<String, Option<String>>,
    /// Parameters that forms ask for although the workflow's schema does not require them.
    #[serde(default)]
    pub required: Vec<String>,
}

impl SodaSettings {
    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.get(name).or_else(|| BUILT_IN.get(name))
    }

    /// All sources with their names.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Source)> {
        let built_in = BUILT_IN.iter().filter(|(name, _)| !self.sources.contains_key(*name));
        self.sources.iter().chain(built_in).map(|(name, source)| (name.as_str(), source))
    }

    /// The name under which SODA's clients know a workflow: a source's, else `pack.workflow`.
    pub fn name_of(&self, pack: &PackName, workflow: &WorkflowName) -> String {
        let known = self.all().find(|(_, source)| source.pack == *pack && source.workflow == *workflow);
        known.map_or_else(|| format!("{pack}.{workflow}"), |(name, _)| name.to_owned())
    }

    /// The workflow behind a `definition_source`: a source's, else that of `pack.workflow` or `pack/workflow`.
    pub fn workflow(&self, name: &str) -> Option<(PackName, WorkflowName)> {
        if let Some(source) = self.source(name) {
            return Some((source.pack.clone(), source.workflow.clone()));
        }
        let (pack, workflow) = name.split_once(['.', '/'])?;
        Some((PackName::parse(pack).ok()?, WorkflowName::parse(workflow).ok()?))
    }

    /// The tenant that an identifier in a path means.
    pub fn tenant(&self, id: &str) -> Option<TenantName> {
        let line = self.tenants.get(id).or_else(|| self.tenants.get(ANY));
        line.cloned().or_else(|| TenantName::parse(id).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> SodaSettings {
        from_yaml(text).unwrap()
    }

    #[test]
    fn a_source_stands_for_a_workflow_and_back() {
        let settings = settings("sources: {acme.grow: {pack: storage, workflow: extend-volume}}");
        let check = |source: &str, pack: &str, workflow: &str| {
            let found = settings.workflow(source).unwrap();
            assert_eq!((found.0.as_str(), found.1.as_str()), (pack, workflow), "{source}");
        };
        check("opensds.provision-volume", "storage", "provision-volume");
        check("opensds.migration-bucket", "bucket-migration", "migrate-bucket-soda");
        check("acme.grow", "storage", "extend-volume");
        check("greeting.greet", "greeting", "greet");
        check("greeting/greet", "greeting", "greet");
        assert_eq!(settings.workflow("nothing"), None);
        let name =
            |pack, workflow| settings.name_of(&PackName::parse(pack).unwrap(), &WorkflowName::parse(workflow).unwrap());
        assert_eq!(name("storage", "provision-volume"), "opensds.provision-volume");
        assert_eq!(name("storage", "extend-volume"), "acme.grow", "what the admin sets goes first");
        assert_eq!(name("greeting", "greet"), "greeting.greet");
    }

    #[test]
    fn an_admin_s_source_takes_the_place_of_a_built_in_one() {
        let settings =
            settings("sources: {opensds.migration-bucket: {pack: bucket-migration, workflow: migrate-bucket}}");
        assert_eq!(settings.workflow("opensds.migration-bucket").unwrap().1.as_str(), "migrate-bucket");
        assert_eq!(settings.all().filter(|(name, _)| *name == "opensds.migration-bucket").count(), 1);
    }

    #[test]
    fn an_identifier_in_a_path_is_a_tenant_s_or_its_name() {
        let tenant = |settings: &SodaSettings, id| settings.tenant(id).map(|tenant| tenant.to_string());
        let plain = SodaSettings::default();
        assert_eq!(
            tenant(&plain, "94b280022d0c4401bcf3b0ea85870519").as_deref(),
            Some("94b280022d0c4401bcf3b0ea85870519")
        );
        assert_eq!(tenant(&plain, "no tenant"), None);
        let mapped = settings("tenants: {94b2: blue, '*': default}");
        assert_eq!(tenant(&mapped, "94b2").as_deref(), Some("blue"));
        assert_eq!(tenant(&mapped, "no tenant").as_deref(), Some("default"));
    }
}
