//! Services over a journal in memory and packs without components.

use serde_json::json;

use super::*;
use crate::clock::SimClock;
use crate::definition::evaluate::{Bindings, Evaluate, ExpressionError};
use crate::definition::graph::{Expression, Program};
use crate::journal::memory::MemoryJournal;
use crate::sandbox::{Sandbox, SandboxConfig};

/// No expression of these packs is computed.
struct AnyExpression;

impl Evaluate for AnyExpression {
    fn evaluate(&self, _: &Program, _: &Expression, _: &Bindings<'_>) -> Result<Json, ExpressionError> {
        Ok(Json::Null)
    }

    fn check(&self, _: &str, _: &[&str]) -> Result<(), String> {
        Ok(())
    }
}

struct Bench {
    folder: tempfile::TempDir,
    catalog: Arc<Catalog>,
    services: Arc<Services>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache_dir = folder.path().join("cache");
        let config = SandboxConfig { cache_dir, cache_key: [7; 32], memory_bytes_max: 16 << 20, attempts_max: 1 };
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let sandbox = Sandbox::new(config).unwrap();
        let packs = folder.path().join("packs");
        let catalog = Catalog::open(journal.clone(), &packs, sandbox, Arc::new(AnyExpression)).unwrap();
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let services = Services::new(journal, catalog.clone(), Arc::new(clock));
        let bench = Self { folder, catalog, services };
        bench.install("shop", "1.0.0").await;
        bench
    }

    /// A pack with a service `shop order` for its workflow `order`, and a workflow `gift`.
    async fn install(&self, name: &str, version: &str) {
        let folder = self.folder.path().join(format!("{name}-{version}"));
        std::fs::create_dir_all(&folder).unwrap();
        let manifest = format!(
            "format: 1\nname: {name}\nversion: {version}\nworld: orchestrator:pack/action@0.1\n\
             workflows: [order.yaml, gift.yaml]\nservices:\n  - {{ name: {name} order, group: shops, tags: [buy], icon: cart, workflow: order }}\n"
        );
        std::fs::write(folder.join("pack.yaml"), manifest).unwrap();
        for (workflow, schema) in [
            ("order", "{ required: [size], properties: { size: { type: integer }, colour: { default: red } } }"),
            ("gift", "{ properties: { words: { type: string } } }"),
        ] {
            let text = format!(
                "document: {{ dsl: '1.0.0', namespace: n, name: {workflow}, version: '1.0.0' }}\n\
                 input: {{ schema: {{ document: {schema} }} }}\ndo:\n  - note: {{ set: {{ note: 1 }} }}\n"
            );
            std::fs::write(folder.join(format!("{workflow}.yaml")), text).unwrap();
        }
        self.catalog.install_directory(&folder).await.unwrap();
    }

    async fn remove(&self, pack: &str) {
        for pack in self.catalog.versions(&PackName::parse(pack).unwrap()) {
            self.catalog.remove(&pack.manifest.name, &pack.manifest.version, false, |_, _| false).await.unwrap();
        }
    }

    async fn create(&self, template: Json) -> Result<Service, ServiceError> {
        self.services.create(&tenant("default"), "token:a", serde_json::from_value(template).unwrap()).await
    }

    fn names(&self, of: &str) -> Vec<String> {
        self.services.list(&tenant(of)).unwrap().into_iter().map(|service| service.name.into()).collect()
    }

    fn order(&self, service: &str, workflow: Option<&str>, input: Json) -> Result<(String, Json), String> {
        let workflow = workflow.map(|name| WorkflowName::parse(name).unwrap());
        let order = self.services.order(&tenant("default"), &name(service), workflow.as_ref(), &input);
        order.map(|order| (order.workflow.into(), order.input)).map_err(|error| error.to_string())
    }
}

fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

fn gold() -> Json {
    json!({"name": "gold", "pack": "shop", "workflow": "order"})
}

