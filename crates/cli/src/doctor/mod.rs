//! `coordinator doctor`: looks at everything the coordinator needs, and says what to do about what is wrong.

mod commit;
mod links;

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coordinator::settings::{Database, Settings};
use coordinator::team;
use coordinator::{Coordinator, VERSION};
use serde_json::{Value, json};
use setup::Scope;
use setup::vendor::Agent;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::arguments::Globals;
use crate::desk::open;
use crate::exit::Exit;
use crate::init::ground::Ground;
use crate::init::{self, Intent};
use crate::logs;
use crate::output::{self, Tint};
use links::Link;

/// What takes longer than this does not work.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a check came to.
enum Verdict {
    Ok,
    /// It works, but somebody should know; with what to do.
    Warn(String),
    /// It does not work; with what to do.
    Fail(Exit, String),
}

struct Finding {
    check: String,
    found: String,
    verdict: Verdict,
}

impl Finding {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), found: found.into(), verdict: Verdict::Ok }
    }

    fn warn(check: impl Into<String>, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check: check.into(), found: found.into(), verdict: Verdict::Warn(todo.into()) }
    }

    fn fail(check: impl Into<String>, exit: Exit, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check: check.into(), found: found.into(), verdict: Verdict::Fail(exit, todo.into()) }
    }
}

/// What to do beside looking.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Mend what can be mended, before looking
    #[arg(long)]
    fix: bool,
}

/// Checks everything; ends with the exit code of the first failure.
pub async fn run(globals: &Globals, doctor: &Doctor) -> anyhow::Result<Exit> {
    logs::start();
    if doctor.fix {
        for mended in fix(globals)? {
            output::tell(format_args!("mended {}", output::printable(&mended)));
        }
    }
    let findings = examine(globals).await;
    let exit = findings.iter().find_map(|finding| match finding.verdict {
        Verdict::Fail(exit, _) => Some(exit),
        Verdict::Ok | Verdict::Warn(_) => None,
    });
    if globals.json {
        let checks: Vec<Value> = findings.iter().map(view).collect();
        output::json(&json!({"success": exit.is_none(), "checks": checks}))?;
    } else {
        for finding in &findings {
            show(finding)?;
        }
    }
    Ok(exit.unwrap_or(Exit::Done))
}

fn words(verdict: &Verdict) -> (&'static str, Tint, Option<&str>) {
    match verdict {
        Verdict::Ok => ("ok", Tint::Green, None),
        Verdict::Warn(todo) => ("warn", Tint::Yellow, Some(todo)),
        Verdict::Fail(_, todo) => ("fail", Tint::Red, Some(todo)),
    }
}

fn view(finding: &Finding) -> Value {
    let (verdict, _, todo) = words(&finding.verdict);
    json!({"check": finding.check, "verdict": verdict, "found": finding.found, "todo": todo})
}

fn show(finding: &Finding) -> anyhow::Result<()> {
    let (verdict, tint, todo) = words(&finding.verdict);
    let word = output::tinted(&format!("{verdict:<5}"), tint);
    output::print(format_args!("{word} {:<12} {}", finding.check, output::printable(&finding.found)))?;
    for line in todo.into_iter().flat_map(str::lines) {
        output::print(format_args!("{:<18} -> {}", "", output::printable(line)))?;
    }
    Ok(())
}

/// Mends what is to be mended without anybody's decision, and tells what it was.
fn fix(globals: &Globals) -> anyhow::Result<Vec<String>> {
    let mut mended = vec![];
    if let Ok(Settings { database: Database::Sqlite { path }, .. }) = globals.settings() {
        for file in open_to_others(&path) {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
            mended.push(format!("{}: only you can read it", file.display()));
        }
    }
    let links = Link::all();
    for scope in [Scope::Project, Scope::User] {
        let agents: BTreeSet<Agent> = links.iter().filter(|link| link.scope() == scope).map(Link::agent).collect();
        if agents.is_empty() {
            continue;
        }
        let ground = Ground::find(scope)?;
        mended.extend(init::set_up(&ground, agents, Intent::Do)?.files(&ground));
    }
    Ok(mended)
}

async fn examine(globals: &Globals) -> Vec<Finding> {
    let mut findings = vec![program(), git().await];
    let settings = match globals.settings() {
        Ok(settings) => settings,
        Err(trouble) => {
            findings.push(Finding::fail("settings", Exit::Usage, "are not right", trouble.to_string()));
            return findings;
        }
    };
    findings.push(repository(&settings));
    findings.push(settings_file(&settings));
    findings.extend(settings.worktree.as_deref().and_then(team_file));

    let started = Instant::now();
    let coordinator = match open(settings).await {
        Ok(coordinator) => coordinator,
        Err(trouble) => {
            let todo =
                "correct its path or address (COORDINATOR_DB, POSTGRES_DSN, SUPABASE_URL, --db), or make it reachable";
            findings.push(Finding::fail("database", Exit::Unreachable, trouble.to_string(), todo));
            return findings;
        }
    };
    let settings = coordinator.settings();
    let found = format!("{}, project {}, opened in {}", settings.database.describe(), settings.project, ms(started));
    findings.push(Finding::ok("database", found));
    if let Database::Sqlite { path } = &settings.database {
        findings.extend([permissions(path), durability(path), disk(path)]);
    }
    findings.push(writing(&coordinator).await);
    findings.push(rules(&coordinator).await);
    findings.push(mcp(globals).await);
    let (server, runs) = server(settings).await;
    findings.extend([server, keys(&coordinator, runs).await]);
    findings.extend(agents().await);
    if let Some(worktree) = &settings.worktree {
        findings.push(commit::check(&coordinator, worktree).await);
    }
    findings
}

