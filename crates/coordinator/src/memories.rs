//! Memories: what agents learnt, found again by whoever meets the same thing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::command::{Action, Outcome};
use model::memories::{Effect, EventType, Remember, Source, canonical_tags};
use model::ranking::{Question, Ranked, Why};
use policy::Trust;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::identity::{hash, hex};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::redact::{kept, kept_value};

/// The longest details, in bytes as JSON.
const DETAILS_LIMIT: usize = 8192;

/// Stores a memory.
pub struct RememberMemory;

/// What was learnt.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RememberRequest {
    event_type: EventName,
    /// What you learnt, in a sentence
    #[schemars(length(min = 1, max = 1000))]
    summary: String,
    /// Trace, command, config
    details: Option<Value>,
    outcome: Option<EffectName>,
    /// What to do next time
    #[schemars(length(max = 20), inner(length(min = 1, max = 1000)))]
    lessons: Option<Vec<String>>,
    #[schemars(length(max = 20), inner(length(min = 1, max = 128)))]
    tags: Option<Vec<String>>,
    /// Id of the memory that no longer holds
    supersedes: Option<Uuid>,
    /// Ids of memories that helped
    #[schemars(length(max = 20))]
    used: Option<Vec<Uuid>>,
}

/// What a memory is about.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EventName {
    Error,
    Success,
    Decision,
    Discovery,
    Optimization,
}

impl From<EventName> for EventType {
    fn from(name: EventName) -> Self {
        match name {
            EventName::Error => Self::Error,
            EventName::Success => Self::Success,
            EventName::Decision => Self::Decision,
            EventName::Discovery => Self::Discovery,
            EventName::Optimization => Self::Optimization,
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EffectName {
    Positive,
    Negative,
    Neutral,
}

impl From<EffectName> for Effect {
    fn from(name: EffectName) -> Self {
        match name {
            EffectName::Positive => Self::Positive,
            EffectName::Negative => Self::Negative,
            EffectName::Neutral => Self::Neutral,
        }
    }
}

/// The memory's id.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RememberAnswer {
    success: bool,
    memory_id: Uuid,
    /// `deduplicated`: merged into your memory of the same within the last hour.
    action: RememberAction,
}

/// What was done.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RememberAction {
    Created,
    Deduplicated,
}

impl Operation for RememberMemory {
    type Request = RememberRequest;
    type Answer = RememberAnswer;
    const NAME: &'static str = "remember";
    const SUMMARY: &'static str = "Store what you learnt, for all agents and later sessions.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const ROUTES: &'static [Route] = &[Route::post("/memory/store")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] = &["used"];

    async fn run(context: &Context<'_>, request: RememberRequest) -> Result<RememberAnswer, Failure> {
        let summary = kept(request.summary.trim());
        if summary.is_empty() {
            return Err(Failure::field("summary", "must say something"));
        }
        let event_type = EventType::from(request.event_type);
        let mut used = request.used.unwrap_or_default();
        used.sort_unstable();
        used.dedup();
        let words: Vec<&str> = summary.split_whitespace().collect();
        let same = json!([context.caller.agent_id, event_type, words.join(" ")]);
        let tags: Vec<String> = request.tags.unwrap_or_default().iter().map(|tag| kept(tag)).collect();
        let mut seen = BTreeSet::new();
        let lessons = request.lessons.unwrap_or_default().iter().map(|lesson| kept(lesson.trim())).collect::<Vec<_>>();
        let mut memory = Remember {
            memory_id: Uuid::now_v7(),
            event_type,
            summary,
            details: details(request.details)?.into_iter().collect(),
            outcome: request.outcome.map(Effect::from),
            lessons: lessons.into_iter().filter(|lesson| !lesson.is_empty() && seen.insert(lesson.clone())).collect(),
            tags: canonical_tags(&tags),
            supersedes: request.supersedes,
            used,
            fingerprint: hex(&hash(&same.to_string())),
            terms: Default::default(),
        };
        memory.terms = memory.found_by();
        match context.apply(Action::Remember(memory)).await? {
            Outcome::Remembered { memory_id, merged } => {
                let action = if merged { RememberAction::Deduplicated } else { RememberAction::Created };
                Ok(RememberAnswer { success: true, memory_id, action })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Details as they are stored: a text as it is, anything else as JSON.
fn details(given: Option<Value>) -> Result<Option<String>, Failure> {
    let text = match given.map(|value| kept_value(&value)) {
        None => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    if text.len() > DETAILS_LIMIT {
        let message = format!("is {} bytes long; {DETAILS_LIMIT} are allowed", text.len());
        return Err(Failure::field("details", message));
    }
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// Finds memories.
pub struct Recall;

/// What is to be found.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RecallRequest {
    /// Your task, question, path or error text
    #[schemars(length(max = 16384))]
    task_description: Option<String>,
    /// Any of
    #[schemars(length(max = 20), inner(length(min = 1, max = 128)))]
    tags: Option<Vec<String>>,
    event_type: Option<EventName>,
    /// Default 10
    #[schemars(range(min = 1, max = 50))]
    limit: Option<u32>,
    #[schemars(range(min = 0.0, max = 1.0))]
    min_relevance: Option<f64>,
    /// Say why each
    explain: Option<bool>,
}

/// Memories, best first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecallAnswer {
    memories: Vec<MemoryView>,
}

/// A memory, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MemoryView {
    id: Uuid,
    memory_type: &'static str,
    event_type: &'static str,
    summary: String,
    /// The summary.
    content: String,
    /// A text, or an object where an object was stored.
    details: Value,
    outcome: Option<&'static str>,
    lessons: Vec<String>,
    tags: Vec<String>,
    /// From 0 to 1.
    relevance_score: f64,
    /// The same.
    relevance: f64,
    agent_id: String,
    #[schemars(with = "String")]
    created_at: Timestamp,
    /// The memory that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<WhyView>,
}

/// What a relevance is made of.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WhyView {
    /// The share of what was asked that the memory covers.
    text: f64,
    /// The words that it covers, and their shares.
    matched: Map<String, Value>,
    /// The share of the tags asked for that it has.
    tags: f64,
    /// Of its outcome, lessons and use.
    importance: f64,
    /// 1 when new, halved every 90 days.
    recency: f64,
    /// How often it was stored again, or helped.
    uses: u32,
    /// Each time it was stored.
    sources: Vec<SourceView>,
}

/// One storing.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceView {
    /// The id in the audit trail.
    id: Uuid,
    session_id: Option<String>,
    #[schemars(with = "String")]
    at: Timestamp,
}

impl From<Source> for SourceView {
    fn from(source: Source) -> Self {
        Self { id: source.id, session_id: source.session_id.map(String::from), at: source.at }
    }
}

impl Operation for Recall {
    type Request = RecallRequest;
    type Answer = RecallAnswer;
    const NAME: &'static str = "recall";
    const SUMMARY: &'static str = "Find what agents learnt before, best first.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/memory/query")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] = &["event_type", "explain", "min_relevance"];