#[tokio::test]
async fn services_of_packs_and_of_people_stand_side_by_side() {
    let bench = Bench::new().await;
    let made = bench.create(gold()).await.unwrap();
    assert_eq!((made.group.as_str(), made.origin, made.revision), ("general", Origin::Api, 1));
    assert_eq!(made.input_schema.as_ref().unwrap()["required"], json!(["size"]), "that of its workflow");
    assert_eq!(made.version, Some(semver::Version::new(1, 0, 0)));
    assert_eq!(bench.names("default"), ["gold", "shop order"]);
    assert_eq!(bench.names("other"), ["shop order"], "what people made is in their tenant");
    let of_pack = bench.services.get(&tenant("other"), &name("shop order")).unwrap();
    assert_eq!((of_pack.origin, of_pack.id.get_version_num()), (Origin::Pack, 5));
    assert_eq!((of_pack.tags, of_pack.icon.as_deref()), (vec!["buy".to_owned()], Some("cart")));
    assert_eq!(bench.services.by_id(&tenant("default"), made.id).unwrap(), Some(made));
}

#[tokio::test]
async fn a_name_is_given_once_in_a_tenant_and_its_packs() {
    let bench = Bench::new().await;
    bench.create(gold()).await.unwrap();
    for taken in ["gold", "shop order"] {
        let again = bench.create(json!({"name": taken, "pack": "shop", "workflow": "order"})).await;
        assert!(matches!(again, Err(ServiceError::Exists(_))), "{again:?}");
    }
    let elsewhere: Template = serde_json::from_value(gold()).unwrap();
    assert!(bench.services.create(&tenant("other"), "b", elsewhere).await.is_ok());
    bench.create(json!({"name": "mall order", "pack": "shop", "workflow": "gift"})).await.unwrap();
    bench.install("mall", "1.0.0").await;
    let get = |of: &str| bench.services.get(&tenant(of), &name("mall order")).unwrap().origin;
    assert_eq!((get("default"), get("other")), (Origin::Api, Origin::Pack), "the tenant's own stays what it was");
    assert_eq!(bench.names("default"), ["gold", "mall order", "shop order"]);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let bench = Bench::new().await;
    let check = async |members: Json, expected: &[(&str, &str)]| {
        let mut template = gold();
        template.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        template.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let Err(ServiceError::Invalid(wrong)) = bench.create(template).await else { panic!("{members}") };
        assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
        for (wrong, (place, part)) in wrong.iter().zip(expected) {
            assert!(wrong.pointer == *place && wrong.message.contains(part), "{wrong:?}");
        }
    };
    check(json!({"workflow": "none"}), &[("/workflow", "it has `gift`, `order`")]).await;
    check(json!({"pack": "none"}), &[("/workflow", "installed are `shop`")]).await;
    check(json!({"version": "9.0.0"}), &[("/workflow", "installed are `1.0.0`")]).await;
    check(json!({"workflows": [{"pack": "shop", "workflow": "gift"}]}), &[("/workflows", "not both")]).await;
    check(json!({"pack": null, "workflow": null}), &[("", "give `pack` and `workflow`")]).await;
    let several = json!([{"pack": "shop", "workflow": "gift"}, {"pack": "shop", "workflow": "none"}]);
    check(json!({"pack": null, "workflow": null, "workflows": several}), &[("/workflows/1", "none")]).await;
    let twice = json!([{"pack": "shop", "workflow": "gift"}, {"pack": "shop", "workflow": "gift"}]);
    check(json!({"pack": null, "workflow": null, "workflows": twice}), &[("/workflows/1", "name")]).await;
    check(
        json!({"inputSchema": {"type": "strin"}, "group": "", "tags": ["a\nb"], "lockedInputs": ["x"]}),
        &[("/group", "255"), ("/tags/0", "255"), ("/inputSchema/type", ""), ("/lockedInputs", "inputDefaults")],
    )
    .await;
    check(json!({"name": null, "annotations": {"a": "x".repeat(300_000)}}), &[("", "bytes"), ("/name", "name")]).await;
    assert_eq!(bench.names("default"), ["shop order"]);
}

#[tokio::test]
async fn an_order_is_completed_and_all_its_faults_are_told() {
    let bench = Bench::new().await;
    let template = json!({"name": "gold", "workflows": [
            {"name": "buy", "pack": "shop", "workflow": "order"}, {"name": "give", "pack": "shop", "workflow": "gift"}],
        "inputDefaults": {"class": "gold", "size": 1}, "lockedInputs": ["class"]});
    let made = bench.create(template).await.unwrap();
    assert!(made.workflows.iter().all(|choice| choice.input_schema.is_some()), "each has a form of its own");
    let input = json!({"size": 1, "colour": "red", "class": "gold"});
    assert_eq!(bench.order("gold", None, json!(null)), Ok(("order".to_owned(), input)));
    let input = json!({"words": "x", "class": "gold", "size": 3});
    assert_eq!(bench.order("gold", Some("give"), json!({"words": "x", "size": 3})), Ok(("gift".to_owned(), input)));
    let refused = bench.order("gold", None, json!({"class": "tin", "size": 1})).unwrap_err();
    assert!(refused.contains("`/class`: the service sets this"), "{refused}");
    assert!(bench.order("gold", Some("order"), json!({})).unwrap_err().contains("it has `buy`, `give`"));
    assert!(bench.order("shop order", None, json!({"size": "x"})).unwrap_err().contains("`/size`"));
    assert!(bench.order("nothing", None, json!({})).unwrap_err().contains("there is no service `nothing`"));
}

