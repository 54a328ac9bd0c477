//! Messages: whom they reach is settled when they are sent; each waits in the inboxes until it is read.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::command::{Outcome, ReadMessages, Refusal, SendMessage};
use model::id::{AgentId, Caller};
use model::messages::{Audience, Message};

use super::{Result, Rows, next_position};

pub fn send(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &SendMessage) -> Result<Outcome> {
    let recipients = recipients(rows, now, caller, &request.audience)?;
    if recipients.is_empty() {
        return Ok(Outcome::Refused(Refusal::NoRecipients));
    }
    let message = Message {
        message_id: request.message_id,
        seq: next_position(rows),
        agent_id: caller.agent_id.clone(),
        agent_type: caller.agent_type.clone(),
        session_id: caller.session_id.clone(),
        audience: request.audience.clone(),
        thread: request.thread.clone(),
        text: request.text.clone(),
        created_at: now,
    };
    rows.insert_message(&message, &recipients)?;
    Ok(Outcome::MessageSent { message_id: message.message_id, recipients })
}

/// Whoever is connected is meant but for the sender, who can write to itself by name only.
fn recipients(rows: &mut impl Rows, now: Timestamp, caller: &Caller, audience: &Audience) -> Result<Vec<AgentId>> {
    if let Audience::Agent(agent) = audience {
        return Ok(vec![agent.clone()]);
    }
    // No session was heard of later than now, so these are all that are connected.
    let mut connected = rows.sessions_silent_since(now)?;
    if let Audience::Capability(capability) = audience {
        connected.retain(|session| session.capabilities.contains(capability));
    }
    let agents: BTreeSet<AgentId> = connected.into_iter().map(|session| session.agent_id).collect();
    Ok(agents.into_iter().filter(|agent| *agent != caller.agent_id).collect())
}

pub fn read(rows: &mut impl Rows, caller: &Caller, request: &ReadMessages) -> Result<Outcome> {
    let messages = rows.unread_messages(&caller.agent_id, request.limit)?;
    if let Some(last) = messages.last() {
        rows.mark_messages_read(&caller.agent_id, last.seq)?;
    }
    Ok(Outcome::MessagesRead { messages })
}
