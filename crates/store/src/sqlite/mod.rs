//! The embedded store: one SQLite file, opened by any number of processes at once.
//!
//! Writes are short `begin immediate` transactions with `synchronous = full`: what is acknowledged survives a power cut.
//! They run on the caller's thread when nobody else is writing, else on a thread of their own that may wait. Processes
//! take turns by an advisory file lock beside the database, which the
//! kernel hands on promptly and frees when its holder dies; SQLite's own busy handler sleeps and retries, and under load
//! some processes would starve. Reads have a connection of their own and wait for nobody, but in a process that asks a few
//! things and ends: to open a second connection takes it longer than all its reads.

mod approvals;
mod audit;
mod features;
mod github;
mod memories;
mod migrate;
mod read;
mod records;
mod rows;
mod rulebook;
mod transaction;
mod verification;
mod worker;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use model::api_keys::ApiKey;
use model::approvals::{Approval, ApprovalFilter};
use model::audit::{AuditEntry, AuditFilter};
use model::chain::{ChainedRow, Seal};
use model::command::{Command, Outcome};
use model::features::{Feature, FeatureFilter};
use model::github::{GithubKind, GithubRecord};
use model::handoffs::{Handoff, HandoffFilter};
use model::id::{AgentId, Project};
use model::key::LockKey;
use model::locks::{Lock, Waiter};
use model::memories::{Candidate, Found, Search};
use model::merge_queue::{MergeEntry, MergeScope};
use model::messages::{Message, MessageFilter};
use model::ports::PortBlock;
use model::rulebook::{Rule, RuleKind};
use model::sessions::Session;
use model::skills::Skill;
use model::verification::{Changeset, ChangesetFilter};
use model::work::{Task, TaskFilter};
use model::working_memory::{Note, NotesOwner};
use rows::SqliteRows;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::runtime::{Handle, RuntimeFlavor};
use transaction::Transaction;
use uuid::Uuid;
use worker::Worker;

use crate::clock::Clock;
use crate::engine;
use crate::{Store, StoreError};

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// How long another process may keep the database locked before we give up: one that was stopped in a transaction, or
/// another program.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long for a process that was to end by now.
const BRIEF_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Such a process leaves what it wrote in the log for the next one, which reads the log before all else: it is moved into
/// the database when it has so many pages.
const BRIEF_LOG: i64 = 64;

/// A store in one SQLite file.
pub struct SqliteStore {
    clock: Clock,
    writer: Arc<Mutex<Writer>>,
    /// Where writing may take long: until other processes have had their turn.
    writing: Worker<Arc<Mutex<Writer>>>,
    /// Nothing where reads share the writer's connection.
    reading: Option<Worker<Connection>>,
}

struct Writer {
    connection: Connection,
    /// Held for one transaction at a time, so that processes take turns.
    turn: File,
}

impl SqliteStore {
    /// Opens the database, makes it where there is none (readable by its owner only), and brings it up to date.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] for a database of a later version; [`StoreError::Unreachable`] when the file cannot be
    /// opened or is no database of ours.
    pub fn open(path: &Path, clock: Clock) -> Result<Self> {
        let owned: PathBuf = path.to_owned();
        let reading = Worker::new("sqlite-reader", move || connect(&owned));
        Self::with(path, clock, connect, Some(reading))
    }

