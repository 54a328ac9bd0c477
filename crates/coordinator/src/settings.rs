//! How the coordinator is set up. Flags win over the environment, the environment over `coordinator.toml`.

mod github;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::id::{AgentId, Project, SessionId};
use model::locks::TTL_MINUTES;
use model::ports::{BLOCK_SIZE, LAST_FIRST_PORT, PortPlan};
use policy::Trust;
use store::postgres::{PoolSize, PostgresStore, PostgrestAddress};
use store::sqlite::SqliteStore;
use store::{Clock, Store, StoreError};
use verification::Policies;

pub use self::github::GithubSettings;
use crate::identity::Principal;
use crate::registry::ToolSet;
use crate::repository::Repository;
use crate::rules::Compiler;
use crate::scopes;

/// Every setting: its name in the environment. In `coordinator.toml` it has the same name in lower case.
const NAMES: &[&str] = &[
    "AGENT_COORDINATOR_REST_PORT",
    "AGENT_ID",
    "AGENT_TYPE",
    "API_HOST",
    "API_PORT",
    "AUDIT_RETENTION_DAYS",
    "AUDIT_SIGNING_KEY",
    "CEDAR_SCHEMA_PATH",
    "COORDINATION_ALLOWED_HOSTS",
    "COORDINATION_API_KEY",
    "COORDINATION_API_KEYS",
    "COORDINATION_API_KEY_IDENTITIES",
    "COORDINATION_API_URL",
    "COORDINATOR_DB",
    "COORDINATOR_KEY_FOR_READS",
    "COORDINATOR_PROJECT",
    "COORDINATOR_STRICT",
    "COORDINATOR_TOOLS",
    "DB_BACKEND",
    "GITHUB_API_URL",
    "GITHUB_MERGE_LABEL",
    "GITHUB_REPO",
    "GITHUB_TOKEN",
    "GITHUB_WEBHOOK_SECRET",
    "HOOK_LEASE_MINUTES",
    "LOCK_TTL_MINUTES",
    "MERGE_TARGET",
    "NETWORK_DEFAULT_POLICY",
    "POLICY_ENGINE",
    "POLICY_FILES",
    "PORT_ALLOC_BASE",
    "PORT_ALLOC_MAX_SESSIONS",
    "PORT_ALLOC_RANGE",
    "PORT_ALLOC_TTL_MINUTES",
    "POSTGRES_DSN",
    "POSTGRES_POOL_MAX",
    "POSTGRES_POOL_MIN",
    "PROFILES_DEFAULT_TRUST",
    "PROFILES_ENFORCE_LIMITS",
    "RADAR_INTERVAL_SECONDS",
    "SESSION_ID",
    "SESSION_TTL_SECONDS",
    "SUPABASE_REST_PREFIX",
    "SUPABASE_SERVICE_KEY",
    "SUPABASE_URL",
    "TASK_LEASE_SECONDS",
];

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the state is kept.
    pub database: Database,
    /// The project of whoever names none.
    pub project: Project,
    /// `COORDINATOR_PROJECT`, where it is set.
    pub named_project: Option<Project>,
    /// `AGENT_ID`: who a local process speaks for.
    pub agent_id: Option<AgentId>,
    /// `AGENT_TYPE`.
    pub agent_type: Option<String>,
    /// `SESSION_ID`.
    pub session_id: Option<SessionId>,
    /// The work tree we are in.
    pub worktree: Option<PathBuf>,
    /// `LOCK_TTL_MINUTES`: a lock's life when a tool call names none.
    pub lock_ttl_minutes: u32,
    /// `SESSION_TTL_SECONDS`: the silence after which a session is disconnected.
    pub session_ttl_seconds: u32,
    /// `TASK_LEASE_SECONDS`: how long a claim lasts without a heartbeat.
    pub task_lease_seconds: u32,
    /// `PORT_ALLOC_...`: which blocks of ports there are.
    pub ports: PortPlan,
    /// `API_HOST`: where the server listens.
    pub api_host: String,
    /// `API_PORT`.
    pub api_port: u16,
    /// `COORDINATION_API_KEYS`, and who they are bound to.
    pub api_keys: Vec<(String, Principal)>,
    /// `AUDIT_RETENTION_DAYS`: how long a row of the audit trail is kept; 0 for ever.
    pub audit_retention_days: u32,
    /// `AUDIT_SIGNING_KEY`: the file with the key that signs checkpoints, where there is a place for one.
    pub audit_signing_key: Option<PathBuf>,
    /// `COORDINATOR_KEY_FOR_READS`: the public reads need a key too.
    pub key_for_reads: bool,
    /// `COORDINATION_API_KEY`: what opens the server that an agent on this machine is to use.
    pub api_key: Option<String>,
    /// `COORDINATION_API_URL`: that server, where an agent's processes are to use one instead of the database.
    pub api_url: Option<String>,
    /// `COORDINATION_ALLOWED_HOSTS`: whom the bridge may ask beside this machine.
    pub allowed_hosts: Vec<String>,
    /// `AGENT_COORDINATOR_REST_PORT`: where on this machine the bridge asks when no address is named.
    pub rest_port: u16,
    /// `COORDINATOR_STRICT`, `strict` in the file: an agent's edits are denied while the coordinator is away.
    pub strict: bool,
    /// `HOOK_LEASE_MINUTES`: how long the lock lasts that a hook takes before an edit, unless it is renewed.
    pub hook_lease_minutes: u32,
    /// `RADAR_INTERVAL_SECONDS`: how often a server looks whether branches and work trees changed, and how long after the
    /// last look an edit asks for another; nothing where nobody looks but who asks.
    pub radar_interval: Option<Duration>,
    /// `MERGE_TARGET`: the branch that others are merged into, where it is not the repository's default branch.
    pub merge_target: Option<String>,
    /// `COORDINATOR_TOOLS`: which tools clients are shown.
    pub tools: ToolSet,
    /// `NETWORK_DEFAULT_POLICY`: may hosts be reached that no rule names?
    pub network_default: network::Access,
    /// `[[verification]]` in the file: what must pass before a change is landed.
    pub verification: Policies,
    /// `GITHUB_...`: the repository on GitHub.
    pub github: GithubSettings,
    /// `POLICY_...`, `PROFILES_...` and `CEDAR_SCHEMA_PATH`: who may do what.
    pub policy: PolicySettings,
}

