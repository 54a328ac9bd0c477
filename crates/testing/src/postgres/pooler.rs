//! PgBouncer in transaction mode in front of a server: what hosted databases put there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use super::cluster::{Account, free_port};
use super::watcher::{End, Run};

/// Long enough on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running PgBouncer. It goes with its value, and also when this process is killed.
#[derive(Debug)]
pub struct Pooler {
    run: Option<Run>,
    dsn: String,
    _directory: TempDir,
}

impl Pooler {
    /// In front of the database that `dsn` names, with so few connections to it that callers share them.
    ///
    /// # Panics
    /// When it cannot be started: a test that needs it has failed then, and should not look as if it had passed.
    #[expect(clippy::panic, reason = "called by tests, to which a missing pooler is a failure")]
    pub fn start(dsn: &str, connections: usize) -> Self {
        match Self::try_start(dsn, connections) {
            Ok(pooler) => pooler,
            Err(error) => panic!("no pooler for this test: {error:#}"),
        }
    }

    /// The URL of the database through the pooler.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    fn try_start(dsn: &str, connections: usize) -> anyhow::Result<Self> {
        let program = program()?;
        let server: tokio_postgres::Config = dsn.parse()?;
        let (Some(tokio_postgres::config::Host::Tcp(host)), Some(server_port), Some(user), Some(database)) =
            (server.get_hosts().first(), server.get_ports().first(), server.get_user(), server.get_dbname())
        else {
            anyhow::bail!("not a whole address: {dsn}");
        };
        let account = Account::for_server()?;
        let directory = tempfile::Builder::new().prefix("coordinator-pgbouncer-").tempdir()?;
        account.give(directory.path())?;
        let file = directory.path().join("pgbouncer.ini");
        let log = directory.path().join("log");
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let port = free_port()?;
            let settings = format!(
                "[databases]\n{database} = host={host} port={server_port} user={user}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
                 pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 100\n"
            );
            std::fs::write(&file, settings).context("write pgbouncer.ini")?;
            let line = [program.display().to_string(), file.display().to_string()];
            let mut run = Run::start(&account, &line, directory.path(), &log)?;
            while !run.has_ended() {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    let dsn = format!("postgres://{user}@127.0.0.1:{port}/{database}");
                    return Ok(Self { run: Some(run), dsn, _directory: directory });
                }
                ensure!(Instant::now() < deadline, "it does not listen");
                std::thread::sleep(Duration::from_millis(5));
            }
            // Perhaps somebody else took the port in the meantime.
            ensure!(Instant::now() < deadline, "{}", std::fs::read_to_string(&log).unwrap_or_default());
        }
    }
}

/// Along `PATH`, and where Debian's package puts it, to which only root's `PATH` leads.
pub fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let program = places.find_map(|place| Some(place.join("pgbouncer")).filter(|program| program.is_file()));
    program.context("no PgBouncer found: install Debian's `pgbouncer` or put it in PATH")
}

impl Drop for Pooler {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            let _ = run.end(End::Killed);
        }
    }
}
