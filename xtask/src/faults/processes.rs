//! Our children: started, told, killed, and never left behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::child::Spec;
use crate::tools;

/// The programs of a run: copies, so that a build in the meantime changes nothing.
pub struct Programs {
    /// `coordinator`.
    pub coordinator: PathBuf,
    /// This program, which is also the children's.
    ourselves: PathBuf,
}

impl Programs {
    /// Copies the program under test into the directory. Without a path it is built, optimised.
    pub fn gather(coordinator: Option<&Path>, directory: &Path) -> anyhow::Result<Self> {
        let built = match coordinator {
            Some(path) => path.to_owned(),
            None => build()?,
        };
        let copy = |from: &Path, name: &str| -> anyhow::Result<PathBuf> {
            let to = directory.join(name);
            std::fs::copy(from, &to).with_context(|| format!("copy {}", from.display()))?;
            Ok(to)
        };
        let ourselves = std::env::current_exe()?;
        Ok(Self { coordinator: copy(&built, "coordinator")?, ourselves: copy(&ourselves, "faults")? })
    }

    /// Starts a child. A group of its own: Ctrl-C in a terminal reaches us alone, and we clean up.
    pub fn start(&self, spec: &Spec) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.ourselves);
        command.arg("faults-client").arg(serde_json::to_string(spec)?).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a child's output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Process { child, input, lines })
    }

    /// The processes that still run this run's `coordinator`, where the system lets us see.
    pub fn left_behind(&self) -> Vec<i32> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
        let runs_it =
            |directory: PathBuf| std::fs::read_link(directory.join("exe")).is_ok_and(|exe| exe == self.coordinator);
        let pids = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            runs_it(entry.path()).then_some(pid)
        });
        pids.collect()
    }

    /// Waits so long for the last of them to end, and ends those that do not: they are returned.
    pub fn end_left_behind(&self, patience: Duration) -> Vec<i32> {
        let until = Instant::now() + patience;
        while Instant::now() < until && !self.left_behind().is_empty() {
            sleep(Duration::from_millis(50));
        }
        let left = self.left_behind();
        for pid in &left {
            // It may have ended in this moment.
            let _ = signal(*pid as u32, Signal::KILL);
        }
        left
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id")?;
    Ok(kill_process(pid, signal)?)
}

fn build() -> anyhow::Result<PathBuf> {
    let status = tools::cargo().args(["build", "--release", "--package", "cli"]).status()?;
    ensure!(status.success(), "the coordinator does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(target.join("release/coordinator"))
}

/// A child.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Sends it a line.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("the child was told to end")?;
        Ok(input.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Its next line.
    pub fn hear(&self, patience: Duration) -> anyhow::Result<String> {
        Ok(self.lines.recv_timeout(patience)?)
    }

    /// What it said so far.
    pub fn heard(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`. What it was told before is lost with it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Has it ended by itself?
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets it finish what it is at, and end.
    pub fn let_go(&mut self) {
        self.input = None;
    }

    /// Waits so long for its end, and then brings it about: did it end by itself?
    pub fn wait(&mut self, until: Instant) -> bool {
        self.let_go();
        while Instant::now() < until {
            if self.has_ended() {
                return true;
            }
            sleep(Duration::from_millis(10));
        }
        // It may have ended in this moment.
        let _ = self.kill();
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.wait(Instant::now() + Duration::from_secs(5));
    }
}

/// The end of a file: what a server said last.
pub fn tail(path: &Path) -> String {
    let mut text = String::new();
    // A log that cannot be read says nothing.
    let _ = std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
