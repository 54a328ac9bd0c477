//! Policies: may it be done and why, is this one well written, which are in force, what would another one change?

use std::collections::BTreeMap;

use cedar::{DEFAULT, DEFAULT_NAME, Document};
use jiff::Timestamp;
use model::audit::{AuditEntry, AuditFilter};
use model::rulebook::RuleKind;
use policy::{Decision, Door, Principal, Resource, ResourceKind, Trust, Vouched};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::authorise::{canonical, named, refusal};
use crate::failure::Failure;
use crate::operation::{Access, BodyIdentity, Context, Entry, Operation, Route};
use crate::registry;
use crate::rulebook::{PutAnswer, put};
use crate::settings::PolicyEngine;

/// Tells whether something may be done.
pub struct CheckPolicy;

/// What is to be done.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CheckRequest {
    operation: String,
    /// What with: a path, a task id
    resource: Option<String>,
    /// For another: agent_id, agent_type, door
    context: Option<BTreeMap<String, Value>>,
}

/// May it be done?
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckAnswer {
    allowed: bool,
    reason: String,
    /// native or cedar
    engine: &'static str,
    diagnostics: Diagnostics,
}

/// How it was decided.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Diagnostics {
    /// Why not, as a stable code.
    error: Option<String>,
    profile: String,
    trust_level: u8,
    /// What the operation needs.
    required_level: Option<u8>,
    /// The policies that decided.
    policies: Vec<PolicyText>,
}

/// A policy.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolicyText {
    id: String,
    text: Option<String>,
}

impl Operation for CheckPolicy {
    type Request = CheckRequest;
    type Answer = CheckAnswer;
    const NAME: &'static str = "check_policy";
    const SUMMARY: &'static str = "Ask whether you may do something, and why.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/policy/check")];
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] = &["context"];
    const DETAIL: &'static str = "Nothing is done or recorded. Fields of context: agent_id and agent_type to ask for another agent, door \
        (mcp, http, cli, github) to ask for another way in.";

    async fn run(context: &Context<'_>, request: CheckRequest) -> Result<CheckAnswer, Failure> {
        let rules = context.coordinator.rules(context.project).await?;
        let told = |field: &str| request.context.as_ref()?.get(field)?.as_str();
        let (agent_id, agent_type) = (told("agent_id"), told("agent_type"));
        let for_another = agent_id.is_some() || agent_type.is_some();
        let agent_id = agent_id.unwrap_or(context.caller.agent_id.as_str());
        let agent_type = agent_type.unwrap_or(&context.caller.agent_type);
        let chosen = rules.profiles.of(agent_id, agent_type);
        let door = match told("door") {
            Some("mcp") => Door::Mcp,
            Some("http") => Door::Http,
            Some("cli") => Door::Cli,
            Some("github") => Door::Github,
            Some(_) => return Err(Failure::field("context.door", "must be mcp, http, cli or github")),
            None => context.door,
        };
        let principal = Principal {
            agent_id,
            agent_type,
            session_id: context.caller.session_id.as_ref().map(|session| session.as_str()).filter(|_| !for_another),
            profile: &chosen.profile,
            vouched: if for_another { Vouched::For } else { context.vouched },
        };
        let mut diagnostics = Diagnostics {
            profile: chosen.profile.name.clone(),
            trust_level: principal.trust().level(),
            ..Diagnostics::default()
        };
        let engine = rules.engine().as_str();
        let Some(entry) = registry::find(&request.operation) else {
            let reason = format!("there is no operation {}: help lists them", request.operation);
            diagnostics.error = Some("unknown_operation".into());
            return Ok(CheckAnswer { allowed: false, reason, engine, diagnostics });
        };
        diagnostics.required_level = Some(entry.action.level.level());
        if !entry.needs_permission {
            let reason = format!("{} needs no permission", entry.name);
            return Ok(CheckAnswer { allowed: true, reason, engine, diagnostics });
        }
        let thing = request.resource.as_deref().map(|text| canonical(entry.action.resource, text));
        let resource = match &thing {
            Some(id) => Resource { kind: entry.action.resource, id },
            None => Resource { kind: ResourceKind::Project, id: context.project.as_str() },
        };
        let decision = rules.decide(&principal, &entry.action, resource, door);
        diagnostics.policies =
            decision.policies.iter().map(|id| PolicyText { id: id.clone(), text: rules.policy_text(id) }).collect();
        let (allowed, reason) = (decision.is_allowed(), decision.reason.to_string());
        diagnostics.error = refusal(&principal, &entry.action, decision).map(|refusal| refusal.code().to_owned());
        Ok(CheckAnswer { allowed, reason, engine, diagnostics })
    }
}

