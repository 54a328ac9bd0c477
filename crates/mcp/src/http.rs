//! MCP over HTTP: each request is answered by itself, so that any server of a team may answer any of them.
//!
//! Whoever puts this behind a route has found out who is asking. There are no sessions of the protocol: a request carries
//! all there is to know, and what must be remembered is in the database.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use coordinator::Coordinator;
use coordinator::failure::{Details, Failure};
use coordinator::identity::{Named, Principal};
use coordinator::operation::Entry;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use model::id::Project;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::Value;

use crate::server::Server;

/// The agent behind a request: what its key stands for, and who it says it is.
pub struct RemoteAgent {
    coordinator: Arc<Coordinator>,
    project: Project,
    principal: Principal,
    named: Named,
}

impl RemoteAgent {
    /// Whoever holds the key and goes by these names, in this project.
    pub fn new(coordinator: Arc<Coordinator>, project: Project, principal: Principal, named: Named) -> Self {
        Self { coordinator, project, principal, named }
    }

    /// Is it who it says?
    ///
    /// # Errors
    /// [`Failure::Forbidden`] when the key is another agent's.
    pub fn check(&self) -> Result<(), Failure> {
        match self.principal.caller(self.named.clone()) {
            Ok(_) => Ok(()),
            Err(message) => Err(Failure::Forbidden(Details::new("identity_mismatch", message))),
        }
    }

    /// Calls an operation in the agent's name, or in the one that the arguments give.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn call(&self, entry: &Entry, arguments: Value) -> Result<Value, Failure> {
        self.coordinator.call_tool_as(entry, &self.project, &self.principal, &self.named, arguments).await
    }
}

/// What answers requests.
#[derive(Clone)]
pub struct HttpService(StreamableHttpService<Server, NeverSessionManager>);

impl HttpService {
    /// On this coordinator.
    pub fn new(coordinator: Arc<Coordinator>) -> Self {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            // The server that this is a part of has looked at `Host`, `Origin` and the body's size.
            .disable_allowed_hosts()
            .with_max_request_body_bytes(usize::MAX);
        let server = move || Ok(Server::remote(coordinator.clone()));
        Self(StreamableHttpService::new(server, Arc::new(NeverSessionManager::default()), config))
    }

    /// Answers one request of this agent.
    pub async fn answer(
        &self,
        agent: RemoteAgent,
        request: Request<Bytes>,
    ) -> Response<impl Body<Data = Bytes, Error = Infallible> + Send + use<>> {
        let mut request = request.map(Full::new);
        request.extensions_mut().insert(Arc::new(agent));
        self.0.handle(request).await
    }
}
