//! What the double knows and how it answers: plain data and rules, no network.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

/// Entries of one page of the S3 API: few, so that paging is always tested.
const PAGE: usize = 3;

/// The service's zero time, in seconds since 1970: what `endTime` is until a job has ended.
const NO_TIME: i64 = -62_135_596_800;

/// How a job behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Copies everything and succeeds.
    Works,
    /// Copies one object and fails.
    Fails,
    /// Stays running for ever.
    Stuck,
    /// Succeeds without having copied anything.
    CopiesNothing,
}

/// A request.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a [(String, String)],
    pub(super) body: &'a [u8],
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self { status, kind: "text/plain", body: text.to_owned() }
    }

    fn json(body: &Value) -> Self {
        Self { status: 200, kind: "application/json", body: body.to_string() }
    }

    fn xml(status: u16, body: &str) -> Self {
        let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}");
        Self { status, kind: "application/xml", body }
    }
}

struct Bucket {
    backend: String,
    objects: BTreeMap<String, u64>,
}

struct Plan {
    id: String,
    name: String,
    description: String,
    source: String,
    destination: String,
    prefix: String,
    remain_source: bool,
}

struct Job {
    id: String,
    plan_id: String,
    plan_name: String,
    source: String,
    destination: String,
    prefix: String,
    remain_source: bool,
    status: &'static str,
    conduct: Conduct,
    passed: (u64, u64),
    total: (u64, u64),
}