#[tokio::test]
async fn a_service_is_replaced_by_who_saw_it_last() {
    let bench = Bench::new().await;
    bench.create(gold()).await.unwrap();
    let (of, gold_name) = (tenant("default"), name("gold"));
    let (template, revision) = bench.services.template(&of, &gold_name).unwrap();
    let changed = Template { group: Some("metals".to_owned()), ..template.clone() };
    let put = async |template: &Template, expected| {
        bench.services.put(&of, "token:b", &gold_name, template.clone(), expected).await
    };
    let (service, made) = put(&changed, Some(revision)).await.unwrap();
    assert_eq!((service.group.as_str(), service.revision, made), ("metals", 2, false));
    assert_eq!(service.created_by.as_deref(), Some("token:a"));
    assert!(matches!(put(&template, Some(revision)).await, Err(ServiceError::Changed(_))));
    assert_eq!(put(&changed, None).await.unwrap().0.revision, 2, "the same again is no change");
    assert!(matches!(bench.services.delete(&of, &gold_name, Some(1)).await, Err(ServiceError::Changed(_))));
    bench.services.delete(&of, &gold_name, Some(2)).await.unwrap();
    assert!(matches!(bench.services.delete(&of, &gold_name, None).await, Err(ServiceError::NotFound(_))));
    assert!(put(&changed, None).await.unwrap().1, "it is made again");
    let other = Template { name: Some(name("tin")), ..changed };
    assert!(matches!(put(&other, None).await, Err(ServiceError::Invalid(_))));
}

#[tokio::test]
async fn whoever_made_it_a_service_can_be_switched_off_in_one_tenant() {
    let bench = Bench::new().await;
    bench.create(gold()).await.unwrap();
    for service in ["gold", "shop order"] {
        let service = name(service);
        for (on, ordered) in [(false, false), (true, true)] {
            let view = bench.services.enable(&tenant("default"), &service, on).await.unwrap();
            assert_eq!(view.enabled, on);
            assert_eq!(bench.services.get(&tenant("default"), &service).unwrap(), view);
            let order = bench.services.order(&tenant("default"), &service, None, &json!({"size": 1}));
            assert_eq!(order.is_ok(), ordered, "{order:?}");
        }
    }
    bench.services.enable(&tenant("default"), &name("shop order"), false).await.unwrap();
    assert!(bench.services.get(&tenant("other"), &name("shop order")).unwrap().enabled);
    let of_pack = bench.services.delete(&tenant("default"), &name("shop order"), None).await;
    assert!(matches!(of_pack, Err(ServiceError::OfPack { .. })), "{of_pack:?}");
}

#[tokio::test]
async fn a_service_whose_pack_goes_stays_and_says_so() {
    let bench = Bench::new().await;
    bench.create(gold()).await.unwrap();
    bench.install("mall", "1.0.0").await;
    let both = json!([{"pack": "shop", "workflow": "order"}, {"name": "mall", "pack": "mall", "workflow": "gift"}]);
    bench.create(json!({"name": "both", "workflows": both})).await.unwrap();
    bench.remove("shop").await;
    let get = |service: &str| bench.services.get(&tenant("default"), &name(service)).unwrap();
    let gold = get("gold");
    assert!(!gold.available && gold.reason.as_ref().unwrap().contains("`shop`") && gold.version.is_none(), "{gold:?}");
    assert!(bench.order("gold", None, json!({})).unwrap_err().contains("install the pack again"));
    let both = get("both");
    let each: Vec<_> = both.workflows.iter().map(|choice| choice.available).collect();
    assert_eq!((both.available, each), (true, vec![false, true]));
    assert!(bench.order("both", Some("mall"), json!({})).is_ok());
    bench.install("shop", "2.0.0").await;
    assert_eq!(get("gold").version, Some(semver::Version::new(2, 0, 0)));
}

