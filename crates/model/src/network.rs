//! A check whether something on the network may be reached, as the trail keeps it.

use serde::{Deserialize, Serialize};

/// What was asked, and what the answer was. The rules are judged before it is recorded: the store only writes it down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCheck {
    /// The host in its canonical form; what was asked for, where it names none.
    pub domain: String,
    /// The port, where one was named or is its scheme's.
    pub port: Option<u16>,
    /// The addresses that the name was found to have, where it was resolved.
    pub addresses: Vec<String>,
    /// The answer.
    pub allowed: bool,
    /// What decided: a rule, or what holds without one.
    pub policy: String,
    /// Why, in a sentence.
    pub reason: String,
}
