//! What a client can ask: tools, resources, prompts. The same for an agent on this machine and for one behind a request.

use std::sync::{Arc, Mutex, PoisonError};

use coordinator::agent::LocalAgent;
use coordinator::failure::Failure;
use coordinator::operation::Entry;
use coordinator::resources::{self, RESOURCES};
use coordinator::{Coordinator, VERSION, registry};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, DiscoverResult, ErrorData, GetPromptRequestParams, GetPromptResponse,
    GetPromptResult, Implementation, InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, PromptMessage, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Resource as Listed, ResourceContents, Role, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value};

use crate::http::RemoteAgent;
use crate::{prompts, tools};

/// What an agent is told of the coordinator when it connects.
const INSTRUCTIONS: &str = "Several agents work on this repository. Begin with read_handoff, and write_handoff before you \
                            stop. acquire_lock before you edit a file and release_lock when done; when blocked, work on \
                            something else or queue with wait_seconds. get_work claims a task; complete_work ends it. \
                            help explains a tool in full.";

const MARKDOWN: &str = "text/markdown";

/// One client's server.
pub struct Server {
    coordinator: Arc<Coordinator>,
    agent: Agent,
}

/// In whose name calls are made.
enum Agent {
    /// The agent that this process speaks for. Known once the client has said its name.
    Local(Mutex<Option<Arc<LocalAgent>>>),
    /// Each request's own.
    Remote,
}

impl Server {
    /// For the agent that this process speaks for.
    pub fn local(coordinator: Arc<Coordinator>) -> Self {
        Self { coordinator, agent: Agent::Local(Mutex::default()) }
    }

    /// For requests that each carry their [`RemoteAgent`].
    pub fn remote(coordinator: Arc<Coordinator>) -> Self {
        Self { coordinator, agent: Agent::Remote }
    }

    async fn call(
        &self,
        context: &RequestContext<RoleServer>,
        entry: &Entry,
        arguments: Value,
    ) -> Result<Value, Failure> {
        match &self.agent {
            Agent::Local(agent) => {
                let name = || context.client_info().map_or_else(|| "agent".to_owned(), |client| client.name);
                self.current(agent, name)?.call(entry, arguments).await
            }
            Agent::Remote => remote(context)?.call(entry, arguments).await,
        }
    }

    /// The agent in the session that its client is in now.
    fn current(
        &self,
        agent: &Mutex<Option<Arc<LocalAgent>>>,
        client_name: impl FnOnce() -> String,
    ) -> Result<Arc<LocalAgent>, Failure> {
        let mut agent = agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agent.as_ref().filter(|agent| agent.is_current()) {
            return Ok(agent.clone());
        }
        let new = Arc::new(LocalAgent::new(self.coordinator.clone(), &client_name())?);
        Ok(agent.insert(new).clone())
    }

    /// Calls an operation that an entry of ours names.
    async fn ask(&self, context: &RequestContext<RoleServer>, name: &str, request: Value) -> Result<Value, ErrorData> {
        let answer = match registry::find(name) {
            Some(entry) => self.call(context, entry, request).await,
            None => Err(Failure::Internal(format!("there is no operation {name}"))),
        };
        answer.map_err(protocol_error)
    }

    /// A client that names another agent than its key's learns it when it connects, and not at every call.
    fn admit(&self, context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
        match self.agent {
            Agent::Local(_) => Ok(()),
            Agent::Remote => remote(context).and_then(|agent| agent.check()).map_err(protocol_error),
        }
    }
}

/// Whoever is behind the request.
fn remote(context: &RequestContext<RoleServer>) -> Result<Arc<RemoteAgent>, Failure> {
    let parts = context.extensions.get::<http::request::Parts>();
    let agent = parts.and_then(|parts| parts.extensions.get::<Arc<RemoteAgent>>()).cloned();
    agent.ok_or_else(|| Failure::Internal("nobody is behind this request".into()))
}

/// A failure where there is no result to put it into.
fn protocol_error(failure: Failure) -> ErrorData {
    let (message, body) = (failure.message(), Some(failure.body()));
    match failure {
        Failure::Invalid { .. } => ErrorData::invalid_params(message, body),
        Failure::Forbidden(_) | Failure::Conflict(_) | Failure::TooMany { .. } => {
            ErrorData::invalid_request(message, body)
        }
        Failure::Unavailable(_) | Failure::Internal(_) => ErrorData::internal_error(message, body),
    }
}

/// What the client named, in short: it may have named anything.
fn named(name: &str) -> String {
    format!("{:?}", name.chars().take(80).collect::<String>())
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let abilities = ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts().build();
        ServerConfig::new(abilities)
            .with_server_info(Implementation::new("agent-coordinator", VERSION))
            .with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        self.admit(&context)?;
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        self.admit(&context)?;
        Ok(DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), self.get_info()))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::listed(self.coordinator.settings().tools).to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // A tool need not be listed to be called.
        let Some(entry) = registry::find(&request.name).filter(|entry| entry.is_tool) else {
            return Err(ErrorData::invalid_params(format!("there is no tool {}", named(&request.name)), None));
        };
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let answer = tokio::select! {
            answer = self.call(&context, entry, arguments) => answer,
            // Whoever waits for a lock and is called off loses its place in the queue.
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("the call was cancelled", None)),
        };
        match answer {
            Ok(answer) => Ok(tools::result(answer).into()),
            Err(failure @ Failure::Invalid { code: "invalid_request", .. }) => Err(protocol_error(failure)),
            Err(failure) => Ok(tools::error(failure.body()).into()),
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let listed = RESOURCES.iter().map(|resource| {
            Listed::new(resource.uri, resource.name).with_description(resource.summary).with_mime_type(MARKDOWN)
        });
        Ok(ListResourcesResult::with_all_items(listed.collect()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let Some(resource) = resources::find(&request.uri) else {
            let data = serde_json::json!({"uri": request.uri});
            return Err(ErrorData::resource_not_found(
                format!("there is no resource {}", named(&request.uri)),
                Some(data),
            ));
        };
        let answer = self.ask(&context, resource.operation, resource.request(Map::new())).await?;
        let contents = ResourceContents::text(resource.markdown(&answer), resource.uri).with_mime_type(MARKDOWN);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::PROMPTS.iter().map(prompts::Prompt::listed).collect()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let Some(prompt) = prompts::find(&request.name) else {
            return Err(ErrorData::invalid_params(format!("there is no prompt {}", named(&request.name)), None));
        };
        let prompts::Filled { mut text, shown } = prompt
            .fill(&request.arguments.unwrap_or_default())
            .map_err(|missing| protocol_error(Failure::field(missing, "is required, as text")))?;
        for (resource, request) in shown {
            let answer = self.ask(&context, resource.operation, request).await?;
            text = format!("{text}\n\n{}", resource.markdown(&answer).trim_end());
        }
        let message = PromptMessage::new_text(Role::User, text);
        Ok(GetPromptResult::new(vec![message]).with_description(prompt.summary()).into())
    }
}
