//! What is done at the coordinator for an event, by its ordinary operations.

use std::path::PathBuf;

use coordinator::local_sessions::LocalSessions;
use coordinator::radar::standing;
use coordinator::repository::Repository;
use coordinator::settings::Settings;
use coordinator::without_secrets;
use jiff::Timestamp;
use model::id::Caller;
use model::key::LockKey;
use serde_json::json;

use crate::deliver::excerpt;
use crate::desk::{Desk, Trouble};
use crate::event::{Answer, Likelihood, Moment, Tool, Verdict};
use crate::log::{Line, Notes};
use crate::site::Place;
use crate::{brief, deliver, handoff, leases, net, reach};

/// How often an agent at work is heard of, and what it holds is looked after, in milliseconds.
const BEAT: u64 = 60_000;
/// How often the second net is cast: after a command, and else.
const NET_AFTER_COMMAND: u64 = 2_000;
const NET: u64 = 30_000;
/// Before a compression that may come to nothing there is a handoff at most so often, in milliseconds.
pub const COMPACTION_AGAIN: u64 = 10 * 60_000;
/// The name under which it is remembered.
pub const COMPACTION: &str = "compaction";
/// Refusals that are not about what the agent is up to, but about how it is set up.
const MISTAKEN: &[&str] = &["identity_mismatch", "session_not_yours", "unauthorized", "invalid_request"];

/// How it is remembered that a team's server knows the agent by its key's name.
fn names_left_out(names: usize) -> String {
    format!("{names} names left out")
}

/// What an event asks of the coordinator.
#[derive(Debug, Default, Clone)]
pub struct Wish {
    /// Files to be changed: a lock on each.
    pub change: Vec<Place>,
    /// What else would be changed: nobody else may hold any of it.
    pub spare: Vec<Place>,
    /// Hosts that would be spoken to, as addresses or bare.
    pub reach: Vec<String>,
}

impl Wish {
    /// Is there nothing to ask for?
    pub fn is_empty(&self) -> bool {
        self.change.is_empty() && self.spare.is_empty() && self.reach.is_empty()
    }
}

/// What is to be done at the coordinator.
pub struct Errand {
    /// What happened.
    pub moment: Moment,
    /// What is to be changed.
    pub wish: Wish,
    /// The repository, and the work tree that the agent is in.
    pub repository: Repository,
    /// The sessions of the repository.
    pub sessions: LocalSessions,
    /// The session's directory.
    pub directory: PathBuf,
    /// The settings.
    pub settings: Settings,
    /// Who the agent is.
    pub caller: Caller,
    /// Milliseconds since 1970.
    pub now: u64,
}

impl Errand {
    /// Does it: what to answer, and what to remember. What is learnt holds whatever becomes of the rest.
    pub async fn run(
        &self,
        desk: &Desk,
        notes: &Notes,
        learn: &mut dyn FnMut(Line),
    ) -> Result<(Answer, Vec<Line>), Trouble> {
        let left_out = (1..=2).rev().find(|names| notes.is_told(&names_left_out(*names))).unwrap_or_default();
        desk.leave_out_names(left_out);
        if self.is_time_for_trust(notes) {
            // Where it is refused, what is to be done will say so.
            if let Ok(Some(level)) = trusted(desk).await {
                learn(Line::Trusted { level });
            }
        }
        let (answer, mut lines) = self.go(desk, notes).await?;
        if desk.names_left_out() > left_out {
            lines.push(Line::Told { what: names_left_out(desk.names_left_out()) });
        }
        Ok((answer, lines))
    }

    /// Is the agent's profile to be looked up? The guard goes by it, and must not ask at each command.
    fn is_time_for_trust(&self, notes: &Notes) -> bool {
        match self.moment {
            Moment::Start | Moment::Prompt(_) => true,
            Moment::After(_) => notes.is_time("beat", BEAT, self.now),
            _ => notes.trusted.is_none(),
        }
    }

    async fn go(&self, desk: &Desk, notes: &Notes) -> Result<(Answer, Vec<Line>), Trouble> {
        match &self.moment {
            Moment::Start => self.start(desk).await,
            Moment::Prompt(prompt) => self.prompt(desk, notes, prompt).await,
            Moment::Before(_) => self.before(desk, notes).await,
            Moment::After(tool) => self.after(desk, notes, tool).await,
            Moment::Compaction(likelihood) => {
                let why = match likelihood {
                    Likelihood::Certain => "the context was compressed",
                    Likelihood::Possible => "the context might have been compressed",
                };
                let mut lines = self.hand_over(desk, notes, why, None).await?;
                lines.push(Line::Did { what: COMPACTION.into(), at: self.now });
                Ok((Answer::silent(), lines))
            }
            Moment::Stop(said) => {
                let mut lines = self.hand_over(desk, notes, "the turn ended", said.as_deref()).await?;
                let leased: Vec<String> = notes.leased.iter().cloned().collect();
                leases::release(desk, &leased).await?;
                lines.push(Line::Released);
                Ok((Answer::silent(), lines))
            }
            Moment::End => {
                let lines = self.hand_over(desk, notes, "the session ended", None).await?;
                desk.ask("end_session", json!({})).await?;
                Ok((Answer::silent(), lines))
            }
            Moment::Other => Ok((Answer::silent(), vec![])),
        }
    }