/// Reads policies through.
pub struct ValidateCedarPolicy;

/// The policies.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ValidateRequest {
    policy_text: String,
}

/// Are they well written?
#[derive(Debug, Serialize, JsonSchema)]
pub struct ValidateAnswer {
    valid: bool,
    errors: Vec<ErrorView>,
}

/// A mistake.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorView {
    line: usize,
    column: usize,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl From<cedar::Mistake> for ErrorView {
    fn from(mistake: cedar::Mistake) -> Self {
        Self { line: mistake.line, column: mistake.column, message: mistake.message, help: mistake.help }
    }
}

impl Operation for ValidateCedarPolicy {
    type Request = ValidateRequest;
    type Answer = ValidateAnswer;
    const NAME: &'static str = "validate_cedar_policy";
    const SUMMARY: &'static str = "Check the text of Cedar policies.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/policy/validate")];
    const IS_LISTED: bool = false;
    const DETAIL: &'static str =
        "Against the schema of all operations, whichever engine is at work. Puts nothing in force.";

    async fn run(context: &Context<'_>, request: ValidateRequest) -> Result<ValidateAnswer, Failure> {
        let schema = context.coordinator.rule_watch.compiler.schema().map_err(Failure::Internal)?;
        let document = Document { name: "policy", text: &request.policy_text };
        let mistakes = cedar::Engine::new(schema, &[document]).err().unwrap_or_default();
        let errors: Vec<ErrorView> = mistakes.into_iter().map(ErrorView::from).collect();
        Ok(ValidateAnswer { valid: errors.is_empty(), errors })
    }
}

/// Shows the policies in force.
pub struct ListPolicies;

/// All.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListPoliciesRequest {}

/// The policies in force.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListPoliciesAnswer {
    /// What decides: native or cedar. The policies count when it is cedar.
    engine: &'static str,
    policies: Vec<PolicyView>,
    /// The schema that they keep to.
    schema: String,
    /// Rules that cannot be read.
    problems: Vec<String>,
}

/// Policies under a name.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolicyView {
    name: String,
    /// 0 for what comes with the program or from a file.
    version: i64,
    author: Option<String>,
    #[schemars(with = "Option<String>")]
    created_at: Option<Timestamp>,
    body: String,
}

impl Operation for ListPolicies {
    type Request = ListPoliciesRequest;
    type Answer = ListPoliciesAnswer;
    const NAME: &'static str = "list_policies";
    const SUMMARY: &'static str = "List the Cedar policies in force, and their schema.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/policies")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, _: ListPoliciesRequest) -> Result<ListPoliciesAnswer, Failure> {
        let rules = context.coordinator.rules(context.project).await?;
        let compiler = &context.coordinator.rule_watch.compiler;
        let own: Vec<_> = rules.of(RuleKind::Policy).cloned().collect();
        let documents = compiler.documents(&own, None);
        let has_default = documents.iter().any(|document| document.name == DEFAULT_NAME);
        let default = (!has_default).then_some(Document { name: DEFAULT_NAME, text: DEFAULT });
        let view = |document: &Document<'_>| {
            let rule = own.iter().find(|rule| rule.name == document.name);
            PolicyView {
                name: document.name.into(),
                version: rule.map_or(0, |rule| rule.version),
                author: rule.map(|rule| rule.author.to_string()),
                created_at: rule.map(|rule| rule.created_at),
                body: document.text.into(),
            }
        };
        Ok(ListPoliciesAnswer {
            engine: rules.engine().as_str(),
            policies: default.iter().chain(&documents).map(view).collect(),
            schema: compiler.schema().map_err(Failure::Internal)?.text().to_owned(),
            problems: rules.problems.iter().map(|problem| problem.in_words()).collect(),
        })
    }
}

/// Puts policies in force, or removes them.
pub struct PutPolicy;

/// The policies.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PutPolicyRequest {
    /// default takes the place of those that come with the program
    name: String,
    /// Cedar; absent to remove them
    policy_text: Option<String>,
    /// The version you have seen, 0 for none
    expected_version: Option<i64>,
}

impl Operation for PutPolicy {
    type Request = PutPolicyRequest;
    type Answer = PutAnswer;
    const NAME: &'static str = "put_policy";
    const SUMMARY: &'static str = "Put Cedar policies in force, or remove them.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Admin;
    const RESOURCE: ResourceKind = ResourceKind::Rule;
    const ROUTES: &'static [Route] = &[Route::post("/policies")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: PutPolicyRequest) -> Result<PutAnswer, Failure> {
        let PutPolicyRequest { name, policy_text, expected_version } = request;
        let answer = put(context, RuleKind::Policy, name, policy_text, expected_version).await?;
        Ok(match context.coordinator.settings().policy.engine {
            PolicyEngine::Cedar => answer,
            PolicyEngine::Native => {
                answer.noting("the engine of this server is native: policies count with POLICY_ENGINE=cedar")
            }
        })
    }
}

