//! One run of a server, under a watcher that outlives us.
//!
//! A `Drop` does not happen when a test is killed with `kill -9`, and a server must not stay behind then. So a shell
//! starts the server and holds the read end of a pipe whose write end is ours: a line on it names the signal to end the
//! server with, and its closing without a line means that we are gone, and so must be the server and its directory.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;

use super::cluster::Account;

/// `$1` is the directory to remove, the rest the server's command line. Standard error is the log.
///
/// The shell itself waits for the server, so it ends when the server does, however that comes about; the reader beside
/// it does the ending.
const SCRIPT: &str = r#"
directory=$1
shift
exec 3<&0
"$@" 3<&- </dev/null >&2 &
server=$!
(
    exec >/dev/null
    if read -r signal <&3; then
        kill -s "$signal" "$server"
    else
        kill -s QUIT "$server"
        while kill -0 "$server"; do sleep 0.05; done
        rm -rf "$directory"
    fi
) &
echo "$server"
exec 3<&- >&-
wait "$server"
"#;

/// How a server is made to end.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// Sessions are cut off, everything is written out: a restart has nothing to recover.
    Fast,
    /// Every process quits at once: a restart recovers from the log.
    Immediate,
    /// `kill -9` for the main process, with nobody told: the closest to a crash.
    Killed,
}

impl End {
    fn signal(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
            Self::Killed => "KILL",
        }
    }
}

/// A server process with its watcher.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) pid: u32,
    watcher: Child,
    pipe: ChildStdin,
}

impl Run {
    /// Starts `server` as `account`; `directory` goes if we go, `log` gets what the server says.
    pub(super) fn start(account: &Account, server: &[String], directory: &Path, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().append(true).create(true).open(log).context("open the server's log")?;
        let mut command = account.command("sh");
        command.args(["-c", SCRIPT, "watcher"]).arg(directory).args(server);
        // A group of its own: Ctrl-C in a terminal and a test runner's time-out reach us, and the watcher cleans up.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut watcher = command.spawn().context("start the server's watcher")?;
        let pipe = watcher.stdin.take().context("the watcher's input")?;
        let mut first_line = String::new();
        BufReader::new(watcher.stdout.take().context("the watcher's output")?).read_line(&mut first_line)?;
        let pid = first_line.trim().parse().with_context(|| format!("the server's pid in {first_line:?}"))?;
        Ok(Self { pid, watcher, pipe })
    }

    /// Whether the server has ended, by itself or by somebody else's doing.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.watcher.try_wait(), Ok(None))
    }

    /// Ends the server and waits until it is gone. Its directory stays.
    pub(super) fn end(mut self, how: End) -> anyhow::Result<()> {
        writeln!(self.pipe, "{}", how.signal()).context("tell the server's watcher to end it")?;
        self.watcher.wait().context("wait for the server to end")?;
        Ok(())
    }
}

/// Reads the status line that the server keeps in `postmaster.pid` (its eighth), as `pg_ctl` does.
///
/// The file of a killed server stays behind and still says `ready`, hence the `pid`.
pub(super) fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let mut lines = text.lines();
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6).map(str::trim) == Some("ready")
}

impl Account {
    /// A command that runs as this account.
    pub(super) fn command(&self, program: &str) -> Command {
        match &self.name {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("runuser");
                command.args(["-u", name, "--", program]);
                command
            }
        }
    }
}