    async fn start(&self, desk: &Desk) -> Result<(Answer, Vec<Line>), Trouble> {
        desk.ask("register_session", json!({})).await?;
        let mut warnings = net::quiet(&self.sessions, self.caller.agent_id.as_str());
        warnings.extend(brief::conflicts(
            &standing(&self.repository),
            &self.caller.agent_id,
            &self.repository.worktree,
        ));
        let brief = brief::make(desk, &warnings, Timestamp::now()).await?;
        Ok((Answer::tell(brief), vec![Line::Did { what: "beat".into(), at: self.now }]))
    }

    async fn prompt(&self, desk: &Desk, notes: &Notes, prompt: &str) -> Result<(Answer, Vec<Line>), Trouble> {
        let (told, mut lines) = deliver::news(desk, notes, self.now).await?;
        // Others see what it is at. Only once: what the agent itself says of itself later is better.
        if !notes.is_told("task") && !prompt.trim().is_empty() {
            let task = excerpt(&without_secrets(prompt), 200);
            desk.ask("register_session", json!({ "current_task": task })).await?;
            lines.push(Line::Told { what: "task".into() });
        }
        Ok((Answer { verdict: Verdict::Silent, context: told }, lines))
    }

    async fn before(&self, desk: &Desk, notes: &Notes) -> Result<(Answer, Vec<Line>), Trouble> {
        if let Some(reason) = reach::refusal(desk, &self.wish.reach).await? {
            return Ok((Answer::deny(reason), vec![]));
        }
        let spare: Vec<&LockKey> = self.wish.spare.iter().map(|place| &place.key).collect();
        if let Some(reason) = leases::conflict(desk, &spare).await? {
            return Ok((Answer::deny(reason), vec![]));
        }
        if self.wish.change.is_empty() {
            return Ok((Answer::silent(), vec![]));
        }
        let minutes = self.settings.hook_lease_minutes;
        let asked = notes.asked.as_deref().map(|asked| excerpt(asked, 100));
        match leases::take(desk, &self.repository.worktree, &self.wish.change, minutes, asked.as_deref()).await {
            Ok(leases) => {
                let answer = leases.denied.map_or_else(Answer::silent, Answer::deny);
                Ok((answer, leases.lines))
            }
            // It answered, and it said no: whatever the reason, the file is not the agent's.
            Err(Trouble::Refused { code, message }) if !MISTAKEN.contains(&code.as_str()) => {
                Ok((Answer::deny(format!("The coordinator refused this: {message} [{code}]")), vec![]))
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn after(&self, desk: &Desk, notes: &Notes, tool: &Tool) -> Result<(Answer, Vec<Line>), Trouble> {
        let (told, mut lines) = deliver::news(desk, notes, self.now).await?;
        let mut told: Vec<String> = told.into_iter().collect();
        if notes.is_time("beat", BEAT, self.now) {
            lines.push(Line::Did { what: "beat".into(), at: self.now });
            let heard = desk.ask("heartbeat", json!({})).await?;
            if heard["success"] == false {
                // Hooks that were set up in the middle of a session saw no beginning.
                desk.ask("register_session", json!({})).await?;
            }
            let leased: Vec<String> = notes.leased.iter().cloned().collect();
            let asked = notes.asked.as_deref().map(|asked| excerpt(asked, 100));
            leases::renew(desk, &leased, self.settings.hook_lease_minutes, asked.as_deref()).await?;
        }
        let every = if matches!(tool, Tool::Shell { .. }) { NET_AFTER_COMMAND } else { NET };
        if notes.is_time("net", every, self.now) {
            lines.push(Line::Did { what: "net".into(), at: self.now });
            let caught = net::cast(desk, &self.repository.worktree, &self.directory, &self.sessions, notes).await?;
            told.extend(caught.warnings);
            lines.extend(caught.lines);
        }
        Ok((Answer { verdict: Verdict::Silent, context: (!told.is_empty()).then(|| told.join("\n")) }, lines))
    }

    /// Leaves a handoff, unless nothing has changed or the agent has left one since.
    async fn hand_over(
        &self,
        desk: &Desk,
        notes: &Notes,
        why: &str,
        last_words: Option<&str>,
    ) -> Result<Vec<Line>, Trouble> {
        let Some(handoff) = handoff::of(notes, &self.repository.worktree, why, last_words) else { return Ok(vec![]) };
        let session = self.caller.session_id.as_ref().map(ToString::to_string);
        let latest = desk.ask("read_handoff", json!({ "session_id": session })).await?;
        let written = latest["handoffs"][0]["created_at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let last_change = notes.changed.values().max().copied().unwrap_or_default();
        let is_newer = written.is_some_and(|at| at.as_millisecond() >= i64::try_from(last_change).unwrap_or(i64::MAX));
        if !is_newer {
            desk.ask("write_handoff", handoff).await?;
        }
        Ok(vec![Line::HandedOver { at: self.now }])
    }
}

/// How far the agent is trusted: by the profile that it was given, or else its type's.
async fn trusted(desk: &Desk) -> Result<Option<u8>, Trouble> {
    let answer = desk.ask("get_my_profile", json!({})).await?;
    Ok(answer["profile"]["trust_level"].as_u64().and_then(|level| level.try_into().ok()))
}
