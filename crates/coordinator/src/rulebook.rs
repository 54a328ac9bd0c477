//! The rulebook, whatever its rules are about: what a rule said before, and putting an older text in force again.

use jiff::Timestamp;
use model::command::{Action, Outcome};
use model::rulebook::{PutRule, Rule, RuleKind};
use policy::{ResourceKind, Trust};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::{Details, Failure, FieldError};
use crate::operation::{Access, Context, Operation, Route};

/// The longest text of a rule, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;
/// The longest name of a rule, in characters.
const NAME_LIMIT: usize = 300;

/// What a rule is about, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum KindName {
    Assignment,
    Guardrails,
    Network,
    Policy,
    Profile,
    Verification,
}

impl From<KindName> for RuleKind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Assignment => Self::Assignment,
            KindName::Guardrails => Self::Guardrails,
            KindName::Network => Self::Network,
            KindName::Policy => Self::Policy,
            KindName::Profile => Self::Profile,
            KindName::Verification => Self::Verification,
        }
    }
}

/// A version of a rule, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VersionView {
    version: i64,
    author: String,
    #[schemars(with = "String")]
    created_at: Timestamp,
    /// What it says; null where this version removed the rule.
    body: Option<String>,
}

impl From<Rule> for VersionView {
    fn from(rule: Rule) -> Self {
        Self { version: rule.version, author: rule.author.into(), created_at: rule.created_at, body: rule.body }
    }
}

/// A rule was put.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PutAnswer {
    success: bool,
    name: String,
    /// The new version's number.
    version: i64,
    /// What to know about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl PutAnswer {
    /// With something to know.
    pub(crate) fn noting(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// Puts a rule whose text has been read through: it is in force when this returns, and in other servers within 2 s.
///
/// # Errors
/// [`Failure`] for a text that makes no sense, and when another version is there than the one that was seen.
pub async fn put(
    context: &Context<'_>,
    kind: RuleKind,
    name: String,
    body: Option<String>,
    expected_version: Option<i64>,
) -> Result<PutAnswer, Failure> {
    // A slash sets a policy's own id apart from its document's name.
    let is_bad = |c: char| c.is_control() || kind == RuleKind::Policy && c == '/';
    if name.trim().is_empty() || name.chars().count() > NAME_LIMIT || name.chars().any(is_bad) {
        let message = format!("must be 1 to {NAME_LIMIT} characters, no control characters, and no / in a policy's");
        return Err(Failure::field("name", message));
    }
    if let Some(body) = &body {
        check(context, kind, &name, body)?;
    }
    let put = PutRule { kind, name: name.clone(), body, expected_version };
    let outcome = context.apply(Action::PutRule(put)).await;
    context.coordinator.rule_watch.forget(context.project);
    match outcome? {
        Outcome::RulePut { version } => Ok(PutAnswer { success: true, name, version, note: None }),
        Outcome::Refused(refusal) => Err(refusal.into()),
        other => Err(Failure::unexpected(&other)),
    }
}

/// Reads the text of a rule through.
///
/// # Errors
/// [`Failure::Invalid`] with each mistake and its place.
pub fn check(context: &Context<'_>, kind: RuleKind, name: &str, body: &str) -> Result<(), Failure> {
    if body.len() > BODY_LIMIT {
        return Err(Failure::field("body", format!("must not be longer than {BODY_LIMIT} bytes")));
    }
    let mistakes = context.coordinator.rule_watch.compiler.mistakes(kind, name, body);
    if mistakes.is_empty() {
        return Ok(());
    }
    let fields = mistakes.into_iter().map(|message| FieldError { field: "body".into(), message }).collect();
    Err(Failure::Invalid { code: "invalid_rule", fields })
}

/// Shows the versions of a rule.
pub struct RuleHistory;

/// Of which rule.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct HistoryRequest {
    kind: KindName,
    /// Its name among those of its kind
    name: String,
    /// Default 20
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
}

/// The versions, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HistoryAnswer {
    versions: Vec<VersionView>,
}

impl Operation for RuleHistory {
    type Request = HistoryRequest;
    type Answer = HistoryAnswer;
    const NAME: &'static str = "rule_history";
    const SUMMARY: &'static str = "Show what a rule, profile or policy said before, newest first.";
    const ACCESS: Access = Access::Read;
    const RESOURCE: ResourceKind = ResourceKind::Rule;
    const ROUTES: &'static [Route] = &[Route::post("/rules/history")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: HistoryRequest) -> Result<HistoryAnswer, Failure> {
        let (kind, limit) = (request.kind.into(), request.limit.unwrap_or(20));
        let versions = context.coordinator.store().rule_history(context.project, kind, &request.name, limit).await?;
        Ok(HistoryAnswer { versions: versions.into_iter().map(VersionView::from).collect() })
    }
}

/// Puts an older text in force again.
pub struct RollBackRule;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RollBackRequest {
    kind: KindName,
    /// Its name among those of its kind
    name: String,
    /// The version whose text is to be in force again
    version: i64,
}

impl Operation for RollBackRule {
    type Request = RollBackRequest;
    type Answer = PutAnswer;
    const NAME: &'static str = "roll_back_rule";
    const SUMMARY: &'static str = "Put an older version of a rule, profile or policy in force again.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Admin;
    const RESOURCE: ResourceKind = ResourceKind::Rule;
    const ROUTES: &'static [Route] = &[Route::post("/rules/rollback")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: RollBackRequest) -> Result<PutAnswer, Failure> {
        let kind = request.kind.into();
        let history = context.coordinator.store().rule_history(context.project, kind, &request.name, 1000).await?;
        let latest = history.first().map_or(0, |rule| rule.version);
        let Some(earlier) = history.into_iter().find(|rule| rule.version == request.version) else {
            let message = format!("the {kind} rule {} has no version {}", request.name, request.version);
            return Err(Failure::Conflict(Details::new("rule_not_found", message)));
        };
        put(context, kind, request.name, earlier.body, Some(latest)).await
    }
}
