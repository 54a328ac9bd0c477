//! Guardrails: what commands, texts and files may not do. The rules are in the crate `guardrails` and in the project's
//! rulebook; this is where they are asked, and where what they refuse is recorded.
//!
//! What is refused and a person may allow becomes a request for an approval, in the transaction that records the refusal.

use std::sync::Arc;

use ::guardrails::{Decision, Guard, Packs, Request, Rule as GuardRule, Severity, Trust, Verdict, Violation};
use jiff::Timestamp;
use model::approvals::{ApprovalFilter, ApprovalStatus, Pass, RequestApproval, Subject};
use model::command::{Action, Outcome, Refusal};
use model::rulebook::RuleKind;
use policy::{ResourceKind, Trust as Level};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::failure::{Details, Failure, in_words};
use crate::identity::{hash, hex};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::redact::{kept, without_secrets};
use crate::rulebook::{PutAnswer, put};

/// The operation under which a command that an agent runs itself is approved.
pub const RUN_COMMAND: &str = "run_command";
/// Longer texts are checked on a thread of their own: the server has one for everything else.
const INLINE_LIMIT: usize = 16 * 1024;
/// How long a request waits for somebody to decide, where nobody says otherwise.
pub(crate) const REQUEST_SECONDS: u32 = 24 * 3600;

/// What is to be checked, owned, so that it can go to another thread.
#[derive(Debug, Default)]
pub(crate) struct Question {
    /// A command or SQL.
    pub command: String,
    /// Text that may tell of commands.
    pub prose: String,
    /// Files that are changed.
    pub file_paths: Vec<String>,
    /// Where the command starts.
    pub cwd: Option<String>,
    /// Whose `~` it is.
    pub home: Option<String>,
}

impl Question {
    fn len(&self) -> usize {
        self.command.len() + self.prose.len() + self.file_paths.iter().map(String::len).sum::<usize>()
    }

    fn check(&self, guard: &Guard, trust: Option<Trust>) -> Verdict {
        guard.check(&Request {
            command: &self.command,
            prose: &self.prose,
            file_paths: &self.file_paths,
            cwd: self.cwd.as_deref(),
            home: self.home.as_deref(),
            trust,
        })
    }

    /// Exactly this, done by this operation.
    fn fingerprint(&self, operation: &str, about: &str) -> String {
        let whole = serde_json::json!([operation, about, self.command.trim(), self.prose, self.file_paths]);
        hex(&hash(&whole.to_string()))
    }
}

/// The fingerprint of a command that an agent runs itself.
pub(crate) fn command_fingerprint(command: &str) -> String {
    Question { command: command.to_owned(), ..Question::default() }.fingerprint(RUN_COMMAND, "")
}

