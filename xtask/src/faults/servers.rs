//! `coordinator serve` processes on one database, killed and started again on the same port.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::child::{API_KEY, Launch, Spec, is_healthy};
use super::processes::{Process, Programs, tail};
use super::rng::Rng;

/// A server that takes longer than this to come up does not come up.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Below the ports that Linux gives to outgoing connections: one of those could take a server's port while it is down.
const PORTS: std::ops::Range<u64> = 15_000..32_000;

/// Servers, each with its keeper.
pub struct Servers {
    keepers: Vec<Process>,
    ports: Vec<u16>,
    logs: Vec<PathBuf>,
    killed: u64,
}

impl Servers {
    /// Starts so many servers with these settings, all at once, and waits until they answer.
    pub fn start(
        programs: &Programs,
        count: usize,
        settings: &[(String, String)],
        directory: &Path,
        rng: &mut Rng,
    ) -> anyhow::Result<Self> {
        let ports = free_ports(count, rng)?;
        let logs: Vec<PathBuf> = ports.iter().map(|port| directory.join(format!("server-{port}.log"))).collect();
        let mut servers = Self { keepers: vec![], ports, logs, killed: 0 };
        for (port, log) in servers.ports.iter().zip(&servers.logs) {
            let mut environment = settings.to_vec();
            environment.push(("COORDINATION_API_KEYS".into(), API_KEY.into()));
            let launch = Launch {
                program: programs.coordinator.clone(),
                arguments: vec!["serve".into(), "--port".into(), port.to_string()],
                environment,
                directory: directory.to_owned(),
                log: log.clone(),
            };
            servers.keepers.push(programs.start(&Spec::Keeper(launch))?);
        }
        let until = Instant::now() + START_LIMIT;
        for (port, log) in servers.ports.iter().zip(&servers.logs) {
            while !is_healthy(*port) {
                ensure!(Instant::now() < until, "a server did not come up; it said:\n{}", tail(log));
                sleep(Duration::from_millis(50));
            }
        }
        Ok(servers)
    }

    /// Where they listen.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Kills one of them with `kill -9`. It is started again at once.
    pub fn kill_one(&mut self, rng: &mut Rng) -> anyhow::Result<()> {
        let place = rng.place(self.keepers.len()).context("a server")?;
        self.keepers[place].say("kill")?;
        self.killed += 1;
        Ok(())
    }

    /// How many were killed.
    pub fn killed(&self) -> u64 {
        self.killed
    }

    /// Ends them; tells which ended unasked before.
    pub fn end(mut self) -> Vec<String> {
        let mut crashes = vec![];
        for (keeper, log) in self.keepers.iter_mut().zip(&self.logs) {
            if !keeper.wait(Instant::now() + Duration::from_secs(10)) {
                crashes.push("the keeper of a server hung".into());
            }
            let said = keeper.heard();
            crashes
                .extend(said.into_iter().map(|how| format!("a server ended unasked ({how}); it said:\n{}", tail(log))));
        }
        crashes
    }
}

fn free_ports(count: usize, rng: &mut Rng) -> anyhow::Result<Vec<u16>> {
    // The seed is not for this: two runs of one seed may run at once.
    let offset = u64::from(std::process::id());
    let mut ports = vec![];
    for _ in 0..10_000 {
        let port = (PORTS.start + (rng.next().wrapping_add(offset)) % (PORTS.end - PORTS.start)) as u16;
        if !ports.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            ports.push(port);
        }
        if ports.len() == count {
            return Ok(ports);
        }
    }
    anyhow::bail!("no free ports on 127.0.0.1")
}
