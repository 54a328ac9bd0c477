//! Sessions: who is there, and what becomes of what they hold when they are not.

use jiff::Timestamp;
use model::command::{Action, Cleanup, Outcome, Refusal, Register};
use model::id::SessionId;
use model::sessions::{Session, SessionStatus};
use policy::Trust;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::{Failure, in_words};
use crate::freed_in_words;
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::team::{Member, Team};

/// Begins or resumes the caller's session.
pub struct RegisterSession;

/// What others should know of the agent.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RegisterRequest {
    /// What you can do; tasks may require one
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)))]
    capabilities: Option<Vec<String>>,
    /// What you are working on
    current_task: Option<String>,
}

/// The session.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RegisterAnswer {
    success: bool,
    session_id: String,
    /// It ends then unless heard of.
    #[schemars(with = "String")]
    expires_at: Timestamp,
    /// How often to be heard of, so that neither the session nor a claim ends.
    heartbeat_seconds: u64,
}

impl Operation for RegisterSession {
    type Request = RegisterRequest;
    type Answer = RegisterAnswer;
    const NAME: &'static str = "register_session";
    const SUMMARY: &'static str = "Announce yourself: what you can do and what you work on.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const ROUTES: &'static [Route] = &[Route::post("/agents/register")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const IS_CORE: bool = true;
    const IS_IDEMPOTENT: bool = true;
    const DETAIL: &'static str = "A coordinator on your machine does this and sends heartbeats by itself. Over HTTP, repeat it with the \
        session_id to renew, and call heartbeat every heartbeat_seconds: a session that falls silent loses its locks \
        and claims.";

    async fn run(context: &Context<'_>, request: RegisterRequest) -> Result<RegisterAnswer, Failure> {
        let mut capabilities = match request.capabilities {
            Some(capabilities) => capabilities,
            None => of_team(context),
        };
        capabilities.sort();
        capabilities.dedup();
        let register = Register {
            capabilities,
            current_task: request.current_task,
            ttl_seconds: context.coordinator.settings().session_ttl_seconds,
        };
        let outcome = match context.caller.session_id {
            Some(_) => context.apply(Action::Register(register)).await?,
            None => {
                let minted =
                    SessionId::new(Uuid::now_v7().to_string()).map_err(|e| Failure::Internal(e.to_string()))?;
                context.of_session(minted).apply(Action::Register(register)).await?
            }
        };
        match outcome {
            Outcome::Registered { session_id, expires_at } => {
                let heartbeat_seconds = context.coordinator.settings().heartbeat_every().as_secs().max(1);
                Ok(RegisterAnswer { success: true, session_id: session_id.into(), expires_at, heartbeat_seconds })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// What the team's file says the caller can do, for an agent that does not say so itself.
fn of_team(context: &Context<'_>) -> Vec<String> {
    let team = context.coordinator.team_of(context.project);
    let members = team.into_iter().flat_map(|team| team.agents);
    members.filter(|member| member.name == context.caller.agent_id).flat_map(|member| member.capabilities).collect()
}

/// A sign of life.
pub struct Heartbeat;

/// Nothing to say but "here".
#[derive(Debug, Deserialize, JsonSchema)]
pub struct HeartbeatRequest {}

/// What was renewed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeartbeatAnswer {
    success: bool,
    session_id: Option<String>,
    /// How many of your claims were renewed.
    tasks_renewed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Operation for Heartbeat {
    type Request = HeartbeatRequest;
    type Answer = HeartbeatAnswer;
    const NAME: &'static str = "heartbeat";
    const SUMMARY: &'static str = "Say you are alive: keeps your session and claims.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const ROUTES: &'static [Route] = &[Route::post("/agents/heartbeat")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const IS_CORE: bool = true;
    const IS_IDEMPOTENT: bool = true;

    async fn run(context: &Context<'_>, _: HeartbeatRequest) -> Result<HeartbeatAnswer, Failure> {
        let answer =
            |success, session_id: Option<SessionId>, tasks_renewed, refusal: Option<&Refusal>| HeartbeatAnswer {
                success,
                session_id: session_id.map(String::from),
                tasks_renewed,
                error: refusal.map(|r| r.code().into()),
                message: refusal.map(in_words),
            };
        match context.apply(Action::Heartbeat).await? {
            Outcome::Renewed { session_id, tasks } => Ok(answer(true, session_id, tasks, None)),
            Outcome::Refused(refusal @ (Refusal::SessionNotFound | Refusal::SessionExpired { .. })) => {
                Ok(answer(false, context.caller.session_id.clone(), 0, Some(&refusal)))
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Ends the caller's session.
pub struct EndSession;

/// Nothing to say but "done".
#[derive(Debug, Deserialize, JsonSchema)]
pub struct EndRequest {}

/// What was freed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EndAnswer {
    success: bool,
    locks_released: u32,
    tasks_requeued: u32,
}

impl Operation for EndSession {
    type Request = EndRequest;
    type Answer = EndAnswer;
    const NAME: &'static str = "end_session";
    const SUMMARY: &'static str = "Leave: frees your session's locks and claims at once.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/agents/end")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const IS_IDEMPOTENT: bool = true;

    async fn run(context: &Context<'_>, _: EndRequest) -> Result<EndAnswer, Failure> {
        match context.apply(Action::EndSession).await? {
            Outcome::SessionEnded { freed } => {
                context.coordinator.released.notify_waiters();
                Ok(EndAnswer { success: true, locks_released: freed.locks, tasks_requeued: freed.tasks })
            }
            // It is over, as was asked.
            Outcome::Refused(Refusal::SessionNotFound | Refusal::SessionExpired { .. }) => {
                Ok(EndAnswer { success: true, locks_released: 0, tasks_requeued: 0 })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Shows who is there.
pub struct DiscoverAgents;

/// Whom to look for.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DiscoverRequest {
    #[schemars(length(min = 1, max = 256))]
    capability: Option<String>,
    /// Default active and idle, and who is absent of the team
    status: Option<StatusName>,
}

/// A status to look for.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StatusName {
    Active,
    Idle,
    Disconnected,
}

impl From<StatusName> for SessionStatus {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Active => Self::Active,
            StatusName::Idle => Self::Idle,
            StatusName::Disconnected => Self::Disconnected,
        }
    }
}

/// Who is there, last heard of first; then who else is of the team.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiscoverAnswer {
    agents: Vec<AgentView>,
}

/// A session, or a member of the team that has none, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AgentView {
    agent_id: String,
    agent_type: Option<String>,
    session_id: Option<String>,
    capabilities: Vec<String>,
    #[schemars(with = "String")]
    status: SessionStatus,
    current_task: Option<String>,
    #[schemars(with = "Option<String>")]
    last_heartbeat: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    started_at: Option<Timestamp>,
    /// As the team's file has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// As the team's file has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl AgentView {
    fn at(session: Session, now: Timestamp) -> Self {
        Self {
            status: session.status(now),
            agent_id: session.agent_id.into(),
            agent_type: Some(session.agent_type),
            session_id: Some(session.session_id.into()),
            capabilities: session.capabilities,
            current_task: session.current_task,
            last_heartbeat: Some(session.last_heartbeat),
            started_at: Some(session.started_at),
            role: None,
            description: None,
        }
    }

    /// A member of the team that is not there.
    fn away(member: Member) -> Self {
        Self {
            status: SessionStatus::Disconnected,
            agent_id: member.name.into(),
            agent_type: None,
            session_id: None,
            capabilities: member.capabilities,
            current_task: None,
            last_heartbeat: None,
            started_at: None,
            role: Some(member.role),
            description: member.description,
        }
    }
}

/// The sessions with what the team's file says of their agents; then the members of the team that have none, here or in
/// the list.
fn with_team(mut agents: Vec<AgentView>, team: Team, here: &[Session]) -> Vec<AgentView> {
    for member in team.agents {
        let mut is_known = here.iter().any(|session| session.agent_id == member.name);
        for agent in agents.iter_mut().filter(|agent| agent.agent_id == member.name.as_str()) {
            agent.role = Some(member.role.clone());
            agent.description = member.description.clone();
            is_known = true;
        }
        if !is_known {
            agents.push(AgentView::away(member));
        }
    }
    agents
}

impl Operation for DiscoverAgents {
    type Request = DiscoverRequest;
    type Answer = DiscoverAnswer;
    const NAME: &'static str = "discover_agents";
    const SUMMARY: &'static str = "See who else is working, and on what.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/agents")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const IS_CORE: bool = true;

    async fn run(context: &Context<'_>, request: DiscoverRequest) -> Result<DiscoverAnswer, Failure> {
        let wanted = request.status.map(SessionStatus::from);
        let connected = wanted != Some(SessionStatus::Disconnected);
        let store = context.coordinator.store();
        let (sessions, now) = store.sessions(context.project, connected).await?;
        let mut agents: Vec<AgentView> = sessions.into_iter().map(|session| AgentView::at(session, now)).collect();
        if let Some(team) = context.coordinator.team_of(context.project) {
            // Those that are here are in the list already, unless it is one of those that are gone.
            let here = if connected { vec![] } else { store.sessions(context.project, true).await?.0 };
            agents = with_team(agents, team, &here);
        }
        let agents = agents
            .into_iter()
            .filter(|agent| wanted.is_none_or(|status| agent.status == status))
            .filter(|agent| request.capability.as_ref().is_none_or(|c| agent.capabilities.contains(c)))
            .collect();
        Ok(DiscoverAnswer { agents })
    }
}

/// Disconnects silent sessions now.
pub struct CleanupDeadAgents;

/// How silent.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CleanupRequest {
    /// Default 15
    #[schemars(range(min = 1, max = 10080))]
    stale_threshold_minutes: Option<u32>,
}

/// What was freed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CleanupAnswer {
    success: bool,
    agents_cleaned: u32,
    locks_released: u32,
    tasks_requeued: u32,
    message: String,
}

impl Operation for CleanupDeadAgents {
    type Request = CleanupRequest;
    type Answer = CleanupAnswer;
    const NAME: &'static str = "cleanup_dead_agents";
    const SUMMARY: &'static str = "Free what silent agents hold now (it also happens by itself).";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/agents/cleanup")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const IS_IDEMPOTENT: bool = true;
    const IS_DESTRUCTIVE: bool = true;

    async fn run(context: &Context<'_>, request: CleanupRequest) -> Result<CleanupAnswer, Failure> {
        let silent_seconds = request.stale_threshold_minutes.unwrap_or(15) * 60;
        match context.apply(Action::Cleanup(Cleanup { silent_seconds })).await? {
            Outcome::Cleaned { freed } => {
                context.coordinator.released.notify_waiters();
                Ok(CleanupAnswer {
                    success: true,
                    agents_cleaned: freed.sessions,
                    locks_released: freed.locks,
                    tasks_requeued: freed.tasks,
                    message: freed_in_words(freed),
                })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

impl<'a> Context<'a> {
    /// The same call under this session.
    fn of_session(&self, session_id: SessionId) -> Context<'a> {
        Context {
            coordinator: self.coordinator,
            project: self.project,
            caller: model::id::Caller { session_id: Some(session_id), ..self.caller.clone() },
            door: self.door,
            profile: self.profile.clone(),
            vouched: self.vouched,
            limits: self.limits,
            operation: self.operation,
            parameters: self.parameters.clone(),
            received: self.received,
        }
    }
}
