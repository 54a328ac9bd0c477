//! A client with a mind of its own: one random operation after another, each in its history.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::door::{Connection, Door, Reply};
use super::http::HttpDoor;
use super::stdio::{Crash, Server, StdioDoor};
use super::workload::{Request, Workload};
use super::{Identity, Way};
use crate::faults::clock;
use crate::faults::history::{Asked, Event, History, marker};
use crate::faults::rng::Rng;

/// How much longer than it asked to wait a client waits for an answer. Longer than the database needs to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which client this is.
pub struct Place {
    /// Which of the clients.
    pub slot: u32,
    /// How often it has been started.
    pub run: u32,
    /// How many there are.
    pub clients: u32,
    /// Of random choices.
    pub seed: u64,
}

/// Until `stop` is raised.
pub fn run(place: Place, identity: Identity, way: Way, history: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
    let purpose = [u64::from(place.slot), u64::from(place.run)];
    let history = History::create(history)?;
    let mut door: Box<dyn Door> = match way {
        Way::Http { mut ports } => {
            let first = place.slot as usize % ports.len();
            ports.rotate_left(first);
            Box::new(HttpDoor::new(identity.clone(), ports))
        }
        Way::Stdio { launch, killed } => {
            let door = StdioDoor::new(identity.clone(), launch);
            if killed {
                let rng = Rng::new(place.seed, &[purpose[0], purpose[1], 1]);
                kill_now_and_then(door.process(), history.another()?, rng);
            }
            Box::new(door)
        }
    };
    let workload = Workload::new(Rng::new(place.seed, &purpose), place.slot, place.clients, door.takes_any_field());
    let mut worker = Worker { place, agent: identity.agent, workload, history, asked: 0, is_registered: false };
    while !stop.load(Ordering::SeqCst) {
        worker.step(&mut *door)?;
    }
    Ok(())
}

/// Kills the process behind the door at any moment of its life.
fn kill_now_and_then(server: Server, mut history: History, mut rng: Rng) {
    std::thread::spawn(move || {
        loop {
            sleep(Duration::from_millis(rng.within(300..12_000)));
            let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(server) = server.as_mut() {
                // Errors only mean that it is gone already.
                let killed = server.kill().is_ok();
                if killed && history.write(&Event::KilledServer).is_err() {
                    return;
                }
            }
        }
    });
}

struct Worker {
    place: Place,
    agent: String,
    workload: Workload,
    history: History,
    asked: u64,
    is_registered: bool,
}

impl Worker {
    fn step(&mut self, door: &mut dyn Door) -> anyhow::Result<()> {
        match door.connect() {
            Ok(Connection::Same) => {}
            Ok(Connection::New) => self.lose_session(),
            Err(error) => {
                if let Some(crash) = error.downcast_ref::<Crash>() {
                    self.history.write(&Event::Crash { why: format!("{crash}: {error:#}") })?;
                }
                sleep(Duration::from_millis(20));
                return Ok(());
            }
        }
        self.asked += 1;
        let op = marker(self.place.slot, self.place.run, self.asked);
        let request = if self.is_registered {
            self.workload.next(&op)
        } else {
            let capabilities: &[&str] = if self.place.slot.is_multiple_of(2) { &["rust"] } else { &[] };
            Request::new("register_session", json!({"current_task": op, "capabilities": capabilities}))
        };
        let reply = self.ask(door, &op, &request)?;
        match &reply {
            Reply::Done(_) if request.operation == "register_session" => self.is_registered = true,
            Reply::Refused(answer) if answer["error"] == "session_expired" => self.lose_session(),
            // A heartbeat tells it in an answer.
            Reply::Done(answer) if answer["error"] == "session_expired" => self.lose_session(),
            _ => {}
        }
        self.workload.learn(request, &reply);
        sleep(match reply {
            Reply::Done(_) | Reply::Refused(_) => self.workload.pause(),
            // The database or a server is down.
            Reply::Unknown(_) | Reply::Broken(_) => self.workload.patience(),
        });
        Ok(())
    }

    fn lose_session(&mut self) {
        self.is_registered = false;
        self.workload.lose_session();
    }

    fn ask(&mut self, door: &mut dyn Door, op: &str, request: &Request) -> anyhow::Result<Reply> {
        let wait = request.arguments["wait_seconds"].as_u64().unwrap_or(0);
        let mut asked = Asked {
            op: op.to_owned(),
            at: 0,
            wall: clock::wall(),
            agent: self.agent.clone(),
            session: door.session(),
            operation: request.operation.to_owned(),
            arguments: request.arguments.clone(),
        };
        asked.at = clock::monotonic();
        self.history.write(&Event::Asked(asked))?;
        let reply = door.call(request.operation, &request.arguments, PATIENCE + Duration::from_secs(wait));
        let at = clock::monotonic();
        let op = op.to_owned();
        self.history.write(&match reply.clone() {
            Reply::Done(answer) => Event::Answered { op, at, refused: false, answer },
            Reply::Refused(answer) => Event::Answered { op, at, refused: true, answer },
            Reply::Unknown(why) => Event::Unknown { op, why },
            Reply::Broken(why) => Event::Broken { op, why },
        })?;
        Ok(reply)
    }
}
