//! A GitHub that is no more than what we ask of it: pages of two, ETags, limits, answers that do not get through, and webhooks
//! that somebody else may lose. It has a clock of its own.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use github::{Client, Connection, Patience, RepositoryName, Secret};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

pub const REPOSITORY: &str = "octo/shop";
const PAGE: usize = 2;

/// A webhook's delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: String,
    pub event: &'static str,
    pub body: Value,
}

#[derive(Debug, Clone)]
struct Issue {
    title: String,
    state: &'static str,
    reason: Option<&'static str>,
    labels: BTreeSet<String>,
    assignee: Option<String>,
    updated: i64,
    /// It is a pull request.
    pull: Option<Pull>,
}

#[derive(Debug, Clone)]
struct Pull {
    branch: String,
    sha: String,
    files: BTreeSet<String>,
    merged_at: Option<i64>,
}

#[derive(Debug, Clone)]
struct Branch {
    sha: String,
    files: BTreeSet<String>,
}

#[derive(Default)]
pub struct Contents {
    /// In milliseconds.
    now: i64,
    pushed: i64,
    issues: BTreeMap<u64, Issue>,
    branches: BTreeMap<String, Branch>,
    pub comments: BTreeMap<u64, (u64, String)>,
    /// Runs of workflows, oldest first.
    workflows: Vec<Value>,
    deliveries: Vec<Delivery>,
    made: u64,
    pub requests: Vec<String>,
    /// How many requests are answered until the limit is reached; no limit when absent.
    pub budget: Option<u32>,
    /// Some requests do not get through.
    pub is_shaky: bool,
}

#[derive(Clone)]
pub struct Fake {
    contents: Arc<Mutex<Contents>>,
    pub address: String,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let contents = Contents { now: 1_767_225_600_000, ..Contents::default() };
        let fake = Self { contents: Arc::new(Mutex::new(contents)), address };
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        fake
    }

    pub fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }

    pub fn client(&self) -> Client {
        let patience =
            Patience { retries: 6, first_pause: Duration::from_millis(1), longest_wait: Duration::from_millis(50) };
        let repository = RepositoryName::parse(REPOSITORY).unwrap();
        let connection = Connection { api_url: self.address.clone(), repository, token: Secret::new("t") };
        Client::new(&connection, patience).unwrap()
    }
}

impl Contents {
    pub fn pass(&mut self, milliseconds: i64) {
        self.now += milliseconds;
    }