/// Each agent that is set up here, or for this user.
async fn agents() -> Vec<Finding> {
    let links = Link::all();
    if links.is_empty() {
        return vec![Finding::ok("agents", "none is set up here; `coordinator init` does it")];
    }
    let mut findings = vec![];
    for link in &links {
        findings.extend(link.check().await);
        let is_double = links.iter().filter(|other| other.agent() == link.agent()).count() > 1;
        if is_double && link.scope() == Scope::User {
            let found = format!("{} is set up for you and for this project, so every hook runs twice", link.agent());
            findings.push(Finding::warn(link.name("twice"), found, "coordinator init --scope user --undo"));
        }
    }
    findings
}

fn ms(started: Instant) -> String {
    format!("{:.1} ms", started.elapsed().as_secs_f64() * 1000.0)
}

fn program() -> Finding {
    let path = std::env::current_exe().map(|path| format!(", {}", path.display())).unwrap_or_default();
    Finding::ok("version", format!("{VERSION}{path}"))
}

async fn git() -> Finding {
    let answer = Command::new("git").arg("--version").output().await;
    match answer {
        Ok(output) if output.status.success() => Finding::ok("git", String::from_utf8_lossy(&output.stdout).trim()),
        _ => Finding::warn("git", "is not to be found", "install git, or add it to PATH"),
    }
}

fn repository(settings: &Settings) -> Finding {
    match &settings.worktree {
        Some(worktree) => Finding::ok("repository", worktree.display().to_string()),
        None => Finding::warn(
            "repository",
            "this directory is in no git repository",
            "run it in one, so that its work trees share a database of their own",
        ),
    }
}

fn settings_file(settings: &Settings) -> Finding {
    let home = settings.worktree.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
    let file = home.join("coordinator.toml");
    if file.exists() {
        Finding::ok("settings", format!("from the environment and {}", file.display()))
    } else {
        Finding::ok("settings", "from the environment; there is no coordinator.toml")
    }
}

/// The project's own rules: can all of them be read?
async fn rules(coordinator: &Coordinator) -> Finding {
    let engine = coordinator.settings().policy.engine.as_str();
    match coordinator.rules(coordinator.default_project()).await {
        Err(error) => Finding::fail("rules", Exit::Unreachable, error.to_string(), "see to the database"),
        Ok(rules) if rules.problems.is_empty() => {
            Finding::ok("rules", format!("engine {engine}, rulebook at version {}", rules.version()))
        }
        Ok(rules) => {
            let all: Vec<String> = rules.problems.iter().map(|problem| problem.in_words()).collect();
            let todo = "put a version that can be read: coordinator policy history NAME, coordinator policy rollback NAME \
                        VERSION";
            Finding::fail("rules", Exit::Refused, all.join("; "), todo)
        }
    }
}

/// The file that names the team, where there is one.
fn team_file(worktree: &Path) -> Option<Finding> {
    let file = worktree.join(team::FILE);
    let todo = format!("coordinator team validate {}", file.display());
    Some(match team::load(&file) {
        Ok(None) => return None,
        Ok(Some(Ok(team))) => Finding::ok("team", format!("{}, {} agents", team.name, team.agents.len())),
        Ok(Some(Err(mistakes))) => Finding::warn("team", format!("{} mistakes in teams.yaml", mistakes.len()), todo),
        Err(error) => Finding::warn("team", format!("teams.yaml cannot be read: {error}"), todo),
    })
}

/// Nobody but its owner may read the database and what SQLite keeps beside it.
fn permissions(path: &Path) -> Finding {
    match open_to_others(path).first() {
        None => Finding::ok("permissions", "only you can read the database"),
        Some(file) => {
            let todo = format!("coordinator doctor --fix, or: chmod 600 {}", file.display());
            Finding::fail("permissions", Exit::Refused, format!("others can use {}", file.display()), todo)
        }
    }
}

fn open_to_others(path: &Path) -> Vec<PathBuf> {
    let beside = ["", "-wal", "-shm"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    });
    let is_open = |file: &PathBuf| file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
    beside.into_iter().filter(is_open).collect()
}