    /// The same, with a single connection: for a process that asks a few things, one after another, and ends.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_briefly(path: &Path, clock: Clock) -> Result<Self> {
        Self::with(path, clock, connect_briefly, None)
    }

    fn with(
        path: &Path,
        clock: Clock,
        connect: fn(&Path) -> Result<Connection>,
        reading: Option<Worker<Connection>>,
    ) -> Result<Self> {
        create_private(path)?;
        let turn = open_turn(path)?;
        let named = |error| match error {
            StoreError::Unreachable(why) => StoreError::Unreachable(format!("{}: {why}", path.display())),
            other => other,
        };
        let mut connection = connect(path).map_err(named)?;
        // Whoever finds it up to date need not wait for those who write.
        if !migrate::is_latest(&connection).map_err(named)? {
            let _held = Turn::take(&turn);
            migrate::to_latest(&mut connection).map_err(named)?;
        }
        let writer = Arc::new(Mutex::new(Writer { connection, turn }));
        let shared = writer.clone();
        let writing = Worker::new("sqlite-writer", move || Ok(shared.clone()));
        Ok(Self { clock, writer, writing, reading })
    }

    /// Runs `look` where reads run.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        match &self.reading {
            Some(reading) => reading.run(|connection| look(connection)).await,
            None => look(&self.writer.lock().unwrap_or_else(PoisonError::into_inner).connection),
        }
    }

    /// Runs `read` after freeing what is due.
    async fn read<T: Send + 'static>(
        &self,
        project: &Project,
        read: impl FnOnce(&Connection, &Project, Timestamp) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let now = self.clock.now();
        let named = project.clone();
        let due = self.look(move |connection| read::is_due(connection, &named, now).map_err(failure)).await?;
        if due {
            self.apply(project, &[]).await?;
        }
        let project = project.clone();
        self.look(move |connection| read(connection, &project, now).map_err(failure)).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn apply(&self, project: &Project, commands: &[Command]) -> Result<Vec<Outcome>> {
        if let Some(outcomes) = self.apply_here(project, commands) {
            return outcomes;
        }
        let (clock, project, commands) = (self.clock.clone(), project.clone(), commands.to_vec());
        let applied = self.writing.run(move |writer| {
            // A panic in a transaction rolled it back: the connection is good.
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let Writer { connection, turn } = &mut *writer;
            let _held = Turn::take(turn);
            transact(connection, &clock, &project, &commands)
        });
        tokio::time::timeout(BUSY_TIMEOUT, applied).await.unwrap_or_else(|_| Err(busy()))
    }

    async fn locks(&self, project: &Project, keys: Option<&[LockKey]>) -> Result<Vec<Lock>> {
        let keys = keys.map(<[LockKey]>::to_vec);
        self.read(project, move |c, p, _| read::locks(c, p, keys.as_deref())).await
    }

    async fn waiters(&self, project: &Project) -> Result<Vec<Waiter>> {
        self.read(project, |c, p, _| read::waiters(c, p)).await
    }

    async fn task(&self, project: &Project, task_id: Uuid) -> Result<Option<Task>> {
        self.read(project, move |c, p, _| read::task(c, p, task_id)).await
    }

    async fn tasks(&self, project: &Project, filter: &TaskFilter) -> Result<Vec<Task>> {
        let filter = filter.clone();
        self.read(project, move |c, p, _| read::tasks(c, p, &filter)).await
    }

    async fn sessions(&self, project: &Project, connected: bool) -> Result<(Vec<Session>, Timestamp)> {
        self.read(project, move |c, p, now| Ok((read::sessions(c, p, connected)?, now))).await
    }

    async fn handoffs(&self, project: &Project, filter: &HandoffFilter) -> Result<Vec<Handoff>> {
        let filter = filter.clone();
        self.read(project, move |c, p, _| read::handoffs(c, p, &filter)).await
    }

    async fn messages(&self, project: &Project, filter: &MessageFilter) -> Result<Vec<Message>> {
        let filter = filter.clone();
        self.read(project, move |c, p, _| read::messages(c, p, &filter)).await
    }

    async fn unread_messages(&self, project: &Project, agent: &AgentId, limit: u32) -> Result<Vec<Message>> {
        let agent = agent.clone();
        self.read(project, move |c, p, _| read::unread_messages(c, p, &agent, limit)).await
    }

    async fn port_blocks(&self) -> Result<(Vec<PortBlock>, Timestamp)> {
        let now = self.clock.now();
        self.look(move |c| Ok((read::port_blocks(c, now).map_err(failure)?, now))).await
    }

    async fn audit(&self, project: &Project, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let filter = filter.clone();
        self.read(project, move |c, p, _| read::audit(c, p, &filter)).await
    }

    async fn search_memories(&self, project: &Project, search: &Search) -> Result<Found> {
        let search = search.clone();
        self.read(project, move |c, p, now| memories::search(c, p, &search, now)).await
    }

    async fn memories(&self, project: &Project, seqs: &[i64], words: &[String]) -> Result<Vec<Candidate>> {
        let (seqs, words) = (seqs.to_vec(), words.to_vec());
        self.read(project, move |c, p, _| memories::candidates(c, p, &seqs, &words)).await
    }

    async fn notes(&self, project: &Project, owner: &NotesOwner, key: Option<&str>) -> Result<Vec<Note>> {
        let (owner, key) = (owner.clone(), key.map(str::to_owned));
        self.read(project, move |c, p, _| memories::notes(c, p, &owner, key.as_deref())).await
    }

    async fn skills(&self, project: &Project) -> Result<Vec<Skill>> {
        self.read(project, |c, p, _| memories::skills(c, p)).await
    }

    async fn features(&self, project: &Project, filter: &FeatureFilter) -> Result<Vec<Feature>> {
        let filter = filter.clone();
        self.read(project, move |c, p, _| features::features(c, p, &filter)).await
    }

    async fn merge_entries(&self, project: &Project, scope: MergeScope, limit: u32) -> Result<Vec<MergeEntry>> {
        self.read(project, move |c, p, _| features::merge_entries(c, p, scope, limit)).await
    }

    async fn approvals(&self, project: &Project, filter: &ApprovalFilter) -> Result<Vec<Approval>> {
        let filter = filter.clone();
        self.read(project, move |connection, project, _| approvals::list(connection, project, &filter)).await
    }

    async fn changesets(&self, project: &Project, filter: &ChangesetFilter) -> Result<Vec<Changeset>> {
        let filter = filter.clone();
        self.read(project, move |c, p, _| verification::list(c, p, &filter)).await
    }

    async fn audit_after(&self, project: &Project, position: i64, limit: u32) -> Result<Vec<AuditEntry>> {
        self.read(project, move |c, p, _| read::audit_after(c, p, position, limit)).await
    }

    async fn github_records(
        &self,
        project: &Project,
        kind: GithubKind,
        name: Option<&str>,
    ) -> Result<Vec<GithubRecord>> {
        let name = name.map(str::to_owned);
        self.read(project, move |c, p, now| github::records(c, p, kind, name.as_deref(), now)).await
    }

    async fn rules(&self, project: &Project) -> Result<Vec<Rule>> {
        self.read(project, |c, p, _| rulebook::rules(c, p)).await
    }

    async fn rules_version(&self, project: &Project) -> Result<i64> {
        let project = project.clone();
        self.look(move |c| rulebook::version(c, &project).map_err(failure)).await
    }

    async fn rule_history(&self, project: &Project, kind: RuleKind, name: &str, limit: u32) -> Result<Vec<Rule>> {
        let name = name.to_owned();
        self.read(project, move |c, p, _| rulebook::history(c, p, kind, &name, limit)).await
    }

    async fn audit_chain(&self, project: &Project, position: i64, limit: u32) -> Result<Vec<ChainedRow>> {
        self.read(project, move |c, p, _| audit::chain(c, p, position, limit)).await
    }

    async fn audit_seal(&self, project: &Project) -> Result<Option<Seal>> {
        self.read(project, |c, p, _| audit::seal(c, p)).await
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        self.look(|c| read::projects(c).map_err(failure)).await
    }

    async fn api_keys(&self) -> Result<(Vec<ApiKey>, Timestamp)> {
        let now = self.clock.now();
        self.look(move |c| Ok((read::api_keys(c).map_err(failure)?, now))).await
    }

    async fn due_projects(&self) -> Result<Vec<Project>> {
        let now = self.clock.now();
        self.look(move |c| {
            let projects = read::projects(c).map_err(failure)?;
            let mut due = vec![];
            for project in projects {
                if read::is_due(c, &project, now).map_err(failure)? {
                    due.push(project);
                }
            }
            Ok(due)
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.look(|c| c.query_row("select 1", [], |_| Ok(())).map_err(failure)).await
    }
}

impl SqliteStore {
    /// Applies the commands on this very thread, unless others are at it: the way to another thread and back takes as long
    /// as the commit.
    fn apply_here(&self, project: &Project, commands: &[Command]) -> Option<Result<Vec<Outcome>>> {
        let mut writer = self.writer.try_lock().ok()?;
        let Writer { connection, turn } = &mut *writer;
        let _held = Turn::if_free(turn)?;
        let transact = || transact(connection, &self.clock, project, commands);
        match Handle::try_current().ok()?.runtime_flavor() {
            RuntimeFlavor::CurrentThread => Some(transact()),
            _ => Some(tokio::task::block_in_place(transact)),
        }
    }
}

fn transact(connection: &Connection, clock: &Clock, project: &Project, commands: &[Command]) -> Result<Vec<Outcome>> {
    let transaction = Transaction::begin(connection)?;
    // Only now: the order of instants is the order of transactions.
    let now = clock.now();
    let mut rows = SqliteRows::at(connection, project, now)?;
    if !commands.is_empty() {
        rows.remember_project()?;
    }
    let outcomes = engine::apply(&mut rows, now, commands)?;
    transaction.commit()?;
    Ok(outcomes)
}

/// This process's turn to write. Without file locks (some network file systems) SQLite's busy handler must do.
struct Turn<'a>(Option<&'a File>);