#[test]
fn a_stored_row_is_read_as_it_was_written() {
    let stored = json!({
        "id": "0199c1f0-0000-7000-8000-000000000000", "revision": 3, "createdBy": "token:a",
        "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-02T00:00:00Z",
        "declared": {
            "name": "gold", "group": "metals", "description": "d", "tags": ["a"], "icon": "i",
            "workflows": [{"name": "buy", "pack": "shop", "version": "1.0.0", "workflow": "order"}],
            "inputSchema": {"properties": {"a": {"ui:widget": "x", "x-b": 1}}}, "uiSchema": {"ui:order": ["a"]},
            "inputDefaults": {"a": 1}, "lockedInputs": ["a"], "constraint": "c", "annotations": {"k": "v"},
            "enabled": false,
        },
    });
    let read: ServiceRow = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), stored);
}

#[test]
fn a_service_has_a_plain_name_an_icon_that_runs_nothing_and_objects_for_schemas() {
    let check = |member: &str, value: Json, fits: bool| {
        let mut body = json!({ "name": "gold", "pack": "shop", "workflow": "order" });
        body[member] = value.clone();
        let template: Template = serde_json::from_value(body).unwrap();
        let wrong = template.check().err().unwrap_or_default();
        assert_eq!(wrong.is_empty(), fits, "{member} {value}: {wrong:?}");
        assert!(wrong.iter().all(|wrong| wrong.pointer == format!("/{member}")), "{wrong:?}");
    };
    for good in ["cart", "mdi:cart", "https://x.example/a.svg", "data:image/png;base64,AA==", "a/b.png"] {
        check("icon", json!(good), true);
    }
    for bad in ["javascript:alert(1)", "JavaScript :x", " vbscript:x", "data:text/html,x", "data:", "file:///etc/x"] {
        check("icon", json!(bad), false);
    }
    for (name, fits) in [("a/b", true), ("..", false), (".", false), ("a\u{202e}b", false)] {
        check("name", json!(name), fits);
    }
    check("inputSchema", json!(true), false);
    check("uiSchema", json!([]), false);
    check("uiSchema", json!({ "ui:order": ["*"] }), true);
}

/// Such a service could be made and never be ordered, and the customer was told of a member that she did not send.
#[tokio::test]
async fn what_is_set_for_all_orders_has_to_fit_a_workflow() {
    let bench = Bench::new().await;
    let make = async |workflows: Json, defaults: Json| {
        let body = json!({ "name": "gold", "workflows": workflows, "inputDefaults": defaults });
        let template: Template = serde_json::from_value(body).unwrap();
        match bench
            .services
            .put(&TenantName::standard(), "ann", &ServiceName::parse("gold").unwrap(), template, None)
            .await
        {
            Ok(_) => Vec::new(),
            Err(ServiceError::Invalid(wrong)) => wrong.into_iter().map(|wrong| wrong.pointer).collect(),
            Err(error) => panic!("{error}"),
        }
    };
    let (order, gift) = (json!({ "pack": "shop", "workflow": "order" }), json!({ "pack": "shop", "workflow": "gift" }));
    let one = json!([order]);
    assert_eq!(make(one.clone(), json!({ "size": "x" })).await, ["/inputDefaults/size"]);
    assert_eq!(
        make(one.clone(), json!({ "colour": "blue" })).await,
        Vec::<String>::new(),
        "what is missing is ordered"
    );
    assert_eq!(make(one, json!({ "size": 3, "other": 1 })).await, Vec::<String>::new(), "the schema takes others");
    let both = json!([order, gift]);
    assert_eq!(make(both.clone(), json!({ "size": "x" })).await, Vec::<String>::new(), "the second takes it");
    assert_eq!(make(json!([gift]), json!({ "words": 1 })).await, ["/inputDefaults/words"]);
}

#[test]
fn a_violation_is_about_the_member_it_names() {
    use super::order::about;
    assert!(about("`/size`: \"x\" is not of type \"integer\"", "size").is_some());
    assert!(about("`/host/port`: 0 is less than 1", "host").is_some());
    assert!(about("`/`: Additional properties are not allowed ('a', 'b' were unexpected)", "b").is_some());
    assert!(about("`/`: \"size\" is a required property", "size").is_none());
    assert!(about("`/sizes`: wrong", "size").is_none());
    assert!(about("`/a~1b`: wrong", "a/b").is_some());
}
