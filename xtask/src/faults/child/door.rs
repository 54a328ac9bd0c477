//! What a client needs of a door of the coordinator, whichever it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What came back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The operation's answer.
    Done(Value),
    /// Its refusal, with a code under `error`.
    Refused(Value),
    /// Nothing that tells whether it was carried out.
    Unknown(String),
    /// Something that must not come back.
    Broken(String),
}

/// Whether a connection is still the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// The session goes on.
    Same,
    /// There is a new process behind the door, and it has a new session.
    New,
}

/// One way to the coordinator, in the name of one agent.
pub trait Door {
    /// Gets ready, so that what fails later fails with the request on its way.
    fn connect(&mut self) -> anyhow::Result<Connection>;

    /// Asks, and waits so long for the answer.
    fn call(&mut self, operation: &str, arguments: &Value, patience: Duration) -> Reply;

    /// The session behind the door.
    fn session(&self) -> String;

    /// May a request have a field that its operation does not know?
    fn takes_any_field(&self) -> bool;

    /// The process behind the door, where it is the client's own.
    fn server(&self) -> Option<u32> {
        None
    }
}