impl Context<'_> {
    /// What the project's guardrails say to it, for this caller.
    async fn guarded(&self, question: Arc<Question>) -> Result<Verdict, Failure> {
        let guard = self.coordinator.rules(self.project).await?.guard()?;
        let trust = Trust::new(self.profile.trust.level());
        if question.len() <= INLINE_LIMIT {
            return Ok(question.check(&guard, trust));
        }
        tokio::task::spawn_blocking(move || question.check(&guard, trust))
            .await
            .map_err(|error| Failure::Internal(error.to_string()))
    }

    /// Lets what the caller is about to do through the guardrails: with the approval that it needs, if it needs one.
    ///
    /// # Errors
    /// [`Failure::Forbidden`] with the violations, recorded; with the id of the request where a person may allow it.
    pub(crate) async fn through_guardrails(&self, about: &str, question: Question) -> Result<Option<Pass>, Failure> {
        let question = Arc::new(question);
        let verdict = self.guarded(question.clone()).await?;
        if verdict.is_safe() {
            return Ok(None);
        }
        let stopped =
            Stopped::new(self.operation, about.to_owned(), question.fingerprint(self.operation, about), verdict);
        if let Some(pass) = self.approval_for(&stopped).await? {
            return Ok(Some(pass));
        }
        let asked = self.refuse(&stopped).await?;
        Err(stopped.failure(asked.as_ref()))
    }

    /// An approval that lets it through.
    async fn approval_for(&self, stopped: &Stopped) -> Result<Option<Pass>, Failure> {
        let Some(subject) = &stopped.subject else { return Ok(None) };
        let filter = ApprovalFilter {
            status: Some(ApprovalStatus::Approved),
            agent_id: Some(self.caller.agent_id.clone()),
            fingerprint: Some(subject.fingerprint.clone()),
            limit: 20,
            ..ApprovalFilter::default()
        };
        let approvals = self.coordinator.store().approvals(self.project, &filter).await?;
        let session = self.caller.session_id.as_ref();
        Ok(approvals.into_iter().find_map(|approval| {
            let pass = Pass {
                approval_id: approval.approval_id,
                operation: subject.operation.clone(),
                fingerprint: subject.fingerprint.clone(),
            };
            approval.is_for(&self.caller.agent_id, session, &pass).then_some(pass)
        }))
    }

    /// Records the refusal, and the request for an approval where there can be one.
    async fn refuse(&self, stopped: &Stopped) -> Result<Option<Asked>, Failure> {
        let Some(subject) = &stopped.subject else {
            self.apply(Action::Refuse(stopped.refusal.clone())).await?;
            return Ok(None);
        };
        let request = RequestApproval {
            approval_id: Uuid::now_v7(),
            subject: subject.clone(),
            ttl_seconds: REQUEST_SECONDS,
            refusal: Some(stopped.refusal.clone()),
        };
        match self.apply(Action::RequestApproval(request)).await? {
            Outcome::ApprovalRequested { approval_id, expires_at, .. } => Ok(Some(Asked { approval_id, expires_at })),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// A request for an approval that waits for somebody to decide.
struct Asked {
    approval_id: Uuid,
    expires_at: Timestamp,
}

impl Asked {
    fn in_words(&self) -> String {
        format!(
            "a person may allow it: request {} waits until {}; get_approval with wait_seconds waits for the answer, then do \
             the same again",
            self.approval_id, self.expires_at
        )
    }
}

/// What was refused.
struct Stopped {
    violations: Vec<Violation>,
    refusal: Refusal,
    /// What a person may allow; nothing where nobody may.
    subject: Option<Subject>,
}

impl Stopped {
    fn new(operation: &str, resource: String, fingerprint: String, verdict: Verdict) -> Self {
        let stopping: Vec<&Violation> = verdict.violations.iter().filter(|violation| violation.blocked).collect();
        let mut rules: Vec<String> = stopping.iter().map(|violation| violation.rule.clone()).collect();
        rules.dedup();
        let reason = stopping.first().map(|violation| violation.reason.clone()).unwrap_or_default();
        // What is only to be asked about, and credentials, which nobody touches unasked.
        let can_be_asked = stopping.iter().all(|v| v.decision == Decision::Ask || is_about_credentials(v));
        let is_credential = stopping.iter().any(|violation| is_about_credentials(violation));
        let operation = operation.to_owned();
        let subject = can_be_asked.then(|| Subject {
            operation: operation.clone(),
            resource: without_secrets(&resource),
            fingerprint,
            reason,
        });
        let refusal = if is_credential {
            Refusal::CredentialFileProtected { operation, rules }
        } else {
            Refusal::DestructiveOperationBlocked { operation, rules }
        };
        Self { violations: verdict.violations, refusal, subject }
    }

    fn failure(&self, asked: Option<&Asked>) -> Failure {
        let mut message = in_words(&self.refusal);
        if let Some(violation) = self.violations.first() {
            message = format!("{message}: {} {}", violation.reason, violation.suggestion);
        }
        let mut details = Details::new(self.refusal.code(), message);
        let more = &mut details.more;
        let views: Vec<ViolationView> = self.violations.iter().map(ViolationView::of).collect();
        more.insert("reason".into(), self.refusal.code().into());
        more.insert("violations".into(), serde_json::to_value(views).unwrap_or_default());
        if let Refusal::DestructiveOperationBlocked { operation, .. }
        | Refusal::CredentialFileProtected { operation, .. } = &self.refusal
        {
            more.insert("operation".into(), operation.as_str().into());
        }
        if matches!(self.refusal, Refusal::CredentialFileProtected { .. }) {
            more.insert("requires".into(), "manual_review".into());
        }
        more.insert("approval_required".into(), asked.is_some().into());
        if let Some(asked) = asked {
            more.insert("approval_id".into(), asked.approval_id.to_string().into());
            details.message = format!("{}; {}", details.message, asked.in_words());
        }
        Failure::Forbidden(details)
    }
}

fn is_about_credentials(violation: &Violation) -> bool {
    violation.category == CREDENTIALS
}

/// The pack about credentials, and its category: no project switches it off.
const CREDENTIALS: &str = "credentials";
/// The pack that keeps agents from loosening their own rules: neither is this one.
const OWN: &str = "coordinator";

/// Checks a command, a text of SQL, and files.
pub struct CheckGuardrails;

/// What to check.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CheckRequest {
    /// A shell command or SQL
    operation_text: String,
    /// Files to change
    #[schemars(length(max = 10_000))]
    file_paths: Option<Vec<String>>,
    /// Where it starts
    cwd: Option<String>,
    /// Whose ~ it is
    home: Option<String>,
    /// You run it now: use the approval for it, or ask for one
    run: Option<bool>,
}

/// May it be done?
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckAnswer {
    safe: bool,
    /// allow, warn, ask or block
    verdict: &'static str,
    violations: Vec<ViolationView>,
    /// A person may allow it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    approval_required: bool,
    /// The approval that was used, or the request that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A rule that it breaks.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ViolationView {
    pattern_name: String,
    category: String,
    severity: String,
    matched_text: String,
    blocked: bool,
    reason: String,
    suggestion: String,
    /// What runs it, from the outside in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reached: Vec<String>,
}

impl ViolationView {
    fn of(violation: &Violation) -> Self {
        Self {
            pattern_name: violation.rule.clone(),
            category: violation.category.clone(),
            severity: violation.severity.to_string(),
            matched_text: kept(&violation.matched_text),
            blocked: violation.blocked,
            reason: violation.reason.clone(),
            suggestion: violation.suggestion.clone(),
            reached: violation.reached.iter().map(|label| kept(label)).collect(),
        }
    }
}

fn name_of(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Warn => "warn",
        Decision::Ask => "ask",
        Decision::Block => "block",
    }
}

