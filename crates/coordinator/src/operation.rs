//! What an operation is. Doors are derived from this description; none of them knows an operation by name.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use model::JsonText;
use model::approvals::Pass;
use model::command::{Action, Command, Outcome};
use model::id::{Caller, Project};
use model::limits::Limits;
pub use policy::Door;
use policy::{Profile, ResourceKind, Trust, Vouched};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::Coordinator;
use crate::failure::Failure;

/// What an operation needs and may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Changes nothing; over HTTP without a key unless the server requires one.
    PublicRead,
    /// Changes nothing.
    Read,
    /// Changes something, and leaves an audit row.
    Write,
}

/// How a request's body names its caller over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyIdentity {
    /// Not at all: the key tells.
    None,
    /// It may have `agent_id`, `agent_type` and `session_id`.
    Optional,
    /// It may have `agent_id` and `agent_type`; a `session_id` is a field of the operation, and says not who calls.
    WithoutSession,
    /// `agent_id` is required.
    Agent,
    /// `agent_id` and `agent_type` are required.
    AgentAndType,
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Arguments in path and query.
    Get,
    /// Arguments in path and JSON body.
    Post,
    /// Arguments in path and query.
    Delete,
}

/// One way to reach an operation over HTTP. `{name}` in the path is a field of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: &'static str,
}

impl Route {
    /// A GET route.
    pub const fn get(path: &'static str) -> Self {
        Self { method: Method::Get, path }
    }

    /// A DELETE route.
    pub const fn delete(path: &'static str) -> Self {
        Self { method: Method::Delete, path }
    }

    /// Is the field of this name in the path?
    pub fn has_in_path(&self, field: &str) -> bool {
        self.path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .any(|name| name.trim_start_matches('*') == field)
    }

    /// A POST route.
    pub const fn post(path: &'static str) -> Self {
        Self { method: Method::Post, path }
    }
}

/// One operation.
pub trait Operation: 'static {
    /// What is asked.
    type Request: DeserializeOwned + JsonSchema + Send;
    /// What is answered.
    type Answer: Serialize + JsonSchema;
    /// Its name on every door.
    const NAME: &'static str;
    /// What it does, in a line for agents.
    const SUMMARY: &'static str;
    /// What it needs and may change.
    const ACCESS: Access;
    /// How it is reached over HTTP.
    const ROUTES: &'static [Route];
    /// How its body names its caller.
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Optional;
    /// The trust that it needs: none to look, and what all normal work needs to change something.
    const LEVEL: Trust = match Self::ACCESS {
        Access::PublicRead | Access::Read => Trust::Untrusted,
        Access::Write => Trust::Standard,
    };
    /// What it is done with, for policies.
    const RESOURCE: ResourceKind = ResourceKind::Project;
    /// Must it be permitted? What only tells of the program itself need not.
    const NEEDS_PERMISSION: bool = true;
    /// Groups of fields of which one is needed, the preferred one first.
    const ONE_OF: &'static [&'static [&'static str]] = &[];
    /// Is it a tool?
    const IS_TOOL: bool = true;
    /// Is it listed as one? What mostly people do is not, and can be called all the same.
    const IS_LISTED: bool = true;
    /// Is it listed where only the tools are that most agents need?
    const IS_CORE: bool = false;
    /// Fields that few calls need: `help` tells of them, the list of tools does not.
    const SELDOM: &'static [&'static str] = &[];
    /// Does repeating it at once change nothing more? Then a client may repeat a call whose answer was lost.
    const IS_IDEMPOTENT: bool = false;
    /// Can it end what another agent holds or is at?
    const IS_DESTRUCTIVE: bool = false;
    /// What else an agent may want to know: `help` tells it, so that the list of tools stays short.
    const DETAIL: &'static str = "";

    /// Does it.
    fn run(context: &Context<'_>, request: Self::Request)
    -> impl Future<Output = Result<Self::Answer, Failure>> + Send;
}

/// One call under way.
pub struct Context<'a> {
    /// The coordinator.
    pub coordinator: &'a Coordinator,
    /// The caller's project.
    pub project: &'a Project,
    /// Who is calling.
    pub caller: Caller,
    /// How it came in.
    pub door: Door,
    /// What the caller has been given.
    pub profile: Arc<Profile>,
    /// Does anybody say so but the caller itself?
    pub(crate) vouched: Vouched,
    /// Of its limits those that are to be kept.
    pub(crate) limits: Limits,
    pub(crate) operation: &'static str,
    pub(crate) parameters: JsonText,
    pub(crate) received: Instant,
}