/// Who may do what, as far as it is no rule of a project's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// `POLICY_ENGINE`: what decides.
    pub engine: PolicyEngine,
    /// `PROFILES_DEFAULT_TRUST`: how far an agent is trusted for whose type there is no profile.
    pub default_trust: Trust,
    /// `PROFILES_ENFORCE_LIMITS`: do the limits of profiles count?
    pub enforce_limits: bool,
    /// What is in the file `CEDAR_SCHEMA_PATH`: a schema in the place of the one that is made of the operations.
    pub schema: Option<String>,
    /// `POLICY_FILES`: policies in Cedar that hold in every project.
    pub files: Vec<PolicyFile>,
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyEngine {
    /// Levels of trust.
    Native,
    /// Policies in Cedar.
    Cedar,
}

impl PolicyEngine {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Cedar => "cedar",
        }
    }
}

/// A file of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name without its ending: that of the policies in it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Where the state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// In one file.
    Sqlite {
        /// Which.
        path: PathBuf,
    },
    /// On a server.
    Postgres {
        /// How to reach it.
        dsn: String,
        /// How many connections to keep.
        pool: PoolSize,
    },
    /// On a server, through PostgREST.
    Supabase(PostgrestAddress),
}

impl Database {
    /// Opens it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened or belongs to a newer version.
    pub async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Self::Sqlite { path } => Arc::new(SqliteStore::open(path, Clock::system())?),
            Self::Postgres { dsn, pool } => Arc::new(PostgresStore::connect(dsn, *pool).await?),
            Self::Supabase(address) => Arc::new(PostgresStore::through_postgrest(address).await?),
        })
    }

    /// The same, for a process that asks a few things, one after another, and ends.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn open_briefly(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Sqlite { path } => Ok(Arc::new(SqliteStore::open_briefly(path, Clock::system())?)),
            elsewhere => elsewhere.open().await,
        }
    }

    /// What it is and where, without a password or a key.
    pub fn describe(&self) -> String {
        match self {
            Self::Sqlite { path } => format!("SQLite, {}", path.display()),
            Self::Postgres { dsn, .. } => match dsn.rsplit_once('@') {
                Some((_, place)) => format!("PostgreSQL, {place}"),
                None => "PostgreSQL".into(),
            },
            Self::Supabase(address) => format!("PostgreSQL through PostgREST, {address}"),
        }
    }
}

