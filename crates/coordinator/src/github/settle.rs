//! From what is known of something to what is done about it.

use std::collections::{BTreeMap, BTreeSet};

use github::Client;
use github::sighting::{IssueState, Known, Whose, agent_of_branch};
use jiff::Timestamp;
use model::command::{Action, Outcome};
use model::id::{AgentId, Caller, SessionId};
use model::key::LockKey;
use model::locks::Lock;
use serde_json::{Value, json};

use super::records::{Name, Records, Refused, Stored, Subject};
use super::{AGENT_TYPE, locks, merging, tasks};
use crate::failure::Failure;
use crate::registry;

/// How often it is begun anew because more was seen meanwhile.
const ATTEMPTS: usize = 20;
/// The most files of one branch that are locked: more are a sweep through the repository, of which its owner should speak
/// with the others.
const FILES_LIMIT: usize = 1_000;

/// Whoever brings about what is wanted.
pub(super) struct Desk<'a> {
    pub records: Records<'a>,
    /// Without it, what needs a question to GitHub is left for later.
    pub client: Option<&'a Client>,
    /// All locks, as they were last read.
    pub locks: Vec<Lock>,
    /// The time of the database, when they were read first.
    pub now: Timestamp,
    /// The type of each agent that is connected.
    types: BTreeMap<AgentId, String>,
}

/// What something wants to be locked, and for whom.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub agent: Option<AgentId>,
    pub keys: BTreeSet<LockKey>,
    /// What of it cannot be wanted.
    pub refused: BTreeMap<String, Refused>,
}

impl<'a> Desk<'a> {
    pub async fn open(records: Records<'a>, client: Option<&'a Client>) -> Result<Self, Failure> {
        let store = records.coordinator.store();
        let (sessions, now) = store.sessions(records.project, true).await?;
        let types = sessions.into_iter().rev().map(|session| (session.agent_id, session.agent_type)).collect();
        let locks = store.locks(records.project, None).await?;
        Ok(Self { records, client, locks, now, types })
    }

    /// Reads the locks again, after some were changed.
    pub async fn look_again(&mut self) -> Result<(), Failure> {
        self.locks = self.records.coordinator.store().locks(self.records.project, None).await?;
        Ok(())
    }

    /// Brings about what the record wants.
    pub async fn settle(&mut self, name: &Name) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let Some(Stored { revision, value: before }) = self.records.read::<Subject>(name).await? else {
                return Ok(());
            };
            let after = self.settled(name, &before).await?;
            if after == before || self.records.write_subject(name, revision, &after).await?.is_some() {
                return Ok(());
            }
            // More was seen meanwhile: what was done for the old is now set right.
        }
        Ok(())
    }

    async fn settled(&mut self, name: &Name, before: &Subject) -> Result<Subject, Failure> {
        let mut after = Subject { settled: true, refused: BTreeMap::new(), ..before.clone() };
        let wanted = wanted(&before.known);
        locks::hold(self, name, before, wanted, &mut after.refused).await?;
        match &before.known {
            Known::Issue { state, .. } => tasks::follow(self, name, state, before, &mut after).await?,
            Known::Pull { state, .. } => merging::follow(self, name, state, before, &mut after).await?,
            Known::Branch { .. } => {}
        }
        Ok(after)
    }

    /// The agent as the caller of what is done for the record.
    pub fn caller(&self, agent: &AgentId, name: &Name) -> Caller {
        let agent_type = self.types.get(agent).cloned().unwrap_or_else(|| AGENT_TYPE.into());
        Caller { agent_id: agent.clone(), agent_type, session_id: SessionId::new(name.session()).ok() }
    }

    /// Does it in the caller's name, if it may: as this operation, of which `parameters` go into the trail.
    pub async fn act(
        &self,
        operation: &'static str,
        caller: &Caller,
        mut parameters: Value,
        name: &Name,
        action: Action,
    ) -> Result<Result<Outcome, Refused>, Failure> {
        let Some(entry) = registry::find(operation) else {
            return Err(Failure::Internal(format!("there is no operation {operation}")));
        };
        parameters["github"] = json!(name.in_words());
        let Records { coordinator, project } = self.records;
        let context = match coordinator.call_from_github(entry, project, caller, parameters).await {
            Ok(context) => context,
            Err(failure) => return Refused::of(failure).map(Err),
        };
        Ok(match context.apply(action).await? {
            Outcome::Refused(refusal) => Err(Refused::of(refusal.into())?),
            outcome => Ok(outcome),
        })
    }
}

impl Refused {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// What the caller is told; an error is what may pass by itself, and is tried again.
    fn of(failure: Failure) -> Result<Self, Failure> {
        match failure {
            Failure::Invalid { .. } | Failure::Forbidden(_) | Failure::Conflict(_) => {
                Ok(Self::new(failure.code(), failure.message()))
            }
            other => Err(other),
        }
    }
}

/// What is to be locked because of this.
pub(super) fn wanted(known: &Known) -> Wanted {
    match known {
        Known::Issue { state, .. } => wanted_by_issue(state),
        Known::Pull { .. } => Wanted::default(),
        Known::Branch { state } => {
            let mut wanted = Wanted::default();
            for file in state.files.keys().take(FILES_LIMIT) {
                wanted.want(file);
            }
            if state.files.len() > FILES_LIMIT {
                let message = format!(
                    "this branch changes {} files; the first {FILES_LIMIT} of them are locked. Lock a directory or a glob \
                     instead, with a label locked:PATH on an issue",
                    state.files.len()
                );
                wanted.refused.insert("files".into(), Refused::new("too_many_files", message));
            }
            wanted
        }
    }
}

fn wanted_by_issue(state: &IssueState) -> Wanted {
    let mut wanted = Wanted::default();
    if state.end.is_some() {
        return wanted;
    }
    let (code, message) = match &state.whose {
        Whose::Agent(agent) => {
            wanted.agent = Some(agent.clone());
            state.locked.iter().for_each(|text| wanted.want(text));
            return wanted;
        }
        Whose::Nobody => {
            ("no_agent", "nothing is locked, as nobody is named: add a label agent:ID, or assign somebody".to_owned())
        }
        Whose::Several(names) => (
            "several_agents",
            format!("it has labels for several agents ({}), so it is nobody's: leave one", names.join(", ")),
        ),
    };
    if !state.locked.is_empty() || state.is_assigned {
        wanted.refused.insert("agent".into(), Refused::new(code, message));
    }
    wanted
}

impl Wanted {
    fn want(&mut self, text: &str) {
        match LockKey::parse(text) {
            Ok(key) => {
                self.keys.insert(key);
            }
            Err(bad) => {
                let message = format!("{text} cannot be locked: {bad}");
                self.refused.insert(format!("lock:{text}"), Refused::new(bad.code(), message));
            }
        }
    }
}

/// For whom the record's locks are.
pub(super) fn owner(name: &Name, wanted: &Wanted) -> Option<AgentId> {
    wanted.agent.clone().or_else(|| agent_of_branch(&name.name))
}
