//! A PostgreSQL server of one's own: made in a temporary directory, gone with its value.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use uuid::Uuid;

use super::binaries;
use super::watcher::{End, Run, is_ready};

/// Long enough for a crash recovery on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Ports below those that Linux gives to outgoing connections. Were the server's port among those, a client that
/// retries while the server is down would sooner or later be connected to itself and keep the port from it.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A running (or, between [`stop`](Self::stop) and [`restart`](Self::restart), stopped) PostgreSQL server.
///
/// It listens on 127.0.0.1 and on a socket in its own directory, trusts whoever connects, and has one superuser,
/// `postgres`. It is stopped and removed with the value, and also when this process is killed.
#[derive(Debug)]
pub struct Cluster {
    run: Option<Run>,
    account: Account,
    binaries: PathBuf,
    settings: Vec<(String, String)>,
    port: u16,
    directory: TempDir,
}

impl Cluster {
    /// Makes and starts a server as durable as a real one (`fsync` is on).
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// Makes and starts a server with some settings of `postgresql.conf`, such as `("fsync", "off")`.
    pub fn start_with(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let account = Account::for_server()?;
        let directory = tempfile::Builder::new().prefix("coordinator-postgres-").tempdir()?;
        account.give(directory.path())?;
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let mut cluster = Self { run: None, account, binaries: binaries()?, settings, port: 0, directory };
        cluster.initialise()?;
        cluster.start_on_a_free_port()?;
        Ok(cluster)
    }

    /// The URL of a database in this server, as its superuser. The server comes with one named `postgres`.
    pub fn dsn(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The TCP port, the same across restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's main process while it runs, for tests that send it signals of their own.
    pub fn pid(&self) -> Option<u32> {
        self.run.as_ref().map(|run| run.pid)
    }

    /// Where the server's socket, data (`data/`) and log (`log`) are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Shuts the server down in order, cutting off its sessions.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.end(End::Fast)
    }

    /// Kills the server with `kill -9`: what was acknowledged must be there after [`restart`](Self::restart).
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.end(End::Killed)
    }

    /// Starts the server again on its old port, stopping it first if it runs.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        let deadline = Instant::now() + START_LIMIT;
        // Sessions of a killed server take a moment to notice, and a new one refuses to start beside them.
        loop {
            match self.launch() {
                Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(100)),
                outcome => return outcome,
            }
        }
    }

    fn end(&mut self, how: End) -> anyhow::Result<()> {
        self.run.take().map_or(Ok(()), |run| run.end(how))
    }

    fn initialise(&self) -> anyhow::Result<()> {
        let mut command = self.account.command(&self.program("initdb"));
        command.arg("--pgdata").arg(self.data()).args(["--username=postgres", "--auth=trust", "--no-sync"]);
        command.args(["--encoding=UTF8", "--locale=C"]).current_dir(self.directory.path());
        let output = command.output().context("run initdb")?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn start_on_a_free_port(&mut self) -> anyhow::Result<()> {
        loop {
            self.port = free_port()?;
            match self.launch() {
                // Between our finding the port free and the server's wanting it, somebody else took it.
                Err(_) if !is_free(self.port) => {}
                outcome => return outcome,
            }
        }
    }

    fn launch(&mut self) -> anyhow::Result<()> {
        let data = self.data();
        let log = self.directory.path().join("log");
        let mut run = Run::start(&self.account, &self.command_line(), self.directory.path(), &log)?;
        let deadline = Instant::now() + START_LIMIT;
        while !is_ready(&data, run.pid) {
            let ended = run.has_ended();
            if ended || Instant::now() > deadline {
                run.end(End::Immediate)?;
                bail!("PostgreSQL did not start:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            sleep(Duration::from_millis(10));
        }
        self.run = Some(run);
        Ok(())
    }

    fn command_line(&self) -> Vec<String> {
        let mut line = vec![self.program("postgres"), "-D".into(), self.data().display().to_string()];
        let ours = [
            ("listen_addresses", "127.0.0.1".into()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", self.directory.path().display().to_string()),
            ("max_connections", "200".into()),
        ];
        let ours = ours.iter().map(|(name, value)| format!("{name}={value}"));
        // The last one counts, so a test may overrule ours.
        let theirs = self.settings.iter().map(|(name, value)| format!("{name}={value}"));
        line.extend(ours.chain(theirs).flat_map(|setting| ["-c".into(), setting]));
        line
    }

    fn program(&self, name: &str) -> String {
        self.binaries.join(name).display().to_string()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing of it is wanted any more, so nothing needs writing out; the directory follows as a field.
        let _ = self.end(End::Immediate);
    }
}

/// The account that a server runs as: PostgreSQL and PgBouncer refuse to run as root.
#[derive(Debug)]
pub(super) struct Account {
    /// `None` for the account that we run as ourselves.
    pub(super) name: Option<&'static str>,
}

impl Account {
    pub(super) fn for_server() -> anyhow::Result<Self> {
        if id(&[])? != 0 {
            return Ok(Self { name: None });
        }
        let name = ["postgres", "nobody"].into_iter().find(|name| id(&[name]).is_ok());
        Ok(Self { name: Some(name.context("we are root, and there is no account to run PostgreSQL as")?) })
    }

    pub(super) fn give(&self, directory: &Path) -> anyhow::Result<()> {
        let Some(name) = self.name else { return Ok(()) };
        chown(directory, Some(id(&[name])?), None).with_context(|| format!("give a directory to {name}"))
    }
}

/// The number of an account, or our own.
fn id(account: &[&str]) -> anyhow::Result<u32> {
    let output = Command::new("id").arg("-u").args(account).output().context("run id")?;
    ensure!(output.status.success(), "id -u {account:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

pub(super) fn free_port() -> anyhow::Result<u16> {
    let tries = std::iter::repeat_with(|| {
        // The low bits of a version 7 id are random; clusters started at the same moment should not contend.
        let random = (Uuid::now_v7().as_u128() & 0xffff_ffff) as u32;
        PORTS.start + (random % u32::from(PORTS.end - PORTS.start)) as u16
    });
    tries.take(200).find(|port| is_free(*port)).context("no free port on 127.0.0.1")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
