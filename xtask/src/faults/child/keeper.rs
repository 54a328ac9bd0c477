//! Keeps a server running: starts it, kills it when told to, and starts it again at once.
//!
//! A line on standard input is an order to kill; its end is the order to end the server and leave. Whatever happens to
//! whoever gave the orders, the server does not stay behind.

use std::fs::File;
use std::io::{BufRead, stdin};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::Duration;

use super::Launch;

/// How often to look whether the server still runs.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A server that ended by itself would only do so again at once.
const PAUSE_AFTER_CRASH: Duration = Duration::from_millis(500);

/// Until standard input ends. Prints a line each time the server ends unasked.
pub fn run(launch: &Launch) -> anyhow::Result<()> {
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut server = start(launch)?;
    loop {
        match orders.recv_timeout(LOOK_EVERY) {
            Ok(_) => {
                end(&mut server)?;
                server = start(launch)?;
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = server.try_wait()? {
                    println!("{status}");
                    sleep(PAUSE_AFTER_CRASH);
                    server = start(launch)?;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return end(&mut server),
        }
    }
}

fn start(launch: &Launch) -> anyhow::Result<Child> {
    let log = File::options().append(true).create(true).open(&launch.log)?;
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).current_dir(&launch.directory).env_clear();
    command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
    Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
}

/// `kill -9`.
fn end(server: &mut Child) -> anyhow::Result<()> {
    server.kill()?;
    server.wait()?;
    Ok(())
}