impl Operation for CheckGuardrails {
    type Request = CheckRequest;
    type Answer = CheckAnswer;
    const NAME: &'static str = "check_guardrails";
    const SUMMARY: &'static str = "Check a command, SQL or file paths before you run or change them.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/guardrails/check")];
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] = &["cwd", "home"];
    const DETAIL: &'static str = "Nothing is run. A check by itself is not recorded; with run it is when it is refused, and where a person may \
        allow it (approval_required) a request is made: wait for it with get_approval, then check again with run, which uses \
        the approval. guardrails://patterns lists the rules.";

    async fn run(context: &Context<'_>, request: CheckRequest) -> Result<CheckAnswer, Failure> {
        let question = Arc::new(Question {
            command: request.operation_text,
            prose: String::new(),
            file_paths: request.file_paths.unwrap_or_default(),
            cwd: request.cwd,
            home: request.home,
        });
        let verdict = context.guarded(question.clone()).await?;
        let mut answer = CheckAnswer {
            safe: verdict.is_safe(),
            verdict: name_of(verdict.decision),
            violations: verdict.violations.iter().map(ViolationView::of).collect(),
            approval_required: false,
            approval_id: None,
            requires: None,
            message: None,
        };
        if answer.safe {
            return Ok(answer);
        }
        let resource =
            if question.command.is_empty() { question.file_paths.join(" ") } else { question.command.clone() };
        let stopped = Stopped::new(RUN_COMMAND, resource, question.fingerprint(RUN_COMMAND, ""), verdict);
        answer.approval_required = stopped.subject.is_some();
        let is_credential = matches!(stopped.refusal, Refusal::CredentialFileProtected { .. });
        answer.requires = is_credential.then_some("manual_review");
        if request.run != Some(true) {
            return Ok(answer);
        }
        if let Some(pass) = context.approval_for(&stopped).await? {
            let approval_id = pass.approval_id;
            return match context.apply_with(Some(pass), Action::UseApproval).await? {
                Outcome::ApprovalUsed { .. } => {
                    Ok(CheckAnswer { safe: true, approval_required: false, approval_id: Some(approval_id), ..answer })
                }
                Outcome::Refused(refusal) => Err(refusal.into()),
                other => Err(Failure::unexpected(&other)),
            };
        }
        if let Some(asked) = context.refuse(&stopped).await? {
            answer.approval_id = Some(asked.approval_id);
            answer.message = Some(asked.in_words());
        }
        Ok(answer)
    }
}

/// What a completion tells: every text of its result, and every path in it.
pub(crate) fn told_by(result: Option<&Value>, error_message: Option<&str>) -> Question {
    let mut question = Question { prose: error_message.unwrap_or_default().to_owned(), ..Question::default() };
    if let Some(result) = result {
        collect(result, false, &mut question);
    }
    question
}

fn collect(value: &Value, names_files: bool, question: &mut Question) {
    match value {
        Value::String(text) => {
            question.prose.push('\n');
            question.prose.push_str(text);
            if names_files && !text.is_empty() && !text.contains(char::is_whitespace) {
                question.file_paths.push(text.clone());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names_files, question)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_lowercase();
                collect(value, name.contains("file") || name.contains("path"), question);
            }
        }
        _ => {}
    }
}

