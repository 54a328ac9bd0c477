//! A running server, and short ways to ask it something.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator::settings::Settings;
use coordinator::{Coordinator, operation};
use jiff::Timestamp;
use model::audit::{AuditEntry, AuditFilter};
use model::handoffs::HandoffFilter;
use model::id::{AgentId, Caller, Project};
use model::work::TaskFilter;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value, json};
use store::memory::MemoryStore;
use store::{Clock, Store};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::routes::{all, fits};

/// A key that is bound to nobody.
pub const FREE: &str = "free-key";
/// A key bound to the agent `alice` of type `claude_code_cli`.
pub const ALICE: &str = "alice-key";
/// Bound to a person, who may change the rules.
pub const BOSS: &str = "boss-key";
/// More trust than agents have by default.
const ELEVATED: u8 = 3;
/// A key that opens only the project `house`.
pub const HOUSE: &str = "house-key";

/// A server of its own for one test: real router, real listener, a database that nobody else uses.
pub struct Server {
    pub coordinator: Arc<Coordinator>,
    pub address: SocketAddr,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    pub serving: JoinHandle<std::io::Result<()>>,
    _home: TempDir,
}

impl Server {
    /// On a fresh SQLite file.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// On a fresh SQLite file, with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let (home, mut settings) = settings();
        change(&mut settings);
        let store = settings.database.open().await.unwrap();
        Self::launch(home, settings, store).await
    }

    /// Another server on the same database, which this one hears nothing of.
    pub async fn elsewhere(&self) -> Self {
        let settings = self.coordinator.settings().clone();
        let store = settings.database.open().await.unwrap();
        Self::launch(tempfile::tempdir().unwrap(), settings, store).await
    }

    /// On the reference store.
    pub async fn in_memory() -> Self {
        Self::on(Arc::new(MemoryStore::new(Clock::system()))).await
    }

    /// On this store.
    pub async fn on(store: Arc<dyn Store>) -> Self {
        Self::on_with(store, |_| {}).await
    }

    /// On this store, with other settings.
    pub async fn on_with(store: Arc<dyn Store>, change: impl FnOnce(&mut Settings)) -> Self {
        let (home, mut settings) = settings();
        change(&mut settings);
        Self::launch(home, settings, store).await
    }

    async fn launch(home: TempDir, settings: Settings, store: Arc<dyn Store>) -> Self {
        let coordinator = Arc::new(Coordinator::new(store, settings));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = http_api::serve(coordinator.clone(), listener, async {
            // A dropped sender stops the server too.
            let _ = stopped.await;
        });
        let client = Client::builder().no_proxy().build().unwrap();
        Self { coordinator, address, client, stop: Some(stop), serving: tokio::spawn(serving), _home: home }
    }

    /// Asks the server to stop.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    pub fn post(&self, path: &str, body: Value) -> Call {
        self.call(Method::POST, path).body("application/json", body.to_string())
    }

    /// A request with the unbound key, or with a person's where only an admin may do it.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let is_admins = is_admins(&method, path);
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        Call { request, key: Some(if is_admins { BOSS } else { FREE }.into()) }
    }

    /// Sends these bytes as they are, and reads until the server closes the connection.
    pub async fn raw(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer, and close, before it has read it all.
        let _ = stream.write_all(request.as_ref()).await;
        let mut answer = vec![];
        let _ = stream.read_to_end(&mut answer).await;
        Answer::parse(&answer)
    }

    /// A GET of this target as it is, which a client's URL parser would tidy up first.
    pub async fn raw_get(&self, target: &str) -> Answer {
        let head = "Host: localhost\r\nConnection: close";
        self.raw(format!("GET {target} HTTP/1.1\r\n{head}\r\nX-API-Key: {FREE}\r\n\r\n")).await
    }

    /// Everything there is in the default project.
    pub async fn state(&self) -> State {
        let (store, project) = (self.coordinator.store(), &project("default"));
        let every_task = TaskFilter { limit: 10_000, ..TaskFilter::default() };
        let records = (
            store.locks(project, None).await.unwrap(),
            store.waiters(project).await.unwrap(),
            store.tasks(project, &every_task).await.unwrap(),
            store.sessions(project, true).await.unwrap().0,
            store.sessions(project, false).await.unwrap().0,
            store.handoffs(project, &HandoffFilter { limit: 10_000, ..HandoffFilter::default() }).await.unwrap(),
            store.port_blocks().await.unwrap().0,
        );
        State { records: format!("{records:#?}"), audit_rows: self.trail("default").await.len() }
    }

    /// The project's audit trail, newest first.
    pub async fn trail(&self, name: &str) -> Vec<AuditEntry> {
        let every_row = AuditFilter { limit: 100_000, ..AuditFilter::default() };
        self.coordinator.store().audit(&project(name), &every_row).await.unwrap()
    }

    /// Who holds what in the default project: `agent key`.
    pub async fn held(&self) -> Vec<String> {
        let locks = self.coordinator.store().locks(&project("default"), None).await.unwrap();
        locks.iter().map(|l| format!("{} {}", l.agent_id, l.key)).collect()
    }

    /// Returns when so many wait for a lock.
    pub async fn until_waiting(&self, count: usize) {
        let patience = Instant::now() + Duration::from_secs(10);
        while self.coordinator.store().waiters(&project("default")).await.unwrap().len() != count {
            assert!(Instant::now() < patience, "there never were {count} waiters");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Takes a lock that must be free.
    pub async fn lock(&self, agent: &str, path: &str) -> Value {
        let answer =
            self.post("/locks/acquire", json!({"file_path": path, "agent_id": agent, "agent_type": "t"})).await;
        answer.ok()["success"].as_bool().filter(|success| *success).expect("the lock is granted");
        answer.body
    }

    /// Submits a task, and tells its id.
    pub async fn submit(&self, fields: Value) -> String {
        let body = with(json!({"task_type": "test", "task_description": "a task"}), fields);
        self.post("/work/submit", body).await.ok()["task_id"].as_str().expect("an id").to_owned()
    }

    /// Claims the next task.
    pub async fn claim(&self, agent: &str) -> Value {
        self.post("/work/claim", json!({"agent_id": agent, "agent_type": "t"})).await.body
    }
}

/// What there is, to be compared with what there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub records: String,
    pub audit_rows: usize,
}

