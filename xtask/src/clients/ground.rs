//! Where the clients are tried: a team's servers on one database, and the way to start programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::round_robin::RoundRobin;

/// The key that opens the servers.
pub const KEY: &str = "clients-key";

/// So many servers make a team's.
const SERVERS: usize = 3;
/// A server that takes longer than this to come up does not come up.
const START_LIMIT: Duration = Duration::from_secs(60);
/// What takes longer than this hangs.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// Servers, and what is in front of them.
pub struct Ground {
    temp: TempDir,
    /// The program under test.
    pub coordinator: PathBuf,
    /// One of the servers, by its address.
    pub server: String,
    /// All of them in turn. It shows the key for clients that cannot.
    pub round_robin: RoundRobin,
    /// Killed with us.
    _servers: Vec<Child>,
}

impl Ground {
    /// Starts the servers on a fresh database, and waits until they answer.
    pub async fn prepare() -> anyhow::Result<Self> {
        let temp = tempfile::tempdir()?;
        let coordinator = std::path::absolute("target/debug/coordinator")?;
        let (mut servers, mut addresses) = (vec![], vec![]);
        for _ in 0..SERVERS {
            let (server, address) =
                timeout(START_LIMIT, serve(&coordinator, temp.path())).await.context("a server did not come up")??;
            servers.push(server);
            addresses.push(address);
        }
        let round_robin = RoundRobin::start(addresses.clone(), KEY).await?;
        Ok(Self { temp, coordinator, server: addresses.swap_remove(0), round_robin, _servers: servers })
    }

    /// A directory of this name that nobody has used yet.
    pub fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.temp.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }
}

async fn serve(coordinator: &Path, directory: &Path) -> anyhow::Result<(Child, String)> {
    let mut command = Command::new(coordinator);
    command.args(["serve", "--json", "--port", "0", "--db"]).arg(directory.join("team.db")).current_dir(directory);
    command.env("COORDINATION_API_KEYS", KEY).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut server = command.spawn()?;
    let mut said = String::new();
    BufReader::new(server.stdout.take().context("a pipe")?).read_line(&mut said).await?;
    let address = serde_json::from_str::<Value>(&said)?["address"].as_str().context("an address")?.to_owned();
    Ok((server, address))
}

/// Runs the program to its end, with nothing on its standard input.
pub async fn output(command: &mut Command) -> anyhow::Result<Output> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    Ok(timeout(RUN_LIMIT, running).await.with_context(|| format!("{name} hangs"))??)
}

/// Runs the program, which must succeed, and returns what it printed.
pub async fn success(command: &mut Command) -> anyhow::Result<String> {
    let output = output(command).await?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    Ok(stdout.into_owned())
}

/// A program of Node's, run by the Node in this directory.
pub fn node_program(program: &Path, node: &Path) -> Command {
    let mut command = Command::new(program);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(node.to_owned()).chain(std::env::split_paths(&paths));
    command.env("PATH", std::env::join_paths(paths).unwrap_or_else(|_| OsStr::new("").to_owned()));
    command
}