/// Settings that are not right: all of them, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct BadSettings(pub Vec<String>);

impl Settings {
    /// Reads the environment through `env`, and the file beside it: `coordinator.toml` at the top of the work tree around
    /// `directory`, or in it.
    ///
    /// # Errors
    /// Each setting that is not right, with its value and what is allowed.
    pub fn load(env: impl Fn(&str) -> Option<String>, directory: &Path) -> Result<Self, BadSettings> {
        let repository = Repository::around(directory);
        let home = repository.as_ref().map_or(directory, |r| r.worktree.as_path());
        let file = home.join("coordinator.toml");
        let mut source =
            Source { env: &env, home, file: BTreeMap::new(), verification: Policies::default(), bad: vec![] };
        source.read_file(&file);

        let named_project = source.parsed("COORDINATOR_PROJECT", |v| Project::new(v).map_err(|e| e.to_string()));
        let (database, project) = source.database_and_project(repository.as_ref());
        let settings = Self {
            database,
            project: named_project.clone().unwrap_or(project),
            named_project,
            agent_id: source.parsed("AGENT_ID", |v| AgentId::new(v).map_err(|e| e.to_string())),
            agent_type: source.parsed("AGENT_TYPE", |v| {
                AgentId::new(v).map(String::from).map_err(|_| "must be 1 to 256 bytes of text".into())
            }),
            session_id: source.parsed("SESSION_ID", |v| SessionId::new(v).map_err(|e| e.to_string())),
            worktree: repository.as_ref().map(|r| r.worktree.clone()),
            lock_ttl_minutes: source.number("LOCK_TTL_MINUTES", TTL_MINUTES, 120),
            session_ttl_seconds: source.number("SESSION_TTL_SECONDS", 1..=86_400, 900),
            task_lease_seconds: source.number("TASK_LEASE_SECONDS", 1..=86_400, 900),
            ports: source.ports(),
            api_host: source.text("API_HOST").unwrap_or_else(|| "127.0.0.1".into()),
            api_port: source.number("API_PORT", 0..=65_535, 8081) as u16,
            api_keys: source.api_keys(),
            key_for_reads: source.truth("COORDINATOR_KEY_FOR_READS", false),
            api_url: source.text("COORDINATION_API_URL"),
            allowed_hosts: source.parsed("COORDINATION_ALLOWED_HOSTS", hosts).unwrap_or_default(),
            rest_port: source.number("AGENT_COORDINATOR_REST_PORT", 1..=65_535, 3000) as u16,
            strict: source.truth("COORDINATOR_STRICT", false),
            hook_lease_minutes: source.number("HOOK_LEASE_MINUTES", TTL_MINUTES, 10),
            radar_interval: Some(source.number("RADAR_INTERVAL_SECONDS", 0..=3600, 15))
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.into())),
            merge_target: source.parsed("MERGE_TARGET", branch_name),
            audit_retention_days: source.number("AUDIT_RETENTION_DAYS", 0..=36_500, 90),
            audit_signing_key: source.signing_key(),
            api_key: source.text("COORDINATION_API_KEY"),
            network_default: source
                .parsed("NETWORK_DEFAULT_POLICY", |v| match v {
                    "allow" => Ok(network::Access::Allow),
                    "deny" => Ok(network::Access::Deny),
                    _ => Err("must be allow or deny".into()),
                })
                .unwrap_or_default(),
            verification: std::mem::take(&mut source.verification),
            github: source.github(),
            policy: source.policy(),
            tools: source
                .parsed("COORDINATOR_TOOLS", |v| match v {
                    "core" => Ok(ToolSet::Core),
                    "all" => Ok(ToolSet::All),
                    _ => Err("must be core or all".into()),
                })
                .unwrap_or(ToolSet::Core),
        };
        if source.bad.is_empty() { Ok(settings) } else { Err(BadSettings(source.bad)) }
    }

    /// How often an agent is to be heard of, so that neither its session nor its claims end.
    pub fn heartbeat_every(&self) -> Duration {
        let lease = self.session_ttl_seconds.min(self.task_lease_seconds);
        Duration::from_millis(u64::from(lease) * 1000 / 3)
    }
}