/// Lists the rules in force.
pub struct ListGuardrails;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListRequest {
    /// Only this pack's
    pack: Option<String>,
}

/// The rules.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListAnswer {
    patterns: Vec<PatternView>,
    /// Packs that come with the program and are switched off here.
    disabled: Vec<String>,
}

/// A rule.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PatternView {
    pattern_name: String,
    pack: String,
    category: String,
    severity: String,
    /// What becomes of it: warn, ask or block.
    verdict: &'static str,
    /// The trust from which it is only logged.
    passes_from: Option<u8>,
    reason: String,
    suggestion: String,
}

impl PatternView {
    fn of(rule: &GuardRule) -> Self {
        Self {
            pattern_name: rule.id.clone(),
            pack: rule.pack.clone(),
            category: rule.category.clone(),
            severity: rule.severity.to_string(),
            verdict: name_of(Severity::decision(rule.severity)),
            passes_from: rule.passes_from.map(Trust::level),
            reason: rule.reason.clone(),
            suggestion: rule.suggestion.clone(),
        }
    }
}

impl Operation for ListGuardrails {
    type Request = ListRequest;
    type Answer = ListAnswer;
    const NAME: &'static str = "list_guardrails";
    const SUMMARY: &'static str = "List the rules that commands are checked against.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/guardrails/patterns")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: ListRequest) -> Result<ListAnswer, Failure> {
        let rules = context.coordinator.rules(context.project).await?;
        let wanted = |rule: &&GuardRule| request.pack.as_ref().is_none_or(|pack| rule.pack == *pack);
        let off = rules.of(RuleKind::Guardrails).filter(|rule| rule.body.as_deref() == Some(OFF));
        Ok(ListAnswer {
            patterns: rules.guard()?.rules().iter().filter(wanted).map(PatternView::of).collect(),
            disabled: off.map(|rule| rule.name.clone()).collect(),
        })
    }
}

/// Adds a pack of rules to the project's, or switches one off.
pub struct PutGuardrails;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PutRequest {
    /// The pack's
    name: String,
    /// TOML; absent to remove it, or to switch a built-in one on
    pack: Option<String>,
    /// Switch a built-in pack off
    disable: Option<bool>,
    /// The version you have seen, 0 for none
    expected_version: Option<i64>,
}

impl Operation for PutGuardrails {
    type Request = PutRequest;
    type Answer = PutAnswer;
    const NAME: &'static str = "put_guardrails";
    const SUMMARY: &'static str =
        "Add a pack of guardrails to the project, replace or remove it, or switch a built-in one off.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Level = Level::Admin;
    const RESOURCE: ResourceKind = ResourceKind::Rule;
    const ROUTES: &'static [Route] = &[Route::post("/guardrails/packs")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: PutRequest) -> Result<PutAnswer, Failure> {
        let body = match (request.pack, request.disable) {
            (Some(_), Some(true)) => {
                return Err(Failure::field("disable", "a pack of one's own is removed, not switched off"));
            }
            (None, Some(true)) => Some(OFF.to_owned()),
            (pack, _) => pack,
        };
        put(context, RuleKind::Guardrails, request.name, body, request.expected_version).await
    }
}

/// What stands in the rulebook for a pack that comes with the program and is switched off.
pub const OFF: &str = "off";

/// What is wrong with a document of the rulebook about guardrails.
pub(crate) fn mistakes(name: &str, body: &str) -> Vec<String> {
    let is_builtin = Packs::names().any(|known| known == name);
    if body == OFF {
        return match is_builtin {
            _ if matches!(name, CREDENTIALS | OWN) => vec![format!("the pack {name} cannot be switched off")],
            true => vec![],
            false => vec![format!("there is no pack {name} among those that come with the program")],
        };
    }
    if is_builtin {
        return vec![format!("{name} is a pack that comes with the program: give yours another name")];
    }
    match ::guardrails::pack_name(body) {
        Ok(named) if named == name => {}
        Ok(named) => return vec![format!("the pack calls itself {named:?}, and is put as {name:?}")],
        Err(bad) => return vec![bad.to_string()],
    }
    Guard::new(&Packs::default().with(name, body)).err().iter().map(ToString::to_string).collect()
}

/// The project's guard, of documents that have no mistakes by themselves.
pub(crate) fn compile<'a>(documents: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Guard, String> {
    let packs = documents.fold(Packs::default(), |packs, (name, body)| match body {
        OFF => packs.without(name),
        body => packs.with(name, body),
    });
    Guard::new(&packs).map_err(|bad| bad.to_string())
}