    async fn run(context: &Context<'_>, request: RecallRequest) -> Result<RecallAnswer, Failure> {
        let text = request.task_description.unwrap_or_default();
        let question = Question::new(&text, &request.tags.unwrap_or_default(), request.event_type.map(EventType::from));
        let (least, explain) = (request.min_relevance.unwrap_or(0.0), request.explain.unwrap_or(false));
        let ranked = store::recall(context.coordinator.store(), context.project, &question).await?;
        let best = ranked.into_iter().filter(|r| r.relevance >= least).take(request.limit.unwrap_or(10) as usize);
        Ok(RecallAnswer { memories: best.map(|ranked| MemoryView::of(ranked, explain)).collect() })
    }
}

impl MemoryView {
    fn of(ranked: Ranked, explain: bool) -> Self {
        let Ranked { memory, relevance, why } = ranked;
        Self {
            id: memory.memory_id,
            memory_type: "episodic",
            event_type: memory.event_type.as_str(),
            content: memory.summary.clone(),
            summary: memory.summary,
            details: united(&memory.details),
            outcome: memory.outcome.map(Effect::as_str),
            lessons: memory.lessons,
            tags: memory.tags,
            relevance_score: relevance,
            relevance,
            agent_id: memory.agent_id.into(),
            created_at: memory.created_at,
            superseded_by: memory.superseded_by,
            why: explain.then(|| WhyView::of(why, memory.uses, memory.sources)),
        }
    }
}

impl WhyView {
    fn of(why: Why, uses: u32, sources: Vec<Source>) -> Self {
        let short = |number: f64| (number * 1000.0).round() / 1000.0;
        Self {
            text: short(why.text),
            matched: why.matched.into_iter().map(|m| (m.word, json!(short(m.share)))).collect(),
            tags: short(why.tags),
            importance: short(why.importance),
            recency: short(why.recency),
            uses,
            sources: sources.into_iter().map(SourceView::from).collect(),
        }
    }
}

/// Details as one: objects united field by field, the latest value of each; texts one after another.
fn united(details: &[String]) -> Value {
    let objects: Vec<Map<String, Value>> = details.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    match details {
        [] => Value::Null,
        _ if objects.len() == details.len() => Value::Object(objects.into_iter().flatten().collect()),
        _ => Value::String(details.join("\n\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_united_as_what_they_are() {
        let united = |details: &[&str]| united(&details.iter().map(|d| (*d).to_owned()).collect::<Vec<_>>());
        assert_eq!(united(&[]), Value::Null);
        assert_eq!(united(&["a trace"]), json!("a trace"));
        assert_eq!(united(&["a trace", r#"{"a": 1}"#]), json!("a trace\n\n{\"a\": 1}"));
        assert_eq!(united(&[r#"{"a": 1, "b": 1}"#, r#"{"b": 2}"#]), json!({"a": 1, "b": 2}));
        assert_eq!(united(&["[1]"]), json!("[1]"));
    }
}
