//! What each client asked, when, and what it was told: a file of JSON lines for each, written as it happens.
//!
//! The line of a request is written before the request is sent, and that of its answer after the answer was read, so a
//! client can be killed at any point and its file still tells the truth: a request without an answer may or may not have
//! been carried out.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// About to send a request.
    Asked(Asked),
    /// An answer was read.
    Answered {
        /// Of which request.
        op: String,
        /// When, by the monotonic clock.
        at: u64,
        /// Was it an error?
        refused: bool,
        /// The answer.
        answer: Value,
    },
    /// No answer will come any more.
    Unknown {
        /// To which request.
        op: String,
        /// Why not.
        why: String,
    },
    /// The answer is one that must not be given.
    Broken {
        /// To which request.
        op: String,
        /// What was wrong with it.
        why: String,
    },
    /// The client killed the server process of its own.
    KilledServer,
    /// The server process of its own ended unasked, or would not start.
    Crash {
        /// How.
        why: String,
    },
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    /// Its marker, which is somewhere in its arguments and nowhere else.
    pub op: String,
    /// When, by the monotonic clock.
    pub at: u64,
    /// When, by the wall clock.
    pub wall: i64,
    /// Who asked.
    pub agent: String,
    /// In which session.
    pub session: String,
    /// The operation's name.
    pub operation: String,
    /// Its arguments, but for those that tell who asks.
    pub arguments: Value,
}

/// Writes a history. A clone writes to the same file.
pub struct History(File);

impl History {
    /// Into this new file.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::options().append(true).create_new(true).open(path);
        Ok(Self(file.with_context(|| path.display().to_string())?))
    }

    /// Another hand on the same file.
    pub fn another(&self) -> anyhow::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Adds a line in one piece.
    pub fn write(&mut self, event: &Event) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        Ok(self.0.write_all(&line)?)
    }
}

/// A request with what became of it.
#[derive(Debug, Clone)]
pub struct Op {
    /// The request.
    pub asked: Asked,
    /// Its end.
    pub end: End,
}

/// What a client knows of its request's end.
#[derive(Debug, Clone)]
pub enum End {
    /// It was answered.
    Answered {
        /// When.
        at: u64,
        /// With an error?
        refused: bool,
        /// With what.
        answer: Value,
    },
    /// Nothing.
    Unknown,
}

impl Op {
    /// When the answer was there; `None` when there was none.
    pub fn answered_at(&self) -> Option<u64> {
        match &self.end {
            End::Answered { at, .. } => Some(*at),
            End::Unknown => None,
        }
    }

    /// Does it only look?
    pub fn is_read(&self) -> bool {
        matches!(self.asked.operation.as_str(), "get_task" | "check_locks")
    }
}

/// What the histories of a run hold.
#[derive(Debug, Default)]
pub struct Histories {
    /// Every request.
    pub ops: Vec<Op>,
    /// Answers that must not be given, in words.
    pub broken: Vec<String>,
    /// Server processes that clients killed.
    pub servers_killed: u64,
    /// Server processes that ended unasked, in words.
    pub crashes: Vec<String>,
}

impl Histories {
    /// Reads all files of the directory. A line that its writer was killed in is none.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let mut all = Self::default();
        let files =
            std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        for file in files {
            let text = std::fs::read_to_string(&file)?;
            let complete = text.rfind('\n').map_or("", |end| &text[..end]);
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            all.add(complete.lines()).with_context(|| name.into_owned())?;
        }
        Ok(all)
    }

    fn add<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
        let mut places = HashMap::new();
        for line in lines {
            match serde_json::from_str(line).with_context(|| line.to_owned())? {
                Event::Asked(asked) => {
                    places.insert(asked.op.clone(), self.ops.len());
                    self.ops.push(Op { asked, end: End::Unknown });
                }
                Event::Answered { op, at, refused, answer } => {
                    let place = places.get(&op).with_context(|| format!("an answer to {op}, which was not asked"))?;
                    self.ops[*place].end = End::Answered { at, refused, answer };
                }
                Event::Unknown { .. } => {}
                Event::Broken { op, why } => self.broken.push(format!("{op}: {why}")),
                Event::KilledServer => self.servers_killed += 1,
                Event::Crash { why } => self.crashes.push(why),
            }
        }
        Ok(())
    }
}

/// The marker of this number in this run of this client.
pub fn marker(slot: u32, run: u32, number: u64) -> String {
    format!("op{slot}x{run}x{number}z")
}

/// The marker in a text, if there is one.
pub fn marker_in(text: &str) -> Option<&str> {
    text.match_indices("op").find_map(|(start, _)| {
        let end = start + text[start..].find('z')? + 1;
        let numbers = text[start + 2..end - 1].split('x');
        let good = numbers.clone().count() == 3
            && numbers.into_iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        good.then_some(&text[start..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_in_any_text() {
        let marker = marker(12, 3, 456);
        assert_eq!(marker_in(&format!("{{\"file_path\":\"{marker}/../src/a.rs\"}}")), Some(marker.as_str()));
        assert_eq!(marker_in(&format!("opzope op1x2z {marker}")), Some(marker.as_str()));
        assert_eq!(marker_in("op1x2z opaz op1x2xz"), None);
    }

    #[test]
    fn a_request_without_an_answer_is_unknown() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("client.jsonl");
        let mut history = History::create(&path)?;
        let asked = |op: &str| {
            Event::Asked(Asked {
                op: op.into(),
                at: 1,
                wall: 1,
                agent: "agent-1".into(),
                session: "s".into(),
                operation: "get_work".into(),
                arguments: Value::Null,
            })
        };
        history.write(&asked("op1x1x1z"))?;
        history.write(&Event::Answered { op: "op1x1x1z".into(), at: 2, refused: false, answer: Value::Null })?;
        history.write(&asked("op1x1x2z"))?;
        history.0.write_all(b"{\"event\":\"answered\",\"op\":\"op1x1x2z\",\"at\"")?;
        let all = Histories::read(directory.path())?;
        assert_eq!(all.ops.iter().map(Op::answered_at).collect::<Vec<_>>(), [Some(2), None]);
        Ok(())
    }
}
