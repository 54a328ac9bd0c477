//! Each new conflict is told once, to both sides: a message from the coordinator, whose row in the trail is the event.
//!
//! What was told is known by the message's thread, which is made of what the conflict is between, so that no process tells
//! what another has told. Work that is not committed changes all the time: there it is what is checked out on either side
//! and which files conflict. A conflict between branches of nobody is a message of the coordinator to itself.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use model::command::{Action, Outcome, SendMessage};
use model::id::{AgentId, Project};
use model::messages::{Audience, MessageFilter, TEXT_LIMIT};
use serde_json::json;
use uuid::{Builder, Uuid};

use super::subjects::{State, Subject};
use super::{Conflict, FileConflict, locked};
use crate::Coordinator;
use crate::failure::Failure;
use crate::identity::hash;
use crate::redact::kept;

/// So many files are named in a message.
const FILES: usize = 8;
/// So many places of a file are named.
const PLACES: usize = 4;
/// The file that whoever tells holds locked, beside the repository's records.
const TURN: &str = "radar.turn";

impl Conflict {
    /// What it is told under.
    pub(super) fn thread(&self) -> Uuid {
        let mut sides = [&self.one, &self.other].map(|side| match side.state {
            State::Committed => side.commit.to_string(),
            State::Uncommitted => format!("{} and more", side.head),
        });
        sides.sort();
        let is_settled = self.one.state == State::Committed && self.other.state == State::Committed;
        let mut files: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        files.sort_unstable();
        let of = json!(["branch_conflicts", sides, if is_settled { vec![] } else { files }]);
        let (mut bytes, digest) = ([0; 16], hash(&of.to_string()));
        bytes.copy_from_slice(&digest[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// Whom it concerns, each once, with what to say.
    fn letters(&self, itself: &AgentId) -> Vec<(AgentId, String)> {
        match (&self.one.owner, &self.other.owner) {
            (None, None) => vec![(itself.clone(), self.letter(&self.one, &self.other, Order::AsTold))],
            (Some(one), Some(other)) if one == other => {
                vec![(one.clone(), self.letter(&self.one, &self.other, Order::AsTold))]
            }
            (one, other) => {
                let one = one.iter().map(|one| (one.clone(), self.letter(&self.one, &self.other, Order::AsTold)));
                let other = other.iter().map(|two| (two.clone(), self.letter(&self.other, &self.one, Order::Swapped)));
                one.chain(other).collect()
            }
        }
    }

    fn letter(&self, mine: &Subject, theirs: &Subject, order: Order) -> String {
        let mut letter =
            format!("{} does not merge with {}:", described(mine, Owner::Known), described(theirs, Owner::Told));
        for file in self.files.iter().take(FILES) {
            // Writing to a text cannot fail.
            let _ = write!(letter, "\n- {}", in_words(file, order));
        }
        if self.files.len() > FILES {
            let _ = write!(letter, "\n- and {} more", self.files.len() - FILES);
        }
        let with = match &theirs.owner {
            Some(agent) if Some(agent) != mine.owner.as_ref() => {
                format!("agree with {agent} (send_message) who changes what, or ")
            }
            _ => String::new(),
        };
        let close = format!(
            "\nNext: {with}rebase onto the other, or leave these files to it. branch_conflicts shows how it stands."
        );
        let mut letter = kept(&letter);
        let room = TEXT_LIMIT - close.len().min(TEXT_LIMIT);
        if letter.len() > room {
            letter.truncate(letter.floor_char_boundary(room.saturating_sub(5)));
            letter.push_str(" ...");
        }
        letter + &close
    }
}

/// Whose lines come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AsTold,
    Swapped,
}

/// Does the reader know whose it is?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Known,
    Told,
}

fn described(subject: &Subject, owner: Owner) -> String {
    let whose = match (owner, &subject.owner) {
        (Owner::Told, Some(agent)) => format!(" of {agent}"),
        _ => String::new(),
    };
    let what = match subject.state {
        State::Committed => subject.commit.short().to_owned(),
        State::Uncommitted => format!("{} with uncommitted work", subject.head.short()),
    };
    format!("{}{whose} ({what})", subject.name())
}

/// `src/a.rs: content, your lines 12-14 against 10`.
fn in_words(file: &FileConflict, order: Order) -> String {
    let mut words = format!("{}: {}", file.path, file.kind);
    if !file.others.is_empty() {
        let _ = write!(words, " (with {})", file.others.join(", "));
    }
    for (place, (one, other)) in file.hunks.iter().take(PLACES).enumerate() {
        let (mine, theirs) = if order == Order::AsTold { (one, other) } else { (other, one) };
        let _ = match place {
            0 => write!(words, ", lines {mine} here against {theirs} there"),
            _ => write!(words, ", {mine} against {theirs}"),
        };
    }
    if file.hunks.len() > PLACES {
        let _ = write!(words, ", and {} more places", file.hunks.len() - PLACES);
    }
    words
}

impl Coordinator {
    /// Tells whoever was not told; answers to whom each conflict was told now.
    pub(super) async fn tell(
        &self,
        project: &Project,
        records: &Path,
        conflicts: &[Conflict],
    ) -> Result<Vec<Vec<AgentId>>, Failure> {
        let threads: Vec<Uuid> = conflicts.iter().map(Conflict::thread).collect();
        let mut told_now = vec![vec![]; conflicts.len()];
        if threads.iter().all(|thread| locked(&self.radar.told).contains(thread)) {
            return Ok(told_now);
        }
        // Others that look at the same repository would tell the same at the same time.
        let _turn = turn(records).await?;
        for ((conflict, thread), told_now) in conflicts.iter().zip(threads).zip(&mut told_now) {
            if locked(&self.radar.told).contains(&thread) {
                continue;
            }
            *told_now = self.tell_one(project, conflict, thread).await?;
            locked(&self.radar.told).insert(thread);
        }
        Ok(told_now)
    }

