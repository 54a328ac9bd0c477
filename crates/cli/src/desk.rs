//! Where a person's command runs: the coordinator is open, and it is known who asks and in which project.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coordinator::Coordinator;
use coordinator::failure::Failure;
use coordinator::operation::{Door, Entry};
use coordinator::registry;
use coordinator::settings::{BadSettings, Settings};
use model::id::{AgentId, Caller, Project};
use serde_json::Value;
use store::StoreError;

use crate::arguments::Globals;
use crate::exit::{Exit, Trouble};
use crate::{logs, output, paths};

/// The agent type of a person.
const HUMAN: &str = "human";

/// An open coordinator and who asks it.
#[derive(Clone)]
pub struct Desk {
    /// The coordinator.
    pub coordinator: Arc<Coordinator>,
    /// Who asks.
    pub caller: Caller,
    /// Answers are wanted as JSON.
    pub json: bool,
}

/// Runs a command that needs the database.
pub fn at_desk(globals: &Globals, work: impl AsyncFnOnce(&Desk) -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    logs::start();
    let settings = globals.settings()?;
    block_on(async {
        let desk = Desk::open(settings, globals.json).await?;
        work(&desk).await
    })
}

/// Runs a future on this thread.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A read of standard input that never ends must not keep the process.
    runtime.shutdown_background();
    result
}

/// Opens the coordinator; an error says which database and why not.
pub async fn open(settings: Settings) -> Result<Coordinator, Trouble> {
    let database = settings.database.describe();
    Coordinator::open(settings).await.map_err(|error| {
        let exit = match error {
            StoreError::Unreachable(_) | StoreError::TooNew { .. } | StoreError::NotReady(_) => Exit::Unreachable,
            StoreError::Failed(_) => Exit::Defect,
        };
        Trouble::new(exit, "database_unavailable", format!("{error} (the database is {database})"))
    })
}

impl Globals {
    /// The settings, flags included.
    pub fn settings(&self) -> Result<Settings, Trouble> {
        self.settings_with(&[])
    }

    /// The settings with more flags, by the names they have in the environment.
    pub fn settings_with(&self, flags: &[(&str, Option<String>)]) -> Result<Settings, Trouble> {
        Ok(self.settings_at(&current_directory()?, flags)?)
    }

    /// The settings of another directory, flags included.
    pub fn settings_at(&self, directory: &Path, flags: &[(&str, Option<String>)]) -> Result<Settings, BadSettings> {
        let (backend, file, dsn) = match &self.db {
            None => (None, None, None),
            Some(db) if is_postgres(db) => (Some("postgres"), None, Some(db.clone())),
            Some(db) => (Some("sqlite"), Some(db.clone()), None),
        };
        let ours = [
            ("DB_BACKEND", backend.map(str::to_owned)),
            ("COORDINATOR_DB", file),
            ("POSTGRES_DSN", dsn),
            ("COORDINATOR_PROJECT", self.project.clone()),
        ];
        let env = |name: &str| {
            let flag = ours.iter().chain(flags).find(|(flag, value)| *flag == name && value.is_some());
            match flag {
                Some((_, value)) => value.clone(),
                None => std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
            }
        };
        Settings::load(env, directory)
    }

    /// The flags of this command line that another process needs to find the same project in the same database.
    pub fn to_find_the_same(&self) -> Vec<String> {
        let mut flags = vec![];
        if let Some(db) = &self.db {
            let place = if is_postgres(db) { None } else { std::path::absolute(db).ok() };
            flags.extend(["--db".to_owned(), place.map_or_else(|| db.clone(), |p| p.to_string_lossy().into_owned())]);
        }
        if let Some(project) = &self.project {
            flags.extend(["--project".to_owned(), project.clone()]);
        }
        flags
    }
}

fn is_postgres(db: &str) -> bool {
    db.starts_with("postgres://") || db.starts_with("postgresql://")
}

/// Where we are.
fn current_directory() -> Result<PathBuf, Trouble> {
    std::env::current_dir().map_err(|error| Trouble::usage(format!("the current directory cannot be used: {error}")))
}

impl Desk {
    /// Opens the coordinator for whoever the settings name, or the user.
    pub async fn open(settings: Settings, json: bool) -> Result<Self, Trouble> {
        let caller = person(&settings)?;
        Ok(Self { coordinator: Arc::new(open(settings).await?), caller, json })
    }

    /// The project asked about.
    pub fn project(&self) -> &Project {
        self.coordinator.default_project()
    }

    /// Calls an operation by its name.
    pub async fn ask(&self, name: &str, arguments: Value) -> Result<Value, Trouble> {
        self.ask_as(&self.caller, name, arguments).await
    }

    /// Calls an operation by its name, in another's name.
    pub async fn ask_as(&self, caller: &Caller, name: &str, arguments: Value) -> Result<Value, Trouble> {
        let entry = registry::find(name)
            .ok_or_else(|| Failure::Internal(format!("there is no operation {name}, which this command needs")))?;
        Ok(self.coordinator.call(entry, self.project(), caller, Door::Cli, arguments).await?)
    }

    /// Calls an operation.
    pub async fn call(&self, entry: &Entry, arguments: Value) -> Result<Value, Failure> {
        self.coordinator.call(entry, self.project(), &self.caller, Door::Cli, arguments).await
    }

    /// Shows an answer: as JSON where that was asked for, or as `show` does. Its `success` decides how the command ends.
    pub fn answer(&self, answer: &Value, show: impl FnOnce(&Value) -> anyhow::Result<()>) -> anyhow::Result<Exit> {
        if self.json {
            output::json(answer)?;
        } else {
            show(answer)?;
        }
        Ok(if answer["success"] == false { Exit::Refused } else { Exit::Done })
    }

    /// The lock keys for paths typed here.
    pub fn keys(&self, typed: &[String]) -> Result<Vec<String>, Trouble> {
        let directory = current_directory()?;
        // The work tree is known by its real path.
        let directory = directory.canonicalize().unwrap_or(directory);
        let worktree = self.coordinator.settings().worktree.as_deref();
        Ok(typed.iter().map(|path| paths::key(path, &directory, worktree)).collect())
    }
}

/// The agent that the environment names, or else the user.
fn person(settings: &Settings) -> Result<Caller, Trouble> {
    let user = || std::env::var("USER").ok().and_then(|name| AgentId::new(name).ok());
    let agent_id = match settings.agent_id.clone().or_else(user) {
        Some(agent_id) => agent_id,
        None => AgentId::new("user").map_err(|error| Failure::Internal(error.to_string()))?,
    };
    Ok(Caller {
        agent_id,
        agent_type: settings.agent_type.clone().unwrap_or_else(|| HUMAN.to_owned()),
        session_id: settings.session_id.clone(),
    })
}