    /// The webhooks since the last time.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    pub fn open_issue(&mut self, number: u64, title: &str) {
        self.issues.insert(
            number,
            Issue {
                title: title.into(),
                state: "open",
                reason: None,
                labels: BTreeSet::new(),
                assignee: None,
                updated: 0,
                pull: None,
            },
        );
        self.changed(number, "opened");
    }

    pub fn label(&mut self, number: u64, label: &str) {
        if self.issues.get_mut(&number).is_some_and(|issue| issue.labels.insert(label.into())) {
            self.changed(number, "labeled");
        }
    }

    pub fn unlabel(&mut self, number: u64, label: &str) {
        if self.issues.get_mut(&number).is_some_and(|issue| issue.labels.remove(label)) {
            self.changed(number, "unlabeled");
        }
    }

    pub fn has(&self, number: u64) -> bool {
        self.issues.contains_key(&number)
    }

    /// The locks that its labels and branches stand for, as `agent key`.
    pub fn wanted(&self) -> BTreeSet<String> {
        let mut wanted = BTreeSet::new();
        for issue in self.issues.values().filter(|issue| issue.state == "open" && issue.pull.is_none()) {
            let by_label = issue.labels.iter().find_map(|label| label.strip_prefix("agent:"));
            let Some(agent) = by_label.or(issue.assignee.as_deref()) else { continue };
            let keys = issue.labels.iter().filter_map(|label| label.strip_prefix("locked:"));
            wanted.extend(keys.map(|key| format!("{agent} {key}")));
        }
        for (name, branch) in &self.branches {
            let Some((agent, _)) = name.strip_prefix("agent/").and_then(|rest| rest.split_once('/')) else { continue };
            let merged = self
                .issues
                .values()
                .filter_map(|issue| issue.pull.as_ref())
                .find(|pull| pull.merged_at.is_some() && pull.branch == *name && pull.sha == branch.sha);
            if merged.is_none() {
                wanted.extend(branch.files.iter().map(|file| format!("{agent} {file}")));
            }
        }
        wanted
    }

    pub fn labels(&self, number: u64) -> Vec<String> {
        self.issues[&number].labels.iter().cloned().collect()
    }

    pub fn assign(&mut self, number: u64, login: Option<&str>) {
        if let Some(issue) = self.issues.get_mut(&number) {
            issue.assignee = login.map(str::to_owned);
            self.changed(number, "assigned");
        }
    }

    pub fn close(&mut self, number: u64, reason: &'static str) {
        if let Some(issue) = self.issues.get_mut(&number).filter(|issue| issue.state == "open") {
            (issue.state, issue.reason) = ("closed", Some(reason));
            self.changed(number, "closed");
        }
    }

    fn has_open_pull(&self, branch: &str) -> bool {
        let is_of = |issue: &Issue| issue.pull.as_ref().is_some_and(|pull| pull.branch == branch);
        self.issues.values().any(|issue| issue.state == "open" && is_of(issue))
    }

    pub fn reopen(&mut self, number: u64) {
        let pull = self.issues.get(&number).and_then(|issue| issue.pull.clone());
        if pull.is_some_and(|pull| self.has_open_pull(&pull.branch)) {
            return;
        }
        let is_closed = |issue: &&mut Issue| {
            issue.state == "closed" && issue.pull.as_ref().is_none_or(|pull| pull.merged_at.is_none())
        };
        if let Some(issue) = self.issues.get_mut(&number).filter(is_closed) {
            (issue.state, issue.reason) = ("open", Some("reopened"));
            self.changed(number, "reopened");
        }
    }

    pub fn push(&mut self, branch: &str, files: &[&str]) {
        self.made += 1;
        let sha = format!("{:040x}", self.made);
        let files: BTreeSet<String> = files.iter().map(|file| (*file).to_owned()).collect();
        let known = self.branches.entry(branch.into()).or_insert(Branch { sha: sha.clone(), files: BTreeSet::new() });
        known.sha.clone_from(&sha);
        known.files.extend(files.clone());
        let all = known.files.clone();
        self.pushed = self.now;
        let body = json!({
            "ref": format!("refs/heads/{branch}"), "after": sha, "deleted": false,
            "commits": [{"id": sha, "added": files, "modified": [], "removed": []}], "repository": self.repository(Value::Null),
            "sender": {"login": "zoe"},
        });
        self.tell("push", body);
        let pulls: Vec<u64> = self.issues.iter().filter(|(_, issue)| issue.state == "open").map(|(n, _)| *n).collect();
        for number in pulls {
            let Some(Issue { pull: Some(pull), .. }) = self.issues.get_mut(&number) else { continue };
            if pull.branch == branch {
                (pull.sha, pull.files) = (sha.clone(), all.clone());
                self.changed(number, "synchronize");
            }
        }
    }

    /// Somebody merges it and pushes that, without a pull request.
    pub fn land(&mut self, branch: &str) {
        let Some(landed) = self.branches.get_mut(branch) else { return };
        landed.files.clear();
        let landed = landed.sha.clone();
        self.made += 1;
        let sha = format!("{:040x}", self.made);
        self.branches.insert("main".into(), Branch { sha: sha.clone(), files: BTreeSet::new() });
        self.pushed = self.now;
        let repository = self.repository(Value::Null);
        let commits = json!([{"id": landed}, {"id": sha}]);
        self.tell(
            "push",
            json!({"ref": "refs/heads/main", "after": sha, "commits": commits, "repository": repository, "sender": {"login": "zoe"}}),
        );
    }

    pub fn delete(&mut self, branch: &str) {
        if self.branches.remove(branch).is_none() {
            return;
        }
        self.pushed = self.now;
        let repository = self.repository(Value::Null);
        let zero = "0".repeat(40);
        let name = format!("refs/heads/{branch}");
        self.tell(
            "push",
            json!({"ref": name, "after": zero, "deleted": true, "commits": [], "repository": repository}),
        );
        let pushed_at = self.instant(self.pushed).into();
        let repository = self.repository(pushed_at);
        self.tell("delete", json!({"ref": branch, "ref_type": "branch", "repository": repository}));
    }

    pub fn open_pull(&mut self, number: u64, branch: &str) {
        let Some(Branch { sha, files }) = self.branches.get(branch).cloned() else { return };
        if self.has_open_pull(branch) {
            return;
        }
        self.open_issue_as(number, Pull { branch: branch.into(), sha, files, merged_at: None });
    }

    fn open_issue_as(&mut self, number: u64, pull: Pull) {
        self.issues.insert(
            number,
            Issue {
                title: format!("Pull {number}"),
                state: "open",
                reason: None,
                labels: BTreeSet::new(),
                assignee: None,
                updated: 0,
                pull: Some(pull),
            },
        );
        self.changed(number, "opened");
    }

    /// With a commit: nothing on the branch is new to the target.
    pub fn merge(&mut self, number: u64) {
        let pull = self.issues.get(&number).and_then(|issue| issue.pull.as_ref());
        let is_open = self.issues.get(&number).is_some_and(|issue| issue.state == "open");
        if let Some(branch) = pull.filter(|_| is_open).and_then(|pull| self.branches.get_mut(&pull.branch)) {
            branch.files.clear();
        }
        self.squash(number);
    }

    /// Squashed: the branch stays and looks as if it had something to merge.
    pub fn squash(&mut self, number: u64) {
        let now = self.now;
        let is_open_pull = |issue: &&mut Issue| issue.state == "open" && issue.pull.is_some();
        let Some(issue) = self.issues.get_mut(&number).filter(is_open_pull) else { return };
        let Some(pull) = &mut issue.pull else { return };
        pull.merged_at = Some(now);
        issue.state = "closed";
        self.changed(number, "closed");
    }

    /// Somebody dispatches a workflow: the first is run 1.
    pub fn start_workflow(&mut self, file: &str, branch: &str, sha: &str) {
        let id = self.workflows.len() + 1;
        self.workflows.push(json!({
            "id": id, "status": "in_progress", "conclusion": null, "event": "workflow_dispatch", "head_branch": branch,
            "head_sha": sha, "path": format!(".github/workflows/{file}"),
            "html_url": format!("https://github.example/runs/{id}"), "created_at": self.instant(self.now),
        }));
        self.tell_workflow(id, "in_progress");
    }

    pub fn end_workflow(&mut self, id: usize, conclusion: &str) {
        let run = &mut self.workflows[id - 1];
        (run["status"], run["conclusion"]) = ("completed".into(), conclusion.into());
        self.tell_workflow(id, "completed");
    }

    fn tell_workflow(&mut self, id: usize, action: &str) {
        let repository = self.repository(Value::Null);
        let run = self.workflows[id - 1].clone();
        self.tell("workflow_run", json!({"action": action, "workflow_run": run, "repository": repository}));
    }

    fn changed(&mut self, number: u64, action: &str) {
        let now = self.now;
        let Some(issue) = self.issues.get_mut(&number) else { return };
        issue.updated = now;
        let is_pull = issue.pull.is_some();
        let (shown, pull) = (self.issue(number), self.pull(number));
        let repository = self.repository(Value::Null);
        match is_pull {
            false => self.tell("issues", json!({"action": action, "issue": shown, "repository": repository})),
            true => {
                self.tell("pull_request", json!({"action": action, "pull_request": pull, "repository": repository}))
            }
        }
    }

    fn tell(&mut self, event: &'static str, body: Value) {
        // A UUID of version 1 has the time in it, in tenths of a microsecond since 1582.
        self.made += 1;
        let ticks = u64::try_from(self.now * 10_000 + 0x01B2_1DD2_1381_4000).unwrap() + self.made % 10_000;
        let (low, middle, high) = (ticks as u32, (ticks >> 32) as u16, (ticks >> 48) as u16 & 0x0fff | 0x1000);
        let id = Uuid::from_fields(low, middle, high, &[0x80, 0, 0, 0, 0, 0, 0, 1]).to_string();
        self.deliveries.push(Delivery { id, event, body });
    }

    fn repository(&self, pushed_at: Value) -> Value {
        let pushed_at = if pushed_at.is_null() { (self.pushed / 1000).into() } else { pushed_at };
        json!({"full_name": REPOSITORY, "pushed_at": pushed_at, "default_branch": "main"})
    }

    fn instant(&self, milliseconds: i64) -> String {
        Timestamp::from_second(milliseconds / 1000).unwrap().to_string()
    }

    fn issue(&self, number: u64) -> Value {
        let issue = &self.issues[&number];
        let mut shown = json!({
            "number": number, "title": issue.title, "body": "what to do", "state": issue.state,
            "state_reason": issue.reason, "updated_at": self.instant(issue.updated),
            "labels": issue.labels.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "assignees": issue.assignee.iter().map(|login| json!({"login": login})).collect::<Vec<_>>(),
            "html_url": format!("https://github.example/{REPOSITORY}/issues/{number}"),
        });
        if issue.pull.is_some() {
            shown["pull_request"] = json!({});
        }
        shown
    }

    fn pull(&self, number: u64) -> Value {
        let issue = &self.issues[&number];
        let Some(pull) = &issue.pull else { return Value::Null };
        json!({
            "number": number, "title": issue.title, "state": issue.state, "updated_at": self.instant(issue.updated),
            "merged_at": pull.merged_at.map(|at| self.instant(at)), "merge_commit_sha": "c0ffee", "user": {"login": "zoe"},
            "labels": issue.labels.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "html_url": format!("https://github.example/{REPOSITORY}/pull/{number}"),
            "head": {"ref": pull.branch, "sha": pull.sha, "repo": {"full_name": REPOSITORY}},
            "base": {"ref": "main", "sha": "0", "repo": {"full_name": REPOSITORY}},
        })
    }

    fn list(&self, query: &HashMap<String, String>) -> Vec<Value> {
        let since = query.get("since").map(|since| since.parse::<Timestamp>().unwrap().as_second());
        let is_wanted = |issue: &Issue| {
            (query["state"] == "all" || issue.state == "open")
                && since.is_none_or(|since| issue.updated / 1000 >= since)
        };
        let mut numbers: Vec<u64> = self.issues.iter().filter(|(_, i)| is_wanted(i)).map(|(n, _)| *n).collect();
        numbers.sort_by_key(|number| self.issues[number].updated);
        numbers.into_iter().map(|number| self.issue(number)).collect()
    }

    /// How many it takes to see that no issue has changed: one, which has a tag, unless what changed in the last second is more
    /// than a page, which has none. Then that is read again, with its pull requests.
    pub fn requests_for_the_last_second(&self) -> usize {
        let last = self.issues.values().map(|issue| issue.updated / 1000).max();
        let changed: Vec<&Issue> = self.issues.values().filter(|issue| Some(issue.updated / 1000) == last).collect();
        match changed.len() {
            0..=PAGE => 1,
            more => more.div_ceil(PAGE) + changed.iter().filter(|issue| issue.pull.is_some()).count(),
        }
    }

    fn files(files: &BTreeSet<String>) -> Value {
        files.iter().map(|file| json!({"filename": file})).collect()
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let query: HashMap<String, String> =
        form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let mut contents = fake.contents();
    let date = Timestamp::from_second(contents.now / 1000).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    contents.requests.push(format!("{} {}", head.method, head.uri));
    let count = contents.requests.len();
    let limited = |headers: [(&'static str, String); 3]| {
        let body = axum::Json(json!({"message": "API rate limit exceeded"}));
        (StatusCode::FORBIDDEN, headers, body).into_response()
    };
    if contents.is_shaky && count % 5 == 2 && head.method == Method::GET {
        return (StatusCode::BAD_GATEWAY, [("date", date)], "bad gateway").into_response();
    }
    if contents.is_shaky && count % 7 == 3 {
        return limited([("date", date), ("retry-after", "0".into()), ("x-ratelimit-remaining", "1".into())]);
    }
    if let Some(budget) = &mut contents.budget {
        if *budget == 0 {
            let reset = (contents.now / 1000 + 3600).to_string();
            return limited([("date", date), ("x-ratelimit-reset", reset), ("x-ratelimit-remaining", "0".into())]);
        }
        *budget -= 1;
    }
    let path = head.uri.path().strip_prefix("/repos/octo/shop").unwrap_or("?").to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = parts.get(1).and_then(|part| part.parse::<u64>().ok());
    let found = match (&head.method, parts.as_slice()) {
        (&Method::GET, [""]) => json!({"default_branch": "main"}),
        (&Method::GET, ["issues"]) => contents.list(&query).into(),
        (&Method::GET, ["issues", _, "comments"]) => contents
            .comments
            .iter()
            .filter(|(_, (on, _))| Some(*on) == number)
            .map(|(id, (_, text))| json!({"id": id, "body": text}))
            .collect(),
        (&Method::POST, ["issues", _, "comments"]) => {
            contents.made += 1;
            let (id, text) = (contents.made, body["body"].as_str().unwrap().to_owned());
            contents.comments.insert(id, (number.unwrap(), text));
            return (StatusCode::CREATED, [("date", date)], axum::Json(json!({"id": id}))).into_response();
        }
        (&Method::PATCH, ["issues", "comments", id]) => {
            let id = id.parse().unwrap();
            match contents.comments.get_mut(&id) {
                Some((_, text)) => *text = body["body"].as_str().unwrap().to_owned(),
                None => return StatusCode::NOT_FOUND.into_response(),
            }
            json!({"id": id})
        }
        (&Method::POST, ["issues", _, "labels"]) => {
            contents.label(number.unwrap(), body["labels"][0].as_str().unwrap());
            json!([])
        }
        (&Method::DELETE, ["issues", _, "labels", label]) => {
            contents.unlabel(number.unwrap(), &label.replace("%3A", ":"));
            json!([])
        }
        (&Method::GET, ["pulls", _]) => contents.pull(number.unwrap()),
        (&Method::GET, ["pulls", _, "files"]) => match &contents.issues[&number.unwrap()].pull {
            Some(pull) => Contents::files(&pull.files),
            None => return StatusCode::NOT_FOUND.into_response(),
        },
        (&Method::GET, ["git", "matching-refs", ..]) => contents
            .branches
            .iter()
            .map(|(name, branch)| json!({"ref": format!("refs/heads/{name}"), "object": {"sha": branch.sha}}))
            .collect(),
        (&Method::GET, ["compare", ends]) => {
            let sha = ends.split("...").nth(1).unwrap_or_default();
            match contents.branches.values().find(|branch| branch.sha == sha) {
                Some(branch) => json!({"ahead_by": 1, "files": Contents::files(&branch.files)}),
                None => return StatusCode::NOT_FOUND.into_response(),
            }
        }
        // All of them, whatever was asked for.
        (&Method::GET, ["actions", "workflows", _, "runs"]) => {
            json!({"workflow_runs": contents.workflows.iter().rev().collect::<Vec<_>>()})
        }
        _ => return (StatusCode::NOT_FOUND, path).into_response(),
    };
    paged(&fake.address, &head.uri.to_string(), &query, found, head.headers.get("if-none-match"), date)
}

/// A page of a list, with the way to the next one and a tag; or that it has not changed.
fn paged(
    address: &str,
    uri: &str,
    query: &HashMap<String, String>,
    found: Value,
    etag: Option<&axum::http::HeaderValue>,
    date: String,
) -> Response {
    let at: usize = query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1);
    let (body, more) = match found {
        Value::Array(items) => {
            let more = items.len() > at * PAGE;
            (items.into_iter().skip((at - 1) * PAGE).take(PAGE).collect(), more)
        }
        one => (one, false),
    };
    let body = body.to_string();
    let mut hasher = DefaultHasher::new();
    (&body, more).hash(&mut hasher);
    let tag = format!("\"{:x}\"", hasher.finish());
    let mut response = Response::builder().header("date", date).header("etag", &tag);
    if etag.is_some_and(|etag| etag.as_bytes() == tag.as_bytes()) {
        return response.status(StatusCode::NOT_MODIFIED).body(Body::empty()).unwrap();
    }
    if more {
        let bare = uri.split("&page=").next().unwrap();
        response = response.header("link", format!("<{address}{bare}&page={}>; rel=\"next\"", at + 1));
    }
    response.body(Body::from(body)).unwrap()
}