/// Where settings come from, and what was found wrong with them.
struct Source<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    /// Where the file is.
    home: &'a Path,
    file: BTreeMap<String, String>,
    verification: Policies,
    bad: Vec<String>,
}

impl Source<'_> {
    fn read_file(&mut self, path: &Path) {
        let Ok(text) = std::fs::read_to_string(path) else { return };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return self.bad.push(format!("{}: {error}", path.display())),
        };
        match Policies::parse(&text) {
            Ok(policies) => self.verification = policies,
            Err(bad) => self.bad.extend(bad.0.into_iter().map(|why| format!("{}: {why}", path.display()))),
        }
        for (name, value) in table.into_iter().filter(|(name, _)| name != "verification") {
            // In the file it is clear whose it is.
            let upper = if name == "strict" { "COORDINATOR_STRICT".to_owned() } else { name.to_uppercase() };
            if !NAMES.contains(&upper.as_str()) || name != name.to_lowercase() {
                let known = NAMES.join(", ").to_lowercase();
                self.bad.push(format!("{}: there is no setting {name}; there are {known}", path.display()));
                continue;
            }
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(truth) => truth.to_string(),
                toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
                    items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
                }
                _ => {
                    self.bad.push(format!(
                        "{}: {name} must be a string, a number, a truth value or a list of strings",
                        path.display()
                    ));
                    continue;
                }
            };
            self.file.insert(upper, text);
        }
    }

    /// The setting as it was given.
    fn given(&self, name: &str) -> Option<String> {
        debug_assert!(NAMES.contains(&name), "{name} is not in the list of settings");
        (self.env)(name).or_else(|| self.file.get(name).cloned())
    }

    /// The setting; an empty one counts as not set.
    fn text(&self, name: &str) -> Option<String> {
        self.given(name).filter(|text| !text.is_empty())
    }

    /// The setting, without which it cannot go on.
    fn needed(&mut self, name: &str, why: &str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.bad.push(format!("{name} is not set: {why}"));
            String::new()
        })
    }

    fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.bad.push(format!("{name} is {text:?}: {why}"));
                None
            }
        }
    }

    fn number(&mut self, name: &str, allowed: RangeInclusive<u32>, default: u32) -> u32 {
        let parse = |text: &str| {
            text.parse::<u32>()
                .ok()
                .filter(|number| allowed.contains(number))
                .ok_or_else(|| format!("must be a whole number from {} to {}", allowed.start(), allowed.end()))
        };
        self.parsed(name, parse).unwrap_or(default)
    }

    fn truth(&mut self, name: &str, default: bool) -> bool {
        let parse = |text: &str| match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("must be true or false".into()),
        };
        self.parsed(name, parse).unwrap_or(default)
    }

    fn policy(&mut self) -> PolicySettings {
        let usual = Trust::Standard;
        let trust = self.number("PROFILES_DEFAULT_TRUST", 0..=4, usual.level().into());
        let engine = self.parsed("POLICY_ENGINE", |v| match v {
            "native" => Ok(PolicyEngine::Native),
            "cedar" => Ok(PolicyEngine::Cedar),
            _ => Err("must be native or cedar".into()),
        });
        let schema = self.text("CEDAR_SCHEMA_PATH").and_then(|path| {
            let read = std::fs::read_to_string(self.home.join(&path));
            read.map_err(|why| self.bad.push(format!("CEDAR_SCHEMA_PATH is {path:?}: it cannot be read: {why}"))).ok()
        });
        let settings = PolicySettings {
            engine: engine.unwrap_or(PolicyEngine::Native),
            default_trust: Trust::of(trust.into()).unwrap_or(usual),
            enforce_limits: self.truth("PROFILES_ENFORCE_LIMITS", true),
            schema,
            files: self.policy_files(),
        };
        self.bad.extend(Compiler::new(settings.clone()).mistakes_of_files());
        settings
    }

    /// The files that `POLICY_FILES` names, those of a directory that end with `.cedar`.
    fn policy_files(&mut self) -> Vec<PolicyFile> {
        let named = self.text("POLICY_FILES").unwrap_or_default();
        let mut files = vec![];
        for path in named.split(',').map(str::trim).filter(|path| !path.is_empty()) {
            match read_policies(&self.home.join(path)) {
                Ok(read) => files.extend(read),
                Err(why) => self.bad.push(format!("POLICY_FILES names {path:?}: it cannot be read: {why}")),
            }
        }
        files
    }

    fn ports(&mut self) -> PortPlan {
        let usual = PortPlan::default();
        let plan = PortPlan {
            base: self.number("PORT_ALLOC_BASE", 1024..=LAST_FIRST_PORT.into(), usual.base.into()) as u16,
            range: self.number("PORT_ALLOC_RANGE", BLOCK_SIZE.into()..=10_000, usual.range.into()) as u16,
            ttl_minutes: self.number("PORT_ALLOC_TTL_MINUTES", 1..=43_200, usual.ttl_minutes),
            max_sessions: self.number("PORT_ALLOC_MAX_SESSIONS", 1..=10_000, usual.max_sessions.into()) as u16,
        };
        if plan.last_port() > u16::MAX.into() {
            self.bad.push(format!(
                "PORT_ALLOC_BASE is {}, PORT_ALLOC_RANGE {} and PORT_ALLOC_MAX_SESSIONS {}: the last port would be {}, and \
                 must not be above {}",
                plan.base,
                plan.range,
                plan.max_sessions,
                plan.last_port(),
                u16::MAX
            ));
        }
        plan
    }

    /// The database; and the project that its records belong to where none is named.
    ///
    /// A repository's own database needs no name for it, and keeps its records when the repository is moved. A file that
    /// several repositories share tells them apart by their git directories. A server's project is `default`.
    fn database_and_project(&mut self, repository: Option<&Repository>) -> (Database, Project) {
        let pool = PoolSize {
            min: self.number("POSTGRES_POOL_MIN", 0..=1000, 1) as usize,
            max: self.number("POSTGRES_POOL_MAX", 1..=1000, 8) as usize,
        };
        if pool.min > pool.max {
            self.bad
                .push(format!("POSTGRES_POOL_MIN is {}: must not be above POSTGRES_POOL_MAX, {}", pool.min, pool.max));
        }
        let backend = self.parsed("DB_BACKEND", |v| match v {
            "sqlite" | "postgres" | "supabase" => Ok(v.to_owned()),
            _ => Err("must be sqlite, postgres or supabase".into()),
        });
        let server = match backend.as_deref() {
            Some("postgres") => {
                let dsn = self.needed("POSTGRES_DSN", "DB_BACKEND=postgres needs a connection string");
                Some(Database::Postgres { dsn, pool })
            }
            Some("supabase") => Some(Database::Supabase(self.supabase())),
            _ => None,
        };
        if let Some(server) = server {
            return (server, Project::default_project());
        }
        let (path, project) = match (self.database_file(), repository) {
            (None, Some(repository)) => {
                (repository.common_dir.join("coordinator").join("coordinator.db"), Project::default_project())
            }
            (Some(path), Some(repository)) => {
                let common = Project::new(repository.common_dir.to_string_lossy());
                (path, common.unwrap_or_else(|_| Project::default_project()))
            }
            (Some(path), None) => (path, Project::default_project()),
            (None, None) => (self.user_database(), Project::default_project()),
        };
        (Database::Sqlite { path }, project)
    }

    /// Where PostgREST is. Values that are keys are not repeated in an error.
    fn supabase(&mut self) -> PostgrestAddress {
        let url = self
            .needed("SUPABASE_URL", "DB_BACKEND=supabase needs the project's address, such as https://ID.supabase.co");
        if !url.is_empty() && !url.starts_with("https://") && !url.starts_with("http://") {
            self.bad.push(format!("SUPABASE_URL is {url:?}: must begin with https:// or http://"));
        }
        // Nothing at all is a prefix too.
        let prefix = self.given("SUPABASE_REST_PREFIX").unwrap_or_else(|| "/rest/v1".into());
        if !prefix.is_empty() && !prefix.starts_with('/') {
            self.bad.push(format!("SUPABASE_REST_PREFIX is {prefix:?}: must begin with /, or be empty"));
        }
        let key =
            self.needed("SUPABASE_SERVICE_KEY", "DB_BACKEND=supabase needs the project's secret or service_role key");
        if key.starts_with("sb_publishable_") {
            self.bad.push("SUPABASE_SERVICE_KEY is a publishable key: must be a secret or service_role key".into());
        }
        let without_slash = |text: String| text.trim_end_matches('/').to_owned();
        PostgrestAddress { url: without_slash(url), prefix: without_slash(prefix), key }
    }

    /// The file that is named: in `coordinator.toml`, seen from there, so that it is one file wherever one stands.
    fn database_file(&self) -> Option<PathBuf> {
        let named = self.text("COORDINATOR_DB")?;
        let in_environment = (self.env)("COORDINATOR_DB").is_some_and(|text| !text.is_empty());
        Some(if in_environment { PathBuf::from(named) } else { self.home.join(named) })
    }

    /// With the user's configuration, whatever the database: who can write to that must not have it.
    fn signing_key(&self) -> Option<PathBuf> {
        if let Some(named) = self.text("AUDIT_SIGNING_KEY") {
            return Some(self.home.join(named));
        }
        let config = (self.env)("XDG_CONFIG_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = || (self.env)("HOME").filter(|v| !v.is_empty()).map(|home| PathBuf::from(home).join(".config"));
        Some(config.or_else(home)?.join("agent-coordinator").join("audit-signing-key.pem"))
    }

    /// Outside any repository: one database a user.
    fn user_database(&self) -> PathBuf {
        let data = (self.env)("XDG_DATA_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let data = data.or_else(|| (self.env)("HOME").map(|home| PathBuf::from(home).join(".local/share")));
        data.unwrap_or_default().join("agent-coordinator").join("coordinator.db")
    }

    fn api_keys(&mut self) -> Vec<(String, Principal)> {
        let keys = self.text("COORDINATION_API_KEYS").unwrap_or_default();
        let mut principals: BTreeMap<String, Principal> = keys
            .split(',')
            .map(str::trim)
            .filter(|k| !k.is_empty())
            .map(|k| (k.into(), Principal::default()))
            .collect();

        #[derive(serde::Deserialize)]
        struct Identity {
            agent_id: Option<AgentId>,
            agent_type: Option<String>,
            project: Option<Project>,
            #[serde(default)]
            scopes: Vec<String>,
            per_minute: Option<u32>,
        }
        // A value with keys in it is not repeated in an error.
        if let Some(text) = self.text("COORDINATION_API_KEY_IDENTITIES") {
            match serde_json::from_str::<BTreeMap<String, Identity>>(&text) {
                Ok(identities) => {
                    for (key, Identity { agent_id, agent_type, project, scopes, per_minute }) in identities {
                        self.bad.extend(
                            scopes
                                .iter()
                                .filter_map(|scope| scopes::check(scope).err())
                                .map(|why| format!("COORDINATION_API_KEY_IDENTITIES: {why}")),
                        );
                        match principals.get_mut(&key) {
                            Some(principal) => {
                                *principal = Principal { project, agent_id, agent_type, scopes, per_minute };
                            }
                            None => self.bad.push(
                                "COORDINATION_API_KEY_IDENTITIES binds a key that is not in COORDINATION_API_KEYS"
                                    .into(),
                            ),
                        }
                    }
                }
                Err(error) => self.bad.push(format!(
                    "COORDINATION_API_KEY_IDENTITIES is not as it must be, \
                     {{\"KEY\": {{\"agent_id\": \"...\", \"agent_type\": \"...\"}}}}: {error}"
                )),
            }
        }
        principals.into_iter().collect()
    }
}

/// Hosts, separated by commas.
fn hosts(text: &str) -> Result<Vec<String>, String> {
    let hosts: Vec<String> = text.split(',').map(|host| host.trim().to_lowercase()).collect();
    let is_host = |host: &String| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:[]".contains(&b));
    if hosts.iter().all(is_host) {
        return Ok(hosts.into_iter().filter(|host| !host.is_empty()).collect());
    }
    Err("must be hosts without scheme and path, separated by commas, such as coordinator.example".into())
}

/// A branch's name, as people call it.
fn branch_name(text: &str) -> Result<String, String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    if text.starts_with(['-', '/']) || text.starts_with("refs/") || text.contains("..") || text.contains(is_odd) {
        return Err("must be the name of a branch, such as main, without refs/heads/".into());
    }
    Ok(text.to_owned())
}

