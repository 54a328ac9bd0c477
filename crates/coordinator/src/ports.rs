//! Ports: a block of four for each session, on which nobody else listens.
//!
//! The server looks which blocks are quiet on its machine and proposes those; the command decides among them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use jiff::Timestamp;
use model::command::{Action, AllocatePorts as Allocate, Outcome};
use model::id::SessionId;
use model::ports::{BLOCK_SIZE, PortBlock, PortPlan};
use policy::{ResourceKind, Trust};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;

use crate::failure::Failure;
use crate::identity::{hash, hex};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};

/// Takes a block.
pub struct AllocatePorts;

/// For whom.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct AllocateRequest {
    /// Yours, or any name: the same gets the same ports
    #[schemars(length(min = 1, max = 256))]
    session_id: String,
}

/// The block, or none.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AllocateAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocation: Option<Allocation>,
    /// For a shell to evaluate.
    #[serde(skip_serializing_if = "Option::is_none")]
    env_snippet: Option<String>,
    /// When the lease ends unless refreshed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// What a session has.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Allocation {
    session_id: String,
    db_port: u16,
    rest_port: u16,
    realtime_port: u16,
    api_port: u16,
    compose_project_name: String,
}

impl Allocation {
    fn new(session_id: &SessionId, first_port: u16) -> Self {
        let digest = hex(&hash(session_id.as_str()));
        Self {
            session_id: session_id.to_string(),
            db_port: first_port,
            rest_port: first_port + 1,
            realtime_port: first_port + 2,
            api_port: first_port + 3,
            compose_project_name: format!("ac-{}", &digest[..8]),
        }
    }

    fn env_snippet(&self) -> String {
        format!(
            "export AGENT_COORDINATOR_DB_PORT={}\n\
             export AGENT_COORDINATOR_REST_PORT={}\n\
             export AGENT_COORDINATOR_REALTIME_PORT={}\n\
             export API_PORT={}\n\
             export COMPOSE_PROJECT_NAME={}\n\
             export SUPABASE_URL=http://localhost:{}",
            self.db_port, self.rest_port, self.realtime_port, self.api_port, self.compose_project_name, self.rest_port,
        )
    }
}

impl Operation for AllocatePorts {
    type Request = AllocateRequest;
    type Answer = AllocateAnswer;
    const NAME: &'static str = "allocate_ports";
    const SUMMARY: &'static str = "Get four ports of your own for the services you start.";
    const ACCESS: Access = Access::Write;
    const RESOURCE: ResourceKind = ResourceKind::Session;
    const ROUTES: &'static [Route] = &[Route::post("/ports/allocate")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::WithoutSession;
    const IS_IDEMPOTENT: bool = true;

