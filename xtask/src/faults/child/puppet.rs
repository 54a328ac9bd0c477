//! A client that does what it is told, one line at a time.

use std::io::{BufRead, Write, stdin, stdout};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::door::{Door, Reply};
use super::http::HttpDoor;
use super::stdio::StdioDoor;
use super::{Identity, Way};
use crate::faults::clock;

/// The longest that any order can take.
const PATIENCE: Duration = Duration::from_secs(150);

/// Its first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The process behind its door, where that is its own.
    pub server: Option<u32>,
}

/// A line to it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The operation's name.
    pub operation: String,
    /// Its arguments.
    pub arguments: Value,
}

/// Its answer to an order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// When it asked, by the monotonic clock.
    pub asked: u64,
    /// When it had an answer.
    pub answered: u64,
    /// What came back.
    pub reply: Reply,
}

/// Until standard input ends.
pub fn run(identity: Identity, way: Way) -> anyhow::Result<()> {
    let mut door: Box<dyn Door> = match way {
        Way::Http { ports } => Box::new(HttpDoor::new(identity, ports)),
        Way::Stdio { launch, .. } => Box::new(StdioDoor::new(identity, launch)),
    };
    door.connect()?;
    say(&Hello { server: door.server() })?;
    for line in orders() {
        let order: Order = serde_json::from_str(&line)?;
        door.connect()?;
        let asked = clock::monotonic();
        let reply = door.call(&order.operation, &order.arguments, PATIENCE);
        say(&Answer { asked, answered: clock::monotonic(), reply })?;
    }
    Ok(())
}

/// The lines of standard input. Their end is the end of this process, whatever it waits for.
fn orders() -> Receiver<String> {
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    orders
}

fn say(line: &impl Serialize) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