fn settings() -> (TempDir, Settings) {
    let home = tempfile::tempdir().unwrap();
    let database = home.path().join("coordinator.db").display().to_string();
    let identities = json!({
        ALICE: {"agent_id": "alice", "agent_type": "claude_code_cli"},
        BOSS: {"agent_id": "boss", "agent_type": "human"},
        HOUSE: {"project": "house"},
    });
    let variables = BTreeMap::from([
        ("COORDINATOR_DB", database),
        ("COORDINATION_API_KEYS", [FREE, ALICE, BOSS, HOUSE].join(",")),
        ("COORDINATION_API_KEY_IDENTITIES", identities.to_string()),
        ("COORDINATOR_PROJECT", "default".into()),
    ]);
    let settings = Settings::load(|name| variables.get(name).cloned(), home.path()).unwrap();
    (home, settings)
}

/// Is it an operation that only an admin may do?
fn is_admins(method: &Method, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    all().any(|(entry, route)| {
        let is_its = *method
            == match route.method {
                operation::Method::Get => Method::GET,
                operation::Method::Post => Method::POST,
                operation::Method::Delete => Method::DELETE,
            };
        entry.action.level.level() >= ELEVATED && is_its && fits(route.path, path)
    })
}

pub fn project(name: &str) -> Project {
    Project::new(name).unwrap()
}

/// A person at a terminal.
pub fn admin() -> Caller {
    Caller { agent_id: AgentId::new("admin").unwrap(), agent_type: "person".into(), session_id: None }
}

/// A request, sent when awaited.
pub struct Call {
    request: RequestBuilder,
    key: Option<String>,
}

impl Call {
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub fn without_key(mut self) -> Self {
        self.key = None;
        self
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    pub fn project(self, name: &str) -> Self {
        self.header("X-Coordinator-Project", name)
    }

    pub fn body(mut self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.header("Content-Type", content_type).body(body);
        self
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = match self.key {
                Some(key) => self.request.header("X-API-Key", key),
                None => self.request,
            };
            let response = request.send().await.expect("an answer, whatever was sent");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let text = response.text().await.expect("a whole answer");
            Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
        })
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// As text when it is not JSON.
    pub body: Value,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let status =
            text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no answer: {text:?}"));
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.into()));
        Self { status, headers: HeaderMap::new(), body }
    }

    /// The body of a good answer.
    pub fn ok(&self) -> &Value {
        assert_eq!(self.status, 200, "{}", self.body);
        &self.body
    }

    /// Demands a problem: this status, this code, and a body as the contract has it.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Value {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.body["success"], false);
        assert_eq!(self.body["status"], status);
        assert!(self.body["message"].as_str().is_some_and(|m| !m.is_empty()), "no sentence: {}", self.body);
        self.body.as_object().map(|_| &self.body).expect("a JSON object")
    }

    /// The fields that a problem names, sorted.
    pub fn wrong_fields(&self) -> Vec<String> {
        let fields = self.body["fields"].as_array().into_iter().flatten();
        let mut names: Vec<String> = fields.filter_map(|f| f["field"].as_str().map(str::to_owned)).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// The first object with the fields of the second.
pub fn with(base: Value, more: Value) -> Value {
    let (Value::Object(mut base), Value::Object(more)) = (base, more) else { panic!("two objects") };
    base.extend(more);
    Value::Object(base)
}

/// The names of an object's fields, sorted.
pub fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Demands that the object has these fields with these values, whatever else it has.
#[track_caller]
pub fn has(actual: &Value, expected: Value) {
    for (field, value) in expected.as_object().cloned().unwrap_or_else(Map::new) {
        assert_eq!(actual.get(&field), Some(&value), "{field} of {actual:#}");
    }
}

/// Reads an instant, which must be RFC 3339 in UTC.
#[track_caller]
pub fn instant(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no instant"));
    assert!(text.ends_with('Z') && text.contains('T'), "{text} is not in UTC");
    text.parse().expect("RFC 3339")
}

/// How many minutes from now until then.
#[track_caller]
pub fn minutes_until(value: &Value) -> i64 {
    ((instant(value).as_second() - Timestamp::now().as_second()) + 30) / 60
}