/// A file of policies, or those of a directory, by name.
fn read_policies(path: &Path) -> std::io::Result<Vec<PolicyFile>> {
    let mut paths = vec![];
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            paths.push(entry?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "cedar"));
        paths.sort();
    } else {
        paths.push(path.to_owned());
    }
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(PolicyFile { name, text: std::fs::read_to_string(path)? })
    };
    paths.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)], file: &str) -> Result<Settings, BadSettings> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("coordinator.toml"), file).unwrap();
        let variables: BTreeMap<String, String> =
            variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::load(|name| variables.get(name).cloned(), directory.path())
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let settings = load(&[("API_PORT", "9000")], "api_port = 9001\nlock_ttl_minutes = 7\n").unwrap();
        assert_eq!((settings.api_port, settings.lock_ttl_minutes), (9000, 7));
    }

    #[test]
    fn lists_may_be_lists_in_the_file() {
        let settings = load(&[], "coordination_allowed_hosts = ['Team.example', \"[::1]\"]\n").unwrap();
        assert_eq!((settings.allowed_hosts, settings.rest_port), (vec!["team.example".into(), "[::1]".into()], 3000));
    }

    #[test]
    fn every_bad_value_is_named_with_what_is_allowed() {
        let variables = [
            ("LOCK_TTL_MINUTES", "481"),
            ("API_PORT", "http"),
            ("DB_BACKEND", "oracle"),
            ("PORT_ALLOC_BASE", "80"),
            ("PORT_ALLOC_RANGE", "3"),
            ("PORT_ALLOC_TTL_MINUTES", "0"),
            ("PORT_ALLOC_MAX_SESSIONS", "700"),
            ("COORDINATOR_TOOLS", "few"),
            ("RADAR_INTERVAL_SECONDS", "-1"),
            ("MERGE_TARGET", "refs/heads/main"),
            ("COORDINATION_ALLOWED_HOSTS", "https://team.example"),
            ("AGENT_COORDINATOR_REST_PORT", "0"),
            ("COORDINATION_API_KEYS", "a"),
            ("COORDINATION_API_KEY_IDENTITIES", "{\"b\": {}}"),
        ];
        let errors = load(&variables, "colour = \"red\"\n").unwrap_err().0.join("\n");
        for expected in [
            "LOCK_TTL_MINUTES is \"481\": must be a whole number from 1 to 480",
            "API_PORT is \"http\": must be a whole number from 0 to 65535",
            "DB_BACKEND is \"oracle\": must be sqlite, postgres or supabase",
            "PORT_ALLOC_BASE is \"80\": must be a whole number from 1024 to 65532",
            "PORT_ALLOC_RANGE is \"3\": must be a whole number from 4 to 10000",
            "PORT_ALLOC_TTL_MINUTES is \"0\": must be a whole number from 1 to 43200",
            "PORT_ALLOC_MAX_SESSIONS 700: the last port would be 79903, and must not be above 65535",
            "COORDINATOR_TOOLS is \"few\": must be core or all",
            "RADAR_INTERVAL_SECONDS is \"-1\": must be a whole number from 0 to 3600",
            "COORDINATION_ALLOWED_HOSTS is \"https://team.example\": must be hosts without scheme and path",
            "AGENT_COORDINATOR_REST_PORT is \"0\": must be a whole number from 1 to 65535",
            "MERGE_TARGET is \"refs/heads/main\": must be the name of a branch, such as main",
            "COORDINATION_API_KEY_IDENTITIES binds a key that is not in COORDINATION_API_KEYS",
            "there is no setting colour",
        ] {
            assert!(errors.contains(expected), "{expected}\nnot in\n{errors}");
        }
    }

    #[test]
    fn a_database_named_in_the_file_is_seen_from_the_file() {
        let in_file = load(&[], "coordinator_db = \"state.db\"").unwrap();
        assert!(matches!(&in_file.database, Database::Sqlite { path } if path.is_absolute()), "{:?}", in_file.database);
        let in_environment = load(&[("COORDINATOR_DB", "state.db")], "").unwrap();
        assert_eq!(in_environment.database, Database::Sqlite { path: "state.db".into() });
    }

    #[test]
    fn postgrest_is_supabases_unless_the_prefix_says_otherwise() {
        let supabase =
            [("DB_BACKEND", "supabase"), ("SUPABASE_URL", "https://p.example/"), ("SUPABASE_SERVICE_KEY", "k")];
        let place = |settings: Settings| settings.database.describe();
        assert_eq!(place(load(&supabase, "").unwrap()), "PostgreSQL through PostgREST, https://p.example/rest/v1");
        let bare = "supabase_rest_prefix = \"\"";
        assert_eq!(place(load(&supabase, bare).unwrap()), "PostgreSQL through PostgREST, https://p.example");
        let own = "supabase_rest_prefix = \"/api/\"";
        assert_eq!(place(load(&supabase, own).unwrap()), "PostgreSQL through PostgREST, https://p.example/api");
    }

    #[test]
    fn what_supabase_needs_is_named_and_its_key_is_not_shown() {
        let key = "sb_publishable_abc";
        let bad = [
            ("DB_BACKEND", "supabase"),
            ("SUPABASE_URL", "p.example"),
            ("SUPABASE_REST_PREFIX", "rest"),
            ("SUPABASE_SERVICE_KEY", key),
        ];
        let errors = load(&bad, "").unwrap_err().to_string();
        for expected in ["SUPABASE_URL is \"p.example\"", "SUPABASE_REST_PREFIX is \"rest\"", "publishable key"] {
            assert!(errors.contains(expected), "{errors}");
        }
        let errors = load(&bad[..1], "").unwrap_err().to_string();
        assert!(
            errors.contains("SUPABASE_URL is not set") && errors.contains("SUPABASE_SERVICE_KEY is not set"),
            "{errors}"
        );
        assert!(!errors.contains(key), "{errors}");
        let good = [bad[0], ("SUPABASE_URL", "https://p.example"), ("SUPABASE_SERVICE_KEY", "very-secret")];
        assert!(!format!("{:?}", load(&good, "").unwrap()).contains("very-secret"));
    }

    #[test]
    fn secrets_of_github_come_from_the_environment_and_are_not_shown() {
        let long = "0123456789abcdef-secret";
        let good = [("GITHUB_REPO", "octo/shop"), ("GITHUB_TOKEN", long), ("GITHUB_WEBHOOK_SECRET", long)];
        let settings = load(&good, "github_merge_label = \"ship\"").unwrap();
        assert_eq!(settings.github.merge_label, "ship");
        assert_eq!(settings.github.connection().unwrap().repository.as_str(), "octo/shop");
        assert!(!format!("{settings:?}").contains(long));
        assert!(load(&[], "").unwrap().github.connection().unwrap_err().contains("GITHUB_REPO"));

        let bad = [("GITHUB_REPO", "shop"), ("GITHUB_WEBHOOK_SECRET", "short-secret")];
        let errors = load(&bad, &format!("github_token = \"{long}\"")).unwrap_err().to_string();
        for expected in
            ["GITHUB_REPO is \"shop\"", "GITHUB_WEBHOOK_SECRET is too short", "coordinator.toml has github_token"]
        {
            assert!(errors.contains(expected), "{errors}");
        }
        assert!(!errors.contains("short-secret") && !errors.contains(long), "{errors}");
    }

    #[test]
    fn a_password_is_not_described() {
        let dsn = "postgres://me:secret@db.example/coordinator".to_owned();
        let database = Database::Postgres { dsn, pool: PoolSize { min: 1, max: 8 } };
        assert_eq!(database.describe(), "PostgreSQL, db.example/coordinator");
    }
}