impl Context<'_> {
    /// Applies one action in the caller's name: durable, and in the audit trail, when this returns.
    ///
    /// # Errors
    /// [`Failure`] when the database does not answer. A refusal is an outcome.
    pub async fn apply(&self, action: Action) -> Result<Outcome, Failure> {
        self.apply_with(None, action).await
    }

    /// The same as part of another operation, so that the trail says what was done.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(crate) async fn apply_as(&self, operation: &'static str, action: Action) -> Result<Outcome, Failure> {
        self.run(operation, None, action).await
    }

    /// The same with the approval that lets it through, which is used up by it.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(crate) async fn apply_with(&self, approval: Option<Pass>, action: Action) -> Result<Outcome, Failure> {
        self.run(self.operation, approval, action).await
    }

    async fn run(&self, operation: &'static str, approval: Option<Pass>, action: Action) -> Result<Outcome, Failure> {
        let command = Command {
            id: Uuid::now_v7(),
            caller: self.caller.clone(),
            operation: operation.to_owned(),
            parameters: self.parameters.clone(),
            duration_ms: u32::try_from(self.received.elapsed().as_millis()).unwrap_or(u32::MAX),
            limits: self.limits,
            approval,
            action,
        };
        let outcome = self.coordinator.commits.apply(self.project, command).await?;
        if outcome.is_answer() {
            self.coordinator.changed.notify_waiters();
        }
        Ok(outcome)
    }
}

/// An operation without its types, as the registry holds it.
pub struct Entry {
    /// See [`Operation::NAME`].
    pub name: &'static str,
    /// See [`Operation::SUMMARY`].
    pub summary: &'static str,
    /// See [`Operation::ACCESS`].
    pub access: Access,
    /// What policies know of it.
    pub action: policy::Action,
    /// See [`Operation::NEEDS_PERMISSION`].
    pub needs_permission: bool,
    /// See [`Operation::ROUTES`].
    pub routes: &'static [Route],
    /// See [`Operation::BODY_IDENTITY`].
    pub body_identity: BodyIdentity,
    /// See [`Operation::ONE_OF`].
    pub one_of: &'static [&'static [&'static str]],
    /// See [`Operation::IS_TOOL`].
    pub is_tool: bool,
    /// See [`Operation::IS_LISTED`].
    pub is_listed: bool,
    /// See [`Operation::IS_CORE`].
    pub is_core: bool,
    /// See [`Operation::SELDOM`].
    pub seldom: &'static [&'static str],
    /// See [`Operation::IS_IDEMPOTENT`].
    pub is_idempotent: bool,
    /// See [`Operation::IS_DESTRUCTIVE`].
    pub is_destructive: bool,
    /// See [`Operation::DETAIL`].
    pub detail: &'static str,
    pub(crate) schemas: crate::schema::Schemas,
    pub(crate) run: Run,
}

type Run = for<'a> fn(&'a Context<'a>, Value) -> BoxFuture<'a, Result<Value, Failure>>;

impl Entry {
    /// The operation's entry.
    pub fn of<O: Operation>() -> Self {
        Self {
            name: O::NAME,
            summary: O::SUMMARY,
            access: O::ACCESS,
            action: policy::Action {
                name: O::NAME,
                level: O::LEVEL,
                reads: O::ACCESS != Access::Write,
                resource: O::RESOURCE,
            },
            needs_permission: O::NEEDS_PERMISSION,
            routes: O::ROUTES,
            body_identity: O::BODY_IDENTITY,
            one_of: O::ONE_OF,
            is_tool: O::IS_TOOL,
            is_listed: O::IS_LISTED,
            is_core: O::IS_CORE,
            seldom: O::SELDOM,
            is_idempotent: O::IS_IDEMPOTENT,
            is_destructive: O::IS_DESTRUCTIVE,
            detail: O::DETAIL,
            schemas: crate::schema::Schemas::of::<O>(),
            run: |context, arguments| Box::pin(run::<O>(context, arguments)),
        }
    }

    /// The request's JSON schema, without what identifies the caller.
    pub fn request_schema(&self) -> &Value {
        self.schemas.request()
    }

    /// The request's JSON schema over HTTP, where the body may name the caller.
    pub fn body_schema(&self) -> &Value {
        self.schemas.body()
    }

    /// The answer's JSON schema.
    pub fn answer_schema(&self) -> &Value {
        self.schemas.answer()
    }
}

async fn run<O: Operation>(context: &Context<'_>, arguments: Value) -> Result<Value, Failure> {
    let request: O::Request = serde_path_to_error::deserialize(arguments)
        .map_err(|e| Failure::field(&e.path().to_string(), in_words(&e.inner().to_string())))?;
    let answer = O::run(context, request).await?;
    serde_json::to_value(answer).map_err(|e| Failure::Internal(e.to_string()))
}

/// What is wrong with a field that is of the right type and still no such thing.
fn in_words(error: &str) -> String {
    match error.starts_with("UUID parsing failed") {
        true => "must be an id as the coordinator gave it, such as 018f0000-0000-7000-8000-000000000000".into(),
        false => error.to_owned(),
    }
}
