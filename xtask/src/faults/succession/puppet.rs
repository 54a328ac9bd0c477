//! A client process that does what it is told, and can be killed or stopped.

use std::time::{Duration, Instant};

use anyhow::bail;
use rustix::process::Signal;
use serde_json::Value;

use super::super::child::{Answer, Hello, Order, Spec, Way};
use super::super::processes::{Process, signal};
use super::super::run::Stage;

/// How often to look whether we are to leave.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A client that takes longer than this to say hello hangs.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A client process, with the process behind its door where that is its own.
pub struct Puppet<'a> {
    stage: &'a Stage<'a>,
    name: String,
    process: Process,
    server: Option<u32>,
}

impl<'a> Puppet<'a> {
    /// Starts it, as an agent of this name.
    pub fn start(stage: &'a Stage<'a>, name: &str, way: Way) -> anyhow::Result<Self> {
        let spec = Spec::Puppet { agent: name.into(), session: format!("session of {name}"), way };
        let process = stage.programs.start(&spec)?;
        let hello: Hello = serde_json::from_str(&process.hear(START_LIMIT)?)?;
        Ok(Self { stage, name: name.into(), process, server: hello.server })
    }

    /// Its agent.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells it to ask for something.
    pub fn order(&mut self, operation: &str, arguments: Value) -> anyhow::Result<()> {
        self.process.say(&serde_json::to_string(&Order { operation: operation.into(), arguments })?)
    }

    /// What came of the last order.
    pub fn answer(&mut self, patience: Duration) -> anyhow::Result<Answer> {
        let until = Instant::now() + patience;
        loop {
            self.stage.check_interrupted()?;
            match self.process.hear(LOOK_EVERY) {
                Ok(line) => return Ok(serde_json::from_str(&line)?),
                Err(_) if self.process.has_ended() => bail!("client {} ended", self.name),
                Err(_) if Instant::now() > until => bail!("client {} got no answer in {patience:?}", self.name),
                Err(_) => {}
            }
        }
    }

    /// `kill -9`, and the process behind its door too.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal_server(Signal::KILL)?;
        self.process.kill()
    }

    /// Stops it where it is, as a closed laptop would.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.signal_server(Signal::STOP)?;
        signal(self.process.pid(), Signal::STOP)
    }

    /// Lets it go on as if nothing had happened.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal_server(Signal::CONT)?;
        signal(self.process.pid(), Signal::CONT)
    }

    fn signal_server(&self, what: Signal) -> anyhow::Result<()> {
        self.server.map_or(Ok(()), |server| signal(server, what))
    }
}