/// Bytes 18 and 19 of a SQLite file say how it is written: 2 is the write-ahead log.
fn durability(path: &Path) -> Finding {
    let mut head = [0; 20];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
    match (read, &head[18..]) {
        (Ok(()), [2, 2]) => {
            Finding::ok("durability", "write-ahead log; every commit is synced to disk (synchronous=full)")
        }
        (Ok(()), _) => Finding::warn(
            "durability",
            "the database is not in write-ahead mode, so readers and writers wait for each other",
            "stop all coordinators, then: sqlite3 DATABASE 'pragma journal_mode = wal'",
        ),
        (Err(error), _) => Finding::fail("durability", Exit::Unreachable, error.to_string(), "see to the file"),
    }
}

/// A file that is gone again when this returns.
fn disk(path: &Path) -> Finding {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let started = Instant::now();
    let written = tempfile::tempfile_in(directory).and_then(|mut file| {
        file.write_all(&[0; 64 * 1024])?;
        file.sync_data()
    });
    match written {
        Ok(()) => Finding::ok("disk", format!("a synced write of 64 KiB took {}", ms(started))),
        Err(error) => {
            let todo = "free some space, or make the directory writable";
            Finding::fail("disk", Exit::Unreachable, format!("{}: {error}", directory.display()), todo)
        }
    }
}

/// A transaction with nothing in it waits its turn like any other.
async fn writing(coordinator: &Coordinator) -> Finding {
    let started = Instant::now();
    let applied = timeout(PATIENCE, coordinator.store().apply(coordinator.default_project(), &[])).await;
    let todo = "see whether another program keeps the database locked, or whether it may be written at all";
    match applied {
        Ok(Ok(_)) => Finding::ok("writing", format!("an empty transaction took {}", ms(started))),
        Ok(Err(error)) => Finding::fail("writing", Exit::Unreachable, error.to_string(), todo),
        Err(_) => Finding::fail("writing", Exit::Unreachable, format!("no turn within {PATIENCE:?}"), todo),
    }
}

/// Starts the MCP server as an agent would, whatever is set up.
async fn mcp(globals: &Globals) -> Finding {
    let started = Instant::now();
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Finding::fail("mcp", Exit::Unreachable, error.to_string(), "see to the program's file"),
    };
    let mut command = Command::new(program);
    match timeout(PATIENCE, links::list_tools(command.args(globals.to_find_the_same()).arg("mcp"))).await {
        Ok(Ok(server)) => Finding::ok("mcp", format!("{server} answered {} after it was started", ms(started))),
        Ok(Err(why)) => Finding::fail("mcp", Exit::Unreachable, why, "run `coordinator mcp` and see what it says"),
        Err(_) => {
            let todo = "run `coordinator mcp` with RUST_LOG=debug and see where it stops";
            Finding::fail("mcp", Exit::Unreachable, format!("no answer within {PATIENCE:?}"), todo)
        }
    }
}

/// The server, and whether one of ours runs.
async fn server(settings: &Settings) -> (Finding, bool) {
    let (host, port) = (settings.api_host.as_str(), settings.api_port);
    let place = format!("{host}, port {port}");
    let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect((host, port))).await else {
        let found = format!("none runs on {place}; agents on this machine need none");
        return (Finding::ok("server", found), false);
    };
    match timeout(PATIENCE, health(stream, port)).await {
        Ok(Some(health)) if health["db"] == "connected" => {
            let version = health["version"].as_str().unwrap_or_default();
            let found = format!("version {version} answers on {place}");
            if version == VERSION {
                return (Finding::ok("server", found), true);
            }
            (Finding::warn("server", found, format!("restart it, to have version {VERSION}")), true)
        }
        Ok(Some(health)) if health["db"] == "unreachable" => {
            let found = format!("the server on {place} cannot reach its database");
            (Finding::fail("server", Exit::Unreachable, found, "see what it logs, and to its database"), true)
        }
        _ => {
            let todo = "let `coordinator serve` listen elsewhere: API_PORT, or --port";
            (Finding::warn("server", format!("another program answers on {place}"), todo), false)
        }
    }
}

/// Asks for `GET /health`; `None` for an answer that is none of ours.
async fn health(mut stream: TcpStream, port: u16) -> Option<Value> {
    /// More than any such answer has.
    const LIMIT: u64 = 64 * 1024;
    let request = format!("GET /health HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = vec![];
    stream.take(LIMIT).read_to_end(&mut answer).await.ok()?;
    let text = String::from_utf8(answer).ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

async fn keys(coordinator: &Coordinator, server_runs: bool) -> Finding {
    match coordinator.has_keys().await {
        Ok(true) => Finding::ok("keys", "there are keys for the HTTP server"),
        Ok(false) if server_runs => Finding::warn(
            "keys",
            "there is no key, so every write over HTTP is refused",
            "coordinator keys create --name me",
        ),
        Ok(false) => Finding::ok("keys", "there are none; only the HTTP server needs any"),
        Err(error) => Finding::fail("keys", Exit::Unreachable, error.to_string(), "see to the database"),
    }
}