impl<'a> Turn<'a> {
    fn take(file: &'a File) -> Self {
        Self(file.lock().is_ok().then_some(file))
    }

    fn if_free(file: &'a File) -> Option<Self> {
        file.try_lock().is_ok().then_some(Self(Some(file)))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.0 {
            // The kernel frees it with the file at the latest.
            let _ = file.unlock();
        }
    }
}

fn create_private(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|e| cannot_open(parent, &e))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| cannot_open(path, &e))?;
    let private = file.metadata().is_ok_and(|m| m.permissions().mode() & 0o077 == 0);
    if !private && file.set_permissions(std::fs::Permissions::from_mode(0o600)).is_err() {
        tracing::warn!(path = %path.display(), "the database can be read by others than its owner");
    }
    Ok(())
}

fn open_turn(path: &Path) -> Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-turn");
    let beside = PathBuf::from(beside);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&beside)
        .map_err(|e| cannot_open(&beside, &e))
}

fn cannot_open(path: &Path, why: &std::io::Error) -> StoreError {
    StoreError::Unreachable(format!("cannot open {}: {why}", path.display()))
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).map_err(failure)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failure)?;
    connection.set_prepared_statement_cache_capacity(128);
    // Without it a statement is compiled anew whenever a parameter changes that might have spoken for another index.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failure)?;
    connection
        .execute_batch("pragma synchronous = full; pragma foreign_keys = on; pragma temp_store = memory")
        .map_err(failure)?;
    Ok(connection)
}

/// Whoever is the last to close a database moves its log into it and deletes that, which takes longer than all else that a
/// brief process does.
fn connect_briefly(path: &Path) -> Result<Connection> {
    let connection = connect(path)?;
    connection.busy_timeout(BRIEF_BUSY_TIMEOUT).map_err(failure)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failure)?;
    connection.pragma_update(None, "wal_autocheckpoint", BRIEF_LOG).map_err(failure)?;
    Ok(connection)
}

fn busy() -> StoreError {
    StoreError::Unreachable("another process keeps it locked".into())
}

/// What the engine's error means to a caller.
fn failure(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => busy(),
        Some(ErrorCode::NotADatabase) => StoreError::Unreachable("the file is not a SQLite database".into()),
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied,
        ) => StoreError::Unreachable(error.to_string()),
        _ => StoreError::Failed(error.to_string()),
    }
}