/// Everything that the service knows.
pub(super) struct World {
    backends: Vec<(String, String, String)>,
    buckets: BTreeMap<String, Bucket>,
    plans: Vec<Plan>,
    jobs: Vec<Job>,
    pub(super) conducts: VecDeque<Conduct>,
    ids: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let (backends, plans, jobs) = (Vec::new(), Vec::new(), Vec::new());
        Self { backends, buckets: BTreeMap::new(), plans, jobs, conducts: VecDeque::new(), ids: 0 }
    }

    /// 24 hexadecimal digits, as the service's database gives them.
    fn id(&mut self) -> String {
        self.ids += 1;
        format!("5ed8838e21c1560001{:06x}", self.ids)
    }

    pub(super) fn add_backend(&mut self, name: &str, kind: &str) -> String {
        let id = self.id();
        self.backends.push((id.clone(), name.to_owned(), kind.to_owned()));
        id
    }

    pub(super) fn add_bucket(&mut self, name: &str, backend: &str, lengths: &[u64]) {
        let object = |(number, length): (usize, &u64)| (format!("object/{number:04}"), *length);
        let objects = lengths.iter().enumerate().map(object).collect();
        self.buckets.insert(name.to_owned(), Bucket { backend: backend.to_owned(), objects });
    }

    pub(super) fn plan_names(&self) -> Vec<String> {
        self.plans.iter().map(|plan| plan.name.clone()).collect()
    }

    pub(super) fn jobs_ever(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn look(&self, bucket: &str) -> Option<(String, usize)> {
        self.buckets.get(bucket).map(|bucket| (bucket.backend.clone(), bucket.objects.len()))
    }

    /// Answers a request of the JSON API.
    pub(super) fn answer(&mut self, asked: &Asked) -> Answer {
        let segments: Vec<&str> = asked.path.split('/').skip(1).collect();
        match (asked.method, segments.as_slice()) {
            ("GET", ["backends"]) => self.list_backends(asked),
            ("POST", ["backends"]) => self.register(asked),
            ("GET", ["plans"]) => {
                let named = asked.parameter("name");
                let fits = |plan: &&Plan| named.is_none_or(|name| plan.name == name);
                let plans = self.plans.iter().filter(fits).map(Plan::shown).collect();
                asked.page("plans", plans)
            }
            ("POST", ["plans"]) => self.make_plan(asked),
            ("GET", ["plans", id]) => match self.plans.iter().find(|plan| plan.id == *id) {
                Some(plan) => Answer::json(&json!({ "plan": plan.shown() })),
                None => Answer::text(500, "not found"),
            },
            // The service says the same for a plan that never was.
            ("DELETE", ["plans", id]) => {
                self.plans.retain(|plan| plan.id != *id);
                Answer::json(&json!({}))
            }
            ("POST", ["plans", id, "run"]) => self.run(id),
            ("GET", ["jobs"]) => asked.page("jobs", self.jobs.iter().map(Job::shown).collect()),
            ("GET", ["jobs", id]) => self.job(id),
            _ => Answer::text(404, "404: Page Not Found"),
        }
    }

    fn list_backends(&self, asked: &Asked) -> Answer {
        let named = asked.parameter("name");
        let fits = |backend: &&(String, String, String)| named.is_none_or(|name| backend.1 == name);
        let shown = |(id, name, kind): &(String, String, String)| json!({"id": id, "name": name, "type": kind});
        asked.page("backends", self.backends.iter().filter(fits).map(shown).collect())
    }

    fn register(&mut self, asked: &Asked) -> Answer {
        let Some(body) = asked.fields() else { return Answer::text(500, "EOF") };
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        const TYPES: [&str; 5] = ["aws-s3", "azure-blob", "ceph-s3", "gcp-s3", "hw-obs"];
        if !TYPES.contains(&text("type").as_str()) {
            return Answer::text(400, &format!("invalid backend type: {}", text("type")));
        }
        if text("access").is_empty() || text("security").is_empty() {
            return Answer::text(400, "Failed to register backend due to invalid credentials.");
        }
        let id = self.add_backend(&text("name"), &text("type"));
        let (name, kind) = (text("name"), text("type"));
        let (access, security) = (text("access"), text("security"));
        Answer::json(&json!({"id": id, "name": name, "type": kind, "access": access, "security": security}))
    }

    fn make_plan(&mut self, asked: &Asked) -> Answer {
        let Some(body) = asked.fields() else { return Answer::text(500, "EOF") };
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let end = |name: &str| {
            let end = lower(body.get(name).unwrap_or(&Value::Null));
            let field = |name: &str| end.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            (field("stortype"), field("bucketname"))
        };
        let (name, source, destination) = (text("name"), end("sourceconn"), end("destconn"));
        if name.is_empty() || text("type").is_empty() {
            return Answer::text(500, "Name or type is null.");
        }
        if source.0 != "opensds-obj" || destination.0 != "opensds-obj" {
            return Answer::text(500, "Invalid connector type.");
        }
        if source.1 == destination.1 {
            return Answer::text(500, "source is the same as destination");
        }
        if self.plans.iter().any(|plan| plan.name == name) {
            return Answer::text(500, &format!("duplicate name:{name}"));
        }
        let filter = lower(body.get("filter").unwrap_or(&Value::Null));
        let plan = Plan {
            id: self.id(),
            name,
            description: text("description"),
            source: source.1,
            destination: destination.1,
            prefix: filter.get("prefix").and_then(Value::as_str).unwrap_or_default().to_owned(),
            remain_source: body.get("remainsource").and_then(Value::as_bool).unwrap_or(false),
        };
        let answer = Answer::json(&json!({ "plan": plan.shown() }));
        self.plans.push(plan);
        answer
    }

    fn run(&mut self, id: &str) -> Answer {
        let Some(at) = self.plans.iter().position(|plan| plan.id == id) else { return Answer::text(500, "not found") };
        if self.jobs.iter().any(|job| job.plan_id == id && matches!(job.status, "pending" | "running")) {
            return Answer::text(500, "is scheduling");
        }
        let (job_id, conduct) = (self.id(), self.conducts.pop_front().unwrap_or(Conduct::Works));
        let plan = &self.plans[at];
        self.jobs.push(Job {
            id: job_id.clone(),
            plan_id: plan.id.clone(),
            plan_name: plan.name.clone(),
            source: plan.source.clone(),
            destination: plan.destination.clone(),
            prefix: plan.prefix.clone(),
            remain_source: plan.remain_source,
            status: "pending",
            conduct,
            passed: (0, 0),
            total: (0, 0),
        });
        Answer::json(&json!({ "jobId": job_id }))
    }

    /// Each look shows a job as it is and then lets it take a step.
    fn job(&mut self, id: &str) -> Answer {
        let Some(at) = self.jobs.iter().position(|job| job.id == id) else {
            return Answer::text(404, &format!("Job Id-{id} does not exist in system"));
        };
        let answer = Answer::json(&json!({ "job": self.jobs[at].shown() }));
        self.step(at);
        answer
    }

    fn step(&mut self, at: usize) {
        let job = &mut self.jobs[at];
        let objects = self.buckets.get(&job.source).map(|bucket| bucket.objects.clone()).unwrap_or_default();
        let wanted: Vec<(String, u64)> = objects.into_iter().filter(|(key, _)| key.starts_with(&job.prefix)).collect();
        let most = match job.conduct {
            Conduct::Works => wanted.len(),
            Conduct::Fails => 1,
            Conduct::Stuck | Conduct::CopiesNothing => 0,
        };
        match job.status {
            "pending" if wanted.is_empty() && job.conduct != Conduct::Stuck => job.status = "succeed",
            "pending" => {
                job.status = "running";
                job.total = (wanted.len() as u64, wanted.iter().map(|(_, length)| length).sum());
            }
            "running" if job.conduct != Conduct::Stuck => {
                let copied = wanted.into_iter().take(most);
                job.status = if job.conduct == Conduct::Fails { "failed" } else { "succeed" };
                for (key, length) in copied {
                    job.passed = (job.passed.0 + 1, job.passed.1 + length);
                    if let Some(bucket) = self.buckets.get_mut(&job.destination) {
                        bucket.objects.insert(key.clone(), length);
                    }
                    if let Some(bucket) = self.buckets.get_mut(&job.source).filter(|_| !job.remain_source) {
                        bucket.objects.remove(&key);
                    }
                }
            }
            _ => {}
        }
    }

    /// Answers a request of the S3 API.
    pub(super) fn answer_s3(&mut self, asked: &Asked) -> Answer {
        let name = asked.path.trim_start_matches('/');
        match asked.method {
            "GET" if name.is_empty() => {
                let shown = |(name, bucket): (&String, &Bucket)| {
                    let backend = &bucket.backend;
                    format!(
                        "<Bucket><Name>{name}</Name><CreationDate>2020-06-04T05:15:58Z</CreationDate>\
                         <LocationConstraint>{backend}</LocationConstraint></Bucket>"
                    )
                };
                let all: String = self.buckets.iter().map(shown).collect();
                let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
                let all = format!("<Owner></Owner><Buckets>{all}</Buckets>");
                Answer::xml(
                    200,
                    &format!("<ListAllMyBucketsResult xmlns=\"{namespace}\">{all}</ListAllMyBucketsResult>"),
                )
            }
            "PUT" => {
                let text = String::from_utf8_lossy(asked.body);
                let constraint = text.split_once("<LocationConstraint>").and_then(|(_, rest)| rest.split_once('<'));
                let backend = constraint.map(|(backend, _)| backend.to_owned()).unwrap_or_default();
                if !self.backends.iter().any(|known| known.1 == backend) {
                    return refusal(500, "GetBackendFailed", "Backend is not exist.");
                }
                self.buckets.entry(name.to_owned()).or_insert(Bucket { backend, objects: BTreeMap::new() });
                Answer::text(200, "")
            }
            "DELETE" => match self.buckets.get(name) {
                Some(bucket) if !bucket.objects.is_empty() => {
                    refusal(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")
                }
                _ => {
                    self.buckets.remove(name);
                    Answer::text(204, "")
                }
            },
            "GET" => match self.buckets.get(name) {
                Some(bucket) => bucket.page(asked),
                None => refusal(404, "NoSuchBucket", "The specified bucket does not exist"),
            },
            _ => refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource."),
        }
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::xml(status, &format!("<Error><Code>{code}</Code><Message>{message}</Message><Resource/></Error>"))
}

impl Bucket {
    fn page(&self, asked: &Asked) -> Answer {
        let prefix = asked.parameter("prefix").unwrap_or_default();
        let after = asked.parameter("continuation-token").unwrap_or_default();
        let left: Vec<(&String, &u64)> =
            self.objects.iter().filter(|(key, _)| key.as_str() > after && key.starts_with(prefix)).collect();
        let entry =
            |(key, length): &(&String, &u64)| format!("<Contents><Key>{key}</Key><Size>{length}</Size></Contents>");
        let shown: String = left.iter().take(PAGE).map(entry).collect();
        let more = match left.get(PAGE - 1).filter(|_| left.len() > PAGE) {
            Some((last, _)) => {
                format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>")
            }
            None => "<IsTruncated>false</IsTruncated>".to_owned(),
        };
        Answer::xml(200, &format!("<ListBucketResult>{more}{shown}</ListBucketResult>"))
    }
}

impl Plan {
    fn shown(&self) -> Value {
        let end = |bucket: &str| json!({"storType": "opensds-obj", "bucketName": bucket});
        let mut filter = Map::new();
        if !self.prefix.is_empty() {
            filter.insert("prefix".to_owned(), json!(self.prefix));
        }
        let mut plan = json!({
            "id": self.id, "name": self.name, "description": self.description, "type": "migration",
            "sourceConn": end(&self.source), "destConn": end(&self.destination), "filter": filter,
        });
        if self.remain_source {
            plan["remainSource"] = json!(true);
        }
        plan
    }
}

impl Job {
    /// What is zero is left out, as the service does.
    fn shown(&self) -> Value {
        let ended = matches!(self.status, "succeed" | "failed");
        let mut job = json!({
            "id": self.id, "type": "migration", "planName": self.plan_name, "planId": self.plan_id,
            "sourceLocation": self.source, "destLocation": self.destination, "status": self.status,
            "createTime": 1_591_247_758, "endTime": if ended { 1_591_247_790 } else { NO_TIME },
        });
        let progress = (self.passed.0 * 100).checked_div(self.total.0).unwrap_or(0);
        let measures = [
            ("totalCount", self.total.0),
            ("totalCapacity", self.total.1),
            ("passedCount", self.passed.0),
            ("passedCapacity", self.passed.1),
            ("progress", progress),
        ];
        for (name, value) in measures.into_iter().filter(|(_, value)| *value > 0) {
            job[name] = json!(value);
        }
        job
    }
}

impl Asked<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body's members under lower-case names: the service takes them in any case.
    fn fields(&self) -> Option<Map<String, Value>> {
        let body: Value = serde_json::from_slice(self.body).ok()?;
        body.is_object().then(|| lower(&body))
    }

    fn page(&self, member: &str, all: Vec<Value>) -> Answer {
        let number = |name: &str, usual: usize| self.parameter(name).and_then(|n| n.parse().ok()).unwrap_or(usual);
        let (limit, offset) = (number("limit", 1_000), number("offset", 0));
        let page: Vec<Value> = all.into_iter().skip(offset).take(limit).collect();
        let next = offset + page.len();
        match page.is_empty() {
            // An empty list is left out.
            true => Answer::json(&json!({ "next": next })),
            false => Answer::json(&json!({ member: page, "next": next })),
        }
    }
}

fn lower(value: &Value) -> Map<String, Value> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
}