    async fn run(context: &Context<'_>, request: AllocateRequest) -> Result<AllocateAnswer, Failure> {
        let session_id = named(request.session_id)?;
        let plan = context.coordinator.settings().ports;
        let allocate = Allocate {
            session_id: session_id.clone(),
            candidates: quiet_blocks(plan).await?,
            ttl_seconds: plan.ttl_minutes * 60,
        };
        let outcome = context.apply(Action::AllocatePorts(allocate)).await?;
        match outcome {
            Outcome::PortsAllocated { first_port, expires_at, .. } => {
                let allocation = Allocation::new(&session_id, first_port);
                Ok(AllocateAnswer {
                    success: true,
                    env_snippet: Some(allocation.env_snippet()),
                    allocation: Some(allocation),
                    expires_at: Some(expires_at),
                    error: None,
                    message: None,
                })
            }
            Outcome::NoPorts => Ok(AllocateAnswer {
                success: false,
                allocation: None,
                env_snippet: None,
                expires_at: None,
                error: Some("no_ports_available"),
                message: Some(format!(
                    "all {} blocks of ports are taken, by sessions (ports_status shows them) or by programs that listen \
                     there: release one that is not needed, or raise PORT_ALLOC_MAX_SESSIONS",
                    plan.max_sessions
                )),
            }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Gives a block back.
pub struct ReleasePorts;

/// Whose.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ReleaseRequest {
    #[schemars(length(min = 1, max = 256))]
    session_id: String,
}

/// Done, also when there was nothing to do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReleaseAnswer {
    success: bool,
    /// Did the session have ports?
    released: bool,
    session_id: String,
}

impl Operation for ReleasePorts {
    type Request = ReleaseRequest;
    type Answer = ReleaseAnswer;
    const NAME: &'static str = "release_ports";
    const SUMMARY: &'static str = "Give a session's ports back.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const RESOURCE: ResourceKind = ResourceKind::Session;
    const ROUTES: &'static [Route] = &[Route::post("/ports/release")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::WithoutSession;
    const IS_IDEMPOTENT: bool = true;

    async fn run(context: &Context<'_>, request: ReleaseRequest) -> Result<ReleaseAnswer, Failure> {
        let session_id = named(request.session_id)?;
        match context.apply(Action::ReleasePorts { session_id: session_id.clone() }).await? {
            Outcome::PortsReleased { released } => {
                Ok(ReleaseAnswer { success: true, released, session_id: session_id.into() })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Shows who has which ports.
pub struct PortsStatus;

/// Nothing to say.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct StatusRequest {}

/// The project's blocks, lowest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatusAnswer {
    success: bool,
    allocations: Vec<Held>,
    /// How many blocks no session has, in any project.
    free: usize,
}

/// A block and its lease.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Held {
    #[serde(flatten)]
    allocation: Allocation,
    agent_id: String,
    #[schemars(with = "String")]
    allocated_at: Timestamp,
    #[schemars(with = "String")]
    expires_at: Timestamp,
    remaining_ttl_minutes: i64,
}

impl Held {
    fn at(block: PortBlock, now: Timestamp) -> Self {
        Self {
            allocation: Allocation::new(&block.session_id, block.first_port),
            agent_id: block.agent_id.into(),
            allocated_at: block.allocated_at,
            expires_at: block.expires_at,
            remaining_ttl_minutes: (block.expires_at.as_second() - now.as_second()) / 60,
        }
    }
}

impl Operation for PortsStatus {
    type Request = StatusRequest;
    type Answer = StatusAnswer;
    const NAME: &'static str = "ports_status";
    const SUMMARY: &'static str = "See which session has which ports.";
    const ACCESS: Access = Access::PublicRead;
    const ROUTES: &'static [Route] = &[Route::get("/ports/status")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, _: StatusRequest) -> Result<StatusAnswer, Failure> {
        let (mut blocks, now) = context.coordinator.store().port_blocks().await?;
        let plan = context.coordinator.settings().ports;
        let is_free = |first_port: &u16| !blocks.iter().any(|block| block.overlaps(*first_port));
        let free = plan.first_ports().filter(is_free).count();
        blocks.retain(|block| block.project == *context.project);
        let allocations = blocks.into_iter().map(|block| Held::at(block, now)).collect();
        Ok(StatusAnswer { success: true, allocations, free })
    }
}

fn named(session_id: String) -> Result<SessionId, Failure> {
    SessionId::new(session_id).map_err(|e| Failure::field("session_id", e.to_string()))
}

/// Where the blocks begin on which nobody listens, lowest first.
async fn quiet_blocks(plan: PortPlan) -> Result<Vec<u16>, Failure> {
    let is_quiet = |first: &u16| (*first..=*first + (BLOCK_SIZE - 1)).all(|port| !is_listened_on(port));
    tokio::task::spawn_blocking(move || plan.first_ports().filter(is_quiet).collect())
        .await
        .map_err(|e| Failure::Internal(e.to_string()))
}

/// Does some program listen on the port, on all of the machine's addresses or on those that only the machine sees?
///
/// To bind is enough to know, and is done without listening: two servers that look at the same time must not take each
/// other for that program.
fn is_listened_on(port: u16) -> bool {
    let addresses: [SocketAddr; 4] = [
        (Ipv4Addr::UNSPECIFIED, port).into(),
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::UNSPECIFIED, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ];
    addresses.into_iter().any(|address| {
        let bound = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)
        };
        // Another error, such as for want of IPv6, tells of the machine and not of the port.
        bound().is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use testing::ports::Range;

    use super::*;

    #[tokio::test]
    async fn a_listener_is_seen_on_whatever_address_and_only_there() {
        let ports = Range::claim();
        let port = ports.base;
        for address in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
            let Ok(listener) = TcpListener::bind((address, port)) else { continue };
            assert!(is_listened_on(port), "{address}");
            drop(listener);
            assert!(!is_listened_on(port), "{address} when nobody listens any more");
        }
    }

    #[tokio::test]
    async fn to_look_disturbs_nobody_who_looks() {
        let ports = Range::claim();
        let port = ports.base;
        let looking = std::thread::spawn(move || (0..2000).any(|_| is_listened_on(port)));
        assert!(!(0..2000).any(|_| is_listened_on(port)));
        assert!(!looking.join().unwrap());
    }

    #[test]
    fn a_session_s_environment_is_as_the_contract_has_it() {
        let allocation = Allocation::new(&SessionId::new("session-1").unwrap(), 10_100);
        // printf session-1 | sha256sum
        assert_eq!(allocation.compose_project_name, "ac-84097828");
        assert_eq!(
            allocation.env_snippet(),
            "export AGENT_COORDINATOR_DB_PORT=10100\nexport AGENT_COORDINATOR_REST_PORT=10101\n\
             export AGENT_COORDINATOR_REALTIME_PORT=10102\nexport API_PORT=10103\n\
             export COMPOSE_PROJECT_NAME=ac-84097828\nexport SUPABASE_URL=http://localhost:10101"
        );
    }
}
