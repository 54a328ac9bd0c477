//! The programs of a benchmark: built with optimisation, started, and never left behind.

use std::fs::File;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::tools;

/// The key that opens the server, and what its request headers say.
pub const API_KEY: &str = "a-key-for-the-benchmark";

/// Runs this program again as it was started, but optimised: what generates the load and what the floor is measured with
/// must not be slower than what is measured.
pub fn again_optimised() -> anyhow::Result<()> {
    let program = build("xtask", "xtask")?;
    let status = Command::new(program).args(std::env::args_os().skip(1)).status()?;
    ensure!(status.success(), "the optimised program failed");
    Ok(())
}

/// Builds the program of a package, optimised. One package at a time, for together they would get each other's features.
pub fn build(package: &str, program: &str) -> anyhow::Result<PathBuf> {
    let status = tools::cargo().args(["build", "--release", "--package", package]).status()?;
    ensure!(status.success(), "{package} does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(std::path::absolute(target.join("release").join(program))?)
}

/// What the tree holds, for figures of different programs are not to be held against each other.
pub fn version() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty=, with changes"]).output();
    let said = output.ok().filter(|output| output.status.success());
    said.map_or_else(|| "unknown".into(), |said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// A `coordinator` to be started with these settings and no others.
pub struct Launch {
    program: PathBuf,
    settings: Vec<(&'static str, String)>,
}

impl Launch {
    /// On a SQLite file.
    pub fn on_sqlite(program: &Path, file: &Path) -> Self {
        Self { program: program.into(), settings: vec![("COORDINATOR_DB", file.display().to_string())] }
    }

    /// On a PostgreSQL database.
    pub fn on_postgres(program: &Path, dsn: &str) -> Self {
        let settings = vec![("DB_BACKEND", "postgres".into()), ("POSTGRES_DSN", dsn.into())];
        Self { program: program.into(), settings }
    }

    /// The command, away from this repository and its `coordinator.toml`.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir("/").env_clear().envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.env("COORDINATOR_PROJECT", "default").env("COORDINATION_API_KEYS", API_KEY);
        command
    }
}

/// A running `coordinator serve`.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts it on a free port and waits until it listens. What it logs goes into `directory`.
    pub fn start(launch: &Launch, directory: &Path) -> anyhow::Result<Self> {
        let log = directory.join("serve.log");
        let mut command = launch.command();
        command.args(["--json", "serve", "--port", "0"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?).spawn()?;
        // From here on it is ended whatever happens.
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let output = server.child.stdout.take().context("the server's output")?;
        let said = serde_json::Deserializer::from_reader(BufReader::new(output)).into_iter::<Value>().next();
        let said = said.transpose()?.with_context(|| {
            format!("the server did not start:\n{}", std::fs::read_to_string(&log).unwrap_or_default())
        })?;
        let address = said["address"].as_str().and_then(|url| url.strip_prefix("http://"));
        server.address = address.with_context(|| said.to_string())?.parse()?;
        Ok(server)
    }

    /// How many bytes of it are in memory.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(line.context("no VmRSS in the process's status")?.parse::<u64>()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing of it is wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a child that was told to end, and then ends it.
pub fn see_off(child: &mut Child) {
    for _ in 0..1000 {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // It may have ended in this moment.
    let _ = child.kill();
    let _ = child.wait();
}
