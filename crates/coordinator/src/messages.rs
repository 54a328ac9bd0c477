//! Messages: what one agent tells others about the work they share.

use std::time::Duration;

use jiff::Timestamp;
use model::command::{Action, Outcome, ReadMessages as Read, SendMessage as Send};
use model::id::AgentId;
use model::key::LockKey;
use model::messages::{Audience, Message, MessageFilter, READ_LIMIT, TEXT_LIMIT};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::events::Looks;
use crate::failure::Failure;
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::redact::kept;

/// The `to` that means everybody.
const ALL: &str = "all";

/// Sends a message.
pub struct SendMessage;

/// What, and to whom.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SendRequest {
    /// An agent's id, or all
    #[schemars(length(min = 1, max = 256))]
    to: Option<String>,
    /// Whoever is here and can do this
    #[schemars(length(min = 1, max = 256))]
    to_capability: Option<String>,
    #[schemars(length(min = 1, max = 4096))]
    text: String,
    /// The lock key or task id it is about
    #[schemars(length(min = 1, max = 4096))]
    thread: Option<String>,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SendAnswer {
    success: bool,
    message_id: Uuid,
    /// In whose inboxes it is.
    recipients: Vec<String>,
}

impl Operation for SendMessage {
    type Request = SendRequest;
    type Answer = SendAnswer;
    const NAME: &'static str = "send_message";
    const SUMMARY: &'static str = "Tell another agent, or all, something about shared work.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/messages/send")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const ONE_OF: &'static [&'static [&'static str]] = &[&["to", "to_capability"]];
    const DETAIL: &'static str = "A message to an agent waits for it, be it here or not. One to all, or to a capability, reaches the \
        agents that are connected now, but not you. thread ties it to a lock key or a task. Say what the other needs to \
        act; it is no chat.";

    async fn run(context: &Context<'_>, request: SendRequest) -> Result<SendAnswer, Failure> {
        let text = kept(&request.text);
        if text.len() > TEXT_LIMIT {
            return Err(Failure::field("text", format!("is {} bytes long; {TEXT_LIMIT} are allowed", text.len())));
        }
        let audience = match (request.to, request.to_capability) {
            (Some(_), Some(_)) => return Err(Failure::field("to", "cannot be given together with to_capability")),
            (_, Some(capability)) => Audience::Capability(capability),
            (Some(to), None) if to == ALL => Audience::All,
            (to, None) => Audience::Agent(
                AgentId::new(to.unwrap_or_default()).map_err(|error| Failure::field("to", error.to_string()))?,
            ),
        };
        let thread = request.thread.as_deref().map(thread).transpose()?;
        let send = Send { message_id: Uuid::now_v7(), audience, thread, text };
        match context.apply(Action::SendMessage(send)).await? {
            Outcome::MessageSent { message_id, recipients } => {
                let recipients = recipients.into_iter().map(String::from).collect();
                Ok(SendAnswer { success: true, message_id, recipients })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// A task's id, or a lock key in its canonical spelling.
fn thread(text: &str) -> Result<String, Failure> {
    match text.parse::<Uuid>() {
        Ok(task_id) => Ok(task_id.to_string()),
        Err(_) => Ok(LockKey::parse(text).map_err(|bad| Failure::bad_key("thread", &bad))?.to_string()),
    }
}

/// Empties the caller's inbox.
pub struct ReadMessages;

/// How.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ReadRequest {
    /// If there is none, wait this long for one
    #[schemars(range(min = 0, max = 300))]
    wait_seconds: Option<u32>,
}

/// The messages, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MessagesAnswer {
    success: bool,
    messages: Vec<MessageView>,
}

/// A message, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MessageView {
    message_id: Uuid,
    from: String,
    agent_type: String,
    /// An agent, `capability:NAME` or `all`.
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
    text: String,
    #[schemars(with = "String")]
    sent_at: Timestamp,
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        Self {
            message_id: message.message_id,
            from: message.agent_id.into(),
            agent_type: message.agent_type,
            to: match message.audience {
                Audience::Agent(agent) => agent.into(),
                Audience::Capability(capability) => format!("capability:{capability}"),
                Audience::All => ALL.into(),
            },
            thread: message.thread,
            text: message.text,
            sent_at: message.created_at,
        }
    }
}

impl MessagesAnswer {
    fn of(messages: Vec<Message>) -> Self {
        Self { success: true, messages: messages.into_iter().map(MessageView::from).collect() }
    }
}

impl Operation for ReadMessages {
    type Request = ReadRequest;
    type Answer = MessagesAnswer;
    const NAME: &'static str = "read_messages";
    const SUMMARY: &'static str = "Read what others sent you; each message once.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/messages/read")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const DETAIL: &'static str = "At most 50 at once, oldest first. An empty inbox is an ordinary answer.";

    async fn run(context: &Context<'_>, request: ReadRequest) -> Result<MessagesAnswer, Failure> {
        let wait = Duration::from_secs(request.wait_seconds.unwrap_or(0).into());
        let mut looks = Looks::within(context.coordinator, wait);
        loop {
            let is_last = looks.are_over();
            // An empty inbox is seen without a write: an agent may look as often as it likes.
            let store = context.coordinator.store();
            if !store.unread_messages(context.project, &context.caller.agent_id, 1).await?.is_empty() {
                match context.apply(Action::ReadMessages(Read { limit: READ_LIMIT })).await? {
                    // Another process of the same agent was quicker.
                    Outcome::MessagesRead { messages } if messages.is_empty() && !is_last => {}
                    Outcome::MessagesRead { messages } => return Ok(MessagesAnswer::of(messages)),
                    Outcome::Refused(refusal) => return Err(refusal.into()),
                    other => return Err(Failure::unexpected(&other)),
                }
            }
            if is_last {
                return Ok(MessagesAnswer::of(vec![]));
            }
            looks.pause().await;
        }
    }
}

/// Shows messages, whoever they are for.
pub struct ListMessages;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListRequest {
    /// Only those about this lock key or task
    #[schemars(length(min = 1, max = 4096))]
    thread: Option<String>,
    /// Only those of this agent
    #[schemars(length(min = 1, max = 256))]
    from: Option<String>,
    /// Default 20
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

impl Operation for ListMessages {
    type Request = ListRequest;
    type Answer = MessagesAnswer;
    const NAME: &'static str = "list_messages";
    const SUMMARY: &'static str = "See what agents wrote to each other, newest first.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/messages")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const DETAIL: &'static str = "Leaves all inboxes as they are.";

    async fn run(context: &Context<'_>, request: ListRequest) -> Result<MessagesAnswer, Failure> {
        let sender = request.from.map(AgentId::new).transpose();
        let filter = MessageFilter {
            thread: request.thread.as_deref().map(thread).transpose()?,
            sender: sender.map_err(|error| Failure::field("from", error.to_string()))?,
            limit: request.limit.unwrap_or(20),
        };
        Ok(MessagesAnswer::of(context.coordinator.store().messages(context.project, &filter).await?))
    }
}