/// Tells what a draft would have changed.
pub struct ReplayPolicy;

/// The draft.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ReplayRequest {
    /// Whose place it would take; default: beside the others
    name: Option<String>,
    policy_text: String,
    /// How many audited calls; default 500
    #[schemars(range(min = 1, max = 10_000))]
    limit: Option<u32>,
}

/// What would have come out differently.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReplayAnswer {
    success: bool,
    /// What is wrong with the draft.
    errors: Vec<ErrorView>,
    /// How many calls were decided anew.
    examined: usize,
    /// How many were no call of an agent's, or of an operation that is gone.
    skipped: usize,
    changed: Vec<Changed>,
}

/// A call that would have come out differently.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Changed {
    id: Uuid,
    seq: i64,
    #[schemars(with = "String")]
    created_at: Timestamp,
    agent_id: String,
    operation: String,
    resource: Option<String>,
    was_allowed: bool,
    would_be_allowed: bool,
    reason: String,
}

impl Operation for ReplayPolicy {
    type Request = ReplayRequest;
    type Answer = ReplayAnswer;
    const NAME: &'static str = "replay_policy";
    const SUMMARY: &'static str = "See which audited calls would have been decided otherwise by a draft.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/policy/replay")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: ReplayRequest) -> Result<ReplayAnswer, Failure> {
        let name = request.name.unwrap_or_else(|| "draft".into());
        let rules = context.coordinator.rules(context.project).await?;
        let compiler = &context.coordinator.rule_watch.compiler;
        let own: Vec<_> = rules.of(RuleKind::Policy).cloned().collect();
        let documents = compiler.documents(&own, Some(Document { name: &name, text: &request.policy_text }));
        let schema = compiler.schema().map_err(Failure::Internal)?;
        let engine = match cedar::Engine::new(schema, &documents) {
            Ok(engine) => engine,
            Err(mistakes) => {
                let errors = mistakes.into_iter().map(ErrorView::from).collect();
                return Ok(ReplayAnswer { success: false, errors, examined: 0, skipped: 0, changed: vec![] });
            }
        };
        let filter = AuditFilter { limit: request.limit.unwrap_or(500), ..AuditFilter::default() };
        let entries = context.coordinator.store().audit(context.project, &filter).await?;
        let (mut examined, mut changed) = (0, vec![]);
        let all = entries.len();
        for row in entries {
            let Some(entry) = registry::find(&row.operation).filter(|entry| entry.needs_permission) else { continue };
            examined += 1;
            let chosen = rules.profiles.of(&row.agent_id, &row.agent_type);
            let principal = Principal {
                agent_id: &row.agent_id,
                agent_type: &row.agent_type,
                session_id: row.session_id.as_deref(),
                profile: &chosen.profile,
                vouched: Vouched::For,
            };
            let (resource, decision) = decide(context, &engine, &principal, entry, &row);
            let was_allowed =
                !matches!(row.error_message.as_deref(), Some("operation_not_permitted" | "insufficient_trust_level"));
            if was_allowed != decision.is_allowed() {
                changed.push(Changed {
                    id: row.id,
                    seq: row.seq,
                    created_at: row.created_at,
                    resource,
                    would_be_allowed: !was_allowed,
                    was_allowed,
                    reason: decision.reason.into_owned(),
                    agent_id: row.agent_id,
                    operation: row.operation,
                });
            }
        }
        Ok(ReplayAnswer { success: true, errors: vec![], examined, skipped: all - examined, changed })
    }
}

/// The decision on an audited call, and what it was done with: the first thing that is refused. By which door it came is not
/// recorded.
fn decide(
    context: &Context<'_>,
    engine: &cedar::Engine,
    principal: &Principal<'_>,
    entry: &Entry,
    row: &AuditEntry,
) -> (Option<String>, Decision) {
    let ask = |kind, id: &str| engine.decide(principal, &entry.action, Resource { kind, id }, Door::Mcp);
    let things = named(entry.action.resource, &row.parameters);
    let mut decisions = things.iter().map(|id| (Some(id.to_string()), ask(entry.action.resource, id)));
    let first = decisions.next();
    match first {
        None => (None, ask(ResourceKind::Project, context.project.as_str())),
        Some(first) if !first.1.is_allowed() => first,
        Some(first) => decisions.find(|(_, decision)| !decision.is_allowed()).unwrap_or(first),
    }
}
