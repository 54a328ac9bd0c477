//! Working memory: an agent's notes for one session.

use jiff::Timestamp;
use model::JsonText;
use model::command::{Action, Outcome};
use model::working_memory::{Note, NotesOwner, Shown, TOKEN_BUDGET, UpdateWorkingMemory, compressed};
use policy::Trust;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::operation::{Access, Context, Operation, Route};
use crate::redact::{kept, kept_value};

/// The longest value, in bytes as JSON.
const VALUE_LIMIT: usize = 16_384;

/// Writes or forgets a note.
pub struct UpdateNotes;

/// The note.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct UpdateRequest {
    #[schemars(length(min = 1, max = 256))]
    key: String,
    /// Any JSON; without it the key is forgotten
    value: Option<Value>,
    /// Never compressed
    pinned: Option<bool>,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UpdateAnswer {
    success: bool,
    key: String,
    /// How many keys the session has now.
    entries: u32,
    /// The oldest keys, where there was no room for more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<String>,
}

impl Operation for UpdateNotes {
    type Request = UpdateRequest;
    type Answer = UpdateAnswer;
    const NAME: &'static str = "update_working_memory";
    const SUMMARY: &'static str = "Note something for the rest of this session.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const ROUTES: &'static [Route] = &[Route::post("/memory/working")];

    async fn run(context: &Context<'_>, request: UpdateRequest) -> Result<UpdateAnswer, Failure> {
        let key = kept(&request.key);
        let value = request.value.map(|value| JsonText::new(&kept_value(&value)));
        if let Some(length) = value.as_ref().map(|value| value.as_str().len()).filter(|length| *length > VALUE_LIMIT) {
            let message = format!("is {length} bytes long as JSON; {VALUE_LIMIT} are allowed");
            return Err(Failure::field("value", message));
        }
        let update = UpdateWorkingMemory { key: key.clone(), value, pinned: request.pinned };
        match context.apply(Action::UpdateWorkingMemory(update)).await? {
            Outcome::Noted { notes, dropped } => Ok(UpdateAnswer { success: true, key, entries: notes, dropped }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Shows notes.
pub struct GetNotes;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct NotesRequest {
    /// Only this, whole
    #[schemars(length(min = 1, max = 256))]
    key: Option<String>,
    /// Default 2000
    #[schemars(range(min = 1, max = 100_000))]
    token_budget: Option<u32>,
}

/// The notes: pinned ones first, then newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NotesAnswer {
    success: bool,
    entries: Vec<NoteView>,
    /// Older keys, for which there was no room: ask for them by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A note, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NoteView {
    key: String,
    value: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pinned: bool,
    /// The value is the beginning of its JSON: ask for the key to see it whole.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    compressed: bool,
    #[schemars(with = "String")]
    updated_at: Timestamp,
}

impl NoteView {
    fn of(note: Note, excerpt: Option<String>) -> Self {
        Self {
            compressed: excerpt.is_some(),
            value: excerpt.map_or_else(|| note.value.value(), Value::String),
            key: note.key,
            pinned: note.pinned,
            updated_at: note.updated_at,
        }
    }
}

impl Operation for GetNotes {
    type Request = NotesRequest;
    type Answer = NotesAnswer;
    const NAME: &'static str = "get_working_memory";
    const SUMMARY: &'static str = "Read this session's notes; the oldest are compressed.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/memory/working")];

    async fn run(context: &Context<'_>, request: NotesRequest) -> Result<NotesAnswer, Failure> {
        let caller = &context.caller;
        let owner = NotesOwner { agent_id: caller.agent_id.clone(), session_id: caller.session_id.clone() };
        let notes = context.coordinator.store().notes(context.project, &owner, request.key.as_deref()).await?;
        let mut answer = NotesAnswer { success: true, entries: vec![], left_out: vec![], reason: None };
        if request.key.is_some() {
            answer.entries = notes.into_iter().map(|note| NoteView::of(note, None)).collect();
            answer.success = !answer.entries.is_empty();
            answer.reason = answer.entries.is_empty().then_some("key_not_found");
            return Ok(answer);
        }
        for shown in compressed(notes, request.token_budget.unwrap_or(TOKEN_BUDGET)) {
            match shown {
                Shown::Whole(note) => answer.entries.push(NoteView::of(note, None)),
                Shown::Excerpt(note, excerpt) => answer.entries.push(NoteView::of(note, Some(excerpt))),
                Shown::Key(note) => answer.left_out.push(note.key),
            }
        }
        Ok(answer)
    }
}