    async fn tell_one(&self, project: &Project, conflict: &Conflict, thread: Uuid) -> Result<Vec<AgentId>, Failure> {
        let itself = self.itself();
        let filter =
            MessageFilter { thread: Some(thread.to_string()), sender: Some(itself.agent_id.clone()), limit: 10 };
        let earlier = self.store().messages(project, &filter).await?;
        let parameters = json!({
            "branches": [conflict.one.branch, conflict.other.branch],
            "commits": [conflict.one.commit.as_str(), conflict.other.commit.as_str()],
            "files": conflict.files.iter().map(|file| &file.path).collect::<Vec<_>>(),
        });
        let context = self.admin(project, &itself, super::operation::NAME, &parameters);
        let mut told = vec![];
        for (agent, text) in conflict.letters(&itself.agent_id) {
            let audience = Audience::Agent(agent.clone());
            if earlier.iter().any(|message| message.audience == audience) {
                continue;
            }
            let message = SendMessage { message_id: Uuid::now_v7(), audience, thread: Some(thread.to_string()), text };
            match context.apply(Action::SendMessage(message)).await? {
                Outcome::MessageSent { .. } => told.push(agent),
                Outcome::Refused(refusal) => return Err(refusal.into()),
                other => return Err(Failure::unexpected(&other)),
            }
        }
        told.retain(|agent| *agent != itself.agent_id);
        Ok(told)
    }
}

/// Waits for our turn, on another thread.
async fn turn(records: &Path) -> Result<File, Failure> {
    let path = records.join(TURN);
    let taken = tokio::task::spawn_blocking(move || -> std::io::Result<File> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.lock()?;
        Ok(file)
    });
    let taken = taken.await.map_err(|error| Failure::Internal(error.to_string()))?;
    taken
        .map_err(|error| Failure::Unavailable(format!("conflicts cannot be told, as {TURN} cannot be locked: {error}")))
}
